import type { Clock } from "@muster/base";
import { refusal } from "@muster/protocol";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Actor } from "../core/event.ts";
import type { EventRing, RingEvent } from "./event-ring.ts";
import { sees } from "./permission.ts";
import { sendProblem } from "./problem-reply.ts";

/** Followers at one time; one more is refused (S2). */
const FOLLOWERS_MAX = 200;
/** A follower that does not read is let go when so much waits for it: it comes back with its last id. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** A comment now and then keeps proxies from closing the stream and shows dead followers. */
const KEEPALIVE_MS = 15_000;

export type EventStreamOptions = { readonly clock: Clock; readonly ring: EventRing };

/** `GET /v1/events`: server-sent events (HTML standard, section 9.2), resumed by `Last-Event-ID`. */
export class EventStream {
  readonly #options: EventStreamOptions;
  readonly #open = new Set<() => void>();

  constructor(options: EventStreamOptions) {
    this.#options = options;
  }

  get followers(): number {
    return this.#open.size;
  }

  serve(request: FastifyRequest, reply: FastifyReply, actor: Actor): FastifyReply {
    if (this.#open.size >= FOLLOWERS_MAX) {
      const message = `${FOLLOWERS_MAX} clients follow events already; close one or try later`;
      return sendProblem(
        reply,
        refusal("resource-constraint", "too-many-followers", message, { retryAfterMs: 10_000 }),
      );
    }
    const last = request.headers["last-event-id"];
    const lastId = typeof last === "string" && /^\d{1,16}$/.test(last) ? Number(last) : undefined;
    if (last !== undefined && lastId === undefined) {
      const message = "Last-Event-ID must be the id of an event of this stream, or be left out";
      return sendProblem(reply, refusal("bad-request", "invalid-event-id", message, { field: "Last-Event-ID" }));
    }
    reply.hijack();
    const { raw } = reply;
    raw.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    raw.write("retry: 1000\n\n");
    this.#follow(raw, actor, lastId);
    return reply;
  }

  /** Ends all streams. */
  close(): void {
    for (const end of [...this.#open]) end();
  }

  #follow(raw: FastifyReply["raw"], actor: Actor, lastId: number | undefined): void {
    const { clock, ring } = this.#options;
    const send = (event: RingEvent): void => {
      if (event.project !== undefined && !sees(actor, event.project)) return;
      raw.write(frame(event));
      if (raw.writableLength > UNREAD_BYTES_MAX) raw.destroy();
    };
    if (lastId !== undefined) {
      const { events, missed } = ring.after(lastId);
      if (missed) raw.write("event: missed\ndata: {}\n\n");
      for (const event of events) send(event);
    }
    const unfollow = ring.follow(send);
    let cancel = (): void => {};
    const keepAlive = (): void => {
      raw.write(": still here\n\n");
      cancel = clock.setTimer(KEEPALIVE_MS, keepAlive);
    };
    cancel = clock.setTimer(KEEPALIVE_MS, keepAlive);
    const end = (): void => {
      if (!this.#open.delete(end)) return;
      unfollow();
      cancel();
      raw.end();
    };
    this.#open.add(end);
    raw.on("close", end);
  }
}

function frame({ view }: RingEvent): string {
  return `id: ${view.id}\nevent: ${view.kind}\ndata: ${JSON.stringify(view)}\n\n`;
}
