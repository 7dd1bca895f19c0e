import { err, ok, type Result } from "@muster/base";
import { z } from "zod";
import { type RunProgram, runProgram } from "./run-program.ts";

/** What `ip -json -details link show` tells of an interface (iproute2), as far as it is used here. */
const linkSchema = z.object({
  ifname: z.string(),
  mtu: z.int(),
  flags: z.array(z.string()),
  ifalias: z.string().optional(),
  master: z.string().optional(),
  linkinfo: z
    .object({
      info_kind: z.string().optional(),
      info_data: z
        .object({
          id: z.int().optional(),
          local: z.string().optional(),
          local6: z.string().optional(),
          group: z.string().optional(),
          group6: z.string().optional(),
          port: z.int().optional(),
          vlan_filtering: z.int().optional(),
        })
        .optional(),
    })
    .optional(),
});
export type Link = z.output<typeof linkSchema>;

const addressesSchema = z.array(
  z.object({
    ifname: z.string(),
    mtu: z.int(),
    addr_info: z
      .array(z.object({ local: z.string().optional(), prefixlen: z.int().optional(), family: z.string().optional() }))
      .default([]),
  }),
);

const fdbSchema = z.array(
  z.object({ mac: z.string(), dst: z.string().optional(), port: z.union([z.int(), z.string()]).optional() }),
);

/** One who gets a VXLAN's broadcasts; without a port, at the port of the VXLAN interface itself. */
export type FloodTarget = { readonly address: string; readonly port?: number };

/** Address of broadcast and unknown receivers in a VXLAN's forwarding table: one entry for each host that gets them. */
const ANYBODY = "00:00:00:00:00:00";

/** ip(8) and bridge(8) of iproute2, in this process's network namespace or a named one. */
export class IpLink {
  readonly #inside: readonly string[];
  readonly #run: RunProgram;

  constructor(namespace?: string, run: RunProgram = runProgram) {
    this.#inside = namespace === undefined ? [] : ["-netns", namespace];
    this.#run = run;
  }

  /** All interfaces there are. */
  async list(): Promise<Result<readonly Link[], string>> {
    return decodeJson(await this.#ip(["-json", "-details", "link", "show"]), z.array(linkSchema));
  }

  /** The interface of that name, if there is one. */
  async find(name: string): Promise<Result<Link | undefined, string>> {
    const links = await this.list();
    return links.ok ? ok(links.value.find(({ ifname }) => ifname === name)) : links;
  }

  /** The interface that has this address. */
  async holderOf(address: string): Promise<Result<{ readonly name: string; readonly mtu: number }, string>> {
    const shown = decodeJson(await this.#ip(["-json", "addr", "show"]), addressesSchema);
    if (!shown.ok) return shown;
    const holder = shown.value.find(({ addr_info }) => addr_info.some(({ local }) => local === address));
    if (holder === undefined) return err(`no interface of this host has the address ${address}`);
    return ok({ name: holder.ifname, mtu: holder.mtu });
  }

  /** The interface by which this host reaches whatever is not near, if there is one. */
  async defaultDevice(): Promise<Result<string | undefined, string>> {
    const shown = decodeJson(
      await this.#ip(["-json", "route", "show", "default"]),
      z.array(z.object({ dev: z.string() })),
    );
    return shown.ok ? ok(shown.value[0]?.dev) : shown;
  }

  /** All IPv4 addresses of this host with their prefix lengths, by interface. */
  async addresses(): Promise<Result<readonly { readonly name: string; readonly cidr: string }[], string>> {
    const shown = decodeJson(await this.#ip(["-json", "addr", "show"]), addressesSchema);
    if (!shown.ok) return shown;
    return ok(
      shown.value.flatMap(({ ifname, addr_info }) =>
        addr_info.flatMap(({ local, prefixlen, family }) =>
          family === "inet" && local !== undefined ? [{ name: ifname, cidr: `${local}/${prefixlen ?? 32}` }] : [],
        ),
      ),
    );
  }

  /** Several commands one after the other, up to the first fault. */
  async run(...commands: readonly (readonly string[])[]): Promise<Result<void, string>> {
    for (const args of commands) {
      const ran = await this.#ip(args);
      if (!ran.ok) return ran;
    }
    return ok(undefined);
  }

  /** Whom a VXLAN interface sends broadcasts to. */
  async floodPeers(name: string): Promise<Result<readonly string[], string>> {
    const targets = await this.floodTargets(name);
    return targets.ok ? ok(targets.value.map(({ address }) => address)) : targets;
  }

  /** The same, with the port of each where it is another one than the interface's. */
  async floodTargets(name: string): Promise<Result<readonly FloodTarget[], string>> {
    const shown = decodeJson(await this.#bridge(["-json", "fdb", "show", "dev", name]), fdbSchema);
    if (!shown.ok) return shown;
    return ok(
      shown.value.flatMap(({ mac, dst, port }) =>
        mac === ANYBODY && dst !== undefined
          ? [{ address: dst, ...(port === undefined ? {} : { port: Number(port) }) }]
          : [],
      ),
    );
  }

  changeFloodPeer(
    change: "append" | "del",
    name: string,
    peer: string,
    port?: number,
  ): Promise<Result<string, string>> {
    const at = port === undefined ? [] : ["port", String(port)];
    return this.#bridge(["fdb", change, ANYBODY, "dev", name, "dst", peer, ...at]);
  }

  /** bridge(8) commands one after the other, up to the first fault. */
  async runBridge(...commands: readonly (readonly string[])[]): Promise<Result<void, string>> {
    for (const args of commands) {
      const ran = await this.#bridge(args);
      if (!ran.ok) return ran;
    }
    return ok(undefined);
  }

  #ip(args: readonly string[]): Promise<Result<string, string>> {
    return this.#run("ip", [...this.#inside, ...args]);
  }

  #bridge(args: readonly string[]): Promise<Result<string, string>> {
    return this.#run("bridge", [...this.#inside, ...args]);
  }
}

function decodeJson<Schema extends z.ZodType>(
  output: Result<string, string>,
  schema: Schema,
): Result<z.output<Schema>, string> {
  if (!output.ok) return output;
  try {
    const read = schema.safeParse(JSON.parse(output.value === "" ? "[]" : output.value));
    return read.success ? ok(read.data) : err(`ip says what it should not: ${read.error.message.slice(0, 200)}`);
  } catch {
    return err("ip wrote no JSON; iproute2 of 2018 or newer is needed");
  }
}
