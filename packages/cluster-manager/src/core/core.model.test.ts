/**
 * Random users, hosts and faults against one core, everything from one seed; the invariants are looked at after every step.
 * A failing seed prints the command that replays it.
 */
import { type Rng, seededRng } from "@muster/base";
import { add, isFinal, NO_RESOURCES, RESOURCE_KINDS, type Resources, type VmOperation } from "@muster/protocol";
import { expect, it } from "vitest";
import { isAlive } from "../dispatch/next-order.ts";
import { pendingOperation } from "../operations/operation-record.ts";
import { takenBy } from "../operations/taken-room.ts";
import { decodeRecord } from "./record-schema.ts";
import type { VmRecord } from "./records.ts";
import { ScriptedHost } from "./scripted-host.fixture.ts";
import { ADMIN, ANN, ScriptedSite } from "./scripted-site.fixture.ts";

const OPERATIONS = 120;
const SEEDS = process.env.MUSTER_SEED === undefined ? 60 : 1;
const FIRST = Number(process.env.MUSTER_SEED ?? 1);

/** Cheap enough to be asked after every step. */
function claim(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

class Model {
  readonly site: ScriptedSite;
  readonly rng: Rng;
  readonly accepted = new Map<string, { readonly name: string; readonly vms: readonly string[] }>();
  #requests = 0;
  /** Stored values are never changed in place: what was decoded stays decoded. */
  readonly #decoded = new WeakMap<object, VmRecord>();

  constructor(seed: number) {
    this.rng = seededRng(seed);
    const hosts = Array.from({ length: 2 + this.rng.int(3) }, (_, index) => new ScriptedHost(`h${index + 1}`));
    this.site = new ScriptedSite({ hosts, seed: seed + 1_000_000 });
    this.site.loss = this.rng.int(3) * 0.08;
    this.site.duplicates = this.rng.int(3) * 0.1;
    this.site.crashes = this.rng.int(3) * 0.004;
    this.site.check = ({ changes, effects }) => {
      const keys = new Set(changes.map(({ key }) => key));
      for (const effect of effects) {
        // L3: nothing is accepted, and no start goes out, before the store has what a successor needs.
        if (effect.kind === "answer" && effect.answer.kind === "request" && !effect.answer.replay)
          for (const key of [`request/${effect.answer.requestId}`, ...effect.answer.vms.map((vm) => `vm/${vm}`)])
            claim(keys.has(key), `L3: ${key} is stored in the step that accepts it`);
      }
      if (changes.length > 0) this.checkRecords();
      this.checkHosts();
    };
  }

  vms(): VmRecord[] {
    return [...this.site.store].flatMap(([key, value]) => {
      if (!key.startsWith("vm/")) return [];
      if (typeof value !== "object" || value === null) throw new Error(`${key} is no record`);
      const known = this.#decoded.get(value);
      if (known !== undefined) return [known];
      const stored = decodeRecord(key, value);
      if (stored?.kind !== "vm") throw new Error(`${key} is no VM`);
      this.#decoded.set(value, stored.record);
      return [stored.record];
    });
  }

  checkRecords(): void {
    const used = new Map<string, Resources>();
    for (const record of this.vms())
      if (!isFinal(record.phase) && record.place.kind === "host")
        used.set(record.place.host, add(used.get(record.place.host) ?? NO_RESOURCES, takenBy(record)));
    for (const [host, resources] of used) {
      const total = this.site.hosts.get(host)?.total ?? NO_RESOURCES;
      for (const kind of RESOURCE_KINDS)
        claim(resources[kind] <= total[kind], `P2: ${host} is promised no more than it has`);
    }
  }

  checkHosts(): void {
    const alive = new Map<string, string>();
    const started = new Set<string>();
    for (const host of this.site.hosts.values()) {
      for (const { vm, state } of host.attempts.values()) {
        if (!isAlive(state)) continue;
        claim(!alive.has(vm), `P1: ${vm} lives on ${host.name} and on ${alive.get(vm)}`);
        alive.set(vm, host.name);
      }
      for (const attempt of host.started) {
        claim(!started.has(attempt), `H5: ${attempt} was started once only`);
        started.add(attempt);
      }
    }
  }

  act(): void {
    const { site, rng } = this;
    const hosts = [...site.hosts.values()];
    const host = hosts[rng.int(hosts.length)];
    if (host === undefined) return;
    const names = site.core.views.vms().filter(({ phase }) => !isFinal(phase));
    const vm = names.length === 0 ? undefined : names[rng.int(names.length)];
    const roll = rng.int(100);
    if (roll < 30) this.create();
    else if (roll < 42 && vm !== undefined) site.ask({ kind: "vm-delete", actor: ANN, vm: vm.id });
    else if (roll < 52 && vm !== undefined) {
      const actions = ["start", "stop", "suspend", "resume", "reboot"] as const;
      const action = actions[rng.int(actions.length)] ?? "stop";
      if (rng.int(2) === 0) this.operate(vm.id);
      else site.ask({ kind: "vm-action", actor: ANN, vm: vm.id, action, ...(rng.int(4) === 0 ? { force: true } : {}) });
    } else if (roll < 57) {
      if (host.up && rng.int(2) === 0) host.powerOff();
      else host.up = false;
      if (rng.int(2) === 0) site.step({ kind: "host-unavailable", host: host.name });
    } else if (roll < 64 && !host.up) {
      if (rng.int(8) === 0) this.loseDisk(host);
      if (rng.int(2) === 0) host.boot(site.newId());
      else host.up = true;
    } else if (roll < 67 && !host.up) {
      // The admin looks first: what is declared dead is dead.
      host.powerOff();
      site.ask({ kind: "host-fence", actor: ADMIN, host: host.name });
    } else if (roll < 71) site.ask({ kind: "host-drain", actor: ADMIN, host: host.name, draining: rng.int(2) === 0 });
    else if (roll < 74) site.setLink(rng.int(3) > 0);
    else if (roll < 76) site.restart();
    else if (roll < 82 && host.up) {
      const entries = [...host.attempts.values()].filter(({ state }) => isAlive(state));
      const entry = entries[rng.int(Math.max(1, entries.length))];
      if (entry !== undefined) host.fail(entry.vm, (["failed", "stopped", "failed"] as const)[rng.int(3)]);
    } else site.advance(rng.int(4_000));
    if (rng.int(2) === 0) site.flow();
  }

  /** H5 rests on the host's memory; without it only what the manager has seen running is sure not to start again. */
  loseDisk(host: ScriptedHost): void {
    host.loseDisk();
    host.boot(this.site.newId());
    const seen = new Set(
      this.vms()
        .filter(({ place }) => place.kind === "host" && place.startedOn === "confirmed")
        .map(({ id, attempt }) => `${id}/${attempt}`),
    );
    host.started.splice(0, host.started.length, ...host.started.filter((attempt) => seen.has(attempt)));
  }

  create(): void {
    const { site, rng } = this;
    const known = [...this.accepted.keys()];
    if (known.length > 0 && rng.int(5) === 0) {
      const id = known[rng.int(known.length)] ?? "";
      const before = this.accepted.get(id);
      const answer = site.create({ name: before?.name ?? "" }, id);
      if (answer !== undefined) expect(answer, "B1: the same answer").toMatchObject({ vms: before?.vms, replay: true });
      return;
    }
    this.#requests += 1;
    const id = `r-${this.#requests}`;
    const name = `vm-${this.#requests}`;
    const answer = site.create({ name }, id);
    if (answer?.kind === "request") this.accepted.set(id, { name, vms: answer.vms });
  }

  operate(vm: string): void {
    const { site, rng } = this;
    const name = `n${rng.int(3)}`;
    const operations: readonly VmOperation[] = [
      { kind: "save" },
      { kind: "create-snapshot", name },
      { kind: "revert-snapshot", name },
      { kind: "delete-snapshot", name },
      { kind: "create-volume", name, sizeGiB: 1 + rng.int(40) },
      { kind: "detach-volume", name },
      { kind: "delete-volume", name },
      { kind: "resize", vcpus: 1 + rng.int(4) },
    ];
    const operation = operations[rng.int(operations.length)];
    for (const host of site.hosts.values()) host.operates = rng.int(4) === 0 ? "refused" : "done";
    if (operation !== undefined)
      site.ask({ kind: "vm-operation", actor: ANN, vm, key: `k-${rng.int(1_000)}`, operation });
  }

  heal(): void {
    const { site } = this;
    site.loss = 0;
    site.duplicates = 0;
    site.crashes = 0;
    for (const host of site.hosts.values()) if (!host.up) host.boot(site.newId());
    site.setLink(true);
    site.advance(40_000);
    for (const host of site.hosts.keys()) site.ask({ kind: "host-drain", actor: ADMIN, host, draining: false });
    site.advance(120_000);
  }

  /** P3: once the faults are over, everything accepted is where its user wants it, has ended, or waits with a reason. */
  checkEnd(): void {
    const { site } = this;
    const records = new Map(this.vms().map((record) => [record.id, record]));
    for (const { vms } of this.accepted.values()) {
      for (const id of vms) {
        const record = records.get(id);
        expect(record, `P3: accepted VM ${id} is known`).toBeDefined();
        if (record === undefined) continue;
        const { phase, wanted } = record;
        expect(pendingOperation(record), `P3: the operation on ${id} has ended`).toBeUndefined();
        if (phase === "queued") {
          const why = site.core.views.why(id, site.nowMs);
          expect(why?.candidates.map(({ verdict }) => verdict)).toEqual(Array(site.hosts.size).fill("refused"));
        } else if (!isFinal(phase)) expect(phase, `P3: ${id} is as wanted`).toBe(wanted);
        if (wanted === "deleted") expect(["deleted", "cancelled"]).toContain(phase);
      }
    }
    for (const host of site.hosts.values()) {
      const alive = [...host.attempts.values()].filter(({ state }) => isAlive(state)).map(({ vm }) => vm);
      const placed = [...records.values()].filter(
        ({ phase, place }) => !isFinal(phase) && place.kind === "host" && place.host === host.name,
      );
      expect(new Set(alive), `${host.name} runs what is placed there`).toEqual(new Set(placed.map(({ id }) => id)));
      expect(site.core.views.host(host.name, site.nowMs)?.used, "used is kept as it would be counted").toEqual(
        placed.reduce<Resources>((sum, record) => add(sum, takenBy(record)), NO_RESOURCES),
      );
    }
  }
}

it.each(Array.from({ length: SEEDS }, (_, index) => FIRST + index))(
  "P1, P2, P3, H5, L3, B1 hold through faults, seed %i",
  (seed) => {
    try {
      const model = new Model(seed);
      for (let done = 0; done < OPERATIONS; done += 1) model.act();
      model.heal();
      model.checkEnd();
    } catch (cause) {
      const replay = `MUSTER_SEED=${seed} npx vitest run --project unit packages/cluster-manager/src/core/core.model.test.ts`;
      throw new Error(`seed ${seed} fails; replay: ${replay}\n${cause instanceof Error ? cause.message : cause}`, {
        cause,
      });
    }
  },
);
