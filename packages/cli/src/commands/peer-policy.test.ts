import { ok } from "@muster/base";
import type { PolicyQuestionInput, RecordedRequest } from "@muster/protocol";
import { Command } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  judgePolicy,
  parseAmounts,
  parseClasses,
  parseImageFetch,
  parseOpening,
  parsePrice,
  parsePrices,
  parseRate,
  parseSuspendRule,
  type RuleOptions,
  readRequests,
  rulesOf,
  withRules,
} from "./peer-policy.ts";

function optionsOf(...words: string[]): RuleOptions {
  const command = withRules(new Command("policy"))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  command.parse(words, { from: "user" });
  return command.opts();
}

describe("rules of a peer policy on the command line", () => {
  it("reads amounts, prices and hours as admins write them", () => {
    expect(parseAmounts("vcpus=8,memory=16GiB,gpus=1,vms=4")).toEqual({ vcpus: 8, memoryMiB: 16_384, gpus: 1, vms: 4 });
    expect(parsePrices("vcpu=0.01,gpu=2")).toEqual({ vcpuHour: 10, memoryGiBHour: 0, gpuHour: 2_000 });
    expect(parsePrice("0.125")).toBe(125);
    const workdays = ["mon", "tue", "wed", "thu", "fri"];
    expect(parseOpening("mon-fri 08:00-18:00 Europe/Berlin")).toEqual({
      days: workdays,
      from: "08:00",
      until: "18:00",
      timeZone: "Europe/Berlin",
    });
    expect(parseOpening("sat-mon,wed 22:00-06:00")).toMatchObject({
      days: ["sat", "sun", "mon", "wed"],
      timeZone: "UTC",
    });
  });

  it("reads classes of hosts, rates and suspensions as admins write them", () => {
    expect(parseClasses("gpu=25%,zone=east:0.5")).toEqual({ gpu: 0.25, "zone=east": 0.5 });
    expect(parseRate("20/100")).toEqual({ perSecond: 20, burst: 100 });
    expect(parseRate("20")).toEqual({ perSecond: 20, burst: 20 });
    expect(parseSuspendRule("10/1h")).toEqual({ offences: 10, withinMs: 3_600_000 });
  });
  it.each(["gpu", "gpu=2", "gpu=x", "zone=east", "=1"])("refuses the classes %j", (text) => {
    expect(() => parseClasses(text)).toThrow();
  });
  it.each(["0", "many", "1/0"])("refuses the rate %j", (text) => {
    expect(() => parseRate(text)).toThrow();
  });
  it.each(["0/1h", "10", "10/soon", "2000/1h"])("refuses the suspension %j", (text) => {
    expect(() => parseSuspendRule(text)).toThrow();
  });

  it.each(["vcpus", "cores=1", "memory=much", "vcpus=1=2"])("refuses the amounts %j", (text) => {
    expect(() => parseAmounts(text)).toThrow();
  });
  it.each(["0.0001", "-1", "free", ""])("refuses the price %j", (text) => {
    expect(() => parsePrice(text)).toThrow();
  });
  it.each(["mon-fri", "any 08:00-18:00", "mon 8-18", "mon 08:00-18:00 Mars/Base", "mon 08:00-18:00 UTC more"])(
    "refuses the hours %j",
    (text) => {
      expect(() => parseOpening(text)).toThrow();
    },
  );

  it("reads from where images are fetched, and how large", () => {
    expect(parseImageFetch("https://a.test/,http://b.test/images 10GiB")).toEqual({
      urls: ["https://a.test/", "http://b.test/images"],
      maxGiB: 10,
    });
    expect(rulesOf(optionsOf("--image-fetch", "https://a.test/ 1"))).toEqual({
      imageFetch: { urls: ["https://a.test/"], maxGiB: 1 },
    });
    expect(rulesOf(optionsOf("--image-fetch", "none"))).toEqual({ imageFetch: null });
  });
  it.each([
    "https://a.test/",
    "10GiB",
    "ftp://a.test/ 10GiB",
    "https://ann@a.test/ 10GiB",
    "https://a.test/?x=1 10GiB",
    "https://a.test/ 0GiB",
    "https://a.test/ 10GiB more",
  ])("refuses to fetch images from %j", (text) => {
    expect(() => parseImageFetch(text)).toThrow(/expected a rule such as/);
  });

  it("sets what was said, and takes away what is none", () => {
    expect(rulesOf(optionsOf())).toEqual({});
    expect(rulesOf(optionsOf("--quota", "vcpus=2", "--hours", "none", "--preempt", "5m", "--prices", "none"))).toEqual({
      quota: { vcpus: 2 },
      hoursPerPeriod: null,
      preempt: { noticeMs: 300_000 },
      prices: null,
    });
    expect(rulesOf(optionsOf("--approve-above", "vcpus=4", "--opening", "none", "--period", "7"))).toEqual({
      approveAbove: { vcpus: 4 },
      openingHours: null,
      periodDays: 7,
    });
    expect(rulesOf(optionsOf("--networks", "tunnel"))).toEqual({ networks: "tunnel" });
    expect(rulesOf(optionsOf("--networks", "none"))).toEqual({ networks: null });
  });
});

