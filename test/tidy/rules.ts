// Rules of the source tree that neither the compiler nor the linter knows: pure functions over paths and texts.

/** A source or text file of the repository: path from its top with forward slashes, and content. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** What a rule found: where, and what to do about it. */
export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

/** Package folder to the packages of ours that its program code may import (tests may import any). */
const DIRECTION: Readonly<Record<string, readonly string[]>> = {
  base: [],
  protocol: ["base"],
  xmpp: ["base", "protocol"],
  "node-libvirt": [],
  "xmpp-server": ["base"],
  "disk-image": ["base"],
  broker: ["base", "protocol"],
  "host-manager": ["base", "protocol", "xmpp", "node-libvirt", "disk-image"],
  "cluster-manager": ["base", "protocol", "xmpp", "broker", "disk-image"],
  client: ["base", "protocol"],
  federation: ["base", "protocol", "client", "xmpp-server", "node-libvirt"],
  cli: ["base", "protocol", "xmpp", "client", "cluster-manager", "federation", "xmpp-server"],
};

/** Folders that decide and never act: no I/O, no clock, no chance, no timers of their own. */
const PURE = [
  /^packages\/protocol\/src\//,
  /^packages\/broker\/src\//,
  /^packages\/cluster-manager\/src\/(core|scheduler|queue|inventory)\//,
  /^packages\/host-manager\/src\/(report|command)\//,
];

/** Files in pure folders that act after all, each with its reason. */
export const SHELLS: Readonly<Record<string, string>> = {};

/** Modules of Node that only compute. */
const COMPUTING_MODULES = ["assert", "assert/strict", "buffer", "crypto", "util"];

const IMPURE_CALLS: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b/, "reads the clock: take a Clock from @muster/base"],
  [/\bMath\.random\b|\brandom(?:UUID|Bytes|Int)\b/, "draws at random: take an Rng from @muster/base"],
  [/\bset(?:Timeout|Interval|Immediate)\b/, "sets a timer: return an effect, or take a Clock from @muster/base"],
];

/** Longest file of code, in lines. */
const MAX_LINES = 400;

const VAGUE_FOLDERS = ["utils", "helpers", "misc", "common"];

