/** Fence agents: real programs and a real machine controller by HTTPS; nothing counts but a confirmed *off* (P1). */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@muster/base";
import type { HostView } from "@muster/protocol";
import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CoreEvent } from "../core/event.ts";
import { type FenceAgentConfig, fencingSchema } from "./fence-config.ts";
import { Fencer } from "./fencer.ts";

const SECRET = "correct-horse-battery";
let folder = "";
let fencer: Fencer | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-fence-"));
});

afterEach(() => {
  fencer?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const file = (name: string): string => join(folder, name);

/** An agent that is a real program: it notes how it was called, and acts as the script says. */
function agent(script: string, more: object = {}): FenceAgentConfig {
  const program = file("fence_test");
  const head = `#!/bin/sh\necho "argv:$*" >> ${file("calls")}\ncat > ${file("input")}\ncat ${file("input")} >> ${file("calls")}\naction=$(sed -n 's/^action=//p' ${file("input")})\n`;
  writeFileSync(program, head + script);
  chmodSync(program, 0o755);
  writeFileSync(file("options"), `ip=192.0.2.9\nusername=admin\npassword=${SECRET}\naction=on\n`);
  const config = { h1: { kind: "program", program, optionsFile: file("options"), timeoutMs: 4_000, ...more } };
  return one(fencingSchema.parse(config).h1);
}

function one(config: FenceAgentConfig | undefined): FenceAgentConfig {
  if (config === undefined) throw new Error("no agent");
  return config;
}

const WORKS = `[ $action = off ] && touch ${"$0"}.off && exit 0\n[ -e ${"$0"}.off ] && exit 2\nexit 0\n`;

function host(part: Partial<HostView> = {}): HostView {
  return { name: "h1", liveness: "lost", condition: "accepting", lastHeardMs: 0, ...part } as HostView;
}

function fencerOf(config: FenceAgentConfig | undefined, hosts: readonly HostView[] = [host()], nowMs = 1_000_000) {
  const asked: CoreEvent[] = [];
  const logged: string[] = [];
  fencer = new Fencer({
    clock: systemClock,
    log: pino({ level: "debug" }, { write: (line: string) => void logged.push(line) }),
    fencing: config === undefined ? {} : { h1: config },
    hosts: () => hosts,
    nowMs: () => nowMs,
    ask: async (event) => {
      asked.push(event(1));
      return { kind: "host", host: "h1" };
    },
  });
  return { fencer, asked, logged };
}

describe("a fence agent", () => {
  it("P1: switches the host off, confirms it by its status, and only then is the host declared dead", async () => {
    const { fencer, asked } = fencerOf(agent(WORKS));
    expect(await fencer.fence("h1")).toEqual({ ok: true, value: undefined });
    expect(asked).toMatchObject([{ kind: "host-fence", host: "h1", actor: { user: "fence-agent" } }]);
    const calls = readFileSync(file("calls"), "utf8");
    expect(calls.match(/^action=.*$/gm)).toEqual(["action=off", "action=status"]);
  });

  it("S3: hears its secrets by standard input; they are in no argument, log or refusal", async () => {
    const { fencer, logged } = fencerOf(agent(`echo "login with ${SECRET} failed" >&2\nexit 1\n`));
    const refused = await fencer.fence("h1");
    expect(JSON.stringify(refused)).toContain("login with … failed");
    expect(readFileSync(file("calls"), "utf8")).toContain(`password=${SECRET}`);
    expect(readFileSync(file("calls"), "utf8")).toContain("argv:\n");
    expect(logged.join("") + JSON.stringify(refused)).not.toContain(SECRET);
  });

  it.each([
    ["fails", "echo no route >&2\nexit 1\n", "no route"],
    ["says that it is still on", "exit 0\n", "still on"],
    ["cannot say how it is", "[ $action = off ] && exit 0\necho lost it >&2\nexit 1\n", "not confirmed in time"],
    ["does not end", "sleep 600 & echo $! > $0.pid\nwait\n", "did not end in time"],
  ])("P1: proves nothing when it %s", async (_, script, said) => {
    const { fencer, asked } = fencerOf(agent(script, { timeoutMs: 1_500 }));
    const refused = await fencer.fence("h1");
    expect(refused).toMatchObject({ ok: false, error: { kind: "conflict", reason: "not-fenced" } });
    expect(JSON.stringify(refused)).toContain(said);
    expect(asked).toEqual([]);
    const pid = existsSync(file("fence_test.pid")) ? Number(readFileSync(file("fence_test.pid"), "utf8")) : undefined;
    if (pid !== undefined) await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow(), { timeout: 5_000 });
  });

  it.each([
    ["a host that is heard", host({ liveness: "alive" }), "h1", "host-alive"],
    ["a host that is not known", host(), "h2", "unknown-host"],
  ])("is not run against %s", async (_, view, name, reason) => {
    const { fencer } = fencerOf(agent(WORKS), [view]);
    expect(await fencer.fence(name)).toMatchObject({ ok: false, error: { reason } });
    expect(existsSync(file("calls"))).toBe(false);
  });

  it("is refused where none is configured, and where it is not there", async () => {
    expect(await fencerOf(undefined).fencer.fence("h1")).toMatchObject({ error: { reason: "no-fence-agent" } });
    const gone = { ...agent(WORKS), program: file("nowhere") } as FenceAgentConfig;
    expect(await fencerOf(gone).fencer.fence("h1")).toMatchObject({ error: { reason: "not-fenced" } });
    const unreadable = { ...agent(WORKS), optionsFile: file("nowhere") } as FenceAgentConfig;
    expect(JSON.stringify(await fencerOf(unreadable).fencer.fence("h1"))).toContain("cannot be read");
  });

  it("tells an end once: what failed is tried again for the next one who asks", async () => {
    const { fencer, asked } = fencerOf(agent(`[ -e $0.tried ] || { touch $0.tried; exit 1; }\n${WORKS}`));
    expect(await fencer.fenceSoon("h1")).toMatchObject({ ok: false, error: { reason: "not-fenced" } });
    expect(await fencer.fenceSoon("h1")).toMatchObject({ ok: true });
    expect(asked).toHaveLength(1);
  });

  it("tells whoever asks again how it ended", async () => {
    const { fencer, asked } = fencerOf(agent(`[ $action = off ] && sleep 2.5 && touch $0.off\n${WORKS}`));
    expect(await fencer.fenceSoon("h1")).toMatchObject({ ok: false, error: { reason: "fencing" } });
    await vi.waitFor(async () => expect(await fencer.fenceSoon("h1")).toMatchObject({ ok: true }), { timeout: 10_000 });
    expect(asked).toHaveLength(1);
  });
});

describe("fencing without anybody asking", () => {
  const AUTO = { auto: { afterMs: 60_000 } };

  it("happens where it is configured, once the host was lost for long enough", async () => {
    const { fencer, asked } = fencerOf(agent(WORKS, AUTO), [host(), host({ name: "h2", liveness: "alive" })]);
    fencer.start();
    await vi.waitFor(() => expect(asked).toHaveLength(1), { timeout: 8_000 });
  });

  it.each([
    ["it is not configured", {}, [host()], 1_000_000],
    ["it was lost a moment ago", AUTO, [host(), host({ name: "h2", liveness: "alive" })], 59_000],
    ["it is only suspect", AUTO, [host({ liveness: "suspect" })], 1_000_000],
    ["it was never heard", AUTO, [{ ...host(), lastHeardMs: undefined } as unknown as HostView], 1_000_000],
    [
      "most hosts are lost: it is rather us",
      AUTO,
      [host(), host({ name: "h2" }), host({ name: "h3", liveness: "alive" })],
      1e6,
    ],
    [
      "it is declared dead already",
      AUTO,
      [host({ condition: "fenced" }), host({ name: "h2", liveness: "alive" })],
      1e6,
    ],
  ] as const)("P1: does not happen when %s", async (_, more, hosts, nowMs) => {
    let looks = 0;
    const quick = new Fencer({
      clock: {
        ...systemClock,
        setTimer: (_delayMs, fire) => {
          looks += 1;
          return looks > 20 ? () => {} : systemClock.setTimer(1, fire);
        },
      },
      log: pino({ level: "silent" }),
      fencing: { h1: agent(WORKS, more) },
      hosts: () => hosts,
      nowMs: () => nowMs,
      ask: async () => {
        throw new Error("nobody is to be declared dead");
      },
    });
    quick.start();
    if ("auto" in more) await vi.waitFor(() => expect(looks).toBeGreaterThan(20), { timeout: 5_000 });
    quick.stop();
    expect(existsSync(file("calls"))).toBe(false);
  });
});

describe("Redfish", () => {
  /** A machine controller that is slow to switch off, or never does. */
  async function controller(offAfter: number) {
    const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
    execFileSync("openssl", [...args, ...subject, "-keyout", file("key"), "-out", file("cert")], { stdio: "ignore" });
    const seen: string[] = [];
    let asked = 0;
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      const login = Buffer.from(request.headers.authorization?.slice(6) ?? "", "base64").toString();
      seen.push(`${request.method} ${request.url}`);
      if (login !== `admin:${SECRET}`) response.writeHead(401).end();
      else if (request.method === "POST") response.writeHead(204).end();
      else {
        asked += 1;
        response.writeHead(200).end(JSON.stringify({ PowerState: asked > offAfter ? "Off" : "On" }));
      }
    };
    const server = createServer({ key: readFileSync(file("key")), cert: readFileSync(file("cert")) }, answer);
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/redfish/v1/Systems/1`;
    return { server, seen, url };
  }

  function config(url: string, password = SECRET, trusted = true): FenceAgentConfig {
    writeFileSync(file("password"), `${password}\n`);
    const ca = trusted ? { caFile: file("cert") } : {};
    const h1 = { kind: "redfish", url, user: "admin", passwordFile: file("password"), timeoutMs: 2_500, ...ca };
    return one(fencingSchema.parse({ h1 }).h1);
  }

  it("P1: forces the machine off and asks until it says Off", async () => {
    const { server, seen, url } = await controller(1);
    const { fencer, asked } = fencerOf(config(url));
    expect(await fencer.fence("h1")).toMatchObject({ ok: true });
    expect(asked).toHaveLength(1);
    expect(seen[0]).toBe("POST /redfish/v1/Systems/1/Actions/ComputerSystem.Reset");
    server.close();
  });

  it.each([
    ["it goes on saying On", 1_000, SECRET, true, "still on"],
    ["it knows neither us nor our word", 0, "wrong", true, "401"],
    ["its certificate is not trusted", 0, SECRET, false, "self-signed"],
  ])("P1: proves nothing when %s", async (_, offAfter, password, trusted, said) => {
    const { server, url } = await controller(offAfter);
    const { fencer, asked } = fencerOf(config(url, password, trusted));
    const refused = await fencer.fence("h1");
    expect(JSON.stringify(refused)).toContain(said);
    expect(JSON.stringify(refused)).not.toContain(SECRET);
    expect(asked).toEqual([]);
    server.close();
  });

  it("S1: is only spoken to over TLS", () => {
    const h1 = { kind: "redfish", url: "http://192.0.2.9/redfish/v1/Systems/1", user: "admin", passwordFile: "p" };
    expect(fencingSchema.safeParse({ h1 }).error?.message).toContain("must be an https address");
  });
});
