/**
 * Admins of sites that peer by record: they suspend, drain, leave and invite anew, rotate keys, change what they lend, decide
 * on holds and revoke leases. And a thief with a key that was rotated away.
 */
import type { Rng } from "@muster/base";
import { proofKeyOf } from "@muster/broker";
import type { Actor, CoreEvent } from "@muster/cluster-manager";
import { cloudAddress, type Invitation, type LendChange } from "@muster/protocol";
import { allIn, peerIn } from "./core-words.ts";
import { hear } from "./peer-wire.ts";
import type { Site } from "./site.ts";
import { bytesFrom } from "./site-keys.ts";
import type { World } from "./world.ts";

const ADMIN: Actor = { user: "root", role: "admin", projects: ["*"] };
const EVERY_MS = 1_500;
const INVITED_FOR_MS = 3 * 3_600_000;
export const OVERLAPS_MS = [500, 4_000, 15_000] as const;

export class DealAdmin {
  readonly #world: World;
  readonly #rng: Rng;

  constructor(world: World, rng: Rng) {
    this.#world = world;
    this.#rng = rng;
  }

  begin(): void {
    const { timeline } = this.#world;
    timeline.after(this.#rng.int(2 * EVERY_MS), () => {
      const site = this.#pick(this.#world.sites);
      const peer = site === undefined ? undefined : this.#pick(site.peers);
      if (site !== undefined && peer !== undefined) {
        if (this.#world.healed) this.#decide(site);
        else this.#act(site, peer);
      }
      this.begin();
    });
  }

