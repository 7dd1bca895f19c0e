import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type EjabberdSite, ejabberdConfig, ejabberdFaults } from "./index.ts";

const SITE: EjabberdSite = {
  domain: "alpha.test",
  address: "127.45.10.1",
  componentAddress: "127.0.0.1",
  folder: "/srv/alpha",
  cloudSecret: "the secret of the cloud",
  managers: [{ name: "a", secret: "the secret of manager a" }],
  peers: ["cloud.beta.test"],
  tls: { keyPath: "/srv/tls/site.key", certificatePath: "/srv/tls/site.crt", caPath: "/srv/tls/ca.crt" },
};

describe("the configuration of ejabberd", () => {
  const config = parse(ejabberdConfig(SITE));

  it("asks for TLS and certificates on every port but that of the components", () => {
    const ports = new Map(config.listen.map((port: { module: string; port: unknown }) => [port.port, port]));
    expect(ports.get(5222)).toMatchObject({ module: "ejabberd_c2s", starttls_required: true });
    expect(ports.get(5223)).toMatchObject({ module: "ejabberd_c2s", tls: true });
    expect(ports.get(5269)).toMatchObject({ module: "ejabberd_s2s_in", ip: "127.45.10.1" });
    expect(ports.get(5347)).toMatchObject({ module: "ejabberd_service", ip: "127.0.0.1" });
    expect(config.s2s_use_starttls).toBe("required");
    expect(Object.keys(config.modules)).not.toContain("mod_s2s_dialback");
  });

  it("links exactly the site's components, each by its own secret", () => {
    const { hosts } = config.listen.find(({ module }: { module: string }) => module === "ejabberd_service");
    expect(hosts).toEqual({
      "cloud.alpha.test": { password: "the secret of the cloud" },
      "cm-a.alpha.test": { password: "the secret of manager a" },
    });
  });

  it("keeps nothing for hosts that are away, and lets nobody register", () => {
    for (const absent of ["mod_offline", "mod_register", "mod_mam"]) expect(config.modules).not.toHaveProperty(absent);
  });

  it("B5: begins with the peers of the configuration and no others", () => {
    expect(config.modules.mod_muster).toEqual({ peers: ["cloud.beta.test"] });
  });

  it("S2: bounds every stanza and the log", () => {
    for (const port of config.listen.filter(({ module }: { module: string }) => module !== "ejabberd_http"))
      expect(port.max_stanza_size).toBeLessThanOrEqual(524_288);
    expect(config.log_rotate_size).toBeLessThanOrEqual(8 * 1024 * 1024);
  });

  it("S3: logs no command, for passwords are among their parameters", () => {
    expect(config.loglevel).toBe("notice");
  });

  it("takes any secret as it is", () => {
    const secret = `a "secret": {with} #everything' \\ ${"\u{1F511}"}`;
    const { listen } = parse(ejabberdConfig({ ...SITE, cloudSecret: secret }));
    expect(listen[3].hosts["cloud.alpha.test"].password).toBe(secret);
  });
});

describe("S1: a site for ejabberd", () => {
  it("is refused with every field at fault", () => {
    const faults = ejabberdFaults({ ...SITE, domain: "Alpha", folder: '/srv/a"b', peers: ["not a domain"] });
    expect(faults.map(({ field }) => field)).toEqual(["domain", "managers[0].name", "peers[0]", "folder"]);
    expect(ejabberdFaults(SITE)).toEqual([]);
  });
});
