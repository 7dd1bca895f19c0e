import { describe, expect, it } from "vitest";
import { checkHistory } from "./check-history.ts";
import type { FinalHost, FinalSite, FinalVm, History, SureRun } from "./history.ts";

const VM = "01900000-0000-7000-8000-000000000001";
const LENT = "01900000-0000-7000-8000-000000000002";
const WAITING = "01900000-0000-7000-8000-000000000003";

const vm = (more: Partial<FinalVm> = {}): FinalVm => ({
  id: VM,
  request: "r1",
  phase: "running",
  attempt: 1,
  origin: "local",
  place: { kind: "host", name: "host1" },
  reason: undefined,
  ...more,
});
const sureRun = (more: Partial<SureRun> = {}): SureRun => ({
  site: "alpha",
  host: "host1",
  vm: VM,
  start: "0/1",
  attempt: 1,
  sinceMs: 100,
  untilMs: 200,
  ...more,
});
const lease = (more: object = {}) => ({ id: "e1", peer: "beta.test", vm: LENT, stage: "leased", open: true, ...more });

const ALPHA: FinalSite = {
  site: "alpha",
  domain: "alpha.test",
  term: 5,
  requests: [
    { id: "r1", vms: [VM] },
    { id: "r2", vms: [LENT] },
    { id: "r3", vms: [WAITING] },
  ],
  vms: [
    vm(),
    vm({ id: LENT, request: "r2", attempt: 0, place: { kind: "peer", name: "beta.test" } }),
    vm({ id: WAITING, request: "r3", phase: "queued", attempt: 0, place: { kind: "none" } }),
  ],
  lent: [],
  borrowed: [lease()],
};
const BETA: FinalSite = {
  site: "beta",
  domain: "beta.test",
  term: 2,
  requests: [],
  vms: [vm({ id: LENT, request: "e1", origin: "peer" })],
  lent: [lease({ peer: "alpha.test" })],
  borrowed: [],
};
const HOST: FinalHost = {
  site: "alpha",
  host: "host1",
  domains: [{ vm: VM, attempt: 1 }],
  term: 5,
  attempts: [{ vm: VM, attempt: 1, state: "running" }],
};
const FAR_HOST: FinalHost = {
  site: "beta",
  host: "host1",
  domains: [{ vm: LENT, attempt: 1 }],
  term: 2,
  attempts: [{ vm: LENT, attempt: 1, state: "running" }],
};

/** A history in which everything held: one VM at home, one at the peer, one that waits. */
const GOOD: History = {
  requests: [
    { site: "alpha", id: "r1", expires: false, answers: [{ kind: "accepted", vms: [VM], atMs: 1 }] },
    { site: "alpha", id: "r2", expires: false, answers: [{ kind: "accepted", vms: [LENT], atMs: 1 }] },
    { site: "alpha", id: "r3", expires: false, answers: [{ kind: "accepted", vms: [WAITING], atMs: 1 }] },
    { site: "alpha", id: "r4", expires: false, answers: [{ kind: "refused", reason: "queue-full", atMs: 1 }] },
  ],
  deletes: [],
  runs: [sureRun(), sureRun({ site: "beta", vm: LENT })],
  overcommitted: [],
  waits: [{ site: "alpha", vm: WAITING, reason: "no room", candidates: 2 }],
  hosts: [HOST, FAR_HOST],
  sites: [ALPHA, BETA],
};

const asked = (id: string, answers: History["requests"][number]["answers"], expires = false) => ({
  site: "alpha",
  id,
  expires,
  answers,
});
const accepted = (...vms: string[]) => ({ kind: "accepted" as const, vms, atMs: 2 });
const refused = { kind: "refused" as const, reason: "queue-full", atMs: 3 };
const instead = (id: string, answers: History["requests"][number]["answers"], expires = false): History => ({
  ...GOOD,
  requests: GOOD.requests.map((one) => (one.id === id ? asked(id, answers, expires) : one)),
});
const alpha = (more: Partial<FinalSite>): History => ({ ...GOOD, sites: [{ ...ALPHA, ...more }, BETA] });
const alphaVm = (id: string, more: Partial<FinalVm>): History =>
  alpha({ vms: ALPHA.vms.map((one) => (one.id === id ? { ...one, ...more } : one)) });
const beta = (more: Partial<FinalSite>): History => ({ ...GOOD, sites: [ALPHA, { ...BETA, ...more }] });
const host = (more: Partial<FinalHost>): History => ({ ...GOOD, hosts: [{ ...HOST, ...more }, FAR_HOST] });
const GONE = { phase: "deleted", place: { kind: "none" as const } };
const NO_LONGER = { domains: [], attempts: [] };

