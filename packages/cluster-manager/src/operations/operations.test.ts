/** What users ask once of their VMs: stored, ordered under one id, ended by the host's word. */
import type { VmOperation } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { ADMIN, ANN, ScriptedSite, SMALL } from "../core/scripted-site.fixture.ts";

function running(options: ConstructorParameters<typeof ScriptedSite>[0] = {}) {
  const host = new ScriptedHost("h1");
  const alpha = new ScriptedSite({ hosts: [host], ...options });
  alpha.create({ name: "web" });
  alpha.flow();
  expect(alpha.vm("web").phase).toBe("running");
  alpha.effects.splice(0);
  let keys = 0;
  const ask = (operation: VmOperation, key = `k-${++keys}`, actor = ANN) =>
    alpha.ask({ kind: "vm-operation", actor, vm: "web", key, operation });
  const done = (operation: VmOperation) => {
    expect(ask(operation)).toMatchObject({ kind: "vm" });
    alpha.flow();
    expect(alpha.vm("web").operation).toMatchObject({ operation, state: "done" });
  };
  const act = (action: "start" | "stop" | "suspend" | "resume" | "reboot", force = false) =>
    alpha.ask({ kind: "vm-action", actor: ANN, vm: "web", action, ...(force ? { force } : {}) });
  return { alpha, host, ask, done, act };
}

const orders = (alpha: ScriptedSite) =>
  alpha.effects.flatMap((effect) => (effect.kind === "command" ? [effect.command] : []));

const REFUSED = (reason: string) => ({ kind: "refused", refusal: { reason } });

describe("save", () => {
  it("ends with the VM stopped because it is saved, and a start goes on from there", () => {
    const { alpha, done, act, ask } = running();
    done({ kind: "save" });
    alpha.advance(5_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "stopped", wanted: "stopped", reason: "saved" });
    expect(ask({ kind: "create-snapshot", name: "a" })).toMatchObject(REFUSED("is-saved"));
    act("start");
    alpha.flow();
    expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 1 });
    done({ kind: "create-snapshot", name: "a" });
  });

  it("is refused of a VM that is stopped", () => {
    const { alpha, ask, act } = running();
    act("stop");
    alpha.flow();
    expect(ask({ kind: "save" })).toMatchObject(REFUSED("is-stopped"));
  });
});

describe("snapshots", () => {
  it("are listed with the VM, gone back to and deleted", () => {
    const { alpha, host, done, ask } = running();
    done({ kind: "create-snapshot", name: "a" });
    expect(alpha.vm("web").snapshots).toMatchObject([{ name: "a", state: "running" }]);
    expect(ask({ kind: "create-snapshot", name: "a" })).toMatchObject(REFUSED("name-taken"));
    expect(ask({ kind: "revert-snapshot", name: "b" })).toMatchObject(REFUSED("unknown-snapshot"));
    host.revertsTo = "stopped";
    done({ kind: "revert-snapshot", name: "a" });
    alpha.advance(5_000);
    expect(alpha.vm("web")).toMatchObject({ phase: "stopped", wanted: "stopped" });
    done({ kind: "delete-snapshot", name: "a" });
    expect(alpha.vm("web").snapshots).toBeUndefined();
  });

  it("S2: a VM has only so many", () => {
    const { done, ask } = running();
    for (let index = 0; index < 16; index += 1) done({ kind: "create-snapshot", name: `s${index}` });
    expect(ask({ kind: "create-snapshot", name: "one-more" })).toMatchObject(REFUSED("snapshots-limit"));
  });
});

