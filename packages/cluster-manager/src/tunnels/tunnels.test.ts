import type { TunnelAbility } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { ALPHA, BETA, Federation } from "../core/scripted-federation.fixture.ts";
import { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { ANN, peering, SMALL } from "../core/scripted-site.fixture.ts";
import { digestNumber, giveImage, guestTold, makeNetwork } from "../images/guest-site.fixture.ts";

const ONE = digestNumber("1");
const TINY = { ...SMALL, image: "tiny" };
const GATEWAY: TunnelAbility = { ready: true, address: "203.0.113.5", mtu: 1_370, says: "wireguard-go" };
const HIDDEN: TunnelAbility = { ready: true, mtu: 1_370, says: "wireguard-go" };

type Wish = {
  readonly networks?: "tunnel" | "none";
  readonly gateways?: readonly [TunnelAbility | undefined, TunnelAbility | undefined];
  readonly lender?: TunnelAbility | undefined;
  readonly burstable?: boolean;
};

/** Alpha has two gateways and a network, beta lends; a VM of alpha's may only run at beta. */
function federation(wish: Wish = {}): Federation {
  const { networks = "tunnel", gateways = [GATEWAY, undefined], lender = HIDDEN, burstable = true } = wish;
  const plain = peering(ALPHA);
  const both = new Federation(1, { beta: { peerings: [{ ...plain, lend: { ...plain.lend, networks } }] } });
  both.alpha.add(new ScriptedHost("h2"));
  const [h1, h2] = [host(both.alpha, "h1"), host(both.alpha, "h2")];
  h1.tunnels.ability = gateways[0];
  h2.tunnels.ability = gateways[1];
  for (const { tunnels } of both.beta.hosts.values()) tunnels.ability = lender;
  for (const site of [both.alpha, both.beta]) giveImage(site, { digest: ONE, tags: ["tiny"] });
  const net = { cidr: "10.77.0.0/24", burstable, default: true };
  makeNetwork(both.alpha, net);
  both.advance(1_000);
  return both;
}

function host(site: Federation["alpha"], name: string): ScriptedHost {
  const found = site.hosts.get(name);
  if (found === undefined) throw new Error(`no host ${name}`);
  return found;
}

function away(both: Federation) {
  both.alpha.create({ name: "away", spec: TINY, burst: "only", leaseMs: 60_000 });
  both.advance(6_000);
  return both.alpha.vm("away");
}

const endsAt = (site: Federation["alpha"]) => [...site.hosts.values()].flatMap(({ tunnels }) => tunnels.ends);

describe("a VM at a peer on its home network", () => {
  it("has its reserved address on both sides, and a tunnel whose ends know each other", () => {
    const both = federation();
    const vm = away(both);
    expect(vm).toMatchObject({ phase: "running", place: { kind: "peer", peer: BETA }, address: "10.77.0.2" });
    const [near, far] = [endsAt(both.alpha), endsAt(both.beta)];
    expect([near.length, far.length]).toEqual([1, 1]);
    expect(near[0]).toMatchObject({ end: "gateway", nic: { network: "front", address: "10.77.0.2/24", mtu: 1_370 } });
    expect(near[0]?.peer?.publicKey).toBe((far[0] as { own?: { publicKey: string } }).own?.publicKey);
    expect(far[0]?.peer).toMatchObject({ endpoint: { address: "203.0.113.5" } });
    expect(near[0]?.vni).toBe(far[0]?.vni);
    const [ours] = both.alpha.core.views.leases(both.alpha.nowMs);
    const [theirs] = both.beta.core.views.leases(both.beta.nowMs);
    expect(ours?.tunnel).toMatchObject({ host: "h1", address: "10.77.0.2", mtu: 1_370, other: theirs?.tunnel?.own });
    expect(theirs?.tunnel).toMatchObject({ host: expect.stringMatching(/^k/), other: ours?.tunnel?.own });
  });

  it("B5: is attached at the lender's to its tunnel, and to no network of the lender's", () => {
    const both = federation();
    makeNetwork(both.beta, { name: "theirs", cidr: "10.99.0.0/24", default: true });
    const vm = away(both);
    const nics = guestTold(both.beta, vm.id)?.nics;
    expect(nics).toMatchObject([{ address: "10.77.0.2/24", mtu: 1_370, tunnel: { vni: expect.any(Number) } }]);
    expect(nics).toHaveLength(1);
    expect(both.beta.core.views.network("theirs", both.beta.nowMs)?.vms).toBe(0);
  });

  it("is told what fits through both hosts' tunnels", () => {
    const both = federation({ lender: { ...HIDDEN, mtu: 1_290 } });
    const vm = away(both);
    expect(guestTold(both.beta, vm.id)?.nics[0]?.mtu).toBe(1_290);
  });

  it("B4: its tunnel goes with the lease, at both ends", () => {
    const both = federation();
    away(both);
    both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: "away" });
    both.advance(15_000);
    expect(both.alpha.vm("away").phase).toBe("deleted");
    expect([...endsAt(both.alpha), ...endsAt(both.beta)]).toEqual([]);
    expect([...both.alpha.store.keys()].filter((key) => key.startsWith("tunnel/"))).toEqual([]);
  });

  it("B4: its tunnel goes on both sides when the sites do not hear each other any more", () => {
    const both = federation();
    away(both);
    both.cut = true;
    both.advance(300_000);
    expect([...endsAt(both.alpha), ...endsAt(both.beta)]).toEqual([]);
  });

  it("L3: a leader that takes over knows the gateway, and closes what its predecessor could not", () => {
    const both = federation();
    away(both);
    const before = endsAt(both.alpha)[0];
    both.alpha.restart();
    both.beta.restart();
    both.advance(10_000);
    expect(endsAt(both.alpha)).toMatchObject([{ attempt: 1, own: (before as { own?: object }).own }]);
    host(both.alpha, "h1").up = false;
    both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: "away" });
    both.advance(1_000);
    both.alpha.restart();
    host(both.alpha, "h1").up = true;
    both.advance(20_000);
    expect(endsAt(both.alpha)).toEqual([]);
  });

  it("whose gateway is lost gets another one, and the lender hears of it", () => {
    const both = federation({ gateways: [GATEWAY, { ...GATEWAY, address: "203.0.113.6" }] });
    away(both);
    const first = [...both.alpha.hosts.values()].find(({ tunnels }) => tunnels.open.size > 0);
    if (first === undefined) throw new Error("no gateway");
    first.up = false;
    both.advance(40_000);
    const second = [...both.alpha.hosts.values()].find((one) => one !== first && one.tunnels.open.size > 0);
    expect(second?.tunnels.ends[0]).toMatchObject({ attempt: 2 });
    const address = second?.tunnels.ability?.address;
    expect(endsAt(both.beta)[0]?.peer).toMatchObject({ endpoint: { address } });
  });

  it("is placed where one of the ends can be reached, and nowhere else", () => {
    const none = federation({ gateways: [HIDDEN, undefined] });
    expect(away(none)).toMatchObject({ phase: "queued", place: { kind: "none" } });
    const both = federation({ gateways: [HIDDEN, undefined], lender: GATEWAY });
    expect(away(both)).toMatchObject({ phase: "running" });
  });

  it("P4: waits with the reason where the lender allows no tunnels, or none of its hosts carries one", () => {
    const forbidden = federation({ networks: "none" });
    const why = (both: Federation) => JSON.stringify(both.alpha.core.views.why(away(both).id, both.alpha.nowMs));
    expect(why(forbidden)).toContain("not put on their home network");
    const unable = federation();
    for (const { tunnels } of unable.beta.hosts.values()) tunnels.ability = undefined;
    unable.advance(1_000);
    expect(why(unable)).toContain("2 lacks-tunnels");
  });

  it("tries the next gateway where one cannot, and gives the hold back where none can", () => {
    const both = federation({ gateways: [GATEWAY, GATEWAY] });
    host(both.alpha, "h1").tunnels.broken = "no such bridge";
    expect(away(both).phase).toBe("running");
    const none = federation();
    host(none.alpha, "h1").tunnels.broken = "no such bridge";
    const vm = away(none);
    expect(vm.phase).toBe("queued");
    expect(endsAt(none.beta)).toEqual([]);
  });

  it("gets a new end at a gateway that has closed the one before by itself, and the lender hears of it", () => {
    const both = federation();
    const vm = away(both);
    const { tunnels } = host(both.alpha, "h1");
    const [before] = tunnels.ends;
    if (before === undefined) throw new Error("no end");
    tunnels.take({ ...before, action: "close" });
    both.alpha.restart();
    both.advance(30_000);
    expect(tunnels.ends).toMatchObject([{ id: before.id, attempt: 2 }]);
    const own = (tunnels.ends[0] as { own?: { publicKey: string } }).own;
    expect(endsAt(both.beta)[0]?.peer?.publicKey).toBe(own?.publicKey);
    expect(both.alpha.vm("away")).toMatchObject({ id: vm.id, phase: "running" });
  });

  it("P4: waits for the site's gateways where none is ready, rather than go on another network", () => {
    const both = federation({ gateways: [{ ...GATEWAY, ready: false, says: "wg is missing" }, undefined] });
    expect(away(both)).toMatchObject({ phase: "queued" });
    const why = JSON.stringify(both.alpha.core.views.why(both.alpha.vm("away").id, both.alpha.nowMs));
    expect(why).toContain("no gateway is ready to keep it on network front: h1: wg is missing");
    host(both.alpha, "h1").tunnels.ability = GATEWAY;
    both.advance(12_000);
    expect(both.alpha.vm("away")).toMatchObject({ phase: "running", address: "10.77.0.2" });
  });

  it("goes plain where its network is not burstable or no gateway is there", () => {
    for (const wish of [{ burstable: false }, { gateways: [undefined, undefined] as const }]) {
      const both = federation(wish);
      expect(away(both)).toMatchObject({ phase: "running", address: "192.0.2.7" });
      expect([...endsAt(both.alpha), ...endsAt(both.beta)]).toEqual([]);
    }
  });
});
