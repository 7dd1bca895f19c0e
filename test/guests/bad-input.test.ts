/** What users and admins give that cannot be: told clearly, by the command and by `why`, and nothing of it is left. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { processOf } from "../system/traces.ts";
import { until } from "../system/until.ts";
import { GuestBed, told } from "./guest-bed.ts";
import { OrdinaryUser } from "./ordinary-user.ts";
import { variantRuns } from "./variant.ts";

const runs = await variantRuns("session");
const LOOPBACK = 84;
const START_MS = 240_000;
const STEP_MS = 120_000;
const SMALL = ["--image", "small", "--memory", "128MiB", "--disk", "1GiB"];
const CONTENT = Buffer.alloc(1 << 20, 1);
const ZEROS = `sha256:${"0".repeat(64)}`;

describe.runIf(runs)("bad input", { timeout: STEP_MS }, () => {
  let bed: GuestBed;
  let files: string;
  let server: Server;

  beforeAll(async () => {
    files = mkdtempSync(join(tmpdir(), "muster-bad-"));
    server = createServer((_request, response) => response.end(CONTENT));
    await new Promise<void>((resolve) => server.listen(0, "127.48.0.1", resolve));
    const one = ["--sites", "1", "--hosts", "1", "--managers", "1", "--loopback", String(LOOPBACK)];
    bed = GuestBed.begin(one, await OrdinaryUser.begin());
    await bed.run.saying(/Ctrl-C stops everything/, START_MS);
  }, START_MS + 10_000);
  afterAll(async () => {
    server.close();
    await bed?.clear();
    rmSync(files, { recursive: true, force: true });
  }, 60_000);

  function file(name: string, content: string | Buffer): string {
    const path = join(files, name);
    writeFileSync(path, content);
    execFileSync("chmod", ["-R", "a+rX", files]);
    return path;
  }

  /** An image as qemu-img makes it. */
  function qcow2(name: string, ...options: readonly string[]): string {
    const path = join(files, name);
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", ...options, path, "8M"]);
    execFileSync("chmod", ["-R", "a+rX", files]);
    return path;
  }

  async function refusal(...args: readonly string[]): Promise<string> {
    const ended = await bed.tryMuster(...args);
    expect(ended.code, ended.stdout + ended.stderr).toBeGreaterThan(0);
    return ended.stderr;
  }

  async function list(noun: "image" | "vm"): Promise<readonly { tags?: readonly string[]; name?: string }[]> {
    return JSON.parse(await bed.muster("--format", "json", noun, "list"));
  }

  /** What a site and its host keep, by their folders. */
  const kept = (): readonly string[] => [
    ...bed.guestFiles(),
    ...readdirSync(bed.state, { recursive: true, encoding: "utf8" }).filter((path) =>
      /\/images\/.*(?:part|sha256-)/.test(path),
    ),
  ];

  it.each([
    ["another digest", () => [qcow2("good.qcow2"), "--sha256", ZEROS], /not sha256:0000/],
    ["a URL without a digest", () => [urlOf()], /--sha256/],
    [
      "a truncated image",
      () => [file("cut.qcow2", readFileSync(qcow2("whole.qcow2", "-o", "preallocation=full")).subarray(0, 100_000))],
      /it is truncated/,
    ],
    [
      "a backing file of the host",
      () => [qcow2("backed.qcow2", "-u", "-F", "raw", "-b", "/etc/passwd")],
      /backing file/,
    ],
    ["a raw image that begins as qcow2", () => [qcow2("as-raw.qcow2"), "--image-format", "raw"], /qcow2/],
  ])("an image: %s", async (_what, image, reason) => {
    told(bed);
    const before = kept();
    expect(await refusal("image", "add", ...image(), "--tag", "bad", "--wait", "30s")).toMatch(reason);
    expect(kept()).toEqual(before);
    expect((await list("image")).map(({ tags }) => tags)).toEqual([["small"]]);
  });

  it("an image: another digest behind a URL; its tag is free for the right one at once", async () => {
    told(bed);
    const before = kept();
    const fetched = ["image", "add", urlOf(), "--image-format", "raw", "--tag", "bad", "--wait", "30s"];
    expect(await refusal(...fetched, "--sha256", ZEROS)).toMatch(/it should be sha256:0000.* and is sha256:/);
    expect(await bed.muster("image", "show", ZEROS)).toMatch(/should be sha256:0000/);
    expect(kept()).toEqual(before);
    const digest = `sha256:${createHash("sha256").update(CONTENT).digest("hex")}`;
    expect(await bed.muster(...fetched, "--sha256", digest)).toMatch(/bad +available/);
    for (const image of ["bad", ZEROS]) await bed.muster("image", "remove", image, "--yes");
    expect(kept()).toEqual(before);
  });

  it.each([
    ["user-data over its bound", () => ["--user-data", file("large", "#".repeat(16_385))], /16384|16 KiB/],
    ["a key that is none", () => ["--ssh-key", file("no-key.pub", "ssh-ed25519 AAAA nobody\n")], /key/],
    ["a private key", () => ["--ssh-key", bed.privateKey], /private key, which stays with you/],
    ["an unknown network", () => ["--network", "nowhere"], /nowhere/],
    ["an unknown image", () => ["--image", "nothing"], /nothing/],
  ])("a request: %s", async (_what, options, reason) => {
    told(bed);
    expect(await refusal("vm", "create", "--name", "bad", ...SMALL, ...options())).toMatch(reason);
    expect(await list("vm")).toEqual([]);
  });

  it("a request: less memory, or a smaller disk, than the image needs", async () => {
    told(bed);
    await bed.muster("image", "add", qcow2("needy.qcow2"), "--tag", "needy", "--min-memory", "512MiB", "--wait", "30s");
    const needy = ["--image", "needy", "--disk", "1GiB"];
    const said = await refusal("vm", "create", "--name", "bad", ...needy, "--memory", "128MiB");
    expect(said).toMatch(/needs 512 MiB/);
    await bed.muster("image", "remove", "needy", "--yes");
    expect(await list("vm")).toEqual([]);
  });

  it("a pool that is empty: the second VM waits, says so, and is cancelled without a trace", async () => {
    told(bed);
    const pool = ["--cidr", "10.84.0.0/24", "--gateway", "none", "--pool", "10.84.0.10-10.84.0.10"];
    await bed.muster("network", "create", "tiny", "--attachment", "bridge", ...pool);
    // It waits for a host that there is not, and has its address and its MAC already.
    for (const name of ["first", "second"])
      await bed.muster("vm", "create", "--name", name, ...SMALL, "--network", "tiny", "--label", "zone=nowhere");
    expect(await bed.muster("vm", "why", "second")).toMatch(/network tiny has no address left: 1 of 1 are reserved/);
    await bed.muster("vm", "delete", "first", "second", "--yes", "--wait", "20s");
    await bed.muster("network", "delete", "tiny", "--yes");
  });

  /** The host manager with other settings, as after an edit of its admin's. */
  async function reconfigure(change: (config: { imageCache?: object; hypervisor: { virtType: string } }) => void) {
    const path = join(bed.state, "alpha", "host1", "host.yaml");
    expect(existsSync(path), path).toBe(true);
    const config = parse(readFileSync(path, "utf8"));
    change(config);
    writeFileSync(path, stringify(config));
    const part = /host-manager\/src\/main\.ts --config \S+\/alpha\/host1\//;
    const { pid } = processOf(bed.state, part);
    process.kill(pid, "SIGKILL");
    await until("the host manager to be back", async () => {
      const [host] = JSON.parse(await bed.muster("--format", "json", "host", "list"));
      return host.condition === "accepting" && processIs(part, pid);
    });
  }

  function processIs(part: RegExp, not: number): boolean {
    try {
      return processOf(bed.state, part).pid !== not;
    } catch {
      return false;
    }
  }

  it.each([
    [
      "no space in the image cache",
      (config: { imageCache?: object }) => {
        config.imageCache = { cacheGiB: 0.01 };
      },
      /no space in the image cache of this host/,
    ],
    [
      "no virtualisation",
      (config: { hypervisor: { virtType: string } }) => {
        config.hypervisor.virtType = "kvm";
      },
      /this host has no hardware virtualisation/,
    ],
  ])("a host with %s: `why` tells the reason, and nothing is left", async (_what, change, reason) => {
    told(bed);
    await reconfigure(change);
    await bed.muster("vm", "create", "--name", "bad", ...SMALL);
    await until("why to tell it", async () => reason.test(await bed.muster("vm", "why", "bad")), 60_000);
    // It is tried again a few times, and then has ended by itself.
    expect((await bed.tryMuster("vm", "delete", "bad", "--yes", "--wait", "20s")).code).toBeOneOf([0, 3]);
    expect(bed.domains("alpha", "host1")).toEqual([]);
    expect(bed.guestFiles()).toEqual([]);
    expect(bed.noted()).toEqual([]);
  });

  const urlOf = (): string => `http://127.48.0.1:${(server.address() as AddressInfo).port}/image.raw`;
});
