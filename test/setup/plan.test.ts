import { describe, expect, it } from "vitest";
import {
  DEBIAN_PACKAGES,
  decide,
  type Facts,
  GUEST_PACKAGES,
  npmReason,
  parseDpkg,
  runsTypeScript,
} from "../../scripts/plan.mjs";

const ready: Facts = {
  nodeVersion: "20.20.2",
  platform: "linux",
  processor: "x64",
  bundledNode: true,
  npmReason: null,
  hasNpm: true,
  missing: [],
  isRoot: true,
  hasApt: true,
  guestsPutOff: false,
};
const names = DEBIAN_PACKAGES.map((entry) => entry.name);

describe("decide", () => {
  it("plans nothing on a machine that has everything", () => {
    expect(decide(ready)).toEqual({ npm: null, debian: [], guests: [], refusal: null });
  });

  it("plans nothing for an ordinary user where everything is there", () => {
    expect(decide({ ...ready, isRoot: false, hasApt: false, hasNpm: false }).refusal).toBeNull();
  });

  it("plans exactly the missing Debian packages for root", () => {
    const plan = decide({ ...ready, missing: ["prosody", "openssl"] });
    expect(plan.debian.map((entry) => entry.name)).toEqual(["prosody", "openssl"]);
    expect(plan.refusal).toBeNull();
  });

  it("refuses without root, naming each package with its reason and the command", () => {
    const { refusal } = decide({
      ...ready,
      npmReason: "missing",
      missing: ["prosody", "libvirt-daemon"],
      isRoot: false,
    });
    expect(refusal).toContain("the XMPP server of each site");
    expect(refusal).toContain("apt-get install --no-install-recommends prosody libvirt-daemon\n");
    expect(refusal).not.toContain("openssl");
    expect(refusal).toContain("Nothing was changed.");
  });

  it("refuses without apt-get, listing every missing package", () => {
    const { refusal } = decide({ ...ready, missing: names, hasApt: false });
    for (const name of names) expect(refusal).toContain(`  ${name} `);
    expect(refusal).not.toContain("apt-get install");
  });

  it("plans what real guests need besides for root, and does without where that cannot be done", () => {
    const missing = GUEST_PACKAGES.map((entry) => entry.name);
    const plan = decide({ ...ready, missing });
    expect(plan).toMatchObject({ debian: [], refusal: null });
    expect(plan.guests.map((entry) => entry.name)).toEqual(missing);
    const nothing = { npm: null, debian: [], guests: [], refusal: null };
    expect(decide({ ...ready, missing, isRoot: false })).toEqual(nothing);
    expect(decide({ ...ready, missing, hasApt: false })).toEqual(nothing);
    expect(decide({ ...ready, missing, guestsPutOff: true })).toEqual(nothing);
  });

  it("says everything that is lacking in one message", () => {
    const { refusal } = decide({
      ...ready,
      missing: ["prosody"],
      hasApt: false,
      hasNpm: false,
      npmReason: "missing",
      processor: "riscv64",
      bundledNode: false,
    });
    expect(refusal).toContain("prosody");
    expect(refusal).toContain("  npm ");
    expect(refusal).toContain("Node.js 22.18 or newer");
  });

  it("adds Node 24 by npm where the machine's is too old and the package is absent", () => {
    expect(decide({ ...ready, bundledNode: false }).npm).toContain("Node 20.20.2 is too old");
    expect(decide({ ...ready, bundledNode: false, nodeVersion: "24.1.0" }).npm).toBeNull();
  });
});

describe("runsTypeScript", () => {
  it.each([
    ["20.20.2", false],
    ["22.17.9", false],
    ["22.18.0", true],
    ["23.5.0", false],
    ["23.6.0", true],
    ["24.0.0", true],
    ["30.1.0", true],
  ])("Node %s: %s", (version, expected) => {
    expect(runsTypeScript(version)).toBe(expected);
  });
});

describe("parseDpkg", () => {
  it("counts a package that was removed, or is half installed, as absent", () => {
    const output = "prosody installed\nopenssl config-files\nlibvirt-daemon half-configured\n\n";
    expect(parseDpkg(output)).toEqual(["prosody"]);
  });
});

describe("npmReason", () => {
  const lock = (packages: object): string => JSON.stringify({ packages: { "": {}, ...packages } });
  const zod = { "node_modules/zod": { version: "4.0.0", integrity: "sha512-a" } };

  it("is null when npm's record agrees with the lockfile", () => {
    expect(npmReason(lock(zod), lock(zod))).toBeNull();
  });

  it("names what differs", () => {
    expect(npmReason(lock(zod), null)).toContain("missing or incomplete");
    expect(npmReason(lock(zod), lock({}))).toBe("zod is missing");
    expect(npmReason(lock(zod), lock({ "node_modules/zod": { version: "4.0.0", integrity: "sha512-b" } }))).toContain(
      "zod is not at the version",
    );
    expect(npmReason(lock(zod), "{ torn")).toContain("unreadable");
  });

  it("lets packages for other machines be absent", () => {
    const other = { "node_modules/other": { version: "1.0.0", optional: true } };
    expect(npmReason(lock({ ...zod, ...other }), lock(zod))).toBeNull();
  });

  it("sees a new package of this workspace", () => {
    const link = { "node_modules/@muster/new": { link: true, resolved: "packages/new" } };
    expect(npmReason(lock({ ...zod, ...link }), lock(zod))).toBe("@muster/new is missing");
  });
});
