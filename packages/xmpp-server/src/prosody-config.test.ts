import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hostsFile, prosodyConfig } from "./prosody-config.ts";
import { type ProsodySite, siteFaults } from "./prosody-site.ts";

const SITE: ProsodySite = {
  domain: "alpha.test",
  address: "127.0.11.1",
  folder: "/var/lib/muster/alpha",
  cloudSecret: "sixteen characters or more",
  managers: [{ name: "a", secret: "another sixteen characters" }],
  peers: ["cloud.beta.test"],
  names: [{ address: "127.0.12.1", names: ["beta.test", "cloud.beta.test"] }],
  tls: { keyPath: "/c/site.key", certificatePath: "/c/site.crt", caPath: "/c/ca.crt" },
};

describe("the generated configuration", () => {
  it("requires encryption and verified certificates, and has no other way to tell who a peer is", () => {
    const { "*": all } = load(SITE);
    expect(all).toMatchObject({
      c2s_require_encryption: true,
      s2s_require_encryption: true,
      s2s_secure_auth: true,
      modules_disabled: ["dialback"],
      registration_invite_only: true,
      network_settings: { nagle: false, read_timeout: 5 },
      smacks_hibernation_time: 5,
      s2s_timeout: 8,
      limits: { c2s: { rate: "1mb/s" }, s2sin: { rate: "10mb/s" } },
      ssl: { key: "/c/site.key", certificate: "/c/site.crt", cafile: "/c/ca.crt" },
      unbound: { hoststxt: "/var/lib/muster/alpha/hosts", resolvconf: false },
    });
  });

  it("lets peers reach the site's component and nothing else", () => {
    const hosts = load({ ...SITE, managers: [...SITE.managers, { name: "b", secret: "a third secret of ours" }] });
    expect(Object.keys(hosts)).toEqual(["*", "alpha.test", "cloud.alpha.test", "cm-a.alpha.test", "cm-b.alpha.test"]);
    for (const [name, options] of Object.entries(hosts)) {
      if (name === "*") continue;
      const reachable = name === "cloud.alpha.test";
      expect(options.modules_enabled).toContain(reachable ? "muster_peers_only" : "muster_local_only");
      expect(options.modules_disabled).toEqual(reachable ? undefined : ["s2s"]);
    }
    expect(hosts["cloud.alpha.test"]).toMatchObject({
      component_conflict_resolve: "kick_old",
      muster_peers: SITE.peers,
    });
  });

  it("opens a port for managers of other machines only where asked, and trusts one authority there", () => {
    expect(JSON.stringify(load(SITE))).not.toContain("component_tls");
    const managers = [...SITE.managers, { name: "b", secret: "a third secret of ours" }];
    const componentTls = { address: "192.0.2.1", caPath: "/c/managers.crt" };
    const hosts = load({ ...SITE, managers, componentTls, ports: { componentTls: 6348 } });
    expect(hosts["*"]).toMatchObject({
      component_interfaces: ["127.0.11.1"],
      muster_component_tls_interfaces: ["192.0.2.1"],
      muster_component_tls_ports: [6348],
      muster_component_tls_ssl: { certificate: "/c/site.crt", cafile: "/c/managers.crt", capath: false },
    });
    const [a, b] = ["cm-a.alpha.test", "cm-b.alpha.test"];
    expect(hosts["cloud.alpha.test"]).toMatchObject({ muster_component_tls_names: [a, b] });
    expect(hosts["cm-a.alpha.test"]).toMatchObject({ muster_component_tls_names: [a] });
    for (const name of ["cloud.alpha.test", "cm-a.alpha.test", "cm-b.alpha.test"])
      expect(hosts[name]?.modules_enabled).toContain("muster_component_tls");
  });

  it("says the same after a round through Lua, whatever the secrets and paths hold", () => {
    const text = fc.oneof(fc.string({ minLength: 16, unit: "binary" }), fc.constant('"]]\n os.exit(1) --[[ \\'));
    fc.assert(
      fc.property(text, text, text, (cloudSecret, secret, path) => {
        const folder = `/x/${path}`;
        const hosts = load({ ...SITE, cloudSecret, folder, managers: [{ name: "a", secret }] });
        expect(Object.keys(hosts)).toHaveLength(4);
        expect(hosts["cloud.alpha.test"]?.component_secret).toBe(bytes(cloudSecret));
        expect(hosts["cm-a.alpha.test"]?.component_secret).toBe(bytes(secret));
        expect(hosts["*"]?.plugin_paths).toHaveLength(1);
      }),
      { numRuns: 30 },
    );
  });

  it("asks the machine's resolver where no names are given", () => {
    const { names: _, ...without } = SITE;
    expect(load(without)["*"]).toMatchObject({ unbound: { resolvconf: true, hoststxt: true } });
  });

  it("lists names in the format of a hosts file", () => {
    expect(hostsFile(SITE)).toBe("127.0.12.1 beta.test cloud.beta.test\n");
  });
});

