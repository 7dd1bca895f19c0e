import { err, ok, type Result } from "@muster/base";

type FakeLink = {
  readonly name: string;
  readonly kind: string;
  readonly peer?: string;
  filtering: boolean;
  up: boolean;
  mtu: number;
  alias?: string;
  master?: string;
  /** Tags of a port of a bridge that tells VLANs apart; the untagged one is marked with a star. */
  readonly tags: Set<string>;
};

/**
 * ip(8) and bridge(8) of a machine whose kernel filters VLANs, as far as the host manager speaks to them: kernels without it
 * can try out nothing of it. Refuses what the real ones refuse.
 */
export class FilteringKernel {
  readonly #links = new Map<string, FakeLink>();
  readonly commands: string[] = [];

  constructor(trunk: string, filtering = true) {
    this.#links.set(trunk, { name: trunk, kind: "bridge", filtering, up: true, mtu: 1_500, tags: new Set() });
  }

  /** In the place of `runProgram`; Open vSwitch is not installed here. */
  readonly run = async (program: string, args: readonly string[]): Promise<Result<string, string>> => {
    if (program === "iptables" && args.includes("-S")) return ok("-P FORWARD ACCEPT\n");
    if (program !== "ip" && program !== "bridge") return err(`${program}: not found`);
    if (args[0] === "-json") return ok(this.#shown());
    this.commands.push(`${program} ${args.join(" ")}`);
    return program === "ip" ? this.#ip(args) : this.#bridge(args);
  };

  /** Interfaces besides the trunk, with where they are and their tags. */
  traces(): readonly string[] {
    return [...this.#links.values()]
      .filter(({ alias }) => alias !== undefined)
      .map(({ name, master, tags }) => `${name} in ${master ?? "nothing"} [${[...tags].sort().join(" ")}]`)
      .sort();
  }

  #shown(): string {
    const all = [...this.#links.values()].map(({ name, kind, filtering, up, mtu, alias, master }) => ({
      ifname: name,
      mtu,
      flags: up ? ["UP"] : [],
      ifalias: alias,
      master,
      linkinfo: { info_kind: kind, info_data: kind === "bridge" ? { vlan_filtering: filtering ? 1 : 0 } : {} },
    }));
    return JSON.stringify(all);
  }

  #ip([, verb = "", name = "", ...rest]: readonly string[]): Result<string, string> {
    if (verb === "add") return this.#add(name, rest);
    const link = this.#links.get(name);
    if (link === undefined) return err(`Cannot find device "${name}"`);
    if (verb === "del") {
      for (const gone of [link.name, link.peer ?? ""]) this.#links.delete(gone);
      return ok("");
    }
    for (let at = 0; at < rest.length; at += 1) {
      const value = rest[at + 1] ?? "";
      if (rest[at] === "up") link.up = true;
      if (rest[at] === "alias") link.alias = value;
      if (rest[at] === "mtu") link.mtu = Number(value);
      if (rest[at] === "master" && link.master !== value) this.#enslave(link, value);
    }
    return ok("");
  }

  #add(name: string, [, kind = "", ...rest]: readonly string[]): Result<string, string> {
    const peer = kind === "veth" ? rest.at(-1) : undefined;
    if ([name, peer ?? ""].some((one) => this.#links.has(one))) return err("RTNETLINK answers: File exists");
    const base = { kind, filtering: false, up: false, mtu: 1_500 };
    this.#links.set(name, { ...base, name, tags: new Set(), ...(peer === undefined ? {} : { peer }) });
    if (peer !== undefined) this.#links.set(peer, { ...base, name: peer, peer: name, tags: new Set() });
    return ok("");
  }

  #enslave(link: FakeLink, master: string): void {
    link.master = master;
    link.tags.clear();
    if (this.#links.get(master)?.filtering === true) link.tags.add("1*");
  }

  #bridge(args: readonly string[]): Result<string, string> {
    const [, verb = "", , name = "", , tag = "", ...rest] = args;
    const link = this.#links.get(name);
    if (link?.master === undefined) return err("RTNETLINK answers: Operation not supported");
    const present = [...link.tags].find((known) => known.replace("*", "") === tag);
    if (verb === "del" && present === undefined) return err("RTNETLINK answers: No such file or directory");
    if (present !== undefined) link.tags.delete(present);
    if (verb === "add") link.tags.add(rest.includes("untagged") ? `${tag}*` : tag);
    return ok("");
  }
}
