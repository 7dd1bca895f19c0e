import { connect } from "node:net";
import { join } from "node:path";
import type { ConnectionOptions } from "node:tls";
import { systemClock } from "@muster/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { certificateNames, ensureAuthority, PROSODY_PORTS } from "./index.ts";
import { expiredIdentity, type ManagerIdentity, managerIdentity, readIdentity } from "./testing/manager-identity.ts";
import { linkComponent, linkOver, RawStream } from "./testing/raw-stream.ts";
import { must, SECRET, type TestSite, TestSites } from "./testing/test-sites.ts";

const PLAIN_ADDRESS = "127.44.1.1";
const TLS_ADDRESS = "127.44.1.2";
const CM_A = "cm-a.alpha.test";

let sites: TestSites;
let alpha: TestSite;
let identities: Record<"a" | "b" | "stranger" | "rogue" | "expired" | "site", ManagerIdentity>;
const streams: RawStream[] = [];

beforeAll(async () => {
  sites = await TestSites.create();
  const managers = ["a", "b"].map((name) => ({ name, secret: SECRET }));
  const change = { componentTls: { address: TLS_ADDRESS }, managers, deadPeerSeconds: 1 };
  alpha = await (await sites.site("alpha.test", PLAIN_ADDRESS, change)).start();
  const other = must(await ensureAuthority(join(sites.folder, "other-ca"), systemClock));
  const at = (name: string): string => join(sites.folder, "managers", name);
  const site = await sites.certificate("again", certificateNames("alpha.test"));
  identities = {
    a: await managerIdentity(sites.authority, at("a"), CM_A),
    b: await managerIdentity(sites.authority, at("b"), "cm-b.alpha.test"),
    stranger: await managerIdentity(sites.authority, at("stranger"), "cm-a.beta.test"),
    rogue: await managerIdentity(other, at("rogue"), CM_A),
    expired: await expiredIdentity(sites.authority, at("expired"), CM_A),
    site: await readIdentity(site.certificatePath, site.keyPath),
  };
});

afterAll(async () => {
  for (const stream of streams) stream.close();
  await sites.close();
});

