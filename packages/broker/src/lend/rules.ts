/**
 * The rules by which a hold is granted, in the order in which they are asked: the first that refuses is the answer. `explain`
 * tells what each of them says, from the same table.
 */
import {
  add,
  type HoldImage,
  type PolicyExplanation,
  type PolicyRuleView,
  RESOURCE_KINDS,
  RESOURCE_WORDS,
  type Refusal,
  type Resources,
  refusal,
  resourcesOf,
  type TunnelReach,
  type VmSpec,
} from "@muster/protocol";
import type { Peering } from "../peering/peering.ts";
import { checkShare, draining, imageRefusal, notAccepting, RETRY_MS, shareOf, takenBy } from "./admission.ts";
import { fetchLine } from "./image-fetch.ts";
import type { PeerBook } from "./lend-book.ts";
import type { LendTurn } from "./lend-turn.ts";
import { closedForMs, hoursText, isOpenAt } from "./opening-hours.ts";
import { HOUR_MS, periodOf, promisedMs, usedMs } from "./vm-hours.ts";

/** What is asked for: a VM, and for how long at a time. */
export type Wish = {
  readonly spec: VmSpec;
  readonly leaseMs: number;
  /** It is to sit on its home network. */
  readonly tunnel?: TunnelReach | undefined;
  /** What it says of an image that may be fetched from its site. */
  readonly image?: HoldImage | undefined;
};

type Case = { readonly turn: LendTurn; readonly peer: PeerBook; readonly peering: Peering; readonly wish: Wish };
/** Its figures where it grants; `undefined` where the policy sets no such rule. */
type Finding = Refusal | string | undefined;
type Rule = { readonly rule: string; readonly judge: (of: Case) => Finding };

const RETRY_MS_MAX = 24 * HOUR_MS;

/** Adding a rule is adding a row. Room comes last: our word to the peer counts before what is free. */
const RULES: readonly Rule[] = [
  { rule: "accept", judge: accepting },
  { rule: "maintenance", judge: ({ turn }) => underMaintenance(turn) },
  { rule: "image", judge: image },
  { rule: "image-fetch", judge: imageFetch },
  { rule: "lease", judge: lease },
  { rule: "opening-hours", judge: opening },
  { rule: "vms", judge: vms },
  { rule: "share", judge: share },
  { rule: "quota", judge: quota },
  { rule: "hours", judge: hours },
  { rule: "networks", judge: networks },
  {
    rule: "classes",
    judge: ({ turn, peering, wish }) => turn.env.classRoom?.(peering, wish),
  },
  { rule: "room", judge: ({ turn, wish }) => turn.env.roomFor(wish.spec, wish) ?? "there is room now" },
];

/** Why this site does not grant it now, approval aside. */
export function refusedByRules(turn: LendTurn, peer: PeerBook, peering: Peering, wish: Wish): Refusal | undefined {
  for (const { judge } of RULES) {
    const found = judge({ turn, peer, peering, wish });
    if (found !== undefined && typeof found !== "string") return found;
  }
  return undefined;
}

/** What the VM has more of than is granted without asking; `undefined` where nobody needs to be asked. */
export function aboveApproval({ lend }: Peering, { spec }: Wish): string | undefined {
  const limits = lend.approveAbove;
  if (limits === undefined) return undefined;
  const wanted = resourcesOf(spec);
  const above = (["vcpus", "memoryMiB", "gpus"] as const).find((kind) => wanted[kind] > (limits[kind] ?? Infinity));
  if (above === undefined) return undefined;
  return `more than ${limits[above]} ${RESOURCE_WORDS[above]} is for an admin to approve, and it wants ${wanted[above]}`;
}

/** What every rule says to it, all of them, also after one that refuses. */
export function explainRules(turn: LendTurn, peer: PeerBook, peering: Peering, wish: Wish): PolicyExplanation {
  const rules: PolicyRuleView[] = [];
  for (const { rule, judge } of RULES) {
    const found = judge({ turn, peer, peering, wish });
    if (typeof found === "string") rules.push({ rule, verdict: "grants", message: found });
    else if (found !== undefined)
      rules.push({ rule, verdict: "refuses", message: `${found.reason}: ${found.message}` });
  }
  const above = aboveApproval(peering, wish);
  if (above !== undefined) rules.push({ rule: "approval", verdict: "asks", message: above });
  else if (peering.lend.approveAbove !== undefined)
    rules.push({ rule: "approval", verdict: "grants", message: "nobody needs to be asked" });
  const refused = rules.some(({ verdict }) => verdict === "refuses");
  const verdict = refused ? "refused" : above === undefined ? "granted" : "awaiting-approval";
  return { peer: peering.domain, verdict, rules };
}

