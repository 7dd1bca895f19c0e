import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ClientReach } from "../peering/reach.ts";
import { loginPassword, peerLogin, readLogin } from "./peer-login.ts";

const JID = "cloud-beta.test@alpha.test";
const REACH: ClientReach = { kind: "client", jid: JID, service: "xmpps://127.0.0.1:5223", caPem: "given" };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-login-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("a login at a peer", () => {
  it("has the password of the site's secret, the same for each manager, another for each account and secret", () => {
    const password = loginPassword("the secret of the site", JID);
    expect(readLogin(REACH, "the secret of the site")).toEqual({ ok: true, value: { password, caPem: "given" } });
    expect(password).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(loginPassword("the secret of the site", "cloud-gamma.test@alpha.test")).not.toBe(password);
    expect(loginPassword("another secret of it", JID)).not.toBe(password);
  });

  it("has password and certificates of the configuration's files, as they are now", async () => {
    const files = { passwordFile: join(folder, "password"), caFile: join(folder, "ca.crt") };
    const { caPem: _given, ...bare } = REACH;
    await writeFile(files.passwordFile, "made by hand\n", { mode: 0o600 });
    await writeFile(files.caFile, "PEM\n", { mode: 0o600 });
    const read = readLogin({ ...bare, ...files }, "unused");
    expect(read).toEqual({ ok: true, value: { password: "made by hand", caPem: "PEM" } });
  });

  it("S1, S3: that lacks a file is refused with its name, and one with a wrong service by its schema's rule", () => {
    const passwordFile = join(folder, "absent");
    const read = readLogin({ ...REACH, passwordFile }, "the secret");
    expect(!read.ok && read.error).toContain(passwordFile);
    const login = peerLogin({
      clock: systemClock,
      rng: systemRng,
      secret: "the secret",
      log: pino({ level: "silent" }),
    });
    expect(() => login({ ...REACH, passwordFile })).toThrow(passwordFile);
    const { caPem: _given, ...bare } = REACH;
    expect(() => login({ ...bare, service: "http://alpha.test" })).toThrow(/xmpps:/);
  });
});