describe("volumes", () => {
  it("are made, detached, attached again and deleted, and count with the VM's disk", () => {
    const { alpha, done, ask } = running({
      policy: { quotas: { default: { vms: 9, resources: { vcpus: 9, memoryMiB: 9_999, diskGiB: 30, gpus: 0 } } } },
    });
    done({ kind: "create-volume", name: "data", sizeGiB: 15 });
    expect(alpha.vm("web").volumes).toEqual([{ name: "data", sizeGiB: 15, attached: true }]);
    expect(ask({ kind: "create-volume", name: "more", sizeGiB: 6 })).toMatchObject(REFUSED("quota-exceeded"));
    expect(alpha.create({ name: "second" })).toMatchObject(REFUSED("quota-exceeded"));
    expect(ask({ kind: "delete-volume", name: "data" })).toMatchObject(REFUSED("is-attached"));
    done({ kind: "detach-volume", name: "data" });
    expect(ask({ kind: "detach-volume", name: "data" })).toMatchObject(REFUSED("not-attached"));
    done({ kind: "attach-volume", name: "data" });
    done({ kind: "detach-volume", name: "data" });
    done({ kind: "delete-volume", name: "data" });
    expect(alpha.vm("web").volumes).toBeUndefined();
    const told = orders(alpha).flatMap(({ operation }) => (operation === undefined ? [] : [operation]));
    expect(told).toEqual([
      { kind: "attach-volume", name: "data", sizeGiB: 15 },
      { kind: "detach-volume", name: "data", discard: false },
      { kind: "attach-volume", name: "data", sizeGiB: 15 },
      { kind: "detach-volume", name: "data", discard: false },
      { kind: "detach-volume", name: "data", discard: true },
    ]);
    expect(alpha.create({ name: "second" })).toMatchObject({ kind: "request" });
  });

  it("S2: a VM has only so many, and no more than its host has room for", () => {
    const { done, ask } = running();
    expect(ask({ kind: "create-volume", name: "huge", sizeGiB: 500 })).toMatchObject(REFUSED("no-capacity"));
    for (let index = 0; index < 8; index += 1) done({ kind: "create-volume", name: `v${index}`, sizeGiB: 1 });
    expect(ask({ kind: "create-volume", name: "one-more", sizeGiB: 1 })).toMatchObject(REFUSED("volumes-limit"));
  });

  it("and snapshots keep each other out: a snapshot is of all disks as they are", () => {
    const { done, ask } = running();
    done({ kind: "create-volume", name: "data", sizeGiB: 1 });
    done({ kind: "create-snapshot", name: "a" });
    expect(ask({ kind: "detach-volume", name: "data" })).toMatchObject(REFUSED("has-snapshots"));
  });

  it("bind the VM to its host", () => {
    const { alpha, host, done } = running();
    host.moves = true;
    alpha.advance(1_000);
    done({ kind: "create-volume", name: "data", sizeGiB: 1 });
    expect(alpha.ask({ kind: "vm-move", actor: ADMIN, vm: "web", wish: { kind: "begin" } })).toMatchObject({
      kind: "refused",
      refusal: { reason: "has-volumes", message: expect.stringContaining("h1") },
    });
  });
});

describe("what lies on a host's disk", () => {
  function bound() {
    const all = running();
    all.done({ kind: "create-volume", name: "data", sizeGiB: 1 });
    const other = new ScriptedHost("h2");
    for (const host of [all.host, other]) host.moves = true;
    all.alpha.add(other);
    all.alpha.advance(1_000);
    return all;
  }

  it("keeps the VM there while the host is drained, and says so", () => {
    const { alpha } = bound();
    alpha.ask({ kind: "host-drain", actor: ADMIN, host: "h1", draining: true, policy: "restart" });
    alpha.advance(5_000);
    expect(alpha.vm("web")).toMatchObject({
      phase: "running",
      place: { host: "h1" },
      reason: expect.stringContaining("volumes"),
    });
  });

  it("P1: has the VM wait for a host that was declared dead, unless its user said otherwise", () => {
    for (const onHostLoss of [undefined, "restart"] as const) {
      const host = new ScriptedHost("h1");
      const alpha = new ScriptedSite({ hosts: [host, new ScriptedHost("h2")] });
      alpha.create({ name: "web", spec: { ...SMALL, ...(onHostLoss === undefined ? {} : { onHostLoss }) } });
      alpha.flow();
      const { place } = alpha.vm("web");
      const name = place.kind === "host" ? place.host : "";
      const operation = { kind: "create-volume", name: "data", sizeGiB: 1 } as const;
      alpha.ask({ kind: "vm-operation", actor: ANN, vm: "web", key: "one", operation });
      alpha.flow();
      expect(alpha.vm("web").volumes).toHaveLength(1);
      const dead = alpha.hosts.get(name);
      if (dead !== undefined) dead.up = false;
      alpha.advance(20_000);
      alpha.ask({ kind: "host-fence", actor: ADMIN, host: name });
      alpha.advance(5_000);
      if (onHostLoss === undefined) expect(alpha.vm("web")).toMatchObject({ phase: "in-doubt", volumes: [{}] });
      else expect(alpha.vm("web")).toMatchObject({ phase: "running", attempt: 2 });
    }
  });
});

