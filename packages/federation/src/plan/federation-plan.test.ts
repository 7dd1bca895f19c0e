import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { apiUrls, DEFAULT_WISH, planFederation, SITES_MAX } from "./federation-plan.ts";

describe("planFederation", () => {
  it("gives every site a name, a domain and an address of its own, and hosts with names", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: SITES_MAX }),
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 240 }),
        (sites, hostsPerSite, loopback) => {
          const plan = planFederation({ ...DEFAULT_WISH, sites, hostsPerSite, loopback });
          if (!plan.ok) throw new Error(plan.error);
          for (const part of ["name", "domain", "address"] as const)
            expect(new Set(plan.value.sites.map((site) => site[part])).size).toBe(sites);
          for (const site of plan.value.sites) {
            expect(site.address).toMatch(/^127\.0\.\d{1,3}\.1$/);
            expect(new Set(site.hosts.map(({ name }) => name)).size).toBe(hostsPerSite);
            expect(apiUrls(site).every((url) => URL.canParse(url))).toBe(true);
          }
        },
      ),
    );
  });

  it.each([
    ["sites", [0, -1, 1.5, SITES_MAX + 1, Number.NaN], /--sites/],
    ["hostsPerSite", [0, 51, 2.5], /--hosts/],
    ["loopback", [0, 253, 300, 1.5], /--loopback/],
  ] as const)("refuses a %s out of range, naming the option", (key, values, message) => {
    for (const value of values) {
      const plan = planFederation({ ...DEFAULT_WISH, [key]: value });
      expect(!plan.ok && plan.error).toMatch(message);
    }
  });

  it("gives each site the server that it is to have, and refuses one for a site that is not there", () => {
    const plan = planFederation({ ...DEFAULT_WISH, server: "ejabberd", serverOf: { beta: "prosody" } });
    expect(plan.ok && plan.value.sites.map(({ name, server }) => [name, server])).toEqual([
      ["alpha", "ejabberd"],
      ["beta", "prosody"],
    ]);
    const stray = planFederation({ ...DEFAULT_WISH, serverOf: { gamma: "ejabberd" } });
    expect(!stray.ok && stray.error).toMatch(/--server.*gamma.*alpha, beta/);
  });
});
