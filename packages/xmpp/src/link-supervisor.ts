import { assertNever, type CancelTimer, type Clock, type Rng } from "@muster/base";
import type { BusStatus } from "./bus.ts";
import type { Connector, Link, LinkListener } from "./link.ts";
import { type LinkEffect, type LinkEvent, type LinkState, type SupervisorTimes, superviseLink } from "./link-state.ts";

export type SupervisorOptions = {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly connect: Connector;
  readonly times: SupervisorTimes;
  /** Told each change in order; `link` is there while online. */
  readonly onStatus: (status: BusStatus, link: Link | undefined) => void;
  readonly onStanza: LinkListener["stanza"];
  readonly onDrained: () => void;
  readonly onFault: LinkListener["fault"];
  /** Asks the server for a sign of life; any arrival will do. */
  readonly ping: () => void;
};

/** The shell around `superviseLink`: holds the link and the timer. */
export class LinkSupervisor {
  readonly #options: SupervisorOptions;
  #state: LinkState = { kind: "idle" };
  #link: Link | undefined;
  #heardMs = 0;
  #cancelTimer: CancelTimer = () => {};
  #closedWaiters: (() => void)[] = [];
  readonly #events: LinkEvent[] = [];
  #stepping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  start(): void {
    this.#step({ kind: "start" });
  }

  /** Resolves when the link is closed, or was destroyed because it would not close. */
  stop(): Promise<void> {
    this.#step({ kind: "stop" });
    if (this.#state.kind !== "closing") return Promise.resolve();
    return new Promise((resolve) => this.#closedWaiters.push(resolve));
  }

  /** Events that effects bring about wait for their turn, so that statuses are told in order. */
  #step(event: LinkEvent): void {
    this.#events.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        const { clock, times, rng } = this.#options;
        const env = { nowMs: clock.nowMs(), heardMs: this.#heardMs, times, rng };
        const { state, effects } = superviseLink(this.#state, next, env);
        this.#state = state;
        for (const effect of effects) this.#carryOut(effect);
        if (state.kind === "idle" || state.kind === "waiting") this.#link = undefined;
        if (state.kind !== "closing") for (const resolve of this.#closedWaiters.splice(0)) resolve();
      }
    } finally {
      this.#stepping = false;
    }
  }

  #carryOut(effect: LinkEffect): void {
    switch (effect.kind) {
      case "open":
        this.#open();
        return;
      case "close":
        this.#link?.close();
        return;
      case "destroy": {
        const link = this.#link;
        this.#link = undefined;
        link?.destroy();
        return;
      }
      case "ping":
        this.#options.ping();
        return;
      case "timer":
        this.#cancelTimer();
        this.#cancelTimer = this.#options.clock.setTimer(effect.delayMs, () => this.#step({ kind: "timer" }));
        return;
      case "no-timer":
        this.#cancelTimer();
        return;
      case "status":
        this.#options.onStatus(effect.status, effect.status.kind === "online" ? this.#link : undefined);
        return;
      default:
        assertNever(effect);
        return;
    }
  }

  #open(): void {
    // A link that was destroyed may still speak from a callback under way: only the current one is heard.
    const current = (): boolean => opened && this.#link === link;
    let opened = false;
    let early: LinkEvent | undefined;
    const tell = (event: LinkEvent): void => {
      if (!opened) early ??= event;
      else if (this.#link === link) this.#step(event);
    };
    const link = this.#options.connect({
      online: (online) => {
        this.#heardMs = this.#options.clock.nowMs();
        tell({ kind: "online", ...online });
      },
      ended: (end) => tell({ kind: "ended", end }),
      alive: () => {
        if (current()) this.#heardMs = this.#options.clock.nowMs();
      },
      stanza: (stanza) => {
        if (current()) this.#options.onStanza(stanza);
      },
      drained: () => {
        if (current()) this.#options.onDrained();
      },
      fault: this.#options.onFault,
    });
    this.#link = link;
    opened = true;
    if (early !== undefined) this.#step(early);
  }
}
