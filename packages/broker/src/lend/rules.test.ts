import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { holdOf, SPEC } from "../broker.fixture.ts";
import type { LenderPolicy } from "../peering/peering.ts";
import {
  ask,
  env,
  held,
  lease,
  leased,
  NOW,
  offerQuery,
  PEER,
  renew,
  restart,
  vmChanged,
  withPolicy,
} from "./lender.fixture.ts";
import { createLender } from "./lender.ts";
import type { LenderEnv } from "./lender-contract.ts";
import { closedForMs, isOpenAt } from "./opening-hours.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function asked(part: Partial<LenderEnv>, body = holdOf()) {
  return ask(createLender(), { kind: "hold", body }, part);
}

describe("lender: size-aware quota", () => {
  it.each([
    ["above-quota", { vcpus: 1 }],
    ["above-quota", { memoryMiB: 2_047 }],
    ["vms-limit", { vms: 0 }],
  ])("B5: refuses with %s what is larger than the quota %j", (reason, quota) => {
    expect(asked(withPolicy({ quota })).refusal).toMatchObject({ reason });
  });

  it("counts held and leased together, whatever the share leaves", () => {
    const lender = createLender();
    const part = withPolicy({ quota: { vcpus: 5 } });
    ask(lender, { kind: "hold", body: holdOf() }, part);
    ask(lender, { kind: "hold", body: holdOf() }, part);
    const { refusal } = ask(lender, { kind: "hold", body: holdOf() }, part);
    expect(refusal).toMatchObject({ kind: "resource-constraint", reason: "quota-exceeded", field: "spec.vcpus" });
    const offer = ask(lender, offerQuery(), part).answer;
    expect(offer).toMatchObject({ kind: "offer", body: { free: { vcpus: 1 } } });
  });

  it("limits nothing that it does not name", () => {
    expect(asked(withPolicy({ quota: { gpus: 0 } })).answer).toMatchObject({ kind: "held" });
  });
});

