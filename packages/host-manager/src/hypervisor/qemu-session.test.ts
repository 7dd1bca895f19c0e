import { execFileSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { vmId } from "../testing/fixture.ts";
import { QemuMachine, whyNoQemu } from "../testing/qemu-machine.ts";
import { until } from "../testing/until.ts";

/** The account `nobody`, as whom the daemon and its guests run. */
const USER = { uid: 65_534, gid: 65_534 };

describe.runIf(whyNoQemu() === undefined)("qemu:///session with user networking", { timeout: 60_000 }, () => {
  let machine: QemuMachine;

  beforeAll(async () => {
    machine = await QemuMachine.start(USER);
  }, 90_000);
  afterAll(() => machine.remove());

  it("starts a guest without network rights, whose ssh port answers on the host, and deletes it clean", async () => {
    // A host manager of that user's would own these files; this one is root, and hands them over.
    const handOver = (): void => {
      for (const folder of [machine.folder, machine.state, join(machine.state, "guests")]) chmodSync(folder, 0o755);
      execFileSync("chown", ["-R", `${USER.uid}:${USER.gid}`, machine.state]);
    };
    const hypervisor = machine.connect({ onStep: (step) => void (step === "define" && handOver()) });
    let isUp = false;
    hypervisor.open(({ kind }) => {
      isUp ||= kind === "up";
    });
    await until("the hypervisor to be up", () => isUp);
    const started = await hypervisor.start(machine.plan(1));
    expect(started, JSON.stringify(started)).toMatchObject({
      kind: "done",
      domain: { state: "running", address: `${machine.networks.address}:42001` },
    });
    expect(await isTaken(machine.networks.address, 42_001)).toBe(true);
    expect(await hypervisor.act(vmId(1), "delete")).toEqual({ kind: "done" });
    expect(await isTaken(machine.networks.address, 42_001)).toBe(false);
    expect(await machine.left()).toEqual({ domains: [], folders: [], uses: [] });
  });
});

/** Whether somebody listens there. */
function isTaken(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(true));
    server.listen(port, address, () => server.close(() => resolve(false)));
  });
}
