import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PrivateDaemon } from "../daemon/private-daemon.ts";
import { Libvirt } from "../libvirt.ts";
import type { Domain } from "../table/fields.ts";
import { eventually, rejection } from "../testing/eventually.ts";
import { startPrivateDaemon, testDomainXml } from "../testing/private-daemon.ts";
import type { DomainLifecycle } from "./domains.ts";

let daemon: PrivateDaemon;
let libvirt: Libvirt;

beforeAll(async () => {
  daemon = await startPrivateDaemon();
  libvirt = await Libvirt.open({ socketPath: daemon.socketPath, uri: daemon.uri });
});

afterAll(async () => {
  await libvirt.close();
  await daemon.stop();
});

/** Runs `use` with a defined domain of its own. */
async function withDomain(use: (domain: Domain) => Promise<void>): Promise<void> {
  const uuid = randomUUID();
  const domain = await libvirt.domains.define(testDomainXml(`vm-${uuid.slice(0, 8)}`, uuid));
  try {
    await use(domain);
  } finally {
    if (await libvirt.domains.isActive(domain)) await libvirt.domains.destroy(domain);
    await libvirt.domains.undefine(domain, { managedSave: true, snapshotsMetadata: true });
  }
}

describe("domains", () => {
  it("are defined, started, suspended, resumed, rebooted, shut down, destroyed and undefined", async () => {
    const { domains } = libvirt;
    const uuid = randomUUID();
    const domain = await domains.define(testDomainXml("life", uuid), { validate: true });
    expect(domain).toEqual({ name: "life", uuid, id: -1 });
    const states: string[] = [];
    const note = async () => states.push((await domains.state(domain)).state);
    await note();
    await domains.start(domain);
    await note();
    await domains.suspend(domain);
    await note();
    await domains.resume(domain);
    await note();
    await domains.reboot(domain);
    await note();
    await domains.destroy(domain);
    await note();
    await domains.start(domain);
    await domains.shutdown(domain);
    await note();
    expect(states).toEqual(["shutoff", "running", "paused", "running", "running", "shutoff", "shutoff"]);
    await domains.undefine(domain);
    expect(await domains.lookupByUuid(uuid)).toBeUndefined();
  });

  it("are found by name, UUID and id, and undefined stands for none", async () => {
    await withDomain(async (domain) => {
      const { domains } = libvirt;
      expect(await domains.lookupByName(domain.name)).toEqual(domain);
      expect(await domains.lookupByUuid(domain.uuid)).toEqual(domain);
      expect(await domains.lookupByName("absent")).toBeUndefined();
      expect(await domains.lookupByUuid(randomUUID())).toBeUndefined();
      expect(await domains.lookupById(4_711)).toBeUndefined();
      await domains.start(domain);
      const running = await domains.lookupByUuid(domain.uuid);
      expect(running?.id).toBeGreaterThan(0);
      expect(await domains.lookupById(running?.id ?? -1)).toEqual(running);
    });
  });

  it("are listed by what they do and whether they last", async () => {
    await withDomain(async (domain) => {
      const transient = await libvirt.domains.create(testDomainXml("passing", randomUUID()));
      const names = async (filter?: Parameters<typeof libvirt.domains.list>[0]) =>
        (await libvirt.domains.list(filter)).map(({ name }) => name).sort();
      expect(await names()).toEqual(["passing", "test", domain.name].sort());
      expect(await names({ active: true })).toEqual(["passing", "test"]);
      expect(await names({ active: false })).toEqual([domain.name]);
      expect(await names({ persistent: false })).toEqual(["passing"]);
      expect(await names({ active: true, persistent: true })).toEqual(["test"]);
      expect(await libvirt.domains.isPersistent(transient)).toBe(false);
      await libvirt.domains.destroy(transient);
      expect(await libvirt.domains.lookupByUuid(transient.uuid)).toBeUndefined();
    });
  });

  it("are named by the UUID alone", async () => {
    await withDomain(async ({ uuid }) => {
      await libvirt.domains.start({ uuid });
      expect(await libvirt.domains.state({ uuid })).toEqual({ state: "running", reason: 1 });
      expect(await libvirt.domains.xml({ uuid })).toContain(`<uuid>${uuid}</uuid>`);
    });
  });

  it("tell their figures, description, name and autostart", async () => {
    await withDomain(async (domain) => {
      const { domains, resources } = libvirt;
      expect(await domains.info(domain)).toMatchObject({ state: "shutoff", maxMemoryKiB: 65_536, vcpus: 2 });
      await domains.start(domain);
      await resources.setMemoryKiB(domain, 32_768, { live: true });
      expect(await domains.info(domain)).toMatchObject({ state: "running", memoryKiB: 32_768 });
      expect(await domains.xml(domain, { inactive: true })).toContain(
        "<currentMemory unit='KiB'>65536</currentMemory>",
      );
      await domains.setAutostart(domain, true);
      expect(await domains.autostart(domain)).toBe(true);
      await domains.destroy(domain);
      await domains.rename(domain, "renamed");
      expect(await domains.lookupByUuid(domain.uuid)).toMatchObject({ name: "renamed" });
    });
  });

  it("refuse with libvirt's code: a second start, XML that is none, a name that is taken", async () => {
    await withDomain(async (domain) => {
      await libvirt.domains.start(domain);
      expect(await rejection(libvirt.domains.start(domain))).toMatchObject({ kind: "libvirt", code: 1 });
      const broken = await rejection(libvirt.domains.define("<domain"));
      expect(broken).toMatchObject({ kind: "libvirt", procedure: "domainDefineXml" });
      const taken = testDomainXml(domain.name, randomUUID());
      expect(await rejection(libvirt.domains.define(taken))).toMatchObject({ kind: "libvirt", code: 9 });
      const undone = await rejection(libvirt.domains.start({ uuid: randomUUID() }));
      expect(undone).toMatchObject({ code: 42, domain: 12, level: 2 });
    });
  });
});