describe("a manager's link inside TLS", () => {
  it("links as its own component and as the site's face, and stanzas pass between both ports", async () => {
    const [own, face] = await Promise.all([link(identities.a, CM_A), link(identities.a, alpha.cloud)]);
    const near = await linkComponent(alpha.target(PROSODY_PORTS.component), "cm-b.alpha.test", SECRET);
    streams.push(near);
    for (const [index, prober] of [own, near].entries()) {
      const from = prober === own ? CM_A : "cm-b.alpha.test";
      prober.send(
        `<iq type='get' id='p${index}' from='${from}' to='${alpha.cloud}'><ping xmlns='urn:xmpp:ping'/></iq>`,
      );
      await face.until(new RegExp(`<iq[^>]*id='p${index}'`));
      face.send(`<iq type='result' id='p${index}' from='${alpha.cloud}' to='${from}'/>`);
      await prober.until(new RegExp(`<iq[^>]*id='p${index}'`));
    }
    for (const stream of [own, face, near]) stream.close();
  });

  // With a server name Prosody answers from a context that it makes anew for that host, with checks of its own.
  it.each(["alpha.test", "cloud.alpha.test", "nobody.test", ""])(
    "is refused with the reason when the certificate is wrong, asking for the server as «%s»",
    async (servername) => {
      const wrong: Record<string, [Partial<ManagerIdentity>, RegExp]> = {
        none: [{}, /no certificate was shown/],
        "of another authority": [identities.rogue, /unable to get local issuer certificate|self.signed/],
        "that ran out": [identities.expired, /certificate has expired/],
      };
      for (const [what, [identity, reason]] of Object.entries(wrong)) {
        const refusal = await refusalOf(identity, CM_A, { servername });
        expect([what, refusal]).toEqual([what, expect.stringMatching(/<not-authorized[^>]*>/)]);
        expect([what, refusal]).toEqual([what, expect.stringMatching(reason)]);
      }
      const good = await link(identities.a, CM_A, { servername });
      good.close();
    },
  );

  it("is refused when the certificate names another manager, another site's, or no manager at all", async () => {
    for (const identity of [identities.b, identities.stranger, identities.site])
      expect(await refusalOf(identity, CM_A)).toContain("cm-a.alpha.test takes one for cm-a.alpha.test");
    for (const identity of [identities.stranger, identities.site])
      expect(await refusalOf(identity, alpha.cloud)).toContain(
        "cloud.alpha.test takes one for cm-a.alpha.test or cm-b.alpha.test",
      );
  });

  it("of somebody who is refused takes the address from nobody, not even with the right secret", async () => {
    const holder = await link(identities.a, alpha.cloud);
    expect(await refusalOf(identities.stranger, alpha.cloud)).toContain("not-authorized");
    expect(await refusalOf(identities.expired, alpha.cloud)).toContain("not-authorized");
    holder.send(`<iq type='get' id='still' from='${alpha.cloud}' to='alpha.test'><ping xmlns='urn:xmpp:ping'/></iq>`);
    await holder.until(/<iq[^>]*id='still'/);
    holder.close();
  });

  it("needs the component's secret as well", async () => {
    await expect(link(identities.a, CM_A, {}, "a guess")).rejects.toThrow(/not-authorized.*token does not match/);
  });

  it("is judged the same after the configuration was loaded again", async () => {
    must(await alpha.server.reload({ peers: ["cloud.beta.test"] }));
    for (const servername of ["alpha.test", ""]) {
      const good = await link(identities.a, CM_A, { servername });
      good.close();
      expect(await refusalOf(identities.rogue, CM_A, { servername })).toContain("certificate is refused");
      expect(await refusalOf(identities.b, CM_A, { servername })).toContain("takes one for cm-a.alpha.test");
    }
  });

  it("that hangs is closed and its address free", async () => {
    const hung = await link(identities.a, CM_A);
    hung.hang();
    const near = await linkComponent(alpha.target(PROSODY_PORTS.component), alpha.cloud, SECRET);
    streams.push(near);
    await expect
      .poll(
        async () => {
          near.send(`<iq type='get' id='w' from='${alpha.cloud}' to='${CM_A}'><ping xmlns='urn:xmpp:ping'/></iq>`);
          return near.text;
        },
        { timeout: 6_000, interval: 100 },
      )
      .toContain("remote-server-timeout");
    near.close();
  });

  it("is offered inside TLS alone, and the plain port on loopback alone", async () => {
    await expect(RawStream.overTcp({ address: TLS_ADDRESS, port: PROSODY_PORTS.component })).rejects.toThrow(
      /ECONNREFUSED/,
    );
    const plain = connect({ host: TLS_ADDRESS, port: PROSODY_PORTS.componentTls });
    const heard: Buffer[] = [];
    plain.on("data", (chunk) => heard.push(chunk));
    plain.on("error", () => {});
    plain.write(`<stream:stream xmlns='jabber:component:accept' to='${CM_A}'>`);
    await new Promise((resolve) => plain.once("close", resolve));
    expect(Buffer.concat(heard).toString("latin1")).not.toContain("<stream:stream");
  });
});

/** A link with an identity; the server is judged as a manager would. */
async function link(
  identity: Partial<ManagerIdentity>,
  domain: string,
  options: ConnectionOptions = {},
  secret = SECRET,
): Promise<RawStream> {
  const { address: host, port, ca } = { ...alpha.target(PROSODY_PORTS.componentTls), address: TLS_ADDRESS };
  // The name is asked for, whatever the test puts into the handshake: who the server is, other tests tell.
  const stream = await RawStream.overTls({
    ...{ host, port, ca, ...identity, servername: "alpha.test", checkServerIdentity: () => undefined },
    ...options,
  });
  streams.push(stream);
  return await linkOver(stream, domain, secret);
}

/** All that the server says before it closes on one that it does not take. */
async function refusalOf(
  identity: Partial<ManagerIdentity>,
  domain: string,
  options: ConnectionOptions = {},
): Promise<string> {
  return await link(identity, domain, options).then(
    () => "linked",
    (error: Error) => error.message,
  );
}