/** Why nothing at all is granted now, whatever is asked for: what an offer says. */
export function closedNow(turn: LendTurn, peer: PeerBook, peering: Peering): string | undefined {
  const { lend } = peering;
  if (peering.state === "draining") return "the peering is being drained";
  if (!lend.accept) return "requests of your site are not accepted";
  const maintenance = underMaintenance(turn);
  if (maintenance !== undefined) return maintenance.message;
  const vmsMax = Math.min(lend.vmsMax, lend.quota?.vms ?? Infinity);
  if (peer.open.size >= vmsMax) return `your site has all ${vmsMax} VMs it may have here`;
  if (lend.openingHours !== undefined && !isOpenAt(lend.openingHours, turn.env.nowMs))
    return `this site lends ${hoursText(lend.openingHours)}`;
  return undefined;
}

/** What the quota leaves; what it does not name is not limited. */
export function quotaLeft({ lend }: Peering, left: Resources, taken: Resources): Resources {
  const quota: { readonly [Kind in keyof Resources]?: number | undefined } = { ...lend.quota };
  const rest = RESOURCE_KINDS.map(
    (kind) => [kind, Math.max(0, Math.min(left[kind], (quota[kind] ?? Infinity) - taken[kind]))] as const,
  );
  return { ...left, ...Object.fromEntries(rest) };
}

/** Why a lease is not renewed although it runs: hours that are used up, or closed doors. */
export function renewalRefusal(
  turn: LendTurn,
  peer: PeerBook,
  peering: Peering,
  known: { readonly id: string; readonly leaseMs: number },
): Refusal | undefined {
  const { lend } = peering;
  const { nowMs } = turn.env;
  if (lend.openingHours !== undefined && !isOpenAt(lend.openingHours, nowMs)) return outside(lend.openingHours, nowMs);
  return overHours(turn, peer, peering, known.leaseMs, known.id);
}

function accepting({ peering }: Case): Finding {
  if (peering.state === "draining") return draining(peering.domain);
  return peering.lend.accept ? `requests of ${peering.domain} are taken` : notAccepting(peering.domain);
}

/** Nothing new while it lasts; what runs is renewed. */
function underMaintenance({ env }: LendTurn): Refusal | undefined {
  const { maintenance, nowMs } = env;
  if (maintenance === undefined) return undefined;
  const { reason, untilMs } = maintenance;
  const until = untilMs === undefined ? "" : ` until ${new Date(untilMs).toISOString()}`;
  const retryAfterMs = Math.min(RETRY_MS_MAX, untilMs === undefined ? HOUR_MS : Math.max(RETRY_MS, untilMs - nowMs));
  return refusal("resource-constraint", "maintenance", `this site lends nothing new${until}: ${reason}`, {
    retryAfterMs,
  });
}

function image({ turn, peering, wish }: Case): Finding {
  const refused = imageRefusal(turn, peering, wish.spec, wish.image);
  if (refused !== undefined) return refused;
  const { image: name } = wish.spec;
  return turn.env.images.includes(name) ? `image ${name} is here and granted` : `image ${name} may be fetched`;
}

/** Default deny: addresses of another site are asked by our hosts where an admin said so (B5). */
function imageFetch({ peering }: Case): Finding {
  const { imageFetch: allowed } = peering.lend;
  return allowed === undefined ? undefined : fetchLine(allowed);
}

function lease({ peering, wish }: Case): Finding {
  const { leaseMsMax } = peering.lend;
  if (leaseMsMax < 1_000)
    return refusal("policy-violation", "no-lease-granted", "no lease is granted to your site", { field: "leaseMs" });
  return `${Math.min(wish.leaseMs, leaseMsMax) / 1_000} s of the ${wish.leaseMs / 1_000} s wanted at a time`;
}

