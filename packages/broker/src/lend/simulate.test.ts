import type { RecordedRequest } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { PEERING, POLICY, SITE } from "../broker.fixture.ts";
import type { LenderPolicy } from "../peering/peering.ts";
import { simulatePolicy } from "./simulate.ts";

const MINUTE_MS = 60_000;
const REQUEST: RecordedRequest = {
  atMs: 0,
  cpus: 2,
  memoryMiB: 1_024,
  diskGiB: 1,
  gpus: 0,
  image: "debian-12",
  leaseMs: MINUTE_MS,
  durationMs: 10 * MINUTE_MS,
};

function simulate(lend: Partial<LenderPolicy>, requests: readonly Partial<RecordedRequest>[]) {
  const peering = { ...PEERING, lend: { ...POLICY, share: 1, leaseMsMax: 60 * MINUTE_MS, ...lend } };
  const steps = simulatePolicy({
    peering,
    siteTotal: SITE,
    images: ["debian-12"],
    requests: requests.map((part) => ({ ...REQUEST, ...part })),
  });
  for (;;) {
    const step = steps.next();
    if (step.done === true) {
      if ("kind" in step.value) throw new Error(step.value.message);
      return step.value;
    }
  }
}

describe("simulation of a policy", () => {
  it("grants what the rules grant, renewing leases as long as the VM is to run", () => {
    const view = simulate({}, [{}, { atMs: MINUTE_MS }]);
    expect(view).toMatchObject({ granted: 2, refused: {}, vmHours: 0.333 });
    expect(view.requests.map(({ ranMs }) => ranMs)).toEqual([10 * MINUTE_MS, 10 * MINUTE_MS]);
  });

  it("says of each why not, and lets the next have what came free", () => {
    const view = simulate({ quota: { vcpus: 2 } }, [
      {},
      { atMs: MINUTE_MS },
      { atMs: 10 * MINUTE_MS },
      { cpus: 3 },
      { image: "other" },
    ]);
    expect(view.requests.map(({ verdict, reason }) => reason ?? verdict)).toEqual([
      "granted",
      "quota-exceeded",
      "granted",
      "above-quota",
      "unknown-image",
    ]);
    expect(view.refused).toEqual({ "quota-exceeded": 1, "above-quota": 1, "unknown-image": 1 });
  });

  it("tells what waits for approval, and what was ended before its time by hours that were used up", () => {
    expect(simulate({ approveAbove: { vcpus: 1 } }, [{}]).requests).toMatchObject([{ verdict: "awaiting-approval" }]);
    const [cut] = simulate({ hoursPerPeriod: 0.1 }, [{}]).requests;
    expect(cut).toMatchObject({ verdict: "granted", message: expect.stringContaining("ended early") });
    expect(cut?.ranMs).toBeLessThanOrEqual(6 * MINUTE_MS);
    expect(cut?.ranMs).toBeGreaterThan(4 * MINUTE_MS);
  });

  it("is given up where it takes too long, and pauses on its way", () => {
    const peering = { ...PEERING, lend: { ...POLICY, share: 1 } };
    const requests = [{ ...REQUEST, leaseMs: 1_000, durationMs: 300 * 24 * 60 * MINUTE_MS }];
    const steps = simulatePolicy({ peering, siteTotal: SITE, images: ["debian-12"], requests });
    let pauses = 0;
    for (;;) {
      const step = steps.next();
      pauses += 1;
      if (step.done !== true) continue;
      expect(step.value).toMatchObject({ reason: "simulation-too-long" });
      break;
    }
    expect(pauses).toBeGreaterThan(100);
  });
});
