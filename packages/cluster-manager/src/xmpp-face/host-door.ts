import { err, ok, type Result } from "@muster/base";
import {
  type Capacity,
  type Command,
  type ConsoleOrder,
  type ConsoleState,
  capacityMessage,
  cloudAddress,
  commandMessage,
  commandOutcomeMessage,
  consoleOrderMessage,
  consoleStateMessage,
  type Hello,
  helloMessage,
  hostAccount,
  type Move,
  moveMessage,
  moveStateMessage,
  NS_CAPACITY,
  NS_NOTICE,
  noticesMessage,
  noticesTakenMessage,
  type Refusal,
  refusal,
  type SerialLogPart,
  type SerialLogQuery,
  serialLogPartMessage,
  serialLogQueryMessage,
  type TunnelOrder,
  tunnelMessage,
  tunnelStateMessage,
  type UnderlayList,
  underlayMessage,
  underlayTakenMessage,
  welcomeMessage,
} from "@muster/protocol";
import {
  bareAddress,
  type IncomingIq,
  type IncomingStanza,
  type IqAnswer,
  type IqOutcome,
  parseAddress,
} from "@muster/xmpp";
import type { CoreEffect } from "../core/effect.ts";
import type { CommandEnd, CoreEvent } from "../core/event.ts";
import { PAST_BOOTS_MAX } from "../core/limits.ts";
import { FACE_ANSWER_WITHIN_MS, type FaceContext } from "./face-context.ts";
import { fetchInventory } from "./fetch-inventory.ts";
import { Lanes } from "./lanes.ts";
import { OncePer } from "./once-per.ts";
import { malformed, refusalIn, refuseIq } from "./refusal-fault.ts";

/** Resource of a host manager's session. */
const HOST_RESOURCE = "host-manager";
/** The same oddity of the same sender is logged once in this time. */
const ODDITY_EVERY_MS = 60_000;
/**
 * Hellos, lists and commands under way at once. A leader has a thousand hosts to talk to: all at once, the first answer
 * would come about as late as the last, and past its deadline.
 */
const HELLOS_AT_ONCE = 128;
const LISTS_AT_ONCE = 32;
const COMMANDS_AT_ONCE = 256;

/**
 * What hosts say to the site and hear from it. A host is who its account is, never what it claims: the server vouches for
 * `from`, and only accounts of hosts that are let in count.
 */
export class HostDoor {
  readonly #context: FaceContext;
  readonly #term: number;
  readonly #manager: string;
  /** Of this leadership, and no other. */
  readonly #opening: string;
  readonly #oddities: OncePer;
  /** Who reports, by full address: commands go to a session, never to an account, and to no other session of it. */
  readonly #sessions = new Map<string, string>();
  /** Starts of the host manager before the one that reports: none of them becomes the host again by speaking late. */
  readonly #pastBoots = new Map<string, Set<string>>();
  readonly #capacities = new Map<string, Capacity>();
  /** Hosts whose list is being fetched; `again` when it changed meanwhile. */
  readonly #fetching = new Map<string, "once" | "again">();
  readonly #lists = new Lanes(LISTS_AT_ONCE);
  /** Hosts that are being greeted, or wait for it. */
  readonly #greeted = new Set<string>();
  readonly #hellos = new Lanes(HELLOS_AT_ONCE);
  /** Commands by id that are on their way, or wait for it. */
  readonly #commanding = new Set<string>();
  readonly #commands = new Lanes(COMMANDS_AT_ONCE);

  constructor(
    context: FaceContext,
    leader: { readonly term: number; readonly manager: string; readonly opening: string },
  ) {
    this.#context = context;
    this.#term = leader.term;
    this.#manager = leader.manager;
    this.#opening = leader.opening;
    this.#oddities = new OncePer(context.clock, ODDITY_EVERY_MS);
  }

  start(): void {
    this.#context.bus.handle("set", NS_NOTICE, noticesMessage.name, (iq) => this.#notices(iq));
  }

