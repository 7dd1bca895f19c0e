import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { err, ok, type Result } from "@muster/base";
import type { Access, Attachment, GuestNic, NetworkAbilities, UnderlayEnd, UnderlayPeer } from "@muster/protocol";
import { bridgeDriver } from "./bridge.ts";
import type { NetworksConfig } from "./config.ts";
import type { NetworkDriver } from "./driver.ts";
import { Firewall } from "./firewall.ts";
import { firewallPlan, isBehindHost, leavesHost } from "./firewall-rules.ts";
import { IpLink } from "./ip-link.ts";
import { natDriver } from "./nat.ts";
import { OpenVSwitch } from "./open-vswitch.ts";
import type { HostNetworks, NetworkFault, NicWiring } from "./port.ts";
import { type RunProgram, runProgram } from "./run-program.ts";
import { UserPorts, userDriver } from "./user.ts";
import { type NicUse, UsesFile } from "./uses-file.ts";
import { vlanDriver } from "./vlan.ts";
import { vxlanDriver } from "./vxlan.ts";

export type HostNetworksOptions = {
  readonly config: NetworksConfig;
  /** Folder in which it is noted which VM uses what. */
  readonly stateFolder: string;
  /** Connection URI of the host's libvirt, as virsh takes it, for NAT networks. */
  readonly libvirtUri: string;
  /** Address at which the other hosts reach this one, where the admin gave one for something else than tunnels. */
  readonly hostAddress?: string | undefined;
  /** For tests: what runs the programs of the system. */
  readonly run?: RunProgram;
};

/** Most interfaces a host attaches at the same time (S2). */
const USES_MAX = 4_096;
/** UDP port of VXLAN (RFC 7348). */
const VXLAN_PORT = 4_789;

/** The networks of this host; the fault says why its notes cannot be read. */
export function openHostNetworks(options: HostNetworksOptions): Result<HostNetworks, NetworkFault> {
  const notes = UsesFile.open(join(options.stateFolder, "networks.json"));
  return notes.ok ? ok(new NotedNetworks(notes.value, options)) : err({ reason: notes.error });
}

/** Notes each use before anything is made for it, and does one thing at a time. */
class NotedNetworks implements HostNetworks {
  readonly underlay: UnderlayEnd | undefined;
  readonly #config: NetworksConfig;
  readonly #notes: UsesFile;
  readonly #links: IpLink;
  readonly #drivers: Readonly<Record<Attachment, NetworkDriver>>;
  readonly #firewall: Firewall;
  readonly #ports: UserPorts;
  #learned: readonly UnderlayPeer[] | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(notes: UsesFile, { config, libvirtUri, hostAddress, run = runProgram }: HostNetworksOptions) {
    const { namespace, access, user } = config;
    const derived = hostAddress === undefined ? undefined : { address: hostAddress, port: VXLAN_PORT };
    const underlay = config.underlay ?? derived;
    this.underlay = underlay === undefined ? undefined : { address: underlay.address, port: underlay.port };
    this.#config = config;
    this.#notes = notes;
    this.#links = new IpLink(namespace, run);
    this.#drivers = {
      bridge: bridgeDriver(this.#links, config.bridges),
      vxlan: vxlanDriver(this.#links, underlay, () => this.#learned),
      vlan: vlanDriver(this.#links, new OpenVSwitch(config.vlan?.database, run), config.vlan),
      nat: natDriver(libvirtUri),
      user: userDriver(access?.address ?? user.address),
    };
    this.#firewall = new Firewall(namespace, run);
    this.#ports = new UserPorts(
      access === undefined
        ? { ...user, key: "networks.user" }
        : {
            address: access.address,
            ...access.ports,
            key: "networks.access.ports",
            elsewhere: namespace !== undefined,
          },
    );
  }

  attach(vm: string, nic: GuestNic): Promise<Result<NicWiring, NetworkFault>> {
    return this.#inTurn(() => this.#attach(vm, nic));
  }

  release(vm: string): Promise<void> {
    return this.#inTurn(() => this.#giveUp((use) => use.vm === vm));
  }

  reconcile(vms: ReadonlySet<string>): Promise<void> {
    return this.#inTurn(async () => {
      await this.#giveUp((use) => !vms.has(use.vm));
      for (const [attachment, driver] of Object.entries(this.#drivers)) await driver.sweep(this.#usesOf(attachment));
      await this.#givePorts();
      const filtered = await this.#filter(true);
      if (!filtered.ok) throw new Error(filtered.error);
    });
  }

  /** To VMs that came before the admin gave ports for them; where there are too few, those stay without. */
  async #givePorts(): Promise<void> {
    for (const use of this.#notes.uses) {
      if (use.port !== undefined || !this.#needsPort(use.vm, use.nic)) continue;
      const port = await this.#ports.pick(this.#notes.uses);
      if (!port.ok) return;
      this.#notes.remove(use);
      this.#notes.add({ ...use, port: port.value });
    }
  }