describe("lender: VM hours per period", () => {
  const hour = { hoursPerPeriod: 1, periodDays: 1, leaseMsMax: HOUR_MS } as const;

  it("refuses what it could not keep, with the figures and when the next period begins", () => {
    const body = holdOf({ leaseMs: HOUR_MS + 1_000 });
    const { refusal } = asked(withPolicy({ ...hour, leaseMsMax: 2 * HOUR_MS }), body);
    expect(refusal).toMatchObject({ reason: "hours-used-up", retryAfterMs: DAY_MS - NOW });
  });

  it("counts what ran also after a restart and after the exchange is forgotten, until the period ends", () => {
    const policy = withPolicy({ ...hour, hoursPerPeriod: 0.5 });
    let lender = createLender();
    const id = leased(lender);
    const gone = { kind: "vm-changed", peer: PEER, id, phase: "deleted" } as const;
    lender.step(gone, env({ ...policy, nowMs: NOW + 0.4 * HOUR_MS }));
    lender = restart(lender);
    const body = () => holdOf({ leaseMs: 0.2 * HOUR_MS });
    const later = { ...policy, nowMs: NOW + 10 * HOUR_MS };
    expect(ask(lender, { kind: "hold", body: body() }, later).refusal).toMatchObject({ reason: "hours-used-up" });
    lender = restart(lender);
    expect(ask(lender, { kind: "hold", body: body() }, later).refusal).toMatchObject({ reason: "hours-used-up" });
    const tomorrow = { ...policy, nowMs: DAY_MS };
    expect(ask(lender, { kind: "hold", body: body() }, tomorrow).answer).toMatchObject({ kind: "held" });
  });

  it("lets a lease run out rather than renew it beyond the hours", () => {
    const lender = createLender();
    const id = leased(lender);
    const tight = withPolicy({ ...hour, hoursPerPeriod: 40 / 3_600 });
    const { answer } = ask(lender, renew(id), tight);
    expect(answer).toMatchObject({
      body: { leases: [{ id, refusal: { reason: "hours-used-up" }, state: { stage: "leased" } }] },
    });
    expect(ask(lender, renew(id), withPolicy(hour)).answer).toMatchObject({ body: { leases: [{ state: { id } }] } });
  });

  it("never grants more than the hours, whatever is asked and when VMs end", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            gapMs: fc.nat(HOUR_MS),
            leaseMs: fc.integer({ min: 1_000, max: 2 * HOUR_MS }),
            ends: fc.boolean(),
          }),
          { maxLength: 30 },
        ),
        (steps) => {
          const lender = createLender();
          const policy = withPolicy({
            hoursPerPeriod: 3,
            periodDays: 30,
            leaseMsMax: 2 * HOUR_MS,
            vmsMax: 100,
            share: 1,
          });
          let nowMs = NOW;
          let ranMs = 0;
          for (const { gapMs, leaseMs, ends } of steps) {
            nowMs += gapMs;
            const at = { ...policy, nowMs, rememberMs: 10 * DAY_MS };
            const body = holdOf({ leaseMs });
            if (ask(lender, { kind: "hold", body }, at).answer === undefined) continue;
            ask(lender, { kind: "lease", body: { id: body.id, term: 1, leaseMs } }, at);
            const runMs = ends ? Math.floor(leaseMs / 2) : leaseMs;
            nowMs += runMs;
            ranMs += runMs;
            lender.step({ kind: "vm-changed", peer: PEER, id: body.id, phase: "deleted" }, env({ ...at, nowMs }));
          }
          expect(ranMs).toBeLessThanOrEqual(3 * HOUR_MS);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe("lender: opening hours", () => {
  const office = {
    days: ["mon", "tue", "wed", "thu", "fri"],
    from: "08:00",
    until: "18:30",
    timeZone: "Europe/Berlin",
  } as const;
  const night = { days: ["fri"], from: "22:00", until: "06:00", timeZone: "UTC" } as const;
  it.each([
    [true, office, "2026-01-05T07:00:00Z"],
    [false, office, "2026-01-05T06:59:00Z"],
    [true, office, "2026-07-06T06:00:00Z"],
    [false, office, "2026-01-05T17:30:00Z"],
    [false, office, "2026-01-04T10:00:00Z"],
    [true, night, "2026-01-02T23:00:00Z"],
    [true, night, "2026-01-03T05:59:00Z"],
    [false, night, "2026-01-03T06:00:00Z"],
    [false, night, "2026-01-02T05:00:00Z"],
  ])("is open: %s, by %o at %s", (open, hours, at) => {
    expect(isOpenAt({ ...hours, days: [...hours.days] }, Date.parse(at))).toBe(open);
  });

  it("takes 24:00 for the end of a day", () => {
    const hours = { days: ["sat" as const], from: "00:00", until: "24:00", timeZone: "UTC" };
    expect(isOpenAt(hours, Date.parse("2026-01-03T23:59:59Z"))).toBe(true);
    expect(isOpenAt(hours, Date.parse("2026-01-04T00:00:00Z"))).toBe(false);
  });

  it("says about when it opens, and refuses holds and renewals till then", () => {
    const nowMs = Date.parse("2026-01-05T03:00:00Z");
    const openingHours = { ...office, days: [...office.days] };
    expect(closedForMs(openingHours, nowMs)).toBe(4 * HOUR_MS);
    const part = { ...withPolicy({ openingHours }), nowMs };
    expect(asked(part).refusal).toMatchObject({ reason: "outside-hours", retryAfterMs: 4 * HOUR_MS });
    expect(ask(createLender(), offerQuery(), part).answer).toMatchObject({ body: { accepting: false } });
    const lender = createLender();
    const id = leased(lender);
    const at = { ...withPolicy({ openingHours: { ...openingHours, from: "07:00", until: "07:01" } }) };
    expect(ask(lender, renew(id), at).answer).toMatchObject({
      body: { leases: [{ refusal: { reason: "outside-hours" } }] },
    });
  });
});

describe("lender: what its policy says, rule by rule", () => {
  it("P4: names every rule with its figures, and changes nothing", () => {
    const lender = createLender();
    held(lender);
    const before = [...lender.records()];
    const policy: Partial<LenderPolicy> = { quota: { vcpus: 3 }, images: ["alpine-3"], approveAbove: { vcpus: 1 } };
    const explained = lender.explain(PEER, { spec: SPEC, leaseMs: 60_000 }, env(withPolicy(policy)));
    expect(explained).toMatchObject({ peer: PEER, verdict: "refused" });
    const verdicts = Object.fromEntries((explained?.rules ?? []).map(({ rule, verdict }) => [rule, verdict]));
    expect(verdicts).toEqual({
      accept: "grants",
      image: "refuses",
      lease: "grants",
      vms: "grants",
      share: "grants",
      quota: "refuses",
      room: "grants",
      approval: "asks",
    });
    expect([...lender.records()]).toEqual(before);
    expect(
      lender.explain("mallory.test", { spec: SPEC, leaseMs: 1_000 }, env({ peering: () => undefined })),
    ).toBeUndefined();
  });

  it("agrees with what a hold is told", () => {
    fc.assert(
      fc.property(
        fc.record({ vcpus: fc.nat(4), gpus: fc.nat(1) }),
        fc.nat(4),
        fc.constantFrom<readonly string[]>([], ["debian-12"], ["alpine-3"]),
        fc.option(fc.nat(3), { nil: undefined }),
        (quota, vms, images, vcpus) => {
          const part = withPolicy({
            quota: { ...quota, vms },
            images,
            ...(vcpus === undefined ? {} : { approveAbove: { vcpus } }),
          });
          const lender = createLender();
          const body = holdOf();
          const verdict = lender.explain(PEER, body, env(part))?.verdict;
          const { answer, refusal } = ask(lender, { kind: "hold", body }, part);
          const told =
            answer !== undefined
              ? "granted"
              : (refusal as { reason: string }).reason === "awaiting-approval"
                ? "awaiting-approval"
                : "refused";
          expect(told).toBe(verdict);
        },
      ),
    );
  });

  it("says its prices with the offer and with the hold, and keeps to those of the hold", () => {
    const prices = { vcpuHour: 1_000, memoryGiBHour: 100, gpuHour: 0 };
    const lender = createLender();
    const body = holdOf();
    expect(ask(lender, offerQuery(), withPolicy({ prices })).answer).toMatchObject({ body: { prices } });
    expect(ask(lender, { kind: "hold", body }, withPolicy({ prices })).answer).toMatchObject({ body: { prices } });
    const dearer = withPolicy({ prices: { ...prices, vcpuHour: 9_000 } });
    expect(ask(lender, { kind: "hold", body }, dearer).answer).toMatchObject({ body: { prices } });
    ask(lender, lease(body.id), dearer);
    vmChanged(lender, body.id, "running");
    expect(lender.find(PEER, body.id)).toMatchObject({ stage: "leased", prices });
  });
});

describe("maintenance of the lender", () => {
  const maintenance = { reason: "new switches", untilMs: NOW + 60_000 };

  it("grants nothing new, says until when, and renews what runs", () => {
    const lender = createLender();
    const id = leased(lender);
    expect(ask(lender, { kind: "hold", body: holdOf() }, { maintenance }).refusal).toMatchObject({
      kind: "resource-constraint",
      reason: "maintenance",
      message: "this site lends nothing new until 1970-01-01T00:02:40.000Z: new switches",
      retryAfterMs: 60_000,
    });
    expect(ask(lender, offerQuery(), { maintenance }).answer).toMatchObject({
      body: { accepting: false, reason: expect.stringContaining("new switches") },
    });
    expect(ask(lender, renew(id), { maintenance }).answer).toMatchObject({ body: { leases: [{ id, state: {} }] } });
    expect(lender.explain(PEER, { spec: SPEC, leaseMs: 60_000 }, env({ maintenance }))?.rules).toContainEqual(
      expect.objectContaining({ rule: "maintenance", verdict: "refuses" }),
    );
  });

  it("shows an offer without being asked, and none to a stranger", () => {
    const lender = createLender();
    leased(lender);
    const before = [...lender.records()];
    expect(lender.offer(PEER, env())).toMatchObject({ accepting: true, free: { vcpus: 14 } });
    expect(lender.offer("gamma.test", env({ peering: () => undefined }))).toBeUndefined();
    expect([...lender.records()]).toEqual(before);
  });
});
