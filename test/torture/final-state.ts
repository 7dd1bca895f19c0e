/** Reads what a federation left behind: stores and journals after it stopped, domains before. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Result, systemClock, systemRng } from "@muster/base";
import {
  openEtcdStore,
  openLevelStore,
  readAll,
  type Store,
  type StoreFault,
  type VmRecord,
} from "@muster/cluster-manager";
import { stateFolder } from "@muster/federation";
import { levelJournal } from "@muster/host-manager";
import { z } from "zod";
import type { FinalDomain, FinalExchange, FinalHost, FinalSite, FinalVm } from "./history.ts";
import type { Rig } from "./rig.ts";

/** Domains that ran at the end, by `<site>/<host>`. */
export type FinalDomains = ReadonlyMap<string, readonly FinalDomain[]>;

const requestSchema = z.looseObject({ id: z.string(), vms: z.array(z.string()) });
const lentSchema = z.looseObject({
  id: z.string(),
  peer: z.string(),
  stage: z.string(),
  hold: z.looseObject({ vm: z.string() }).optional(),
});
const borrowedSchema = z.looseObject({ id: z.string(), peer: z.string(), stage: z.string(), vm: z.string() });
const vmSchema = z.custom<VmRecord>(
  (value) => z.looseObject({ id: z.string(), phase: z.string() }).safeParse(value).success,
);

const OPEN_WITHIN_MS = 15_000;
/** Stages in which an exchange is over. */
const CLOSED: readonly string[] = ["closed", "released", "voided"];

/** The hard state of every site; its managers have been stopped. */
export async function readSites(rig: Rig): Promise<readonly FinalSite[]> {
  const sites: FinalSite[] = [];
  for (const { run } of rig.sites) {
    const { name, domain } = run.plan;
    const store = await openStore(rig, name, domain);
    if (!store.ok) throw new Error(`the store of ${name} cannot be read: ${store.error.message}`);
    const records = async (kind: string) => (await readAll(store.value, `${kind}/`)).map(([, value]) => value);
    const requests = (await records("request")).map((value) => requestSchema.parse(value));
    const vms = (await records("vm")).map((value) => finalVm(vmSchema.parse(value)));
    const lent = (await records("lend")).map((value) => lentSchema.parse(value));
    const borrowed = (await records("borrow")).map((value) => borrowedSchema.parse(value));
    await store.value.close();
    sites.push({
      site: name,
      domain,
      // Opening it took the next term.
      term: store.value.term - 1,
      requests: requests.map(({ id, vms: own }) => ({ id, vms: own })),
      vms,
      lent: lent.map((one) => exchange({ ...one, vm: one.hold?.vm ?? "" })),
      borrowed: borrowed.map(exchange),
    });
  }
  return sites;
}

/** As a manager that is the only one left opens it. */
async function openStore(rig: Rig, name: string, domain: string): Promise<Result<Store, StoreFault>> {
  const manager = "examiner";
  if (rig.etcd === undefined)
    return openLevelStore({ path: join(stateFolder(rig.state).site(name).manager, "store"), manager });
  const { endpoints, caFile, certFile, keyFile } = rig.etcd.access;
  const [ca, cert, key] = [caFile, certFile, keyFile].map((file) => readFileSync(file, "utf8"));
  if (ca === undefined || cert === undefined || key === undefined)
    throw new Error("etcd's certificates are three files");
  const access = { endpoints, tls: { ca, cert, key }, clock: systemClock, rng: systemRng };
  const deadlineMs = systemClock.nowMs() + OPEN_WITHIN_MS;
  for (;;) {
    const opened = await openEtcdStore({ ...access, site: domain, manager });
    // What the last leader left behind says for some seconds that it lives.
    if (opened.ok || opened.error.kind !== "locked" || systemClock.nowMs() > deadlineMs) return opened;
    await new Promise<void>((resolve) => systemClock.setTimer(200, resolve));
  }
}

/** What each host's journal holds; its manager has been stopped. */
export async function readHosts(rig: Rig, domains: FinalDomains): Promise<readonly FinalHost[]> {
  const hosts: FinalHost[] = [];
  for (const { run } of rig.sites)
    for (const { name: host } of run.plan.hosts) {
      const site = run.plan.name;
      const journal = levelJournal(join(stateFolder(rig.state).site(site).host(host).root, "state", "journal"));
      const content = await journal.load();
      await journal.close();
      if (!content.ok) throw new Error(`the journal of ${site}/${host} cannot be read: ${content.error.message}`);
      const { head, attempts } = content.value;
      hosts.push({
        site,
        host,
        domains: domains.get(`${site}/${host}`) ?? [],
        term: head.term,
        attempts: attempts.map(({ vm, attempt, state }) => ({ vm, attempt, state })),
      });
    }
  return hosts;
}

function finalVm({ id, request, phase, attempt, origin, place, reason, refusal }: VmRecord): FinalVm {
  return {
    id,
    request,
    phase,
    attempt,
    origin: origin.kind,
    place: place.kind === "none" ? place : { kind: place.kind, name: place.kind === "host" ? place.host : place.peer },
    reason: reason ?? refusal?.message,
  };
}

function exchange({ id, peer, vm, stage }: { id: string; peer: string; vm: string; stage: string }): FinalExchange {
  return { id, peer, vm, stage, open: !CLOSED.includes(stage) };
}
