/**
 * From a request to a login by ssh, with Muster and without: the same image on the same libvirt in the same run, in turns.
 * Without Muster, a clone and a seed are made by hand and the domain, in Muster's own description, by `virsh create`. Where
 * guests boot by emulation, their boot is most of the time and varies by more than what is to be measured: the time until the
 * domain runs is told as well. And how long a clone of a cached image takes. Takes root and what set-up installs for guests.
 *
 *   npm run bench -- guests
 */
import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmodSync, copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { systemClock, systemRng } from "@muster/base";
import type { SiteClient } from "@muster/client";
import { DEFAULT_WISH, Federation, planFederation, probeQemuRights } from "@muster/federation";
import type { VmView } from "@muster/protocol";

const run = promisify(execFile);
const ROUNDS = 3;
const CLONES = 30;
const LOOPBACK = 91;
const LOGIN_WITHIN_MS = 90_000;

type Bed = {
  readonly client: SiteClient;
  readonly key: string;
  /** Folders of the host's guests and of its images, and how virsh reaches its libvirt. */
  readonly guests: string;
  readonly images: string;
  readonly uri: string;
};

/** Milliseconds from the request until the domain runs, and until ssh lets its user in. */
type Times = { readonly runningMs: number; readonly loginMs: number };

/** What is taken from a VM of Muster's for the one made by hand. */
type Pattern = { readonly xml: string; readonly seed: string; readonly base: string; readonly address: string };

async function main(): Promise<void> {
  const rights = await probeQemuRights();
  if (rights.kind !== "namespaces") {
    process.stdout.write(`not measured: it takes hosts in namespaces (${rights.reason})\n`);
    return;
  }
  const state = mkdtempSync("/tmp/mb");
  const scratch = mkdtempSync(join(tmpdir(), "muster-bench-"));
  chmodSync(state, 0o711);
  const federation = await startFederation(state);
  // Guests, namespaces and bridges outlive a process that is told to end.
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => void federation.stop().then(() => process.exit(1)));
  try {
    const key = join(scratch, "key");
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    const host = join(state, "alpha", "host1");
    const site = federation.site("alpha");
    if (site === undefined) throw new Error("no site alpha");
    await measure(
      {
        client: site.client,
        key,
        guests: join(host, "state", "guests"),
        images: join(host, "state", "images"),
        uri: `qemu+unix:///system?socket=${join(host, "v", "run", "libvirt-sock")}`,
      },
      scratch,
    );
  } finally {
    await federation.stop();
    rmSync(scratch, { recursive: true, force: true });
    rmSync(state, { recursive: true, force: true });
  }
}

