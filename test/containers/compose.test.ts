import { existsSync, readFileSync } from "node:fs";
import { BlockList } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type ComposeFile, composeFile } from "./compose-schema.ts";

const top = join(import.meta.dirname, "..", "..");
const raw: unknown = parse(readFileSync(join(top, "docker-compose.yml"), "utf8"), { merge: true });
const file: ComposeFile = composeFile.parse(raw);
const services = Object.entries(file.services);

const volumeOf = (mount: string): string => mount.split(":")[0] ?? "";
const networksOf = (entry: ComposeFile["services"][string]): string[] =>
  Array.isArray(entry.networks) ? entry.networks : Object.keys(entry.networks ?? {});

describe("docker-compose.yml", () => {
  it("is valid against the Compose specification, and a key that is not in it is refused", () => {
    const wrong = (change: (copy: ComposeFile & Record<string, unknown>) => void): boolean => {
      const copy = structuredClone(raw) as ComposeFile & Record<string, unknown>;
      change(copy);
      return composeFile.safeParse(copy).success;
    };
    expect(wrong(() => undefined)).toBe(true);
    expect(wrong((copy) => Object.assign(copy.services.setup ?? {}, { comand: ["x"] }))).toBe(false);
    expect(wrong((copy) => Object.assign(copy, { volume: {} }))).toBe(false);
    expect(wrong((copy) => Object.assign(copy.services.setup ?? {}, { networks: ["alpha"] }))).toBe(false);
    expect(wrong((copy) => Object.assign(copy.services.setup ?? {}, { command: "a shell line" }))).toBe(false);
  });

  it("brings up two sites, each with a server, a cluster manager and three hosts with libvirt", () => {
    const parts = ["xmpp", "cluster-manager", ...[1, 2, 3].flatMap((host) => [`host-${host}`, `host-${host}-libvirt`])];
    const expected = ["alpha", "beta"].flatMap((site) => parts.map((part) => `${site}-${part}`));
    expect(Object.keys(file.services).sort()).toEqual(["muster", "setup", ...expected].sort());
  });

  it.each(services)("%s names only services, networks and volumes that exist", (_, entry) => {
    for (const other of Object.keys(entry.depends_on ?? {})) expect(file.services).toHaveProperty([other]);
    for (const network of networksOf(entry)) expect(file.networks).toHaveProperty([network]);
    for (const mount of entry.volumes) expect(file.volumes).toHaveProperty([volumeOf(mount)]);
    const [, shared] = /^service:(.+)$/.exec(entry.network_mode ?? "") ?? [];
    if (shared !== undefined) expect(file.services).toHaveProperty([shared]);
  });

  it.each(services)("%s waits only for health that is checked, and for ends that come", (_, entry) => {
    for (const [other, { condition }] of Object.entries(entry.depends_on ?? {})) {
      const target = file.services[other];
      if (condition === "service_healthy") expect(target?.healthcheck).toBeDefined();
      if (condition === "service_completed_successfully") expect(target?.restart).toBe("no");
    }
  });

  it("uses every network and volume that it declares", () => {
    const networks = new Set(services.flatMap(([, entry]) => networksOf(entry)));
    const volumes = new Set(services.flatMap(([, entry]) => entry.volumes.map(volumeOf)));
    expect([...networks].sort()).toEqual(Object.keys(file.networks).sort());
    expect([...volumes].sort()).toEqual(Object.keys(file.volumes).sort());
  });

  it("gives each fixed address once, inside of its network, and leaves the gateway's alone", () => {
    const taken = services.flatMap(([, { networks = [] }]) =>
      Array.isArray(networks)
        ? []
        : Object.entries(networks).flatMap(([network, { ipv4_address: address }]) =>
            address === undefined ? [] : [{ network, address }],
          ),
    );
    expect(new Set(taken.map(({ address }) => address)).size).toBe(taken.length);
    for (const { network, address } of taken) {
      const [base = "", bits] = file.networks[network]?.ipam.config[0]?.subnet.split("/") ?? [];
      const subnet = new BlockList();
      subnet.addSubnet(base, Number(bits));
      expect(subnet.check(address), `${address} in ${network}`).toBe(true);
      expect(address).not.toMatch(/\.(?:0|1|255)$/);
    }
  });

  it("publishes ports on the loopback address only, each once", () => {
    const published = services.flatMap(([, entry]) => entry.ports ?? []);
    expect(published.every((port) => port.startsWith("127.0.0.1:"))).toBe(true);
    expect(new Set(published.map((port) => port.split(":")[1])).size).toBe(published.length);
  });

  it.each(services)("%s runs without privileges, on a file system that it cannot change", (_, entry) => {
    expect(entry.cap_drop).toEqual(["ALL"]);
    expect(entry.security_opt).toContain("no-new-privileges:true");
    expect(entry.read_only).toBe(true);
  });

  it("lets a part see its own secrets and no other's; only set-up sees all", () => {
    const own = (service: string): string => (service === "muster" ? "operator" : service.replace(/-libvirt$/, ""));
    for (const [service, entry] of services) {
      if (service !== "setup") expect(entry.volumes.map(volumeOf), service).toEqual([own(service)]);
    }
  });

  it("mounts a volume at the same path everywhere, so that paths in configuration hold for all", () => {
    const paths = new Map<string, Set<string>>();
    for (const [, entry] of services) {
      for (const mount of entry.volumes) {
        const [volume = "", path = ""] = mount.split(":");
        paths.set(volume, (paths.get(volume) ?? new Set()).add(path));
      }
    }
    for (const [volume, places] of paths) expect([...places], volume).toHaveLength(1);
  });

  it("keeps hosts off the network of the other site and off the one between sites", () => {
    for (const [service, entry] of services) {
      const [, site = ""] = /^(alpha|beta)-host-\d$/.exec(service) ?? [];
      if (site !== "") expect(networksOf(entry)).toEqual([site]);
    }
  });

  it("starts entry points that exist", () => {
    const programs = services.map(([, entry]) => entry.command?.[0]).filter((program) => program?.endsWith(".ts"));
    expect(new Set(programs).size).toBe(4);
    for (const program of programs) expect(existsSync(join(top, program ?? "")), program).toBe(true);
  });

  it("reads and writes configuration only in volumes that the part has", () => {
    for (const [service, entry] of services) {
      const words = [...(entry.entrypoint ?? []), ...(entry.command ?? [])];
      const configs = words.filter((word) => word.startsWith("/var/lib/muster/"));
      const places = entry.volumes.map((mount) => mount.split(":")[1] ?? "");
      for (const config of configs) {
        expect(
          places.some((place) => config.startsWith(`${place}/`)),
          `${service}: ${config}`,
        ).toBe(true);
      }
    }
  });
});
