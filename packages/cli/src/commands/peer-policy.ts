/** The finer rules of what we lend a peer: how they are written on the command line, explained and tried out. */
import { readFile } from "node:fs/promises";
import { decode, describeFaults } from "@muster/base";
import type { SiteClient } from "@muster/client";
import {
  type ClassShares,
  classSharesSchema,
  type ImageFetch,
  imageFetchSchema,
  type LendChange,
  type LendQuota,
  type OpeningHours,
  openingHoursSchema,
  type PeerRate,
  type PolicyRuleView,
  peerRateSchema,
  type RecordedRequest,
  recordedRequestSchema,
  SIMULATED_MAX,
  type SimulatedRequest,
  type SuspendRule,
  suspendRuleSchema,
  WEEKDAYS,
  type Weekday,
} from "@muster/protocol";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { type Column, type Format, formatList, formatObject } from "../output/format.ts";
import { parseCount, parseDisk, parseDuration, parseMemory } from "../quantity.ts";
import { print, say } from "../terminal.ts";
import { expectValue } from "../wait.ts";

/** A rule as set, or the word that takes it away: the parser of options keeps no `null`. */
type OrNone<Value> = Value | typeof NONE;
const NONE = "none";

export type RuleOptions = {
  readonly quota?: OrNone<LendQuota>;
  readonly approveAbove?: OrNone<LendQuota>;
  readonly hours?: OrNone<number>;
  readonly period?: OrNone<number>;
  readonly opening?: OrNone<OpeningHours>;
  readonly preempt?: OrNone<number>;
  readonly prices?: OrNone<NonNullable<LendChange["prices"]>>;
  readonly classes?: OrNone<ClassShares>;
  readonly rate?: OrNone<PeerRate>;
  readonly suspendAfter?: OrNone<SuspendRule>;
  readonly networks?: OrNone<"tunnel">;
  readonly imageFetch?: OrNone<ImageFetch>;
};

export type JudgeOptions = {
  readonly explain?: boolean;
  readonly simulate?: string;
  readonly cpus: number;
  readonly memory: number;
  readonly disk: number;
  readonly gpus: number;
  readonly image?: string;
  readonly lease: number;
};

const RULE_COLUMNS: readonly Column<PolicyRuleView>[] = [
  { heading: "RULE", value: ({ rule }) => rule },
  { heading: "SAYS", value: ({ verdict }) => verdict },
  { heading: "BECAUSE", value: ({ message }) => message },
];

const SIMULATED_COLUMNS: readonly Column<SimulatedRequest>[] = [
  { heading: "LINE", value: ({ line }) => line },
  { heading: "AT", value: ({ atMs }) => new Date(atMs).toISOString() },
  { heading: "VERDICT", value: ({ verdict }) => verdict },
  { heading: "REASON", value: ({ reason }) => reason ?? "-" },
  { heading: "RAN S", value: ({ ranMs }) => Math.round(ranMs / 1_000) },
  { heading: "BECAUSE", value: ({ message }) => message },
];

