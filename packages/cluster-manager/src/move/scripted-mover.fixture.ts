/** The part of a scripted host in live moves: its rules as the protocol has them, with steps that fail or stay open. */
import {
  type Command,
  type Move,
  type MoveState,
  type MoveStep,
  type Refusal,
  refusal,
  resourcesOf,
} from "@muster/protocol";
import type { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { isAlive } from "../dispatch/next-order.ts";

type Mark = {
  readonly id: string;
  readonly role: "source" | "destination";
  readonly done: Set<MoveStep>;
  paused: boolean;
};
type End =
  | { readonly kind: "state"; readonly state: MoveState }
  | { readonly kind: "refused"; readonly refusal: Refusal };

const LINK = { address: "192.0.2.1", port: 49_152, key: "k".repeat(43) };

export class ScriptedMover {
  readonly marks = new Map<string, Mark>();
  /** Steps that were carried out or asked for, in order. */
  readonly asked: string[] = [];
  /** Steps that fail, that are refused, and of which nothing is heard while they are under way. */
  readonly failing = new Set<MoveStep>();
  readonly refusing = new Map<MoveStep, Refusal>();
  readonly open = new Set<MoveStep>();
  readonly #host: ScriptedHost;

  constructor(host: ScriptedHost) {
    this.#host = host;
  }

  /** Whether the guest executes here: not while a move has it paused, or only prepared. */
  runs(vm: string): boolean {
    if (this.#host.attempts.get(vm)?.state !== "running") return false;
    const mark = this.marks.get(vm);
    return mark === undefined || (mark.role === "source" && !mark.paused);
  }

  /** The process is a new one: it knows of its part, but nothing of what the steps yielded. */
  forget(): void {
    for (const mark of this.marks.values()) mark.done.clear();
  }

  /** An order for an attempt that is over for good ends the part in its move; any other waits for the end of that. */
  endsPart({ vm, attempt, action }: Command): boolean {
    const mark = this.marks.get(vm);
    const known = this.#host.attempts.get(vm);
    const arrives = mark?.role === "destination";
    if (known?.attempt !== attempt || (action !== "delete" && !(action === "void" && arrives))) return false;
    this.marks.delete(vm);
    if (arrives) this.#host.tell({ vm, attempt, state: "void", reason: "its move was given up" });
    return true;
  }

  /** The answer; `undefined` while the question is kept open. */
  take(move: Move): End | undefined {
    const { term } = this.#host;
    if (move.term < term) return { kind: "refused", refusal: refusal("stale-term", "stale-term", "stale-term here") };
    this.#host.term = move.term;
    this.asked.push(move.step);
    const refused = this.refusing.get(move.step);
    if (refused !== undefined) return { kind: "refused", refusal: refused };
    if (this.open.has(move.step)) return undefined;
    return { kind: "state", state: { id: move.id, ...this.#carryOut(move) } };
  }

  #carryOut(move: Move): Omit<MoveState, "id"> {
    const mark = this.marks.get(move.vm);
    const mine = mark?.id === move.id ? mark : undefined;
    const { step } = move;
    if (this.failing.has(step)) return failed("no such luck");
    if (step === "begin") return this.#begin(move, mine);
    if (step === "prepare") return this.#prepare(move, mine);
    if (mine !== undefined) return this.#goOn(move, mine);
    const known = this.#host.attempts.get(move.vm);
    const alive = known?.attempt === move.attempt && isAlive(known.state);
    if (step === "confirm") return alive ? failed("it was resumed here") : { stage: "confirmed" };
    if (step === "resume") return alive ? { stage: "resumed" } : failed("it is not here any more");
    if (step === "finish") return alive ? { stage: "finished" } : failed("it does not run here");
    if (step !== "abandon") return failed("this host takes no part in this move any more");
    if (alive) return { stage: "finished" };
    if (known === undefined || known.attempt < move.attempt)
      this.#host.attempts.set(move.vm, { vm: move.vm, attempt: move.attempt, state: "void" });
    return { stage: "abandoned" };
  }

  #begin(move: Move, mine: Mark | undefined): Omit<MoveState, "id"> {
    const known = this.#host.attempts.get(move.vm);
    if (known?.attempt !== move.attempt || known.state !== "running") return failed("it does not run on this host");
    const mark = mine ?? { id: move.id, role: "source", done: new Set<MoveStep>(), paused: false };
    this.marks.set(move.vm, mark);
    mark.done.add("begin");
    return { stage: "begun", xml: "<domain/>", cookie: "YQ==" };
  }

  #prepare(move: Move, mine: Mark | undefined): Omit<MoveState, "id"> {
    const { vm, attempt, subject } = move;
    const known = this.#host.attempts.get(vm);
    if (mine?.done.has("prepare") === true) return { stage: "prepared", link: LINK, cookie: "YQ==" };
    if (known !== undefined && known.attempt >= attempt) return failed("this attempt is over here");
    if (subject === undefined || move.xml === undefined) return failed("it lacks its subject or its xml");
    this.#host.attempts.set(vm, { vm, attempt, state: "starting", spec: resourcesOf(subject.spec) });
    this.marks.set(vm, { id: move.id, role: "destination", done: new Set<MoveStep>(["prepare"]), paused: true });
    return { stage: "prepared", link: LINK, cookie: "YQ==" };
  }

  #goOn(move: Move, mark: Mark): Omit<MoveState, "id"> {
    const { vm } = move;
    const known = this.#host.attempts.get(vm);
    if (known === undefined) throw new Error(`${vm} has a mark and no attempt`);
    switch (move.step) {
      case "perform":
        if (!mark.done.has("begin")) return failed("the host manager was restarted meanwhile");
        if (move.link === undefined) return failed("it lacks its link");
        mark.done.add("perform");
        mark.paused = true;
        return { stage: "performed", cookie: "YQ==" };
      case "finish":
        if (!mark.done.has("prepare")) return failed("it was not prepared here");
        this.marks.delete(vm);
        this.#host.started.push(`${vm}/${move.attempt}`);
        this.#host.tell({ ...known, state: "running", address: "192.0.2.8" });
        return { stage: "finished", address: "192.0.2.8" };
      case "abandon":
        this.marks.delete(vm);
        this.#host.tell({ vm, attempt: move.attempt, state: "void", reason: "its move was given up" });
        return { stage: "abandoned" };
      case "confirm":
        this.marks.delete(vm);
        this.#host.tell({ ...known, state: "gone" });
        return { stage: "confirmed" };
      case "resume":
        this.marks.delete(vm);
        return { stage: "resumed" };
      default:
        return failed(mark.done.has("perform") ? "it was performed already" : "nothing is being moved");
    }
  }
}

function failed(reason: string): Omit<MoveState, "id"> {
  return { stage: "failed", reason };
}
