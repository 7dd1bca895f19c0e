import { refusal } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { holdOf } from "../broker.fixture.ts";
import { AWAY_END, GATEWAY_END, OTHER_GATEWAY, WISH } from "../tunnel.fixture.ts";
import { ask, env, heldOf, lease, offerQuery, PEER, renew, restart, withPolicy } from "./lender.fixture.ts";
import { createLender } from "./lender.ts";
import type { WishExtras } from "./lender-contract.ts";

const ALLOWED = withPolicy({ networks: "tunnel" });
const { reach: _, ...REST } = WISH;
const TUNNEL = { ...REST, end: GATEWAY_END };

function hold() {
  return { kind: "hold", body: holdOf({ tunnel: "reachable" }) } as const;
}

function leaseOf(id: string, tunnel: object | undefined = TUNNEL) {
  return {
    kind: "lease",
    body: { id, term: 1, leaseMs: 60_000, ...(tunnel === undefined ? {} : { tunnel }) },
  } as never;
}

function leasedWith() {
  const lender = createLender();
  const { id } = heldOf(ask(lender, hold(), ALLOWED));
  const { effects } = ask(lender, leaseOf(id), ALLOWED);
  return { lender, id, effects };
}

describe("lender: a VM that is to be on its home network", () => {
  it("B5: is refused where no admin allowed it, and every other VM is not", () => {
    expect(ask(createLender(), hold()).refusal).toMatchObject({ kind: "policy-violation", reason: "no-tunnels" });
    expect(ask(createLender(), hold(), withPolicy({ networks: "none" })).refusal).toMatchObject({ field: "tunnel" });
    expect(ask(createLender(), { kind: "hold", body: holdOf() }).answer).toMatchObject({ kind: "held" });
  });

  it("offers tunnels where they are allowed", () => {
    const offered = (part = {}) => ask(createLender(), offerQuery(), part).answer?.body;
    expect(offered(ALLOWED)).toMatchObject({ tunnels: true });
    expect(offered()).not.toHaveProperty("tunnels");
  });

  it("P4: an explanation names the rule", () => {
    const wish = { spec: holdOf().spec, leaseMs: 60_000, tunnel: "reachable" } as const;
    const said = createLender().explain(PEER, wish, env());
    expect(said?.rules).toContainEqual(expect.objectContaining({ rule: "networks", verdict: "refuses" }));
  });

  it("asks the site for room on a host that can, before it holds", () => {
    const none = refusal("resource-constraint", "no-capacity", "no host carries tunnels");
    const asked: unknown[] = [];
    const roomFor = (_spec: unknown, { tunnel }: WishExtras = {}) => {
      asked.push(tunnel);
      return none;
    };
    expect(ask(createLender(), hold(), { ...ALLOWED, roomFor }).refusal).toEqual(none);
    expect(asked).toEqual(["reachable"]);
  });

  it("S1: the lease must be with the tunnel that the hold spoke of", () => {
    const lender = createLender();
    const { id } = heldOf(ask(lender, hold(), ALLOWED));
    expect(ask(lender, lease(id), ALLOWED).refusal).toMatchObject({ reason: "other-tunnel", field: "tunnel" });
    const hidden = { ...TUNNEL, end: AWAY_END };
    expect(ask(lender, leaseOf(id, hidden), ALLOWED).refusal).toMatchObject({ reason: "tunnel-unreachable" });
    const plain = createLender();
    const other = heldOf(ask(plain, { kind: "hold", body: holdOf() })).id;
    expect(ask(plain, leaseOf(other)).refusal).toMatchObject({ reason: "other-tunnel" });
  });

  it("B1: is placed with its tunnel, once, and the record has it after a restart", () => {
    const { lender, id, effects } = leasedWith();
    expect(effects).toContainEqual(expect.objectContaining({ kind: "place" }));
    expect(restart(lender).find(PEER, id)?.tunnel).toEqual(TUNNEL);
    const again = ask(lender, leaseOf(id, { ...TUNNEL, end: OTHER_GATEWAY }), ALLOWED);
    expect(again.effects.some(({ kind }) => kind === "place")).toBe(false);
    expect(lender.find(PEER, id)?.tunnel).toEqual(TUNNEL);
  });

  it("tells the borrower where its host has its end, under a new revision, and no more than once", () => {
    const { lender, id } = leasedWith();
    const before = lender.find(PEER, id)?.revision ?? 0;
    const told = lender.step({ kind: "tunnel-end", peer: PEER, id, end: AWAY_END }, env(ALLOWED));
    const states = [expect.objectContaining({ id, tunnel: AWAY_END, revision: before + 1 })];
    expect(told.effects).toContainEqual({ kind: "notify", peer: PEER, states });
    const again = lender.step({ kind: "tunnel-end", peer: PEER, id, end: { ...AWAY_END } }, env(ALLOWED));
    expect([...again.changes, ...again.effects]).toEqual([]);
  });

  it("hears of another gateway with a renewal", () => {
    const { lender, id } = leasedWith();
    const { body } = renew(id);
    if (!("leases" in body)) throw new Error("no renewal");
    const leases = body.leases.map((one) => ({ ...one, tunnel: OTHER_GATEWAY }));
    ask(lender, { kind: "renew", body: { ...body, leases } }, ALLOWED);
    expect(lender.find(PEER, id)?.tunnel).toEqual({ ...TUNNEL, end: OTHER_GATEWAY });
  });
});
