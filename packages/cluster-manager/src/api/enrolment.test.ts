import { decodeJoinBundle, enrolmentSchema, NS_ENROL } from "@muster/protocol";
import { Element } from "ltx";
import { describe, expect, it } from "vitest";
import { newNetwork, TestBed } from "../leadership/test-bed.fixture.ts";
import { MemoryDisk } from "../store/memory-store.ts";
import { startBed } from "./api-bed.fixture.ts";

const bed = await startBed();

describe("enrolment", () => {
  it("asks the server for a token, and shows the one command to run", async () => {
    const network = newNetwork();
    const server = network.component("alpha.test");
    const asked: Element[] = [];
    server.handle("set", NS_ENROL, "enrol", ({ from, payload }) => {
      expect(from).toBe("cloud.alpha.test");
      asked.push(payload);
      const { account } = payload.attrs;
      return {
        kind: "result",
        payload: new Element("enrol", { xmlns: NS_ENROL, account, token: "tok-1", "expires-seconds": 60 }),
      };
    });
    server.start();
    const own = await TestBed.start({ network, disk: new MemoryDisk() });
    const reply = await own.send("POST", "/v1/hosts", { body: { name: "h7", ttlSeconds: 60 } });
    expect(reply).toMatchObject({
      status: 201,
      body: {
        account: "host-h7@alpha.test",
        token: "tok-1",
        expiresSeconds: 60,
        command: expect.stringMatching(/^muster host join [A-Za-z0-9_-]+$/),
      },
    });
    const { command } = enrolmentSchema.parse(reply.body);
    expect(decodeJoinBundle(command.replace(/^muster host join /, ""))).toEqual({
      ok: true,
      value: { v: 1, site: "alpha.test", name: "h7", service: "xmpps://alpha.test:5223", token: "tok-1" },
    });
    expect(asked[0]?.attrs).toMatchObject({ account: "host-h7", "ttl-seconds": "60" });
    expect(own.disk.records.has("host/h7")).toBe(true);
    expect(own.log.join("")).not.toContain("tok-1");
    await own.stop();
    await server.stop();
  });

  it("says what is wrong where the server hands out none", async () => {
    const reply = await bed.send("POST", "/v1/hosts", { body: { name: "h8" } });
    expect(reply).toMatchObject({
      status: 406,
      body: { reason: "enrolment-refused", detail: expect.stringContaining("mod_muster_enrol") },
    });
    await bed.send("DELETE", "/v1/hosts/h8");
  });
});
