/** What crashes, silence and wrong vouching lead to. */
import { describe, expect, it } from "vitest";
import { ScriptedHost } from "./scripted-host.fixture.ts";
import { ADMIN, ANN, POLICY, ScriptedSite } from "./scripted-site.fixture.ts";

function site(hosts = 2): ScriptedSite {
  return new ScriptedSite({ hosts: Array.from({ length: hosts }, (_, index) => new ScriptedHost(`h${index + 1}`)) });
}

function hostOf(alpha: ScriptedSite, name: string): ScriptedHost {
  const { place } = alpha.vm(name);
  const host = place.kind === "host" ? alpha.hosts.get(place.host) : undefined;
  if (host === undefined) throw new Error(`${name} has no host`);
  return host;
}

const commands = (alpha: ScriptedSite) =>
  alpha.effects.flatMap((effect) => (effect.kind === "command" ? [`${effect.host} ${effect.command.action}`] : []));

describe("after a start", () => {
  it("L4: says hello to every host, and places and orders nothing before their lists were heard", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    alpha.create({ name: "wait", spec: { image: "debian-12", vcpus: 8, memoryMiB: 64, diskGiB: 1 }, count: 2 });
    alpha.flow();
    alpha.effects.splice(0);
    alpha.restart();
    expect(alpha.effects.filter(({ kind }) => kind === "hello")).toHaveLength(2);
    expect(alpha.core.views.site(alpha.nowMs).reconciled).toBe(false);
    alpha.create({ name: "more" });
    alpha.step({ kind: "tick" });
    expect(commands(alpha)).toEqual([]);
    expect(alpha.core.views.why("more", alpha.nowMs)?.summary).toContain("listens for its hosts first");
    alpha.advance(1_000);
    expect(alpha.core.views.site(alpha.nowMs).reconciled).toBe(true);
    expect(alpha.vm("more").phase).toBe("running");
  });

  it("L4: waits for silent hosts no longer than the settling time, and then leaves them out", () => {
    const alpha = site();
    const [dead, late] = [...alpha.hosts.values()];
    if (dead === undefined || late === undefined) throw new Error("two hosts are needed");
    dead.up = false;
    late.up = false;
    alpha.restart();
    alpha.create({ name: "web" });
    late.up = true;
    alpha.restart();
    alpha.advance(POLICY.timing.settleMs - 500);
    expect(alpha.vm("web").phase).toBe("queued");
    alpha.advance(1_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", place: { host: "h2" } });
  });

  it("H5: starts what was stored but never sent by the same attempt", () => {
    const alpha = site(1);
    alpha.create({ name: "web" });
    alpha.restart();
    alpha.advance(2_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 1 });
    expect(alpha.hosts.get("h1")?.started).toHaveLength(1);
  });

  it("carries on with a delete that was stored", () => {
    const alpha = site(1);
    alpha.create({ name: "web" });
    alpha.flow();
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web" });
    alpha.restart();
    alpha.advance(2_000);
    expect(alpha.vm("web").phase).toBe("deleted");
    expect(alpha.hosts.get("h1")?.attempts.size).toBe(0);
  });

  it("refuses to start from a damaged record, naming its key", () => {
    const alpha = site(1);
    alpha.create({ name: "web" });
    const key = `vm/${alpha.vm("web").id}`;
    const value = alpha.store.get(key);
    alpha.store.set(key, { ...(typeof value === "object" ? value : {}), phase: "flying", attempt: -1 });
    expect(() => alpha.restart()).toThrow(`the stored record ${key} is damaged: phase: `);
    alpha.store.delete(key);
    alpha.store.set("vm/other", value);
    expect(() => alpha.restart()).toThrow("its content belongs under");
  });
});

