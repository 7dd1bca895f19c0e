import { macSchema } from "@muster/protocol";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressNumber, addressText, subnetOf } from "./ipv4.ts";
import { ADDRESS_COOL_MS, NetworkBook } from "./network-book.ts";
import type { NetworkRecord, NicRecord } from "./network-record.ts";

const network = (name: string, pool?: { first: string; last: string }): NetworkRecord => ({
  name,
  attachment: "vxlan",
  ...(pool === undefined ? {} : { cidr: "10.77.0.0/24", gateway: "10.77.0.1", pool }),
  mtu: 1_450,
  addressing: "static",
  burstable: false,
  projects: "*",
  isDefault: false,
  user: "root",
  createdAtMs: 0,
});
const FRONT = network("front", { first: "10.77.0.1", last: "10.77.0.6" });
const BACK = network("back", { first: "10.77.0.4", last: "10.77.0.9" });
const bookOf = (...records: NetworkRecord[]): NetworkBook => {
  const book = new NetworkBook();
  for (const record of records) book.records.set(record.name, record);
  return book;
};

describe("addresses as numbers", () => {
  it("comes back to the same text, and finds the subnet of an address", () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 8, max: 30 }), (address, prefix) => {
        expect(addressText(addressNumber(address))).toBe(address);
        const { network, broadcast } = subnetOf(`${address}/${prefix}`);
        expect(broadcast - network + 1).toBe(2 ** (32 - prefix));
        expect(addressNumber(address)).toBeGreaterThanOrEqual(network);
        expect(addressNumber(address)).toBeLessThanOrEqual(broadcast);
      }),
    );
  });
});

describe("the network book", () => {
  it("gives the lowest free address, never the gateway's", () => {
    const book = bookOf(FRONT);
    const nics = book.reserve("vm-1", [FRONT], 0);
    expect(nics).toMatchObject([{ network: "front", address: "10.77.0.2" }]);
    book.take({ id: "vm-1", nics });
    expect(book.reserve("vm-2", [FRONT], 0)).toMatchObject([{ address: "10.77.0.3" }]);
  });

  it("lets an address rest after its VM, then gives it again", () => {
    const one = network("one", { first: "10.77.0.9", last: "10.77.0.9" });
    const book = bookOf(one);
    const nics = book.reserve("vm-1", [one], 0);
    book.take({ id: "vm-1", nics });
    expect(book.lack({ id: "vm-2", nics: book.reserve("vm-2", [one], 0) }, 0)).toBe(
      "network one has no address left: 1 of 1 are reserved",
    );
    book.give({ id: "vm-1", nics });
    book.cool({ id: "vm-1", nics }, ADDRESS_COOL_MS);
    expect(book.hasRoom(one, ADDRESS_COOL_MS - 1)).toBe(false);
    expect(book.tally(one, 1)).toEqual({ total: 1, reserved: 0, cooling: 1 });
    expect(book.complete(book.reserve("vm-2", [one], 1), ADDRESS_COOL_MS)).toMatchObject([{ address: "10.77.0.9" }]);
  });

  it("completes what lacks an address on all networks or on none", () => {
    const one = network("one", { first: "10.77.0.9", last: "10.77.0.9" });
    const book = bookOf(one, BACK);
    const first = book.reserve("vm-1", [one], 0);
    book.take({ id: "vm-1", nics: first });
    const waiting: NicRecord[] = [
      { network: "back", mac: "52:54:00:00:00:01" },
      { network: "one", mac: "52:54:00:00:00:02" },
    ];
    expect(book.complete(waiting, 0)).toBeUndefined();
    book.give({ id: "vm-1", nics: first });
    expect(book.complete(waiting, 0)).toMatchObject([{ address: "10.77.0.4" }, { address: "10.77.0.9" }]);
  });

  it("reserves a MAC and no address where the network has no pool", () => {
    const plain = network("plain");
    const [nic] = bookOf(plain).reserve("vm-1", [plain], 0);
    expect(nic?.address).toBeUndefined();
    expect(macSchema.safeParse(nic?.mac).success).toBe(true);
  });

  it("gives no address and no MAC twice, whatever comes and goes, and never loses one for good", () => {
    const step = fc.record({ vm: fc.integer({ min: 0, max: 11 }), both: fc.boolean(), waitMs: fc.nat(200_000) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const book = bookOf(FRONT, BACK);
        const alive = new Map<string, readonly NicRecord[]>();
        const rests = new Map<string, number>();
        let nowMs = 0;
        steps.forEach(({ vm, both, waitMs }, index) => {
          nowMs += waitMs;
          const slot = String(vm);
          const nics = alive.get(slot);
          if (nics !== undefined) {
            alive.delete(slot);
            book.give({ id: slot, nics });
            book.cool({ id: slot, nics }, nowMs + ADDRESS_COOL_MS);
            for (const { network: at, address } of nics) rests.set(`${at}/${address}`, nowMs + ADDRESS_COOL_MS);
            return;
          }
          const reserved = book.reserve(`${slot}-${index}`, both ? [FRONT, BACK] : [FRONT], nowMs);
          for (const { network: at, address } of reserved)
            if (address !== undefined) expect(rests.get(`${at}/${address}`) ?? 0).toBeLessThanOrEqual(nowMs);
          book.take({ id: slot, nics: reserved });
          alive.set(slot, reserved);
          const all = [...alive.values()].flat();
          const addresses = all.flatMap(({ network: at, address }) =>
            address === undefined ? [] : [`${at}/${address}`],
          );
          expect(new Set(addresses).size).toBe(addresses.length);
          expect(new Set(all.map(({ mac }) => mac)).size).toBe(all.length);
          expect(addresses).not.toContain("front/10.77.0.1");
        });
        for (const [id, nics] of alive) book.give({ id, nics });
        expect(book.tally(FRONT, nowMs + ADDRESS_COOL_MS)).toEqual({ total: 5, reserved: 0, cooling: 0 });
      }),
      { numRuns: 300 },
    );
  });
});
