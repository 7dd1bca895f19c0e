/**
 * The finer rules of what a site lends a peer, next to accept, share, lease and images. Each is optional: a rule that is
 * not set limits nothing. The lender stays master: they count at the moment of a hold or renewal (B5).
 */
import { z } from "zod";
import { LEASE_MS_MAX } from "../burst/hold.ts";
import { imageReferenceSchema, lineSchema } from "../ids.ts";
import { unitPricesSchema } from "../ledger/prices.ts";
import { vmSpecSchema } from "../vm-spec.ts";

export const WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
export type Weekday = (typeof WEEKDAYS)[number];

const amount = z.int().min(0).max(1_000_000_000);
const timeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$|^24:00$/, "must be a time of day such as 08:00");

/** Whether Intl knows the name. */
function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** What the peer may have at once, in the amounts that are named. */
export const lendQuotaSchema = z.strictObject({
  vcpus: amount.optional(),
  memoryMiB: amount.optional(),
  gpus: amount.optional(),
  vms: amount.optional(),
});
export type LendQuota = Readonly<z.output<typeof lendQuotaSchema>>;

/** When we lend, by the wall clock of a time zone. `until` before `from` goes over midnight, and belongs to the day before. */
export const openingHoursSchema = z
  .strictObject({
    days: z.array(z.enum(WEEKDAYS)).min(1).max(7),
    from: timeOfDay,
    until: timeOfDay,
    timeZone: z.string().max(64).refine(isTimeZone, "must be a time zone such as Europe/Berlin"),
  })
  .refine(({ from, until }) => from !== until, { path: ["until"], message: "must differ from from" });
export type OpeningHours = Readonly<z.output<typeof openingHoursSchema>>;

/** A VM that has more of any of these waits for an admin. */
export const approvalLimitsSchema = z.strictObject({
  vcpus: amount.optional(),
  memoryMiB: amount.optional(),
  gpus: amount.optional(),
});

/** So many false signatures or receipts within the time suspend the peering by itself. */
export const suspendRuleSchema = z.strictObject({
  offences: z.int().min(1).max(1_000),
  withinMs: z
    .int()
    .min(1_000)
    .max(31 * 24 * 3_600_000),
});
export type SuspendRule = Readonly<z.output<typeof suspendRuleSchema>>;

/** Messages of a peer that are looked at: on average, and at once after a pause. */
export const peerRateSchema = z.strictObject({
  perSecond: z.int().min(1).max(10_000),
  burst: z.int().min(1).max(100_000),
});
export type PeerRate = Readonly<z.output<typeof peerRateSchema>>;

/** Most classes of hosts that a policy names. */
export const HOST_CLASSES_MAX = 20;

/** Hosts of a class: those with this label, written `label=value`, or `value` alone for the label `class`. */
const hostClassSchema = z
  .string()
  .max(128)
  .regex(/^[a-z0-9]([a-z0-9./_-]*)(=[A-Za-z0-9]([A-Za-z0-9._-]*))?$/, "must be a class of hosts: gpu, or zone=east");

/** Share of each class of hosts that the peer may have at once, 0 to 1; a class that is not named has no limit of its own. */
export const classSharesSchema = z
  .record(hostClassSchema, z.number().min(0).max(1))
  .refine((shares) => Object.keys(shares).length <= HOST_CLASSES_MAX, `must name at most ${HOST_CLASSES_MAX} classes`);
export type ClassShares = Readonly<z.output<typeof classSharesSchema>>;

/** Longest notice that is given before a lent VM is ended. */
export const NOTICE_MS_MAX = 24 * 3_600_000;

/** Most places from which a policy lets images be fetched. */
export const FETCH_URLS_MAX = 20;

/** From where images of the peer may be fetched that are not here, and how large. */
export const imageFetchSchema = z.strictObject({
  /** Beginnings of addresses, whole parts of their paths: `https://images.alpha.example/` is all that is there. */
  urls: z
    .array(
      z
        .url({ protocol: /^https?$/ })
        .max(1_000)
        .refine(isPlainUrl, "must have no user, query or fragment"),
    )
    .min(1)
    .max(FETCH_URLS_MAX),
  /** Largest file, in GiB. */
  maxGiB: z.number().positive().max(16_384),
});
export type ImageFetch = Readonly<z.output<typeof imageFetchSchema>>;

function isPlainUrl(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && url.username === "" && url.password === "" && url.search === "" && url.hash === "";
}

const rules = {
  quota: lendQuotaSchema,
  /** Hours of VMs, whatever their size, in one period. */
  hoursPerPeriod: z.number().min(0).max(1_000_000_000),
  /** Length of the period; 30 days where it is not said. Periods are counted from the beginning of 1970 (UTC). */
  periodDays: z.int().min(1).max(366),
  openingHours: openingHoursSchema,
  approveAbove: approvalLimitsSchema,
  /** Home first: when own users wait, lent VMs are ended after this notice. */
  preempt: z.strictObject({ noticeMs: z.int().min(0).max(NOTICE_MS_MAX) }),
  prices: unitPricesSchema.strict(),
  /** Whether its VMs may be on their home network, by a tunnel of one of our hosts; `none` where nothing is said. */
  networks: z.enum(["tunnel", "none"]),
  suspendAfter: suspendRuleSchema,
  rate: peerRateSchema,
  classes: classSharesSchema,
  /** Absent: what the site has not is not fetched. */
  imageFetch: imageFetchSchema,
};