describe("a host that is not heard", () => {
  it("P1: its VMs are in doubt and stay; they are as before when it is heard again", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const host = hostOf(alpha, "web");
    host.up = false;
    alpha.advance(3_500);
    expect(alpha.core.views.host(host.name, alpha.nowMs)?.liveness).toBe("suspect");
    expect(alpha.vm("web").phase).toBe("running");
    alpha.advance(4_000);
    expect(alpha.core.views.host(host.name, alpha.nowMs)?.liveness).toBe("lost");
    expect(alpha.vm("web")).toMatchObject({
      phase: "in-doubt",
      attempt: 1,
      reason: `its host ${host.name} is not heard`,
    });
    alpha.advance(60_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "in-doubt", place: { host: host.name } });
    host.up = true;
    alpha.advance(2_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 1, place: { host: host.name } });
  });

  it("P1: restarts elsewhere what its host says is gone, by the next attempt", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const host = hostOf(alpha, "web");
    host.powerOff();
    alpha.advance(10_000);
    expect(alpha.vm("web").phase).toBe("in-doubt");
    host.boot(alpha.newId());
    alpha.advance(3_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 2 });
  });

  it("P1: an admin's word that the host is dead lets its VMs start elsewhere, but not while it is heard", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const host = hostOf(alpha, "web");
    expect(alpha.ask({ kind: "host-fence", actor: ADMIN, host: host.name })).toMatchObject({
      kind: "refused",
      refusal: { reason: "host-alive" },
    });
    host.powerOff();
    alpha.advance(8_000);
    expect(alpha.ask({ kind: "host-fence", actor: ADMIN, host: host.name })?.kind).toBe("host");
    alpha.advance(1_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 2 });
    expect(hostOf(alpha, "web").name).not.toBe(host.name);
  });

  it("P3: what was to go with a host that is not heard is over with the word that it is dead, and waits for nothing", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const host = hostOf(alpha, "web");
    host.powerOff();
    alpha.advance(8_000);
    const { id } = alpha.vm("web");
    alpha.ask({ kind: "vm-delete", actor: ADMIN, vm: id });
    expect(alpha.core.views.why(id, alpha.nowMs)?.summary).toContain("is not heard");
    alpha.ask({ kind: "host-fence", actor: ADMIN, host: host.name });
    expect(alpha.core.views.why(id, alpha.nowMs)?.summary).toBe("it is deleted");
  });

  it("P1: after a wrong word the old attempt is removed once the new one is confirmed, and shown until then", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const host = hostOf(alpha, "web");
    host.up = false;
    alpha.advance(8_000);
    alpha.ask({ kind: "host-fence", actor: ADMIN, host: host.name });
    alpha.advance(1_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 2 });
    host.up = true;
    alpha.advance(3_000);
    expect(host.list().filter(({ state }) => state === "running")).toEqual([]);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 2 });
  });

  it("P1: is placed nowhere while an attempt that was declared dead is still alive", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const host = hostOf(alpha, "web");
    host.up = false;
    alpha.advance(8_000);
    alpha.ask({ kind: "host-fence", actor: ADMIN, host: host.name });
    alpha.advance(1_000);
    const { act } = host;
    host.act = () => {};
    host.up = true;
    alpha.advance(3_000);
    hostOf(alpha, "web").fail(alpha.vm("web").id);
    alpha.advance(60_000);
    expect(alpha.vm("web")).toMatchObject({
      phase: "queued",
      reason: `an earlier attempt is still alive on ${host.name}`,
    });
    host.act = act;
    alpha.advance(60_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 3 });
  });

  it("P1: what was declared dead and waits is found alive on its host instead of started a second time", () => {
    const alpha = site(1);
    alpha.create({ name: "web" });
    alpha.flow();
    const host = hostOf(alpha, "web");
    host.up = false;
    alpha.advance(8_000);
    alpha.ask({ kind: "host-fence", actor: ADMIN, host: host.name });
    alpha.advance(1_000);
    expect(alpha.vm("web").phase).toBe("queued");
    alpha.add(new ScriptedHost("h2", { vcpus: 1, memoryMiB: 64, diskGiB: 1, gpus: 0 }));
    host.up = true;
    alpha.advance(3_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 1, place: { host: "h1" } });
    expect(host.started).toHaveLength(1);
  });

  it("S2: asks for no more ticks than there is to do, also with hosts lost, commands unanswered or the link away", () => {
    const alpha = site();
    for (const host of alpha.hosts.values()) host.command = () => ({ kind: "unknown" });
    alpha.create({ name: "web", count: 3 });
    const ticks = () => {
      let count = 0;
      alpha.check = () => {
        count += 1;
      };
      alpha.advance(60_000);
      return count;
    };
    expect(ticks()).toBeLessThan(2_000);
    for (const host of alpha.hosts.values()) host.up = false;
    expect(ticks()).toBeLessThan(500);
    alpha.setLink(false);
    alpha.restart();
    expect(ticks()).toBeLessThan(500);
  });

  it("is not judged by our own silence: with our link away nothing is lost, and time to settle is given after it", () => {
    const alpha = site(1);
    alpha.create({ name: "web" });
    alpha.flow();
    alpha.setLink(false);
    alpha.advance(60_000);
    expect(alpha.core.views.host("h1", alpha.nowMs)?.liveness).toBe("unknown");
    expect(alpha.vm("web").phase).toBe("running");
    alpha.setLink(true);
    alpha.advance(1_000);
    expect(alpha.core.views.host("h1", alpha.nowMs)?.liveness).toBe("alive");
    expect(alpha.vm("web").phase).toBe("running");
  });
});