  /** Takes a presence of a host account of this site; `false` when it is not one. */
  takePresence({ from, to, type, stanza }: IncomingStanza): boolean {
    const host = this.#hostOf(from);
    if (host === undefined || bareAddress(to) !== cloudAddress(this.#context.domain)) return false;
    if (!this.#isKnown(host))
      return this.#odd(from, "presence of a host that is not let in; enrol it or remove its account");
    if (type === "unavailable") {
      // Only the session that was heard: another one of the account, or the one before, says nothing about the host.
      if ((this.#sessions.get(host) ?? from) !== from) return true;
      this.forget(host);
      this.#context.loop.post({ kind: "host-unavailable", host });
      return true;
    }
    const payload = stanza.getChild(capacityMessage.name, NS_CAPACITY);
    if (type !== "" || payload === undefined) return type === "";
    const capacity = capacityMessage.decode(payload);
    if (!capacity.ok) return this.#odd(from, `capacity that cannot be read: ${malformed(capacity.error).message}`);
    if (!this.#reports(host, capacity.value.bootId))
      return this.#odd(from, "an earlier start of this host's manager reports as well: only one may use the account");
    this.#sessions.set(host, from);
    this.#capacities.set(host, capacity.value);
    this.#context.count("host", "taken");
    this.#context.loop.post({ kind: "host-capacity", host, capacity: capacity.value });
    return true;
  }

  async command(host: string, command: Command): Promise<void> {
    // Sent again by a core that waited for longer than this did for its turn.
    if (this.#commanding.has(command.id)) return;
    this.#commanding.add(command.id);
    const { loop, log } = this.#context;
    const outcome = await this.#commands
      .run(() => this.#ask(host, "set", commandMessage.encode(command)))
      .finally(() => this.#commanding.delete(command.id));
    const end = commandEnd(command, outcome);
    if (end.kind === "refused")
      log.info({ host, command: command.id, refusal: end.refusal }, "a host refused a command");
    loop.post({ kind: "command-ended", host, command: command.id, end });
  }

  /** A host keeps the question open while the step is under way. */
  async move(host: string, move: Move, timeoutMs: number): Promise<void> {
    const { loop, log } = this.#context;
    const { vm, id, step } = move;
    const outcome = await this.#ask(host, "set", moveMessage.encode(move), timeoutMs);
    const end = moveEnd(move, outcome);
    if (end.kind === "refused") log.info({ host, vm, step, refusal: end.refusal }, "a host refused a step of a move");
    loop.post({ kind: "move-answered", host, vm, id, step, end });
  }

  /** An order about the end of a tunnel. */
  async tunnel({ host, side, says, order, timeoutMs }: Extract<CoreEffect, { kind: "tunnel" }>): Promise<void> {
    const { loop, log } = this.#context;
    const outcome = await this.#ask(host, "set", tunnelMessage.encode(order), timeoutMs);
    const end = tunnelEnd(order, outcome);
    if (end.kind === "refused") log.info({ host, tunnel: order.id, refusal: end.refusal }, "a host refused a tunnel");
    loop.post({ kind: "tunnel-answered", side, says, host, end });
  }

  /** An order of a user at a VM's console. */
  async console(host: string, order: ConsoleOrder): Promise<Result<ConsoleState, Refusal>> {
    const outcome = await this.#ask(host, "set", consoleOrderMessage.encode(order));
    const state =
      outcome.kind === "result" && outcome.payload !== undefined
        ? consoleStateMessage.decode(outcome.payload)
        : undefined;
    if (state?.ok === true) return ok(state.value);
    const refused = outcome.kind === "error" ? refusalIn(outcome.fault) : undefined;
    return err(refused ?? refusal("unavailable", "host-silent", `${host} does not answer: try again later`));
  }

  /** A part of a VM's serial log, as its host keeps it. */
  async readLog(host: string, query: SerialLogQuery): Promise<Result<SerialLogPart, Refusal>> {
    const outcome = await this.#ask(host, "get", serialLogQueryMessage.encode(query));
    const part =
      outcome.kind === "result" && outcome.payload !== undefined
        ? serialLogPartMessage.decode(outcome.payload)
        : undefined;
    if (part?.ok === true) return ok(part.value);
    const refused = outcome.kind === "error" ? refusalIn(outcome.fault) : undefined;
    return err(refused ?? refusal("unavailable", "host-silent", `${host} does not answer: try again later`));
  }

  /** Tells a host where the tunnels of all of them end; without an answer the core has it told again. */
  async underlay(host: string, list: UnderlayList): Promise<void> {
    const outcome = await this.#ask(host, "set", underlayMessage.encode({ term: this.#term, ...list }));
    if (outcome.kind !== "result" || outcome.payload === undefined) return;
    const taken = underlayTakenMessage.decode(outcome.payload);
    if (taken.ok && taken.value.term === this.#term)
      this.#context.loop.post({ kind: "host-underlay", host, generation: taken.value.generation });
  }

  async hello(host: string, underlay?: UnderlayList): Promise<void> {
    if (this.#greeted.has(host)) return;
    this.#greeted.add(host);
    const { loop, log } = this.#context;
    const outcome = await this.#hellos
      .run(() =>
        this.#ask(
          host,
          "set",
          helloMessage.encode({ ...this.#hello(), ...(underlay === undefined ? {} : { underlay }) }),
        ),
      )
      .finally(() => this.#greeted.delete(host));
    if (outcome.kind === "result" && outcome.payload !== undefined) {
      const welcome = welcomeMessage.decode(outcome.payload);
      if (welcome.ok) return void loop.post({ kind: "host-welcome", host, welcome: welcome.value });
      log.warn({ host, faults: welcome.error }, "a host answered hello with what cannot be read");
      return;
    }
    const refused = outcome.kind === "error" ? refusalIn(outcome.fault) : undefined;
    if (refused?.kind === "stale-term") {
      log.error(
        { host, term: this.#term },
        "a host obeys a higher term than ours: was an older copy of the store put back? see muster doctor",
      );
      loop.post({ kind: "host-stale", host });
    } else log.debug({ host, outcome: outcome.kind }, "a host did not answer hello");
  }

  #hello(): Hello {
    return { term: this.#term, manager: this.#manager, opening: this.#opening };
  }

  /** Fetches a host's whole list; one fetch a host at a time. */
  async fetchInventory(host: string, subjects = false): Promise<void> {
    if (this.#fetching.has(host)) {
      this.#fetching.set(host, "again");
      return;
    }
    const { loop, log } = this.#context;
    do {
      this.#fetching.set(host, "once");
      const list = await this.#lists.run(() => fetchInventory((payload) => this.#ask(host, "get", payload), subjects));
      if (list.ok) loop.post({ kind: "host-inventory", host, ...list.value });
      else log.warn({ host, reason: list.error }, "the list of a host could not be fetched");
    } while (this.#fetching.get(host) === "again");
    this.#fetching.delete(host);
  }

  /** What a host that is linked last said of itself. */
  capacityOf(host: string): Capacity | undefined {
    return this.#capacities.get(host);
  }

  forget(host: string): void {
    this.#sessions.delete(host);
    this.#pastBoots.delete(host);
    this.#capacities.delete(host);
  }

  /** Whether this start of the host's manager speaks for the host; a later one takes the place of the one before. */
  #reports(host: string, bootId: string): boolean {
    const past = this.#pastBoots.get(host) ?? new Set<string>();
    if (past.has(bootId)) return false;
    const before = this.#capacities.get(host)?.bootId;
    if (before === undefined || before === bootId) return true;
    this.#pastBoots.set(host, past.add(before));
    for (const oldest of past) if (past.size > PAST_BOOTS_MAX) past.delete(oldest);
    return true;
  }

  async #notices({ from, payload }: IncomingIq): Promise<IqAnswer> {
    const host = this.#hostOf(from);
    if (host === undefined || !this.#isKnown(host)) {
      this.#context.count("stranger", "refused");
      return refuseIq(refusal("forbidden", "not-a-host", "only hosts of this site report here; enrol the host first"));
    }
    const notices = noticesMessage.decode(payload);
    if (!notices.ok) return refuseIq(malformed(notices.error));
    // Notices say who speaks only while nobody has reported: another session of the account must not be given orders.
    if (!this.#sessions.has(host)) this.#sessions.set(host, from);
    return this.#context.loop.ask(
      (ticket) => ({ kind: "host-notices", ticket, host, ...notices.value }),
      FACE_ANSWER_WITHIN_MS,
      (answer): IqAnswer => {
        if (answer.kind === "refused") return refuseIq(answer.refusal);
        if (answer.kind !== "notices-taken") throw new Error(`notices were answered with ${answer.kind}`);
        this.#context.count("host", "taken");
        return { kind: "result", payload: noticesTakenMessage.encode({ sequence: answer.sequence }) };
      },
    );
  }

  #ask(
    host: string,
    type: "get" | "set",
    payload: Parameters<typeof capacityMessage.decode>[0],
    timeoutMs: number = this.#context.commandTimeoutMs,
  ): Promise<IqOutcome> {
    const { bus, domain } = this.#context;
    const to = this.#sessions.get(host) ?? `${hostAccount(host, domain)}/${HOST_RESOURCE}`;
    return bus.request({ to, from: cloudAddress(domain), type, payload, timeoutMs });
  }

  /** Name of the host whose account of this site this is. */
  #hostOf(from: string): string | undefined {
    const address = parseAddress(from);
    if (address === undefined || address.domain !== this.#context.domain) return undefined;
    return address.local.startsWith("host-") && address.resource !== ""
      ? address.local.slice("host-".length)
      : undefined;
  }

  #isKnown(host: string): boolean {
    const { loop } = this.#context;
    // While the store is read nobody is known yet: the loop says so, and takes nothing.
    return loop.state !== "running" || loop.views.admits(host);
  }

  #odd(from: string, message: string): true {
    this.#context.count("stranger", "ignored");
    if (this.#oddities.isDue(bareAddress(from))) this.#context.log.warn({ from }, message);
    return true;
  }
}

/** No answer, and no answer that can be read, mean unknown: the host may have acted (H2). */
function commandEnd(command: Command, outcome: IqOutcome): CommandEnd {
  if (outcome.kind === "result" && outcome.payload !== undefined) {
    const decoded = commandOutcomeMessage.decode(outcome.payload);
    if (decoded.ok && decoded.value.id === command.id) return { kind: "outcome", outcome: decoded.value };
  }
  const refused = outcome.kind === "error" ? refusalIn(outcome.fault) : undefined;
  return refused === undefined ? { kind: "unknown" } : { kind: "refused", refusal: refused };
}

function moveEnd({ id }: Move, outcome: IqOutcome): Extract<CoreEvent, { kind: "move-answered" }>["end"] {
  if (outcome.kind === "result" && outcome.payload !== undefined) {
    const decoded = moveStateMessage.decode(outcome.payload);
    if (decoded.ok && decoded.value.id === id) return { kind: "state", state: decoded.value };
  }
  const refused = outcome.kind === "error" ? refusalIn(outcome.fault) : undefined;
  return refused === undefined ? { kind: "unknown" } : { kind: "refused", refusal: refused };
}

function tunnelEnd({ id }: TunnelOrder, outcome: IqOutcome): Extract<CoreEvent, { kind: "tunnel-answered" }>["end"] {
  if (outcome.kind === "result" && outcome.payload !== undefined) {
    const decoded = tunnelStateMessage.decode(outcome.payload);
    if (decoded.ok && decoded.value.id === id) return { kind: "state", state: decoded.value };
  }
  const refused = outcome.kind === "error" ? refusalIn(outcome.fault) : undefined;
  return refused === undefined ? { kind: "unknown" } : { kind: "refused", refusal: refused };
}
