import {
  consoleOrderMessage,
  consoleStateMessage,
  NS_CONSOLE,
  NS_SERIAL_LOG,
  serialLogPartMessage,
  serialLogQueryMessage,
} from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { SPEC, TOKENS } from "../leadership/test-bed.fixture.ts";
import { startBed } from "./api-bed.fixture.ts";

const bed = await startBed();
const SESSION = "0190a7b2-0000-7000-8000-000000000001";
const use = (vm: string, body: object, token = TOKENS.admin) =>
  bed.send("POST", `/v1/vms/${vm}/console`, { body: { session: SESSION, sequence: 1, ...body }, token });

/** A running VM, and its host's answers. */
async function talking(name: string): Promise<string> {
  await bed.create({ name });
  const vm = await bed.untilPhase(name, "running");
  const { bus } = bed.host(String(vm.place?.host));
  bus.handle("get", NS_SERIAL_LOG, serialLogQueryMessage.name, ({ payload }) => {
    const query = serialLogQueryMessage.decode(payload);
    if (!query.ok) throw new Error("a query that cannot be read");
    const offset = query.value.offset ?? 0;
    return {
      kind: "result",
      payload: serialLogPartMessage.encode({ data: "QEA=", offset, next: offset + 2, size: 9 }),
    };
  });
  bus.handle("set", NS_CONSOLE, consoleOrderMessage.name, ({ payload }) => {
    const order = consoleOrderMessage.decode(payload);
    if (!order.ok) throw new Error("an order that cannot be read");
    const data = order.value.action === "output" ? "JCA=" : "";
    return { kind: "result", payload: consoleStateMessage.encode({ session: order.value.session, open: true, data }) };
  });
  return String(vm.id);
}

describe("what a guest says and hears", () => {
  it("is read from the host that has the VM, and typed there", async () => {
    await talking("web");
    const log = await bed.get("/v1/vms/web/log?offset=4");
    expect(log).toMatchObject({ status: 200, body: { data: "QEA=", offset: 4, next: 6, size: 9 } });
    expect(await use("web", { action: "open" })).toMatchObject({ status: 200, body: { open: true } });
    expect(await use("web", { action: "output" })).toMatchObject({ status: 200, body: { data: "JCA=" } });
  });

  it("is for those who may see the VM, and the console for those who may change it", async () => {
    expect((await bed.get("/v1/vms/web/log", TOKENS.other)).status).toBe(404);
    expect((await use("web", { action: "open" }, TOKENS.other)).status).toBe(404);
    expect((await bed.get("/v1/vms/web/log", TOKENS.viewer)).status).toBe(200);
    expect((await use("web", { action: "open" }, TOKENS.viewer)).status).toBe(403);
  });

  it("S1: is refused with what cannot be, naming the field", async () => {
    expect(await bed.get("/v1/vms/web/log?max=100000")).toMatchObject({
      status: 400,
      body: { faults: [{ field: "max" }] },
    });
    expect(await use("web", { action: "shout" })).toMatchObject({
      status: 400,
      body: { faults: [{ field: "action" }] },
    });
    expect(await use("web", { action: "input", data: "no base64!" })).toMatchObject({ status: 400 });
  });

  it("is not there for a VM that waits, and unavailable where the host knows of no such thing", async () => {
    await bed.create({ name: "late", spec: { ...SPEC, vcpus: 512 } });
    expect(await bed.get("/v1/vms/late/log")).toMatchObject({ status: 404, body: { reason: "no-log" } });
    expect(await use("late", { action: "open" })).toMatchObject({ status: 409, body: { reason: "not-running" } });
    await bed.create({ name: "other", spec: { ...SPEC, antiAffinityGroup: "a" } });
    await bed.create({ name: "another", spec: { ...SPEC, antiAffinityGroup: "a" } });
    const places = await Promise.all(
      ["web", "other", "another"].map(async (name) => String((await bed.untilPhase(name, "running")).place?.host)),
    );
    const mute = places[1] === places[0] ? "another" : "other";
    expect(await bed.get(`/v1/vms/${mute}/log`)).toMatchObject({ status: 503, body: { reason: "host-silent" } });
  });
});
