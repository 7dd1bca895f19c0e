/** What one step gathers: changes to commit, then effects to carry out (L3). */
import type { EventView } from "@muster/protocol";
import type { CoreEnv } from "./core.ts";
import type { Answer, CoreEffect, CoreStep } from "./effect.ts";
import type { Ticket } from "./event.ts";
import type { RecordChange } from "./records.ts";

export class Turn {
  readonly nowMs: number;
  readonly #env: CoreEnv;
  /** By key: the last change of a record within a step is the one that counts. */
  readonly #changes = new Map<string, RecordChange>();
  readonly #effects: CoreEffect[] = [];
  readonly #contacts = new Map<string, CoreEffect>();

  constructor(env: CoreEnv) {
    this.#env = env;
    this.nowMs = env.nowMs;
  }

  newId(): string {
    return this.#env.newId();
  }

  put(key: string, value: unknown): void {
    this.#changes.set(key, { kind: "put", key, value });
  }

  delete(key: string): void {
    this.#changes.set(key, { kind: "delete", key });
  }

  effect(effect: CoreEffect): void {
    this.#effects.push(effect);
  }

  answer(ticket: Ticket, answer: Answer): void {
    this.#effects.push({ kind: "answer", ticket, answer });
  }

  /** A line for those who follow the events. */
  event(kind: EventView["kind"], subject: string, message: string): void {
    this.#effects.push({ kind: "event", event: { kind, subject, message } });
  }

  /** The contact's presence may have changed; told once a step, after everything else. */
  contact(kind: "host" | "vm", id: string): void {
    this.#contacts.set(`${kind}/${id}`, { kind: "contact-changed", contact: { kind, id } });
    this.#contacts.set("site", { kind: "contact-changed", contact: { kind: "site" } });
  }

  end(): CoreStep {
    return { changes: [...this.#changes.values()], effects: [...this.#effects, ...this.#contacts.values()] };
  }
}
