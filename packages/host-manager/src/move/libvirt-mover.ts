/**
 * Live migration by libvirt's own steps (https://libvirt.org/migration.html, protocol version 3, managed direct): each host
 * manager speaks to its own daemon only. QEMU sends memory and disk to unix sockets of ours, see `tunnel.ts`; the disk is
 * copied on top of the image that both hosts have.
 */
import type { CancelTimer, Clock } from "@muster/base";
import { type Domain, type Libvirt, LibvirtError, type MigrationFlag, type MigrationPlan } from "node-libvirt";
import type { GuestFolders } from "../guest/guest-folder.ts";
import type { GuestSteps } from "../guest/guest-steps.ts";
import { isFinal, undefine } from "../hypervisor/guest-starter.ts";
import type { DomainPlan, DomainReport } from "../hypervisor/port.ts";
import type { VirtTypes } from "../hypervisor/virt-type.ts";
import { incomingXml } from "./incoming-xml.ts";
import { pauseMsAt } from "./pause-limit.ts";
import type { MoveOrder, MoveOutcome, MoveProgress, Mover } from "./port.ts";
import { openDestination, openSource, type TunnelEnd } from "./tunnel.ts";
import { Urgency } from "./urgency.ts";

export type MoverConnection = {
  /** Throws while there is none. */
  readonly libvirt: () => Libvirt;
  readonly report: (domain: Domain) => Promise<DomainReport | undefined>;
};

export type LibvirtMoverParts = MoverConnection & {
  readonly clock: Clock;
  readonly folders: GuestFolders;
  readonly steps: GuestSteps;
  readonly virt: VirtTypes;
  /** Folder for the sockets of moves; short, since a socket's path is. */
  readonly folder: string;
  /** Address of this host that the others reach. */
  readonly address: string;
  /** Longest time in which a guest is sent over (S2). */
  readonly performMs: number;
};

const FLAGS: readonly MigrationFlag[] = [
  "live",
  "persistDestination",
  "undefineSource",
  "nonSharedIncremental",
  "abortOnError",
];
const MIB = 2 ** 20;
/** How often a guest that is sent over is looked at, for how it gets on. */
const PASSES_EVERY_MS = 1_000;
const NO_COOKIE = new Uint8Array();

/** What a move in which this process has a part has open. */
type Part = { tunnel?: TunnelEnd; readonly plan?: DomainPlan };

export class LibvirtMover implements Mover {
  readonly #parts: LibvirtMoverParts;
  readonly #open = new Map<string, Part>();
  readonly #urgency = new Urgency();

  constructor(parts: LibvirtMoverParts) {
    this.#parts = parts;
  }

