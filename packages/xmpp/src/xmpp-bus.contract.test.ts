import { ejabberdIsMissing } from "@muster/xmpp-server/ejabberd-present";
import { afterAll, beforeAll, describe } from "vitest";
import { busContract } from "./bus.contract.ts";
import { type AnySite, realEjabberd } from "./testing/real-ejabberd.ts";
import { type RealSite, realSite } from "./testing/real-site.ts";
import { realWorld } from "./testing/real-world.ts";

describe("a site on Prosody", () => {
  let site: RealSite;
  beforeAll(async () => {
    site = await realSite("alpha.test", "127.0.41.1", ["ann", "bob"]);
  });
  afterAll(() => site.close());

  busContract("xmpp.js against Prosody", async () => realWorld(site, site.component));
  busContract("xmpp.js against Prosody, components inside TLS", async () =>
    realWorld(site, { ...site.componentTls, tls: await site.managerTls("a") }),
  );
});

const missing = ejabberdIsMissing();

describe.skipIf(missing !== undefined)(`a site on ejabberd${missing ?? ""}`, () => {
  let site: AnySite;
  beforeAll(async () => {
    site = await realEjabberd("alpha.test", "127.45.13.1", ["ann", "bob"]);
  }, 60_000);
  afterAll(() => site.close());

  busContract("xmpp.js against ejabberd", async () => realWorld(site, site.component));
});
