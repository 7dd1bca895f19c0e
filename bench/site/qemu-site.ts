/** One site with real guests for measuring: hosts in namespaces with a libvirtd each, and what a user of it has. */
import { execFile, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { systemClock, systemRng } from "@muster/base";
import type { SiteClient } from "@muster/client";
import { DEFAULT_WISH, Federation, planFederation, probeQemuRights } from "@muster/federation";
import type { VmSpec, VmView } from "@muster/protocol";
import { percentile } from "./process-meter.ts";

export const run = promisify(execFile);
/** A guest boots by emulation, and others may keep the cores busy. */
const WITHIN_MS = 90_000;
const SITE = "alpha";

export type QemuSite = {
  readonly client: SiteClient;
  /** Folder with the state of its hosts. */
  readonly folder: string;
  /** A folder for what the bench makes, which goes with the site. */
  readonly scratch: string;
  /** File with the private key of its user. */
  readonly key: string;
};

/** Measures on a site of its own, or says why that cannot be done here. Takes root and what set-up installs for guests. */
export async function onQemuSite(
  { hosts, loopback }: { readonly hosts: number; readonly loopback: number },
  measure: (site: QemuSite) => Promise<void>,
): Promise<void> {
  const rights = await probeQemuRights();
  if (rights.kind !== "namespaces") {
    process.stdout.write(`not measured: it takes hosts in namespaces (${rights.reason})\n`);
    return;
  }
  // Short, since paths of sockets are, and open to QEMU, which may run as another account.
  const state = mkdtempSync("/tmp/mb");
  const scratch = mkdtempSync("/tmp/mt");
  for (const folder of [state, scratch]) chmodSync(folder, 0o711);
  const federation = await startFederation(state, hosts, loopback);
  // Guests, namespaces and bridges outlive a process that is told to end.
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => void federation.stop().then(() => process.exit(1)));
  try {
    const key = join(scratch, "key");
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    const site = federation.site(SITE);
    if (site === undefined) throw new Error(`no site ${SITE}`);
    await measure({ client: site.client, folder: join(state, SITE), scratch, key });
  } finally {
    await federation.stop();
    rmSync(scratch, { recursive: true, force: true });
    rmSync(state, { recursive: true, force: true });
  }
}

async function startFederation(stateRoot: string, hosts: number, loopback: number): Promise<Federation> {
  const wish = { sites: 1, hostsPerSite: hosts, managersPerSite: 1, loopback };
  const plan = planFederation({ ...DEFAULT_WISH, ...wish, hypervisor: "qemu", virtType: "qemu" });
  if (!plan.ok) throw new Error(plan.error);
  const started = await Federation.start({
    plan: plan.value,
    stateRoot,
    fresh: true,
    clock: systemClock,
    rng: systemRng,
    progress: (line) => process.stderr.write(`${line}\n`),
    onFatal: ({ name, how }) => process.stderr.write(`${name}: ${how}\n`),
    signal: new AbortController().signal,
  });
  if (!started.ok) throw new Error(started.error);
  return started.value;
}

/** The guest that is measured: the smallest there is, with the user's key. */
export function smallGuest({
  key,
}: QemuSite): Partial<VmSpec> & Pick<VmSpec, "image" | "vcpus" | "memoryMiB" | "diskGiB"> {
  const sshKeys = [readFileSync(`${key}.pub`, "utf8").trim()];
  return { image: "small", vcpus: 1, memoryMiB: 128, diskGiB: 1, sshKeys };
}

export async function untilVm(
  { client }: QemuSite,
  name: string,
  holds: (vm: VmView) => boolean,
  everyMs = 10,
): Promise<VmView> {
  const deadlineMs = performance.now() + WITHIN_MS;
  while (performance.now() < deadlineMs) {
    const vm = await client.vm(name);
    if (vm.ok && holds(vm.value)) return vm.value;
    await pause(everyMs);
  }
  throw new Error(`${name} is not as it should be within ${WITHIN_MS} ms`);
}

/** Until the guest at this address lets its user in by ssh. */
export async function login({ key }: QemuSite, address: string): Promise<void> {
  const options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=2"];
  const words = [...options.flatMap((option) => ["-o", option]), "-i", key, `root@${address}`, "true"];
  const deadlineMs = performance.now() + WITHIN_MS;
  while (performance.now() < deadlineMs) {
    const child = spawn("ssh", words, { stdio: "ignore", timeout: 20_000 });
    if ((await new Promise((resolve) => child.once("close", resolve))) === 0) return;
    await pause(50);
  }
  throw new Error(`no login at ${address} within ${WITHIN_MS} ms`);
}

/** How virsh reaches the libvirtd of a host. */
export function virshUri({ folder }: QemuSite, host: string): string {
  return `qemu+unix:///system?socket=${join(folder, host, "v", "run", "libvirt-sock")}`;
}

export function median(values: readonly number[]): number {
  return Math.round(percentile(values, 0.5));
}
