import { describe, expect, it } from "vitest";
import type { BusStatus } from "./bus.ts";
import { client, otherAuthority, setUpServers, statusesOf, tlsServerNow, trusting } from "./link-faults.fixture.ts";
import { until } from "./testing/until.ts";

setUpServers();

describe("certificates", () => {
  it("are pinned per connection: each trusts its own authority alone, and asks for the domain by name", async () => {
    tlsServerNow().onPeer((peer) => peer.acceptClient());
    const distrusting = {
      "another authority": trusting({ caPem: otherAuthority() }),
      "the system's authorities": trusting({}),
      "another domain": client({ domain: "beta.test" }),
    };
    const seen = Object.entries(distrusting).map(([why, bus]) => ({ why, bus, statuses: statusesOf(bus) }));
    const good = client();
    for (const bus of [good, ...Object.values(distrusting)]) bus.start();
    await until("one online", () => good.status.kind === "online");
    await until("each failed twice", () =>
      seen.every(({ statuses }) => statuses.filter(({ kind }) => kind === "offline").length > 1),
    );
    const reasonOf = (statuses: readonly BusStatus[]): string =>
      statuses.flatMap((status) => (status.kind === "offline" ? [status.reason] : []))[0] ?? "";
    expect(Object.fromEntries(seen.map(({ why, statuses }) => [why, reasonOf(statuses)]))).toEqual({
      "another authority": expect.stringMatching(/certificate/),
      "the system's authorities": expect.stringMatching(/certificate/),
      "another domain": expect.stringMatching(/altnames/),
    });
    expect(seen.some(({ statuses }) => statuses.some(({ kind }) => kind === "online"))).toBe(false);
    expect(tlsServerNow().peers.filter((peer) => peer.text !== "")).toHaveLength(1);
  });

  it("a certificate that is none is refused when the Bus is made", () => {
    expect(() => client({ caPem: "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----" })).toThrow();
  });

  it("a service that is not direct TLS is refused when the Bus is made", () => {
    for (const service of ["xmpp://alpha.test:5222", "alpha.test", "wss://alpha.test/ws", "xmpps://"]) {
      expect(() => client({ service }), service).toThrow(/xmpps:/);
    }
  });
});
