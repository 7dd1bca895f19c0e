import { request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { TOKENS, until } from "../leadership/test-bed.fixture.ts";
import { startBed } from "./api-bed.fixture.ts";

const bed = await startBed();
await bed.manager.api.listen({ host: "127.0.0.1", port: 0 });

describe("GET /v1/events", () => {
  it("tells what happens as it happens, and what was missed since the last id", async () => {
    const { port } = bed.manager.api.server.address() as AddressInfo;
    const live = follow(port, {});
    await until("the stream is open", () => live.status === 200);
    await bed.create({ name: "told" }, { key: "told" });
    await until("an event arrives", () => live.text.includes("id: "));
    const [, firstId = ""] = /id: (\d+)/.exec(live.text) ?? [];
    const count = live.text.split("\nid: ").length;
    await bed.send("DELETE", "/v1/vms/told");
    await until("more arrives", () => live.text.split("\nid: ").length > count);
    live.close();
    const resumed = follow(port, { "last-event-id": firstId });
    await until("the rest is told again", () => resumed.text.includes("id: "));
    expect(resumed.text).not.toContain(`id: ${firstId}\n`);
    const [, next = ""] = /id: (\d+)/.exec(resumed.text) ?? [];
    expect(Number(next)).toBe(Number(firstId) + 1);
    resumed.close();
    const strange = follow(port, { "last-event-id": "soon" });
    await until("a strange id is refused", () => strange.status === 400);
    strange.close();
    const old = follow(port, { "last-event-id": "1" });
    await until("a gap is told", () => old.text.includes("event: missed"));
    old.close();
  });

  it("S2: refuses a follower too many, and drops none of the others", async () => {
    const { port } = bed.manager.api.server.address() as AddressInfo;
    const streams = Array.from({ length: 200 }, () => follow(port, {}));
    await until("all follow", () => streams.every(({ status }) => status === 200));
    const late = follow(port, {});
    await until("one more is refused", () => late.status === 429);
    expect(streams.every(({ ended }) => !ended)).toBe(true);
    for (const stream of [...streams, late]) stream.close();
    await until("they are gone", async () =>
      /^muster_event_followers 0$/m.test(String((await bed.get("/metrics")).body.text)),
    );
  });
});

type Stream = { text: string; status: number; ended: boolean; close(): void };

function follow(port: number, headers: Record<string, string>): Stream {
  const stream: Stream = { text: "", status: 0, ended: false, close: () => request.destroy() };
  const request = httpRequest(
    { host: "127.0.0.1", port, path: "/v1/events", headers: { authorization: `Bearer ${TOKENS.admin}`, ...headers } },
    (response) => {
      stream.status = response.statusCode ?? 0;
      response.on("data", (chunk) => {
        stream.text += chunk;
      });
      response.on("error", () => {});
      response.on("close", () => {
        stream.ended = true;
      });
    },
  );
  request.on("error", () => {});
  request.end();
  return stream;
}
