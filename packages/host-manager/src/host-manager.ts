import { BoundedQueue, type CancelTimer, type Clock, err, ok, type Result, type Rng, uuidv7 } from "@muster/base";
import {
  type Capacity,
  cloudAddress,
  type Notices,
  noticesMessage,
  noticesTakenMessage,
  type Refusal,
  refusal,
} from "@muster/protocol";
import type { Bus, BusStatus, Unsubscribe } from "@muster/xmpp";
import { receiveLogQueries } from "./command/log-reception.ts";
import { type Question, receive } from "./command/reception.ts";
import { type HostConfig, policyOf } from "./config.ts";
import { ConsoleDesk } from "./console/console-desk.ts";
import { receiveConsoleOrders } from "./console/console-reception.ts";
import type { Answer, Effect, HostEvent, Ticket } from "./core/event.ts";
import { type HostState, initialState } from "./core/state.ts";
import { nextDueMs, step } from "./core/step.ts";
import type { DomainOperation } from "./hypervisor/operation.ts";
import type { ActOutcome, Hypervisor, HypervisorEvent, SurveyOutcome } from "./hypervisor/port.ts";
import type { Journal, JournalFault } from "./journal/port.ts";
import type { MoveOrder, MoveOutcome } from "./move/port.ts";
import { capacityPresence, goodbyePresence } from "./report/presence.ts";
import type { Tunnels } from "./tunnel/port.ts";

/** Where a host manager writes what people read: pino's shape. */
export type Log = Readonly<Record<"info" | "warn" | "error", (facts: object, text: string) => void>>;

export type HostManagerParts = {
  readonly config: HostConfig;
  readonly clock: Clock;
  readonly rng: Rng;
  /** Account `host-<name>@<site>`, not started; the host manager starts and stops it. */
  readonly bus: Bus;
  /** Not opened yet. */
  readonly hypervisor: Hypervisor;
  /** Not loaded yet. */
  readonly journal: Journal;
  readonly log: Log;
  /** Tunnels to other sites, where this host may carry them; not started. */
  readonly tunnels?: Tunnels | undefined;
  /** Which boot of the machine this is (`/proc/sys/kernel/random/boot_id`); absent where nobody can tell. */
  readonly machineBoot?: string | undefined;
  /** Milliseconds since that boot, by the machine's own steady clock: leases are counted by it (B4). */
  readonly machineMs?: () => number;
  /** Something that only a new start can mend, such as a full disk. Told once; the host manager has stopped acting. */
  readonly onFatal: (reason: string) => void;
};

/** The process on a host: holds the core's state, and carries what arrives to it and what it decides out. */
export type HostManager = {
  /** Reads the journal and begins; the fault says why it cannot. */
  start(): Promise<Result<void, JournalFault>>;
  /** Says goodbye and lets go; VMs are left as they are. Idempotent. */
  stop(): Promise<void>;
  /** What is stored and known now; `undefined` before `start`. */
  readonly state: HostState | undefined;
};

/** Many of them fit into one process: nothing is shared. */
export function createHostManager(parts: HostManagerParts): HostManager {
  return new Shell(parts);
}

class Shell implements HostManager {
  readonly #parts: HostManagerParts;
  readonly #leader: string;
  readonly #requests: BoundedQueue<HostEvent>;
  /** What our own effects and links bring; bounded by how many of them there are. */
  #reports: HostEvent[] = [];
  readonly #tickets = new Map<Ticket, (answer: Answer) => void>();
  /** Guests that are being cut off while they were asked to stop. */
  readonly #hurries = new Map<string, Promise<unknown>>();
  readonly #unsubscribe: Unsubscribe[] = [];
  #nextTicket = 1;
  #state: HostState | undefined;
  #pumping: Promise<void> | undefined;
  #cancelTimer: CancelTimer = () => {};
  #stopping: Promise<void> | undefined;
  #halted = false;

  constructor(parts: HostManagerParts) {
    this.#parts = parts;
    this.#leader = cloudAddress(parts.config.site);
    this.#requests = new BoundedQueue(parts.config.limits.requests);
  }