const CASES: readonly (readonly [string, string, History])[] = [
  ["a request without any answer", "B1", instead("r4", [])],
  ["one id that was answered with two sets of VMs", "B1", instead("r1", [accepted(VM), accepted(LENT)])],
  ["one id that was accepted and then refused", "B1", instead("r1", [accepted(VM), refused])],
  ["a request stored that the client was refused", "B1", instead("r1", [refused])],
  ["an accepted request that is not stored", "L3", alpha({ requests: ALPHA.requests.slice(1) })],
  ["a request stored twice", "L3", alpha({ requests: [...ALPHA.requests, { id: "r1", vms: [VM] }] })],
  [
    "a request stored with other VMs than answered",
    "L3",
    alpha({ requests: [{ id: "r1", vms: [LENT] }, ...ALPHA.requests.slice(1)] }),
  ],
  ["a VM without a record", "P3", alpha({ vms: ALPHA.vms.slice(1) })],
  ["a VM that stays on its way", "P3", alphaVm(VM, { phase: "placing" })],
  ["a VM in doubt although all faults are gone", "P3", alphaVm(VM, { phase: "in-doubt" })],
  ["a deleted VM that runs", "P3", { ...GOOD, deletes: [{ site: "alpha", vm: VM, acknowledged: true }] }],
  [
    "a VM that is gone and that nobody deleted",
    "H3",
    { ...alphaVm(VM, GONE), hosts: [{ ...HOST, ...NO_LONGER }, FAR_HOST] },
  ],
  ["a VM that expired and was to wait", "P3", alphaVm(WAITING, { phase: "expired" })],
  ["a refused VM without a reason", "P4", alphaVm(WAITING, { phase: "refused" })],
  ["a VM that waits without a reason", "P4", { ...GOOD, waits: [] }],
  [
    "a wait without a candidate",
    "P4",
    { ...GOOD, waits: [{ site: "alpha", vm: WAITING, reason: "no room", candidates: 0 }] },
  ],
  ["a request that nobody asked for", "P3", alpha({ requests: [...ALPHA.requests, { id: "r9", vms: [] }] })],
  ["a VM that nobody asked for", "P3", alpha({ vms: [...ALPHA.vms, vm({ id: "x", request: "r9", phase: "queued" })] })],
  [
    "a VM on two hosts at once",
    "P1",
    { ...GOOD, runs: [...GOOD.runs, sureRun({ host: "host2", attempt: 2, sinceMs: 199, untilMs: 300 })] },
  ],
  [
    "a VM at home and at the peer at once",
    "P1",
    { ...GOOD, runs: [...GOOD.runs, sureRun({ site: "beta", sinceMs: 150, untilMs: 151 })] },
  ],
  [
    "one attempt on two hosts, one after the other",
    "H5",
    { ...GOOD, runs: [...GOOD.runs, sureRun({ host: "host2", sinceMs: 300, untilMs: 400 })] },
  ],
  [
    "a host with more than it has",
    "P2",
    { ...GOOD, overcommitted: [{ site: "alpha", host: "host1", atMs: 1, vcpus: 9, memoryMiB: 9, vms: [VM] }] },
  ],
  ["a running VM without a domain", "P1", host({ domains: [] })],
  ["a running VM on another host than stored", "P1", alphaVm(VM, { place: { kind: "host", name: "host2" } })],
  ["a domain without a record", "P3", host({ domains: [...HOST.domains, { vm: "x", attempt: 1 }] })],
  ["a domain of an earlier attempt", "P3", host({ domains: [{ vm: VM, attempt: 2 }] })],
  ["a host that obeyed a term nobody had", "H1", host({ term: 6 })],
  ["a journal in which an old attempt lives on", "H5", host({ attempts: [{ vm: VM, attempt: 7, state: "running" }] })],
  ["a lease at the lender alone", "B4", alpha({ borrowed: [lease({ stage: "closed", open: false })] })],
  ["a lease at the borrower alone", "B4", beta({ lent: [] })],
  ["a lease for one VM here and another there", "B4", beta({ lent: [lease({ peer: "alpha.test", vm: "x" })] })],
  ["a hold that never ends", "B4", beta({ lent: [lease({ peer: "alpha.test", stage: "held" })] })],
  ["a VM at a peer without a lease", "B4", alpha({ borrowed: [] })],
];

describe("the history's checker", () => {
  it("finds nothing where everything held", () => {
    expect(checkHistory(GOOD)).toEqual([]);
  });

  it.each(CASES)("catches %s: %s", (_, claim, history) => {
    expect(checkHistory(history).map((violation) => violation.claim)).toContain(claim);
  });

  it("P1: takes two runs for one after the other where they surely do not overlap", () => {
    const moved = sureRun({ host: "host2", attempt: 2, sinceMs: 200, untilMs: 300 });
    expect(checkHistory({ ...GOOD, runs: [...GOOD.runs, moved] })).toEqual([]);
  });

  it("accepts what a user deleted, what expired as asked, and the same answer again", () => {
    const gone = alphaVm(VM, GONE);
    const deleted = {
      ...gone,
      deletes: [{ site: "alpha", vm: VM, acknowledged: true }],
      hosts: [{ ...HOST, ...NO_LONGER }, FAR_HOST],
    };
    expect(checkHistory(deleted)).toEqual([]);
    const expired = {
      ...alphaVm(WAITING, { phase: "expired" }),
      requests: instead("r3", [accepted(WAITING)], true).requests,
    };
    expect(checkHistory(expired)).toEqual([]);
    expect(checkHistory(instead("r1", [accepted(VM), accepted(VM)]))).toEqual([]);
  });
});
