import type { CancelTimer, Clock } from "@muster/base";
import { managerAddress, refusal } from "@muster/protocol";
import { type Bus, bareAddress, type IncomingIq, type IqAnswer, type IqOutcome } from "@muster/xmpp";
import { malformed, refuseIq } from "../xmpp-face/refusal-fault.ts";
import { beatMessage, handOverMessage, NS_LEADERSHIP, type Pulse, pulseMessage } from "./beat-message.ts";

export type ManagerLinkOptions = {
  /** Bound as `cm-<manager>.<domain>`. */
  readonly bus: Bus;
  readonly clock: Clock;
  readonly domain: string;
  readonly manager: string;
  /** What this manager takes itself for now. */
  readonly pulse: () => Pulse;
  /** A standby that was not heard for so long is none any more. */
  readonly standbyForMs: number;
};

/** `absent`: the server has nobody there, or who is there does not lead. `silent`: no sign either way. */
export type BeatOutcome =
  | { readonly kind: "answered"; readonly lagMs: number }
  | { readonly kind: "absent" }
  | { readonly kind: "silent" };

/** Managers known at once: a site has a few (S2). */
const STANDBYS_MAX = 16;

/** The link between the managers of a site: beats, and the word that the store is free. */
export class ManagerLink {
  readonly #options: ManagerLinkOptions;
  /** Standbys by name: when they were last heard, and the timer that forgets them. */
  readonly #standbys = new Map<string, CancelTimer>();
  readonly #changed = new Set<() => void>();
  #handedOver: () => void = () => {};

  constructor(options: ManagerLinkOptions) {
    this.#options = options;
    const { bus } = options;
    bus.handle("get", NS_LEADERSHIP, beatMessage.name, (iq) => this.#beaten(iq));
    bus.handle("set", NS_LEADERSHIP, handOverMessage.name, (iq) => this.#offered(iq));
  }

  get online(): boolean {
    return this.#options.bus.status.kind === "online";
  }

  start(): void {
    this.#options.bus.start();
  }

  async stop(): Promise<void> {
    for (const cancel of this.#standbys.values()) cancel();
    this.#standbys.clear();
    await this.#options.bus.stop();
  }

  /** Managers that have asked us for a sign of life lately: they wait for the lead. The last heard comes first. */
  get standbys(): readonly string[] {
    return [...this.#standbys.keys()].reverse();
  }

  /** Tells when standbys come and go. */
  onStandbys(listener: () => void): () => void {
    this.#changed.add(listener);
    return () => this.#changed.delete(listener);
  }

  /** Told when another manager says that it gave the store up. */
  onHandOver(listener: () => void): void {
    this.#handedOver = listener;
  }

  /** Asks a manager, or ourselves, for a sign of life. */
  async beat(manager: string, timeoutMs: number): Promise<BeatOutcome> {
    const payload = beatMessage.encode({ manager: this.#options.manager });
    const outcome = await this.#ask(manager, "get", payload, timeoutMs);
    if (outcome.kind === "error") return { kind: "absent" };
    if (outcome.kind !== "result" || outcome.payload === undefined) return { kind: "silent" };
    const pulse = pulseMessage.decode(outcome.payload);
    if (!pulse.ok) return { kind: "silent" };
    const { role, lagMs = 0 } = pulse.value;
    return role === "leader" || manager === this.#options.manager ? { kind: "answered", lagMs } : { kind: "absent" };
  }

  /** Tells a standby that the store is closed. `false` where it was not heard to take note. */
  async handOver(manager: string, term: number, timeoutMs: number): Promise<boolean> {
    const payload = handOverMessage.encode({ manager: this.#options.manager, term });
    return (await this.#ask(manager, "set", payload, timeoutMs)).kind === "result";
  }

  #ask(
    manager: string,
    type: "get" | "set",
    payload: ReturnType<typeof beatMessage.encode>,
    timeoutMs: number,
  ): Promise<IqOutcome> {
    const { bus, domain } = this.#options;
    return bus.request({ to: managerAddress(manager, domain), type, payload, timeoutMs });
  }

  #beaten({ from, payload }: IncomingIq): IqAnswer {
    const beat = beatMessage.decode(payload);
    if (!beat.ok) return refuseIq(malformed(beat.error));
    const { manager } = beat.value;
    if (!this.#isFrom(manager, from)) return refuseIq(STRANGER);
    if (manager !== this.#options.manager && this.#options.pulse().role === "leader") this.#heard(manager);
    return { kind: "result", payload: pulseMessage.encode(this.#options.pulse()) };
  }

  #offered({ from, payload }: IncomingIq): IqAnswer {
    const offer = handOverMessage.decode(payload);
    if (!offer.ok) return refuseIq(malformed(offer.error));
    if (!this.#isFrom(offer.value.manager, from)) return refuseIq(STRANGER);
    this.#handedOver();
    return { kind: "result" };
  }

  /** The server vouches for `from`; whoever speaks for a manager speaks from its component. */
  #isFrom(manager: string, from: string): boolean {
    return bareAddress(from) === managerAddress(manager, this.#options.domain);
  }

  #heard(manager: string): void {
    const { clock, standbyForMs } = this.#options;
    const known = this.#standbys.get(manager);
    if (known === undefined && this.#standbys.size >= STANDBYS_MAX) return;
    known?.();
    this.#standbys.delete(manager);
    const forget = (): void => {
      this.#standbys.delete(manager);
      this.#tellChanged();
    };
    this.#standbys.set(manager, clock.setTimer(standbyForMs, forget));
    if (known === undefined) this.#tellChanged();
  }

  #tellChanged(): void {
    for (const listener of [...this.#changed]) listener();
  }
}

const STRANGER = refusal(
  "forbidden",
  "not-a-manager",
  "only managers of this site speak here, each from its component",
);
