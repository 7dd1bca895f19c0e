import { type NetworkCreateInput, networkCreateSchema } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { NetworkBook } from "./network-book.ts";
import { planNetwork, VNI_RANGE } from "./network-plan.ts";

const plan = (input: Partial<NetworkCreateInput>, book = new NetworkBook(), vnis = VNI_RANGE) =>
  planNetwork(book, networkCreateSchema.parse({ name: "front", attachment: "vxlan", ...input }), vnis);

describe("planNetwork", () => {
  it("fills in gateway, pool, identifier, MTU and addressing", () => {
    expect(plan({ cidr: "10.77.0.9/24" })).toMatchObject({
      ok: true,
      value: {
        cidr: "10.77.0.0/24",
        gateway: "10.77.0.1",
        pool: { first: "10.77.0.2", last: "10.77.0.254" },
        vni: 10_000,
        mtu: 1_450,
        addressing: "static",
      },
    });
  });

  it.each([
    [{ burstable: true }, 1_370],
    [{ attachment: "bridge" as const }, 1_500],
    [{ attachment: "vlan" as const, vlan: 10 }, 1_500],
    [{ mtu: 9_000 }, 9_000],
  ])("has the MTU that fits %j", (input, mtu) => {
    expect(plan(input)).toMatchObject({ ok: true, value: { mtu } });
  });

  it("lets guests of a network without a subnet find their addresses themselves", () => {
    expect(plan({ attachment: "bridge" })).toMatchObject({ ok: true, value: { addressing: "none" } });
    expect(plan({ attachment: "user" })).toMatchObject({ ok: true, value: { addressing: "dhcp", mtu: 1_500 } });
  });

  it.each([
    ["a subnet too small", { cidr: "10.77.0.0/31" }, "cidr"],
    ["nat without a subnet", { attachment: "nat" }, "cidr"],
    ["static without a subnet", { addressing: "static" }, "cidr"],
    ["a subnet for user networking", { attachment: "user", cidr: "10.77.0.0/24" }, "cidr"],
    ["a gateway outside", { cidr: "10.77.0.0/24", gateway: "10.78.0.1" }, "gateway"],
    ["the network's own address as gateway", { cidr: "10.77.0.0/24", gateway: "10.77.0.0" }, "gateway"],
    ["a pool outside", { cidr: "10.77.0.0/24", pool: { first: "10.77.0.5", last: "10.77.1.5" } }, "pool"],
    ["a pool backwards", { cidr: "10.77.0.0/24", pool: { first: "10.77.0.9", last: "10.77.0.5" } }, "pool"],
    ["a pool of the gateway", { cidr: "10.77.0.0/24", pool: { first: "10.77.0.1", last: "10.77.0.1" } }, "pool"],
    ["a pool too large", { cidr: "10.0.0.0/8", pool: { first: "10.0.0.1", last: "10.9.0.1" } }, "pool"],
    ["a pool without a subnet", { attachment: "bridge", pool: { first: "10.0.0.1", last: "10.0.0.2" } }, "pool"],
    ["an identifier without VXLAN", { attachment: "bridge", vni: 7 }, "vni"],
    ["a VLAN without its tag", { attachment: "vlan" }, "vlan"],
    ["a tag without a VLAN", { vlan: 7 }, "vlan"],
    ["a route outside by hosts that a router gives", { attachment: "vlan", vlan: 7, outside: "nat" }, "outside"],
    ["a route outside without a subnet", { outside: "nat" }, "outside"],
    ["a route outside without a gateway", { cidr: "10.77.0.0/24", gateway: "none", outside: "nat" }, "outside"],
    ["a default that is not for everybody", { default: true, projects: ["web"] }, "projects"],
  ] as const)("refuses %s, naming the field", (_what, input, field) => {
    expect(plan(input as Partial<NetworkCreateInput>)).toMatchObject({
      ok: false,
      error: { kind: "bad-request", field },
    });
  });

  it("gives a VLAN tag, and a subnet that hosts route, to one network only", () => {
    const book = new NetworkBook();
    const make = (name: string, input: Partial<NetworkCreateInput>) => {
      const made = plan({ ...input, name }, book);
      if (made.ok) book.records.set(name, { ...made.value, user: "root", createdAtMs: 0 });
      return made;
    };
    const isolated = { cidr: "10.77.0.0/24" };
    make("red", { attachment: "vlan", vlan: 10 });
    expect(make("blue", { attachment: "vlan", vlan: 10 })).toMatchObject({ error: { reason: "vlan-taken" } });
    // Networks that nothing leads outside may share what they like.
    expect(make("one", isolated)).toMatchObject({ ok: true });
    expect(make("two", isolated)).toMatchObject({ ok: true, value: { vni: 10_001 } });
    expect(make("out", { ...isolated, outside: "nat" })).toMatchObject({ ok: true, value: { outside: "nat" } });
    for (const attachment of ["nat", "vxlan"] as const) {
      const outside = attachment === "nat" ? {} : { outside: "nat" as const };
      const taken = make("again", { attachment, cidr: "10.77.0.128/25", ...outside });
      expect(taken, attachment).toMatchObject({ error: { reason: "subnet-taken", field: "cidr" } });
    }
  });

  it("gives each network an identifier of its own, until none is left", () => {
    const book = new NetworkBook();
    const vnis = { first: 5, last: 6 };
    for (const name of ["a", "b"]) {
      const made = plan({ name, vni: undefined }, book, vnis);
      if (!made.ok) throw new Error(made.error.message);
      book.records.set(name, { ...made.value, user: "root", createdAtMs: 0 });
    }
    expect([...book.records.values()].map(({ vni }) => vni)).toEqual([5, 6]);
    expect(plan({ name: "c" }, book, vnis)).toMatchObject({ ok: false, error: { reason: "no-vni-left" } });
    expect(plan({ name: "c", vni: 6 }, book)).toMatchObject({ ok: false, error: { reason: "vni-taken" } });
  });
});
