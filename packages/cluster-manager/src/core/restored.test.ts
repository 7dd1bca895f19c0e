/** What a restored store makes of what its hosts say. */
import type { CommandSubject, ListedVm } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { birthOf } from "./adoption.ts";
import { RESTORE_KEY, type RestoreRecord } from "./restore-record.ts";
import { ScriptedHost } from "./scripted-host.fixture.ts";
import { ADMIN, ANN, ScriptedSite, SMALL } from "./scripted-site.fixture.ts";

/** A host that tells what was ordered of it, as a host manager does. */
class TellingHost extends ScriptedHost {
  readonly subjects = new Map<string, CommandSubject>();

  override command(command: Parameters<ScriptedHost["command"]>[0]) {
    if (command.subject !== undefined) this.subjects.set(command.vm, command.subject);
    return super.command(command);
  }

  override list(): ListedVm[] {
    return super.list().map((entry) => {
      const subject = this.subjects.get(entry.vm);
      return subject === undefined ? entry : { ...entry, subject };
    });
  }
}

const TERM = 1_001;

function site(hosts = 2): ScriptedSite {
  return new ScriptedSite({ hosts: Array.from({ length: hosts }, (_, index) => new TellingHost(`h${index + 1}`)) });
}

function hostOf(alpha: ScriptedSite, name: string): ScriptedHost {
  const { place } = alpha.vm(name);
  const host = place.kind === "host" ? alpha.hosts.get(place.host) : undefined;
  if (host === undefined) throw new Error(`${name} has no host`);
  return host;
}

/** What `muster restore` makes of a copy of the records. */
function putBack(alpha: ScriptedSite, copy: ReadonlyMap<string, unknown>, mark: Partial<RestoreRecord> = {}): void {
  const bornAtMs = birthOf("01900000-0061-7000-8000-000000000001") ?? 0;
  alpha.store.clear();
  for (const [key, value] of copy)
    alpha.store.set(key, key.startsWith("vm/") ? { ...(value as object), attemptFloor: TERM - 1 } : value);
  const record: RestoreRecord = {
    state: "pending",
    source: "backup",
    takenAtMs: bornAtMs,
    restoredAtMs: bornAtMs,
    attemptFloor: TERM - 1,
    ...mark,
  };
  alpha.store.set(RESTORE_KEY, record);
  Object.assign(alpha.policy, { term: TERM });
  alpha.effects.splice(0);
  alpha.restart();
}

const copyOf = (alpha: ScriptedSite): ReadonlyMap<string, unknown> => structuredClone(alpha.store);
const commands = (alpha: ScriptedSite) =>
  alpha.effects.flatMap((effect) => (effect.kind === "command" ? [`${effect.command.action} ${effect.host}`] : []));