/** Options that set rules, and those that ask what the rules would do. */
export function withRules(command: Command): Command {
  return command
    .option(
      "--quota <list>",
      "what it may have at once, such as vcpus=8,memory=16GiB,gpus=1,vms=4; none: no quota",
      orNone(parseAmounts),
    )
    .option(
      "--approve-above <list>",
      "an admin approves what has more, such as vcpus=4,memory=8GiB; none: never",
      orNone(parseAmounts),
    )
    .option("--hours <count>", "hours of VMs in a period; none: no limit", orNone(parseCount))
    .option("--period <days>", "length of the period; none: 30 days", orNone(parseCount))
    .option(
      "--opening <hours>",
      "when we lend, such as 'mon-fri 08:00-18:00 Europe/Berlin'; none: always",
      orNone(parseOpening),
    )
    .option(
      "--preempt <notice>",
      "end its VMs after this notice when own users wait; none: never",
      orNone(parseDuration),
    )
    .option("--prices <list>", "units an hour, such as vcpu=0.01,memory=0.002,gpu=0.5; none: free", orNone(parsePrices))
    .option(
      "--classes <list>",
      "share of each class of hosts that it may have at once, by label, such as gpu=25%,zone=east:0.5; none: no limits",
      orNone(parseClasses),
    )
    .option(
      "--rate <rate>",
      "messages a second, and at once, such as 200/2000; none: the standing rate",
      orNone(parseRate),
    )
    .option(
      "--suspend-after <rule>",
      "suspend it by itself after so many false signatures or receipts within a time, such as 10/1h; none: never",
      orNone(parseSuspendRule),
    )
    .addOption(
      new Option(
        "--networks <way>",
        "tunnel: its VMs may be on their home network, by a tunnel of our hosts; none: they may not",
      ).choices(["tunnel", NONE]),
    )
    .option(
      "--image-fetch <rule>",
      "fetch images that we have not from addresses of the peer, such as 'https://images.alpha.example/ 10GiB'; none: never",
      orNone(parseImageFetch),
    )
    .option("--explain", "say what each rule says to the VM of --cpus, --memory, --disk, --gpus, --image and --lease")
    .option("--simulate <file>", "say what would be granted of recorded requests, one JSON object a line")
    .option("--cpus <n>", "vCPUs to explain", parseCount, 1)
    .option("--memory <size>", "memory to explain", parseMemory, 1_024)
    .option("--disk <size>", "disk to explain", parseDisk, 10)
    .option("--gpus <n>", "GPUs to explain", parseCount, 0)
    .option("--image <image>", "image to explain")
    .option("--lease <duration>", "lease to explain", parseDuration, 3_600_000);
}

/** Only what was said; `null` takes a rule away. */
export function rulesOf(options: RuleOptions): LendChange {
  const { quota, approveAbove, hours, period, opening, preempt, prices, classes, rate, suspendAfter } = options;
  const { networks, imageFetch } = options;
  return {
    ...ruleOf("quota", quota, (set) => set),
    ...ruleOf("approveAbove", approveAbove, ({ vms: _one, ...limits }) => limits),
    ...ruleOf("hoursPerPeriod", hours, (set) => set),
    ...ruleOf("periodDays", period, (set) => set),
    ...ruleOf("openingHours", opening, (set) => ({ ...set, days: [...set.days] })),
    ...ruleOf("preempt", preempt, (noticeMs) => ({ noticeMs })),
    ...ruleOf("prices", prices, (set) => set),
    ...ruleOf("classes", classes, (set) => set),
    ...ruleOf("rate", rate, (set) => set),
    ...ruleOf("suspendAfter", suspendAfter, (set) => set),
    ...ruleOf("networks", networks, (set) => set),
    ...ruleOf("imageFetch", imageFetch, (set) => ({ ...set, urls: [...set.urls] })),
  };
}

function ruleOf<Name extends keyof LendChange, Value>(
  name: Name,
  option: OrNone<Value> | undefined,
  rule: (set: Value) => LendChange[Name],
): Pick<LendChange, Name> | Record<string, never> {
  if (option === undefined) return {};
  const change: Partial<Record<keyof LendChange, unknown>> = { [name]: option === NONE ? null : rule(option as Value) };
  return change as Pick<LendChange, Name>;
}

