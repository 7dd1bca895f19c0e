/**
 * A fence agent as clusters have them (https://github.com/ClusterLabs/fence-agents/blob/main/doc/FenceAgentAPI.md): options by
 * standard input, `action=off`, then `action=status`, which ends with 0 for on and 2 for off.
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { type FenceAgent, type FenceOutcome, type PowerState, untilOff } from "./fence-agent.ts";

/** Of what the agent says, so much is kept for the reason (S2). */
const SAID_MAX = 300;

export type ProgramAgentOptions = {
  readonly program: string;
  readonly optionsFile: string;
  readonly pause: (durationMs: number) => Promise<void>;
};

export function programAgent({ program, optionsFile, pause }: ProgramAgentOptions): FenceAgent {
  const run = async (action: "off" | "status", signal: AbortSignal): Promise<Ended> => {
    const options = await readFile(optionsFile, "utf8").catch(() => undefined);
    if (options === undefined) return { code: undefined, said: `its options file ${optionsFile} cannot be read` };
    const own = options.split("\n").filter((line) => !/^\s*(action|option)\s*=/.test(line));
    return runOnce(program, `${own.join("\n")}\naction=${action}\n`, signal);
  };
  return {
    async powerOff(signal): Promise<FenceOutcome> {
      const off = await run("off", signal);
      if (off.code !== 0) return { kind: "failed", reason: `${program} did not switch it off: ${off.said}` };
      return untilOff(async () => stateOf(await run("status", signal)), pause, signal);
    },
  };
}

type Ended = { readonly code: number | undefined; readonly said: string };

function stateOf({ code, said }: Ended): PowerState {
  if (code === 2) return { kind: "off" };
  return code === 0 ? { kind: "on" } : { kind: "unknown", reason: said };
}

/** Runs in a process group of its own, which is killed when the time is over. */
function runOnce(program: string, input: string, signal: AbortSignal): Promise<Ended> {
  return new Promise((settle) => {
    const child = spawn(program, [], { detached: true, env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } });
    let said = "";
    const kill = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended already.
      }
    };
    const end = (ended: Ended): void => {
      signal.removeEventListener("abort", kill);
      settle(ended);
    };
    if (signal.aborted) kill();
    signal.addEventListener("abort", kill);
    // What an agent prints may repeat its options: only what it says of errors is kept, without them.
    child.stderr.on("data", (part: Buffer) => {
      if (said.length < SAID_MAX) said += part.toString("utf8");
    });
    child.stdout.resume();
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    child.on("error", (cause) => end({ code: undefined, said: cause.message }));
    child.on("close", (code) => {
      const why = signal.aborted ? "it did not end in time" : withoutSecrets(said, input) || `it ended with ${code}`;
      end({ code: signal.aborted ? undefined : (code ?? undefined), said: why });
    });
  });
}

/** S3: values of the options are not told. */
function withoutSecrets(said: string, input: string): string {
  let clean = said.slice(0, SAID_MAX);
  for (const line of input.split("\n")) {
    const value = line.slice(line.indexOf("=") + 1).trim();
    if (line.includes("=") && value.length > 2) clean = clean.replaceAll(value, "…");
  }
  return clean.replace(/\p{Cc}/gu, " ").trim();
}
