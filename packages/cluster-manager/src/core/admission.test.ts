import { describe, expect, it } from "vitest";
import { ScriptedHost } from "./scripted-host.fixture.ts";
import { ADMIN, ANN, ScriptedSite, SMALL } from "./scripted-site.fixture.ts";

const quotas = { default: { resources: { vcpus: 8, memoryMiB: 8_192, diskGiB: 100, gpus: 0 }, vms: 3 } };
const site = (policy = {}) => new ScriptedSite({ policy, hosts: [new ScriptedHost("h1")] });
const NIGHT = { ...ANN, role: "viewer" as const };

describe("admission", () => {
  it.each([
    ["a viewer", {}, { name: "web" }, NIGHT, { kind: "forbidden", reason: "read-only" }],
    [
      "another project",
      {},
      { name: "web", project: "other" },
      ANN,
      { kind: "forbidden", reason: "not-your-project", field: "project" },
    ],
    [
      "an unknown image",
      {},
      { name: "web", spec: { ...SMALL, image: "nope" } },
      ANN,
      { kind: "policy-violation", reason: "unknown-image", field: "spec.image" },
    ],
    [
      "more VMs than the quota",
      { quotas },
      { name: "web", count: 4 },
      ANN,
      { kind: "policy-violation", reason: "quota-exceeded" },
    ],
    [
      "more vCPUs than the quota",
      { quotas },
      { name: "web", count: 2, spec: { ...SMALL, vcpus: 5 } },
      ANN,
      { kind: "policy-violation", reason: "quota-exceeded" },
    ],
    [
      "a full queue",
      { queueMax: 2 },
      { name: "web", count: 3 },
      ANN,
      { kind: "resource-constraint", reason: "queue-full" },
    ],
    [
      "a full site",
      { vmsMax: 2 },
      { name: "web", count: 3 },
      ANN,
      { kind: "resource-constraint", reason: "too-many-vms" },
    ],
    [
      "a burst without peers",
      {},
      { name: "web", burst: "only" as const },
      ANN,
      { kind: "policy-violation", reason: "no-peering", field: "burst" },
    ],
    [
      "a name too long with its number",
      {},
      { name: "w".repeat(62), count: 10 },
      ANN,
      { kind: "bad-request", reason: "name-too-long", field: "name" },
    ],
  ])("S1, S2: refuses %s and changes nothing", (_, policy, create, actor, refusal) => {
    const alpha = site(policy);
    const before = alpha.store.size;
    expect(alpha.create(create, "r-1", actor)).toMatchObject({ kind: "refused", refusal });
    expect(alpha.store.size).toBe(before);
    expect(alpha.core.views.vms()).toEqual([]);
  });

  it("takes an image by its digest too", () => {
    const alpha = site();
    expect(alpha.create({ name: "web", spec: { ...SMALL, image: `sha256:${"a".repeat(64)}` } })?.kind).toBe("request");
  });

  it("does not take a property of every object for a quota", () => {
    const alpha = site({ quotas });
    expect(alpha.create({ name: "web", project: "constructor" }, "r-1", ADMIN)?.kind).toBe("request");
  });

  it("gives quota and names back when VMs end", () => {
    const alpha = site({ quotas });
    expect(alpha.create({ name: "web", count: 3 }, "r-1")?.kind).toBe("request");
    expect(alpha.create({ name: "more" }, "r-2")).toMatchObject({ refusal: { reason: "quota-exceeded" } });
    expect(alpha.create({ name: "web-2", project: "other" }, "r-3", ADMIN)?.kind).toBe("request");
    alpha.flow();
    const { id } = alpha.core.views.vms().find(({ name, project }) => name === "web-2" && project === "default") ?? {
      id: "",
    };
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: id });
    alpha.flow();
    expect(alpha.create({ name: "web-2" }, "r-4")?.kind).toBe("request");
  });

  it("refuses a name that a VM of the project has which is not over", () => {
    const alpha = site();
    alpha.create({ name: "web" }, "r-1");
    expect(alpha.create({ name: "web" }, "r-2")).toMatchObject({ refusal: { kind: "conflict", reason: "name-taken" } });
  });

  it("B1: the same request id and content get the same VMs, also after a restart; other content is a conflict", () => {
    const alpha = site();
    const first = alpha.create({ name: "web" }, "r-1");
    expect(first).toMatchObject({ kind: "request", replay: false });
    alpha.restart();
    const again = alpha.create({ name: "web" }, "r-1");
    expect(again).toEqual({ ...first, replay: true });
    expect(alpha.create({ name: "other" }, "r-1")).toMatchObject({
      refusal: { kind: "conflict", reason: "request-id-taken" },
    });
    expect(alpha.create({ name: "web" }, "r-1", ADMIN)).toMatchObject({ refusal: { kind: "conflict" } });
    expect(alpha.core.views.vms()).toHaveLength(1);
  });

  it("S2, B1: forgets what ended after the time for repeats, and the request with the last of its VMs", () => {
    const alpha = site();
    alpha.create({ name: "web", count: 2 }, "r-1");
    alpha.flow();
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web-1" });
    alpha.advance(700_000);
    expect(alpha.core.views.request("r-1")?.vms.map(({ name }) => name)).toEqual(["web-2"]);
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web-2" });
    alpha.advance(500_000);
    expect(alpha.create({ name: "web", count: 2 }, "r-1")).toMatchObject({ replay: true });
    alpha.advance(200_000);
    expect(alpha.core.views.request("r-1")).toBeUndefined();
    expect([...alpha.store.keys()]).toEqual(["host/h1"]);
  });
});

describe("orders that make no sense", () => {
  it.each([
    ["nobody", "stop", "unknown-vm"],
    ["waits", "stop", "not-started"],
    ["stopped", "resume", "is-stopped"],
    ["stopped", "reboot", "not-running"],
    ["gone", "start", "ended"],
  ] as const)("are refused: %s is told to %s", (vm, action, reason) => {
    const alpha = site();
    alpha.create({ name: "stopped" });
    alpha.create({ name: "gone" });
    alpha.create({ name: "waits", spec: { ...SMALL, vcpus: 8 } });
    alpha.flow();
    alpha.ask({ kind: "vm-action", actor: ANN, vm: "stopped", action: "stop" });
    const { id } = alpha.vm("gone");
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "gone" });
    alpha.flow();
    const answer = alpha.ask({ kind: "vm-action", actor: ANN, vm: vm === "gone" ? id : vm, action });
    expect(answer).toMatchObject({ kind: "refused", refusal: { reason } });
  });

  it("names that several projects use have to be told apart by id", () => {
    const alpha = site();
    alpha.create({ name: "web" }, "r-1", ADMIN);
    alpha.create({ name: "web", project: "other" }, "r-2", ADMIN);
    expect(alpha.ask({ kind: "vm-delete", actor: ADMIN, vm: "web" })).toMatchObject({
      refusal: { reason: "ambiguous-name" },
    });
    expect(alpha.core.views.vm("web")).toBe("ambiguous");
  });
});
