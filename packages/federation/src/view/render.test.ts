import { stripVTControlCharacters } from "node:util";
import type { HostView, LeaseView, QueueEntry, VmView } from "@muster/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { renderView } from "./render.ts";
import type { SiteSnapshot } from "./snapshot.ts";

const SIZE = { vcpus: 8, memoryMiB: 16_384, diskGiB: 200, gpus: 0 };
const HOST = { name: "host1", liveness: "alive", condition: "accepting", draining: false, statusLine: "6/6 vCPU free" };
const VM = { name: "web", phase: "running", place: { kind: "host", host: "host1" }, origin: { kind: "local" } };
const QUEUED = { position: 1, name: "waits", reason: "no room" };
const LEASE = { role: "borrower", peer: "beta.test", name: "web", stage: "leased", remainingMs: 61_000, renewals: 2 };

function snapshot(hosts: number, vms: number, queued: number, leases: number): SiteSnapshot {
  const times = <Item>(count: number, item: object): Item[] => Array.from({ length: count }, () => item as Item);
  return {
    kind: "seen",
    name: "alpha",
    site: { domain: "alpha.test", term: 3, leader: "a", used: SIZE, total: SIZE } as Extract<
      SiteSnapshot,
      { kind: "seen" }
    >["site"],
    hosts: times<HostView>(hosts, HOST),
    vms: [...times<VmView>(vms, VM), ...times<VmView>(queued, { ...VM, phase: "queued" })],
    queue: times<QueueEntry>(queued, QUEUED),
    leases: times<LeaseView>(leases, LEASE),
  };
}

describe("renderView", () => {
  it("shows hosts, VMs, queue, leases and the next commands", () => {
    const lines = renderView([snapshot(1, 1, 1, 1)], ["try this"], { columns: 100, rows: 40, color: false });
    expect(lines).toEqual([
      "alpha.test  term 3, leader a, 8/8 vCPU, 16/16 GiB used",
      "  host    host1    accepting  6/6 vCPU free",
      "  vm      web            running    on host1",
      "  queued  1. waits: no room",
      "  lease   web            leased     from beta.test, 61 s left, 2 renewals",
      "",
      "try this",
    ]);
  });

  it("says why a site is silent, and counts what it does not list", () => {
    const silent: SiteSnapshot = { kind: "silent", name: "beta", why: "connection refused" };
    const lines = renderView([silent, snapshot(50, 20, 10, 9)], [], { columns: 100, rows: 100, color: false });
    expect(lines[0]).toBe("beta  no answer: connection refused");
    const more = ["  … and 42 more hosts", "  … and 12 more VMs", "  … and 2 more queued", "  … and 1 more leases"];
    expect(lines).toEqual(expect.arrayContaining(more));
  });

  it("fits every screen, coloured or not", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 2, max: 60 }),
        fc.boolean(),
        fc.nat(60),
        (columns, rows, color, count) => {
          const lines = renderView([snapshot(count, count, count, count)], ["h"], { columns, rows, color });
          expect(lines.length).toBeLessThan(Math.max(rows, 3));
          for (const line of lines) expect(stripVTControlCharacters(line).length).toBeLessThanOrEqual(columns);
        },
      ),
    );
  });
});