  #act(site: Site, peer: string): void {
    const roll = this.#rng.int(100);
    const { figures } = this.#world;
    const record = peerIn(site.store, peer);
    if (record === undefined || record.state === "left" || record.state === "invited") this.#invite(site, peer);
    else if (roll < 14) this.#change(site, peer, this.#rng.int(3) === 0 ? "drain" : "suspend");
    else if (roll < 40) this.#change(site, peer, "resume");
    else if (roll < 46) this.#change(site, peer, "leave");
    else if (roll < 62) this.#setRules(site, peer);
    else if (roll < 72) this.#rotate(site);
    else if (roll < 82) this.#revoke(site);
    else if (roll < 92) this.#decide(site);
    else {
      figures.thefts += 1;
      this.#steal(site, peer);
    }
  }

  #change(site: Site, domain: string, verb: "drain" | "suspend" | "resume" | "leave"): void {
    this.#tell(site, (ticket) => ({ kind: "peer-change", ticket, actor: ADMIN, domain, verb, reason: "as agreed" }));
  }

  /** The inviting admin hands its token to the other one, who accepts some time later. */
  #invite(site: Site, peer: string): void {
    const other = this.#world.siteOf(peer);
    const key = site.bound?.core.views.ownKey();
    if (other === undefined || key === undefined) return;
    const invitation = this.#world.newId();
    const secret = bytesFrom(invitation).toString("base64url");
    const token: Invitation = {
      ...{ v: 1, invitation, site: site.domain, cloud: cloudAddress(site.domain), for: peer, secret, borrow: true },
      ...{ key: key.publicKey, keySequence: key.sequence },
      expiresAt: Math.ceil((site.bound?.nowMs() ?? 0) / 1_000) + INVITED_FOR_MS / 1_000,
      lend: { accept: true, sharePermille: 1_000, leaseMsMax: 600_000, vmsMax: 100, images: [] },
    };
    const lend = { share: 1 };
    this.#tell(site, (ticket) => ({
      ...{ kind: "peer-invite", ticket, actor: ADMIN, domain: peer, lend, borrow: true, invitation },
      ...{ expiresMs: INVITED_FOR_MS, proofKey: proofKeyOf(secret) },
    }));
    this.#world.timeline.after(100 + this.#rng.int(3_000), () => {
      const known = peerIn(other.store, site.domain);
      // One side still holds what the other left: its admin has to see that first.
      if (known !== undefined && known.state !== "left") this.#change(other, site.domain, "leave");
      this.#tell(other, (ticket) => ({
        ...{ kind: "peer-accept", ticket, actor: ADMIN, invitation: token, lend, borrow: true, dryRun: false },
      }));
    });
  }

  #setRules(site: Site, domain: string): void {
    const one = <Value>(values: readonly Value[]): Value | undefined => this.#pick(values);
    const vcpus = 1 + this.#rng.int(6);
    const lend: LendChange = {
      quota: one([null, null, { vcpus }, { vms: 1 + this.#rng.int(3) }, { memoryMiB: 4_096, vcpus }]) ?? null,
      approveAbove: one([null, null, { vcpus: 1 + this.#rng.int(2) }]) ?? null,
      preempt: one([null, { noticeMs: 3_000 }, { noticeMs: 0 }]) ?? null,
      hoursPerPeriod: one([null, null, null, 0.01]) ?? null,
      prices: one([null, { vcpuHour: 1_000, memoryGiBHour: 100, gpuHour: 0 }]) ?? null,
      accept: this.#rng.int(8) > 0,
      leaseMsMax: one([600_000, 600_000, 5_000]) ?? 600_000,
    };
    this.#tell(site, (ticket) => ({ kind: "peer-policy", ticket, actor: ADMIN, domain, lend }));
  }

  #rotate(site: Site): void {
    const keys = site.keys.map(({ publicKey }) => publicKey);
    const overlapMs = this.#pick(OVERLAPS_MS) ?? 0;
    this.#tell(site, (ticket) => ({ kind: "key-rotate", ticket, actor: ADMIN, keys, overlapMs }));
  }

  #revoke(site: Site): void {
    const lease = this.#pick([...allIn(site.store, "lend")].filter(({ stage }) => stage === "leased"));
    if (lease === undefined) return;
    const noticeMs = this.#pick([0, 2_000, 6_000]) ?? 0;
    const reason = "its admin needs the room";
    this.#tell(site, (ticket) => ({
      ...{ kind: "lease-revoke", ticket, actor: ADMIN, lease: lease.id, peer: lease.peer, noticeMs, reason },
    }));
  }

  #decide(site: Site): void {
    const waits = this.#pick([...allIn(site.store, "lend")].filter(({ approval }) => approval?.state === "pending"));
    if (waits === undefined) return;
    const approve = this.#rng.int(3) > 0;
    this.#tell(site, (ticket) => ({
      ...{ kind: "lease-decide", ticket, actor: ADMIN, lease: waits.id, peer: waits.peer, approve },
    }));
  }

  /** Ends a lease of the peer, by a key that the peer does not use any more. */
  #steal(site: Site, peer: string): void {
    const lease = this.#pick(
      [...allIn(site.store, "lend")].filter((one) => one.stage === "leased" && one.peer === peer),
    );
    const other = this.#world.siteOf(peer);
    const key = this.#pick(other?.keys.slice(0, 2) ?? []);
    const { bound } = site;
    if (lease === undefined || bound === undefined || key === undefined) return;
    const pinned = peerIn(site.store, peer)?.key?.publicKey;
    if (pinned === key.publicKey) return;
    const release = { kind: "release", body: { id: lease.id, term: 1_000, reason: "by a stolen key" } } as const;
    hear(
      bound,
      peer,
      key.publicKey,
      (ticket) => ({ kind: "peer-request", ticket, peer, request: release }),
      () => {},
    );
  }

  #pick<Value>(values: readonly Value[]): Value | undefined {
    return values[this.#rng.int(Math.max(1, values.length))];
  }

  /** By a word to whoever leads; it is not repeated. */
  #tell(site: Site, event: (ticket: number) => CoreEvent): void {
    if (site.bound?.manager.paused !== false) return;
    this.#world.figures.deals += 1;
    site.bound.ask(event, () => {});
  }
}
