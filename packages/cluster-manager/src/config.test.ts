import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode, describeFaults, readConfig } from "@muster/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { anchorPaths, configSchema, policyOf } from "./config.ts";

const LEAST = {
  site: "alpha.example",
  xmpp: { secretFile: "secret" },
  store: { path: "store" },
  api: { tokensFile: "/etc/muster/tokens.yaml" },
};
const ETCD = { kind: "etcd", endpoints: ["https://10.0.0.1:2379"] };
const PEER = { domain: "beta.example", publicKey: "A".repeat(43) };
const LOGIN = {
  kind: "client",
  jid: "cloud-alpha.example@beta.example",
  server: "xmpps://beta.example:5223",
  passwordFile: "password",
};

const faultsOf = (more: object): string => {
  const decoded = decode(configSchema, { ...LEAST, ...more });
  return decoded.ok ? "" : describeFaults(decoded.error);
};

describe("the configuration", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "muster-config-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("needs four things and fills in the rest; paths start at its own folder", async () => {
    const file = join(folder, "cluster.yaml");
    await writeFile(file, JSON.stringify(LEAST));
    const read = readConfig(file, configSchema);
    if (!read.ok) throw new Error(read.error.message);
    const config = anchorPaths(read.value, file);
    expect(config).toMatchObject({
      name: "a",
      xmpp: { host: "127.0.0.1", port: 5347, secretFile: join(folder, "secret") },
      store: { kind: "level", path: join(folder, "store") },
      api: { host: "127.0.0.1", port: 7420, tokensFile: "/etc/muster/tokens.yaml" },
      queueMax: 10_000,
      peers: [],
    });
    expect(policyOf(config, 7, "muster/1")).toMatchObject({ domain: "alpha.example", term: 7, manager: "a" });
  });

  it("takes etcd as its store, with files that start at its own folder", async () => {
    const file = join(folder, "cluster.yaml");
    const store = { ...ETCD, caFile: "ca.crt", userFile: "/etc/user", passwordFile: "password" };
    await writeFile(file, JSON.stringify({ ...LEAST, store }));
    const read = readConfig(file, configSchema);
    if (!read.ok) throw new Error(read.error.message);
    expect(anchorPaths(read.value, file).store).toEqual({
      ...store,
      caFile: join(folder, "ca.crt"),
      passwordFile: join(folder, "password"),
    });
  });

  it("links inside TLS on a port of its own, with files that start at its own folder", async () => {
    const file = join(folder, "cluster.yaml");
    const tls = { ca: "ca.crt", cert: "manager.crt", key: "/etc/manager.key" };
    await writeFile(file, JSON.stringify({ ...LEAST, xmpp: { host: "192.0.2.1", secretFile: "s", tls } }));
    const read = readConfig(file, configSchema);
    if (!read.ok) throw new Error(read.error.message);
    expect(anchorPaths(read.value, file).xmpp).toMatchObject({
      port: 5348,
      tls: { ca: join(folder, "ca.crt"), cert: join(folder, "manager.crt"), key: "/etc/manager.key" },
    });
  });

  it.each([
    [{ hots: [] }, 'hots: unknown key; did you mean "hosts"?'],
    [{ xmpp: { secretFile: "s", prot: 1 } }, 'xmpp.prot: unknown key; did you mean "port"?'],
    [{ xmpp: { secretFile: "s", tls: { ca: "c", cert: "d" } } }, "xmpp.tls.key: "],
    [{ xmpp: { secretFile: "s", tls: { ca: "c", cert: "d", key: "k", name: "x" } } }, "xmpp.tls.name: unknown key"],
    [{ timing: { settlems: 5 } }, 'timing.settlems: unknown key; did you mean "settleMs"?'],
    [{ site: "Not A Domain" }, "site: must be a lower-case domain name"],
    [{ hosts: "h1" }, "hosts: "],
    [{ hosts: ["Host 1"] }, "hosts[0]: must be"],
    [{ queueMax: 0 }, "queueMax: "],
    [{ peers: [PEER] }, "siteKeyFile: is needed"],
    [
      { peers: [{ ...PEER, publicKey: "short" }], siteKeyFile: "k" },
      "peers[0].publicKey: must be an Ed25519 public key",
    ],
    [{ peers: [{ ...PEER, domain: "alpha.example" }], siteKeyFile: "k" }, "peers: must not name the site itself"],
    [{ peers: [{ ...PEER, lend: { share: 1.5 } }], siteKeyFile: "k" }, "peers[0].lend.share: "],
    [{ peers: [{ ...PEER, reach: { kind: "mail" } }], siteKeyFile: "k" }, "peers[0].reach.kind: "],
    [
      { peers: [{ ...PEER, reach: { kind: "account", jid: "beta" } }], siteKeyFile: "k" },
      "peers[0].reach.jid: must be",
    ],
    [{ peers: [{ ...PEER, reach: { ...LOGIN, server: "beta" } }], siteKeyFile: "k" }, "peers[0].reach.server: must be"],
    [{ peers: [{ ...PEER, reach: { ...LOGIN, pasword: "p" } }], siteKeyFile: "k" }, "peers[0].reach.pasword: unknown"],
    [
      { peers: ["beta.test", "gamma.test"].map((domain) => ({ ...PEER, domain, reach: LOGIN })), siteKeyFile: "k" },
      "peers: must not name one account for two peers",
    ],
    [{ watchers: [{ jid: "ann", role: "admin" }] }, "watchers[0].jid: must be a bare address"],
    [{ watchers: [{ jid: "ann@alpha.example", role: "boss" }] }, "watchers[0].role: "],
    [{ store: { paht: "x", path: "y" } }, 'store.paht: unknown key; did you mean "path"?'],
    [{ store: { kind: "sqlite", path: "y" } }, 'store.kind: must be of kind "level" or "etcd"'],
    [{ store: { kind: "etcd" } }, "store.endpoints: "],
    [{ store: { ...ETCD, endpoints: ["etcd-1:2379"] } }, "store.endpoints[0]: must be a member's address"],
    [{ store: { ...ETCD, certFile: "c" } }, "store.keyFile: belongs to certFile"],
    [{ store: { ...ETCD, userFile: "u" } }, "store.passwordFile: belongs to userFile"],
    [{ store: { ...ETCD, endpoints: ["http://e:2379"], caFile: "c" } }, "store.endpoints: must all begin with https"],
    [
      { store: { ...ETCD, endpoints: ["http://e:2379"], userFile: "u", passwordFile: "p" } },
      "store.endpoints: must begin with https: where a password",
    ],
    [{ store: { ...ETCD, prefix: "a b" } }, "store.prefix: must be 1 to 200 of"],
    [{ store: { ...ETCD, path: "x" } }, "store.path: unknown key"],
    [{ timing: { suspectAfterMissed: 8, lostAfterMissed: 8 } }, "timing.lostAfterMissed: must be above"],
  ])("S1: refuses %j, naming key and remedy", (more, fault) => {
    expect(faultsOf(more)).toContain(fault);
  });

  it("takes a peer that is reached through a client account, its files beside the configuration", () => {
    const reach = { ...LOGIN, caFile: "ca.crt" };
    const config = anchorPaths(
      configSchema.parse({ ...LEAST, peers: [{ ...PEER, reach }], siteKeyFile: "k" }),
      "/etc/m/c",
    );
    const { server: service, ...login } = reach;
    const files = { passwordFile: "/etc/m/password", caFile: "/etc/m/ca.crt" };
    expect(policyOf(config, 1, "test").peerings[0]?.reach).toEqual({ ...login, service, ...files });
  });

  it("B5: denies by default: a peer that is only named may borrow nothing here", () => {
    const decoded = decode(configSchema, { ...LEAST, peers: [PEER], siteKeyFile: "k" });
    expect(decoded).toMatchObject({ ok: true, value: { peers: [{ lend: { accept: false }, state: "active" }] } });
  });
});
