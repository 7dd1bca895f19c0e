import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GuestNic } from "@muster/protocol";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { vmId } from "../testing/fixture.ts";
import { makeSeed } from "./seed.ts";
import { hostNameOf, type SeedWish, seedDocuments } from "./seed-documents.ts";
import { yamlText } from "./yaml-text.ts";

const KEY = `ssh-ed25519 ${"A".repeat(68)} eve@example`;
const ODD_KEY = `ssh-rsa ${"B".repeat(80)}== home: "laptop" # mine`;
const STATIC: GuestNic = {
  network: "lan",
  attachment: "vxlan",
  mac: "52:54:00:00:00:01",
  mtu: 1_370,
  addressing: "static",
  address: "10.77.0.5/24",
  gateway: "10.77.0.1",
  nameservers: ["10.77.0.1", "9.9.9.9"],
};
const DHCP: GuestNic = { network: "b", attachment: "nat", mac: "52:54:00:00:00:02", mtu: 1_500, addressing: "dhcp" };
const NONE: GuestNic = { network: "c", attachment: "bridge", mac: "52:54:00:00:00:03", mtu: 9_000, addressing: "none" };

function wish(spec: SeedWish["spec"] = {}, nics: readonly GuestNic[] = []): SeedWish {
  return { vm: vmId(1), attempt: 3, name: "Web_1.shop", spec, nics };
}
function read(documents: Readonly<Record<string, string>>, name: string): unknown {
  return parse(documents[name] ?? "");
}

describe("the words of a seed", () => {
  it("name the instance by VM and attempt: a new disk is a new instance", () => {
    expect(read(seedDocuments(wish()), "meta-data")).toEqual({
      "instance-id": `${vmId(1)}-3`,
      "local-hostname": "web-1.shop",
    });
  });

  it("without user-data, keys stand in meta-data and in a cloud-config", () => {
    const documents = seedDocuments(wish({ sshKeys: [KEY, ODD_KEY] }));
    expect(read(documents, "meta-data")).toMatchObject({ "public-keys": [KEY, ODD_KEY] });
    expect(documents["user-data"]).toMatch(/^#cloud-config\n/);
    expect(documents["user-data"]).toContain(`\n  - ${KEY}\n`);
    expect(read(documents, "user-data")).toEqual({ ssh_authorized_keys: [KEY, ODD_KEY] });
    expect(documents).not.toHaveProperty("vendor-data");
  });

  it("user-data stays as it was given, to the byte; keys stand in meta-data and in vendor-data", () => {
    const userData = "#!/bin/sh\necho 'ä' > /tmp/x\n\n";
    const documents = seedDocuments(wish({ sshKeys: [KEY], userData }));
    expect(documents["user-data"]).toBe(userData);
    expect(read(documents, "meta-data")).toMatchObject({ "public-keys": [KEY] });
    expect(read(documents, "vendor-data")).toEqual({ ssh_authorized_keys: [KEY] });
  });

  it("with neither there is user-data that says nothing, which NoCloud wants", () => {
    expect(seedDocuments(wish())["user-data"]).toBe("#cloud-config\n");
  });

  it("tell each interface by its MAC: static, by DHCP, or not at all", () => {
    expect(read(seedDocuments(wish({}, [STATIC, DHCP, NONE])), "network-config")).toEqual({
      version: 2,
      ethernets: {
        nic0: {
          match: { macaddress: STATIC.mac },
          mtu: 1_370,
          dhcp4: false,
          addresses: ["10.77.0.5/24"],
          routes: [{ to: "0.0.0.0/0", via: "10.77.0.1" }],
          nameservers: { addresses: ["10.77.0.1", "9.9.9.9"] },
        },
        nic1: { match: { macaddress: DHCP.mac }, mtu: 1_500, dhcp4: true },
        nic2: { match: { macaddress: NONE.mac }, mtu: 9_000, dhcp4: false, optional: true },
      },
    });
    const six = { ...STATIC, address: "fd00::5/64", gateway: "fd00::1" };
    expect(seedDocuments(wish({}, [six]))["network-config"]).toContain('to: "::/0"');
  });

  it("whatever a VM is called, its host name is one", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Za-z0-9]([A-Za-z0-9._@-]{0,61}[A-Za-z0-9])?$/), (name) => {
        expect(hostNameOf(name)).toMatch(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/);
      }),
    );
  });
});

describe("YAML", () => {
  it("reads back as what was written, whatever that is", () => {
    const leaf = fc.oneof(
      fc.string(),
      fc.string({ unit: "grapheme" }),
      fc.integer(),
      fc.boolean(),
      fc.constantFrom("no", "1e3", "~", "0x1"),
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.dictionary(fc.string({ minLength: 1 }), tie("item"), { maxKeys: 4, noNullPrototype: true }),
      item: fc.oneof({ maxDepth: 3 }, leaf, tie("tree"), fc.array(tie("item"), { maxLength: 3 })),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        expect(parse(yamlText(value as Record<string, string>))).toEqual(value);
      }),
    );
  });
});

describe("a seed", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "muster-sd-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("is a volume cidata with its documents, made once, and nothing lies beside it", async () => {
    const path = join(folder, "seed.iso");
    const made = await makeSeed(path, wish({ sshKeys: [KEY], userData: "#!/bin/sh\n" }, [STATIC]));
    expect(made).toMatchObject({ ok: true });
    expect(readdirSync(folder)).toEqual(["seed.iso"]);
    const volume = execFileSync("isoinfo", ["-d", "-i", path], { encoding: "utf8" });
    expect(volume).toMatch(/Volume id: cidata/);
    for (const [name, text] of Object.entries(
      seedDocuments(wish({ sshKeys: [KEY], userData: "#!/bin/sh\n" }, [STATIC])),
    )) {
      expect(execFileSync("isoinfo", ["-R", "-x", `/${name}`, "-i", path], { encoding: "utf8" })).toBe(text);
    }
    const { ino } = statSync(path);
    await makeSeed(path, wish());
    expect(statSync(path).ino).toBe(ino);
    expect(readFileSync(path).length).toBeGreaterThan(0);
  });

  it("that cannot be made says why, and leaves nothing", async () => {
    const path = join(folder, "absent", "seed.iso");
    await expect(makeSeed(path, wish())).rejects.toThrow(/ENOENT/);
    expect(existsSync(path)).toBe(false);
  });
});