/** Default deny: packets of another site pass through our hosts where an admin said so (B5). */
function networks({ peering, wish }: Case): Finding {
  const allowed = peering.lend.networks === "tunnel";
  if (wish.tunnel === undefined) return allowed ? "it may be on its home network, by a tunnel" : undefined;
  if (allowed) return "it is on its home network, by a tunnel";
  return refusal("policy-violation", "no-tunnels", "VMs of your site are not put on their home network here", {
    field: "tunnel",
  });
}

function opening({ turn, peering }: Case): Finding {
  const { openingHours } = peering.lend;
  if (openingHours === undefined) return undefined;
  if (!isOpenAt(openingHours, turn.env.nowMs)) return outside(openingHours, turn.env.nowMs);
  return `open ${hoursText(openingHours)}`;
}

function outside(hours: NonNullable<Peering["lend"]["openingHours"]>, nowMs: number): Refusal {
  return refusal("resource-constraint", "outside-hours", `this site lends ${hoursText(hours)}`, {
    retryAfterMs: closedForMs(hours, nowMs),
  });
}

function vms({ peer, peering }: Case): Finding {
  const vmsMax = Math.min(peering.lend.vmsMax, peering.lend.quota?.vms ?? Infinity);
  if (peer.open.size < vmsMax) return `${peer.open.size} of ${vmsMax} VMs are taken`;
  return refusal("resource-constraint", "vms-limit", `your site may have ${vmsMax} VMs here at once`, {
    retryAfterMs: RETRY_MS,
  });
}

function share({ turn, peer, peering, wish }: Case): Finding {
  const limit = shareOf(turn.env.siteTotal, peering.lend.share);
  const taken = takenBy(peer);
  return (
    checkShare(turn, peer, peering, wish.spec) ??
    `of its share ${taken.vcpus} of ${limit.vcpus} vCPUs and ${taken.memoryMiB} of ${limit.memoryMiB} MiB are taken`
  );
}

function quota({ peer, peering, wish }: Case): Finding {
  const limits = peering.lend.quota;
  if (limits === undefined) return undefined;
  const wanted = resourcesOf(wish.spec);
  const total = add(takenBy(peer), wanted);
  const figures: string[] = [];
  for (const kind of ["vcpus", "memoryMiB", "gpus"] as const) {
    const limit = limits[kind];
    if (limit === undefined) continue;
    const words = RESOURCE_WORDS[kind];
    const field = `spec.${kind}`;
    if (wanted[kind] > limit)
      return refusal("policy-violation", "above-quota", `your site's quota here is ${limit} ${words}`, { field });
    if (wanted[kind] > 0 && total[kind] > limit) {
      const message = `your site's quota here is ${limit} ${words}; with this VM it would be ${total[kind]}`;
      return refusal("resource-constraint", "quota-exceeded", message, { field, retryAfterMs: RETRY_MS });
    }
    figures.push(`${total[kind]} of ${limit} ${words}`);
  }
  return figures.length === 0 ? undefined : `with it ${figures.join(", ")}`;
}

function hours({ turn, peer, peering, wish }: Case): Finding {
  const { lend } = peering;
  const leaseMs = Math.min(wish.leaseMs, lend.leaseMsMax);
  if (lend.hoursPerPeriod === undefined) return undefined;
  const used = usedMs(peer, lend, turn.env.nowMs);
  return overHours(turn, peer, peering, leaseMs) ?? `${inHours(used)} of ${lend.hoursPerPeriod} VM hours are used`;
}

/** Hours that were promised count as used: what is granted can be kept. */
function overHours(
  { env }: LendTurn,
  peer: PeerBook,
  { lend }: Peering,
  leaseMs: number,
  besides?: string,
): Refusal | undefined {
  if (lend.hoursPerPeriod === undefined) return undefined;
  const promised = promisedMs(peer, lend, env.nowMs, besides);
  if (promised + leaseMs <= lend.hoursPerPeriod * HOUR_MS) return undefined;
  const { endsMs } = periodOf(lend, env.nowMs);
  const message =
    `your site may use ${lend.hoursPerPeriod} VM hours here by ${new Date(endsMs).toISOString()}; ` +
    `${inHours(promised)} are used or promised, and this is ${inHours(leaseMs)}`;
  return refusal("resource-constraint", "hours-used-up", message, {
    retryAfterMs: Math.min(RETRY_MS_MAX, endsMs - env.nowMs),
  });
}

function inHours(ms: number): string {
  return (ms / HOUR_MS).toFixed(2);
}