  get state(): HostState | undefined {
    return this.#state;
  }

  async start(): Promise<Result<void, JournalFault>> {
    const { config, clock, rng, bus, hypervisor, journal, log, machineBoot, machineMs } = this.#parts;
    const content = await journal.load();
    if (!content.ok) return err(content.error);
    const bootId = uuidv7(clock, rng);
    this.#state = initialState(content.value, policyOf(config), bootId, clock.nowMs(), machineBoot, machineMs?.());
    const { head, attempts } = content.value;
    log.info({ term: head.term, attempts: attempts.length }, "journal read");
    this.#unsubscribe.push(
      receive(bus, this.#leader, (question) => this.#ask(question)),
      receiveLogQueries(bus, this.#leader, hypervisor),
      receiveConsoleOrders(bus, this.#leader, new ConsoleDesk(clock, hypervisor)),
      bus.onStatus((status) => this.#onStatus(status)),
    );
    // Probing takes a moment; until it is done this host says that it is not ready.
    void this.#parts.tunnels?.start().catch((cause) => this.#bug("tunnels", cause));
    hypervisor.open((event) => this.#onHypervisor(event));
    bus.start();
    this.#pump();
    return ok(undefined);
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { bus, hypervisor, journal } = this.#parts;
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    await this.#pumping;
    this.#halt();
    if (bus.status.kind === "online") await bus.send(goodbyePresence(this.#leader));
    await bus.stop();
    this.#parts.tunnels?.stop();
    await hypervisor.close();
    await journal.close();
  }

  /** From here on nothing is decided or carried out; whoever still waits is told so. */
  #halt(): void {
    this.#halted = true;
    this.#cancelTimer();
    for (const answer of this.#tickets.values()) answer({ kind: "refused", refusal: STOPPING });
    this.#tickets.clear();
  }

  #ask(question: Question): Promise<Answer> {
    if (this.#halted) return Promise.resolve({ kind: "refused", refusal: STOPPING });
    const ticket = this.#nextTicket++;
    if (!this.#requests.push({ ...question, ticket })) return Promise.resolve({ kind: "refused", refusal: BUSY });
    return new Promise((resolve) => {
      this.#tickets.set(ticket, resolve);
      this.#pump();
    });
  }

  #tell(event: HostEvent): void {
    if (this.#halted) return;
    this.#reports.push(event);
    this.#pump();
  }

  #onStatus(status: BusStatus): void {
    const { log } = this.#parts;
    if (status.kind === "online") {
      log.info({ address: status.address }, "online");
      this.#tell({ kind: "linked" });
      return;
    }
    if (status.kind === "offline") log.warn({ reason: status.reason }, "offline");
    this.#tell({ kind: "unlinked" });
    if (status.kind === "refused") this.#fail(`the XMPP server refuses this host (${status.reason}): ${status.text}`);
  }

  #onHypervisor(event: HypervisorEvent): void {
    switch (event.kind) {
      case "up":
        this.#tell({ kind: "hypervisor-up" });
        return;
      case "down":
        this.#tell({ kind: "hypervisor-down", reason: event.reason });
        return;
      case "changed":
        this.#tell({ kind: "hypervisor-changed" });
    }
  }

  /** One turn after the other, each over everything that arrived meanwhile: its commit is shared by all of it. */
  #pump(): void {
    if (this.#pumping !== undefined || this.#halted || this.#state === undefined) return;
    const turns = this.#turns().catch((cause) => this.#fail(`a bug: ${cause instanceof Error ? cause.stack : cause}`));
    this.#pumping = turns.finally(() => {
      this.#pumping = undefined;
      if (this.#reports.length + this.#requests.size > 0) this.#pump();
    });
  }

  async #turns(): Promise<void> {
    this.#cancelTimer();
    // What arrives in the same breath belongs to the same turn.
    await Promise.resolve();
    do {
      const events = [...this.#reports.splice(0), ...this.#requests.drain()];
      if (!(await this.#turn(events))) return;
    } while (this.#reports.length + this.#requests.size > 0);
    this.#setTimer();
  }

  /** Whether it was stored. What cannot be stored must not be done: the host manager halts, to be started again. */
  async #turn(events: readonly HostEvent[]): Promise<boolean> {
    if (this.#state === undefined || this.#halted) return false;
    const { state, changes, effects } = step(this.#state, events, { nowMs: this.#parts.clock.nowMs() });
    try {
      if (changes.length > 0) await this.#parts.journal.commit(changes);
    } catch (cause) {
      this.#fail(`the journal cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`);
      return false;
    }
    this.#state = state;
    for (const effect of effects) this.#carryOut(effect);
    return true;
  }

  #setTimer(): void {
    if (this.#state === undefined || this.#halted) return;
    const { clock } = this.#parts;
    const delayMs = Math.max(0, nextDueMs(this.#state) - clock.nowMs());
    if (!Number.isFinite(delayMs)) return;
    this.#cancelTimer = clock.setTimer(delayMs, () => this.#tell({ kind: "tick" }));
  }

  #carryOut(effect: Effect): void {
    const { bus, hypervisor, log } = this.#parts;
    switch (effect.kind) {
      case "answer":
        this.#tickets.get(effect.ticket)?.(effect.answer);
        this.#tickets.delete(effect.ticket);
        return;
      case "start":
        void this.#act(effect, hypervisor.start(effect.plan));
        return;
      case "act":
        void this.#act(effect, hypervisor.act(effect.vm, effect.action));
        return;
      case "operate":
        void this.#act(effect, this.#operate(effect.vm, effect.operation));
        return;
      case "hurry":
        this.#hurry(effect.vm);
        return;
      case "discard":
        void this.#discard(effect.vms);
        return;
      case "give-up":
        hypervisor.giveUp?.(effect.vm);
        return;
      case "tidy":
        void hypervisor.tidy?.(effect.known).catch((cause) => this.#bug("tidy", cause));
        return;
      case "move-step":
        void this.#moveStep(effect.id, effect.order);
        return;
      case "move-cancel":
        void hypervisor.mover?.cancel(effect.vm).catch((cause) => this.#bug("cancel", cause));
        return;
      case "move-progress":
        void this.#moveProgress(effect.vm);
        return;
      case "tunnel":
        void this.#tunnel(effect);
        return;
      case "survey":
        void this.#survey();
        return;
      case "learn-underlay":
        void hypervisor.learnUnderlay?.(effect.peers).catch((cause) => this.#bug("learn-underlay", cause));
        return;
      case "report":
        void bus.send(capacityPresence(this.#leader, this.#withTunnels(effect.capacity)));
        return;
      case "notify":
        void this.#notify(effect.batch, effect.notices);
        return;
      case "log":
        log[effect.level](effect.vm === undefined ? {} : { vm: effect.vm }, effect.text);
    }
  }

  async #act({ vm, job }: Effect & { kind: "start" | "act" | "operate" }, order: Promise<ActOutcome>): Promise<void> {
    const outcome = await order.catch((cause): ActOutcome => ({ kind: "unknown", reason: this.#bug("act", cause) }));
    // Nothing else is ordered before that has ended: it must not cut off what is started next.
    await this.#hurries.get(vm);
    this.#tell({ kind: "acted", vm, job, outcome });
  }

  async #operate(vm: string, operation: DomainOperation): Promise<ActOutcome> {
    const { hypervisor } = this.#parts;
    if (hypervisor.operate !== undefined) return hypervisor.operate(vm, operation);
    return operation.kind === "cut-off"
      ? hypervisor.act(vm, "stop")
      : { kind: "refused", reason: "the hypervisor of this host has no guests with disks" };
  }

  /** What cannot be done now, as libvirt is away, is begun again after the next survey. */
  async #discard(vms: readonly string[]): Promise<void> {
    const { hypervisor, log } = this.#parts;
    let done = true;
    try {
      await hypervisor.discard?.(vms);
    } catch (cause) {
      done = false;
      log.warn({ vms, reason: String(cause) }, "what is left of a VM is not removed yet");
    }
    this.#tell({ kind: "discarded", vms, done });
  }

  #hurry(vm: string): void {
    if (this.#hurries.has(vm)) return;
    const done = this.#operate(vm, { kind: "cut-off" })
      .catch((cause) => this.#bug("cut-off", cause))
      .finally(() => this.#hurries.delete(vm));
    this.#hurries.set(vm, done);
  }

  async #moveStep(id: string, order: MoveOrder): Promise<void> {
    const { mover } = this.#parts.hypervisor;
    const outcome: MoveOutcome =
      mover === undefined
        ? { kind: "refused", reason: "the hypervisor of this host does not move VMs alive" }
        : await mover.carryOut(order).catch((cause) => ({ kind: "unknown", reason: this.#bug(order.step, cause) }));
    this.#tell({ kind: "moved", vm: order.vm, id, step: order.step, outcome });
  }

  async #tunnel({ ticket, order }: Effect & { kind: "tunnel" }): Promise<void> {
    const { tunnels } = this.#parts;
    const done = await tunnels?.carryOut(order).catch((cause) => err(notDone(this.#bug("tunnel", cause))));
    const outcome = done ?? err(NO_TUNNELS);
    this.#tickets.get(ticket)?.(
      outcome.ok ? { kind: "tunnelled", state: outcome.value } : { kind: "refused", refusal: outcome.error },
    );
    this.#tickets.delete(ticket);
  }

  #withTunnels(capacity: Capacity): Capacity {
    const { tunnels } = this.#parts;
    return tunnels === undefined ? capacity : { ...capacity, tunnel: tunnels.ability };
  }

  async #moveProgress(vm: string): Promise<void> {
    const asked = this.#parts.hypervisor.mover?.progress(vm).catch((cause) => void this.#bug("progress", cause));
    const progress = await asked;
    if (progress !== undefined) this.#tell({ kind: "move-progress", vm, progress });
  }

  async #survey(): Promise<void> {
    const survey = this.#parts.hypervisor.survey();
    const outcome = await survey.catch(
      (cause): SurveyOutcome => ({ kind: "unknown", reason: this.#bug("survey", cause) }),
    );
    this.#tell({ kind: "surveyed", outcome });
  }

  async #notify(batch: number, notices: Notices): Promise<void> {
    const { bus, config } = this.#parts;
    const answer = await bus.request({
      to: this.#leader,
      type: "set",
      payload: noticesMessage.encode(notices),
      timeoutMs: config.noticeMs,
    });
    const payload = answer.kind === "result" ? answer.payload : undefined;
    const taken = payload === undefined ? undefined : noticesTakenMessage.decode(payload);
    if (taken?.ok === true) this.#tell({ kind: "notices-taken", batch, sequence: taken.value.sequence });
    else this.#tell({ kind: "notices-unanswered", batch });
  }

  /** The hypervisor's driver threw, which it must not: the order counts as unknown, and the log says what it was. */
  #bug(where: string, cause: unknown): string {
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.#parts.log.error({ where, reason }, "the hypervisor's driver failed");
    return reason;
  }

  #fail(reason: string): void {
    if (this.#halted) return;
    this.#halt();
    this.#parts.log.error({ reason }, "cannot go on");
    this.#parts.onFatal(reason);
  }
}

const NO_TUNNELS = refusal("policy-violation", "no-tunnels", "this host carries no tunnels: add gateway to host.yaml");

function notDone(reason: string): Refusal {
  return refusal("unavailable", "no-tunnel", reason.slice(0, 400), { retryAfterMs: 2_000 });
}

const BUSY = refusal("unavailable", "busy", "this host has too many requests waiting; try again", {
  retryAfterMs: 1_000,
});
const STOPPING = refusal("unavailable", "stopping", "this host manager is stopping; try again when it is back", {
  retryAfterMs: 5_000,
});
