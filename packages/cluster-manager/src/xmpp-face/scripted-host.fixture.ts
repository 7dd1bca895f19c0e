/** A host manager of few words for tests: heartbeats, obeys commands at once, answers hello and inventory. */
import { randomUUID } from "node:crypto";
import {
  type Capacity,
  type Command,
  type CommandOutcome,
  capacityMessage,
  cloudAddress,
  commandMessage,
  commandOutcomeMessage,
  digestOf,
  type HostVm,
  helloMessage,
  hostAccount,
  inventoryPageMessage,
  NS_COMMAND,
  NS_HELLO,
  NS_INVENTORY,
  type Refusal,
  welcomeMessage,
} from "@muster/protocol";
import type { Bus, MemoryNetwork } from "@muster/xmpp";
import { Element } from "ltx";
import { refuseIq } from "./refusal-fault.ts";

const HEARTBEAT_MS = 100;

export class ScriptedHost {
  readonly bus: Bus;
  readonly commands: Command[] = [];
  readonly vms = new Map<string, HostVm>();
  /** What it answers to the next commands instead of obeying. */
  refusal: Refusal | undefined;
  readonly bootId = randomUUID();
  /** Heartbeats sent. */
  beats = 0;
  readonly #domain: string;
  #sequence = 0;
  #term = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { readonly name: string; readonly domain: string; readonly network: MemoryNetwork }) {
    this.#domain = options.domain;
    this.bus = options.network.client(`${hostAccount(options.name, options.domain)}/host-manager`);
  }

  start(): void {
    this.bus.handle("set", NS_HELLO, helloMessage.name, ({ payload }) => {
      const hello = helloMessage.decode(payload);
      if (hello.ok) this.#term = hello.value.term;
      return { kind: "result", payload: welcomeMessage.encode({ term: this.#term, bootId: this.bootId }) };
    });
    this.bus.handle("get", NS_INVENTORY, "query", () => ({
      kind: "result",
      payload: inventoryPageMessage.encode({
        bootId: this.bootId,
        revision: 1,
        digest: this.#digest(),
        complete: true,
        vms: [...this.vms.values()],
      }),
    }));
    this.bus.handle("set", NS_COMMAND, commandMessage.name, ({ payload }) => {
      const command = commandMessage.decode(payload);
      if (!command.ok) throw new Error(JSON.stringify(command.error));
      this.commands.push(command.value);
      if (this.refusal !== undefined) return refuseIq(this.refusal);
      return { kind: "result", payload: commandOutcomeMessage.encode(this.#obey(command.value)) };
    });
    this.bus.start();
    this.#timer = setInterval(() => {
      this.beats += 1;
      void this.bus.send(this.presence(this.capacity()));
    }, HEARTBEAT_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.bus.stop();
  }

  /** Silent, but linked: as after SIGSTOP. */
  hush(): void {
    clearInterval(this.#timer);
  }

  presence(capacity: Capacity): Element {
    const presence = new Element("presence", { to: cloudAddress(this.#domain) });
    presence.append(capacityMessage.encode(capacity));
    return presence;
  }

  capacity(): Capacity {
    const running = [...this.vms.values()].filter(({ state }) => state !== "void" && state !== "gone").length;
    this.#sequence += 1;
    return {
      bootId: this.bootId,
      sequence: this.#sequence,
      heartbeatMs: HEARTBEAT_MS,
      termObeyed: this.#term,
      total: { vcpus: 64, memoryMiB: 262_144, diskGiB: 4_000, gpus: 0 },
      reserved: { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0 },
      used: { vcpus: 2 * running, memoryMiB: 1_024 * running, diskGiB: 10 * running, gpus: 0 },
      vms: running,
      foreignVms: 0,
      condition: "accepting",
      driver: "scripted",
      hypervisor: "scripted",
      agent: "scripted",
      labels: {},
      images: ["debian-12"],
      inventoryDigest: this.#digest(),
    };
  }

  #digest(): string {
    return digestOf([...this.vms.values()].sort((left, right) => (left.vm < right.vm ? -1 : 1)));
  }

  #obey({ id, vm, attempt, action, operation }: Command): CommandOutcome {
    const before = this.vms.get(vm)?.state;
    if (operation !== undefined && before !== undefined) {
      const state = operation.kind === "save" ? "stopped" : before;
      this.vms.set(vm, { vm, attempt, state, operation: { id, result: "done" } });
      return { id, vm, attempt, state: before };
    }
    const state = STATE_AFTER[action];
    this.vms.set(vm, { vm, attempt, state });
    if (action === "settle") this.vms.delete(vm);
    return { id, vm, attempt, state };
  }
}

const STATE_AFTER = {
  start: "running",
  void: "void",
  stop: "stopped",
  "cut-off": "stopped",
  operate: "running",
  suspend: "paused",
  resume: "running",
  reboot: "running",
  delete: "gone",
  settle: "gone",
  renew: "running",
} as const;
