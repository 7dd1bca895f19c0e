/** A real guest at a lender that has not its image: fetched from home with a ticket, and refused where it is another one. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../system/until.ts";
import { GuestBed, told } from "./guest-bed.ts";
import { variantRuns } from "./variant.ts";

const LOOPBACK = 159;
const HOME_API = `http://127.0.${LOOPBACK}.1:8080/v1/images/`;
const START_MS = 240_000;
const STEP_MS = 150_000;

const runs = await variantRuns("namespaces");

type Vm = { readonly phase: string; readonly address: string; readonly place: { readonly kind: string } };

describe.runIf(runs)("a real guest at a lender that has not its image", () => {
  let bed: GuestBed;

  beforeAll(async () => {
    const shape = ["--sites", "2", "--hosts", "1", "--managers", "1", "--unpeered"];
    bed = GuestBed.begin([...shape, "--loopback", String(LOOPBACK)]);
    await bed.run.saying(/Ctrl-C stops everything/, START_MS);
    const token = (await bed.muster("peer", "invite", "beta.test")).trim();
    await bed.muster("--site", "beta", "peer", "accept", token, "--yes");
    await bed.muster("--site", "beta", "peer", "policy", "alpha.test", "--image-fetch", `${HOME_API} 1GiB`);
  }, START_MS + 30_000);
  afterAll(() => bed.clear(), 60_000);

  const show = async (name: string): Promise<Vm> =>
    JSON.parse(await bed.muster("--format", "json", "vm", "show", name));
  const storeOf = (site: string): string => join(bed.state, site, "manager", "images");

  /** An image of alpha's alone: that of all sites with a few bytes more behind its end. */
  async function addOwn(tag: string): Promise<string> {
    const [name = ""] = readdirSync(storeOf("beta"));
    const content = Buffer.concat([readFileSync(join(storeOf("beta"), name)), Buffer.from(tag.padEnd(512))]);
    const file = join(bed.state, `${tag}.qcow2`);
    const out = openSync(file, "wx");
    writeSync(out, content);
    closeSync(out);
    await bed.muster("image", "add", file, "--tag", tag, "--wait");
    return `sha256-${createHash("sha256").update(content).digest("hex")}`;
  }

  const create = (name: string, image: string): Promise<string> =>
    bed.muster(
      ...["vm", "create", "--name", name, "--image", image, "--memory", "128MiB", "--disk", "1GiB"],
      ...["--ssh-key", bed.publicKey, "--burst", "only"],
    );

  it("runs there, its image fetched from home; the lender's catalogue is as before", { timeout: STEP_MS }, async () => {
    told(bed);
    const before = readdirSync(storeOf("beta"));
    await addOwn("mine");
    await create("away", "mine");
    await until("it runs", async () => (await show("away")).phase === "running", 90_000);
    const away = await show("away");
    expect(away.place.kind).toBe("peer");
    await bed.loggedIn(away.address);
    expect((await bed.ssh(away.address, "hostname")).stdout).toBe("away\n");
    expect(readdirSync(storeOf("beta"))).toEqual(before);
  });

  it("S1: is refused where another content comes, leaves nothing, and `why` says so", {
    timeout: STEP_MS,
  }, async () => {
    told(bed);
    const file = await addOwn("spoilt");
    const stored = openSync(join(storeOf("alpha"), file), "r+");
    writeSync(stored, "x", 1_000_000);
    closeSync(stored);
    const before = bed.guestFiles();
    await create("bad", "spoilt");
    const why = (): Promise<string> => bed.muster("vm", "why", "bad");
    await until("it came to nothing", async () => /came to nothing a moment ago/.test(await why()), 60_000);
    expect(await why()).toContain("its image is fetched from your site");
    expect(await bed.muster("--site", "beta", "events")).toContain("the image's content does not match its digest");
    expect(bed.guestFiles()).toEqual(before);
    expect(bed.domains("beta", "host1")).toHaveLength(1);
    expect(await bed.muster("--site", "beta", "lease", "list")).not.toContain("bad");
    await bed.muster("vm", "delete", "bad", "--yes", "--wait", "60s");
  });

  it("S3: no log and no view shows the ticket", { timeout: STEP_MS }, async () => {
    told(bed);
    const shown = [
      bed.run.stdout,
      ...(await Promise.all([
        ...["alpha", "beta"].flatMap((site) =>
          [["events"], ["lease", "list"], ["vm", "list"]].map((words) =>
            bed.muster("--site", site, "--format", "json", ...words),
          ),
        ),
      ])),
    ];
    expect(shown.join("\n")).not.toContain("ticket=");
  });
});
