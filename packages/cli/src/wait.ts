import { backoffMs, type Result, systemClock, systemRng } from "@muster/base";
import type { SiteClient } from "@muster/client";
import type { Refusal, VmView } from "@muster/protocol";
import { CommandFailed, EXIT, failedBy } from "./exit-code.ts";
import { say } from "./terminal.ts";

const WAIT_MS_DEFAULT = 120_000;

/** `--wait` alone waits two minutes, `--wait=30s` as long as it says, without it nothing is waited for. */
export type Wait = number | true | undefined;

/** Phases that nothing follows: waiting for another one would be in vain. */
const OVER: ReadonlySet<VmView["phase"]> = new Set(["refused", "cancelled", "expired", "deleted"]);

/** What is waited for: read again until it is done; how it stands is shown on stderr where that is a terminal. */
export type Awaited<Value> = {
  readonly read: () => Promise<Value>;
  readonly done: (value: Value) => boolean;
  readonly progress: (value: Value) => string;
  /** What keeps it, where the time was not enough. */
  readonly why?: (value: Value) => Promise<string>;
  /** Throws where nothing will come of it any more. */
  readonly check?: (value: Value) => void;
};

export async function waitFor<Value>(awaited: Awaited<Value>, wait: Exclude<Wait, undefined>): Promise<Value> {
  const deadlineMs = systemClock.nowMs() + (wait === true ? WAIT_MS_DEFAULT : wait);
  let shown = "";
  for (let attempt = 0; ; attempt += 1) {
    const value = await awaited.read();
    if (awaited.done(value)) return value;
    const progress = awaited.progress(value);
    if (progress !== shown && process.stderr.isTTY) say(progress);
    shown = progress;
    awaited.check?.(value);
    const pauseMs = backoffMs({ attempt: Math.min(attempt, 4), baseMs: 50, maxMs: 1_000 }, systemRng);
    if (systemClock.nowMs() + pauseMs > deadlineMs)
      throw new CommandFailed(`still waiting: ${progress}${(await awaited.why?.(value)) ?? ""}`, EXIT.timedOut);
    await new Promise<void>((resolve) => systemClock.setTimer(pauseMs, resolve));
  }
}

/** Waits until `done` holds of every VM. */
export function waitForVms(
  client: SiteClient,
  ids: readonly string[],
  wait: Exclude<Wait, undefined>,
  done: (vm: VmView) => boolean,
): Promise<readonly VmView[]> {
  return waitFor(
    {
      read: () => Promise.all(ids.map(async (id) => expectValue(await client.vm(id)))),
      done: (vms) => vms.every(done),
      progress: progressOf,
      why: (vms) => whyOf(client, vms),
      check(vms) {
        const over = vms.find((vm) => OVER.has(vm.phase) && !done(vm));
        if (over === undefined) return;
        const why = over.reason === undefined ? "" : `: ${over.reason}`;
        throw new CommandFailed(`${over.name} is ${over.phase}${why}`, EXIT.failed);
      },
    },
    wait,
  );
}

/** The value of an answer, or the refusal thrown with its exit code. */
export function expectValue<Value>(answer: Result<Value, Refusal>): Value {
  if (answer.ok) return answer.value;
  throw failedBy(answer.error);
}

/** What keeps the first VM of the queue waiting, in one sentence (P4). */
async function whyOf(client: SiteClient, vms: readonly VmView[]): Promise<string> {
  const queued = vms.find(({ phase }) => phase === "queued");
  const why = queued === undefined ? undefined : await client.why(queued.id);
  return why?.ok === true ? ` (${why.value.summary})` : "";
}

function progressOf(vms: readonly VmView[]): string {
  const counts = new Map<string, number>();
  for (const { phase } of vms) counts.set(phase, (counts.get(phase) ?? 0) + 1);
  return [...counts].map(([phase, count]) => `${count} ${phase}`).join(", ");
}
