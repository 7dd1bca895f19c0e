// Reads the repository's own text files, for the rules to look at.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import type { SourceFile } from "./rules.ts";

const LEFT_OUT = ["node_modules", ".git", "dist", "coverage", ".muster"];
const TEXT =
  /\.(?:ts|mts|mjs|js|tsx|json|md|ya?ml|lua|xml|sh|css|html)$|^(?:muster|run|Dockerfile|\.npmrc|\.dockerignore|\.gitignore)$/;

/** Every text file under `top`, without what is installed, built or generated. */
export function readTree(top: string): SourceFile[] {
  return walk(top).map((file) => ({
    path: relative(top, file).split(sep).join("/"),
    text: readFileSync(file, "utf8"),
  }));
}

function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (LEFT_OUT.includes(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return walk(path);
    return entry.isFile() && TEXT.test(entry.name) ? [path] : [];
  });
}
