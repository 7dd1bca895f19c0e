/** The tunnels of a host for tests: ends are made and closed by the rules of the protocol, nothing is carried. */
import { createHash } from "node:crypto";
import type { TunnelAbility, TunnelEnd, TunnelOrder } from "@muster/protocol";
import type { CoreEvent } from "../core/event.ts";

type End = Extract<CoreEvent, { kind: "tunnel-answered" }>["end"];

export class ScriptedTunnels {
  ability: TunnelAbility | undefined;
  /** Open ends, by exchange. */
  readonly open = new Map<string, TunnelOrder & { readonly own: TunnelEnd }>();
  /** Refuses every `open`, with this reason. */
  broken: string | undefined;
  readonly #host: string;
  readonly #runs: (vm: string, attempt: number) => boolean;
  readonly #closed = new Map<string, number>();

  constructor(host: string, runs: (vm: string, attempt: number) => boolean) {
    this.#host = host;
    this.#runs = runs;
  }

  /** Ends that are there: a guest's goes with its VM. */
  get ends(): readonly TunnelOrder[] {
    return [...this.open.values()].filter(({ end, vm, attempt }) => end === "gateway" || this.#runs(vm, attempt));
  }

  take(order: TunnelOrder): End {
    const { id, attempt, end, action, vm } = order;
    if (action === "close") {
      if ((this.open.get(id)?.attempt ?? 0) <= attempt) this.open.delete(id);
      this.#closed.set(id, Math.max(attempt, this.#closed.get(id) ?? 0));
      return { kind: "state", state: { id, attempt, stage: "closed" } };
    }
    if (this.broken !== undefined) return refused("unavailable", "no-tunnel", this.broken);
    if (end === "guest" && !this.#runs(vm, attempt)) return refused("unavailable", "no-such-end", "its VM is not here");
    if (attempt <= (this.#closed.get(id) ?? 0)) return refused("conflict", "tunnel-over", "it stays closed");
    const known = this.open.get(id);
    const own = known?.attempt === attempt ? known.own : this.#ownEnd(`${end} ${attempt} ${id}`);
    this.open.set(id, { ...order, own });
    return { kind: "state", state: { id, attempt, stage: "open", own } };
  }

  #ownEnd(seed: string): TunnelEnd {
    const address = this.ability?.address;
    const publicKey = createHash("sha256").update(`${this.#host} ${seed}`).digest("base64");
    return { publicKey, ...(address === undefined ? {} : { endpoint: { address, port: 51_820 } }) };
  }
}

function refused(kind: "unavailable" | "conflict", reason: string, message: string): End {
  return { kind: "refused", refusal: { kind, reason, message } };
}