  learn(peers: readonly UnderlayPeer[]): Promise<void> {
    return this.#inTurn(async () => {
      this.#learned = peers;
      for (const [attachment, driver] of Object.entries(this.#drivers))
        await driver.refresh?.(this.#usesOf(attachment));
    });
  }

  accessOf(vm: string): Access | undefined {
    const { access } = this.#config;
    const port = this.#notes.uses.find((use) => use.vm === vm && use.port !== undefined)?.port;
    return access === undefined || port === undefined ? undefined : { host: access.address, port };
  }

  async abilities(): Promise<NetworkAbilities> {
    const asked = await Promise.all(
      Object.entries(this.#drivers).map(async ([ability, driver]) => ({ ability, lack: await driver.lack() })),
    );
    const links = await this.#links.list();
    const present = new Set(
      links.ok
        ? links.value.filter(({ linkinfo }) => linkinfo?.info_kind === "bridge").map(({ ifname }) => ifname)
        : [],
    );
    const vxlan = asked.find(({ ability }) => ability === "vxlan")?.lack;
    const all = [...asked, { ability: "outside", lack: vxlan ?? (await this.#firewall.lack()) }];
    return {
      abilities: all.filter(({ lack }) => lack === undefined).map(({ ability }) => ability),
      bridges: Object.entries(this.#config.bridges)
        .filter(([, bridge]) => present.has(bridge))
        .map(([network]) => network)
        .sort(),
      lacks: all.flatMap(({ ability, lack }) =>
        lack === undefined ? [] : [{ ability, reason: lack.replace(/\p{Cc}/gu, " ").slice(0, REASON_LENGTH_MAX) }],
      ),
    };
  }

  async #attach(vm: string, nic: GuestNic): Promise<Result<NicWiring, NetworkFault>> {
    const known = this.#notes.uses.find((use) => use.vm === vm && use.nic.mac === nic.mac);
    if (known !== undefined && isDeepStrictEqual(known.nic, nic)) return this.#make(known);
    if (known !== undefined) await this.#giveUp((use) => use === known);
    const clash = this.#clashOf(vm, nic);
    if (clash !== undefined) return err({ reason: clash });
    const port = this.#needsPort(vm, nic) ? await this.#ports.pick(this.#notes.uses) : undefined;
    if (port !== undefined && !port.ok) return err({ reason: port.error });
    const use: NicUse = { vm, nic, ...(port === undefined ? {} : { port: port.value }) };
    this.#notes.add(use);
    const made = await this.#make(use).catch((cause: unknown) => err({ reason: reasonOf(cause) }));
    // What cannot be taken away now stays noted, and goes with the next release or reconcile.
    if (!made.ok) await this.#giveUp((other) => other === use).catch(() => undefined);
    return made;
  }

  async #make(use: NicUse): Promise<Result<NicWiring, NetworkFault>> {
    const made = await this.#drivers[use.nic.attachment].make(use);
    if (!made.ok) return made;
    const filtered = await this.#filter();
    return filtered.ok ? made : err({ reason: `network ${use.nic.network}: ${filtered.error}` });
  }

  /** One a VM, at its first interface behind this host; with user networking, one an interface. */
  #needsPort(vm: string, nic: GuestNic): boolean {
    if (nic.attachment === "user") return true;
    if (this.#config.access === undefined || !isBehindHost({ nic })) return false;
    return !this.#notes.uses.some((use) => use.vm === vm && use.port !== undefined);
  }

  async #filter(anew = false): Promise<Result<void, string>> {
    const { uses } = this.#notes;
    const between = uses.some(leavesHost) ? await this.#betweenHosts() : ok(undefined);
    if (!between.ok) return between;
    const plan = firewallPlan({
      uses,
      accessAddress: this.#config.access?.address,
      vxlanPort: this.underlay?.port,
      betweenHosts: between.value,
    });
    return this.#firewall.apply(plan, anew);
  }

  /** The interface of the network between the hosts; `undefined` where it is the way to everywhere else as well. */
  async #betweenHosts(): Promise<Result<string | undefined, string>> {
    if (this.underlay === undefined) return ok(undefined);
    const held = await this.#links.holderOf(this.underlay.address);
    const elsewhere = await this.#links.defaultDevice();
    if (!elsewhere.ok) return elsewhere;
    return ok(held.ok && held.value.name !== elsewhere.value ? held.value.name : undefined);
  }

  #usesOf(attachment: string): readonly NicUse[] {
    return this.#notes.uses.filter(({ nic }) => nic.attachment === attachment);
  }

  #clashOf(vm: string, nic: GuestNic): string | undefined {
    const { uses } = this.#notes;
    if (uses.length >= USES_MAX) return `this host has ${USES_MAX} interfaces attached, the most there may be`;
    const here = uses.filter((use) => use.nic.network === nic.network);
    const sameMac = here.find((use) => use.nic.mac === nic.mac);
    if (sameMac !== undefined)
      return `the MAC address ${nic.mac} is that of VM ${sameMac.vm} on network ${nic.network}`;
    const taken = here.find((use) => use.vm !== vm && nic.address !== undefined && use.nic.address === nic.address);
    if (taken !== undefined) return `the address ${nic.address} is that of VM ${taken.vm} on network ${nic.network}`;
    return undefined;
  }

  /** Goes on to the others when one cannot be given up, and says so at the end. */
  async #giveUp(which: (use: NicUse) => boolean): Promise<void> {
    const faults: string[] = [];
    for (const use of this.#notes.uses.filter(which)) {
      const { attachment, network } = use.nic;
      const others = this.#notes.uses.filter((other) => other !== use);
      const last = !others.some(
        ({ nic }) =>
          nic.attachment === attachment &&
          nic.network === network &&
          nic.vni === use.nic.vni &&
          nic.vlan === use.nic.vlan,
      );
      try {
        await this.#drivers[attachment].unmake(use, last);
        this.#notes.remove(use);
      } catch (cause) {
        faults.push(`${network}: ${reasonOf(cause)}`);
      }
    }
    const filtered = await this.#filter();
    if (!filtered.ok) faults.push(filtered.error);
    if (faults.length > 0) throw new Error(`not everything could be given up: ${faults.join("; ")}`);
  }

  #inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

const REASON_LENGTH_MAX = 200;

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
