/** Tunnels under loss, repeats, crashes of both leaders and sites that do not hear each other: what is left when it is over. */
import { seededRng } from "@muster/base";
import type { TunnelAbility, TunnelOrder } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { ALPHA, Federation } from "../core/scripted-federation.fixture.ts";
import { ScriptedHost } from "../core/scripted-host.fixture.ts";
import { ANN, peering, type ScriptedSite, SMALL } from "../core/scripted-site.fixture.ts";
import { digestNumber, giveImage, makeNetwork } from "../images/guest-site.fixture.ts";

const RUNS = 12;
const READY: TunnelAbility = { ready: true, address: "203.0.113.5", mtu: 1_370, says: "wireguard-go" };
const TINY = { ...SMALL, image: "tiny" };

type End = TunnelOrder & { readonly own: { readonly publicKey: string } };
const endsAt = (site: ScriptedSite): readonly End[] =>
  [...site.hosts.values()].flatMap(({ tunnels }) => tunnels.ends as readonly End[]);

function federation(seed: number): Federation {
  const lend = { ...peering(ALPHA).lend, networks: "tunnel" } as const;
  const both = new Federation(seed, { beta: { peerings: [{ ...peering(ALPHA), lend }] } });
  both.alpha.add(new ScriptedHost("h2"));
  for (const site of [both.alpha, both.beta]) {
    giveImage(site, { digest: digestNumber("1"), tags: ["tiny"] });
    for (const { tunnels } of site.hosts.values()) tunnels.ability = READY;
  }
  makeNetwork(both.alpha, { cidr: "10.77.0.0/24", burstable: true, default: true });
  both.advance(1_000);
  return both;
}

/** One of the things that happen to two sites, and to the hosts of the one that borrows. */
function disturb(both: Federation, rng: ReturnType<typeof seededRng>, step: number): void {
  const dice = rng.next();
  const hosts = [...both.alpha.hosts.values()];
  const host = hosts[Math.floor(rng.next() * hosts.length)];
  if (dice < 0.25) both.alpha.create({ name: `vm${step}`, spec: TINY, burst: "only", leaseMs: 20_000 });
  else if (dice < 0.4) {
    const alive = both.alpha.core.views.vms().filter(({ phase }) => phase === "running");
    const vm = alive[Math.floor(rng.next() * alive.length)];
    if (vm !== undefined) both.alpha.ask({ kind: "vm-delete", actor: ANN, vm: vm.id });
  } else if (dice < 0.5) both.alpha.restart();
  else if (dice < 0.6) both.beta.restart();
  else if (dice < 0.7) both.cut = !both.cut;
  else if (dice < 0.85 && host !== undefined) host.up = !host.up;
}

function calm(both: Federation): void {
  Object.assign(both, { cut: false, loss: 0, duplicates: 0 });
  for (const site of [both.alpha, both.beta]) {
    Object.assign(site, { loss: 0, duplicates: 0, crashes: 0 });
    for (const host of site.hosts.values()) host.up = true;
  }
}

describe("tunnels, whatever happens", () => {
  it.each(Array.from({ length: RUNS }, (_, seed) => seed + 1))(
    "B4, P1, seed %i: each end belongs to a lease",
    (seed) => {
      const both = federation(seed);
      const rng = seededRng(seed);
      for (const site of [both.alpha, both.beta])
        Object.assign(site, { loss: 0.1, duplicates: 0.1, crashes: seed % 2 === 0 ? 0.01 : 0 });
      Object.assign(both, { loss: 0.1, duplicates: 0.1 });
      for (let step = 0; step < 40; step += 1) {
        disturb(both, rng, step);
        both.advance(3_000);
      }
      calm(both);
      both.advance(150_000);
      const leases = both.alpha.core.views.leases(both.alpha.nowMs).filter(({ stage }) => stage === "leased");
      expect(leases.every(({ tunnel }) => tunnel !== undefined)).toBe(true);
      const [near, far] = [endsAt(both.alpha), endsAt(both.beta)];
      // Each VM that runs at the peer has both ends, and they know each other's keys.
      for (const { id } of leases) {
        const [ours, theirs] = [near.filter((end) => end.id === id), far.filter((end) => end.id === id)];
        expect([ours.length, theirs.length]).toEqual([1, 1]);
        expect(ours[0]?.peer?.publicKey).toBe(theirs[0]?.own.publicKey);
        expect(theirs[0]?.peer?.publicKey).toBe(ours[0]?.own.publicKey);
      }
      const known = new Set(leases.map(({ id }) => id));
      expect([...near, ...far].filter(({ id }) => !known.has(id))).toEqual([]);
      expect([...both.alpha.store.keys()].filter((key) => key.startsWith("tunnel/"))).toHaveLength(known.size);
    },
  );
});
