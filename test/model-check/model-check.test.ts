import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkModel, DROPPED, MODEL, SHOWN } from "./model.ts";

const TOP = join(import.meta.dirname, "..", "..");
/** Whose code keeps the rules. */
const PACKAGES = ["cluster-manager", "host-manager"];
/** Bounded memory is part of the claim: a model that grows beyond a small machine is no check for every change. */
const MEMORY_MIB_MAX = 256;

describe("the model of attempts and terms", () => {
  it("L1, L2, L3, H1, H5, P1: hold with all rules, whatever is lost, doubled, late or crashes", async () => {
    const verdict = await checkModel([]);
    expect(verdict).toMatchObject({ kind: "holds" });
    if (verdict.kind !== "holds") return;
    expect(verdict.states).toBeGreaterThan(100_000);
    expect(verdict.memoryMiB).toBeLessThan(MEMORY_MIB_MAX);
  });

  it("hold as well without what only makes fewer states, over fewer terms and attempts", async () => {
    expect(await checkModel(["NO_SHORTCUTS", "TERMS=2", "ATTEMPTS=1"])).toMatchObject({ kind: "holds" });
  });

  it.each(DROPPED)("$rule is a rule that is needed: without it, $claim", async ({ rule, claim }) => {
    const verdict = await checkModel([rule]);
    expect(verdict).toMatchObject({ kind: "broken", claim });
    expect(verdict.kind === "broken" && verdict.story.length).toBeGreaterThan(2);
  });

  it.each(SHOWN)("something happens in it: $state", async ({ show }) => {
    expect(await checkModel([`SHOW=${show}`])).toMatchObject({ kind: "broken", claim: "0" });
  });

  it("drops every rule that it can drop, and every claim is broken by some", () => {
    const text = readFileSync(MODEL, "utf8");
    const named = new Set([...text.matchAll(/(?:#ifn?def |defined\()([A-Z_]+)/g)].map(([, name]) => name));
    for (const own of ["TERMS", "ATTEMPTS", "SHOW", "NO_SHORTCUTS", "CRASH_LOSES"]) named.delete(own);
    expect(DROPPED.map(({ rule }) => rule).sort()).toEqual([...named].sort());
    const claims = new Set([...text.matchAll(/assert\(!([A-Z]\d\w+)\)/g)].map(([, claim]) => claim));
    expect(new Set(DROPPED.map(({ claim }) => claim))).toEqual(claims);
  });

  it("is mapped to the code: each rule names files that are there", () => {
    const rows = readFileSync(join(import.meta.dirname, "README.md"), "utf8").split("\n");
    for (const { rule, claim } of DROPPED) {
      const [, , , broken = "", files = ""] = rows.find((row) => row.includes(`| \`${rule}\` |`))?.split("|") ?? [];
      expect([rule, broken.trim()]).toEqual([rule, claim.slice(0, 2)]);
      const named = [...files.matchAll(/`([\w/-]+\.ts)`/g)].map(([, file = ""]) => file);
      expect(named, rule).not.toEqual([]);
      for (const file of named)
        expect(PACKAGES.map((name) => join(TOP, "packages", name, "src", file)).filter(existsSync), file).toHaveLength(
          1,
        );
    }
  });
});
