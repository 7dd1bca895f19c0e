/** A site whose hosts move VMs alive, brought to each stage of a move; P1 is looked at after every step. */
import type { VmSpec } from "@muster/protocol";
import { expect } from "vitest";
import { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { ADMIN, ScriptedSite, type SiteOptions, SMALL } from "../core/scripted-site.fixture.ts";
import type { MoveRecord } from "./move-record.ts";

/** Time in which everything that was asked without an answer was asked again. */
export const LONG_MS = 40_000;

export function movingHost(name: string): ScriptedHost {
  const host = new ScriptedHost(name);
  host.moves = true;
  return host;
}

/** Two hosts, or as many as are named; `web` runs on `h1`. */
export function movingSite(
  names: readonly string[] = ["h1", "h2"],
  options: SiteOptions = {},
  spec: Partial<VmSpec> = {},
): ScriptedSite {
  const [first, ...others] = names.map(movingHost);
  if (first === undefined) throw new Error("a site needs a host");
  const alpha = new ScriptedSite({ ...options, hosts: [first] });
  alpha.check = () => {
    for (const { id } of alpha.core.views.vms()) expect(runningOn(alpha, id).length).toBeLessThan(2);
  };
  alpha.create({ name: "web", spec: { ...SMALL, ...spec } });
  alpha.flow();
  for (const host of others) alpha.add(host);
  alpha.advance(1_000);
  return alpha;
}

/** Hosts on which the guest executes. */
export function runningOn(alpha: ScriptedSite, vm: string): string[] {
  return [...alpha.hosts.values()].filter(({ mover }) => mover.runs(vm)).map(({ name }) => name);
}

export function hostNamed(alpha: ScriptedSite, name: string): ScriptedHost {
  const host = alpha.hosts.get(name);
  if (host === undefined) throw new Error(`there is no host ${name}`);
  return host;
}

export function migrate(alpha: ScriptedSite, to?: string, vm = "web") {
  const answer = alpha.ask({ kind: "vm-move", actor: ADMIN, vm, wish: { kind: "begin", to } });
  alpha.flow();
  return answer;
}

export function cancel(alpha: ScriptedSite, vm = "web") {
  const answer = alpha.ask({ kind: "vm-move", actor: ADMIN, vm, wish: { kind: "cancel" } });
  alpha.flow();
  return answer;
}

export function fence(alpha: ScriptedSite, host: string) {
  hostNamed(alpha, host).powerOff();
  alpha.advance(10_000);
  const answer = alpha.ask({ kind: "host-fence", actor: ADMIN, host });
  alpha.flow();
  return answer;
}

export function stored(alpha: ScriptedSite, vm = "web") {
  return alpha.store.get(`vm/${alpha.vm(vm).id}`) as {
    readonly move?: MoveRecord;
    readonly leftover?: { readonly dead?: true };
    readonly attempt: number;
  };
}

/** `web` is on its way from h1 to h2 and has come to this stage, where it stands still until `goOn`. */
export function movedTo(
  stage: MoveRecord["stage"],
  names: readonly string[] = ["h1", "h2"],
  spec: Partial<VmSpec> = {},
): ScriptedSite {
  const alpha = movingSite(names, {}, spec);
  const [from, to] = [hostNamed(alpha, "h1").mover, hostNamed(alpha, "h2").mover];
  if (stage === "copying") from.open.add("perform");
  if (stage === "finishing") to.open.add("finish");
  if (stage === "confirming") from.open.add("confirm");
  if (stage === "abandoning") {
    to.failing.add("finish");
    to.open.add("abandon");
  }
  if (stage === "resuming") {
    from.failing.add("perform");
    from.open.add("resume");
  }
  expect(migrate(alpha, "h2")).toMatchObject({ kind: "vm" });
  expect(stored(alpha).move?.stage).toBe(stage);
  return alpha;
}

/** What kept it open answers; questions that were asked before are asked again. */
export function goOn(alpha: ScriptedSite): void {
  for (const { mover } of alpha.hosts.values()) mover.open.clear();
  alpha.advance(LONG_MS);
}

/** Whichever way the move ended: one place by record and in truth, and nothing of it left anywhere. */
export function expectAtRest(alpha: ScriptedSite, host: string, vm = "web"): void {
  expect(alpha.vm(vm)).toMatchObject({ phase: "running", place: { kind: "host", host } });
  expect(alpha.vm(vm).move).toBeUndefined();
  // What a host that was declared dead may bring back is kept in mind, and asks nobody anything.
  expect([undefined, true]).toContain(stored(alpha, vm).leftover?.dead ?? stored(alpha, vm).leftover);
  const { id } = alpha.vm(vm);
  expect(runningOn(alpha, id)).toEqual([host]);
  for (const other of alpha.hosts.values()) {
    if (!other.up) continue;
    expect(other.mover.marks.size, other.name).toBe(0);
    const there = other.attempts.get(id)?.state;
    if (other.name !== host) expect([undefined, "void", "gone", "failed"], other.name).toContain(there);
  }
}

/** Room that is free by the site's own count. */
export function freeOn(alpha: ScriptedSite, host: string) {
  return alpha.core.views.host(host, alpha.nowMs)?.free;
}
