import type { TunnelOrder } from "@muster/protocol";
import type { TunnelRecord } from "./tunnel-record.ts";

/** An order on its way to a host. */
export type TunnelCall = {
  readonly host: string;
  readonly action: TunnelOrder["action"];
  /** What the order says, to know again whether it is still what is to be said. */
  readonly says: string;
  readonly keepMs: number;
  readonly dueMs: number;
};

/** What this core has heard of one end. Not stored: a successor asks again and hears the same (H2). */
export type TunnelTalk = {
  call: TunnelCall | undefined;
  /** Orders without the answer that they were for, in a row; and when to look again. */
  tries: number;
  lookAtMs: number;
  /** What the host was told last and has done, and until when it keeps it. */
  told: string | undefined;
  toldHost: string | undefined;
  keptUntilMs: number;
  /** Gateways that could not, with their reasons. */
  readonly failed: Map<string, string>;
};

/** Whose end it is: a gateway's for one of our VMs at a peer, or that of a peer's VM here. */
export type TunnelSide =
  | { readonly kind: "gateway"; readonly id: string }
  | { readonly kind: "guest"; readonly peer: string; readonly id: string };

/** Every end that hosts of ours have or are to have. */
export class TunnelBook {
  /** Of gateways, as stored. */
  readonly records = new Map<string, TunnelRecord>();
  readonly #talks = new Map<string, { readonly side: TunnelSide; readonly talk: TunnelTalk }>();
  readonly #vms = new Map<string, string>();
  #dueMs = Number.POSITIVE_INFINITY;

  /** When to look at one of them again; `undefined` where there is none. */
  get dueMs(): number | undefined {
    return this.#talks.size === 0 ? undefined : this.#dueMs;
  }

  /** There may be something to do about it now. */
  touch(side: TunnelSide): void {
    this.#talkOf(side).lookAtMs = Number.NEGATIVE_INFINITY;
    this.#dueMs = Number.NEGATIVE_INFINITY;
  }

  has(side: TunnelSide): boolean {
    return this.#talks.has(keyOf(side));
  }

  /** The VM of a gateway's end that is not stored yet. */
  vmOf(id: string): string | undefined {
    return this.#vms.get(id);
  }

  noteVm(id: string, vm: string): void {
    this.#vms.set(id, vm);
  }

  /** Those that are due; each says by `lookAtMs` when it is again. */
  due(nowMs: number): readonly { readonly side: TunnelSide; readonly talk: TunnelTalk }[] {
    if (this.#dueMs > nowMs) return [];
    return [...this.#talks.values()].filter(({ talk }) => talk.lookAtMs <= nowMs);
  }

  /** After they were looked at. */
  settle(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
    for (const { talk } of this.#talks.values()) this.#dueMs = Math.min(this.#dueMs, talk.lookAtMs);
  }

  forget(side: TunnelSide): void {
    if (side.kind === "gateway") this.#vms.delete(side.id);
    this.#talks.delete(keyOf(side));
  }

  #talkOf(side: TunnelSide): TunnelTalk {
    const known = this.#talks.get(keyOf(side));
    if (known !== undefined) return known.talk;
    const talk: TunnelTalk = {
      call: undefined,
      tries: 0,
      lookAtMs: 0,
      told: undefined,
      toldHost: undefined,
      keptUntilMs: 0,
      failed: new Map(),
    };
    this.#talks.set(keyOf(side), { side, talk });
    return talk;
  }

  find(side: TunnelSide): TunnelTalk | undefined {
    return this.#talks.get(keyOf(side))?.talk;
  }
}

function keyOf(side: TunnelSide): string {
  return side.kind === "gateway" ? `gateway/${side.id}` : `guest/${side.peer}/${side.id}`;
}