describe("a restored store", () => {
  it("L4: orders and places nothing before every host was heard, however long one is silent", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const copy = copyOf(alpha);
    const silent = [...alpha.hosts.values()].find((host) => host !== hostOf(alpha, "web"));
    if (silent === undefined) throw new Error("two hosts are needed");
    silent.up = false;
    putBack(alpha, copy);
    alpha.create({ name: "new" });
    alpha.advance(60_000);
    expect(commands(alpha)).toEqual([]);
    expect(alpha.vm("new").phase).toBe("queued");
    expect(alpha.core.views.store().restore).toMatchObject({ state: "pending", waitingFor: [silent.name] });

    silent.up = true;
    alpha.advance(5_000);
    expect(alpha.vm("new").phase).toBe("running");
    expect(alpha.core.views.store().restore).toMatchObject({ state: "settled", waitingFor: [] });
  });

  it("P1: waits no more for a host that an admin declares dead", () => {
    const alpha = site();
    const copy = copyOf(alpha);
    const [, dead] = [...alpha.hosts.values()];
    if (dead === undefined) throw new Error("two hosts are needed");
    dead.up = false;
    putBack(alpha, copy);
    alpha.create({ name: "new" });
    alpha.advance(30_000);
    expect(alpha.vm("new").phase).toBe("queued");
    alpha.ask({ kind: "host-fence", actor: ADMIN, host: dead.name });
    alpha.advance(5_000);
    expect(alpha.vm("new").phase).toBe("running");
  });

  it("H3: B1: adopts what began after the backup, with its request, and answers a repeat with it", () => {
    const alpha = site();
    const copy = copyOf(alpha);
    alpha.create({ name: "since" });
    alpha.flow();
    const { id, place, attempt } = alpha.vm("since");
    putBack(alpha, copy);
    alpha.advance(5_000);
    expect(alpha.vm("since")).toMatchObject({ id, place, attempt, phase: "running", user: ANN.user, spec: SMALL });
    expect(commands(alpha)).toEqual([]);
    expect(alpha.create({ name: "since" })).toMatchObject({ kind: "request", vms: [id], replay: true });
  });

  it("B1: a request that is repeated before its VM is found gives that VM, and no second one", () => {
    const alpha = site();
    const copy = copyOf(alpha);
    alpha.create({ name: "since" });
    alpha.flow();
    const { id } = alpha.vm("since");
    putBack(alpha, copy);
    alpha.create({ name: "since" });
    alpha.advance(5_000);
    const open = alpha.core.views.vms().filter(({ phase }) => phase !== "cancelled");
    expect(open).toMatchObject([{ id, phase: "running" }]);
    expect(alpha.core.views.request("r-since")?.vms.map((vm) => vm.id)).toEqual([id]);
    expect(commands(alpha)).toEqual([]);
  });

  it("gives an adopted VM another name where a new one has taken its own", () => {
    const alpha = site();
    const copy = copyOf(alpha);
    alpha.create({ name: "web" });
    alpha.flow();
    const { id } = alpha.vm("web");
    putBack(alpha, copy);
    alpha.create({ name: "web" }, "another-request");
    alpha.advance(5_000);
    expect(alpha.core.views.vm(id)).toMatchObject({ name: `web-${id.slice(-8)}`, phase: "running" });
  });

  it("H3: leaves alone, and shows, what is older than the backup and not in it", () => {
    const alpha = site();
    const copy = copyOf(alpha);
    alpha.create({ name: "old" });
    alpha.flow();
    const { id } = alpha.vm("old");
    const host = hostOf(alpha, "old");
    const later = (birthOf(id) ?? 0) + 3_600_000;
    putBack(alpha, copy, { takenAtMs: later, restoredAtMs: later });
    alpha.advance(30_000);
    expect(alpha.core.views.vms()).toEqual([]);
    expect(host.attempts.get(id)).toMatchObject({ state: "running" });
    expect(alpha.core.views.store().strays).toMatchObject([
      { host: host.name, vm: id, name: "old", project: "default" },
    ]);
  });

  it("ends what no host has any more, and says why; what was queued waits on", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.create({ name: "large", spec: { ...SMALL, vcpus: 100 } });
    alpha.flow();
    const copy = copyOf(alpha);
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: alpha.vm("web").id });
    alpha.advance(5_000);
    expect(alpha.vm("web").phase).toBe("deleted");
    putBack(alpha, copy);
    alpha.advance(5_000);
    expect(alpha.vm("web")).toMatchObject({
      phase: "deleted",
      reason: expect.stringContaining("ended after the backup"),
    });
    expect(alpha.vm("large").phase).toBe("queued");
    expect(commands(alpha).filter((command) => command.startsWith("start"))).toEqual([]);
  });

  it("takes what is wanted of a VM from how it is, for its user's last word is not in the backup", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const copy = copyOf(alpha);
    alpha.ask({ kind: "vm-action", actor: ANN, vm: alpha.vm("web").id, action: "stop" });
    alpha.advance(5_000);
    putBack(alpha, copy);
    alpha.advance(10_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "stopped", wanted: "stopped" });
    expect(commands(alpha)).toEqual([]);
  });

  it("goes on with a delete that was asked for before the backup", () => {
    const alpha = site(1);
    alpha.create({ name: "web" });
    alpha.flow();
    const { id } = alpha.vm("web");
    alpha.online = false;
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: id });
    const copy = copyOf(alpha);
    alpha.online = true;
    putBack(alpha, copy);
    alpha.advance(10_000);
    expect(alpha.vm("web").phase).toBe("deleted");
  });

  it("H5: P1: follows a VM that moved since, and gives no number twice to its next place", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const copy = copyOf(alpha);
    const first = hostOf(alpha, "web");
    first.powerOff();
    first.boot(alpha.newId());
    alpha.advance(10_000);
    const { id, attempt } = alpha.vm("web");
    const now = hostOf(alpha, "web");
    expect(attempt).toBeGreaterThan(1);
    putBack(alpha, copy);
    alpha.advance(5_000);
    expect(alpha.vm("web")).toMatchObject({ id, attempt, phase: "running", place: { host: now.name } });
    now.powerOff();
    now.boot(alpha.newId());
    alpha.advance(60_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running" });
    expect(alpha.vm("web").attempt).toBeGreaterThan(TERM - 1);
    const starts = [...alpha.hosts.values()].flatMap(({ started }) => started);
    expect(new Set(starts).size).toBe(starts.length);
  });

  it("lets a host in again that was enrolled after the backup, draining, and knows its VMs", () => {
    const alpha = site(1);
    const copy = copyOf(alpha);
    alpha.add(new TellingHost("h9"));
    alpha.create({ name: "pair", count: 6 });
    alpha.flow();
    const there = alpha.core.views.vms().filter(({ place }) => place.kind === "host" && place.host === "h9");
    expect(there.length).toBeGreaterThan(0);
    putBack(alpha, copy);
    for (const host of alpha.hosts.values())
      alpha.step({ kind: "host-capacity", host: host.name, capacity: host.capacity() });
    alpha.flow();
    alpha.advance(5_000);
    expect(alpha.core.views.host("h9", alpha.nowMs)).toMatchObject({ draining: true, vms: there.length });
    for (const { id } of there) expect(alpha.core.views.vm(id)).toMatchObject({ phase: "running" });
  });

  it("P1: places a VM that may be at a peer only when every lease of it has run out", () => {
    const alpha = site();
    alpha.create({ name: "away", spec: { ...SMALL, vcpus: 7 }, count: 3 });
    alpha.flow();
    const copy = new Map(copyOf(alpha));
    const [waiting] = alpha.core.views.vms().filter(({ phase }) => phase === "queued");
    if (waiting === undefined) throw new Error("one has to wait");
    const record = copy.get(`vm/${waiting.id}`) as object;
    copy.set(`vm/${waiting.id}`, { ...record, notBeforeMs: alpha.nowMs + 60_000 });
    putBack(alpha, copy);
    for (const vm of alpha.core.views.vms())
      if (vm.phase === "running") alpha.ask({ kind: "vm-delete", actor: ANN, vm: vm.id });
    alpha.advance(50_000);
    expect(alpha.core.views.vm(waiting.id)).toMatchObject({ phase: "queued" });
    alpha.advance(20_000);
    expect(alpha.core.views.vm(waiting.id)).toMatchObject({ phase: "running" });
  });
});

describe("hosts that have obeyed a higher term", () => {
  it("H1: keep the site from ordering and placing, and are named; fenced or obeying they do no more", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const [one] = [...alpha.hosts.values()];
    if (one === undefined) throw new Error("a host is needed");
    one.term = 17;
    alpha.advance(2_000);
    alpha.effects.splice(0);
    alpha.create({ name: "new" });
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: alpha.vm("web").id });
    alpha.advance(10_000);
    expect(commands(alpha)).toEqual([]);
    expect(alpha.vm("new").phase).toBe("queued");
    expect(alpha.core.views.store().newerTerms).toEqual([{ host: one.name, term: 17 }]);

    one.up = false;
    alpha.advance(20_000);
    alpha.ask({ kind: "host-fence", actor: ADMIN, host: one.name });
    alpha.advance(10_000);
    expect(alpha.core.views.store().newerTerms).toEqual([]);
    expect(alpha.vm("new").phase).toBe("running");
  });
});