describe("resize", () => {
  it("is done while the VM is stopped; the record follows the host's word", () => {
    const { alpha, host, ask, act, done } = running();
    expect(ask({ kind: "resize", vcpus: 4 })).toMatchObject(REFUSED("not-stopped"));
    act("stop");
    alpha.flow();
    expect(ask({ kind: "resize", diskGiB: 5 })).toMatchObject(REFUSED("disk-shrinks"));
    expect(ask({ kind: "resize", vcpus: 99 })).toMatchObject(REFUSED("no-capacity"));
    host.operates = "never";
    ask({ kind: "resize", vcpus: 4, diskGiB: 20 });
    alpha.flow();
    expect(alpha.vm("web").spec).toMatchObject({ vcpus: 2, diskGiB: 10 });
    const vm = alpha.vm("web").id;
    const known = host.attempts.get(vm);
    const { id } = alpha.vm("web").operation ?? {};
    if (known === undefined || id === undefined) throw new Error("the host has it");
    host.tell({ ...known, operation: { id, result: "done" } });
    alpha.flow();
    expect(alpha.vm("web")).toMatchObject({ phase: "stopped", spec: { vcpus: 4, memoryMiB: 1_024, diskGiB: 20 } });
    host.operates = "done";
    done({ kind: "resize", memoryMiB: 2_048 });
    act("start");
    alpha.flow();
    expect(alpha.vm("web")).toMatchObject({ phase: "running", spec: { memoryMiB: 2_048 } });
    expect(alpha.core.views.hosts(alpha.nowMs)[0]?.free).toMatchObject({ vcpus: 4, diskGiB: 180 });
  });

  it("P2: the room that it is going to take is given to nobody else meanwhile, also by a successor", () => {
    const { alpha, host, ask, act } = running();
    act("stop");
    alpha.flow();
    host.operates = "never";
    ask({ kind: "resize", vcpus: 8 });
    alpha.flow();
    const big = { ...SMALL, vcpus: 6 };
    alpha.create({ name: "big", spec: big });
    alpha.flow();
    expect(alpha.vm("big").phase).toBe("queued");
    alpha.restart();
    alpha.advance(2_000);
    expect(alpha.vm("big").phase).toBe("queued");
    const { id } = alpha.vm("web").operation ?? {};
    const vm = alpha.vm("web").id;
    const known = host.attempts.get(vm);
    if (known === undefined || id === undefined) throw new Error("the host has it");
    host.tell({ ...known, operation: { id, result: "refused", reason: "no such luck" } });
    alpha.flow();
    expect(alpha.vm("web")).toMatchObject({ spec: { vcpus: 2 }, operation: { state: "refused" } });
    expect(alpha.vm("big").phase).toBe("running");
  });
});

