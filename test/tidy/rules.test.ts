import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findings } from "./rules.ts";
import { readTree } from "./tree.ts";

/** What is found in one file with this text. */
const messages = (path: string, text: string): string[] => findings([{ path, text }]).map(({ message }) => message);
const clean = (path: string, text: string): void => expect(messages(path, text)).toEqual([]);
const found = (path: string, text: string, part: string): void =>
  expect(messages(path, text)).toEqual([expect.stringContaining(part)]);

describe("import direction", () => {
  const imports = (target: string): string => `import { x } from "${target}";\n`;

  it.each([
    ["protocol", "@muster/xmpp"],
    ["base", "@muster/protocol"],
    ["broker", "@muster/xmpp"],
    ["broker", "@muster/cluster-manager"],
    ["host-manager", "@muster/cluster-manager"],
    ["node-libvirt", "@muster/base"],
    ["xmpp-server", "@muster/protocol"],
    ["federation", "@muster/cluster-manager"],
  ])("%s may not import %s", (home, target) => {
    found(`packages/${home}/src/a.ts`, imports(target), "may not import");
  });

  it.each([
    ["protocol", "@muster/base"],
    ["cluster-manager", "@muster/broker"],
    ["host-manager", "node-libvirt"],
    ["xmpp", "@xmpp/client"],
  ])("%s may import %s", (home, target) => clean(`packages/${home}/src/a.ts`, imports(target)));

  it("sees every form of import", () => {
    for (const text of [
      `import "@muster/xmpp";`,
      `import type {\n  A,\n  B,\n} from "@muster/xmpp";`,
      `export { a } from "@muster/xmpp";`,
      `export * from '@muster/xmpp';`,
      `const m = await import("@muster/xmpp");`,
    ]) {
      found("packages/base/src/a.ts", text, "base may not import xmpp");
    }
  });

  it("does not take a constant for an import", () => {
    clean("packages/base/src/a.ts", `export const HOME = "@muster/xmpp";\n`);
  });

  it("only packages/xmpp imports the XMPP library, in tests too", () => {
    found("packages/host-manager/src/a.test.ts", imports("@xmpp/client"), "only packages/xmpp");
  });

  it("a path into another package is refused, one inside of the package is not", () => {
    found("packages/cli/src/view/a.ts", imports("../../../base/src/result.ts"), "reaches into another package");
    clean("packages/cli/src/view/a.ts", imports("../main.ts"));
  });

  it("tests, and the folders test and bench, may import any package of ours", () => {
    clean("packages/xmpp/src/a.test.ts", imports("@muster/xmpp-server"));
    clean("bench/a.ts", imports("@muster/cluster-manager"));
  });

  it("a package without a row in the table is found", () => {
    found("packages/new/src/a.ts", "", "no row");
  });
});

describe("pure folders", () => {
  const core = "packages/cluster-manager/src/core/a.ts";

  it.each([
    [`import { readFile } from "node:fs/promises";`, "does no I/O"],
    ["const now = Date.now();", "reads the clock"],
    ["const now = new Date();", "reads the clock"],
    ["const x = Math.random();", "draws at random"],
    ["setTimeout(run, 5);", "sets a timer"],
  ])("%s", (text, part) => found(core, text, part));

  it("may compute, and may speak of time in comments", () => {
    clean(
      core,
      `import { createHash } from "node:crypto";\n// Date.now is for the shell.\n/* setTimeout */\nnew Date(5);\n`,
    );
  });

  it("are the only ones that are watched", () => {
    clean("packages/cluster-manager/src/dispatch/a.ts", "setTimeout(run, 5);");
    clean("packages/broker/src/lend/a.test.ts", "setTimeout(run, 5);");
  });
});

describe("words and shapes", () => {
  it("a file over 400 lines is found, one of 400 is not", () => {
    clean("bench/a.ts", "x\n".repeat(400));
    found("bench/a.ts", "x\n".repeat(401), "401 lines");
  });

  it.each(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"])("%s is found", (word) => {
    found("README.md", `a ${word} here\n`, "unfinished");
  });

  it.each(["it.on" + "ly(", "describe.sk" + "ip(", "it.to" + "do("])("%s is found", (call) => {
    found("test/a.test.ts", `${call}"x");\n`, "narrows the test run");
  });

  it("names of one machine's folders, a registry and tracker numbers are found", () => {
    found("README.md", `see /wo${"rk/main"}\n`, "somebody's machine");
    found("docs/a.md", `in /t${"mp/x"}\n`, "somebody's machine");
    found("README.md", `from regis${"try.example.org"}\n`, "registry");
    found("README.md", `as in iss${"ue 12"}\n`, "tracker");
    clean("README.md", "state in /var/lib/muster, sources in src/work/item\n");
  });

  it("a default export and a vague name are found", () => {
    found("test/a.ts", "export default 1;\n", "default export");
    found("packages/base/src/utils/a.ts", "", "says nothing");
    found("packages/base/src/helpers.ts", "", "says nothing");
  });

  it("a lockfile that names a registry is found", () => {
    found("package-lock.json", `"resolved": "https://r.example/zod.tgz"`, "names a registry");
  });
});

describe("readTree", () => {
  it("reads the repository's own text files, and nothing that is installed or built", () => {
    const paths = readTree(join(import.meta.dirname, "..", "..")).map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining(["package-lock.json", "muster", ".ci/run", "test/tidy/rules.test.ts"]),
    );
    expect(paths.filter((path) => /(?:^|\/)(?:node_modules|\.git|dist)\//.test(path))).toEqual([]);
  });
});