describe("hosts have the last word", () => {
  it("H4: a busy host's attempt is void, and the VM goes elsewhere by the next one", () => {
    const alpha = site();
    alpha.hosts.get("h1")?.attempts.set("01900000-aaaa-7000-8000-000000000001", {
      vm: "01900000-aaaa-7000-8000-000000000001",
      attempt: 1,
      state: "running",
      spec: { vcpus: 8, memoryMiB: 1_024, diskGiB: 10, gpus: 0 },
    });
    alpha.create({ name: "web" });
    alpha.flow();
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 2, place: { host: "h2" } });
  });

  it("H3: a VM that nobody knows is counted, takes its room, and is left alone", () => {
    const alpha = site(1);
    const stranger = "01900000-aaaa-7000-8000-000000000001";
    const host = alpha.hosts.get("h1");
    host?.attempts.set(stranger, {
      vm: stranger,
      attempt: 1,
      state: "running",
      spec: { vcpus: 7, memoryMiB: 1_024, diskGiB: 10, gpus: 0 },
    });
    alpha.advance(5_000);
    expect(alpha.core.views.host("h1", alpha.nowMs)).toMatchObject({ foreignVms: 1, free: { vcpus: 1 } });
    alpha.create({ name: "web" });
    alpha.advance(60_000);
    expect(alpha.vm("web").phase).toBe("queued");
    expect(host?.attempts.get(stranger)?.state).toBe("running");
    const adopted = alpha.effects.filter(({ kind }) => kind === "event");
    expect(adopted.filter((effect) => JSON.stringify(effect).includes("adopted")).length).toBeLessThan(3);
  });

  it("P3: a VM that ran is placed again however often its hosts lose it, and never refused for that", () => {
    const alpha = site(1);
    alpha.create({ name: "web" });
    alpha.flow();
    for (let attempt = 2; attempt <= 8; attempt += 1) {
      alpha.hosts.get("h1")?.fail(alpha.vm("web").id);
      alpha.advance(40_000);
      expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt });
    }
  });

  it("P3: a VM that fails to start everywhere is refused with the reason after three attempts", () => {
    const alpha = site(3);
    for (const host of alpha.hosts.values())
      host.act = () => {
        for (const { vm } of [...host.work.values()]) host.fail(vm);
      };
    alpha.create({ name: "web" });
    alpha.advance(5_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "refused", attempt: 3 });
    expect(alpha.vm("web").reason).toContain("3 attempts failed");
    expect(new Set([...alpha.hosts.values()].map(({ started }) => started.length))).toEqual(new Set([1]));
  });

  it("a VM that stops by itself is started again in its place, ever more slowly", () => {
    const alpha = site(1);
    alpha.create({ name: "web" });
    alpha.flow();
    for (let round = 0; round < 3; round += 1) {
      alpha.hosts.get("h1")?.fail(alpha.vm("web").id, "stopped");
      alpha.flow();
      alpha.advance(round === 0 ? 500 : 5_000);
      expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 1 });
    }
  });

  it("gives a host that took an order time before it gives it again", () => {
    const alpha = site(1);
    alpha.create({ name: "web" });
    alpha.flow();
    const stops = () => commands(alpha).filter((command) => command === "h1 stop").length;
    const host = hostOf(alpha, "web");
    host.act = () => {};
    alpha.ask({ kind: "vm-action", actor: ANN, vm: "web", action: "stop" });
    alpha.advance(25_000);
    expect(stops()).toBe(1);
    alpha.advance(10_000);
    expect(stops()).toBe(2);
  });

  it("H2: repeats a command that nobody answered under its id, then asks for the attempt to be voided", () => {
    const alpha = site();
    const sent = () => alpha.effects.flatMap((effect) => (effect.kind === "command" ? [effect.command] : []));
    alpha.create({ name: "web" });
    const host = hostOf(alpha, "web");
    const { command } = host;
    host.command = () => ({ kind: "unknown" });
    alpha.advance(20_000);
    const starts = sent().filter(({ action }) => action === "start");
    expect(starts.length).toBe(5);
    expect(new Set(starts.map(({ id }) => id)).size).toBe(1);
    expect(alpha.vm("web")).toMatchObject({ phase: "placing", attempt: 1, place: { host: host.name } });
    expect(sent().some(({ action }) => action === "void")).toBe(true);
    host.command = command;
    alpha.advance(20_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 2 });
    expect(hostOf(alpha, "web").name).not.toBe(host.name);
  });

  it("S2: no host has more commands on their way than it may have", () => {
    const alpha = new ScriptedSite({
      hosts: [new ScriptedHost("h1", { vcpus: 512, memoryMiB: 1e6, diskGiB: 1e5, gpus: 0 })],
    });
    alpha.create({ name: "many", count: 100 });
    expect(commands(alpha).length).toBe(16);
    alpha.flow();
    expect(alpha.core.views.site(alpha.nowMs).vms).toEqual({ running: 100 });
  });
});