describe("recorded requests", () => {
  const line = '{"atMs":0,"cpus":2,"memoryMiB":1024,"image":"debian-12","leaseMs":60000,"durationMs":120000}';
  it("are read a line each, empty ones left out", () => {
    expect(readRequests(`${line}\n\n${line}\n`)).toHaveLength(2);
    expect(readRequests(line)[0]).toMatchObject({ diskGiB: 1, gpus: 0 });
  });
  it.each([
    ["", "no requests"],
    [`${line}\n{`, "line 2: is no JSON"],
    [`${line}\n${line.replace('"cpus":2', '"cpus":0')}`, "line 2: cpus"],
  ])("refuse %j with what is wrong and where", (text, message) => {
    expect(() => readRequests(text)).toThrow(message);
  });
  it("S2: are so many at most", () => {
    expect(() => readRequests(Array.from({ length: 5_001 }, () => line).join("\n"))).toThrow("at most 5000");
  });
});

describe("muster peer policy --explain", () => {
  afterEach(() => vi.restoreAllMocks());

  it("asks for the VM as written and prints what each rule says", async () => {
    const asked: PolicyQuestionInput[] = [];
    const client = {
      explainPolicy: async (_domain: string, question: PolicyQuestionInput) => {
        asked.push(question);
        const rules = [{ rule: "quota", verdict: "refuses" as const, message: "above-quota: 2 vCPUs" }];
        return ok({ peer: "alpha.test", verdict: "refused" as const, rules });
      },
      simulatePolicy: async (peer: string, requests: readonly RecordedRequest[]) =>
        ok({ peer, requests: [], granted: requests.length, refused: {}, vmHours: 0 }),
    };
    let printed = "";
    vi.spyOn(process.stdout, "write").mockImplementation((text) => {
      printed += String(text);
      return true;
    });
    vi.spyOn(process.stderr, "write").mockImplementation(() => true);
    const base = { cpus: 4, memory: 2_048, disk: 10, gpus: 0, lease: 60_000 };
    expect(await judgePolicy(client, "alpha.test", base, "table")).toBe(false);
    expect(await judgePolicy(client, "alpha.test", { ...base, explain: true, image: "debian-12" }, "table")).toBe(true);
    expect(asked).toEqual([
      { spec: { image: "debian-12", vcpus: 4, memoryMiB: 2_048, diskGiB: 10, gpus: 0 }, leaseMs: 60_000 },
    ]);
    expect(printed).toContain("above-quota: 2 vCPUs");
    await expect(judgePolicy(client, "alpha.test", { ...base, explain: true }, "table")).rejects.toThrow("--image");
  });
});