describe("a site that no server can be started from", () => {
  it("S1: is refused with every field that is wrong, at once", () => {
    const faults = siteFaults({
      ...SITE,
      domain: "Alpha",
      address: "localhost",
      componentAddress: "::1",
      ports: { client: 0, server: 1.5 },
      folder: "state",
      cloudSecret: "short",
      managers: [{ name: "a b", secret: "" }],
      peers: ["cloud.beta.test\n127.0.0.1 bank.test", "*"],
      names: [{ address: "x", names: ["y\nz"] }],
      deadPeerSeconds: 0,
      pendingTokensMax: 0,
    });
    expect(faults.map(({ field }) => field)).toEqual([
      ...["domain", "address", "componentAddress", "ports.client", "ports.server", "folder", "cloudSecret"],
      ...["managers[0].name", "managers[0].secret", "peers[0]", "peers[1]"],
      ...["names[0].address", "names[0].names[0]", "deadPeerSeconds", "pendingTokensMax"],
    ]);
    expect(siteFaults(SITE)).toEqual([]);
  });

  it("includes one whose plain component port others could reach beside the one inside TLS", () => {
    const componentTls = {};
    const open = { ...SITE, address: "192.0.2.1", componentTls };
    expect(siteFaults(open)).toMatchObject([
      { field: "componentAddress", message: expect.stringContaining("loopback") },
    ]);
    expect(siteFaults({ ...open, componentAddress: "0.0.0.0" })).toMatchObject([{ field: "componentAddress" }]);
    expect(siteFaults({ ...open, componentAddress: "127.0.0.1" })).toEqual([]);
    expect(siteFaults({ ...SITE, componentTls: { address: "here" } })).toMatchObject([
      { field: "componentTls.address" },
    ]);
  });

  it("includes one whose socket path is longer than the system allows", () => {
    expect(siteFaults({ ...SITE, folder: `/${"x".repeat(120)}` })).toMatchObject([{ field: "folder" }]);
  });

  it("never has an accepted name with a line break or a blank, the separators of the hosts file", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (name) => {
        const accepted = siteFaults({ ...SITE, names: [{ address: "127.0.0.1", names: [name] }] }).length === 0;
        return !accepted || /^[a-z0-9.-]+$/.test(name);
      }),
    );
  });
});

type Options = {
  readonly modules_enabled?: readonly string[];
  readonly modules_disabled?: readonly string[];
  readonly component_secret?: string;
  readonly plugin_paths?: readonly string[];
};
type Loaded = Record<string, Options>;

/** Reads a configuration as Prosody does (global assignments per host), in Lua itself; strings come back as bytes. */
function load(site: ProsodySite): Loaded {
  const program = `
    local hosts, current = { ["*"] = {} }, "*"
    local order = { "*" }
    local function open(name) current = name; hosts[name] = {}; order[#order + 1] = name end
    local env = setmetatable({ VirtualHost = open, Component = open }, {
      __newindex = function(_, key, value) hosts[current][key] = value end })
    local function json(value)
      if type(value) == "string" then
        return '"' .. value:gsub('[%c"\\\\\\128-\\255]', function(c) return ("\\\\u%04x"):format(c:byte()) end) .. '"'
      elseif type(value) ~= "table" then return tostring(value)
      elseif #value > 0 or next(value) == nil then
        local items = {}
        for i, item in ipairs(value) do items[i] = json(item) end
        return "[" .. table.concat(items, ",") .. "]"
      end
      local fields = {}
      for key, item in pairs(value) do fields[#fields + 1] = json(key) .. ":" .. json(item) end
      return "{" .. table.concat(fields, ",") .. "}"
    end
    assert(load(io.read("a"), "=config", "t", env))()
    local fields = {}
    for i, name in ipairs(order) do fields[i] = json(name) .. ":" .. json(hosts[name]) end
    io.write("{" .. table.concat(fields, ",") .. "}")`;
  const read = execFileSync("lua5.4", ["-e", program], { input: prosodyConfig(site), encoding: "utf8" });
  return JSON.parse(read) as Loaded;
}

/** A text as Lua sees it: one character a byte. */
function bytes(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
