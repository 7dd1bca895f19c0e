/**
 * Tells the XMPP server with whom the site speaks (`mod_muster_peers_only`): the whole list, at each bind and at each
 * change. Everybody else it turns away before anything of theirs reaches us.
 */
import { backoffMs, type Rng } from "@muster/base";
import { cloudAddress, NS_PEERS } from "@muster/protocol";
import { Element } from "ltx";
import type { FaceContext } from "./face-context.ts";

const TIMEOUT_MS = 5_000;
const RETRY = { baseMs: 200, maxMs: 10_000 };

export class ServerDoor {
  readonly #context: FaceContext;
  readonly #rng: Rng;
  /** Rises with each change: only the last list counts. */
  #version = 0;
  #set: Promise<void> = Promise.resolve();
  #stopped = false;
  #unsubscribe: () => void = () => {};

  constructor(context: FaceContext, rng: Rng) {
    this.#context = context;
    this.#rng = rng;
  }

  start(): void {
    this.#unsubscribe = this.#context.bus.onStatus((status) => {
      if (status.kind === "online") this.changed();
    });
  }

  /** Who may come in has changed. */
  changed(): void {
    this.#version += 1;
    if (this.#context.bus.status.kind !== "online") return;
    const version = this.#version;
    this.#set = this.#setList(version).catch((error: unknown) =>
      this.#context.log.error({ error: String(error) }, "the list of peers met a fault"),
    );
  }

  /** Resolves when the server has the last list, or does not take it. */
  settled(): Promise<void> {
    return this.#set;
  }

  stop(): void {
    this.#stopped = true;
    this.#unsubscribe();
  }

  async #setList(version: number): Promise<void> {
    const { bus, clock, domain, log, loop } = this.#context;
    for (let attempt = 0; this.#isLast(version); attempt += 1) {
      // Not before the store was read: an empty list would turn all peers away.
      const peers = await loop.read((views) => views.peerDoor()).catch(() => undefined);
      if (peers !== undefined && this.#isLast(version)) {
        const payload = new Element("peers", { xmlns: NS_PEERS });
        for (const peer of peers) payload.c("peer").t(peer);
        const set = { to: domain, from: cloudAddress(domain), type: "set", payload, timeoutMs: TIMEOUT_MS } as const;
        const outcome = await bus.request(set);
        if (outcome.kind === "result") return;
        if (outcome.kind === "error") {
          if (this.#isLast(version))
            log.warn(
              { condition: outcome.fault.condition, text: outcome.fault.text },
              "the XMPP server does not take the list of peers: it needs mod_muster_peers_only on the site's domain",
            );
          return;
        }
      }
      const delayMs = backoffMs({ attempt, ...RETRY }, this.#rng);
      await new Promise<void>((resolve) => clock.setTimer(delayMs, resolve));
    }
  }

  #isLast(version: number): boolean {
    return !this.#stopped && version === this.#version && this.#context.bus.status.kind === "online";
  }
}
