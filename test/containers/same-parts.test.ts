import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock, systemRng } from "@muster/base";
import { createSiteClient, type SiteClient } from "@muster/client";
import { readFederationFile } from "@muster/federation";
import type { VmCreateInput, VmView } from "@muster/protocol";
import { findRunAs } from "@muster/xmpp-server";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { runningDomains } from "../system/domains.ts";
import { muster, newStateFolder } from "../system/federation-run.ts";
import { processesOf, tracesOf } from "../system/traces.ts";
import { until } from "../system/until.ts";
import { ComposeRun } from "./compose-run.ts";
import { composeFile } from "./compose-schema.ts";

const TOP = join(import.meta.dirname, "..", "..");
const SITES = ["alpha", "beta"] as const;
/** One address of the loopback network for each site stands for all that the containers of this site have. */
const OWN = { alpha: "127.0.81.1", beta: "127.0.82.1" } as const;

const file = composeFile.parse(parse(readFileSync(join(TOP, "docker-compose.yml"), "utf8"), { merge: true }));
/** Address by service and network, as the file fixes them. */
const fixed = SITES.flatMap((site) => {
  const { networks = {} } = file.services[`${site}-xmpp`] ?? {};
  const attached = Array.isArray(networks) ? [] : Object.values(networks);
  return attached.map(({ ipv4_address: address = "" }) => ({ site, address }));
});

let state: string;
let volumes: string;
let run: ComposeRun;
let clients: Readonly<Record<(typeof SITES)[number], SiteClient>>;

const siteOf = (part: string): (typeof SITES)[number] => (part.startsWith("beta") ? "beta" : "alpha");

/** Addresses of containers as those of this machine; "here" and "everywhere" are the site's own address. */
function rehomed(part: string, text: string): string {
  const own = OWN[siteOf(part)];
  const fixedOnes = fixed.reduce((all, { site, address }) => all.replaceAll(address, OWN[site]), text);
  return fixedOnes.replaceAll("0.0.0.0", own).replaceAll("127.0.0.1", own);
}

/** Moves what the generator wrote for containers to addresses of this machine. */
function rehomeFiles(folder: string): void {
  const configs = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
    /(^|\/)(prosody\.cfg\.lua|hosts|cluster\.yaml|host\.yaml|federation\.json)$/.test(name),
  );
  for (const name of configs) {
    const path = join(folder, name);
    const text = rehomed(name, readFileSync(path, "utf8"));
    expect(text, name).not.toContain("10.213.");
    writeFileSync(path, text);
  }
}

beforeAll(async () => {
  state = newStateFolder();
  volumes = join(state, "m");
  mkdirSync(volumes, { mode: 0o711 });
  chmodSync(volumes, 0o711);
  const found = await findRunAs("prosody");
  if (!found.ok) throw new Error("there is no user for the XMPP server");
  run = new ComposeRun({
    file,
    volumes,
    scratch: join(state, "t"),
    address: (service, text) => (service === "setup" ? text : rehomed(service, text)),
    runAs: (service) => (service.endsWith("-xmpp") ? found.value : undefined),
  });
});
afterAll(async () => {
  const killed = await run.down();
  const left = tracesOf(volumes, [81, 82]);
  rmSync(state, { recursive: true, force: true });
  expect({ killed, left }).toEqual({ killed: [], left: [] });
});

/** Every file below the folder with its content. */
function contentOf(folder: string): Map<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const files = names.filter((name) => statSync(join(folder, name)).isFile());
  return new Map(files.map((name) => [name, readFileSync(join(folder, name), "latin1")]));
}

