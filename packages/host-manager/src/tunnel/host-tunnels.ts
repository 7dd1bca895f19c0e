/**
 * The ends of tunnels between sites that this host has: noted before anything is made, made by WireGuard and VXLAN, looked
 * after as long as they are noted, and removed with everything that was made for them. One thing is done at a time.
 */
import { isDeepStrictEqual } from "node:util";
import { type CancelTimer, type Clock, err, ok, type Result } from "@muster/base";
import {
  type GuestNic,
  type Refusal,
  refusal,
  type TunnelAbility,
  type TunnelEnd,
  type TunnelOrder,
  type TunnelState,
} from "@muster/protocol";
import { IpLink } from "../network/ip-link.ts";
import type { HostNetworks } from "../network/port.ts";
import type { GatewayConfig } from "./config.ts";
import { newTunnelKeys } from "./keys.ts";
import { namespacePrefix } from "./names.ts";
import type { TunnelNote, TunnelNotes } from "./notes.ts";
import { pickPort } from "./pick-port.ts";
import type { OpenTunnel, TunnelPlan, Tunnels } from "./port.ts";
import { abilityOf, probeTunnels, type TunnelMeans } from "./probe.ts";
import { TunnelBuilder } from "./tunnel-builder.ts";
import { namespaces } from "./wireguard.ts";

export type HostTunnelsParts = {
  readonly config: GatewayConfig;
  /** Network namespace of the guests' bridges, where that is not the host manager's. */
  readonly namespace: string | undefined;
  readonly stateFolder: string;
  readonly notes: TunnelNotes;
  /** The host's own networks, on which gateway ends are put. */
  readonly networks: HostNetworks;
  readonly clock: Clock;
  /** Of the log; what could not be mended or removed is tried again. */
  readonly onFault: (where: string, reason: string) => void;
};

/** How often it is looked whether everything is still there. */
const LOOK_EVERY_MS = 10_000;
const RETRY_MS = 2_000;
/** Most orders that wait for their turn (S2). */
const ORDERS_MAX = 64;

const NOT_TRIED: TunnelMeans = { kind: "lacking", reason: "it has just started: what it can is being tried out" };

export class HostTunnels implements Tunnels {
  readonly #parts: HostTunnelsParts;
  readonly #keep = new Map<string, CancelTimer>();
  #means: TunnelMeans | undefined;
  #builder: TunnelBuilder | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #cancelLook: CancelTimer = () => {};
  #stopped = false;
  #orders = 0;

  constructor(parts: HostTunnelsParts) {
    this.#parts = parts;
  }