describe("one operation", () => {
  it("B1: the same key is the same operation, while it is under way and after it; with another content a conflict", () => {
    const { alpha, host, ask } = running();
    expect(ask({ kind: "create-snapshot", name: "a" }, "one")).toMatchObject({ kind: "vm" });
    expect(ask({ kind: "create-snapshot", name: "a" }, "one")).toMatchObject({ kind: "vm" });
    alpha.flow();
    expect(ask({ kind: "create-snapshot", name: "a" }, "one")).toMatchObject({ kind: "vm" });
    expect(ask({ kind: "create-snapshot", name: "b" }, "one")).toMatchObject(REFUSED("key-taken"));
    expect(host.operated).toHaveLength(1);
  });

  it("keeps everything else waiting: other operations, orders and moves are refused as busy, a delete is not", () => {
    const { alpha, host, ask, act } = running();
    host.moves = true;
    alpha.advance(1_000);
    host.operates = "never";
    ask({ kind: "create-snapshot", name: "a" });
    alpha.flow();
    expect(ask({ kind: "save" })).toMatchObject(REFUSED("busy"));
    expect(act("stop")).toMatchObject(REFUSED("busy"));
    expect(act("reboot")).toMatchObject(REFUSED("busy"));
    expect(alpha.ask({ kind: "vm-move", actor: ADMIN, vm: "web", wish: { kind: "begin" } })).toMatchObject(
      REFUSED("busy"),
    );
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web" });
    alpha.flow();
    expect(alpha.vm("web")).toMatchObject({ phase: "deleted", operation: { state: "refused" } });
  });

  it("is refused while the VM is being moved", () => {
    const { alpha, host, ask } = running();
    const other = new ScriptedHost("h2");
    for (const one of [host, other]) one.moves = true;
    alpha.add(other);
    alpha.advance(1_000);
    expect(alpha.ask({ kind: "vm-move", actor: ADMIN, vm: "web", wish: { kind: "begin" } })).toMatchObject({
      kind: "vm",
    });
    expect(ask({ kind: "save" })).toMatchObject(REFUSED("busy"));
  });

  it("H2: goes out under one id before and after the leader was restarted, and has one effect", () => {
    const { alpha, host, ask } = running();
    ask({ kind: "create-snapshot", name: "a" });
    const [first] = orders(alpha);
    alpha.restart();
    alpha.advance(3_000);
    expect(
      orders(alpha)
        .filter(({ action }) => action === "operate")
        .map(({ id }) => id),
    ).toEqual(expect.arrayContaining([first?.id]));
    expect(new Set(orders(alpha).flatMap(({ action, id }) => (action === "operate" ? [id] : []))).size).toBe(1);
    expect(host.operated).toHaveLength(1);
    expect(alpha.vm("web")).toMatchObject({ operation: { state: "done" }, snapshots: [{ name: "a" }] });
  });

  it("whose end a leader did not live to hear is ended by its successor, from the host's list", () => {
    const { alpha, host, ask } = running();
    ask({ kind: "save" });
    const [order] = orders(alpha);
    if (order === undefined) throw new Error("it is ordered at once");
    // The host does it; the answer and the notice come to a leader that is gone, which had acknowledged nothing.
    host.command(order);
    host.act();
    host.taken(1_000);
    alpha.restart();
    alpha.advance(3_000);
    expect(host.operated).toHaveLength(1);
    expect(alpha.vm("web")).toMatchObject({ phase: "stopped", reason: "saved", operation: { state: "done" } });
  });

  it("comes to its end over a wire that loses and doubles, and has one effect", () => {
    for (let seed = 1; seed <= 25; seed += 1) {
      const { alpha, host, ask } = running({ seed });
      alpha.loss = 0.3;
      alpha.duplicates = 0.2;
      const kinds: VmOperation[] = [
        { kind: "create-volume", name: "data", sizeGiB: 1 },
        { kind: "create-snapshot", name: "a" },
        { kind: "save" },
      ];
      for (const operation of kinds) {
        expect(ask(operation)).toMatchObject({ kind: "vm" });
        for (let tries = 0; tries < 300 && alpha.vm("web").operation?.state === "pending"; tries += 1)
          alpha.advance(1_000);
        expect(alpha.vm("web").operation).toMatchObject({ state: "done" });
        for (let tries = 0; tries < 300 && alpha.vm("web").phase !== alpha.vm("web").wanted; tries += 1)
          alpha.advance(1_000);
      }
      expect(host.operated.map((one) => one.split(" ")[1])).toEqual(["attach-volume", "create-snapshot", "save"]);
    }
  });

  it("that the host refuses is shown with its sentence, and the VM goes on", () => {
    const { alpha, host, ask } = running();
    host.operates = "refused";
    ask({ kind: "save" });
    alpha.flow();
    expect(alpha.vm("web")).toMatchObject({
      phase: "running",
      wanted: "running",
      operation: { state: "refused", reason: "h1: no such luck" },
    });
    host.operates = "done";
    expect(ask({ kind: "save" })).toMatchObject({ kind: "vm" });
    alpha.flow();
    expect(alpha.vm("web").operation).toMatchObject({ state: "done" });
  });

  it("ends as refused with the VM's attempt, and what the guest had on that disk is gone from the record", () => {
    const { alpha, host, ask, done } = running();
    done({ kind: "create-snapshot", name: "a" });
    host.operates = "never";
    ask({ kind: "delete-snapshot", name: "a" });
    alpha.flow();
    host.fail(alpha.vm("web").id);
    alpha.flow();
    expect(alpha.vm("web")).toMatchObject({ operation: { state: "refused" } });
    expect(alpha.vm("web").snapshots).toBeUndefined();
  });

  it("is for those of the VM's project", () => {
    const { ask } = running();
    const eve = { user: "eve", role: "user", projects: ["other"] } as const;
    expect(ask({ kind: "save" }, "k", eve)).toMatchObject(REFUSED("not-your-project"));
    expect(ask({ kind: "save" }, "k", { ...ANN, role: "viewer" })).toMatchObject(REFUSED("read-only"));
  });
});

describe("a stop by force", () => {
  it("is stored with the wish and cuts the guest off, also where it is asked to stop already", () => {
    const { alpha, host, act } = running();
    act("stop");
    // The host is at it, and the guest does not listen.
    for (const order of orders(alpha)) host.command(order);
    host.work.clear();
    act("stop", true);
    alpha.restart();
    alpha.advance(2_000);
    expect(orders(alpha).map(({ action }) => action)).toContain("cut-off");
    expect(alpha.vm("web")).toMatchObject({ phase: "stopped", wanted: "stopped" });
    act("start");
    alpha.flow();
    expect(alpha.vm("web").phase).toBe("running");
    act("stop");
    alpha.flow();
    expect(orders(alpha).at(-1)?.action).toBe("stop");
  });
});
