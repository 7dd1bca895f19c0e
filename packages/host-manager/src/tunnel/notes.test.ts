import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { gatewayConfigSchema } from "./config.ts";
import { newTunnelKeys } from "./keys.ts";
import { type TunnelNote, TunnelNotes } from "./notes.ts";
import { awayNic, openOrder } from "./testing/two-sites.ts";

const folder = mkdtempSync(join(tmpdir(), "muster-tunnel-notes-"));
const path = join(folder, "tunnels.json");

function opened(): TunnelNotes {
  const notes = TunnelNotes.open(path);
  if (!notes.ok) throw new Error(notes.error);
  return notes.value;
}

function note(): TunnelNote {
  const { id, end, attempt, vm } = openOrder();
  return { id, end, attempt, vm, vni: 43, nic: awayNic(9), port: 51_820, ...newTunnelKeys() };
}

describe("the notes of tunnels", () => {
  afterEach(() => rmSync(path, { force: true }));

  it("S3: private keys are in a file that only its owner reads", () => {
    const one = note();
    opened().put(one);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(opened().find(one)).toEqual(one);
    expect(readFileSync(path, "utf8")).toContain(one.privateKey);
  });

  it("H5: remember the highest attempt that was closed, also over a restart, and forget the oldest of too many (S2)", () => {
    const { id } = note();
    opened().bury(id, 3);
    opened().bury(id, 2);
    expect(opened().closedAttempt(id)).toBe(3);
    const closed = Array.from({ length: 2_000 }, () => ({ id: note().id, attempt: 1 }));
    writeFileSync(path, JSON.stringify({ tunnels: [], closed: [{ id, attempt: 3 }, ...closed.slice(1)] }));
    opened().bury(note().id, 1);
    expect(opened().closedAttempt(id)).toBe(0);
  });

  it("S1: what they cannot be read from is named, with what to do", () => {
    writeFileSync(path, '{"tunnels": [{}]}');
    expect(TunnelNotes.open(path)).toMatchObject({ ok: false, error: expect.stringContaining("move it away") });
  });
});

describe("gateway of host.yaml", () => {
  it("reads a range of ports, and says what is wrong with one that is none", () => {
    expect(gatewayConfigSchema.parse({})).toEqual({ ports: { first: 51_820, last: 51_899 }, mtu: 1_500 });
    expect(gatewayConfigSchema.parse({ ports: "6000-6001" }).ports).toEqual({ first: 6_000, last: 6_001 });
    for (const ports of ["6000", "6001-6000", "0-5", "60000-70000"])
      expect(gatewayConfigSchema.safeParse({ ports }).success).toBe(false);
  });
});
