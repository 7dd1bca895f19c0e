/** One site on Prosody, one on ejabberd: leases in both directions, through breaks of the link and changes of the lead. */

import { ejabberdIsMissing } from "@muster/xmpp-server/ejabberd-present";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../system/until.ts";
import { SITES, type SiteName, TwoSites } from "./two-sites.ts";

const missing = ejabberdIsMissing();
let sites: TwoSites;

const OTHER: Readonly<Record<SiteName, SiteName>> = { alpha: "beta", beta: "alpha" };

describe.skipIf(missing !== undefined)(`alpha on Prosody, beta on ejabberd${missing ?? ""}`, () => {
  beforeAll(async () => {
    sites = await TwoSites.start({ loopback: 20, serverOf: { beta: "ejabberd" } });
  }, 120_000);
  afterAll(() => sites.stop(), 60_000);

  it.each(SITES)(
    "%s bursts to the other, and a roster client of the borrower's server sees the VM run",
    async (home) => {
      const watcher = await sites.watcher(home);
      try {
        watcher.send("<presence/>");
        const { id } = await sites.burst(home, `from-${home}`);
        const contact = `vm-${id}@cloud.${home}.test`;
        await watcher.subscribe(contact);
        const vm = await sites.untilRuns(home, id);
        expect(vm.place).toMatchObject({ kind: "peer", peer: `${OTHER[home]}.test` });
        await watcher.untilShown(contact, "available", /running/);
        await watcher.subscribe(`cloud.${home}.test`);
        await watcher.untilShown(`cloud.${home}.test`, "available", /vCPU free/);
      } finally {
        watcher.close();
      }
    },
    60_000,
  );

  it("B2: goes on after the link between the servers broke and came back, and nothing was started twice", async () => {
    for (const site of SITES) sites.relays[site].mode = { kind: "cut" };
    const asked = await Promise.all(SITES.map(async (home) => ({ home, vm: await sites.burst(home, `cut-${home}`) })));
    await until(
      "one of them has noticed",
      async () => {
        const peers = await Promise.all(SITES.map((home) => sites.client(home).peer(`${OTHER[home]}.test`)));
        return peers.some((peer) => peer.ok && peer.value.state === "unreachable");
      },
      40_000,
    );
    for (const { home, vm } of asked) expect((await sites.vm(home, vm.id)).phase).not.toBe("running");
    for (const site of SITES) sites.relays[site].mode = { kind: "pass" };
    for (const { home, vm } of asked) {
      await sites.untilRuns(home, vm.id, 60_000);
      const lent = await sites.client(OTHER[home]).leases();
      expect(lent.ok && lent.value.filter((lease) => lease.role === "lender" && lease.vm === vm.id)).toHaveLength(1);
    }
  }, 150_000);

  it.each(SITES)(
    "goes on under another leader of %s, which has its address at once, and keeps what runs",
    async (site) => {
      const { before, after } = await sites.takeOver(site);
      expect(after).not.toBe(before);
      for (const home of SITES) {
        const { id } = await sites.burst(home, `after-${site}-${home}`);
        await sites.untilRuns(home, id, 40_000);
      }
    },
    150_000,
  );

  it("gives everything back when it is deleted", async () => {
    for (const home of SITES) {
      const vms = await sites.client(home).vms();
      if (!vms.ok) throw new Error(vms.error.message);
      for (const vm of vms.value.filter(({ place }) => place?.kind === "peer"))
        await sites.client(home).deleteVm(vm.id);
    }
    await until(
      "no lease is open on either side",
      async () => {
        const leases = await Promise.all(SITES.map((site) => sites.client(site).leases()));
        return leases.every(
          (each) => each.ok && each.value.every(({ stage }) => ["closed", "released", "voided"].includes(stage)),
        );
      },
      40_000,
    );
  }, 60_000);
});