/** As a policy holds them. */
export const lenderRulesShape = {
  quota: rules.quota.optional(),
  hoursPerPeriod: rules.hoursPerPeriod.optional(),
  periodDays: rules.periodDays.optional(),
  openingHours: rules.openingHours.optional(),
  approveAbove: rules.approveAbove.optional(),
  preempt: rules.preempt.optional(),
  prices: rules.prices.optional(),
  networks: rules.networks.optional(),
  suspendAfter: rules.suspendAfter.optional(),
  rate: rules.rate.optional(),
  classes: rules.classes.optional(),
  imageFetch: rules.imageFetch.optional(),
};
export const lenderRulesSchema = z.strictObject(lenderRulesShape);
export type LenderRules = Readonly<z.output<typeof lenderRulesSchema>>;

/** As an admin changes them: `null` takes a rule away. */
export const lenderRulesChangeShape = {
  quota: rules.quota.nullable().optional(),
  hoursPerPeriod: rules.hoursPerPeriod.nullable().optional(),
  periodDays: rules.periodDays.nullable().optional(),
  openingHours: rules.openingHours.nullable().optional(),
  approveAbove: rules.approveAbove.nullable().optional(),
  preempt: rules.preempt.nullable().optional(),
  prices: rules.prices.nullable().optional(),
  networks: rules.networks.nullable().optional(),
  suspendAfter: rules.suspendAfter.nullable().optional(),
  rate: rules.rate.nullable().optional(),
  classes: rules.classes.nullable().optional(),
  imageFetch: rules.imageFetch.nullable().optional(),
};

/** A VM that a peer might ask for: what `--explain` judges. */
export const policyQuestionSchema = z.strictObject({
  spec: vmSpecSchema,
  leaseMs: z.int().min(1_000).max(LEASE_MS_MAX).default(3_600_000),
});
export type PolicyQuestionInput = z.input<typeof policyQuestionSchema>;

export const policyRuleViewSchema = z.object({
  /** `accept`, `image`, `share`, `quota`, `hours`, `opening-hours`, `approval`, `lease`, `room`, `price`, … */
  rule: z.string(),
  verdict: z.enum(["grants", "refuses", "asks"]),
  /** With its figures. */
  message: z.string(),
});
export type PolicyRuleView = z.output<typeof policyRuleViewSchema>;

export const policyExplanationSchema = z.object({
  peer: z.string(),
  verdict: z.enum(["granted", "refused", "awaiting-approval"]),
  rules: z.array(policyRuleViewSchema),
});
export type PolicyExplanation = z.output<typeof policyExplanationSchema>;

/** Most requests of one simulation (S2). */
export const SIMULATED_MAX = 5_000;

/** One recorded request. `atMs` is the time of day it came, in milliseconds since 1970, or from any other start. */
export const recordedRequestSchema = z.strictObject({
  atMs: z.number().min(0),
  cpus: z.int().min(1),
  memoryMiB: z.int().min(1),
  diskGiB: z.int().min(0).default(1),
  gpus: z.int().min(0).default(0),
  image: imageReferenceSchema,
  leaseMs: z.int().min(1_000).max(LEASE_MS_MAX),
  durationMs: z
    .int()
    .min(1)
    .max(366 * 24 * 3_600_000),
});
export type RecordedRequest = z.output<typeof recordedRequestSchema>;

export const policySimulationSchema = z.strictObject({
  requests: z.array(recordedRequestSchema).min(1).max(SIMULATED_MAX),
});

export const simulatedRequestSchema = z.object({
  /** From one, in the order of the file. */
  line: z.int(),
  atMs: z.number(),
  verdict: z.enum(["granted", "refused", "awaiting-approval"]),
  /** The machine reason, where it is not granted. */
  reason: z.string().optional(),
  message: z.string(),
  /** How long it ran of what it wanted: less where a rule ended it. */
  ranMs: z.number(),
});
export type SimulatedRequest = z.output<typeof simulatedRequestSchema>;

export const simulationViewSchema = z.object({
  peer: z.string(),
  requests: z.array(simulatedRequestSchema),
  granted: z.int(),
  refused: z.record(z.string(), z.int()),
  vmHours: z.number(),
});
export type SimulationView = z.output<typeof simulationViewSchema>;

/** Body of the end of a lease by the lender's admin. */
export const leaseRevokeSchema = z.strictObject({
  reason: lineSchema.min(1).max(200),
  noticeMs: z.int().min(0).max(NOTICE_MS_MAX).default(0),
});
