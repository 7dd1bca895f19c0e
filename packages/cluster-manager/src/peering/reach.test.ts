import { describe, expect, it } from "vitest";
import { addressOf, doorOf, type Reach, type ReachTable, speakerOf } from "./reach.ts";

const BETA: Reach = { kind: "account", jid: "cloud-beta.test@alpha.test" };
const GAMMA: Reach = { kind: "account", jid: "gamma-broker@third.test" };
const DELTA: Reach = { kind: "client", jid: "cloud-alpha.test@delta.test", service: "xmpps://delta.test:5223" };
const KNOWN = new Map<string, Reach>([
  ["beta.test", BETA],
  ["gamma.test", GAMMA],
  ["delta.test", DELTA],
]);
const TABLE: ReachTable = {
  reachOf: (domain) => KNOWN.get(domain),
  ownerOf: (jid) => [...KNOWN].find(([, reach]) => reach.kind === "account" && reach.jid === jid)?.[0],
};
const COMPONENT = { kind: "component" } as const;

describe("how a peer is reached", () => {
  it("says where it is spoken to, and whom our server has to let in for it", () => {
    const of = (domain: string) => {
      const reach = KNOWN.get(domain);
      return [addressOf(domain, reach), doorOf(domain, reach, "alpha.test")];
    };
    expect(of("epsilon.test")).toEqual(["cloud.epsilon.test", "cloud.epsilon.test"]);
    expect(of("beta.test")).toEqual(["cloud-beta.test@alpha.test/muster", undefined]);
    expect(of("gamma.test")).toEqual(["gamma-broker@third.test/muster", "third.test"]);
    expect(of("delta.test")).toEqual(["cloud.delta.test", undefined]);
  });

  it.each([
    ["a server's component, where nothing else was agreed", "cloud.epsilon.test", COMPONENT, "epsilon.test"],
    ["the account that was agreed", "cloud-beta.test@alpha.test", COMPONENT, "beta.test"],
    ["an account at a third server", "gamma-broker@third.test", COMPONENT, "gamma.test"],
    [
      "the peer at whose server we are logged in",
      "cloud.delta.test",
      { kind: "login", peer: "delta.test" },
      "delta.test",
    ],
  ] as const)("B5: takes for the peer %s", (_what, from, arrival, peer) => {
    expect(speakerOf(from, arrival, TABLE)).toBe(peer);
  });

  it.each([
    ["another account of the same server", "cloud-other.test@alpha.test", COMPONENT],
    ["an account of that name at another server", "cloud-beta.test@evil.test", COMPONENT],
    ["the component of a peer that is to come as an account", "cloud.beta.test", COMPONENT],
    ["the component of a peer at whose server we log in", "cloud.delta.test", COMPONENT],
    ["another peer on the login at this one", "cloud.epsilon.test", { kind: "login", peer: "delta.test" }],
    ["an account on the login", "cloud-beta.test@alpha.test", { kind: "login", peer: "delta.test" }],
    ["an ordinary account", "ann@alpha.test", COMPONENT],
  ] as const)("B5: takes for nobody %s", (_what, from, arrival) => {
    expect(speakerOf(from, arrival, TABLE)).toBeUndefined();
  });
});
