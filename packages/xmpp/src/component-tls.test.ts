import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { cloudDomain, ensureAuthority, managerDomain } from "@muster/xmpp-server";
import { Element } from "ltx";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Bus, BusStatus } from "./bus.ts";
import { type XmppComponentOptions, xmppComponentBus } from "./component-bus.ts";
import { type ComponentTls, checkComponentTls } from "./component-tls.ts";
import { FakeServer } from "./testing/fake-server.ts";
import { must, type RealSite, realSite, SECRET } from "./testing/real-site.ts";
import { until } from "./testing/until.ts";

const DOMAIN = "alpha.test";
const CLOUD = cloudDomain(DOMAIN);
const [CM_A, CM_B] = [managerDomain("a", DOMAIN), managerDomain("b", DOMAIN)];

let site: RealSite;
let tlsA: ComponentTls;
let tlsB: ComponentTls;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  site = await realSite(DOMAIN, "127.44.2.1", []);
  [tlsA, tlsB] = await Promise.all([site.managerTls("a"), site.managerTls("b")]);
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.stop()));
});
afterAll(() => site.close());

describe("a component's link inside TLS", () => {
  it("carries beats between managers, and requests to the site's face", async () => {
    const [a, b, face] = [
      component(CM_A, { tls: tlsA }),
      component(CM_B, { tls: tlsB }),
      component(CLOUD, { tls: tlsA }),
    ];
    for (const [bus, name] of [[b, "b"] as const, [face, "face"] as const])
      bus.handle("get", "urn:example:1", "beat", () => ({
        kind: "result",
        payload: new Element("beaten", { xmlns: "urn:example:1", by: name }),
      }));
    await online(a, b, face);
    const asked = Array.from({ length: 20 }, () => [beat(a, CM_B), beat(b, CLOUD)]).flat();
    const answered = (await Promise.all(asked)).map((outcome) =>
      outcome.kind === "result" ? outcome.payload?.attrs.by : outcome,
    );
    expect(answered).toEqual(Array.from({ length: 20 }, () => ["b", "face"]).flat());
  });

  it("of the successor takes the site's face, and the one before is told so", async () => {
    const [old, next] = [component(CLOUD, { tls: tlsA }), component(CLOUD, { tls: tlsB })];
    await online(old);
    await online(next);
    await until("the old one is told", () => old.status.kind === "refused");
    expect(old.status).toMatchObject({ reason: "conflict" });
  });

  it("is refused for good, with the reason, when the server does not take our certificate", async () => {
    const rogue = must(await ensureAuthority(join(site.folder, "rogue"), systemClock));
    const wrong: Record<string, [string, ComponentTls, RegExp]> = {
      "of another authority": [CM_A, await site.managerTls("a", rogue), /unable to get local issuer|self.signed/],
      "of another manager": [CM_A, tlsB, /cm-a\.alpha\.test takes one for cm-a\.alpha\.test/],
      "that ran out": [CM_A, expired(CM_A), /certificate has expired/],
    };
    for (const [what, [domain, tls, reason]] of Object.entries(wrong)) {
      const bus = component(domain, { tls });
      bus.start();
      await until(what, () => bus.status.kind === "refused");
      expect([what, bus.status]).toEqual([
        what,
        { kind: "refused", reason: "not-authorized", text: expect.stringMatching(reason) },
      ]);
    }
  });

  it("is not made to a server whose certificate does not verify, and tried again: nothing is said to it", async () => {
    const otherCa = must(await ensureAuthority(join(site.folder, "rogue"), systemClock));
    const caPem = readFileSync(otherCa.certificatePath, "utf8");
    const wrong: Record<string, [Partial<ComponentTls>, RegExp]> = {
      "another authority": [{ caPem }, /^the server's certificate does not verify: .*certificate/],
      "another name": [{ serverName: "beta.test" }, /^the server's certificate does not verify: .*altnames/],
    };
    for (const [what, [change, reason]] of Object.entries(wrong))
      expect([what, await offlineReason(component(CM_A, { tls: { ...tlsA, ...change } }))]).toEqual([
        what,
        expect.stringMatching(reason),
      ]);
    const old = expired(DOMAIN);
    const server = await FakeServer.listen({ key: old.keyPem, cert: old.certPem });
    running.push({ stop: () => server.close() });
    const { host, port } = server;
    expect(await offlineReason(component(CM_A, { tls: tlsA, host, port }))).toMatch(
      /^the server's certificate does not verify: certificate has expired/,
    );
    expect(server.peers.map((peer) => peer.text).join("")).toBe("");
  });

  it("says so where a port does not speak TLS, or takes nothing else", async () => {
    expect(await offlineReason(component(CM_A, { tls: tlsA, ...site.component }))).toMatch(/does not speak TLS/);
    expect(await offlineReason(component(CM_A, {}))).not.toBe("");
  });

  it("S1: is refused before any server is asked when a text is not what it should be", async () => {
    const damages: [Partial<ComponentTls>, string][] = [
      [{ caPem: "nonsense" }, "ca holds no certificate"],
      [{ certPem: tlsA.keyPem }, "cert holds no certificate"],
      [{ keyPem: tlsA.certPem }, "key holds no private key"],
      [{ keyPem: (await site.managerTls("b")).keyPem }, "key is not the key of cert"],
    ];
    for (const [damage, reason] of damages) {
      const tls = { ...tlsA, ...damage };
      expect(checkComponentTls(tls)).toEqual({ ok: false, error: expect.stringContaining(reason) });
      expect(() => component(CM_A, { tls })).toThrow(reason);
    }
    expect(checkComponentTls(tlsA)).toEqual({ ok: true, value: undefined });
  });
});

function component(domain: string, options: Partial<XmppComponentOptions>): Bus {
  const common = { clock: systemClock, rng: systemRng, times: { backoffBaseMs: 50 } };
  const bus = xmppComponentBus({ ...common, ...site.componentTls, domain, secret: SECRET, ...options });
  running.push(bus);
  return bus;
}

async function online(...buses: Bus[]): Promise<void> {
  for (const bus of buses) bus.start();
  await until("online", () => buses.every((bus) => bus.status.kind === "online"));
}

function beat(from: Bus, to: string) {
  return from.request({ to, type: "get", payload: new Element("beat", "urn:example:1"), timeoutMs: 5_000 });
}

/** Why the first two tries to link failed; throws when one does not. */
async function offlineReason(bus: Bus): Promise<string> {
  const seen: BusStatus[] = [];
  bus.onStatus((status) => seen.push(status));
  bus.start();
  await until("two tries", () => seen.filter(({ kind }) => kind === "offline").length > 1);
  expect(seen.map(({ kind }) => kind)).not.toContain("online");
  await bus.stop();
  return seen.flatMap((status) => (status.kind === "offline" ? [status.reason] : []))[0] ?? "";
}

/** A certificate that ran out yesterday: the product issues none, so openssl is asked itself. */
function expired(name: string): ComponentTls {
  const [key = "", request = "", certificate = "", extensions = ""] = ["key", "csr", "crt", "ext"].map((end) =>
    join(site.folder, `expired-${name}.${end}`),
  );
  writeFileSync(extensions, `subjectAltName=DNS:${name}\nextendedKeyUsage=clientAuth,serverAuth\n`);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-keyout", key];
  const signer = ["-CA", site.authority.certificatePath, "-CAkey", site.authority.keyPath, "-set_serial", "7"];
  const quiet = { stdio: "ignore" } as const;
  execFileSync("openssl", ["req", ...newKey, "-out", request, "-subj", "/CN=old"], quiet);
  execFileSync(
    "openssl",
    ["x509", "-req", "-in", request, "-out", certificate, ...signer, "-days", "-1", "-extfile", extensions],
    quiet,
  );
  return { ...tlsA, certPem: readFileSync(certificate, "utf8"), keyPem: readFileSync(key, "utf8") };
}
