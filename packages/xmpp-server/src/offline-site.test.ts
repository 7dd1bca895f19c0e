import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeServerFault, type ProsodySite, siteFiles } from "./index.ts";
import { writeOfflineSite } from "./offline-site.ts";
import { must, SECRET, type TestSite, TestSites } from "./testing/test-sites.ts";

const DOMAIN = "offline.test";
const ACCOUNTS = [
  { name: "host-h1", password: "a password of the tests" },
  { name: "admin", password: 'with "quotes", \\ and ü' },
];
let sites: TestSites;
let site: TestSite;

beforeAll(async () => {
  sites = await TestSites.create();
  site = await sites.site(DOMAIN, "127.0.85.1");
});
afterAll(() => sites.close());

const recordOf = (name: string, folder = site.site.folder): string =>
  join(siteFiles(folder).data, "offline%2etest", "accounts", `${name.replace("-", "%2d")}.dat`);

describe("a site written offline", () => {
  it("has accounts that can log in once a server runs", async () => {
    must(await writeOfflineSite({ site: site.site, accounts: ACCOUNTS }));
    await site.start();
    for (const { name, password } of ACCOUNTS) await site.client(name, password);
    await site.server.stop();
  });

  it("keeps accounts and their passwords when it is written again", async () => {
    const before = await readFile(recordOf("host-h1"));
    const other = ACCOUNTS.map(({ name }) => ({ name, password: "another password" }));
    must(await writeOfflineSite({ site: site.site, accounts: other }));
    expect(await readFile(recordOf("host-h1"))).toEqual(before);
  });

  it("S3: leaves secrets to the server's user alone, and no password in clear", async () => {
    const { config } = siteFiles(site.site.folder);
    expect((await stat(config)).mode & 0o077).toBe(0);
    expect((await stat(site.site.folder)).mode & 0o077).toBe(0);
    expect(await readFile(recordOf("host-h1"), "utf8")).not.toContain("a password of the tests");
  });

  it("S1: names what is wrong with the site, and writes nothing", async () => {
    const wrong: ProsodySite = { ...site.site, domain: "No Domain", folder: join(sites.folder, "wrong") };
    const written = await writeOfflineSite({ site: wrong, accounts: [] });
    expect(written.ok ? "" : describeServerFault(written.error)).toContain("domain: a lower-case domain name");
    await expect(stat(wrong.folder)).rejects.toThrow("ENOENT");
  });

  it("names the account that cannot be made", async () => {
    const bad = await writeOfflineSite({ site: site.site, accounts: [{ name: "no@such@name", password: SECRET }] });
    expect(bad.ok ? "" : describeServerFault(bad.error)).toContain("account no@such@name");
  });

  it("says so when the folder cannot be had", async () => {
    const path = join(sites.folder, "a-file");
    await writeFile(path, "");
    const inTheWay = await writeOfflineSite({ site: { ...site.site, folder: join(path, "x") }, accounts: [] });
    expect(inTheWay).toMatchObject({ ok: false, error: { kind: "folder-unusable" } });
  });
});
