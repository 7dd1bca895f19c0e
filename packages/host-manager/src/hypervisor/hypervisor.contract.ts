import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { plan as plainPlan, vmId } from "../testing/fixture.ts";
import { until } from "../testing/until.ts";
import type { DomainPlan, Hypervisor, HypervisorEvent, SurveyOutcome } from "./port.ts";

/** A machine under test, with what a test does behind the host manager's back. */
export type MachineUnderTest = {
  /** A new connection to the same machine, not opened. */
  connect(): Hypervisor;
  /** Makes a running domain of somebody else's; its UUID. */
  addForeign(): Promise<string>;
  /** The guest of a VM ends by itself. */
  guestStops(vm: string): Promise<void>;
  /** The n-th VM; one without a disk and networks where nothing else is said. */
  plan?(number: number, attempt?: number): DomainPlan;
  /** What a survey tells of a plan, where that is not all of it. */
  shown?(plan: DomainPlan): unknown;
  remove(): Promise<void>;
};

/** What every hypervisor behind the port promises; run against each adapter. */
export function hypervisorContract(name: string, setUp: () => Promise<MachineUnderTest>): void {
  describe(`hypervisor contract: ${name}`, () => {
    let machine: MachineUnderTest;
    let hypervisor: Hypervisor;
    let events: HypervisorEvent[];

    beforeEach(async () => {
      machine = await setUp();
      hypervisor = await opened();
    });
    afterEach(async () => {
      await hypervisor.close();
      await machine.remove();
    });

    function plan(number: number, attempt = 1): DomainPlan {
      return machine.plan?.(number, attempt) ?? plainPlan(number, attempt);
    }
    async function opened(): Promise<Hypervisor> {
      const connection = machine.connect();
      events = [];
      const heard = events;
      connection.open((event) => heard.push(event));
      await until("the hypervisor to be up", () => heard.some(({ kind }) => kind === "up"));
      return connection;
    }
    async function surveyed(): Promise<SurveyOutcome & { kind: "surveyed" }> {
      const survey = await hypervisor.survey();
      if (survey.kind !== "surveyed") throw new Error(survey.reason);
      return survey;
    }
    async function stateOf(vm: string): Promise<string | undefined> {
      return (await surveyed()).domains.find(({ uuid }) => uuid === vm)?.state;
    }

    it("V2: tells what the machine has", async () => {
      const { facts } = await surveyed();
      expect(facts.total.vcpus).toBeGreaterThan(0);
      expect(facts.total.memoryMiB).toBeGreaterThan(0);
      expect(facts.driver).not.toBe("");
    });

    it("starts a VM, and tells it again with everything it was started with", async () => {
      const outcome = await hypervisor.start(plan(1));
      expect(outcome).toMatchObject({ kind: "done", domain: { uuid: vmId(1), state: "running" } });
      const found = (await surveyed()).domains.find(({ uuid }) => uuid === vmId(1));
      const { vcpus, memoryMiB } = plan(1).subject.spec;
      expect(found?.plan).toEqual(machine.shown?.(plan(1)) ?? plan(1));
      expect(found).toMatchObject({ state: "running", used: { vcpus, memoryMiB } });
    });

    it("V1: a repeated start leaves the running VM as it is", async () => {
      await hypervisor.start(plan(1));
      expect(await hypervisor.start(plan(1))).toMatchObject({ kind: "done", domain: { state: "running" } });
      expect((await surveyed()).domains.filter(({ uuid }) => uuid === vmId(1))).toHaveLength(1);
    });

    it("V1: refuses a twin: another attempt at a VM that is there", async () => {
      await hypervisor.start(plan(1));
      expect(await hypervisor.start(plan(1, 2))).toMatchObject({ kind: "refused" });
      const found = (await surveyed()).domains.find(({ uuid }) => uuid === vmId(1));
      expect(found?.plan?.attempt).toBe(1);
    });

    it("V1: two starts of one attempt at the same time make one VM", async () => {
      const outcomes = await Promise.all([hypervisor.start(plan(1)), hypervisor.start(plan(1))]);
      expect(outcomes.some(({ kind }) => kind === "done")).toBe(true);
      expect((await surveyed()).domains.filter(({ uuid }) => uuid === vmId(1))).toHaveLength(1);
    });

    it("suspends, resumes, reboots and stops, and starts the stopped VM again", async () => {
      await hypervisor.start(plan(1));
      expect(await hypervisor.act(vmId(1), "suspend")).toMatchObject({ domain: { state: "paused" } });
      expect(await hypervisor.act(vmId(1), "resume")).toMatchObject({ domain: { state: "running" } });
      expect(await hypervisor.act(vmId(1), "reboot")).toMatchObject({ kind: "done" });
      expect(await hypervisor.act(vmId(1), "stop")).toMatchObject({ domain: { state: "stopped" } });
      expect(await stateOf(vmId(1))).toBe("stopped");
      expect(await hypervisor.start(plan(1))).toMatchObject({ domain: { state: "running" } });
    });

    it("orders that find nothing left to do are done", async () => {
      await hypervisor.start(plan(1));
      expect(await hypervisor.act(vmId(1), "resume")).toMatchObject({ kind: "done" });
      await hypervisor.act(vmId(1), "suspend");
      expect(await hypervisor.act(vmId(1), "suspend")).toMatchObject({ kind: "done", domain: { state: "paused" } });
      await hypervisor.act(vmId(1), "stop");
      expect(await hypervisor.act(vmId(1), "stop")).toMatchObject({ kind: "done", domain: { state: "stopped" } });
    });

    it("refuses orders about a VM that is not there, and leaves nothing behind", async () => {
      for (const action of ["stop", "suspend", "resume", "reboot"] as const)
        expect(await hypervisor.act(vmId(7), action)).toMatchObject({ kind: "refused" });
      expect(await stateOf(vmId(7))).toBeUndefined();
    });

    it("refuses to suspend, resume or reboot a stopped VM", async () => {
      await hypervisor.start(plan(1));
      await hypervisor.act(vmId(1), "stop");
      for (const action of ["suspend", "resume", "reboot"] as const)
        expect(await hypervisor.act(vmId(1), action), action).toMatchObject({ kind: "refused" });
    });

    it("deletes a running, a paused, a stopped VM and one that is not there", async () => {
      await hypervisor.start(plan(1));
      await hypervisor.start(plan(2));
      await hypervisor.act(vmId(2), "suspend");
      await hypervisor.start(plan(3));
      await hypervisor.act(vmId(3), "stop");
      for (const number of [1, 2, 3, 4]) expect(await hypervisor.act(vmId(number), "delete")).toEqual({ kind: "done" });
      for (const number of [1, 2, 3]) expect(await stateOf(vmId(number))).toBeUndefined();
    });

    it("a deleted VM's id can be used by a later attempt", async () => {
      await hypervisor.start(plan(1));
      await hypervisor.act(vmId(1), "delete");
      expect(await hypervisor.start(plan(1, 2))).toMatchObject({ kind: "done", domain: { plan: { attempt: 2 } } });
      expect((await surveyed()).domains.find(({ uuid }) => uuid === vmId(1))?.plan?.attempt).toBe(2);
    });

    it("H3: tells foreign domains apart from ours, with what they take", async () => {
      const foreign = await machine.addForeign();
      const found = await until("the foreign domain", async () =>
        (await surveyed()).domains.find(({ uuid }) => uuid === foreign),
      );
      expect(found.plan).toBeUndefined();
      expect(found.used.vcpus).toBeGreaterThan(0);
    });

    it("says that something changed when a guest ends by itself", async () => {
      await hypervisor.start(plan(1));
      events.length = 0;
      await machine.guestStops(vmId(1));
      await until("the change to be told", () => events.some(({ kind }) => kind === "changed"));
      expect(await stateOf(vmId(1))).toBe("stopped");
    });

    it("V4: closing leaves every VM as it is", async () => {
      await hypervisor.start(plan(1));
      const other = await opened();
      await hypervisor.close();
      hypervisor = other;
      expect(await stateOf(vmId(1))).toBe("running");
    });
  });
}
