import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { TOKENS } from "../leadership/test-bed.fixture.ts";
import { BackupReader } from "../store/backup-format.ts";
import { startBed } from "./api-bed.fixture.ts";
import { bearerTokens } from "./bearer-tokens.ts";
import { backupRefusal } from "./permission.ts";

const bed = await startBed();

async function backup(
  token = TOKENS.admin,
): Promise<{ status: number; text: string; headers: Record<string, unknown> }> {
  const reply = await bed.manager.api.inject({
    method: "GET",
    url: "/v1/backup",
    headers: { authorization: `Bearer ${token}` },
  });
  return { status: reply.statusCode, text: reply.body, headers: reply.headers };
}

describe("GET /v1/backup", () => {
  it("streams every record, with what it is of at the beginning and a digest at the end", async () => {
    await bed.create({ name: "web" }, { key: "web" });
    const { status, text, headers } = await backup();
    expect(status).toBe(200);
    expect(headers["content-type"]).toMatch(/^application\/x-ndjson/);
    const reader = new BackupReader();
    const read = text
      .trimEnd()
      .split("\n")
      .map((line) => reader.take(line));
    expect(read.filter((part) => !part.ok)).toEqual([]);
    expect(read[0]).toMatchObject({ value: { kind: "head", head: { site: "alpha.test", schema: 1, term: 1 } } });
    expect(read.at(-1)).toMatchObject({ value: { kind: "end", records: read.length - 2 } });
    const keys = read.flatMap((part) => (part.ok && part.value.kind === "record" ? [part.value.key] : []));
    expect(keys).toEqual([...bed.disk.records.keys()].sort());
    expect(keys).toContain("request/web");
  });

  it("is refused to whoever is no admin, and has no token for it", async () => {
    for (const token of [TOKENS.user, TOKENS.viewer]) {
      const { status, text } = await backup(token);
      expect(status).toBe(403);
      expect(JSON.parse(text)).toMatchObject({ reason: "no-backup" });
    }
    expect((await backup("wrong")).status).toBe(401);
  });

  it("is open to a token that may do nothing else", () => {
    const sha256 = createHash("sha256").update("nightly").digest("hex");
    const entry = { name: "nightly", sha256, user: "cron", role: "viewer" as const, projects: [] };
    const plain = bearerTokens([entry])("Bearer nightly");
    const marked = bearerTokens([{ ...entry, may: ["backup"] }])("Bearer nightly");
    if (plain === undefined || marked === undefined) throw new Error("both are known");
    expect(backupRefusal(plain)).toMatchObject({ kind: "forbidden" });
    expect(backupRefusal(marked)).toBeUndefined();
    expect(marked.role).toBe("viewer");
  });

  it("answers 503 where the store holds what is no record, and names it", async () => {
    bed.disk.records.set("watch/broken", "{ torn");
    const { status, text } = await backup();
    expect(status).toBe(503);
    expect(JSON.parse(text)).toMatchObject({ detail: expect.stringContaining("watch/broken") });
    bed.disk.records.delete("watch/broken");
  });

  it("is described, and so is what an admin has to know of the store", async () => {
    const { body } = await bed.get("/v1/openapi.json");
    expect(Object.keys(body.paths ?? {})).toEqual(expect.arrayContaining(["/v1/backup", "/v1/site/store"]));
    expect((await bed.get("/v1/site/store")).body).toMatchObject({ term: 1, newerTerms: [], strays: [] });
    expect((await bed.get("/v1/site/store", TOKENS.user)).status).toBe(403);
  });
});
