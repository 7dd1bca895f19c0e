/**
 * In-site live migration of a real guest, with Muster and without: two guests of the same description between the same two
 * libvirtds in the same run, in turns. Without Muster `virsh migrate` moves one with the flags that Muster uses, memory and disk
 * going over unix sockets, to a disk that was laid out before the clock ran. Downtime is the longest time for which the guest's
 * kernel answered nobody who knocked every 10 ms. Takes root and what set-up installs for guests.
 *
 *   npm run bench -- migration
 */
import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect, type Socket } from "node:net";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { systemClock, systemRng } from "@muster/base";
import type { SiteClient } from "@muster/client";
import { DEFAULT_WISH, Federation, planFederation, probeQemuRights } from "@muster/federation";
import type { VmView } from "@muster/protocol";

const run = promisify(execFile);
const ROUNDS = 6;
const LOOPBACK = 59;
const WITHIN_MS = 90_000;
const KNOCK_EVERY_MS = 10;
/** Nothing in the guest listens there: its kernel answers by itself, with a reset. */
const CLOSED_PORT = 9;
const HOSTS = ["host1", "host2"] as const;
type Side = (typeof HOSTS)[number];

type Bed = { readonly client: SiteClient; readonly site: string; readonly scratch: string; readonly key: string };
type Times = { readonly totalMs: number; readonly downMs: number };
/** The guest that Muster knows nothing of. */
type Twin = { readonly id: string; readonly base: string; readonly address: string };

async function main(): Promise<void> {
  const rights = await probeQemuRights();
  if (rights.kind !== "namespaces") {
    process.stdout.write(`not measured: it takes hosts in namespaces (${rights.reason})\n`);
    return;
  }
  const state = mkdtempSync("/tmp/mb");
  const scratch = mkdtempSync("/tmp/mt");
  for (const folder of [state, scratch]) chmodSync(folder, 0o711);
  const federation = await startFederation(state);
  // Guests, namespaces and bridges outlive a process that is told to end.
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => void federation.stop().then(() => process.exit(1)));
  try {
    const key = join(scratch, "key");
    await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    const site = federation.site("alpha");
    if (site === undefined) throw new Error("no site alpha");
    await measure({ client: site.client, site: join(state, "alpha"), scratch, key });
  } finally {
    await federation.stop();
    rmSync(scratch, { recursive: true, force: true });
    rmSync(state, { recursive: true, force: true });
  }
}

