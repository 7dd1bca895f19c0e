/** Two sites: what the lender's rules do to a VM that bursts, as both sides show it. */
import type { LenderPolicy, Peering } from "@muster/broker";
import { vmCreateSchema } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { decodeRecord } from "./record-schema.ts";
import { ALPHA, BETA, Federation } from "./scripted-federation.fixture.ts";
import { ADMIN, ANN, peering, type ScriptedSite, SMALL } from "./scripted-site.fixture.ts";

const NOTHING = { accept: false, share: 0, leaseMsMax: 0, vmsMax: 0, images: [] };

/** Alpha is full and borrows; beta lends by this policy. */
function federation(lend: Partial<LenderPolicy>, borrower: Partial<Peering> = {}): Federation {
  const both = new Federation(1, {
    alpha: { peerings: [peering(BETA, { lend: NOTHING, ...borrower })] },
    beta: { peerings: [peering(ALPHA, { lend: { ...peering(ALPHA).lend, ...lend }, borrow: false })] },
  });
  both.alpha.create({ name: "fill", count: 4 });
  both.exchange();
  return both;
}

function leaseOf(site: ScriptedSite) {
  return site.core.views.leases(site.nowMs).find(({ stage }) => stage !== "closed");
}

function events(site: ScriptedSite): string[] {
  return site.effects.flatMap((effect) => (effect.kind === "event" ? [effect.event.message] : []));
}

