import { describe, expect, it } from "vitest";
import type { Place, VmRecord } from "../core/records.ts";
import { judgeStray } from "./next-order.ts";

const VM = "01900000-0000-7000-8000-000000000001";

function record(place: Place, part: Partial<VmRecord> = {}): VmRecord {
  return {
    id: VM,
    name: "web",
    request: "r-1",
    project: "default",
    user: "ann",
    spec: { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5, gpus: 0, labels: {} },
    priority: 5,
    burst: "allow",
    leaseMs: 60_000,
    origin: { kind: "local" },
    phase: "running",
    wanted: "running",
    place,
    attempt: 1,
    queueOrder: 1,
    createdAtMs: 0,
    changedAtMs: 0,
    ...part,
  };
}

const AT_PEER: Place = { kind: "peer", peer: "beta.test", exchange: "x-1" };

describe("what is left on a host of a VM that runs at a peer by now", () => {
  it("P1: the last attempt at home was over before the peer was asked: what is left of it is removed", () => {
    const left = { vm: VM, attempt: 1, state: "stopped" } as const;
    for (const phase of ["running", "paused", "stopped"] as const) {
      const judged = judgeStray(record(AT_PEER, { phase }), "h1", left);
      expect(judged, phase).toEqual({ kind: "order", order: { action: "delete", attempt: 1 } });
    }
  });

  it("P1: not before the VM is known to run there", () => {
    const left = { vm: VM, attempt: 1, state: "running" } as const;
    expect(judgeStray(record(AT_PEER, { phase: "in-doubt" }), "h1", left)).toEqual({ kind: "conflict" });
    expect(judgeStray(record(AT_PEER, { phase: "placing" }), "h1", left)).toEqual({ kind: "conflict" });
  });

  it("H3: an attempt that the record has not given out is left alone", () => {
    const newer = { vm: VM, attempt: 2, state: "running" } as const;
    expect(judgeStray(record(AT_PEER), "h1", newer)).toEqual({ kind: "conflict" });
  });

  it("P1: nor is one that another host has under the same number", () => {
    const place: Place = { kind: "host", host: "h2", startedOn: "confirmed" };
    const twin = { vm: VM, attempt: 1, state: "running" } as const;
    expect(judgeStray(record(place), "h1", twin)).toEqual({ kind: "conflict" });
  });
});
