import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Capacity, NS_UNDERLAY, underlayMessage, underlayTakenMessage } from "@muster/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SPEC, TestBed, TOKENS, until } from "../leadership/test-bed.fixture.ts";
import type { ScriptedHost } from "../xmpp-face/scripted-host.fixture.ts";

const scratch = mkdtempSync(join(tmpdir(), "networks-http-"));
const REMEDY = "make a trunk bridge and name it in networks.vlan of host.yaml";
const UNDERLAY = { address: "10.0.0.11", port: 4_789 };
let bed: TestBed;
let host: ScriptedHost;

beforeAll(async () => {
  bed = await TestBed.start({ hosts: ["h1"], config: { imageStore: { folder: join(scratch, "images") } } });
  host = bed.host("h1");
  const plain = host.capacity.bind(host);
  host.capacity = (): Capacity => ({
    ...plain(),
    networks: { abilities: ["vxlan", "user"], bridges: [], lacks: [{ ability: "vlan", reason: REMEDY }] },
    underlay: UNDERLAY,
  });
  const path = join(scratch, "disk.qcow2");
  execFileSync("qemu-img", ["create", "-f", "qcow2", path, "1M"], { stdio: "ignore" });
  const content = readFileSync(path);
  const digest = `sha256:${createHash("sha256").update(content).digest("hex")}`;
  await bed.send("POST", "/v1/images", { body: { digest, tags: ["tiny"] } });
  await bed.manager.api.inject({
    method: "PUT",
    url: `/v1/images/${digest}/content`,
    headers: { authorization: `Bearer ${TOKENS.admin}`, "content-type": "application/octet-stream" },
    payload: content,
  });
});
afterAll(async () => {
  await bed.stop();
  rmSync(scratch, { recursive: true });
});

const network = (name: string, more: object) =>
  bed.send("POST", "/v1/networks", { body: { name, attachment: "vxlan", ...more } });
const create = (name: string, networks: readonly string[], count = 1) =>
  bed.create({ name, count, spec: { ...SPEC, image: "tiny", networks } });
const why = async (vm: string): Promise<string> => JSON.stringify((await bed.get(`/v1/vms/${vm}/why`)).body);

describe("where tunnels end", () => {
  it("H1: is told to the host with the term, and not again once it has answered", async () => {
    const told: unknown[] = [];
    const stop = host.bus.handle("set", NS_UNDERLAY, "underlay", ({ payload }) => {
      const list = underlayMessage.decode(payload);
      if (!list.ok) throw new Error(JSON.stringify(list.error));
      told.push(list.value);
      const { term, generation } = list.value;
      return { kind: "result", payload: underlayTakenMessage.encode({ term, generation }) };
    });
    await until("the host is told", () => told.length > 0);
    const { beats } = host;
    await until("much time has passed", () => host.beats > beats + 40);
    expect(told).toEqual([{ term: 1, generation: 1, peers: [{ host: "h1", ...UNDERLAY }] }]);
    stop();
  });
});

describe("networks from the request to the host, over HTTP", () => {
  it("a network that no host can attach has the VM wait, with each host's own remedy (P4)", async () => {
    expect((await network("red", { attachment: "vlan", vlan: 10 })).status).toBe(201);
    await create("tagged", ["red"]);
    await until("the host's word is heard", async () => (await why("tagged")).includes("lacks-network"));
    expect(await why("tagged")).toContain(`it cannot attach VMs to red (vlan): ${REMEDY}`);
    expect((await bed.get("/v1/vms/tagged")).body).toMatchObject({ phase: "queued" });
    expect((await bed.get("/v1/hosts/h1")).body).toMatchObject({
      networks: { abilities: ["vxlan", "user"], lacks: [{ ability: "vlan", reason: REMEDY }] },
      underlay: UNDERLAY,
    });
  });

  it("an empty address pool has the VM wait, says so, and leaves nothing reserved when it is given up", async () => {
    await network("small", { cidr: "10.42.1.0/24", pool: { first: "10.42.1.9", last: "10.42.1.9" } });
    await create("pair", ["small"], 2);
    await bed.untilPhase("pair-1", "running");
    await until("the second waits", async () => (await why("pair-2")).includes("no address left: 1 of 1 are reserved"));
    expect((await bed.send("DELETE", "/v1/vms/pair-2")).status).toBeLessThan(300);
    expect((await bed.get("/v1/networks/small")).body).toMatchObject({ addresses: { total: 1, reserved: 1 }, vms: 1 });
  });

  it("an unknown network is refused by name, and nothing is accepted", async () => {
    const asked = await create("lost", ["nowhere"]);
    expect(asked).toMatchObject({ status: 422, body: { reason: "unknown-network" } });
    expect((await bed.get("/v1/vms/lost")).status).toBe(404);
  });

  it("a MAC address that the host has given to another VM is told to the user, in the host's words", async () => {
    await network("wide", { cidr: "10.42.2.0/24" });
    const said = "the MAC address 52:54:00:42:00:01 is that of VM 0190a7b2-7c3d-7e4f-8a5b-6c7d8e9f0a01 on network wide";
    const fails = setInterval(() => {
      for (const { vm, attempt, action, subject } of host.commands)
        if (action === "start" && subject?.name === "twin" && host.vms.get(vm)?.attempt === attempt)
          host.vms.set(vm, { vm, attempt, state: "failed", reason: said });
    }, 5);
    try {
      await create("twin", ["wide"]);
      await until("its user is told", async () => (await why("twin")).includes(said));
      expect((await bed.get("/v1/vms/twin")).body).toMatchObject({ phase: "queued" });
      await bed.send("DELETE", "/v1/vms/twin");
      const wide = async () => (await bed.get("/v1/networks/wide")).body;
      await until("nothing is reserved for it", async () => String((await wide()).vms) === "0");
      expect(await wide()).toMatchObject({ addresses: { reserved: 0 } });
    } finally {
      clearInterval(fails);
    }
  });

  it("where a VM behind its host is reached from outside is shown as its host says it, and goes with its address", async () => {
    const vm = String((await bed.get("/v1/vms/pair-1")).body.id);
    const access = { host: "192.0.2.4", port: 20_003 };
    const known = host.vms.get(vm);
    if (known === undefined) throw new Error("the VM is not on its host");
    host.vms.set(vm, { ...known, address: "10.42.1.9", access });
    await until("the way in is shown", async () => (await bed.get("/v1/vms/pair-1")).body.access !== undefined);
    expect((await bed.get("/v1/vms/pair-1")).body).toMatchObject({ address: "10.42.1.9", access });
    host.vms.set(vm, { ...known, address: "10.42.1.9" });
    await until("it is gone", async () => (await bed.get("/v1/vms/pair-1")).body.access === undefined);
  });
});