async function startFederation(stateRoot: string): Promise<Federation> {
  const wish = { sites: 1, hostsPerSite: 2, managersPerSite: 1, loopback: LOOPBACK };
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

async function measure(bed: Bed): Promise<void> {
  const pattern = await create(bed, "pattern");
  const twin = await startTwin(bed, pattern);
  const vm = await create(bed, "vm");
  await login(bed, twin.address);
  const muster: Times[] = [];
  const plain: Times[] = [];
  const loads: number[] = [];
  // The first of each brings what is cold: the image at the other host, for one.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const [source, destination] = round % 2 === 0 ? HOSTS : ([HOSTS[1], HOSTS[0]] as const);
    const here = await placeOf(bed, vm);
    const withMuster = await timed(vm.address ?? "", () => byMuster(bed, vm, here === HOSTS[0] ? HOSTS[1] : HOSTS[0]));
    const byHand = await byVirsh(bed, twin, source, destination);
    process.stderr.write(`${JSON.stringify({ round, withMuster, byHand })}\n`);
    if (round === 0) continue;
    muster.push(withMuster);
    plain.push(byHand);
    loads.push(loadavg()[0] ?? 0);
  }
  const of = (times: readonly Times[], which: keyof Times): number => median(times.map((each) => each[which]));
  const row = (name: string, times: readonly Times[]): string =>
    `| ${name} | ${of(times, "totalMs")} | ${of(times, "downMs")} |`;
  const percent = (which: keyof Times): string => `${Math.round((of(muster, which) / of(plain, which) - 1) * 100)} %`;
  const lines = [
    `| median of ${ROUNDS} | total ms | downtime ms |`,
    "|---|---|---|",
    row("through Muster", muster),
    row("`virsh migrate`", plain),
    `| difference | ${percent("totalMs")} | ${percent("downMs")} |`,
    "",
    `two cores, load ${Math.round(median(loads))}`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

async function create(bed: Bed, name: string): Promise<VmView> {
  const sshKeys = [readFileSync(`${bed.key}.pub`, "utf8").trim()];
  const spec = { image: "small", vcpus: 1, memoryMiB: 128, diskGiB: 1, sshKeys };
  const asked = await bed.client.createVms({ name, spec }, randomUUID());
  if (!asked.ok) throw new Error(asked.error.message);
  const running = await untilVm(bed, name, ({ phase }) => phase === "running");
  await login(bed, running.address ?? "");
  return running;
}

async function placeOf({ client }: Bed, { id }: VmView): Promise<string> {
  const shown = await client.vm(id);
  return shown.ok && shown.value.place.kind === "host" ? shown.value.place.host : "";
}

async function untilVm({ client }: Bed, name: string, holds: (vm: VmView) => boolean): Promise<VmView> {
  const deadlineMs = performance.now() + WITHIN_MS;
  while (performance.now() < deadlineMs) {
    const vm = await client.vm(name);
    if (vm.ok && holds(vm.value)) return vm.value;
    await pause(50);
  }
  throw new Error(`${name} is not as it should be within ${WITHIN_MS} ms`);
}

async function byMuster(bed: Bed, { id }: VmView, destination: Side): Promise<void> {
  const asked = await bed.client.migrateVm(id, destination);
  if (!asked.ok) throw new Error(asked.error.message);
  const moved = await untilVm(bed, id, ({ move }) => move === undefined);
  if (moved.place.kind !== "host" || moved.place.host !== destination) throw new Error(`not moved: ${moved.reason}`);
}

/** Takes the place of a VM of Muster's, in its description and at its address, which stays that VM's while it is stopped. */
async function startTwin(bed: Bed, pattern: VmView): Promise<Twin> {
  if (pattern.place.kind !== "host") throw new Error("the pattern has no host");
  const host = join(bed.site, pattern.place.host, "state");
  const id = randomUUID();
  const uri = uriOf(bed, pattern.place.host);
  const { stdout } = await run("virsh", ["--connect", uri, "dumpxml", "--inactive", pattern.id]);
  const image = readdirSync(join(host, "images")).find((name) => name.startsWith("sha256"));
  if (image === undefined) throw new Error("the host has no image");
  const base = join(host, "images", image);
  for (const side of HOSTS) {
    mkdirSync(join(bed.scratch, side, id), { recursive: true });
    copyFileSync(join(host, "guests", pattern.id, "seed.iso"), join(bed.scratch, side, id, "seed.iso"));
  }
  await bed.client.actOnVm(pattern.id, "stop");
  await untilVm(bed, pattern.id, ({ phase }) => phase === "stopped");
  const file = join(bed.scratch, "twin.xml");
  // Without Muster's mark on it, which would make it Muster's.
  const xml = stdout
    .replace(/<metadata>.*?<\/metadata>/s, "")
    .replaceAll(pattern.id, id)
    .replaceAll(join(host, "guests"), join(bed.scratch, HOSTS[0]));
  writeFileSync(file, xml);
  const twin = { id, base, address: pattern.address ?? "" };
  await layDisk(bed, twin, HOSTS[0]);
  await run("virsh", ["--connect", uriOf(bed, HOSTS[0]), "--quiet", "define", file]);
  await run("virsh", ["--connect", uriOf(bed, HOSTS[0]), "--quiet", "start", id]);
  return twin;
}

async function layDisk({ scratch }: Bed, { id, base }: Twin, side: Side): Promise<void> {
  const disk = join(scratch, side, id, "disk.qcow2");
  rmSync(disk, { force: true });
  await run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk, "1G"]);
}

async function byVirsh(bed: Bed, twin: Twin, source: Side, destination: Side): Promise<Times> {
  const { scratch } = bed;
  await layDisk(bed, twin, destination);
  const { stdout } = await run("virsh", ["--connect", uriOf(bed, source), "dumpxml", "--migratable", twin.id]);
  const file = join(scratch, "there.xml");
  writeFileSync(file, stdout.replaceAll(join(scratch, source), join(scratch, destination)));
  const sockets = ["memory", "disk"].map((name) => join(scratch, name));
  for (const socket of sockets) rmSync(socket, { force: true });
  const [memory, disk] = sockets.map((socket) => `unix://${socket}`);
  const flags = ["--live", "--persistent", "--undefinesource", "--copy-storage-inc", "--abort-on-error"];
  const where = ["--migrateuri", memory ?? "", "--disks-uri", disk ?? "", "--xml", file, "--persistent-xml", file];
  const words = ["--connect", uriOf(bed, source), "migrate", ...flags, ...where, twin.id, uriOf(bed, destination)];
  return timed(twin.address, () => run("virsh", words));
}

function uriOf({ site }: Bed, host: string): string {
  return `qemu+unix:///system?socket=${join(site, host, "v", "run", "libvirt-sock")}`;
}

/** How long it takes, and for how long meanwhile the guest's kernel answers nobody. */
async function timed(address: string, work: () => Promise<unknown>): Promise<Times> {
  const open = new Set<Socket>();
  let lastMs = performance.now();
  let downMs = 0;
  const answered = (): void => {
    const nowMs = performance.now();
    downMs = Math.max(downMs, nowMs - lastMs);
    lastMs = nowMs;
  };
  const knocking = setInterval(() => {
    const socket = connect({ host: address, port: CLOSED_PORT });
    open.add(socket);
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") answered();
    });
    socket.once("close", () => open.delete(socket));
  }, KNOCK_EVERY_MS);
  const startMs = performance.now();
  try {
    await work();
    const totalMs = performance.now() - startMs;
    await pause(1_000);
    return { totalMs, downMs: Math.max(downMs, performance.now() - lastMs) };
  } finally {
    clearInterval(knocking);
    for (const socket of open) socket.destroy();
  }
}

async function login({ key }: Bed, address: string): Promise<void> {
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

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.floor(sorted.length / 2)] ?? Number.NaN);
}

await main();