describe("approval between two sites", () => {
  it("B1: waits, is shown to the lender's admin, and runs once it is approved, under the same exchange", () => {
    const both = federation({ approveAbove: { vcpus: 1 } });
    both.alpha.create({ name: "away", burst: "allow" });
    both.advance(3_000);
    const waiting = leaseOf(both.beta);
    expect(waiting).toMatchObject({ role: "lender", stage: "pending-approval", name: "away" });
    const why = both.alpha.core.views.why(both.alpha.vm("away").id, both.alpha.nowMs);
    expect(why?.candidates).toContainEqual(expect.objectContaining({ name: BETA, reason: "awaiting-approval" }));
    const lease = waiting?.id ?? "";
    expect(both.beta.ask({ kind: "lease-decide", actor: ANN, lease, approve: true })).toMatchObject({
      refusal: { reason: "admin-only" },
    });
    both.beta.restart();
    both.advance(5_000);
    expect(both.beta.ask({ kind: "lease-decide", actor: ADMIN, lease, approve: true })).toMatchObject({
      kind: "lease",
    });
    expect(leaseOf(both.beta)).toMatchObject({ stage: "approved", reason: expect.stringMatching(/asks again/) });
    both.advance(65_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", place: { kind: "peer", peer: BETA, lease } });
    expect(both.beta.core.views.leases(both.beta.nowMs)).toMatchObject([{ id: lease, stage: "leased" }]);
  });

  it("goes on waiting at home once it is denied, and says so", () => {
    const both = federation({ approveAbove: { vcpus: 1 } });
    both.alpha.create({ name: "away", burst: "allow" });
    both.advance(3_000);
    const lease = leaseOf(both.beta)?.id ?? "";
    both.beta.ask({ kind: "lease-decide", actor: ADMIN, lease, approve: false, reason: "too large" });
    both.advance(65_000);
    expect(both.alpha.vm("away").phase).toBe("queued");
  });
});

describe("the lender takes back", () => {
  it("revokes a lease visibly on both sides, with its reason; the VM waits again at home", () => {
    const both = federation({});
    both.alpha.create({ name: "away", burst: "allow" });
    both.advance(3_000);
    const lease = leaseOf(both.beta)?.id ?? "";
    both.beta.ask({ kind: "lease-revoke", actor: ADMIN, lease, noticeMs: 10_000, reason: "audit" });
    both.exchange();
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", reason: expect.stringContaining("audit") });
    expect(leaseOf(both.alpha)).toMatchObject({ endsWithinMs: 10_000, reason: "revoked by the lender: audit" });
    expect(leaseOf(both.beta)).toMatchObject({ endsWithinMs: 10_000, reason: "revoked by the lender: audit" });
    expect(events(both.beta).join("\n")).toContain("audit");
    expect(events(both.alpha).join("\n")).toContain("audit");
    both.advance(9_000);
    expect(both.alpha.vm("away").place.kind).toBe("peer");
    both.advance(8_000);
    expect(both.beta.core.views.vms().filter(({ phase }) => phase === "running")).toEqual([]);
    const reasons = [...both.alpha.core.views.vms()].filter(({ name }) => name === "away").map(({ reason }) => reason);
    expect(reasons.join()).toContain("audit");
  });

  it("gives notice when its own users wait, ends the lease at the deadline, and its own VM runs", () => {
    const both = federation({ preempt: { noticeMs: 10_000 } });
    both.alpha.create({ name: "away", burst: "allow", leaseMs: 300_000 });
    both.advance(3_000);
    expect(both.alpha.vm("away").place.kind).toBe("peer");
    both.beta.create({ name: "own", count: 8 });
    both.advance(3_000);
    const waits = both.beta.core.views.queue(both.beta.nowMs);
    expect(waits).toHaveLength(1);
    expect(leaseOf(both.alpha)?.endsWithinMs).toBeUndefined();
    both.advance(5_000);
    expect(leaseOf(both.alpha)).toMatchObject({ reason: expect.stringContaining("its own users") });
    expect(leaseOf(both.alpha)?.endsWithinMs).toBeGreaterThan(0);
    both.beta.restart();
    both.advance(25_000);
    expect(both.beta.core.views.queue(both.beta.nowMs)).toEqual([]);
    expect(both.alpha.vm("away").phase).toBe("queued");
  });

  it("withdraws the notice when the VM that waited needs the room no more, and the lease goes on", () => {
    const both = federation({ preempt: { noticeMs: 20_000 } });
    both.alpha.create({ name: "away", burst: "allow", leaseMs: 300_000 });
    both.advance(3_000);
    both.beta.create({ name: "own", count: 8 });
    both.advance(8_000);
    expect(leaseOf(both.alpha)?.endsWithinMs).toBeGreaterThan(0);
    const running = both.beta.core.views.vms().find(({ name, phase }) => name.startsWith("own") && phase === "running");
    both.beta.step({ kind: "vm-delete", ticket: 77, actor: ADMIN, vm: running?.id ?? "" });
    both.advance(4_000);
    expect(both.beta.core.views.queue(both.beta.nowMs)).toEqual([]);
    expect(leaseOf(both.alpha)).toMatchObject({ stage: "leased" });
    expect(leaseOf(both.alpha)?.endsWithinMs).toBeUndefined();
    expect(leaseOf(both.beta)?.endsWithinMs).toBeUndefined();
    expect(events(both.beta).join("\n")).toContain("goes on: its room is not needed any more");
    both.advance(60_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", place: { kind: "peer" } });
  });

  it("takes nothing back where the policy does not say so", () => {
    const both = federation({});
    both.alpha.create({ name: "away", burst: "allow" });
    both.advance(3_000);
    both.beta.create({ name: "own", count: 8 });
    both.advance(30_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", place: { kind: "peer" } });
  });
});

describe("prices", () => {
  const prices = { vcpuHour: 1_000, memoryGiBHour: 0, gpuHour: 0 };

  it("are shown by a dry run with the chosen peer, and by the lease on both sides", () => {
    const both = federation({ prices });
    both.advance(15_000);
    const dry = both.alpha.core.views.dryRun(
      ANN,
      vmCreateSchema.parse({ name: "away", burst: "allow", spec: SMALL }),
      both.alpha.nowMs,
    );
    expect(dry.candidates).toContainEqual(
      expect.objectContaining({ kind: "peer", name: BETA, verdict: "chosen", pricePerHour: 2_000 }),
    );
    both.alpha.create({ name: "away", burst: "allow" });
    both.advance(3_000);
    expect([leaseOf(both.alpha)?.prices, leaseOf(both.beta)?.prices]).toEqual([prices, prices]);
  });

  it("P4: a peer that is too dear is not asked, and why says so", () => {
    const both = federation({ prices });
    both.alpha.create({ name: "away", burst: "allow", maxPricePerHour: 1_999 });
    both.advance(3_000);
    const why = both.alpha.core.views.why(both.alpha.vm("away").id, both.alpha.nowMs);
    expect(why?.candidates).toContainEqual(expect.objectContaining({ name: BETA, reason: "over-price" }));
    expect(both.beta.core.views.leases(both.beta.nowMs)).toEqual([]);
  });

  it("the budget is a hard stop: what it does not pay for is not begun, and not renewed, also after a restart", () => {
    const budgets = { default: { limit: 100, periodDays: 30 } };
    const both = new Federation(1, {
      alpha: { peerings: [peering(BETA, { lend: NOTHING })], budgets },
      beta: { peerings: [peering(ALPHA, { lend: { ...peering(ALPHA).lend, prices }, borrow: false })] },
    });
    both.alpha.create({ name: "fill", count: 4 });
    // 2 vCPUs cost 2000 an hour: a minute 33.
    both.alpha.create({ name: "away", burst: "allow", leaseMs: 60_000 });
    both.advance(3_000);
    expect(both.alpha.vm("away").place.kind).toBe("peer");
    both.advance(60_000);
    both.alpha.restart();
    both.advance(240_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "queued" });
    const why = both.alpha.core.views.why(both.alpha.vm("away").id, both.alpha.nowMs);
    expect(why?.candidates).toContainEqual(expect.objectContaining({ name: BETA, reason: "over-budget" }));
    expect(JSON.parse(JSON.stringify(both.alpha.store.get("spent/default")))).toMatchObject({ project: "default" });
    const { amount } = both.alpha.store.get("spent/default") as { amount: number };
    expect(amount).toBeGreaterThan(60);
    expect(amount).toBeLessThanOrEqual(100);
  });
});

describe("what a policy grants, as an admin asks", () => {
  it("explains rule by rule, from the site as it is", () => {
    const both = federation({ quota: { vcpus: 1 } });
    both.advance(3_000);
    const wish = { spec: { ...SMALL, gpus: 0, labels: {} }, leaseMs: 60_000 };
    const explained = both.beta.core.views.explainPolicy(ALPHA, wish, both.beta.nowMs);
    expect(explained?.verdict).toBe("refused");
    expect(explained?.rules).toContainEqual(expect.objectContaining({ rule: "quota", verdict: "refuses" }));
    expect(both.beta.core.views.explainPolicy("mallory.test", wish, both.beta.nowMs)).toBeUndefined();
    expect(both.beta.core.views.policyBasis(ALPHA, both.beta.nowMs)?.siteTotal.vcpus).toBe(16);
  });
});

describe("stored exchanges", () => {
  it("of before the rules load unchanged", () => {
    const old = {
      id: "01900000-0000-7000-8000-000000000001",
      peer: ALPHA,
      digest: "",
      stage: "voided",
      revision: 1,
      leaseMs: 0,
      expiresAtMs: 1,
      renewals: 0,
      changedAtMs: 1,
    };
    expect(decodeRecord(`lend/${ALPHA}/${old.id}`, old)).toEqual({ kind: "lend", record: old });
  });
});

describe("what becomes of a VM whose lender gives notice", () => {
  /** A VM at beta, and a notice of ten seconds. */
  function noticed(onNotice: "extend" | "save" | "stop" | undefined, ofProject?: "save" | "stop"): Federation {
    const both = new Federation(1, {
      alpha: {
        peerings: [peering(BETA, { lend: NOTHING })],
        ...(ofProject === undefined ? {} : { onNotice: { default: ofProject } }),
      },
      beta: { peerings: [peering(ALPHA, { borrow: false })] },
    });
    both.alpha.create({ name: "fill", count: 4 });
    both.exchange();
    both.alpha.create({
      name: "away",
      burst: "allow",
      leaseMs: 300_000,
      ...(onNotice === undefined ? {} : { onNotice }),
    });
    both.advance(3_000);
    both.beta.ask({
      kind: "lease-revoke",
      actor: ADMIN,
      lease: leaseOf(both.beta)?.id ?? "",
      noticeMs: 10_000,
      reason: "audit",
    });
    both.advance(4_000);
    return both;
  }

  function goHome(both: Federation): void {
    const fill = both.alpha.core.views.vms().find(({ name, phase }) => name.startsWith("fill") && phase === "running");
    both.alpha.ask({ kind: "vm-delete", actor: ADMIN, vm: fill?.id ?? "" });
    both.advance(20_000);
  }

  it("extend: it runs until the end, and then elsewhere, as a new attempt (P1)", () => {
    const both = noticed("extend");
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", place: { kind: "peer" } });
    goHome(both);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", place: { kind: "host" }, wanted: "running" });
    expect(both.beta.core.views.vms().filter(({ phase }) => phase === "running")).toEqual([]);
  });

  it("save: it is shut down in order before the end, and runs elsewhere after it", () => {
    const both = noticed("save");
    expect(both.alpha.vm("away")).toMatchObject({ phase: "stopped", place: { kind: "peer" }, wanted: "running" });
    both.alpha.restart();
    goHome(both);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", place: { kind: "host" } });
  });

  it.each([
    ["its user", noticed.bind(undefined, "stop")],
    ["its project", noticed.bind(undefined, undefined, "stop")],
  ])("P3: stop: it is shut down in order and ends with its lease, as %s chose, and says so", (_who, begin) => {
    const both = begin();
    expect(both.alpha.vm("away")).toMatchObject({ phase: "stopped", place: { kind: "peer" } });
    goHome(both);
    expect(both.alpha.vm("away")).toMatchObject({
      phase: "deleted",
      reason: expect.stringMatching(/audit.*it was to stop then/),
    });
  });

  it("a user's own choice comes before the project's", () => {
    expect(noticed("extend", "stop").alpha.vm("away")).toMatchObject({ phase: "running" });
  });
});

describe("classes of hosts", () => {
  const lend = { ...peering(ALPHA).lend, share: 1, classes: { gpu: 0.25 } };

  function labelled(): Federation {
    const both = federation(lend);
    const host = both.beta.hosts.get("k1");
    if (host !== undefined) host.labels = { class: "gpu" };
    both.advance(5_000);
    return both;
  }

  const onGpu = (both: Federation) =>
    both.beta.core.views
      .vms()
      .filter(({ place, phase }) => place.kind === "host" && place.host === "k1" && phase === "running");

  it("P2: lends at most the peer's share of a class, also after a restart, and says why it lends no more", () => {
    const both = labelled();
    both.alpha.create({ name: "away", burst: "allow", count: 7 });
    both.advance(10_000);
    both.beta.restart();
    both.advance(60_000);
    // 8 vCPUs each: all of k2, and a quarter of k1.
    expect(onGpu(both)).toHaveLength(1);
    const running = both.beta.core.views.vms().filter(({ phase }) => phase === "running");
    expect(running).toHaveLength(5);
    const waiting = both.alpha.core.views.queue(both.alpha.nowMs);
    expect(waiting).toHaveLength(2);
    const why = both.alpha.core.views.why(waiting[0]?.vm ?? "", both.alpha.nowMs);
    expect(why?.candidates).toContainEqual(
      expect.objectContaining({
        name: BETA,
        reason: "class-share",
        message: expect.stringMatching(/2 vCPUs of class gpu, and has 2/),
      }),
    );
  });

  it("P4: explains how far each class is used", () => {
    const both = labelled();
    const wish = { spec: { ...SMALL, gpus: 0, labels: {} }, leaseMs: 60_000 };
    const explained = both.beta.core.views.explainPolicy(ALPHA, wish, both.beta.nowMs);
    expect(explained?.rules).toContainEqual(
      expect.objectContaining({
        rule: "classes",
        verdict: "grants",
        message: expect.stringMatching(/of class gpu \(25 %\) 0 of 2 vCPUs/),
      }),
    );
  });

  it("shows the peer no more of a class than its share", () => {
    const both = labelled();
    expect(both.beta.core.views.shownTo(ALPHA, both.beta.nowMs)?.classes).toMatchObject([
      { name: "gpu", free: { vcpus: 2 } },
    ]);
  });

  it("limits nobody's own VMs, and no other class", () => {
    const both = labelled();
    both.beta.create({ name: "own", count: 8 });
    both.advance(5_000);
    expect(onGpu(both)).toHaveLength(4);
  });
});
