/** What `npm run torture` is told on its command line. */
import { parseArgs } from "node:util";
import type { Rng } from "@muster/base";

export const USAGE =
  "usage: npm run torture -- [--minutes M | --seconds S] [--seed N] [--store level|etcd]\n" +
  "                          [--users N] [--loopback N]\n" +
  "  --minutes, --seconds  how long load and faults last; 10 minutes if not given\n" +
  "  --seed                draws load and faults; a fresh one if not given\n" +
  "  --store               what keeps the sites' records; level if not given\n" +
  "  --users               clients at each site; 3 if not given\n" +
  "  --loopback            addresses are taken from 127.43.N.1 on; 100 if not given\n";

export type Options = {
  readonly seed: number;
  readonly durationMs: number;
  readonly usersPerSite: number;
  readonly store: "level" | "etcd";
  readonly loopback: number;
};

/** Reads the command line; a sentence names the option at fault. */
export function readOptions(args: readonly string[], rng: Rng): Options | string {
  try {
    const text = { type: "string" } as const;
    const { values } = parseArgs({
      args: [...args],
      options: { minutes: text, seconds: text, seed: text, store: text, users: text, loopback: text },
    });
    if (values.minutes !== undefined && values.seconds !== undefined) return "name --minutes or --seconds, not both";
    const store = values.store ?? "level";
    if (store !== "level" && store !== "etcd") return "--store must be level or etcd";
    const seconds = values.seconds ?? `${60 * number("minutes", values.minutes ?? "10", 0.05, 1_440)}`;
    return {
      seed: values.seed === undefined ? rng.int(2 ** 31) : whole("seed", values.seed, 0, 2 ** 32 - 1),
      durationMs: 1_000 * number("seconds", seconds, 3, 86_400),
      store,
      usersPerSite: whole("users", values.users ?? "3", 1, 50),
      loopback: whole("loopback", values.loopback ?? "100", 1, 253),
    };
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause);
  }
}

function number(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= least && value <= most))
    throw new Error(`--${name} must be ${least} to ${most}`);
  return value;
}

function whole(name: string, text: string, least: number, most: number): number {
  const value = number(name, text, least, most);
  if (!Number.isInteger(value)) throw new Error(`--${name} must be a whole number`);
  return value;
}
