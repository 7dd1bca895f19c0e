/**
 * Switches lost hosts off by their fence agents, and declares them dead only after the agent has confirmed it (P1). By itself
 * only where the configuration says so, and never most of the hosts of a site: then it is rather us who are cut off.
 */
import { type Clock, err, ok, type Result } from "@muster/base";
import { type HostView, type Refusal, refusal } from "@muster/protocol";
import type { Logger } from "pino";
import type { Answer } from "../core/effect.ts";
import type { Actor, CoreEvent } from "../core/event.ts";
import type { FenceAgent } from "./fence-agent.ts";
import type { FenceAgentConfig } from "./fence-config.ts";
import { programAgent } from "./program-agent.ts";
import { redfishAgent } from "./redfish-agent.ts";

export type FencerParts = {
  readonly clock: Clock;
  readonly log: Logger;
  readonly fencing: Readonly<Record<string, FenceAgentConfig>>;
  readonly hosts: () => readonly HostView[];
  /** Site time, as `lastHeardMs` of hosts has it. */
  readonly nowMs: () => number;
  readonly ask: (event: (ticket: number) => CoreEvent) => Promise<Answer>;
};

/** Who is named where a host was declared dead by its agent. */
const AGENT: Actor = { user: "fence-agent", role: "admin", projects: ["*"] };
const LOOK_EVERY_MS = 2_000;
/** Shorter than what callers of the API wait for; the end is remembered for the one who asks again. */
const ANSWERED_WITHIN_MS = 2_000;
const REMEMBERED_MS = 5_000;
/** Pause before a failed agent is tried again by itself. */
const RETRY_MS = 60_000;

export class Fencer {
  readonly #parts: FencerParts;
  readonly #agentOf: (config: FenceAgentConfig) => FenceAgent;
  readonly #underway = new Map<string, AbortController>();
  /** What came of each host's agent, or is to come. */
  readonly #runs = new Map<string, Promise<Result<void, Refusal>>>();
  readonly #notBeforeMs = new Map<string, number>();
  #stopLooking: (() => void) | undefined;
  #over = false;

  constructor(parts: FencerParts) {
    this.#parts = parts;
    const pause = (durationMs: number): Promise<void> =>
      new Promise((done) => parts.clock.setTimer(durationMs, () => done()));
    this.#agentOf = (config) =>
      config.kind === "program" ? programAgent({ ...config, pause }) : redfishAgent({ ...config, pause });
  }

  /** Looks after lost hosts from time to time, where any is to be switched off by itself. */
  start(): void {
    if (Object.values(this.#parts.fencing).some(({ auto }) => auto !== undefined)) this.#lookLater();
  }

  stop(): void {
    this.#over = true;
    this.#stopLooking?.();
    for (const underway of this.#underway.values()) underway.abort();
  }

  /** The same for somebody who waits only so long and asks again: an end is told once, and then is no answer any more. */
  fenceSoon(host: string): Promise<Result<void, Refusal>> {
    const known = this.#runs.get(host);
    const run = known ?? this.fence(host);
    const forget = (): void => {
      if (this.#runs.get(host) === run) this.#runs.delete(host);
    };
    if (known === undefined) {
      this.#runs.set(host, run);
      void run.finally(() => this.#parts.clock.setTimer(REMEMBERED_MS, forget));
    }
    return new Promise((settle) => {
      const message = `${host} is being switched off: ask again for how it ended`;
      const underway = refusal("conflict", "fencing", message, { retryAfterMs: 1_000 });
      let isAnswered = false;
      const stopTimer = this.#parts.clock.setTimer(ANSWERED_WITHIN_MS, () => {
        isAnswered = true;
        settle(err(underway));
      });
      void run.then((ended) => {
        stopTimer();
        if (!isAnswered) forget();
        settle(ended);
      });
    });
  }

  /** Switches the host off and declares it dead; the refusal says what the agent said. */
  async fence(host: string): Promise<Result<void, Refusal>> {
    const config = Object.hasOwn(this.#parts.fencing, host) ? this.#parts.fencing[host] : undefined;
    const obstacle = this.#obstacle(host, config);
    if (config === undefined || obstacle !== undefined) return err(obstacle ?? noAgent(host));
    const underway = new AbortController();
    this.#underway.set(host, underway);
    const stopTimer = this.#parts.clock.setTimer(config.timeoutMs, () => underway.abort());
    try {
      return await this.#fence(host, config, underway.signal);
    } finally {
      stopTimer();
      this.#underway.delete(host);
    }
  }

  async #fence(host: string, config: FenceAgentConfig, signal: AbortSignal): Promise<Result<void, Refusal>> {
    const { log, ask } = this.#parts;
    log.warn({ host, agent: config.kind }, "a host is being switched off by its fence agent");
    const outcome = await this.#agentOf(config).powerOff(signal);
    if (this.#over) return err(refusal("unavailable", "not-leading", "this manager leads no more: ask the leader"));
    if (outcome.kind === "failed") {
      log.error({ host, reason: outcome.reason }, "the fence agent of a host has not confirmed that it is off");
      const message = `${host} is not proved to be off: ${outcome.reason}`.slice(0, 500);
      return err(refusal("conflict", "not-fenced", message));
    }
    log.warn({ host }, "the fence agent of a host confirmed that it is off");
    const answer = await ask((ticket) => ({ kind: "host-fence", ticket, actor: AGENT, host }));
    return answer.kind === "refused" ? err(answer.refusal) : ok(undefined);
  }

  #obstacle(host: string, config: FenceAgentConfig | undefined): Refusal | undefined {
    const view = this.#parts.hosts().find(({ name }) => name === host);
    if (view === undefined) return refusal("item-not-found", "unknown-host", `there is no host ${host}`);
    if (config === undefined) return noAgent(host);
    if (view.liveness === "alive")
      return refusal("conflict", "host-alive", `${host} is heard: it is not dead; drain it, or switch it off first`);
    if (this.#underway.has(host))
      return refusal("conflict", "fencing", `${host} is being switched off already`, { retryAfterMs: 5_000 });
    return undefined;
  }

  #lookLater(): void {
    if (this.#over) return;
    this.#stopLooking = this.#parts.clock.setTimer(LOOK_EVERY_MS, () => {
      for (const host of this.#due()) void this.#fenceByItself(host);
      this.#lookLater();
    });
  }

  async #fenceByItself(host: string): Promise<void> {
    this.#notBeforeMs.set(host, this.#parts.nowMs() + RETRY_MS);
    const fenced = await this.fence(host);
    if (!fenced.ok) this.#parts.log.error({ host, reason: fenced.error.message }, "a lost host was not fenced");
  }

  #due(): string[] {
    const hosts = this.#parts.hosts().filter(({ condition }) => condition !== "fenced");
    const lost = hosts.filter(({ liveness }) => liveness === "lost");
    if (lost.length * 2 > hosts.length) return [];
    const nowMs = this.#parts.nowMs();
    return lost.flatMap(({ name, lastHeardMs }) => {
      const auto = Object.hasOwn(this.#parts.fencing, name) ? this.#parts.fencing[name]?.auto : undefined;
      if (auto === undefined || lastHeardMs === undefined || this.#underway.has(name)) return [];
      const due = nowMs - lastHeardMs >= auto.afterMs && nowMs >= (this.#notBeforeMs.get(name) ?? 0);
      return due ? [name] : [];
    });
  }
}

function noAgent(host: string): Refusal {
  const message = `${host} has no fence agent: see \`fencing\` in cluster.yaml, or vouch for it with --confirmed`;
  return refusal("not-acceptable", "no-fence-agent", message);
}