/** Explains or simulates where that was asked for; `false`: the command is about something else. */
export async function judgePolicy(
  client: Pick<SiteClient, "explainPolicy" | "simulatePolicy">,
  domain: string,
  options: JudgeOptions,
  format: Format,
): Promise<boolean> {
  if (options.simulate !== undefined) {
    const requests = readRequests(await readText(options.simulate));
    const view = expectValue(await client.simulatePolicy(domain, requests));
    if (format === "json" || format === "yaml") print(formatObject(view, format));
    else print(formatList(view.requests, SIMULATED_COLUMNS, format));
    const refused = Object.entries(view.refused).map(([reason, count]) => `${count} ${reason}`);
    say(
      `${view.granted} of ${requests.length} granted, ${view.vmHours} VM hours; not granted: ${refused.join(", ") || "none"}`,
    );
    return true;
  }
  if (options.explain !== true) return false;
  const { cpus: vcpus, memory: memoryMiB, disk: diskGiB, gpus, image, lease: leaseMs } = options;
  if (image === undefined) throw new CommandFailed("name the image that is to be explained: --image", EXIT.usage);
  const spec = { image, vcpus, memoryMiB, diskGiB, gpus };
  const view = expectValue(await client.explainPolicy(domain, { spec, leaseMs }));
  if (format === "json" || format === "yaml") print(formatObject(view, format));
  else print(formatList(view.rules, RULE_COLUMNS, format));
  say(`${domain} asking for this VM now: ${view.verdict}`);
  return true;
}

/** Recorded requests, one JSON object a line; empty lines count as lines. Throws `CommandFailed` naming line and field. */
export function readRequests(text: string): RecordedRequest[] {
  const requests: RecordedRequest[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const decoded = decode(recordedRequestSchema, parsed(line, index + 1));
    if (!decoded.ok) throw new CommandFailed(`line ${index + 1}: ${describeFaults(decoded.error)}`, EXIT.usage);
    requests.push(decoded.value);
  }
  if (requests.length === 0) throw new CommandFailed("the file has no requests", EXIT.usage);
  if (requests.length > SIMULATED_MAX)
    throw new CommandFailed(
      `the file has ${requests.length} requests; at most ${SIMULATED_MAX} are simulated`,
      EXIT.usage,
    );
  return requests;
}

