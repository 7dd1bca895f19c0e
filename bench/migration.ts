/**
 * In-site live migration of a real guest, with Muster and without: two guests of the same description between the same two
 * libvirtds in the same run, in turns. Without Muster `virsh migrate` moves one with the flags that Muster uses, memory and disk
 * going over unix sockets, to a disk that was laid out before the clock ran. Total is from the order until it is over, as who
 * ordered it sees it; the pause is what QEMU and libvirt themselves say, of both alike; and silence is the longest time for which
 * the guest's kernel answered nobody who knocked every 10 ms. Takes root and what set-up installs for guests.
 *
 *   npm run bench -- migration
 */
import { randomUUID } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { loadavg } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { VmView } from "@muster/protocol";
import { login, median, onQemuSite, type QemuSite, run, smallGuest, untilVm, virshUri } from "./site/qemu-site.ts";

const ROUNDS = 12;
const LOOPBACK = 59;
const KNOCK_EVERY_MS = 10;
/** Nothing in the guest listens there: its kernel answers by itself, with a reset. */
const CLOSED_PORT = 9;
const HOSTS = ["host1", "host2"] as const;
type Side = (typeof HOSTS)[number];

type Wall = { readonly totalMs: number; readonly silentMs: number };
/** As libvirt counts it: all of it from begin to finish, and from the guest's pause to when it goes on. */
type Counted = { readonly elapsedMs: number; readonly pausedMs: number };
type Times = Wall & Counted;
const FIGURES = ["totalMs", "elapsedMs", "pausedMs", "silentMs"] as const;
/** The guest that Muster knows nothing of. */
type Twin = { readonly id: string; readonly base: string; readonly address: string };

