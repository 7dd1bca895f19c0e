import { type Capacity, UNDERLAY_PEERS_MAX } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import type { CoreEffect } from "../core/effect.ts";
import { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { ADMIN, ScriptedSite } from "../core/scripted-site.fixture.ts";

/** A host that says where tunnels to it end. */
class TunnelHost extends ScriptedHost {
  end: Capacity["underlay"];

  constructor(name: string, address: string) {
    super(name);
    this.end = { address, port: 4_789 };
  }

  override capacity(part: Partial<Capacity> = {}): Capacity {
    return super.capacity({ ...(this.end === undefined ? {} : { underlay: this.end }), ...part });
  }
}

function siteOf(count: number): { site: ScriptedSite; hosts: readonly TunnelHost[] } {
  const hosts = Array.from(
    { length: count },
    (_, index) => new TunnelHost(`h${index + 1}`, `10.0.${index >> 8}.${index & 255}`),
  );
  const site = new ScriptedSite({ hosts: [...hosts, new ScriptedHost("plain")] });
  return { site, hosts };
}

type Told = Extract<CoreEffect, { kind: "underlay" }>;
function told(site: ScriptedSite, from = 0): readonly Told[] {
  return site.effects.slice(from).filter((effect) => effect.kind === "underlay");
}
/** The hosts take what they were told. */
function answer(site: ScriptedSite): void {
  for (const { host, list } of told(site)) site.step({ kind: "host-underlay", host, generation: list.generation });
}
const addresses = (effect: Told | undefined): readonly string[] =>
  effect?.list.peers.map(({ host, address }) => `${host} ${address}`) ?? [];

describe("where tunnels end", () => {
  it("is told to every host that has an end, with all of them, and to no other", () => {
    const { site } = siteOf(3);
    site.advance(3_000);
    const last = new Map(told(site).map((effect) => [effect.host, effect]));
    expect([...last.keys()].sort()).toEqual(["h1", "h2", "h3"]);
    expect(addresses(last.get("h2"))).toEqual(["h1 10.0.0.0", "h2 10.0.0.1", "h3 10.0.0.2"]);
  });

  it("S2: is not repeated where nothing changed and the host has answered, and is where it has not", () => {
    const { site } = siteOf(2);
    site.advance(3_000);
    answer(site);
    const before = site.effects.length;
    site.advance(20_000);
    expect(told(site, before)).toEqual([]);
    const silent = siteOf(2).site;
    silent.advance(30_000);
    const tries = told(silent).filter(({ host }) => host === "h1").length;
    expect(tries).toBeGreaterThan(1);
    expect(tries).toBeLessThan(12);
  });

  it("S2: changes that come together are told together", () => {
    const { site, hosts } = siteOf(20);
    site.advance(5_000);
    answer(site);
    const before = site.effects.length;
    for (const host of hosts) host.end = { address: `10.1.0.${host.name.slice(1)}`, port: 4_790 };
    site.advance(3_000);
    const generations = new Set(told(site, before).map(({ list }) => list.generation));
    expect(generations.size).toBeLessThanOrEqual(2);
    expect(addresses(told(site, before).at(-1))).toContain("h20 10.1.0.20");
  });

  it("takes away a host that was removed, and keeps one that is only silent", () => {
    const { site, hosts } = siteOf(3);
    site.advance(3_000);
    answer(site);
    const [first] = hosts;
    if (first !== undefined) first.up = false;
    site.advance(60_000);
    answer(site);
    expect(addresses(told(site).at(-1))).toHaveLength(3);
    site.ask({ kind: "host-fence", actor: ADMIN, host: "h1" });
    site.ask({ kind: "host-remove", actor: ADMIN, host: "h1" });
    site.advance(3_000);
    expect(addresses(told(site).at(-1))).toEqual(["h2 10.0.0.1", "h3 10.0.0.2"]);
  });

  it("H1: comes with the hello of a new leader, before it has heard any host", () => {
    const { site } = siteOf(2);
    site.advance(3_000);
    const before = site.effects.length;
    site.restart();
    const hello = site.effects.slice(before).find((effect) => effect.kind === "hello" && effect.host === "h2");
    expect(hello).toMatchObject({ underlay: { generation: 1, peers: [{ host: "h1" }, { host: "h2" }] } });
  });

  it("S2: tells so many and no more, and says so once", () => {
    const { site } = siteOf(UNDERLAY_PEERS_MAX + 2);
    site.advance(3_000);
    expect(told(site).at(-1)?.list.peers).toHaveLength(UNDERLAY_PEERS_MAX);
    const events = site.effects.filter((effect) => effect.kind === "event" && effect.event.subject === "underlay");
    expect(events).toHaveLength(1);
  });
});