describe("what admins do with hosts", () => {
  it("drains, refuses to remove what is not empty, removes what is, and lets nobody else do it", () => {
    const alpha = site();
    alpha.create({ name: "web" });
    alpha.flow();
    const { name } = hostOf(alpha, "web");
    expect(alpha.ask({ kind: "host-drain", actor: ANN, host: name, draining: true })).toMatchObject({
      kind: "refused",
    });
    alpha.ask({ kind: "host-drain", actor: ADMIN, host: name, draining: true });
    alpha.create({ name: "other", count: 4 });
    alpha.flow();
    expect(alpha.core.views.vms().filter(({ place }) => place.kind === "host" && place.host === name)).toHaveLength(1);
    expect(alpha.ask({ kind: "host-remove", actor: ADMIN, host: name })).toMatchObject({
      refusal: { reason: "not-empty" },
    });
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web" });
    alpha.flow();
    expect(alpha.ask({ kind: "host-remove", actor: ADMIN, host: name })?.kind).toBe("host");
    expect(alpha.core.views.host(name, alpha.nowMs)).toBeUndefined();
    expect(alpha.store.has(`host/${name}`)).toBe(false);
    expect(alpha.effects.some((effect) => effect.kind === "forget-host" && effect.host === name)).toBe(true);
  });

  it("hears nothing of a host that is not enrolled", () => {
    const alpha = site(1);
    const stranger = new ScriptedHost("h9");
    stranger.boot(alpha.newId());
    alpha.step({ kind: "host-capacity", host: "h9", capacity: stranger.capacity() });
    const vm = alpha.newId();
    const notices = [{ vm, attempt: 1, state: "running", sequence: 1 } as const];
    expect(alpha.ask({ kind: "host-notices", host: "h9", bootId: stranger.bootId, notices })).toMatchObject({
      kind: "refused",
      refusal: { reason: "not-enrolled" },
    });
    expect(alpha.core.views.hosts(alpha.nowMs)).toHaveLength(1);
  });
});