function parsed(line: string, number: number): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new CommandFailed(`line ${number}: is no JSON`, EXIT.usage);
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    throw new CommandFailed(
      `cannot read ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      EXIT.usage,
    );
  }
}

function orNone<Value>(parse: (text: string) => Value): (text: string) => OrNone<Value> {
  return (text) => (text.trim() === NONE ? NONE : parse(text));
}

/** `vcpus=8,memory=16GiB,gpus=1,vms=4`, in any choice of them. */
export function parseAmounts(text: string): LendQuota {
  const names = { vcpus: "vcpus", memory: "memoryMiB", gpus: "gpus", vms: "vms" } as const;
  const amounts: { -readonly [Key in keyof LendQuota]: LendQuota[Key] } = {};
  for (const [name, value] of pairsOf(text, Object.keys(names))) {
    const key = names[name as keyof typeof names];
    amounts[key] = key === "memoryMiB" ? parseMemory(value) : parseCount(value);
  }
  return amounts;
}

/** `vcpu=0.01,memory=0.002,gpu=0.5`: units an hour, of one vCPU, one GiB, one GPU. What is left out is free. */
export function parsePrices(text: string): NonNullable<LendChange["prices"]> {
  const names = { vcpu: "vcpuHour", memory: "memoryGiBHour", gpu: "gpuHour" } as const;
  const prices = { vcpuHour: 0, memoryGiBHour: 0, gpuHour: 0 };
  for (const [name, value] of pairsOf(text, Object.keys(names)))
    prices[names[name as keyof typeof names]] = parsePrice(value);
  return prices;
}

/** Units, down to a thousandth, as whole thousandths. */
export function parsePrice(text: string): number {
  if (!/^\d+(\.\d{1,3})?$/.test(text.trim()))
    throw new InvalidArgumentError("expected an amount with up to three decimals, such as 0.25");
  return Math.round(Number(text) * 1_000);
}

/** `gpu=25%,zone=east:0.5`: a class by its label, and the share after `=`, or after `:` where the class has a `=` itself. */
export function parseClasses(text: string): ClassShares {
  const shares = text.split(",").map((part) => {
    const [, name = "", share = ""] =
      /^(.+=.+):([^:]+)$/.exec(part.trim()) ?? /^([^=:]+)[=:]([^=:]+)$/.exec(part.trim()) ?? [];
    return [name.trim(), parseShare(share)] as const;
  });
  const decoded = decode(classSharesSchema, Object.fromEntries(shares));
  if (decoded.ok) return decoded.value;
  throw new InvalidArgumentError(`expected classes such as gpu=25%,zone=east:0.5; ${describeFaults(decoded.error)}`);
}

/** `200/2000`: messages a second, and at once. */
export function parseRate(text: string): PeerRate {
  const [perSecond = "", burst = perSecond] = text.split("/");
  const decoded = decode(peerRateSchema, { perSecond: Number(perSecond), burst: Number(burst) });
  if (decoded.ok) return decoded.value;
  throw new InvalidArgumentError(`expected a rate such as 200/2000; ${describeFaults(decoded.error)}`);
}

/** `10/1h`: so many within the time. */
export function parseSuspendRule(text: string): SuspendRule {
  const [offences = "", within = ""] = text.split("/");
  const rule = { offences: parseCount(offences), withinMs: parseDuration(within) };
  const decoded = decode(suspendRuleSchema, rule);
  if (decoded.ok) return decoded.value;
  throw new InvalidArgumentError(`expected a rule such as 10/1h; ${describeFaults(decoded.error)}`);
}

/** `https://a.example/,https://b.example/images/ 10GiB`: from where, and up to which size. */
export function parseImageFetch(text: string): ImageFetch {
  const [urls = "", size = "", ...more] = text.trim().split(/\s+/);
  const decoded = decode(imageFetchSchema, {
    urls: urls.split(","),
    maxGiB: size === "" ? undefined : parseDisk(size),
  });
  if (more.length === 0 && decoded.ok) return decoded.value;
  throw new InvalidArgumentError(
    `expected a rule such as 'https://images.alpha.example/ 10GiB'${decoded.ok ? "" : `; ${describeFaults(decoded.error)}`}`,
  );
}

/** `0.25` or `25%`. */
export function parseShare(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(%?)$/.exec(text.trim());
  if (match === null) throw new InvalidArgumentError("expected a share such as 0.25 or 25%");
  return Number(match[1]) / (match[2] === "%" ? 100 : 1);
}

/** `mon-fri 08:00-18:00 Europe/Berlin`, days also as a list: `mon,wed,fri`; without a zone: UTC. */
export function parseOpening(text: string): OpeningHours {
  const [days = "", times = "", timeZone = "UTC", ...more] = text.trim().split(/\s+/);
  const [from = "", until = ""] = times.split("-");
  const decoded = decode(openingHoursSchema, { days: daysOf(days), from, until, timeZone });
  if (more.length > 0 || !decoded.ok)
    throw new InvalidArgumentError(
      `expected hours such as 'mon-fri 08:00-18:00 Europe/Berlin'${decoded.ok ? "" : `; ${describeFaults(decoded.error)}`}`,
    );
  return decoded.value;
}

function daysOf(text: string): Weekday[] {
  return text.split(",").flatMap((part) => {
    const [first = "", last = first] = part.split("-");
    const [from, until] = [indexOf(first), indexOf(last)];
    const length = ((until - from + 7) % 7) + 1;
    return Array.from({ length }, (_, step) => WEEKDAYS[(from + step) % 7] ?? "mon");
  });
}

function indexOf(day: string): number {
  const wanted = day.toLowerCase();
  const index = wanted.length === 3 ? WEEKDAYS.findIndex((name) => name.startsWith(wanted)) : -1;
  if (index < 0) throw new InvalidArgumentError(`expected days of ${WEEKDAYS.join(", ")}, such as mon-fri`);
  return index;
}

function pairsOf(text: string, names: readonly string[]): [string, string][] {
  return text.split(",").map((part) => {
    const [name = "", value, ...more] = part.split("=").map((piece) => piece.trim());
    if (!names.includes(name) || value === undefined || more.length > 0)
      throw new InvalidArgumentError(`expected NAME=AMOUNT with commas between them, of ${names.join(", ")}`);
    return [name, value];
  });
}
