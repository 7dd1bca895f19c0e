import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { seededRng, systemClock } from "@muster/base";
import { createSiteClient } from "@muster/client";
import { type HostView, problemOf, refusal, type SiteView } from "@muster/protocol";
import { afterEach, beforeEach, expect, it } from "vitest";
import { siteChecks } from "./site-checks.ts";

const NOTHING = { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0 };
const SIZES = { total: NOTHING, reserved: NOTHING, used: NOTHING, free: NOTHING };
const SITE: SiteView = {
  ...SIZES,
  domain: "alpha.test",
  leader: "a",
  term: 1,
  managers: [],
  hosts: {},
  vms: {},
  queued: 0,
  reconciled: true,
};
const HOST: HostView = {
  ...SIZES,
  name: "host1",
  account: "host-host1@alpha.test",
  liveness: "alive",
  condition: "fenced",
  draining: false,
  vms: 0,
  foreignVms: 0,
  labels: {},
  images: [],
  driver: "TEST",
  hypervisor: "libvirt 9.0.0 (TEST)",
  agent: "muster-host-manager/0.1.0",
  termObeyed: 1,
  statusLine: "",
};
const GATEWAY: HostView = {
  ...HOST,
  name: "host2",
  condition: "accepting",
  tunnel: { ready: false, mtu: 1_370, says: "wg is missing: install wireguard-tools" },
};
const ANSWERS: Readonly<Record<string, object>> = {
  "/v1/site": SITE,
  "/v1/hosts": { items: [HOST, GATEWAY] },
  "/v1/peers": { items: [] },
  "/healthz": {},
};

let server: Server;

beforeEach(async () => {
  server = createServer(({ url = "" }, response) => {
    const answer = ANSWERS[url];
    response.writeHead(answer === undefined ? 503 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(answer ?? problemOf(refusal("unavailable", "not-ready", "the link is connecting"))));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it("says in a sentence why a manager is not ready, and how a fenced host that is back takes VMs again", async () => {
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const endpoint = { urls: [url], token: "any" };
  const checks = await siteChecks(createSiteClient({ endpoint, clock: systemClock, rng: seededRng(1) }), [url]);
  const of = (name: string) => checks.find((check) => check.name === name);
  expect(of("component")?.message).toBe(`${url} leads, but is not ready: the link is connecting`);
  expect(of("host host1")).toMatchObject({ verdict: "warn", message: "was declared dead, and is heard again" });
  expect(of("host host1")?.remedy).toContain("muster host undrain host1");
  const gateway = { verdict: "warn", message: expect.stringContaining("install wireguard-tools") };
  expect(of("host host2")).toMatchObject(gateway);
});
