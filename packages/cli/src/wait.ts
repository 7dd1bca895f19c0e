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

/** Waits until `done` holds of every VM; follows the VMs' phases on stderr where that is a terminal. */
export async function waitForVms(
  client: SiteClient,
  ids: readonly string[],
  wait: Exclude<Wait, undefined>,
  done: (vm: VmView) => boolean,
): Promise<readonly VmView[]> {
  const deadlineMs = systemClock.nowMs() + (wait === true ? WAIT_MS_DEFAULT : wait);
  let shown = "";
  for (let attempt = 0; ; attempt += 1) {
    const vms = await Promise.all(ids.map(async (id) => expectValue(await client.vm(id))));
    if (vms.every(done)) return vms;
    const progress = progressOf(vms);
    if (progress !== shown && process.stderr.isTTY) say(progress);
    shown = progress;
    const over = vms.find((vm) => OVER.has(vm.phase) && !done(vm));
    if (over !== undefined) {
      const why = over.reason === undefined ? "" : `: ${over.reason}`;
      throw new CommandFailed(`${over.name} is ${over.phase}${why}`, EXIT.failed);
    }
    const pauseMs = backoffMs({ attempt: Math.min(attempt, 4), baseMs: 50, maxMs: 1_000 }, systemRng);
    if (systemClock.nowMs() + pauseMs > deadlineMs)
      throw new CommandFailed(`still waiting: ${progress}${await whyOf(client, vms)}`, EXIT.timedOut);
    await new Promise<void>((resolve) => systemClock.setTimer(pauseMs, resolve));
  }
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
