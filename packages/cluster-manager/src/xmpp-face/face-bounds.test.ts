import { randomUUID } from "node:crypto";
import { VirtualClock } from "@muster/base";
import {
  type HostVm,
  INVENTORY_PAGE_MAX,
  type InventoryPage,
  inventoryPageMessage,
  inventoryQueryMessage,
} from "@muster/protocol";
import type { IqOutcome } from "@muster/xmpp";
import { describe, expect, it } from "vitest";
import { ConfirmCodes } from "./confirm-code.ts";
import { fetchInventory } from "./fetch-inventory.ts";
import { OncePer } from "./once-per.ts";
import { WatchList } from "./watch-list.ts";

describe("once per interval", () => {
  it("says yes once a key, again after the interval, and no when it cannot remember more (S2)", () => {
    const clock = new VirtualClock();
    const once = new OncePer(clock, 1_000, 2);
    expect([once.isDue("a"), once.isDue("a"), once.isDue("b"), once.isDue("c")]).toEqual([true, false, true, false]);
    clock.advance(1_000);
    expect([once.isDue("c"), once.isDue("a")]).toEqual([true, true]);
  });
});

describe("confirm codes", () => {
  it("fit one act of one person for a minute or two", () => {
    const clock = new VirtualClock();
    const codes = new ConfirmCodes(clock, new Uint8Array(32));
    const code = codes.codeFor("ann@a.test", "delete x");
    expect(code).toMatch(/^\d{4}$/);
    expect(codes.confirms(code, "ann@a.test", "delete x")).toBe(true);
    expect(codes.confirms(code, "bob@a.test", "delete x")).toBe(false);
    expect(codes.confirms(code, "ann@a.test", "delete y")).toBe(false);
    clock.advance(60_000);
    expect(codes.confirms(code, "ann@a.test", "delete x")).toBe(true);
    clock.advance(60_000);
    expect(codes.confirms(code, "ann@a.test", "delete x")).toBe(false);
  });
});

describe("the list of watchers", () => {
  it("S2: has no room beyond its bound for one watcher, and has again when one goes", async () => {
    const list = new WatchList(async () => ({ kind: "committed" }));
    for (let index = 0; index < 2_000; index += 1) await list.add({ kind: "vm", id: String(index) }, "ann@a.test");
    expect([list.hasRoomFor("ann@a.test"), list.hasRoomFor("bob@a.test")]).toEqual([false, true]);
    await list.remove({ kind: "vm", id: "7" }, ["ann@a.test"]);
    expect([list.hasRoomFor("ann@a.test"), list.size]).toEqual([true, 1_999]);
  });

  it("keeps nothing that was not stored, and names what cannot be read", async () => {
    const list = new WatchList(async () => ({ kind: "failed", message: "full" }));
    expect(await list.add({ kind: "site" }, "ann@a.test")).toMatchObject({ kind: "failed" });
    expect(list.has({ kind: "site" }, "ann@a.test")).toBe(false);
    expect(list.load([["watch/x", { contact: { kind: "moon" }, watcher: 7 }]])).toEqual(["watch/x"]);
  });
});

describe("the list of a host", () => {
  const vms: HostVm[] = Array.from({ length: 120 }, () => ({
    vm: randomUUID(),
    attempt: 1,
    state: "running" as const,
  }));
  vms.sort((left, right) => (left.vm < right.vm ? -1 : 1));
  const bootId = randomUUID();

  /** Answers as a host does; `revisionOf` tells the revision of the n-th page asked for. */
  const host = (
    revisionOf: (asked: number) => number,
    change: (page: InventoryPage) => InventoryPage = (page) => page,
  ) => {
    let asked = 0;
    return async (payload: Parameters<typeof inventoryQueryMessage.decode>[0]): Promise<IqOutcome> => {
      const query = inventoryQueryMessage.decode(payload);
      if (!query.ok) throw new Error("the query cannot be read");
      const { after = "" } = query.value;
      const rest = vms.filter(({ vm }) => vm > after);
      const shown = rest.slice(0, INVENTORY_PAGE_MAX);
      asked += 1;
      const page = change({
        bootId,
        revision: revisionOf(asked),
        digest: "d",
        complete: shown.length === rest.length,
        vms: shown,
      });
      return { kind: "result", from: "h", payload: inventoryPageMessage.encode(page) };
    };
  };

  it("is put together from pages of one revision", async () => {
    expect(await fetchInventory(host(() => 1))).toEqual({ ok: true, value: { bootId, digest: "d", vms } });
  });

  it("is begun again when it changed meanwhile, and given up when it never stays", async () => {
    expect(await fetchInventory(host((asked) => (asked < 3 ? asked : 3)))).toMatchObject({ ok: true });
    expect(await fetchInventory(host((asked) => asked))).toMatchObject({
      ok: false,
      error: expect.stringContaining("changed"),
    });
  });

  it("S2: never goes on for ever with a host that does not end its list", async () => {
    const endless = host(
      () => 1,
      (page) => ({ ...page, complete: false, vms: page.vms.length > 0 ? page.vms : [] }),
    );
    expect(await fetchInventory(endless)).toMatchObject({ ok: false, error: expect.stringContaining("empty page") });
    const same = host(
      () => 1,
      (page) => ({ ...page, complete: false, vms: vms.slice(0, 1) }),
    );
    expect(await fetchInventory(same)).toMatchObject({ ok: false, error: expect.stringContaining("pages") });
  });

  it("is not taken where a page cannot be read or no answer comes", async () => {
    expect(await fetchInventory(async () => ({ kind: "timeout" }))).toMatchObject({ ok: false });
    const torn = host(
      () => 1,
      (page) => ({ ...page, bootId: "not a uuid" }),
    );
    expect(await fetchInventory(torn)).toMatchObject({ ok: false, error: expect.stringContaining("bootId") });
  });
});