  /** libvirt's own no is final, everything else leaves open whether the daemon acted (V3). */
  async carryOut(order: MoveOrder): Promise<MoveOutcome> {
    try {
      return await this.#carryOut(order);
    } catch (cause) {
      const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/\p{Cc}/gu, " ").slice(0, 200);
      return { kind: isFinal(cause) ? "refused" : "unknown", reason };
    }
  }

  async cancel(vm: string): Promise<void> {
    const domain = await this.#lookup(vm);
    if (domain !== undefined) await this.#parts.libvirt().migration.abortJob(domain).catch(ignoreLibvirt);
  }

  async progress(vm: string): Promise<MoveProgress | undefined> {
    const domain = await this.#lookup(vm);
    if (domain === undefined) return undefined;
    const { stats } = await this.#parts.libvirt().migration.jobStats(domain);
    const mib = (name: string): number => Math.round(Number(stats[name] ?? 0) / MIB);
    return { doneMiB: mib("data_processed"), totalMiB: mib("data_total") };
  }

  #carryOut(order: MoveOrder): Promise<MoveOutcome> {
    switch (order.step) {
      case "begin":
        return this.#begin(order.vm);
      case "prepare":
        return this.#prepare(order);
      case "perform":
        return this.#perform(order);
      case "finish":
        return this.#finish(order.vm, order.cookie);
      case "abandon":
        return this.#abandon(order.vm);
      case "confirm":
        return this.#confirm(order.vm, order.cookie);
      case "resume":
        return this.#resume(order.vm);
    }
  }

  async #begin(vm: string): Promise<MoveOutcome> {
    const domain = await this.#lookup(vm);
    if (domain === undefined) return { kind: "refused", reason: `there is no domain ${vm}` };
    const { cookie, xml } = await this.#parts.libvirt().migration.begin(domain, { flags: FLAGS });
    return { kind: "done", cookie: base64(cookie), xml };
  }

  async #prepare({ vm, plan, xml, cookie }: MoveOrder & { step: "prepare" }): Promise<MoveOutcome> {
    const { libvirt, folders, steps, virt, folder, address } = this.#parts;
    const { guest } = plan.subject;
    if (guest === undefined)
      return { kind: "refused", reason: "it has no image and no networks: it cannot be moved alive" };
    if ((await this.#lookup(vm)) !== undefined) return { kind: "refused", reason: `a domain ${vm} is here already` };
    this.#urgency.begin(vm);
    // The one asks libvirt, the other makes files: neither waits for the other.
    const [virtType, nics] = await Promise.all([virt.resolve(libvirt()), steps.prepare(plan, guest)]);
    if (!virtType.ok) return this.#takeBack(vm, virtType.error);
    if (!nics.ok) return this.#takeBack(vm, nics.error);
    const parts = { ...folders.paths(vm), virtType: virtType.value, nics: nics.value };
    const here = incomingXml(xml, plan, parts);
    if (!here.ok) return this.#takeBack(vm, here.error);
    const tunnel = await openDestination({ folder, move: vm, address });
    this.#open.set(vm, { tunnel, plan });
    try {
      const there = await libvirt().migration.prepare(here.value, over(tunnel), bytes(cookie));
      return { kind: "done", cookie: base64(there.cookie), link: tunnel.link };
    } catch (cause) {
      if (!isFinal(cause) || !(cause instanceof Error)) throw cause;
      return this.#takeBack(vm, cause.message.replace(/\p{Cc}/gu, " "));
    }
  }

  async #perform({ vm, link, cookie }: MoveOrder & { step: "perform" }): Promise<MoveOutcome> {
    const { libvirt, folder, performMs } = this.#parts;
    const domain = await this.#lookup(vm);
    if (domain === undefined) return { kind: "refused", reason: `there is no domain ${vm}` };
    this.#urgency.begin(vm);
    const tunnel = await openSource({ folder, move: vm, link });
    this.#open.set(vm, { tunnel });
    const endPauses = await this.#allowPauses(domain);
    try {
      const done = await libvirt().migration.perform(domain, over(tunnel), bytes(cookie), { timeoutMs: performMs });
      return { kind: "done", cookie: base64(done.cookie) };
    } finally {
      endPauses();
    }
  }

  /** Keeps what libvirt allows for the pause in step with the passes over the guest's memory; until it is ended. */
  async #allowPauses(domain: Domain): Promise<() => void> {
    const { libvirt, virt } = this.#parts;
    const { migration } = libvirt();
    const virtType = await virt.resolve(libvirt());
    // QEMU's emulation may miss a write of the guest that falls together with the end of a pass: the fewer of them, the better.
    if (!virtType.ok || virtType.value === "qemu") return () => {};
    let allowedMs = pauseMsAt(0);
    await migration.setMaxDowntimeMs(domain, BigInt(allowedMs)).catch(ignoreLibvirt);
    const look = async (): Promise<void> => {
      const { stats } = await migration.jobStats(domain);
      const pauseMs = pauseMsAt(Number(stats.memory_iteration ?? 0));
      if (pauseMs === allowedMs) return;
      await migration.setMaxDowntimeMs(domain, BigInt(pauseMs));
      allowedMs = pauseMs;
    };
    let cancel: CancelTimer = () => {};
    let ended = false;
    const again = (): void => {
      if (ended) return;
      // A guest that cannot be looked at now is looked at later.
      cancel = this.#parts.clock.setTimer(
        PASSES_EVERY_MS,
        () =>
          void look()
            .catch(() => undefined)
            .then(again),
      );
    };
    again();
    return () => {
      ended = true;
      cancel();
    };
  }

  async #finish(vm: string, cookie: string | undefined): Promise<MoveOutcome> {
    const { libvirt, steps } = this.#parts;
    const plan = this.#open.get(vm)?.plan;
    const there = await this.#lookup(vm);
    if (there !== undefined && (await this.#runs(there))) return this.#done(vm, there);
    const { domain } = await libvirt().migration.finish(
      { flags: FLAGS, destinationName: vm },
      bytes(cookie ?? ""),
      false,
    );
    if (plan !== undefined) await steps.noteStarted(plan);
    return this.#done(vm, domain);
  }

  /** A guest that came to run here after all is told, not given up. */
  async #abandon(vm: string): Promise<MoveOutcome> {
    const { libvirt, steps } = this.#parts;
    const there = await this.#lookup(vm);
    if (there !== undefined && (await this.#runs(there))) return this.#done(vm, there);
    if (this.#open.has(vm))
      await libvirt().migration.finish({ flags: FLAGS, destinationName: vm }, NO_COOKIE, true).catch(ignoreLibvirt);
    const left = await this.#lookup(vm);
    if (left !== undefined) await libvirt().domains.destroy(left).catch(ignoreLibvirt);
    await undefine(libvirt(), { uuid: vm });
    await this.#close(vm);
    await steps.clear(vm);
    return { kind: "done" };
  }

  async #confirm(vm: string, cookie: string | undefined): Promise<MoveOutcome> {
    const { libvirt, steps } = this.#parts;
    const domain = await this.#lookup(vm);
    if (domain !== undefined) {
      await libvirt()
        .migration.confirm(domain, { flags: FLAGS }, bytes(cookie ?? ""), false)
        .catch(ignoreLibvirt);
      const left = await this.#lookup(vm);
      if (left !== undefined) await libvirt().domains.destroy(left).catch(ignoreLibvirt);
      await undefine(libvirt(), domain);
    }
    await this.#close(vm);
    await steps.noteDeleting(vm);
    await steps.clear(vm);
    return { kind: "done" };
  }

  async #resume(vm: string): Promise<MoveOutcome> {
    const { libvirt } = this.#parts;
    await this.#close(vm);
    const domain = await this.#lookup(vm);
    if (domain === undefined) return { kind: "done" };
    await libvirt().migration.confirm(domain, { flags: FLAGS }, NO_COOKIE, true).catch(ignoreLibvirt);
    const { state } = await libvirt().domains.state(domain);
    if (state === "paused") await libvirt().domains.resume(domain);
    return this.#done(vm, domain);
  }

  async #done(vm: string, domain: Domain): Promise<MoveOutcome> {
    await this.#close(vm);
    const report = await this.#parts.report(domain);
    return report === undefined
      ? { kind: "unknown", reason: `domain ${vm} went away` }
      : { kind: "done", domain: report };
  }

  async #runs(domain: Domain): Promise<boolean> {
    return (await this.#parts.libvirt().domains.state(domain)).state === "running";
  }

  #lookup(vm: string): Promise<Domain | undefined> {
    return this.#parts.libvirt().domains.lookupByUuid(vm);
  }

  async #takeBack(vm: string, reason: string): Promise<MoveOutcome> {
    await this.#close(vm);
    await this.#parts.steps.clear(vm);
    return { kind: "refused", reason: reason.slice(0, 200) };
  }

  async #close(vm: string): Promise<void> {
    this.#urgency.end(vm);
    const part = this.#open.get(vm);
    this.#open.delete(vm);
    await part?.tunnel?.close();
  }
}

function over({ sockets }: TunnelEnd): MigrationPlan {
  return { flags: FLAGS, uri: `unix://${sockets.memory}`, disksUri: `unix://${sockets.disk}` };
}

/** What libvirt says no to has nothing left to end. */
function ignoreLibvirt(cause: unknown): void {
  if (!(cause instanceof LibvirtError)) throw cause;
}

function base64(raw: Uint8Array): string {
  return Buffer.from(raw).toString("base64");
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text, "base64");
}