describe("events", () => {
  it("tell the whole life of a domain in order, until the subscription is closed", async () => {
    const seen: DomainLifecycle[] = [];
    const subscription = await libvirt.domains.onLifecycle((change) => seen.push(change));
    const uuid = randomUUID();
    const domain = await libvirt.domains.define(testDomainXml("told", uuid));
    await libvirt.domains.start(domain);
    await libvirt.domains.suspend(domain);
    await libvirt.domains.resume(domain);
    await libvirt.domains.destroy(domain);
    await libvirt.domains.undefine(domain);
    await eventually("six events", () => seen.length === 6);
    expect(seen.map(({ event, detail }) => `${event} ${detail}`)).toEqual([
      "defined added",
      "started booted",
      "suspended paused",
      "resumed unpaused",
      "stopped destroyed",
      "undefined removed",
    ]);
    expect(new Set(seen.map((change) => change.domain.uuid))).toEqual(new Set([uuid]));
    await subscription.close();
    await subscription.close();
    await withDomain(async () => {});
    expect(seen).toHaveLength(6);
  });

  it("reach each subscriber once, and only for the domain it asked for", async () => {
    await withDomain(async (wanted) => {
      const all: string[] = [];
      const one: string[] = [];
      const subscriptions = [
        await libvirt.domains.onLifecycle(({ domain, event }) => all.push(`${domain.name} ${event}`)),
        await libvirt.domains.onLifecycle(({ event }) => one.push(event), wanted),
      ];
      await withDomain(async (other) => {
        await libvirt.domains.start(other);
        await libvirt.domains.start(wanted);
        await eventually("both starts", () => all.includes(`${wanted.name} started`));
        expect(all).toEqual([`${other.name} defined`, `${other.name} started`, `${wanted.name} started`]);
        await eventually("the wanted start", () => one.length > 0);
        expect(one).toEqual(["started"]);
      });
      await Promise.all(subscriptions.map((subscription) => subscription.close()));
    });
  });

  it("of metadata carry the namespace", async () => {
    await withDomain(async (domain) => {
      const seen: unknown[] = [];
      const subscription = await libvirt.subscribe("domain.metadataChange", ({ uri, type }) => seen.push([uri, type]));
      await libvirt.metadata.set(domain, { uri: "urn:example:1", prefix: "ex", xml: "<a/>" });
      await eventually("the change", () => seen.length > 0);
      expect(seen).toEqual([["urn:example:1", 2]]);
      await subscription.close();
    });
  });
});

