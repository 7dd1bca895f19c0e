/**
 * Many hosts in one process: real host managers over real XMPP links, each with a simulated machine and a journal in
 * memory, since real hosts would not share this machine's disk. Told by its parent over IPC what to run.
 */
import { systemClock, systemRng } from "@muster/base";
import {
  createHostManager,
  type Hypervisor,
  hostConfigSchema,
  memoryDisk,
  memoryJournal,
  SimulatedMachine,
} from "@muster/host-manager";
import { type Bus, xmppClientBus } from "@muster/xmpp";

export type FarmOrder = {
  readonly site: string;
  readonly service: string;
  readonly caPem: string;
  readonly heartbeatMs: number;
  readonly vcpus: number;
  readonly hosts: readonly { readonly name: string; readonly password: string }[];
};

/** `atMs` is on the machine's clock, the same for all processes. */
export type FarmReport =
  | { readonly kind: "acting"; readonly vm: string; readonly atMs: number }
  | { readonly kind: "announced"; readonly host: string; readonly atMs: number };

/** Logins under way at once: more would only wait in the server's backlog. */
const LOGINS_MAX = 16;
const SILENT = { info: () => {}, warn: () => {}, error: () => {} };

process.once("message", (order) => void run(order as FarmOrder));

async function run(order: FarmOrder): Promise<void> {
  const waiting = [...order.hosts];
  const worker = async (): Promise<void> => {
    for (let host = waiting.shift(); host !== undefined; host = waiting.shift()) await startHost(order, host);
  };
  await Promise.all(Array.from({ length: LOGINS_MAX }, worker));
}

async function startHost(order: FarmOrder, { name, password }: FarmOrder["hosts"][number]): Promise<void> {
  const total = { vcpus: order.vcpus, memoryMiB: order.vcpus * 4_096, diskGiB: order.vcpus * 100, gpus: 0 };
  const machine = new SimulatedMachine({ clock: systemClock, total, startMs: 20, stopMs: 10 });
  const bus = xmppClientBus({
    service: order.service,
    domain: order.site,
    username: `host-${name}`,
    password,
    resource: "host-manager",
    caPem: order.caPem,
    clock: systemClock,
    rng: systemRng,
  });
  const config = hostConfigSchema.parse({
    site: order.site,
    name,
    state: "/nonexistent",
    xmpp: { service: order.service, passwordFile: "/nonexistent" },
    hypervisor: { kind: "simulated" },
    images: ["debian-12"],
    heartbeatMs: order.heartbeatMs,
  });
  const announced = new Promise<void>((resolve) => {
    const manager = createHostManager({
      config,
      clock: systemClock,
      rng: systemRng,
      bus: watched(bus, () => {
        report({ kind: "announced", host: name, atMs: nowMs() });
        resolve();
      }),
      hypervisor: reporting(machine.connect()),
      journal: memoryJournal(memoryDisk()),
      log: SILENT,
      onFatal: (reason) => {
        throw new Error(`${name}: ${reason}`);
      },
    });
    void manager.start();
  });
  await announced;
}

/** Tells when the first presence of a host goes out. */
function watched(bus: Bus, onFirst: () => void): Bus {
  let first = true;
  return new Proxy(bus, {
    get(target, key) {
      if (key !== "send") {
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return (stanza: Parameters<Bus["send"]>[0]) => {
        if (first && stanza.getName() === "presence") {
          first = false;
          onFirst();
        }
        return target.send(stanza);
      };
    },
  });
}

/** Tells when a start was stored, answered, and is about to be acted on. */
function reporting(hypervisor: Hypervisor): Hypervisor {
  return {
    ...hypervisor,
    start: (plan) => {
      report({ kind: "acting", vm: plan.vm, atMs: nowMs() });
      return hypervisor.start(plan);
    },
  };
}

function report(message: FarmReport): void {
  process.send?.(message);
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}