async function measure(bed: QemuSite): Promise<void> {
  const pattern = await create(bed, "pattern");
  const twin = await startTwin(bed, pattern);
  const vm = await create(bed, "vm");
  await login(bed, twin.address);
  const rows: { readonly muster: Times; readonly virsh: Times; readonly load: number }[] = [];
  // The first of each brings what is cold: the image at the other host, for one.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const [source, destination] = round % 2 === 0 ? HOSTS : ([HOSTS[1], HOSTS[0]] as const);
    const load = loadavg()[0] ?? 0;
    // Who goes first changes, so that what the one leaves behind for the other evens out.
    const first = round % 4 < 2 ? await byMuster(bed, vm) : undefined;
    const virsh = await byVirsh(bed, twin, source, destination);
    const muster = first ?? (await byMuster(bed, vm));
    process.stderr.write(`${JSON.stringify({ round, muster, virsh, load })}\n`);
    if (round > 0) rows.push({ muster, virsh, load });
  }
  const of = (who: "muster" | "virsh", which: keyof Times): number => median(rows.map((row) => row[who][which]));
  const row = (name: string, who: "muster" | "virsh"): string =>
    `| ${name} | ${FIGURES.map((which) => of(who, which)).join(" | ")} |`;
  const differences = FIGURES.map((which) => `${Math.round((of("muster", which) / of("virsh", which) - 1) * 100)} %`);
  const loads = rows.map(({ load }) => load);
  const lines = [
    `| median of ${rows.length} | total ms | begin to finish ms | pause ms | silence ms |`,
    "|---|---|---|---|---|",
    row("through Muster", "muster"),
    row("`virsh migrate`", "virsh"),
    `| difference | ${differences.join(" | ")} |`,
    "",
    `two cores, load ${Math.min(...loads).toFixed(1)} to ${Math.max(...loads).toFixed(1)}`,
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

async function create(bed: QemuSite, name: string): Promise<VmView> {
  const asked = await bed.client.createVms({ name, spec: smallGuest(bed) }, randomUUID());
  if (!asked.ok) throw new Error(asked.error.message);
  const running = await untilVm(bed, name, ({ phase }) => phase === "running");
  await login(bed, running.address ?? "");
  return running;
}

async function placeOf({ client }: QemuSite, { id }: VmView): Promise<string> {
  const shown = await client.vm(id);
  return shown.ok && shown.value.place.kind === "host" ? shown.value.place.host : "";
}

async function byMuster(bed: QemuSite, vm: VmView): Promise<Times> {
  const source = await placeOf(bed, vm);
  const destination = source === HOSTS[0] ? HOSTS[1] : HOSTS[0];
  const wall = await timed(vm.address ?? "", async () => {
    const asked = await bed.client.migrateVm(vm.id, { host: destination });
    if (!asked.ok) throw new Error(asked.error.message);
    const moved = await untilVm(bed, vm.id, ({ move }) => move === undefined);
    if (moved.place.kind !== "host" || moved.place.host !== destination) throw new Error(`not moved: ${moved.reason}`);
  });
  return { ...wall, ...(await counted(bed, vm.id, destination)) };
}

/** Takes the place of a VM of Muster's, in its description and at its address, which stays that VM's while it is stopped. */
async function startTwin(bed: QemuSite, pattern: VmView): Promise<Twin> {
  if (pattern.place.kind !== "host") throw new Error("the pattern has no host");
  const host = join(bed.folder, pattern.place.host, "state");
  const id = randomUUID();
  const uri = virshUri(bed, pattern.place.host);
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
  await run("virsh", ["--connect", virshUri(bed, HOSTS[0]), "--quiet", "define", file]);
  await run("virsh", ["--connect", virshUri(bed, HOSTS[0]), "--quiet", "start", id]);
  return twin;
}

async function layDisk({ scratch }: QemuSite, { id, base }: Twin, side: Side): Promise<void> {
  const disk = join(scratch, side, id, "disk.qcow2");
  rmSync(disk, { force: true });
  await run("qemu-img", ["create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk, "1G"]);
}

async function byVirsh(bed: QemuSite, twin: Twin, source: Side, destination: Side): Promise<Times> {
  const { scratch } = bed;
  await layDisk(bed, twin, destination);
  const { stdout } = await run("virsh", ["--connect", virshUri(bed, source), "dumpxml", "--migratable", twin.id]);
  const file = join(scratch, "there.xml");
  writeFileSync(file, stdout.replaceAll(join(scratch, source), join(scratch, destination)));
  const sockets = ["memory", "disk"].map((name) => join(scratch, name));
  for (const socket of sockets) rmSync(socket, { force: true });
  const [memory, disk] = sockets.map((socket) => `unix://${socket}`);
  const flags = ["--live", "--persistent", "--undefinesource", "--copy-storage-inc", "--abort-on-error"];
  const where = ["--migrateuri", memory ?? "", "--disks-uri", disk ?? "", "--xml", file, "--persistent-xml", file];
  const words = [
    "--connect",
    virshUri(bed, source),
    "migrate",
    ...flags,
    ...where,
    twin.id,
    virshUri(bed, destination),
  ];
  const wall = await timed(twin.address, () => run("virsh", words));
  return { ...wall, ...(await counted(bed, twin.id, destination)) };
}

/** What the destination's libvirt kept of the migration that brought the guest. */
async function counted(bed: QemuSite, id: string, destination: Side): Promise<Counted> {
  const { stdout } = await run("virsh", ["--connect", virshUri(bed, destination), "domjobinfo", "--completed", id]);
  const figure = (name: string): number =>
    Number(new RegExp(`^${name}: +(?<ms>\\d+) +ms$`, "m").exec(stdout)?.groups?.ms ?? Number.NaN);
  return { elapsedMs: figure("Time elapsed"), pausedMs: figure("Total downtime") };
}

/** How long it takes, and for how long meanwhile the guest's kernel answers nobody. */
async function timed(address: string, work: () => Promise<unknown>): Promise<Wall> {
  const open = new Set<Socket>();
  let lastMs = performance.now();
  let silentMs = 0;
  const answered = (): void => {
    const nowMs = performance.now();
    silentMs = Math.max(silentMs, nowMs - lastMs);
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
    return { totalMs, silentMs: Math.max(silentMs, performance.now() - lastMs) };
  } finally {
    clearInterval(knocking);
    for (const socket of open) socket.destroy();
  }
}

await onQemuSite({ hosts: HOSTS.length, loopback: LOOPBACK }, measure);
