import { systemClock } from "@muster/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EtcdBed, SITE } from "./etcd-bed.fixture.ts";
import { checkEtcd, type StoreCheck } from "./etcd-health.ts";

const ADDRESSES = ["127.41.1.1", "127.41.1.2", "127.41.1.3"];

let bed: EtcdBed;
beforeAll(async () => {
  bed = await EtcdBed.start(ADDRESSES);
}, 60_000);
afterAll(() => bed?.stop());

/** What was found that is not well, by name. */
async function troubles(prefix: string, endpoints = bed.cluster.endpoints): Promise<Record<string, StoreCheck>> {
  const checks = await checkEtcd({ clock: systemClock, site: SITE, endpoints, prefix });
  return Object.fromEntries(checks.filter(({ verdict }) => verdict !== "ok").map((check) => [check.name, check]));
}

async function ask(path: string, body: object): Promise<void> {
  const answer = await fetch(`http://${ADDRESSES[0]}:2379${path}`, { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
}

describe("the doctor's look at etcd", () => {
  it("finds members, quorum, history and the leader well, and warns of a version before 3.5.14", async () => {
    const prefix = bed.newPrefix();
    await bed.opened(prefix);
    const checks = await checkEtcd({ clock: systemClock, site: SITE, endpoints: bed.cluster.endpoints, prefix });
    expect(checks.filter(({ verdict }) => verdict === "ok").map(({ name }) => name)).toEqual([
      ...bed.cluster.endpoints.map((endpoint) => `etcd ${endpoint}`),
      "etcd quorum",
      "etcd history",
      `etcd ${prefix}`,
    ]);
    expect(checks.find(({ name }) => name === `etcd ${prefix}`)?.message).toBe(`a leads ${SITE} under term 1`);
    for (const check of checks.filter(({ verdict }) => verdict !== "ok"))
      expect(check).toMatchObject({ name: "etcd version", message: /older than 3\.5\.14/, remedy: /update etcd/ });
    await bed.closeStores();
    expect((await troubles(prefix))[`etcd ${prefix}`]?.message).toContain("nobody leads now");
  });

  it("S1: names whose prefix it is, a newer schema, a head that cannot be read and a restored etcd, each with the remedy", async () => {
    const prefix = bed.newPrefix();
    const found = async () => (await troubles(prefix))[`etcd ${prefix}`];
    expect(await found()).toMatchObject({ verdict: "warn", message: "no manager has led over it yet" });
    await bed.opened(prefix);
    const meta = JSON.parse((await bed.stored(`${prefix}meta/site`)) ?? "{}");
    const cases = [
      [
        { site: "beta.example" },
        /holds the records of beta\.example, not of alpha\.example/,
        /store\.prefix of its own/,
      ],
      [{ schema: 2 }, /store schema 2, this version knows 1/, /newer version/],
      [{ term: "x" }, /cannot be read/, /restore/],
      [{ clusterId: "1" }, /put back from a backup/, /muster restore --in-place --above 1/],
    ] as const;
    for (const [change, message, remedy] of cases) {
      await bed.edit(`${prefix}meta/site`, JSON.stringify({ ...meta, ...change }));
      expect(await found()).toMatchObject({ verdict: "fail", message, remedy });
    }
    await bed.closeStores();
  });

  it("names an alarm for want of space, and a store of too few members", async () => {
    const prefix = bed.newPrefix();
    await bed.opened(prefix);
    await ask("/v3/maintenance/alarm", { action: "ACTIVATE", memberID: "1", alarm: "NOSPACE" });
    expect((await troubles(prefix))["etcd space"]).toMatchObject({ verdict: "fail", remedy: /compact its history/ });
    await ask("/v3/maintenance/alarm", { action: "DEACTIVATE", memberID: "1", alarm: "NOSPACE" });
    expect((await troubles(prefix))["etcd space"]).toBeUndefined();
    const few = await troubles(prefix, bed.cluster.endpoints.slice(0, 2));
    expect(few["etcd members"]).toMatchObject({ verdict: "warn", remedy: /store\.endpoints/ });
    await bed.closeStores();
  });

  it("names the member that is gone, and the quorum when most are", { timeout: 60_000 }, async () => {
    const prefix = bed.newPrefix();
    await bed.opened(prefix);
    const [first, second] = bed.cluster.endpoints;
    await bed.cluster.kill(0);
    const one = await troubles(prefix);
    expect(one[`etcd ${first}`]).toMatchObject({
      verdict: "fail",
      message: /ECONNREFUSED/,
      remedy: /is etcd running there/,
    });
    expect(one["etcd quorum"]).toBeUndefined();
    await bed.cluster.kill(1);
    await expect
      .poll(async () => (await troubles(prefix))["etcd quorum"], { timeout: 30_000 })
      .toMatchObject({
        verdict: "fail",
        remedy: /more than half of etcd's members/,
      });
    expect((await troubles(prefix))[`etcd ${second}`]?.verdict).toBe("fail");
    await bed.cluster.restart(0);
    await bed.cluster.restart(1);
    expect((await troubles(prefix))["etcd quorum"]).toBeUndefined();
    await bed.closeStores();
  });
});
