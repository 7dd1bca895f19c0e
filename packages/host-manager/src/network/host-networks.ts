import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { err, ok, type Result } from "@muster/base";
import type { Attachment, GuestNic } from "@muster/protocol";
import { bridgeDriver } from "./bridge.ts";
import type { NetworksConfig } from "./config.ts";
import type { NetworkDriver } from "./driver.ts";
import { IpLink } from "./ip-link.ts";
import { natDriver } from "./nat.ts";
import type { HostNetworks, NetworkFault, NicWiring } from "./port.ts";
import { UserPorts, userDriver } from "./user.ts";
import { type NicUse, UsesFile } from "./uses-file.ts";
import { vxlanDriver } from "./vxlan.ts";

export type HostNetworksOptions = {
  readonly config: NetworksConfig;
  /** Folder in which it is noted which VM uses what. */
  readonly stateFolder: string;
  /** Connection URI of the host's libvirt, as virsh takes it, for NAT networks. */
  readonly libvirtUri: string;
};

/** Most interfaces a host attaches at the same time (S2). */
const USES_MAX = 4_096;

/** The networks of this host; the fault says why its notes cannot be read. */
export function openHostNetworks(options: HostNetworksOptions): Result<HostNetworks, NetworkFault> {
  const { config, stateFolder, libvirtUri } = options;
  const links = new IpLink(config.namespace);
  const notes = UsesFile.open(join(stateFolder, "networks.json"));
  if (!notes.ok) return err({ reason: notes.error });
  const drivers: Readonly<Record<Attachment, NetworkDriver>> = {
    bridge: bridgeDriver(links, config.bridges),
    vxlan: vxlanDriver(links, config.underlay),
    nat: natDriver(libvirtUri),
    user: userDriver(config.user.address),
  };
  return ok(new NotedNetworks(notes.value, drivers, new UserPorts(config.user)));
}

/** Notes each use before anything is made for it, and does one thing at a time. */
class NotedNetworks implements HostNetworks {
  readonly #notes: UsesFile;
  readonly #drivers: Readonly<Record<Attachment, NetworkDriver>>;
  readonly #ports: UserPorts;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(notes: UsesFile, drivers: Readonly<Record<Attachment, NetworkDriver>>, ports: UserPorts) {
    this.#notes = notes;
    this.#drivers = drivers;
    this.#ports = ports;
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
      for (const [attachment, driver] of Object.entries(this.#drivers))
        await driver.sweep(this.#notes.uses.filter(({ nic }) => nic.attachment === attachment));
    });
  }

  async #attach(vm: string, nic: GuestNic): Promise<Result<NicWiring, NetworkFault>> {
    const known = this.#notes.uses.find((use) => use.vm === vm && use.nic.mac === nic.mac);
    if (known !== undefined && isDeepStrictEqual(known.nic, nic)) return this.#drivers[nic.attachment].make(known);
    if (known !== undefined) await this.#giveUp((use) => use === known);
    const clash = this.#clashOf(vm, nic);
    if (clash !== undefined) return err({ reason: clash });
    const port = nic.attachment === "user" ? await this.#ports.pick(this.#notes.uses) : undefined;
    if (port !== undefined && !port.ok) return err({ reason: port.error });
    const use: NicUse = { vm, nic, ...(port === undefined ? {} : { port: port.value }) };
    this.#notes.add(use);
    const made = await this.#drivers[nic.attachment]
      .make(use)
      .catch((cause: unknown) => err({ reason: reasonOf(cause) }));
    // What cannot be taken away now stays noted, and goes with the next release or reconcile.
    if (!made.ok) await this.#giveUp((other) => other === use).catch(() => undefined);
    return made;
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
        ({ nic }) => nic.attachment === attachment && nic.network === network && nic.vni === use.nic.vni,
      );
      try {
        await this.#drivers[attachment].unmake(use, last);
        this.#notes.remove(use);
      } catch (cause) {
        faults.push(`${network}: ${reasonOf(cause)}`);
      }
    }
    if (faults.length > 0) throw new Error(`not everything could be given up: ${faults.join("; ")}`);
  }

  #inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
