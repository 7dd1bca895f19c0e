import { describe, expect, it } from "vitest";
import { Federation } from "../core/scripted-federation.fixture.ts";
import { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { ADMIN, ANN, ScriptedSite, SMALL } from "../core/scripted-site.fixture.ts";
import { digestNumber, giveImage, guestTold, makeNetwork } from "../images/guest-site.fixture.ts";
import { ADDRESS_COOL_MS } from "./network-book.ts";

const ONE = digestNumber("1");
const TINY = { ...SMALL, image: "tiny" };
const POOL = { cidr: "10.77.0.0/24", pool: { first: "10.77.0.10", last: "10.77.0.11" } };

function site(network: Parameters<typeof makeNetwork>[1] = { ...POOL, default: true }): ScriptedSite {
  const one = new ScriptedSite({ hosts: [new ScriptedHost("h1"), new ScriptedHost("h2")] });
  giveImage(one, { digest: ONE, tags: ["tiny"] });
  makeNetwork(one, network);
  return one;
}

describe("networks", () => {
  it("are made and deleted by admins, the same again being the same", () => {
    const one = site();
    expect(makeNetwork(one, { ...POOL, default: true })).toEqual({ kind: "network", network: "front" });
    expect(makeNetwork(one, { ...POOL, mtu: 1_400 })).toMatchObject({ refusal: { reason: "name-taken" } });
    expect(makeNetwork(one, { name: "back" }, ANN)).toMatchObject({ refusal: { kind: "forbidden" } });
    makeNetwork(one, { name: "back", default: true });
    expect(one.core.views.network("front", one.nowMs)?.default).toBe(false);
    one.restart();
    expect(one.core.views.networks(one.nowMs).map(({ name }) => name)).toEqual(["back", "front"]);
    const gone = one.ask({ kind: "network-delete", actor: ADMIN, network: "back" });
    expect(gone).toEqual({ kind: "network", network: "back" });
    expect(one.store.has("network/back")).toBe(false);
  });

  it("are not deleted while a VM is on one", () => {
    const one = site();
    one.create({ name: "web", spec: TINY });
    const refused = one.ask({ kind: "network-delete", actor: ADMIN, network: "front" });
    expect(refused).toMatchObject({ refusal: { kind: "conflict", reason: "network-in-use" } });
  });
});

describe("a VM's interfaces", () => {
  it("L3: have address and MAC from the acceptance on, in the same commit, and keep them through a restart", () => {
    const one = new ScriptedSite();
    giveImage(one, { digest: ONE, tags: ["tiny"] });
    makeNetwork(one, { ...POOL, default: true });
    one.create({ name: "web", spec: TINY });
    const { address, nics, phase, id } = one.vm("web");
    expect({ address, phase }).toEqual({ address: "10.77.0.10", phase: "queued" });
    expect(one.store.get(`vm/${id}`)).toMatchObject({ nics: [{ network: "front", address: "10.77.0.10" }] });
    one.restart();
    one.create({ name: "two", spec: TINY });
    expect(one.vm("web").nics).toEqual(nics);
    expect(one.vm("two").address).toBe("10.77.0.11");
  });

  it("are told to the host as the network has them", () => {
    const one = site({ ...POOL, default: true, nameservers: ["10.77.0.1"], burstable: true });
    one.create({ name: "web", spec: TINY });
    const { id, nics } = one.vm("web");
    expect(guestTold(one, id)?.nics).toEqual([
      {
        network: "front",
        attachment: "vxlan",
        mac: nics?.[0]?.mac,
        mtu: 1_370,
        addressing: "static",
        address: "10.77.0.10/24",
        gateway: "10.77.0.1",
        nameservers: ["10.77.0.1"],
        vni: 10_000,
      },
    ]);
  });

  it("are on the networks that are named, in order", () => {
    const one = site();
    makeNetwork(one, { name: "back", cidr: "10.78.0.0/24" });
    one.create({ name: "web", spec: { ...TINY, networks: ["back", "front"] } });
    expect(one.vm("web").nics?.map(({ network, address }) => `${network} ${address}`)).toEqual([
      "back 10.78.0.2",
      "front 10.77.0.10",
    ]);
    expect(one.vm("web").address).toBe("10.78.0.2");
  });

  it("P4: wait for an address where none is left, say so, and hold up nobody else", () => {
    const one = site();
    one.create({ name: "web", count: 3, spec: TINY });
    one.advance(1_000);
    expect([1, 2, 3].map((number) => one.vm(`web-${number}`).phase)).toEqual(["running", "running", "queued"]);
    expect(one.core.views.why("web-3", one.nowMs)?.summary).toContain(
      "network front has no address left: 2 of 2 are reserved",
    );
    one.create({ name: "other" });
    one.advance(1_000);
    expect(one.vm("other").phase).toBe("running");
    one.ask({ kind: "vm-delete", actor: ANN, vm: "web-1" });
    one.advance(2_000);
    expect(one.vm("web-3").phase).toBe("queued");
    expect(one.core.views.network("front", one.nowMs)?.addresses).toEqual({ total: 2, reserved: 1, cooling: 1 });
    one.advance(ADDRESS_COOL_MS);
    expect(one.vm("web-3")).toMatchObject({ phase: "running", nics: [{ address: "10.77.0.10" }] });
  });

  it("release what was never used at once", () => {
    const one = new ScriptedSite();
    giveImage(one, { digest: ONE, tags: ["tiny"] });
    makeNetwork(one, { ...POOL, default: true });
    one.create({ name: "web", spec: TINY });
    one.ask({ kind: "vm-delete", actor: ANN, vm: "web" });
    one.create({ name: "two", spec: TINY });
    expect(one.vm("two").address).toBe("10.77.0.10");
  });

  it.each([
    ["an unknown network", { networks: ["nowhere"] }, "unknown-network"],
    ["a network of other projects", { networks: ["secret"] }, "unknown-network"],
    ["a network twice", { networks: ["front", "front"] }, "network-twice"],
    ["a network for an image that is but a name", { networks: ["front"], image: "debian-12" }, "image-without-content"],
  ])("are refused with %s", (_what, more, reason) => {
    const one = site();
    makeNetwork(one, { name: "secret", projects: ["vault"] });
    const asked = one.create({ name: "web", spec: { ...TINY, ...more } });
    expect(asked).toMatchObject({ kind: "refused", refusal: { reason, field: "spec.networks" } });
    expect(one.core.views.vms()).toEqual([]);
  });

  it("are on the lender's default network where the VM is lent, whatever they are called at home", () => {
    const both = new Federation();
    for (const [lender, cidr] of [
      [both.alpha, "10.77.0.0/24"],
      [both.beta, "10.88.0.0/24"],
    ] as const) {
      giveImage(lender, { digest: ONE, tags: lender === both.alpha ? ["tiny"] : ["other-name"] });
      makeNetwork(lender, { name: lender === both.alpha ? "front" : "guests", cidr, default: true });
    }
    both.alpha.create({ name: "away", burst: "only", spec: { ...TINY, networks: ["front"] } });
    both.exchange();
    both.advance(2_000);
    const lent = both.beta.vm("away");
    expect(lent).toMatchObject({
      phase: "running",
      imageDigest: ONE,
      nics: [{ network: "guests", address: "10.88.0.2" }],
    });
    expect(guestTold(both.beta, lent.id)?.nics[0]?.address).toBe("10.88.0.2/24");
  });

  it("are reached at the lender where it opened a way in: told in the lease's state, and shown at home", () => {
    const both = new Federation();
    for (const lender of [both.alpha, both.beta]) giveImage(lender, { digest: ONE, tags: ["tiny"] });
    makeNetwork(both.beta, { attachment: "nat", cidr: "10.88.0.0/24", default: true });
    both.alpha.create({ name: "away", burst: "only", spec: TINY });
    both.exchange();
    both.advance(2_000);
    const access = { host: "192.0.2.4", port: 20_003 };
    const lent = both.beta.vm("away");
    const host = [...both.beta.hosts.values()].find(({ attempts }) => attempts.has(lent.id));
    const known = host?.attempts.get(lent.id);
    if (host === undefined || known === undefined) throw new Error("it runs nowhere");
    host.tell({ ...known, address: "10.88.0.2", access });
    both.advance(2_000);
    expect(both.beta.vm("away")).toMatchObject({ access });
    expect(both.alpha.vm("away")).toMatchObject({ address: "10.88.0.2", access, place: { kind: "peer" } });
    both.alpha.restart();
    both.beta.restart();
    both.advance(5_000);
    expect(both.alpha.vm("away").access).toEqual(access);
    host.tell({ ...known, address: "10.88.0.2" });
    both.advance(2_000);
    expect(both.alpha.vm("away").access).toBeUndefined();
  });

  it("B5: are not lent where the default network has no address left, nor with an image that is not for everybody", () => {
    const both = new Federation();
    giveImage(both.alpha, { digest: ONE, tags: ["tiny"] });
    giveImage(both.beta, { digest: ONE, projects: ["own"] });
    makeNetwork(both.beta, { ...POOL, pool: { first: "10.77.0.9", last: "10.77.0.9" }, default: true });
    both.alpha.create({ name: "away", burst: "only", spec: TINY });
    both.exchange();
    both.advance(2_000);
    expect(both.alpha.vm("away").phase).toBe("queued");
    both.beta.ask({ kind: "image-change", actor: ADMIN, image: ONE, change: { kind: "remove" } });
    giveImage(both.beta, { digest: ONE });
    both.beta.create({ name: "own", spec: { ...TINY, image: ONE } });
    both.advance(70_000);
    expect(both.alpha.core.views.why("away", both.alpha.nowMs)?.summary).toMatch(/no address left|no-address/);
  });
});