describe("metadata", () => {
  it("keeps an element per namespace, a title and a description, of the run and of the definition", async () => {
    await withDomain(async (domain) => {
      const { metadata } = libvirt;
      const element = { uri: "urn:example:1", prefix: "ex", xml: "<vm id='1'>Zoë</vm>" };
      expect(await metadata.get(domain, element.uri)).toBeUndefined();
      await metadata.set(domain, element);
      await metadata.set(domain, { ...element, uri: "urn:example:2", xml: "<other/>" });
      expect(await metadata.get(domain, element.uri)).toBe('<vm id="1">Zoë</vm>');
      await metadata.remove(domain, element.uri);
      expect(await metadata.get(domain, element.uri)).toBeUndefined();
      expect(await metadata.get(domain, "urn:example:2")).toBe("<other/>");
      await metadata.setTitle(domain, "One line");
      await metadata.setDescription(domain, "Many\nlines");
      expect(await metadata.title(domain)).toBe("One line");
      expect(await metadata.description(domain)).toBe("Many\nlines");
      await metadata.setTitle(domain, undefined);
      expect(await metadata.title(domain)).toBeUndefined();
      await libvirt.domains.start(domain);
      await metadata.set(domain, { ...element, xml: "<live/>" }, { live: true });
      expect(await metadata.get(domain, element.uri, { live: true })).toBe("<live/>");
      expect(await metadata.get(domain, element.uri, { config: true })).toBeUndefined();
    });
  });
});

describe("snapshots", () => {
  it("are taken, listed, described, gone back to and deleted", async () => {
    await withDomain(async (domain) => {
      const { domains, snapshots } = libvirt;
      expect(await snapshots.current(domain)).toBeUndefined();
      await domains.start(domain);
      const first = await snapshots.create(domain, "<domainsnapshot><name>first</name></domainsnapshot>");
      await domains.suspend(domain);
      const second = await snapshots.create(domain);
      expect((await snapshots.list(domain)).map(({ name }) => name).sort()).toEqual([first.name, second.name].sort());
      expect(await snapshots.current(domain)).toMatchObject({ name: second.name });
      expect(await snapshots.xml(second)).toContain("<parent>");
      await snapshots.revert(first);
      expect((await domains.state(domain)).state).toBe("running");
      expect(await snapshots.lookup(domain, "first")).toMatchObject({ name: "first" });
      await snapshots.delete(first, { children: true });
      expect(await snapshots.list(domain)).toEqual([]);
      expect(await snapshots.lookup(domain, "first")).toBeUndefined();
    });
  });
});

describe("saving", () => {
  it("writes a domain to a file and takes it up again", async () => {
    const folder = await mkdtemp(join(tmpdir(), "nlv-save-"));
    await withDomain(async (domain) => {
      const { domains, saves } = libvirt;
      const file = join(folder, "image");
      await domains.start(domain);
      await saves.save(domain, file);
      expect((await domains.state(domain)).state).toBe("shutoff");
      expect(await saves.imageXml(file)).toContain(domain.uuid);
      await saves.restore(file, { ref: domain });
      expect((await domains.state(domain)).state).toBe("running");
      await domains.destroy(domain);
      expect(await rejection(saves.restore(join(folder, "absent")))).toMatchObject({ kind: "libvirt", code: 38 });
    });
    await rm(folder, { recursive: true });
  });

  it("to the daemon's own place goes on at the next start, unless thrown away", async () => {
    await withDomain(async (domain) => {
      const { domains, saves } = libvirt;
      await domains.start(domain);
      await saves.managedSave(domain);
      expect(await saves.hasManagedSave(domain)).toBe(true);
      await domains.start(domain);
      expect(await saves.hasManagedSave(domain)).toBe(false);
      await saves.managedSave(domain);
      await saves.removeManagedSave(domain);
      expect(await saves.hasManagedSave(domain)).toBe(false);
    });
  });
});