  get ability(): TunnelAbility {
    return abilityOf(this.#parts.config, this.#means ?? NOT_TRIED);
  }

  start(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#probe();
      if (this.#builder === undefined) return;
      await this.#sweep();
      // A gateway's end has its whole time again: its leader says more, or it is over then.
      for (const note of this.#parts.notes.tunnels)
        if (note.end === "gateway" && note.keepMs !== undefined) this.#keepFor(note, note.keepMs);
      await this.#look();
    });
  }

  clear(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#builder === undefined) await this.#probe();
      await this.#giveUp(() => true);
      await this.#sweep();
    });
  }

  async #probe(): Promise<void> {
    const { config, namespace, stateFolder, clock } = this.#parts;
    const means = await probeTunnels(`${namespacePrefix(stateFolder)}probe`);
    this.#means = means;
    if (means.kind === "ready") this.#builder = new TunnelBuilder({ config, namespace, stateFolder, clock, means });
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelLook();
    for (const cancel of this.#keep.values()) cancel();
    this.#keep.clear();
  }

  async carryOut(order: TunnelOrder): Promise<Result<TunnelState, Refusal>> {
    if (this.#orders >= ORDERS_MAX)
      return err(
        refusal("unavailable", "busy", "too many tunnels are being made: try again", { retryAfterMs: RETRY_MS }),
      );
    this.#orders += 1;
    try {
      return await this.#inTurn(() => (order.action === "close" ? this.#close(order) : this.#open(order)));
    } finally {
      this.#orders -= 1;
    }
  }

  attach(vm: string, nic: GuestNic): Promise<Result<OpenTunnel, string>> {
    return this.#inTurn(async () => {
      const { tunnel } = nic;
      if (tunnel === undefined) return err("the interface leads into no tunnel");
      const { id, vni, peer } = tunnel;
      const known = this.#parts.notes.find({ id, end: "guest" });
      return this.#make({ id, end: "guest", attempt: known?.attempt ?? 1, vm, vni, nic, peer }, undefined);
    });
  }

  release(vm: string): Promise<void> {
    return this.#inTurn(() => this.#giveUp((note) => note.end === "guest" && note.vm === vm));
  }

  reconcile(vms: ReadonlySet<string>): Promise<void> {
    return this.#inTurn(() => this.#giveUp((note) => note.end === "guest" && !vms.has(note.vm)));
  }

  uses(): readonly string[] {
    return this.#parts.notes.tunnels.flatMap(({ id, end }) => (end === "gateway" ? [id] : []));
  }

  async #open(order: TunnelOrder): Promise<Result<TunnelState, Refusal>> {
    const { id, end, attempt, vm, vni, nic, peer, keepMs } = order;
    const { notes } = this.#parts;
    if (vni === undefined || nic === undefined) return err(invalid("an open needs its vni and nic"));
    const known = notes.find({ id, end });
    if (end === "guest" && known?.vm !== vm)
      return err(refusal("unavailable", "no-such-end", `this host has no end of tunnel ${id} for VM ${vm}: ask again`));
    if (end === "gateway" && attempt <= Math.max(notes.closedAttempt(id), (known?.attempt ?? 1) - 1))
      return err(
        refusal("conflict", "tunnel-over", `attempt ${attempt} of tunnel ${id} is over here: it stays closed`),
      );
    const plan = { id, end, attempt: end === "guest" ? (known?.attempt ?? 1) : attempt, vm, vni, nic, peer };
    const made = await this.#make(plan, keepMs);
    if (!made.ok) return err(refusal("unavailable", "no-tunnel", made.error.slice(0, 400), { retryAfterMs: RETRY_MS }));
    const heardMs = await this.#builder?.heardMs(plan);
    const heard = heardMs === undefined ? {} : { heardMs: Math.round(heardMs) };
    return ok({ id, attempt, stage: "open", own: made.value.own, ...heard });
  }

  async #close({ id, end, attempt }: TunnelOrder): Promise<Result<TunnelState, Refusal>> {
    if (end === "guest") return err(invalid("a guest's end goes with its VM"));
    const { notes } = this.#parts;
    const known = notes.find({ id, end });
    if (known === undefined || known.attempt <= attempt) {
      notes.bury(id, attempt);
      if (known !== undefined) {
        const gone = await this.#remove(known).then(
          () => undefined,
          (cause: unknown) => reasonOf(cause),
        );
        if (gone !== undefined)
          return err(refusal("unavailable", "not-closed", gone.slice(0, 400), { retryAfterMs: RETRY_MS }));
      }
    }
    return ok({ id, attempt, stage: "closed" });
  }

  /** Makes the end, or brings it in line. Of one that was not there before, nothing is left on a fault. */
  async #make(plan: TunnelPlan, keepMs: number | undefined): Promise<Result<OpenTunnel, string>> {
    const { notes } = this.#parts;
    const means = this.#means;
    if (means === undefined || this.#builder === undefined)
      return err(means?.kind === "lacking" ? `this host carries no tunnels: ${means.reason}` : "it is just starting");
    const known = notes.find(plan);
    if (known !== undefined && known.attempt !== plan.attempt) await this.#remove(known);
    const note = await this.#noteOf(plan, keepMs);
    if (!note.ok) return note;
    if (keepMs !== undefined) this.#keepFor(note.value, keepMs);
    const made = await this.#build(note.value).catch((cause: unknown) => err(reasonOf(cause)));
    if (made.ok) return ok({ own: this.#ownEnd(note.value), bridge: made.value });
    // What cannot be taken away now stays noted, and goes with the next order or look.
    if (known === undefined || known.attempt !== plan.attempt)
      await this.#remove(note.value).catch((cause: unknown) => this.#parts.onFault("remove", reasonOf(cause)));
    return made;
  }

  async #noteOf(plan: TunnelPlan, keepMs: number | undefined): Promise<Result<TunnelNote, string>> {
    const { notes, config } = this.#parts;
    const known = notes.find(plan);
    const kept = keepMs === undefined ? {} : { keepMs };
    if (known !== undefined) {
      // Once the other end is known, an order of before does not make it unknown again.
      const peer = plan.peer ?? known.peer;
      const note = { ...known, ...plan, ...kept, ...(peer === undefined ? {} : { peer }) };
      if (!isDeepStrictEqual(note, known)) notes.put(note);
      return ok(note);
    }
    const port = await pickPort(config.ports, new Set(notes.tunnels.map((note) => note.port)));
    if (!port.ok) return port;
    const note = { ...plan, ...kept, ...newTunnelKeys(), port: port.value };
    notes.put(note);
    return ok(note);
  }

  /** The bridge that the end is on. */
  async #build(note: TunnelNote): Promise<Result<string, string>> {
    const builder = this.#builder;
    if (builder === undefined) return err("it is just starting");
    const home = note.end === "gateway" ? await this.#homeBridge(note) : ok(undefined);
    if (!home.ok) return home;
    return builder.ensure(note, home.value, (carrier) => {
      const now = this.#parts.notes.find(note);
      if (now !== undefined) this.#parts.notes.put({ ...now, carrier });
    });
  }

  /** A gateway's end is on its network like an interface of a guest, under the tunnel's name and without an address. */
  async #homeBridge({ id, nic }: TunnelNote): Promise<Result<string, string>> {
    const { address: _, addressing: __, tunnel: ___, ...rest } = nic;
    const mac = `52:55:${(id.replaceAll("-", "").slice(-8).match(/../g) ?? []).join(":")}`;
    const wiring = await this.#parts.networks.attach(id, { ...rest, mac, addressing: "none" });
    if (!wiring.ok) return err(wiring.error.reason);
    if (wiring.value.kind === "bridge") return ok(wiring.value.bridge);
    return err(`network ${nic.network} is no bridge of this host: tunnels end on bridge and VXLAN networks only`);
  }

  async #giveUp(which: (note: TunnelNote) => boolean): Promise<void> {
    const faults: string[] = [];
    for (const note of this.#parts.notes.tunnels.filter(which))
      await this.#remove(note).catch((cause: unknown) => faults.push(reasonOf(cause)));
    if (faults.length > 0) throw new Error(`not every tunnel could be given up: ${faults.join("; ")}`);
  }

  async #remove(note: TunnelNote): Promise<void> {
    this.#keep.get(note.id)?.();
    this.#keep.delete(note.id);
    const gone = (await this.#builder?.remove(this.#parts.notes.find(note) ?? note)) ?? ok(undefined);
    if (!gone.ok) throw new Error(gone.error);
    if (note.end === "gateway") await this.#parts.networks.release(note.id);
    this.#parts.notes.remove(note);
  }

  /** B4: an end that its leader has not spoken of for so long is over. */
  #keepFor(note: TunnelNote, keepMs: number): void {
    this.#keep.get(note.id)?.();
    if (this.#stopped) return;
    const over = (): void => {
      this.#keep.delete(note.id);
      void this.#inTurn(async () => {
        const now = this.#parts.notes.find(note);
        // An order that came in the same moment counts.
        if (now?.attempt !== note.attempt || this.#keep.has(note.id)) return;
        this.#parts.notes.bury(note.id, note.attempt);
        await this.#remove(now);
      }).catch((cause: unknown) => this.#parts.onFault("expire", reasonOf(cause)));
    };
    this.#keep.set(note.id, this.#parts.clock.setTimer(keepMs, over));
  }

  /** Brings back what was lost, such as a carrier that ended; again and again. */
  async #look(): Promise<void> {
    for (const note of this.#parts.notes.tunnels) {
      if (note.end === "gateway" && this.#parts.notes.closedAttempt(note.id) >= note.attempt) {
        await this.#remove(note).catch((cause: unknown) => this.#parts.onFault("remove", reasonOf(cause)));
        continue;
      }
      if ((await this.#builder?.isWhole(note)) === true) continue;
      const built = await this.#build(note).catch((cause: unknown) => err(reasonOf(cause)));
      if (!built.ok) this.#parts.onFault("mend", built.error);
    }
    if (this.#stopped) return;
    this.#cancelLook = this.#parts.clock.setTimer(LOOK_EVERY_MS, () => {
      void this.#inTurn(() => this.#look()).catch((cause: unknown) => this.#parts.onFault("look", reasonOf(cause)));
    });
  }

  /** Takes away the insides of tunnels that nobody noted: whatever carried them ends with them. */
  async #sweep(): Promise<void> {
    const { stateFolder, notes } = this.#parts;
    const listed = await namespaces();
    if (!listed.ok) return;
    const noted = new Set(notes.tunnels.map((note) => this.#builder?.names(note).namespace));
    for (const name of listed.value)
      if (name.startsWith(namespacePrefix(stateFolder)) && !noted.has(name))
        await new IpLink().run(["netns", "del", name]);
  }

  #ownEnd({ publicKey, port }: TunnelNote): TunnelEnd {
    const { address } = this.#parts.config;
    return { publicKey, ...(address === undefined ? {} : { endpoint: { address, port } }) };
  }

  #inTurn<Value>(work: () => Promise<Value>): Promise<Value> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

function invalid(message: string): Refusal {
  return refusal("bad-request", "invalid-tunnel", message);
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
