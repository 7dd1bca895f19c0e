import { describe, expect, it } from "vitest";
import { SPEC, TOKENS } from "../leadership/test-bed.fixture.ts";
import { startBed } from "./api-bed.fixture.ts";

const bed = await startBed();
const make = (body: object, token = TOKENS.admin) => bed.send("POST", "/v1/networks", { body, token });
const FRONT = { name: "front", attachment: "vxlan", cidr: "10.77.0.0/24" };

describe("networks over HTTP", () => {
  it("are made, shown, listed and deleted", async () => {
    const made = await make(FRONT);
    expect(made).toMatchObject({
      status: 201,
      body: { vni: 10_000, mtu: 1_450, addressing: "static", addresses: { total: 253, reserved: 0 } },
    });
    expect((await make(FRONT)).status).toBe(201);
    await make({ name: "secret", attachment: "bridge", projects: ["vault"] });
    expect((await bed.get("/v1/networks")).body.items).toHaveLength(2);
    expect((await bed.get("/v1/networks", TOKENS.user)).body.items).toMatchObject([{ name: "front" }]);
    expect((await bed.get("/v1/networks/secret", TOKENS.user)).status).toBe(404);
    expect((await bed.send("DELETE", "/v1/networks/secret", { token: TOKENS.user })).status).toBe(403);
    expect((await bed.send("DELETE", "/v1/networks/secret")).status).toBe(200);
    expect((await bed.send("DELETE", "/v1/networks/secret")).status).toBe(404);
  });

  it.each([
    ["no subnet at all", { ...FRONT, name: "x", cidr: "10.77.0.0/99" }, "cidr"],
    ["an unknown attachment", { ...FRONT, name: "x", attachment: "token-ring" }, "attachment"],
    ["a name of another kind", { ...FRONT, name: "X y" }, "name"],
    ["an unknown key", { ...FRONT, name: "x", vlan: 5 }, "vlan"],
    ["a pool outside of it", { ...FRONT, name: "x", pool: { first: "1.1.1.1", last: "1.1.1.2" } }, "pool"],
  ])("S1: refuses %s, naming the field", async (_what, body, field) => {
    expect(await make(body)).toMatchObject({ status: 400, body: { faults: [{ field }] } });
    expect((await bed.get("/v1/networks/x")).status).toBe(404);
  });

  it("lets only admins make them", async () => {
    expect(await make({ ...FRONT, name: "x" }, TOKENS.user)).toMatchObject({ status: 403 });
  });

  it("refuses a VM on a network that is not there, naming those that are", async () => {
    const asked = await bed.create({ spec: { ...SPEC, networks: ["nowhere"] } });
    expect(asked).toMatchObject({ status: 422, body: { reason: "unknown-network" } });
    expect(String(asked.body.detail)).toContain("it may use: front");
  });

  it("S1: refuses keys that are no keys, user-data over its bound, and more networks than interfaces", async () => {
    const wrong: readonly (readonly [object, string])[] = [
      [{ sshKeys: ["ssh-rsa nonsense"] }, "spec.sshKeys[0]"],
      [{ userData: "x".repeat(16_385) }, "spec.userData"],
      [{ networks: ["a", "b", "c", "d", "e"] }, "spec.networks"],
      [{ networks: [] }, "spec.networks"],
    ];
    for (const [more, field] of wrong) {
      const asked = await bed.create({ spec: { ...SPEC, ...more } });
      expect(asked.status).toBe(400);
      expect(JSON.stringify(asked.body.faults)).toContain(field);
    }
  });
});
