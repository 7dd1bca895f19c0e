import { describe, expect, it } from "vitest";
import { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { ANN, ScriptedSite, SMALL } from "../core/scripted-site.fixture.ts";
import { PASSES_MAX } from "./drain.ts";
import { WaitQueue } from "./wait-queue.ts";

const LARGE = { ...SMALL, vcpus: 8 };

/** One host of 8 vCPUs, of which `fill` VMs of 2 take all. */
function fullSite(): ScriptedSite {
  const site = new ScriptedSite({ hosts: [new ScriptedHost("h1")] });
  site.create({ name: "fill", count: 4 });
  site.flow();
  return site;
}

function free(site: ScriptedSite, name: string): void {
  site.ask({ kind: "vm-delete", actor: ANN, vm: name });
  site.flow();
}

const waiting = (site: ScriptedSite) => site.core.views.queue(site.nowMs).map(({ name }) => name);

describe("the queue", () => {
  it("is ordered by priority, then age, and survives a restart", () => {
    const site = fullSite();
    site.create({ name: "a" });
    site.create({ name: "b", priority: 9 });
    site.create({ name: "c" });
    site.create({ name: "d", priority: 1 });
    expect(waiting(site)).toEqual(["b", "a", "c", "d"]);
    site.restart();
    expect(waiting(site)).toEqual(["b", "a", "c", "d"]);
    site.advance(2_000);
    free(site, "fill-1");
    expect(waiting(site)).toEqual(["a", "c", "d"]);
  });

  it("backfill: a small VM passes a large one that does not fit, but only so many times", () => {
    const site = fullSite();
    site.create({ name: "large", spec: LARGE });
    free(site, "fill-1");
    let passed = 0;
    for (; passed < PASSES_MAX + 5; passed += 1) {
      site.create({ name: `small-${passed}` });
      site.flow();
      if (site.vm(`small-${passed}`).phase !== "running") break;
      free(site, `small-${passed}`);
    }
    expect(passed).toBe(PASSES_MAX);
    for (const name of ["fill-2", "fill-3", "fill-4"]) free(site, name);
    expect(site.vm("large").phase).toBe("running");
    expect(waiting(site)).toEqual([`small-${PASSES_MAX}`]);
  });

  it("backfill: one that no host could ever take holds up nobody", () => {
    const site = fullSite();
    site.create({ name: "huge", spec: { ...SMALL, vcpus: 99 } });
    free(site, "fill-1");
    site.advance(900_000);
    for (let round = 0; round < PASSES_MAX + 5; round += 1) {
      site.create({ name: `small-${round}` });
      site.flow();
      expect(site.vm(`small-${round}`).phase).toBe("running");
      free(site, `small-${round}`);
    }
    expect(waiting(site)).toEqual(["huge"]);
  });

  it("P3: a request that waited as long as it may expires, and one that is withdrawn is cancelled", () => {
    const site = fullSite();
    site.create({ name: "brief", expiresAfterMs: 5_000 });
    site.create({ name: "patient" });
    site.advance(6_000);
    expect(site.vm("brief")).toMatchObject({ phase: "expired" });
    site.ask({ kind: "vm-delete", actor: ANN, vm: "patient" });
    expect(site.vm("patient")).toMatchObject({ phase: "cancelled" });
    expect(waiting(site)).toEqual([]);
  });

  it("keeps anti-affinity groups apart, and waits where it cannot", () => {
    const site = new ScriptedSite({ hosts: [new ScriptedHost("h1"), new ScriptedHost("h2")] });
    site.create({ name: "db", count: 3, spec: { ...SMALL, antiAffinityGroup: "db" } });
    site.flow();
    expect(new Set(["db-1", "db-2"].map((name) => JSON.stringify(site.vm(name).place))).size).toBe(2);
    expect(site.core.views.why("db-3", site.nowMs)?.summary).toContain("2 anti-affinity");
  });

  it("finds positions among thousands", () => {
    const queue = new WaitQueue();
    const entries = Array.from({ length: 2_000 }, (_, index) => ({
      record: { id: `${index}`, priority: (index * 7) % 10, queueOrder: index },
    }));
    for (const entry of entries) queue.add(entry);
    const sorted = [...entries].sort(
      (left, right) => right.record.priority - left.record.priority || left.record.queueOrder - right.record.queueOrder,
    );
    expect(queue.entries).toEqual(sorted);
    for (const entry of entries.filter((_, index) => index % 3 === 0)) queue.remove(entry);
    expect(queue.size).toBe(2_000 - 667);
    expect(
      queue.positionOf(entries[0] ?? sorted[0] ?? { record: { id: "", priority: 0, queueOrder: 0 } }),
    ).toBeUndefined();
    expect(
      queue.positionOf(
        queue.entries[5] ?? entries[0] ?? sorted[0] ?? { record: { id: "", priority: 0, queueOrder: 0 } },
      ),
    ).toBe(6);
  });
});