async function startFederation(stateRoot: string): Promise<Federation> {
  const wish = { sites: 1, hostsPerSite: 1, managersPerSite: 1, loopback: LOOPBACK };
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

async function measure(bed: Bed, scratch: string): Promise<void> {
  // The first one brings the image to the host, and is the pattern for those made by hand.
  const first = await throughMuster(bed, "first", (vm) => takePattern(bed, vm, scratch));
  const pattern = first.kept;
  const muster: Times[] = [];
  const plain: Times[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    muster.push((await throughMuster(bed, `vm${round}`)).times);
    plain.push(await byHand(bed, pattern, scratch));
  }
  const clones = await timeClones(pattern.base, scratch);
  const row = (name: string, times: readonly Times[]): string =>
    `| ${name} | ${median(times.map(({ runningMs }) => runningMs))} | ${median(times.map(({ loginMs }) => loginMs))} |`;
  const extra = (which: keyof Times): number =>
    median(muster.map((times) => times[which])) - median(plain.map((times) => times[which]));
  const lines = [
    `| median of ${ROUNDS} | ms to running domain | ms to ssh login |`,
    "|---|---|---|",
    row("through Muster", muster),
    row("clone, seed and `virsh create` by hand", plain),
    `| difference | ${extra("runningMs")} | ${extra("loginMs")} |`,
    "",
    `clone of a cached image, median of ${CLONES}: ${median(clones)} ms; slowest ${Math.round(Math.max(...clones))} ms`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

async function throughMuster<Kept>(
  bed: Bed,
  name: string,
  look?: (vm: VmView) => Promise<Kept>,
): Promise<{ readonly times: Times; readonly kept: Kept }> {
  const { client, key } = bed;
  const sshKeys = [readFileSync(`${key}.pub`, "utf8").trim()];
  const spec = { image: "small", vcpus: 1, memoryMiB: 128, diskGiB: 1, sshKeys };
  const startMs = performance.now();
  const asked = await client.createVms({ name, spec }, randomUUID());
  if (!asked.ok) throw new Error(asked.error.message);
  const running = await untilPhase(client, name, "running");
  const runningMs = performance.now() - startMs;
  await login(bed, running.address ?? "");
  const loginMs = performance.now() - startMs;
  const kept = (await look?.(running)) as Kept;
  await client.deleteVm(name);
  await untilPhase(client, running.id, "deleted");
  return { times: { runningMs, loginMs }, kept };
}

async function untilPhase(client: SiteClient, name: string, phase: VmView["phase"]): Promise<VmView> {
  const deadlineMs = performance.now() + LOGIN_WITHIN_MS;
  while (performance.now() < deadlineMs) {
    const vm = await client.vm(name);
    if (vm.ok && vm.value.phase === phase) return vm.value;
    await pause(10);
  }
  throw new Error(`${name} is not ${phase} within ${LOGIN_WITHIN_MS} ms`);
}

/** The domain as Muster describes it, its seed, and the image that its disk is a clone of. */
async function takePattern({ uri, guests, images }: Bed, vm: VmView, scratch: string): Promise<Pattern> {
  const { stdout: xml } = await run("virsh", ["--connect", uri, "dumpxml", "--inactive", vm.id]);
  const seed = join(scratch, "pattern.iso");
  copyFileSync(join(guests, vm.id, "seed.iso"), seed);
  const base = readdirSync(images).find((name) => name.startsWith("sha256"));
  if (base === undefined) throw new Error("the host has no image");
  return {
    // Without Muster's mark on it, which would make it Muster's.
    xml: xml
      .replace(/<metadata>.*?<\/metadata>/s, "")
      .replaceAll(vm.id, "NAME-OF-VM")
      .replaceAll(guests, scratch),
    seed,
    base: join(images, base),
    address: vm.address ?? "",
  };
}

/** What an admin would do without Muster: a clone, a seed, a description, `virsh create`. The address is that of the seed. */
async function byHand(bed: Bed, pattern: Pattern, scratch: string): Promise<Times> {
  const id = randomUUID();
  const folder = join(scratch, id);
  const xml = join(scratch, `${id}.xml`);
  const startMs = performance.now();
  await run("mkdir", [folder]);
  await clone(pattern.base, join(folder, "disk.qcow2"));
  copyFileSync(pattern.seed, join(folder, "seed.iso"));
  writeFileSync(xml, pattern.xml.replaceAll("NAME-OF-VM", id));
  await run("virsh", ["--connect", bed.uri, "--quiet", "create", xml]);
  const runningMs = performance.now() - startMs;
  await login(bed, pattern.address);
  const loginMs = performance.now() - startMs;
  await run("virsh", ["--connect", bed.uri, "--quiet", "destroy", id]);
  return { runningMs, loginMs };
}

async function timeClones(base: string, scratch: string): Promise<number[]> {
  const times: number[] = [];
  for (let turn = 0; turn < CLONES; turn += 1) {
    const path = join(scratch, `clone-${turn}.qcow2`);
    const startMs = performance.now();
    await clone(base, path);
    times.push(performance.now() - startMs);
  }
  return times;
}

/** As the host manager makes a VM's disk. */
async function clone(base: string, path: string): Promise<void> {
  await run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", path, "1G"]);
}

async function login({ key }: Bed, address: string): Promise<void> {
  const options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=2"];
  const words = [...options.flatMap((option) => ["-o", option]), "-i", key, `root@${address}`, "true"];
  const deadlineMs = performance.now() + LOGIN_WITHIN_MS;
  while (performance.now() < deadlineMs) {
    const child = spawn("ssh", words, { stdio: "ignore", timeout: 20_000 });
    if ((await new Promise((resolve) => child.once("close", resolve))) === 0) return;
    await pause(50);
  }
  throw new Error(`no login at ${address} within ${LOGIN_WITHIN_MS} ms`);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.floor(sorted.length / 2)] ?? Number.NaN);
}

await main();
