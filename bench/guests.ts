/**
 * From a request to a login by ssh, with Muster and without: the same image on the same libvirt in the same run, in turns.
 * Without Muster, a clone and a seed are made by hand and the domain, in Muster's own description, by `virsh create`. Where
 * guests boot by emulation, their boot is most of the time and varies by more than what is to be measured: the time until the
 * domain runs is told as well. And how long a clone of a cached image takes. Takes root and what set-up installs for guests.
 *
 *   npm run bench -- guests
 */
import { randomUUID } from "node:crypto";
import { copyFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { VmView } from "@muster/protocol";
import { login, median, onQemuSite, type QemuSite, run, smallGuest, untilVm, virshUri } from "./site/qemu-site.ts";

const ROUNDS = 3;
const CLONES = 30;
const LOOPBACK = 91;
const HOST = "host1";

/** Milliseconds from the request until the domain runs, and until ssh lets its user in. */
type Times = { readonly runningMs: number; readonly loginMs: number };

/** What is taken from a VM of Muster's for the one made by hand. */
type Pattern = { readonly xml: string; readonly seed: string; readonly base: string; readonly address: string };

async function measure(bed: QemuSite): Promise<void> {
  // The first one brings the image to the host, and is the pattern for those made by hand.
  const first = await throughMuster(bed, "first", (vm) => takePattern(bed, vm));
  const pattern = first.kept;
  const muster: Times[] = [];
  const plain: Times[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    muster.push((await throughMuster(bed, `vm${round}`)).times);
    plain.push(await byHand(bed, pattern));
  }
  const clones = await timeClones(pattern.base, bed.scratch);
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
  bed: QemuSite,
  name: string,
  look?: (vm: VmView) => Promise<Kept>,
): Promise<{ readonly times: Times; readonly kept: Kept }> {
  const { client } = bed;
  const spec = smallGuest(bed);
  const startMs = performance.now();
  const asked = await client.createVms({ name, spec }, randomUUID());
  if (!asked.ok) throw new Error(asked.error.message);
  const running = await untilVm(bed, name, ({ phase }) => phase === "running");
  const runningMs = performance.now() - startMs;
  await login(bed, running.address ?? "");
  const loginMs = performance.now() - startMs;
  const kept = (await look?.(running)) as Kept;
  await client.deleteVm(name);
  await untilVm(bed, running.id, ({ phase }) => phase === "deleted");
  return { times: { runningMs, loginMs }, kept };
}

/** The domain as Muster describes it, its seed, and the image that its disk is a clone of. */
async function takePattern(bed: QemuSite, vm: VmView): Promise<Pattern> {
  const { folder, scratch } = bed;
  const [guests, images] = ["guests", "images"].map((name) => join(folder, HOST, "state", name)) as [string, string];
  const uri = virshUri(bed, HOST);
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
async function byHand(bed: QemuSite, pattern: Pattern): Promise<Times> {
  const { scratch } = bed;
  const uri = virshUri(bed, HOST);
  const id = randomUUID();
  const folder = join(scratch, id);
  const xml = join(scratch, `${id}.xml`);
  const startMs = performance.now();
  await run("mkdir", [folder]);
  await clone(pattern.base, join(folder, "disk.qcow2"));
  copyFileSync(pattern.seed, join(folder, "seed.iso"));
  writeFileSync(xml, pattern.xml.replaceAll("NAME-OF-VM", id));
  await run("virsh", ["--connect", uri, "--quiet", "create", xml]);
  const runningMs = performance.now() - startMs;
  await login(bed, pattern.address);
  const loginMs = performance.now() - startMs;
  await run("virsh", ["--connect", uri, "--quiet", "destroy", id]);
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

await onQemuSite({ hosts: 1, loopback: LOOPBACK }, measure);
