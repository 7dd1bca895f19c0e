import { Readable } from "node:stream";
import { refusal } from "@muster/protocol";
import type { FastifyReply } from "fastify";
import type { Logger } from "pino";
import type { Actor } from "../core/event.ts";
import { writeBackup } from "../store/backup-format.ts";
import type { Backend } from "./backend.ts";
import { backupRefusal } from "./permission.ts";
import { sendProblem } from "./problem-reply.ts";

/** What a backup is taken from. */
export type BackupSource = Pick<Backend, "loop" | "term" | "site" | "manager" | "snapshot">;

/** Backups under way at once; each holds old versions of records in the store (S2). */
const BACKUPS_MAX = 2;

/**
 * `GET /v1/backup`: all records of one moment, streamed as they are read. A reader that is too slow is waited for; what
 * goes wrong half way breaks the connection off, and the backup lacks its last line.
 */
export function backupRoute(source: BackupSource, log: Logger) {
  let open = 0;
  return async (reply: FastifyReply, actor: Actor): Promise<FastifyReply> => {
    const forbidden = backupRefusal(actor);
    if (forbidden !== undefined) return sendProblem(reply, forbidden);
    if (open >= BACKUPS_MAX) {
      const message = `${BACKUPS_MAX} backups are being taken already; wait for them`;
      return sendProblem(reply, refusal("resource-constraint", "too-many-backups", message, { retryAfterMs: 5_000 }));
    }
    open += 1;
    try {
      // Answered only by a leader that has read its store: nothing is begun where none is served.
      const takenAt = await source.loop.read((_views, nowMs) => new Date(nowMs).toISOString());
      const { site, term, manager } = source;
      const pieces = writeBackup({ site, term, manager, takenAt }, source.snapshot());
      const first = await pieces.next().catch((cause: unknown) => String(cause));
      if (typeof first === "string") {
        open -= 1;
        log.error({ reason: first }, "no backup can be taken");
        return sendProblem(reply, refusal("unavailable", "store-away", first, { retryAfterMs: 1_000 }));
      }
      const stream = Readable.from(withFirst(first, pieces), { objectMode: false });
      stream.once("close", () => {
        open -= 1;
      });
      stream.once("error", (cause) => log.error({ reason: String(cause) }, "a backup broke off"));
      const file = `${site}-${takenAt.replace(/[:.]/g, "-")}.backup`;
      return reply
        .type("application/x-ndjson")
        .headers({ "cache-control": "no-store", "content-disposition": `attachment; filename="${file}"` })
        .send(stream);
    } catch (cause) {
      open -= 1;
      throw cause;
    }
  };
}

async function* withFirst(first: IteratorResult<string, void>, rest: AsyncGenerator<string>): AsyncGenerator<string> {
  if (first.done !== true) yield first.value;
  yield* rest;
}

/** For the description of the API. */
export const BACKUP_OPERATION = {
  operationId: "takeBackup",
  summary:
    "All records of the site as of one moment, as JSON lines ended by a digest. Admins, and tokens that may take backups.",
  responses: {
    "200": { description: "The backup.", content: { "application/x-ndjson": { schema: { type: "string" } } } },
  },
};
