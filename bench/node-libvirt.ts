/**
 * node-libvirt against piped virsh: the same question (the state of one domain) to the same daemon in the same run.
 * virsh gets its best case: one process, one connection, all commands in its standard input at once.
 *
 *   node --conditions=muster-source bench/node-libvirt.ts
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Domain, Libvirt, startEmbeddedDaemon } from "node-libvirt";

const ROUNDS = 3;
const ROUND_MS = 300;
const VIRSH_COMMANDS = 1_000;

interface Row {
  readonly name: string;
  readonly callsPerSecond: number;
}

async function main(): Promise<void> {
  const stateDir = await mkdtemp(join(tmpdir(), "nlv-bench-"));
  const daemon = await startEmbeddedDaemon({ stateDir });
  try {
    const libvirt = await Libvirt.open({ socketPath: daemon.socketPath, uri: daemon.uri });
    const domain = await libvirt.domains.lookupByName("test");
    if (domain === undefined) throw new Error("the test driver has no domain");
    const rows = await measure(libvirt, domain, daemon.socketPath);
    await libvirt.close();
    print(rows);
  } finally {
    await daemon.stop();
    await rm(stateDir, { recursive: true, force: true });
  }
}

/** Medians of rounds that take turns, so that a busy moment of the machine hits all alike. */
async function measure(libvirt: Libvirt, domain: Domain, socketPath: string): Promise<readonly Row[]> {
  const state = () => libvirt.domains.state(domain);
  const info = () => libvirt.domains.info(domain);
  const runs: Readonly<Record<string, () => Promise<number>>> = {
    "virsh, piped domstate": () => pipedVirsh(socketPath),
    "node-libvirt state, 1 in flight": () => calls(state, 1),
    "node-libvirt state, 4 in flight": () => calls(state, 4),
    "node-libvirt info, 1 in flight": () => calls(info, 1),
    "node-libvirt info, 4 in flight": () => calls(info, 4),
  };
  const hasVirsh = spawnSync("virsh", ["--version"]).status === 0;
  const names = Object.keys(runs).filter((name) => hasVirsh || !name.startsWith("virsh"));
  const results = new Map<string, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of names) results.get(name)?.push((await runs[name]?.()) ?? 0);
  }
  return names.map((name) => ({ name, callsPerSecond: median(results.get(name) ?? []) }));
}

async function calls(call: () => Promise<unknown>, inFlight: number): Promise<number> {
  const start = performance.now();
  let done = 0;
  const worker = async () => {
    while (performance.now() - start < ROUND_MS) {
      await call();
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  return (done * 1_000) / (performance.now() - start);
}

/** Commands per second from the first answer on, so that virsh's start and its connecting do not count. */
async function pipedVirsh(socketPath: string): Promise<number> {
  const command = "domstate test";
  const uri = `test+unix:///default?socket=${socketPath}`;
  const virsh = spawn("virsh", ["-q", "-c", uri], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => virsh.once("close", resolve));
  // virsh echoes nothing between answers, so a word that it echoes on command marks where they begin and end.
  try {
    virsh.stdin?.write(`${command}\necho begin\n`);
    await heard(virsh, "begin");
    const start = performance.now();
    virsh.stdin?.end(`${`${command}\n`.repeat(VIRSH_COMMANDS)}echo finish\n`);
    await heard(virsh, "finish");
    return (VIRSH_COMMANDS * 1_000) / (performance.now() - start);
  } finally {
    virsh.kill();
    await ended;
  }
}

function heard(virsh: ChildProcess, word: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let tail = "";
    const listen = (chunk: Buffer) => {
      tail = (tail + chunk.toString()).slice(-64);
      if (!tail.includes(word)) return;
      virsh.stdout?.off("data", listen);
      resolve();
    };
    virsh.stdout?.on("data", listen);
    virsh.once("error", reject);
    virsh.once("exit", (code) => reject(new Error(`virsh ended with ${code} before it said ${word}`)));
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function print(rows: readonly Row[]): void {
  const virsh = rows.find((row) => row.name.startsWith("virsh"));
  const width = Math.max(...rows.map((row) => row.name.length));
  process.stdout.write(`${"".padEnd(width)}   calls/s   of piped virsh domstate\n`);
  for (const { name, callsPerSecond } of rows) {
    const ratio = virsh === undefined ? "no virsh here" : `${(callsPerSecond / virsh.callsPerSecond).toFixed(2)}x`;
    process.stdout.write(`${name.padEnd(width)}  ${callsPerSecond.toFixed(0).padStart(8)}   ${ratio}\n`);
  }
}

await main();
