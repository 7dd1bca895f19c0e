import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeJoinBundle, type JoinBundle } from "@muster/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { muster } from "../system/federation-run.ts";

const BUNDLE: JoinBundle = {
  v: 1,
  site: "alpha.test",
  name: "h7",
  service: "xmpps://127.0.92.1:5223",
  token: "the-secret-token",
};
const GOOD = encodeJoinBundle(BUNDLE);
const encoded = (content: unknown): string => Buffer.from(JSON.stringify(content)).toString("base64url");
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-join-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Joins without starting anything; `fresh` is a folder that does not exist. */
const joinBy = (bundle: string, ...options: string[]) =>
  muster(["host", "join", bundle, "--state", join(folder, "fresh"), "--no-start", ...options]);

describe("muster host join", () => {
  it.each([
    ["nothing", [], /missing required argument 'bundle'/],
    ["no base64url", ["{}"], /the bundle: is not base64url: copy the whole command/],
    ["a bundle that was cut off", [GOOD.slice(0, 60)], /the bundle: is cut off or altered/],
    ["a bundle with something at its end", [`${GOOD}x`], /the bundle: is cut off or altered/],
    ["one over the bound", ["A".repeat(65_537)], /the bundle: is longer than 65536/],
    ["one of another version", [encoded({ ...BUNDLE, v: 2 })], /the bundle: v: is of another version/],
    ["an unknown key", [encoded({ ...BUNDLE, tokn: "" })], /tokn: unknown key; did you mean "token"/],
    ["a bad service", [encoded({ ...BUNDLE, service: "http://x" })], /service: must be xmpps:/],
    ["a name that leaves its folder", [encoded({ ...BUNDLE, name: "../up" })], /name: must be 1 to 63/],
    ["a certificate that is none", [encoded({ ...BUNDLE, ca: "x" })], /ca: must be certificates as PEM/],
    ["an unknown hypervisor", [GOOD, "--hypervisor", "xen"], /Allowed choices are libvirt, simulated/],
    ["a socket for no libvirt", [GOOD, "--hypervisor", "simulated", "--socket", "/s"], /--socket is for --hypervisor/],
    ["two libvirts", [GOOD, "--embedded", "--uri", "qemu:///system"], /leave --uri and --socket out/],
    ["a relative socket", [GOOD, "--socket", "run/s"], /--socket must be an absolute path/],
    ["half a vCPU", [GOOD, "--cpus", "0.5"], /--cpus.*vcpus: /],
    ["negative memory", [GOOD, "--memory=-1GiB"], /memoryMiB: /],
    ["a size that is none", [GOOD, "--disk", "much"], /a size such as 20GiB/],
    ["a label without a key", [GOOD, "--label", "=x"], /--label: .*key=value/],
    ["an image that is none", [GOOD, "--image", "Debian 12"], /--image: .*image tag/],
  ])("S1: refuses %s with exit code 2, and writes nothing", async (_, words, message) => {
    const [bundle, ...options] = words;
    const ended = bundle === undefined ? await muster(["host", "join"]) : await joinBy(bundle, ...options);
    expect(ended).toMatchObject({ code: 2, stdout: "", stderr: expect.stringMatching(message) });
    expect(ended.stderr).not.toContain(BUNDLE.token);
    expect(existsSync(join(folder, "fresh"))).toBe(false);
  });

  it("takes the bundle from stdin too, where other users would see it in the list of processes", async () => {
    const ended = await joinBy("-");
    expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining("the bundle: is not base64url") });
  });

  it("touches no folder that holds something else, and no file in place of a folder", async () => {
    const other = join(folder, "other");
    mkdirSync(other, { mode: 0o755 });
    writeFileSync(join(other, "precious"), "");
    const ended = await muster(["host", "join", GOOD, "--state", other, "--no-start"]);
    expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining("holds something else") });
    expect(readdirSync(other)).toEqual(["precious"]);
    expect(statSync(other).mode & 0o777).toBe(0o755);
    const inTheWay = await muster(["host", "join", GOOD, "--state", join(other, "precious"), "--no-start"]);
    expect(inTheWay).toMatchObject({ code: 1, stderr: expect.stringContaining("cannot be read") });
  });

  it("S3: writes for its owner only, also over what it wrote before, and is no other host's", async () => {
    const own = join(folder, "own");
    const joinOwn = (bundle: JoinBundle) =>
      muster(["host", "join", encodeJoinBundle(bundle), "--state", own, "--no-start", "--label", "a=b"]);
    expect(await joinOwn(BUNDLE)).toMatchObject({ code: 0 });
    expect(await joinOwn({ ...BUNDLE, token: "another-token" })).toMatchObject({ code: 0 });
    for (const name of readdirSync(own)) expect(statSync(join(own, name)).mode & 0o777, name).toBe(0o600);
    expect(await joinOwn({ ...BUNDLE, name: "h8" })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("is of host h7 of alpha.test; name another folder with --state"),
    });
  });
});
