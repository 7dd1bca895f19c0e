import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The model; Spin and a C compiler (tcc, which is small and quick) turn it into a program that tries everything. */
export const MODEL = join(import.meta.dirname, "attempts-and-terms.pml");

/** What the model can drop, and the claim that then is broken. */
export const DROPPED = [
  { rule: "NO_TERM_CAS", claim: "L1_two_leaders_in_a_term" },
  { rule: "NO_TERM_GUARD", claim: "L2_a_deposed_leader_changed_the_record" },
  { rule: "NO_COMMIT_GUARD", claim: "P1_the_VM_runs_in_two_places" },
  { rule: "ANSWER_BEFORE_STORE", claim: "L3_an_accepted_request_is_forgotten" },
  { rule: "SEND_BEFORE_STORE", claim: "P1_the_VM_runs_in_two_places" },
  { rule: "RESTART_ON_SILENCE", claim: "P1_the_VM_runs_in_two_places" },
  { rule: "OTHER_ATTEMPTS_WORD", claim: "P1_the_VM_runs_in_two_places" },
  { rule: "NO_FENCE", claim: "H1_a_host_obeyed_a_lower_term" },
  { rule: "FENCE_NOT_STORED", claim: "H1_a_host_obeyed_a_lower_term" },
  { rule: "NO_VOID_TOMBSTONE", claim: "H5_an_attempt_started_that_was_over" },
  { rule: "TOMBSTONE_NOT_STORED", claim: "H5_an_attempt_started_that_was_over" },
  { rule: "TURN_DOWN_NOT_STORED", claim: "H5_an_attempt_started_that_was_over" },
  { rule: "ACT_BEFORE_JOURNAL", claim: "H5_an_attempt_started_that_was_over" },
  { rule: "START_ENDED_AGAIN", claim: "H5_an_attempt_started_that_was_over" },
  { rule: "OLD_ATTEMPT_STARTS", claim: "H5_an_attempt_started_that_was_over" },
] as const;

/** Good states that there has to be a way to: a model in which nothing happens would keep every claim. */
export const SHOWN = [
  { show: 1, state: "the VM runs and its user was told" },
  { show: 2, state: "two attempts are over on one host, the third runs on the other" },
  { show: 3, state: "a leader of the last term has the VM running, and both hosts obey it" },
  { show: 4, state: "two managers believe that they lead, and both try to store something" },
] as const;

export type ModelVerdict =
  | { readonly kind: "holds"; readonly states: number; readonly memoryMiB: number }
  | {
      readonly kind: "broken";
      /** The assertion that failed. */
      readonly claim: string;
      /** How it came about, a line a deed. */
      readonly story: readonly string[];
    };

/** Memory that the search may take; beyond it, it breaks off and throws (S2). */
const MEMORY_MIB_MAX = 512;
/** Longest run of steps that is followed; the model's longest is far below. */
const DEPTH_MAX = 10_000;
/** For a machine that has much else to do: a quiet core needs 2 s for the longest. */
const STEP_MS_MAX = 75_000;
const OUTPUT_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Tries every order of events of the model with these macros defined (`["NO_FENCE"]`). `shortest` finds the shortest
 * way to a broken claim, which takes longer. Throws when Spin or the compiler fails, or the search was not complete.
 */
export async function checkModel(defines: readonly string[], shortest = false): Promise<ModelVerdict> {
  const folder = await mkdtemp(join(tmpdir(), "muster-model-"));
  try {
    // Spin would run gcc as its preprocessor.
    await run(folder, "spin", ["-a", "-Ptcc -E -x c", ...defines.map((name) => `-D${name}`), MODEL]);
    const search = ["-DSAFETY", "-DNOREDUCE", `-DMEMLIM=${MEMORY_MIB_MAX}`, ...(shortest ? ["-DBFS"] : [])];
    await run(folder, "tcc", [...search, "-o", "pan", "pan.c"]);
    // -E: a run that comes to rest, all attempts used up, is no fault. -w: the hash table grows from 2^20 slots.
    const output = await run(folder, join(folder, "pan"), ["-E", "-n", "-w20", `-m${DEPTH_MAX}`]);
    const broken = /assertion violated (.*) \(at depth/.exec(output)?.[1];
    if (broken !== undefined) return { kind: "broken", claim: nameOf(broken), story: await storyIn(folder) };
    return verdictOf(output);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function verdictOf(output: string): ModelVerdict {
  const [, errors] = /errors: (\d+)/.exec(output) ?? [];
  const [, states] = /(\d+) states, stored/.exec(output) ?? [];
  const [, memoryMiB] = /([\d.]+)\s+total actual memory usage/.exec(output) ?? [];
  if (errors !== "0" || states === undefined || /not completed|max search depth too small|truncated/.test(output))
    throw new Error(`the search was not complete:\n${output.slice(-2_000)}`);
  return { kind: "holds", states: Number(states), memoryMiB: Number(memoryMiB) };
}

/** `!(P1_…)` is the assertion; the name says what came true. */
function nameOf(assertion: string): string {
  return assertion.trim().replace(/^!\((.*)\)$/, "$1");
}

/** The deeds that the model prints when a trail is replayed. */
async function storyIn(folder: string): Promise<readonly string[]> {
  const output = await run(folder, join(folder, "pan"), ["-r", "-S", "attempts-and-terms.pml.trail"]);
  return output
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => /^(manager|store|host|hypervisor)\b/.test(line));
}

/** Runs a program to its end; what it prints is the answer. Throws when it cannot be run or says that it failed. */
function run(folder: string, program: string, parameters: readonly string[]): Promise<string> {
  const options = { cwd: folder, timeout: STEP_MS_MAX, maxBuffer: OUTPUT_BYTES_MAX, killSignal: "SIGKILL" } as const;
  return new Promise((resolve, reject) => {
    execFile(program, parameters, options, (error, stdout, stderr) => {
      const output = `${stdout}${stderr}`;
      // A replay of a trail ends with 1 by its own nature.
      if (error === null || parameters[0] === "-r") resolve(output);
      else reject(new Error(`${program} ${parameters.join(" ")}: ${error.message}\n${output.slice(-2_000)}`));
    });
  });
}
