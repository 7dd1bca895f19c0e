/**
 * What a run leaves to judge it by: what clients asked and heard, when a domain was surely running where, and what
 * stores, journals and hypervisors held in the end. Times are monotonic milliseconds of the one observing process.
 */

/** One request of a client as it saw it: asked under one id, perhaps often. */
export type AskedRequest = {
  readonly site: string;
  /** The idempotency key. */
  readonly id: string;
  readonly expires: boolean;
  /** Every answer in its order; a try without one leaves nothing. */
  readonly answers: RequestAnswer[];
};

export type RequestAnswer =
  | { readonly kind: "accepted"; readonly vms: readonly string[]; readonly atMs: number }
  | { readonly kind: "refused"; readonly reason: string; readonly atMs: number };

/** A delete that a client sent; `acknowledged` once it was answered. */
export type AskedDelete = { readonly site: string; readonly vm: string; acknowledged: boolean };

/**
 * A domain that ran without a break from `sinceMs` to `untilMs` for sure: from when it was heard of to when the last
 * question was sent that was answered with *it runs*. The real time is longer at both ends.
 */
export type SureRun = {
  readonly site: string;
  readonly host: string;
  readonly vm: string;
  /** Of the daemon's life and libvirt's number of this start: another start has another. */
  readonly start: string;
  readonly attempt: number | undefined;
  readonly sinceMs: number;
  untilMs: number;
};

/** A host that was seen with more than it has, twice in a row. */
export type Overcommitment = {
  readonly site: string;
  readonly host: string;
  readonly atMs: number;
  readonly vcpus: number;
  readonly memoryMiB: number;
  readonly vms: readonly string[];
};

/** A domain of ours at the end. */
export type FinalDomain = { readonly vm: string; readonly attempt: number | undefined };

export type FinalHost = {
  readonly site: string;
  readonly host: string;
  readonly domains: readonly FinalDomain[];
  /** Highest term obeyed, and attempts by VM, of its journal. */
  readonly term: number;
  readonly attempts: readonly { readonly vm: string; readonly attempt: number; readonly state: string }[];
};

/** What a VM that waits was said to wait for, by a site at rest. */
export type Wait = { readonly site: string; readonly vm: string; readonly reason: string; readonly candidates: number };

export type FinalVm = {
  readonly id: string;
  readonly request: string;
  readonly phase: string;
  readonly attempt: number;
  readonly origin: "local" | "peer";
  readonly place: { readonly kind: "none" } | { readonly kind: "host" | "peer"; readonly name: string };
  readonly reason: string | undefined;
};

/** An exchange of either side; `open` while it takes capacity or stands for a VM. */
export type FinalExchange = {
  readonly id: string;
  readonly peer: string;
  readonly vm: string;
  readonly stage: string;
  readonly open: boolean;
};

export type FinalSite = {
  readonly site: string;
  readonly domain: string;
  readonly term: number;
  readonly requests: readonly { readonly id: string; readonly vms: readonly string[] }[];
  readonly vms: readonly FinalVm[];
  readonly lent: readonly FinalExchange[];
  readonly borrowed: readonly FinalExchange[];
};

export type History = {
  readonly requests: readonly AskedRequest[];
  readonly deletes: readonly AskedDelete[];
  readonly runs: readonly SureRun[];
  readonly overcommitted: readonly Overcommitment[];
  readonly waits: readonly Wait[];
  readonly hosts: readonly FinalHost[];
  readonly sites: readonly FinalSite[];
};
