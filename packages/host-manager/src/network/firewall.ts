import { ok, type Result } from "@muster/base";
import { CHAINS, type ChainName, type FirewallPlan, type FirewallRules, ISOLATED } from "./firewall-rules.ts";
import { type RunProgram, runProgram } from "./run-program.ts";

const TABLES = ["filter", "nat"] as const;
type Table = (typeof TABLES)[number];

/**
 * The host's packet filter by iptables(8), as libvirt uses it: chains of our own, called first, filled anew as a whole each
 * time. What others have in the filter is left alone.
 */
export class Firewall {
  readonly #namespace: string | undefined;
  readonly #run: RunProgram;
  #applied: string | undefined;

  constructor(namespace?: string, run: RunProgram = runProgram) {
    this.#namespace = namespace;
    this.#run = run;
  }

  /** Why there is no packet filter to use, with the remedy. */
  async lack(): Promise<string | undefined> {
    const read = await this.#inside("iptables", "--wait", "-S", "FORWARD");
    return read.ok ? undefined : `${read.error.slice(0, 150)}: install iptables, and run the host manager as root`;
  }

  /**
   * Brings the filter in line; `undefined` takes away everything of ours. `anew`: also where nothing changed, as others may
   * have put theirs before ours meanwhile.
   */
  async apply(plan: FirewallPlan | undefined, anew = false): Promise<Result<void, string>> {
    const wish = JSON.stringify(plan ?? null);
    if (!anew && this.#applied === wish) return ok(undefined);
    const routes = plan?.routes === true;
    // No network leads outside by IPv6, and no guest has business with the host by it.
    await this.#applyTable("ip6tables", "filter", plan === undefined ? undefined : ISOLATED);
    for (const table of TABLES) {
      const done = await this.#applyTable("iptables", table, plan?.rules);
      // Without a filter nothing of ours is in it, and hosts whose networks lead nowhere do without.
      if (!done.ok && routes) return done;
    }
    if (routes) {
      const forwards = await this.#inside("/bin/sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward");
      if (!forwards.ok) return forwards;
    }
    this.#applied = wish;
    return ok(undefined);
  }

  async #applyTable(
    program: "iptables" | "ip6tables",
    table: Table,
    rules: FirewallRules | undefined,
  ): Promise<Result<void, string>> {
    const present = await this.#inside(program, "--wait", "-t", table, "-S");
    if (!present.ok) return present;
    const text = tableText(table, present.value.split("\n"), rules);
    if (text === undefined) return ok(undefined);
    const done = await this.#insideWith(text, `${program}-restore`, "--wait", "--noflush");
    return done.ok ? ok(undefined) : done;
  }

  #inside(...words: readonly string[]): Promise<Result<string, string>> {
    return this.#insideWith(undefined, ...words);
  }

  #insideWith(input: string | undefined, ...words: readonly string[]): Promise<Result<string, string>> {
    const all = this.#namespace === undefined ? words : ["ip", "netns", "exec", this.#namespace, ...words];
    const [program = "", ...args] = all;
    return this.#run(program, args, input);
  }
}

/**
 * What iptables-restore has to be told, given the table's rules as `iptables -S` shows them; `undefined` for nothing.
 * Exported for its test.
 */
export function tableText(
  table: Table,
  present: readonly string[],
  rules: FirewallRules | undefined,
): string | undefined {
  const ours = CHAINS.filter((chain) => chain.table === table);
  const names = [...new Set(ours.map(({ chain }) => chain))];
  const known = (name: ChainName): boolean => present.includes(`-N ${name}`);
  const calls = ours.flatMap(({ from, chain }) => {
    const call = `${from} -j ${chain}`;
    const inBuiltIn = present.filter((line) => line.startsWith(`-A ${from} `));
    const away = inBuiltIn.filter((line) => line === `-A ${call}`).map(() => `-D ${call}`);
    return rules === undefined ? away : [...away, `-I ${from} 1 -j ${chain}`];
  });
  if (rules === undefined) {
    const left = names.filter(known);
    if (left.length === 0) return undefined;
    return lines([
      `*${table}`,
      ...left.map((name) => `:${name} - [0:0]`),
      ...calls,
      ...left.map((name) => `-X ${name}`),
    ]);
  }
  const filled = names.flatMap((name) => rules[name].map((rule) => `-A ${name} ${rule}`));
  return lines([`*${table}`, ...names.map((name) => `:${name} - [0:0]`), ...filled, ...calls]);
}

function lines(all: readonly string[]): string {
  return [...all, "COMMIT", ""].join("\n");
}
