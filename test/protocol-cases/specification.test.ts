import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { signBurst, siteKeyFromJwk, verifyBurst } from "@muster/broker";
import { parse } from "ltx";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const SPECIFICATION = readFileSync(join(ROOT, "docs/protocol.md"), "utf8");

/** Whose refusals a peer can be given. */
const SPEAKERS = [
  "packages/broker/src/lend/*.ts",
  "packages/broker/src/ledger/*.ts",
  "packages/broker/src/peering/*.ts",
  "packages/broker/src/*-codec.ts",
  "packages/cluster-manager/src/peering/peering-requests.ts",
  "packages/cluster-manager/src/ledger/keep-ledger.ts",
];
/** Words to the own admin, in the same files. */
const NOT_SAID_TO_PEERS = ["ambiguous-lease", "decided-already", "not-awaiting", "simulation-too-long"];

describe("docs/protocol.md", () => {
  it("B5: its example of a signature is what we write, and what we accept", async () => {
    const example = /```xml\n(<offer-query.*?)\n```/s.exec(SPECIFICATION)?.[1] ?? "";
    const d = /`d`\s+`([\w-]{43})`/.exec(SPECIFICATION)?.[1];
    const x = /`x` `([\w-]{43})`/.exec(SPECIFICATION)?.[1] ?? "";
    const key = siteKeyFromJwk({ kty: "OKP", crv: "Ed25519", x, d });
    if (!key.ok) throw new Error(key.error);
    const route = { from: "alpha.example", to: "beta.example" };
    const verified = await verifyBurst(parse(example), route, { domain: route.from, publicKey: x });
    expect(verified).toMatchObject({ ok: true });
    const bare = parse(example);
    bare.remove("signature");
    expect((await signBurst(bare, route, key.value)).toString()).toBe(example);
  });

  it("P4: names every reason for which a peer can be refused", () => {
    const files = globSync(SPEAKERS, { cwd: ROOT }).filter((file) => !/\.(test|fixture)\.ts$/.test(file));
    const reasons = files.flatMap((file) => {
      const source = readFileSync(join(ROOT, file), "utf8");
      const found = source.matchAll(/\brefus(?:al|ed)\(\s*"[a-z-]+",\s*"([a-z-]+)"/g);
      return [...found].map(([, reason]) => reason ?? "");
    });
    expect(reasons.length).toBeGreaterThan(30);
    const told = [...new Set(reasons)].filter((reason) => !NOT_SAID_TO_PEERS.includes(reason));
    expect(told.filter((reason) => !SPECIFICATION.includes(`| \`${reason}\` |`))).toEqual([]);
  });
});
