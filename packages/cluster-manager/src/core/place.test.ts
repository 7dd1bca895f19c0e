import { describe, expect, it } from "vitest";
import { ScriptedHost } from "./scripted-host.fixture.ts";
import { ADMIN, ANN, ScriptedSite, SMALL } from "./scripted-site.fixture.ts";

const site = (hosts = 2) =>
  new ScriptedSite({ hosts: Array.from({ length: hosts }, (_, index) => new ScriptedHost(`h${index + 1}`)) });

describe("the path of a VM at home", () => {
  it("L3: answers only together with the record, and the start goes out after it", () => {
    const alpha = site();
    const seen: string[] = [];
    alpha.check = ({ changes, effects }) => {
      const keys = changes.map(({ key }) => key.split("/")[0]);
      for (const { kind } of effects)
        if (kind === "answer" || kind === "command") seen.push(`${kind} after ${keys.join(" ")}`);
    };
    alpha.create({ name: "web" });
    expect(seen).toEqual(["answer after vm request", "command after vm request"]);
  });

  it("runs, stops, suspends, resumes and is deleted as its user wants, and the host may forget it then", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 1, address: "192.0.2.7" });
    for (const [action, phase] of [
      ["stop", "stopped"],
      ["start", "running"],
      ["suspend", "paused"],
      ["resume", "running"],
      ["reboot", "running"],
    ] as const) {
      expect(alpha.ask({ kind: "vm-action", actor: ANN, vm: "web", action })?.kind).toBe("vm");
      alpha.flow();
      expect(alpha.vm("web").phase).toBe(phase);
    }
    const { place } = alpha.vm("web");
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web" });
    alpha.flow();
    expect(alpha.vm("web").phase).toBe("deleted");
    const host = place.kind === "host" ? alpha.hosts.get(place.host) : undefined;
    expect(host?.attempts.size).toBe(0);
  });

  it("P3, P4: what does not fit waits, says why host by host, and is placed when room comes free", () => {
    const alpha = site();
    alpha.create({ name: "fill", count: 8 });
    alpha.flow();
    alpha.create({ name: "late" });
    const why = alpha.core.views.why("late", alpha.nowMs);
    expect(why).toMatchObject({
      phase: "queued",
      position: 1,
      summary: "it waits as number 1: no host takes it: 2 lacks-vcpus",
    });
    expect(why?.candidates).toMatchObject([
      { name: "h1", verdict: "refused", reason: "lacks-vcpus", message: "it has 0 of 8 vCPUs free, 2 are needed" },
      { name: "h2", verdict: "refused", reason: "lacks-vcpus" },
    ]);
    expect(alpha.core.views.queue(alpha.nowMs)).toMatchObject([{ position: 1, name: "late", priority: 5 }]);
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "fill-3" });
    alpha.flow();
    expect(alpha.vm("late").phase).toBe("running");
    expect(alpha.core.views.queue(alpha.nowMs)).toEqual([]);
  });

  it("P4: what waits says so wherever it is shown, in a person's words, and no longer than it waits", () => {
    const alpha = new ScriptedSite({ hosts: [new ScriptedHost("h1")] });
    alpha.create({ name: "web", count: 4 });
    alpha.flow();
    alpha.create({ name: "late" });
    alpha.flow();
    expect(alpha.vm("late")).toMatchObject({ phase: "queued", reason: "no host takes it: 1 lacks-vcpus" });
    const why = alpha.core.views.why("late", alpha.nowMs);
    expect(why?.candidates[0]?.message).toBe("it has 0 of 8 vCPUs free, 2 are needed");
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web-1" });
    alpha.flow();
    expect(alpha.vm("late").phase).toBe("running");
    expect(alpha.vm("late").reason).toBeUndefined();
  });

  it("P2: shows what is free of what may be promised, overcommit included", () => {
    const alpha = new ScriptedSite({
      policy: { overcommit: { vcpus: 2, memory: 1 } },
      hosts: [new ScriptedHost("h1")],
    });
    alpha.create({ name: "web" });
    alpha.flow();
    const host = alpha.core.views.host("h1", alpha.nowMs);
    expect([host?.free.vcpus, host?.promisable?.vcpus, host?.total.vcpus]).toEqual([14, 16, 8]);
    expect(host?.statusLine).toBe("14/16 vCPU free, 1 VM");
  });

  it("shows site and hosts as they are", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    expect(alpha.core.views.site(alpha.nowMs)).toMatchObject({
      total: { vcpus: 16 },
      used: { vcpus: 2 },
      free: { vcpus: 14 },
      hosts: { alive: 2 },
      vms: { running: 1 },
      reconciled: true,
    });
    expect(alpha.core.views.host("h1", alpha.nowMs)?.statusLine).toBe("6/8 vCPU free, 1 VM");
  });

  it("says beforehand of several alike how many go where, and what becomes of the others", () => {
    const alpha = site(2);
    const create = {
      name: "web",
      count: 3,
      project: "default",
      spec: { ...SMALL, vcpus: 4, gpus: 0, labels: {} },
      priority: 5,
      burst: "never",
      leaseMs: 60_000,
    } as const;
    const dryRun = (change: object) => alpha.core.views.dryRun(ADMIN, { ...create, ...change }, alpha.nowMs);
    expect(dryRun({})).toMatchObject({ phase: "placing", summary: "all 3 would be placed on h1 (2), h2" });
    const many = dryRun({ count: 6 });
    expect(many.phase).toBe("queued");
    expect(many.summary).toContain(
      "4 of 6 would be placed on h1 (2), h2 (2); of the others: it would wait: h1: it has 0",
    );
    const apart = dryRun({ spec: { ...create.spec, antiAffinityGroup: "web" } });
    expect(apart.summary).toContain(
      "2 of 3 would be placed on h1, h2; of the others: it would wait: h1: a VM of the same",
    );
    expect(alpha.core.views.vms()).toEqual([]);
  });

  it("says beforehand what would become of a request, and changes nothing", () => {
    const alpha = site(1);
    const create = {
      name: "web",
      count: 1,
      project: "default",
      spec: { ...SMALL, gpus: 0, labels: {} },
      priority: 5,
      burst: "never",
      leaseMs: 60_000,
    } as const;
    expect(alpha.core.views.dryRun(ADMIN, create, alpha.nowMs)).toMatchObject({
      phase: "placing",
      candidates: [{ verdict: "chosen" }],
    });
    const large = { ...create, spec: { ...create.spec, vcpus: 9 } };
    expect(alpha.core.views.dryRun(ADMIN, large, alpha.nowMs)).toMatchObject({
      phase: "queued",
      candidates: [{ reason: "too-small" }],
    });
    const unknown = { ...create, spec: { ...create.spec, image: "nope" } };
    expect(alpha.core.views.dryRun(ADMIN, unknown, alpha.nowMs).phase).toBe("refused");
    expect(alpha.core.views.vms()).toEqual([]);
  });
});