// The patterns are written so that they do not match themselves.
const UNFINISHED = /\b(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b/;
const NARROWED_TESTS = /\b(?:it|test|describe|suite)(?:\.\w+)*\.(?:o[n]ly|s[k]ip|t[o]do)\b/;
const PRIVATE_WORDS: ReadonlyArray<readonly [RegExp, string]> = [
  [/(?<![\w./-])\/(?:w[o]rk|r[o]ot|h[o]me\/\w+)\//, "names a folder of somebody's machine"],
  [/\br[e]gistry\.[a-z0-9-]+\.[a-z]+|:4[8]73\b/i, "names a package registry"],
  [/\b[i]ssue #?\d+\b/i, "refers to a tracker by number: say what is meant"],
];

/** All findings for these files, in order of path and line. */
export function findings(files: readonly SourceFile[]): Finding[] {
  const rules = [importDirection, purity, length, words, exportsByName, folderName, lockfile];
  const all = files.flatMap((file) => rules.flatMap((rule) => rule(file)));
  return [...all, ...staleShells(files)].sort((a, b) => a.path.localeCompare(b.path) || a.line - b.line);
}

const isCode = (path: string): boolean => /\.(?:ts|mts|mjs|js|tsx)$/.test(path);
const isTest = (path: string): boolean => /\.(?:test|contract|fixture)\.ts$|\/testing\//.test(path);

/** The specifiers that a file imports, exports from, or imports on demand, with their line. */
function imports(file: SourceFile): Array<{ specifier: string; line: number }> {
  const pattern = /^[ \t]*(?:import|export)\b(?:[^"'`;]*?\bfrom)?\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;
  return [...file.text.matchAll(pattern)].map((match) => ({
    specifier: match[1] ?? match[2] ?? "",
    line: lineAt(file.text, match.index + match[0].length),
  }));
}

const lineAt = (text: string, index: number): number => text.slice(0, index).split("\n").length;

/** Imports point one way, other packages are entered by their name, and only packages/xmpp knows its library. */
function importDirection(file: SourceFile): Finding[] {
  const [, home] = /^packages\/([^/]+)\/src\//.exec(file.path) ?? [];
  if (home === undefined || !isCode(file.path)) return [];
  const allowed = DIRECTION[home];
  if (allowed === undefined) {
    return [{ path: file.path, line: 1, message: `package ${home} has no row in the table of import directions` }];
  }
  return imports(file).flatMap(({ specifier, line }) => {
    const at = (message: string): Finding[] => [{ path: file.path, line, message }];
    if (specifier.startsWith("@xmpp/") && home !== "xmpp") return at(`${specifier}: only packages/xmpp imports it`);
    if (specifier.startsWith(".") && leavesPackage(file.path, specifier)) {
      return at(`${specifier} reaches into another package: import it by its name`);
    }
    const [, target] = /^(?:@muster\/)([^/]+)/.exec(specifier) ?? /^(node-libvirt)$/.exec(specifier) ?? [];
    if (target === undefined || target === home || isTest(file.path)) return [];
    return allowed.includes(target)
      ? []
      : at(`${home} may not import ${target} (it may: ${allowed.join(", ") || "none"})`);
  });
}

function leavesPackage(path: string, specifier: string): boolean {
  const depth = path.split("/").length - 3;
  return specifier.split("/").filter((part) => part === "..").length > depth;
}

/** Decisions take clock and chance as arguments and leave I/O to their callers. */
function purity(file: SourceFile): Finding[] {
  if (!PURE.some((folder) => folder.test(file.path)) || isTest(file.path) || !isCode(file.path)) return [];
  if (SHELLS[file.path] !== undefined) return [];
  const modules = imports(file)
    .filter(({ specifier }) => specifier.startsWith("node:") && !COMPUTING_MODULES.includes(specifier.slice(5)))
    .map(({ specifier, line }) => ({ path: file.path, line, message: `${specifier}: a pure folder does no I/O` }));
  const calls = codeLines(file.text).flatMap((text, index) =>
    IMPURE_CALLS.filter(([pattern]) => pattern.test(text)).map(([, message]) => ({
      path: file.path,
      line: index + 1,
      message,
    })),
  );
  return [...modules, ...calls];
}

/** Lines with their comments blanked, roughly: a whole-line `//` or a line of a block comment. */
function codeLines(text: string): string[] {
  const blanked = text.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, " "));
  return blanked.split("\n").map((line) => line.replace(/(^|\s)\/\/.*$/, "$1"));
}

function length(file: SourceFile): Finding[] {
  const lines = file.text.split("\n").length - 1;
  if (!isCode(file.path) || lines <= MAX_LINES) return [];
  return [{ path: file.path, line: MAX_LINES + 1, message: `${lines} lines; ${MAX_LINES} is the limit: split it` }];
}

/** Nothing unfinished, no narrowed tests, no traces of one machine. */
function words(file: SourceFile): Finding[] {
  if (file.path === "package-lock.json") return [];
  const rules: Array<readonly [RegExp, string]> = [
    [UNFINISHED, "unfinished: do it, or say in prose what is not there"],
    ...PRIVATE_WORDS,
  ];
  if (isCode(file.path)) rules.push([NARROWED_TESTS, "narrows the test run"]);
  if (file.path.endsWith(".md")) rules.push([/(?<![\w./])\/t[m]p\//, "names a folder of somebody's machine"]);
  return file.text.split("\n").flatMap((text, index) =>
    rules.flatMap(([pattern, message]) => {
      const [match] = pattern.exec(text) ?? [];
      return match === undefined ? [] : [{ path: file.path, line: index + 1, message: `"${match}" ${message}` }];
    }),
  );
}

function exportsByName(file: SourceFile): Finding[] {
  if (!isCode(file.path) || file.path === "vitest.config.ts") return [];
  return file.text
    .split("\n")
    .flatMap((text, index) =>
      /^\s*export\s+default\b/.test(text)
        ? [{ path: file.path, line: index + 1, message: "default export: export it by its name" }]
        : [],
    );
}

function folderName(file: SourceFile): Finding[] {
  const parts = file.path.split("/");
  const stem = parts.at(-1)?.split(".")[0] ?? "";
  const vague = [...parts.slice(0, -1), ...(isCode(file.path) ? [stem] : [])].filter((part) =>
    VAGUE_FOLDERS.includes(part),
  );
  return vague.map((part) => ({ path: file.path, line: 1, message: `"${part}" says nothing: name what is in it` }));
}

/** The lockfile names no registry, so that it installs from whichever the machine is set to. */
function lockfile(file: SourceFile): Finding[] {
  if (file.path !== "package-lock.json") return [];
  return file.text
    .split("\n")
    .flatMap((text, index) =>
      /"resolved": "https?:/.test(text)
        ? [{ path: file.path, line: index + 1, message: "names a registry: set omit-lockfile-registry-resolved" }]
        : [],
    );
}

function staleShells(files: readonly SourceFile[]): Finding[] {
  const paths = new Set(files.map((file) => file.path));
  return Object.keys(SHELLS)
    .filter((path) => !paths.has(path))
    .map((path) => ({ path, line: 1, message: "is listed as a shell but does not exist" }));
}
