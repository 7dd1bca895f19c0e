/** A site that no other server reaches comes to one on ejabberd, by configuration: nobody hands out tokens there. */
import { ejabberdIsMissing } from "@muster/xmpp-server/ejabberd-present";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SITES, TwoSites } from "./two-sites.ts";

const missing = ejabberdIsMissing();
let sites: TwoSites;

describe.skipIf(missing !== undefined)(`alpha on ejabberd, beta logged in there${missing ?? ""}`, () => {
  beforeAll(async () => {
    sites = await TwoSites.start({ loopback: 28, serverOf: { alpha: "ejabberd" }, outboundOnly: "beta" });
  }, 120_000);
  afterAll(() => sites.stop(), 60_000);

  it.each(SITES)(
    "%s bursts to the other, with no connection between the servers",
    async (home) => {
      const { id } = await sites.burst(home, `from-${home}`);
      expect(await sites.untilRuns(home, id, 40_000)).toMatchObject({ place: { kind: "peer" } });
      expect(sites.relays.alpha.connections + sites.relays.beta.connections).toBe(0);
    },
    60_000,
  );

  it("goes on under another leader, who takes the login over there, too", async () => {
    await sites.takeOver("beta");
    for (const home of SITES) {
      const { id } = await sites.burst(home, `after-${home}`);
      await sites.untilRuns(home, id, 40_000);
    }
  }, 120_000);

  it("says on both sides how they speak, and cannot invite so: its server hands out no tokens", async () => {
    const shown = await sites.client("alpha").peer("beta.test");
    expect(shown.ok && shown.value.reach).toEqual({ kind: "account", jid: "cloud-beta.test@alpha.test" });
    const invited = await sites.client("alpha").invitePeer({ domain: "gamma.test", reach: "client" });
    expect(invited).toMatchObject({ ok: false, error: { reason: "enrolment-refused" } });
  });
});
