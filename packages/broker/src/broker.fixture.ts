/** What the tests of both sides share: one peering, one spec, and environments with everything allowed. */
import type { Hold, Resources, VmSpec } from "@muster/protocol";
import type { BorrowerEnv, BorrowerEvent } from "./borrow/borrower-contract.ts";
import { burstDigest } from "./burst-digest.ts";
import type { LenderEnv } from "./lend/lender-contract.ts";
import type { LenderPolicy, Peering } from "./peering/peering.ts";

export const POLICY: LenderPolicy = { accept: true, share: 0.5, leaseMsMax: 300_000, vmsMax: 10, images: [] };
export const PEERING: Peering = {
  domain: "beta.test",
  publicKey: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  lend: POLICY,
  borrow: true,
  state: "active",
};
export const SPEC: VmSpec = { image: "debian-12", vcpus: 2, memoryMiB: 2_048, diskGiB: 10, gpus: 0, labels: {} };
export const SITE: Resources = { vcpus: 32, memoryMiB: 65_536, diskGiB: 1_000, gpus: 0 };

/** A lender's environment at `beta.test`, whose peer is `alpha.test`. */
export function lenderEnv(part: Partial<LenderEnv> = {}): LenderEnv {
  return {
    nowMs: 100_000,
    term: 1,
    agent: "muster 0.1.0",
    peering: (domain) => (domain === "alpha.test" ? { ...PEERING, domain } : undefined),
    roomFor: () => undefined,
    siteTotal: SITE,
    siteFree: SITE,
    largest: SITE,
    images: ["debian-12", "alpine-3"],
    graceMs: 10_000,
    rememberMs: 600_000,
    ...part,
  };
}

/** Makes ids in UUID form, counting up: the same in every run. */
export function idMaker(): () => string {
  let ids = 0;
  return () => {
    ids += 1;
    return `01900000-0000-7000-8000-${ids.toString(16).padStart(12, "0")}`;
  };
}

export const newId = idMaker();

export function borrowerEnv(part: Partial<BorrowerEnv> = {}): BorrowerEnv {
  return { nowMs: 100_000, term: 1, newId, peerings: () => [PEERING], ...part };
}

type WantEvent = BorrowerEvent & { readonly kind: "want" };

export function want(part: Partial<WantEvent> = {}): WantEvent {
  const vm = "01900000-0000-7000-8000-00000000aaaa";
  return { kind: "want", vm, name: "web", project: "default", owner: "ann", spec: SPEC, leaseMs: 60_000, ...part };
}

/** A hold as a borrower would send it, with the digest that belongs to it unless another one is given. */
export function holdOf(part: Partial<Hold> = {}): Hold {
  const { kind: _, tunnel: __, maxPricePerHour: ___, image: ____, ...content } = want();
  const hold = { ...content, id: newId(), term: 1, holdMs: 30_000, hops: 1, ...part };
  return { digest: burstDigest(hold), ...hold };
}
