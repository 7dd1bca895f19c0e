import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CommandFailed, EXIT } from "./exit-code.ts";
import { addGlobalOptions, openSession, type Session } from "./session.ts";

const VARIABLES = ["MUSTER_API", "MUSTER_TOKEN", "MUSTER_TOKEN_FILE", "MUSTER_STATE"] as const;
const before = Object.fromEntries(VARIABLES.map((name) => [name, process.env[name]]));
let folder: string;

function session(...args: readonly string[]): Session {
  const program = new Command("muster").exitOverride();
  addGlobalOptions(program);
  let opened: Session | undefined;
  program.command("list").action((_options: object, command: Command) => {
    opened = openSession(command);
  });
  program.parse([...args, "list"], { from: "user" });
  if (opened === undefined) throw new Error("no session");
  return opened;
}

function failure(...args: readonly string[]): CommandFailed {
  try {
    session(...args);
  } catch (cause) {
    if (cause instanceof CommandFailed) return cause;
    throw cause;
  }
  throw new Error("it was opened");
}

function writeFederation(): void {
  const site = (name: string, address: string): object => ({
    name,
    domain: `${name}.test`,
    urls: [`http://${address}:8080`],
    tokenFile: join(folder, `${name}-token`),
    xmppAddress: address,
    caFile: join(folder, "ca.crt"),
  });
  const wish = { sites: 2, hostsPerSite: 1, loopback: 11, hypervisor: "simulated", hostVcpus: 8 };
  const sizes = { hostMemoryMiB: 1_024, hostDiskGiB: 10, heartbeatMs: 1_000 };
  const sites = [site("alpha", "127.0.11.1"), site("beta", "127.0.12.1")];
  writeFileSync(join(folder, "federation.json"), JSON.stringify({ version: 1, wish: { ...wish, ...sizes }, sites }));
  for (const name of ["alpha", "beta"]) writeFileSync(join(folder, `${name}-token`), "secret\n", { mode: 0o600 });
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-session-"));
  for (const name of VARIABLES) delete process.env[name];
});

afterEach(() => {
  for (const name of VARIABLES) {
    const value = before[name];
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  rmSync(folder, { recursive: true, force: true });
});

describe("openSession", () => {
  it("takes the first site of the local federation, or the one that is named, by name or domain", () => {
    writeFederation();
    expect(session("--state", folder).entry?.name).toBe("alpha");
    expect(session("--state", folder, "--site", "beta").urls).toEqual(["http://127.0.12.1:8080"]);
    expect(session("--state", folder, "--site", "beta.test").entry?.name).toBe("beta");
    process.env.MUSTER_STATE = folder;
    expect(session().entry?.name).toBe("alpha");
  });

  it("takes addresses from --api before MUSTER_API, and a token from a file or the environment", () => {
    process.env.MUSTER_API = "http://127.0.0.9:1";
    process.env.MUSTER_TOKEN = "x";
    expect(session().urls).toEqual(["http://127.0.0.9:1"]);
    const two = session("--api", "http://127.0.0.1:1,https://127.0.0.2:2");
    expect(two.urls).toEqual(["http://127.0.0.1:1", "https://127.0.0.2:2"]);
    expect(two.entry).toBeUndefined();
  });

  it.each(["", "nonsense", "ftp://127.0.0.1", "javascript:1", "http://127.0.0.1:1,"])(
    "refuses %j as an address",
    (api) => {
      process.env.MUSTER_TOKEN = "x";
      const failed = failure("--api", api);
      expect(failed.message).toMatch(/--api: .* is no address such as http:/);
      expect(failed.exitCode).toBe(EXIT.usage);
    },
  );

  it("says what is missing, each with its exit code", () => {
    expect(failure("--state", folder)).toMatchObject({ exitCode: EXIT.unreachable });
    writeFederation();
    const nowhere = failure("--state", folder, "--site", "gamma");
    expect(nowhere.message).toMatch(/no site "gamma" here; there are: alpha, beta/);
    expect(nowhere.exitCode).toBe(EXIT.notFound);
    expect(failure("--api", "http://127.0.0.1:1")).toMatchObject({
      exitCode: EXIT.usage,
      message: expect.stringMatching(/--token-file/),
    });
    expect(failure("--state", folder, "--token-file", join(folder, "none"))).toMatchObject({
      exitCode: EXIT.notAllowed,
    });
  });
});