describe("the services of docker-compose.yml, run by hand", () => {
  it("set-up writes every volume, keeps what exists, and opens nothing to others", async () => {
    expect(await run.once("setup")).toMatchObject({ code: 0 });
    const before = contentOf(volumes);
    expect(await run.once("setup")).toMatchObject({ code: 0 });
    const changing = (name: string): boolean => name.endsWith("prosody.log");
    for (const [name, content] of contentOf(volumes)) if (!changing(name)) expect(before.get(name), name).toBe(content);
    for (const mount of file.services.setup?.volumes ?? []) {
      const folder = (mount.split(":")[1] ?? "").replace("/var/lib/muster", volumes);
      expect(statSync(folder).mode & 0o077, folder).toBe(0);
    }
    expect(processesOf(volumes)).toEqual([]);
  });

  it("no part's folder names a path outside of it", () => {
    for (const mount of file.services.setup?.volumes ?? []) {
      const folder = (mount.split(":")[1] ?? "").replace("/var/lib/muster", volumes);
      for (const [name, content] of contentOf(folder)) {
        const named = content.match(new RegExp(`${volumes}/[\\w./-]+`, "g")) ?? [];
        expect(
          named.filter((path) => path !== folder && !path.startsWith(`${folder}/`)),
          name,
        ).toEqual([]);
      }
    }
  });

  it("come up in order, healthy, and hear their hosts", async () => {
    rehomeFiles(volumes);
    // A second try begins from nothing, as the first one did.
    await run.down();
    await run.up(40_000);
    const listed = readFederationFile(join(volumes, "operator"));
    if (!listed.ok) throw new Error(listed.error);
    const clientOf = (name: string): SiteClient => {
      const entry = listed.value.sites.find((site) => site.name === name);
      const token = readFileSync(entry?.tokenFile ?? "", "utf8").trim();
      return createSiteClient({ endpoint: { urls: entry?.urls ?? [], token }, clock: systemClock, rng: systemRng });
    };
    clients = { alpha: clientOf("alpha"), beta: clientOf("beta") };
    for (const name of SITES)
      await until(`${name} to hear three hosts`, async () => {
        const hosts = await clients[name].hosts();
        return hosts.ok && hosts.value.filter(({ liveness }) => liveness === "alive").length === 3;
      });
    expect(run.fallen()).toEqual([]);
    const asked = await muster(["--site", "beta", "host", "list"], { MUSTER_STATE: join(volumes, "operator") });
    expect(asked).toMatchObject({ code: 0, stdout: expect.stringMatching(/^host3 +alive +accepting/m) });
  });

  it("place a VM at home and burst one to the peer", async () => {
    const spec = { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5 };
    expect(await placed({ name: "home", spec })).toMatchObject({ phase: "running", place: { kind: "host" } });
    const away = await placed({ name: "away", spec, burst: "only" });
    expect(away).toMatchObject({ phase: "running", place: { kind: "peer", peer: "beta.test" } });
    const lent = await clients.beta.leases();
    expect(lent).toMatchObject({ value: [{ role: "lender", peer: "alpha.test", vm: away.id }] });
    expect(await clients.alpha.deleteVm(away.id)).toMatchObject({ ok: true });
    await until("the peer to have let go", async () => {
      const vms = await clients.beta.vms({ final: "false" });
      return vms.ok && vms.value.length === 0;
    });
    expect(run.fallen()).toEqual([]);
  });

  it("H3: leave a VM running when its host manager dies and is started again", async () => {
    const before = await clients.alpha.vm("home");
    if (!before.ok || before.value.place.kind !== "host") throw new Error("the VM is on no host");
    const { id, attempt, place } = before.value;
    const part = place.host.replace("host", "host-");
    await run.crash(`alpha-${part}`, 10_000);
    let backAtMs: number | undefined;
    await until(`${place.host} to be heard again`, async () => {
      const seen = await clients.alpha.host(place.host);
      if (!run.logOf(`alpha-${part}`).includes('"msg":"online"') || !seen.ok) return false;
      backAtMs ??= seen.value.lastHeardMs ?? 0;
      return seen.value.liveness === "alive" && (seen.value.lastHeardMs ?? 0) > backAtMs;
    });
    expect((await runningDomains(volumes, "alpha")).get(id)).toEqual([part]);
    expect(await clients.alpha.vm("home")).toMatchObject({ value: { phase: "running", attempt, place } });
  });
});

async function placed(wish: VmCreateInput): Promise<VmView> {
  const accepted = await clients.alpha.createVms(wish, `containers-${wish.name}`);
  if (!accepted.ok) throw new Error(accepted.error.message);
  let seen: VmView | undefined;
  await until(
    () => `${wish.name} to run; it is ${JSON.stringify(seen)}`,
    async () => {
      const vm = await clients.alpha.vm(wish.name);
      seen = vm.ok ? vm.value : undefined;
      return seen?.phase === "running";
    },
  );
  if (seen === undefined) throw new Error("unseen");
  return seen;
}
