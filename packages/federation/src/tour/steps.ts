import { systemRng } from "@muster/base";
import { createSiteClient } from "@muster/client";
import type { VmCreateInput, VmView } from "@muster/protocol";
import { apiUrls } from "../plan/federation-plan.ts";
import type { Guide, TourStep } from "./tour.ts";

/** Everything the tour makes belongs to this project, so that it can tell its own from others' and clean up. */
const PROJECT = "tour";
/** Short, so that renewals are seen within the tour. */
const LEASE_MS = 6_000;
const DOWN_MS = 8_000;
const MANAGER_DOWN_MS = 1_000;

/** The main job, step by step; later steps build on what earlier ones left. */
export function tourSteps(): readonly TourStep[] {
  return [
    { title: "VMs are placed at home until it is full", run: fillHome },
    { title: "The next one waits, and says why", run: queueOne },
    { title: "One that may burst runs at the peer under a lease", run: burstOne },
    { title: "The lease is renewed on both sides", run: renewLease },
    { title: "Bad requests are refused with field and remedy", run: refuseBad },
    { title: "A killed host manager is shown lost, comes back, and nothing was started twice", run: loseHost },
    { title: "The leader is killed amid requests: another leads, and none is lost or doubled", run: loseLeader },
    { title: "Deleting makes room: the queue drains, and in the end nothing is left", run: deleteAll },
  ];
}

function wish(guide: Guide, name: string, more: Partial<VmCreateInput> = {}): VmCreateInput {
  return { name, project: PROJECT, spec: { image: "debian-12", ...vmSize(guide) }, leaseMs: LEASE_MS, ...more };
}

/** A quarter of a host by its vCPUs. */
function vmSize({ home }: Guide): { readonly vcpus: number; readonly memoryMiB: number; readonly diskGiB: number } {
  return { vcpus: Math.max(1, Math.floor(home.plan.hostVcpus / 4)), memoryMiB: 1_024, diskGiB: 10 };
}

async function ours(guide: Guide): Promise<readonly VmView[]> {
  return guide.value("list the tour's VMs", guide.home.client.vms({ project: PROJECT, final: "false" }));
}

async function fillHome(guide: Guide): Promise<void> {
  for (const left of await ours(guide)) await guide.home.client.deleteVm(left.id);
  await guide.claim("nothing of an earlier tour is left", async () =>
    (await ours(guide)).length === 0 ? "" : undefined,
  );
  const hosts = await guide.value("list hosts", guide.home.client.hosts());
  const room = hosts.reduce((count, { free }) => count + Math.floor(free.vcpus / vmSize(guide).vcpus), 0);
  const requestId = guide.newRequestId();
  const accepted = await guide.value(
    "ask for the VMs",
    guide.home.client.createVms(wish(guide, "fill", { count: room }), requestId),
  );
  await guide.claim(`all ${room} VMs run, each on a host of home`, async () => {
    const { vms } = await guide.value("read the request", guide.home.client.request(accepted.request));
    const running = vms.filter(({ phase, place }) => phase === "running" && place.kind === "host");
    return running.length === room ? `on ${[...new Set(running.map(hostOf))].sort().join(", ")}` : undefined;
  });
  await guide.claim("no host has room for one more", async () => {
    const full = await guide.value("list hosts", guide.home.client.hosts());
    return full.every(({ free }) => free.vcpus < vmSize(guide).vcpus) ? "" : undefined;
  });
  await guide.claim("the same request again gets the same answer", async () => {
    const again = await guide.value(
      "ask again",
      guide.home.client.createVms(wish(guide, "fill", { count: room }), requestId),
    );
    return again.vms.map(({ id }) => id).join() === accepted.vms.map(({ id }) => id).join() ? "" : undefined;
  });
}

async function queueOne(guide: Guide): Promise<void> {
  const { client } = guide.home;
  await guide.value("ask for one more", client.createVms(wish(guide, "waits"), guide.newRequestId()));
  await guide.claim("it is queued", async () => ((await vmNamed(guide, "waits"))?.phase === "queued" ? "" : undefined));
  await guide.claim("why names every host and what it lacks", async () => {
    const why = await guide.value("ask why", client.why("waits"));
    const hosts = why.candidates.filter(({ kind }) => kind === "host");
    const lacking = hosts.filter(({ verdict, reason }) => verdict === "refused" && reason !== undefined);
    return lacking.length === guide.home.hosts.length ? `${lacking[0]?.name}: ${lacking[0]?.message}` : undefined;
  });
}

async function burstOne(guide: Guide): Promise<void> {
  const { home, peer } = guide;
  await guide.value(
    "ask for one that may burst",
    home.client.createVms(wish(guide, "bursts", { burst: "allow" }), guide.newRequestId()),
  );
  await guide.claim("it runs at the peer", async () => {
    const vm = await vmNamed(guide, "bursts");
    return vm?.phase === "running" && vm.place.kind === "peer"
      ? `at ${vm.place.peer} under lease ${vm.place.lease}`
      : undefined;
  });
  await guide.claim("both sides show the same lease", async () => {
    const [borrowed] = await leasesOf(guide, "borrower");
    const lent = await guide.value("list the peer's leases", peer.client.leases());
    return lent.some(({ id, role }) => id === borrowed?.id && role === "lender")
      ? `${borrowed?.stage}, ${borrowed?.id}`
      : undefined;
  });
  await guide.claim("the peer runs it on a host of its own, for home", async () => {
    const vms = await guide.value("list the peer's VMs", peer.client.vms({ final: "false" }));
    const vm = vms.find(
      ({ name, origin }) => name === "bursts" && origin.kind === "peer" && origin.peer === home.plan.domain,
    );
    return vm?.phase === "running" && vm.place.kind === "host" ? `on ${peer.plan.name}/${hostOf(vm)}` : undefined;
  });
}

async function renewLease(guide: Guide): Promise<void> {
  await guide.claim("the borrower has renewed it", async () => {
    const [borrowed] = await leasesOf(guide, "borrower");
    return borrowed !== undefined && borrowed.renewals > 0 ? `${borrowed.renewals} renewals` : undefined;
  });
  await guide.claim("the lender has booked the renewal", async () => {
    const lent = await guide.value("list the peer's leases", guide.peer.client.leases());
    const lease = lent.find(({ role, name }) => role === "lender" && name === "bursts");
    return lease !== undefined && lease.renewals > 0 ? `${Math.round(lease.remainingMs / 1000)} s left` : undefined;
  });
}

async function refuseBad(guide: Guide): Promise<void> {
  const { client, plan } = guide.home;
  const bad = (change: object): VmCreateInput => ({ ...wish(guide, "bad"), ...change });
  const size = vmSize(guide);
  const ask = (create: VmCreateInput) => client.createVms(create, guide.newRequestId());
  await guide.refusal("no vCPUs", ask(bad({ spec: { image: "debian-12", ...size, vcpus: 0 } })), /vcpus/);
  await guide.refusal(
    "a fraction of memory",
    ask(bad({ spec: { image: "debian-12", ...size, memoryMiB: 1.5 } })),
    /memoryMiB/,
  );
  await guide.refusal("an unknown key", ask(bad({ spec: { image: "debian-12", ...size, vpcus: 2 } })), /vpcus/);
  await guide.refusal("a name with a control character", ask(bad({ name: "a\u0007b" })), /name/);
  await guide.refusal("an unknown image", ask(bad({ spec: { image: "no-such-image", ...size } })), /image/);
  const requestId = guide.newRequestId();
  await guide.value("ask for one", client.createVms(wish(guide, "twice"), requestId));
  await guide.refusal(
    "the same request id with other content",
    client.createVms(wish(guide, "other"), requestId),
    /conflict/,
  );
  await guide.value("cancel it", client.deleteVm("twice"));
  await guide.refusal("an unknown VM", client.vm("no-such-vm"), /item-not-found/);
  const stranger = createSiteClient({
    endpoint: { urls: apiUrls(plan), token: "wrong" },
    clock: guide.clock,
    rng: systemRng,
  });
  await guide.refusal("a wrong token", stranger.site(), /not-authorized/);
}

async function loseHost(guide: Guide): Promise<void> {
  const { client, hosts } = guide.home;
  const [run] = hosts;
  const name = guide.home.plan.hosts[0]?.name ?? "";
  const before = (await ours(guide)).filter((vm) => hostOf(vm) === name);
  run?.manager.crash(DOWN_MS);
  await guide.claim(`${name} is shown lost`, async () => {
    const host = await guide.value("show the host", client.host(name));
    return host.liveness === "lost" ? host.statusLine : undefined;
  });
  await guide.claim("its VMs are in doubt, and not started elsewhere", async () => {
    const now = (await ours(guide)).filter(({ id }) => before.some((vm) => vm.id === id));
    return now.length === before.length && now.every((vm) => vm.phase === "in-doubt" && hostOf(vm) === name)
      ? `${now.length} VMs`
      : undefined;
  });
  await guide.claim(`${name} is back`, async () => {
    const host = await guide.value("show the host", client.host(name));
    return host.liveness === "alive" ? host.statusLine : undefined;
  });
  await guide.claim("its VMs run as before, under the same attempts", async () => {
    const now = await ours(guide);
    const same = before.every((vm) =>
      now.some(
        ({ id, phase, attempt, place }) =>
          id === vm.id && phase === "running" && attempt === vm.attempt && place.kind === "host",
      ),
    );
    return same ? `${before.length} VMs` : undefined;
  });
}

/** Requests that are sent while the leader dies. */
const AMID = 6;

async function loseLeader(guide: Guide): Promise<void> {
  const { home } = guide;
  const before = await guide.value("show the site", home.client.site());
  const requestIds = Array.from({ length: AMID }, () => guide.newRequestId());
  const ask = (requestId: string, index: number) => home.client.createVms(wish(guide, `amid-${index + 1}`), requestId);
  const first = requestIds.slice(0, AMID / 2).map(ask);
  home.managers.get(before.leader)?.crash(MANAGER_DOWN_MS);
  const rest = requestIds.slice(AMID / 2).map((requestId, index) => ask(requestId, index + AMID / 2));
  const answers = await Promise.all([...first, ...rest].map((answer) => guide.value("ask amid the change", answer)));
  const alone = home.plan.managers.length === 1;
  await guide.claim(`${alone ? "it" : "another manager"} leads, in a higher term`, async () => {
    const site = await guide.value("show the site", home.client.site());
    return (alone || site.leader !== before.leader) && site.term > before.term
      ? `${site.leader}, term ${site.term}`
      : undefined;
  });
  await guide.claim("every request is there once, and again gets the same answer", async () => {
    const again = await Promise.all(requestIds.map((id, index) => guide.value("ask again", ask(id, index))));
    const ids = new Set(again.flatMap(({ vms }) => vms.map(({ id }) => id)));
    const named = (await ours(guide)).filter(({ name }) => name.startsWith("amid-"));
    const same = again.every(({ vms }, index) => vms[0]?.id === answers[index]?.vms[0]?.id);
    return same && ids.size === AMID && named.length === AMID ? `${AMID} requests` : undefined;
  });
  await guide.claim("what ran runs on, under the same attempts", async () => {
    const running = (await ours(guide)).filter(({ name, phase }) => name.startsWith("fill-") && phase === "running");
    return running.length > 0 && running.every(({ attempt }) => attempt === 1) ? `${running.length} VMs` : undefined;
  });
  for (const vm of (await ours(guide)).filter(({ name }) => name.startsWith("amid-")))
    await guide.value(`cancel ${vm.name}`, home.client.deleteVm(vm.id));
  if (alone) return;
  await guide.claim("the killed one is back and waits", async () => {
    const { managers } = await guide.value("show the site", home.client.site());
    return managers.some(({ name, role }) => name === before.leader && role === "standby") ? before.leader : undefined;
  });
}

async function deleteAll(guide: Guide): Promise<void> {
  const { home, peer } = guide;
  await guide.value("delete one", home.client.deleteVm("fill-1"));
  await guide.claim("the one that waited runs now", async () => {
    const vm = await vmNamed(guide, "waits");
    return vm?.phase === "running" ? `on ${hostOf(vm)}` : undefined;
  });
  for (const vm of await ours(guide)) await guide.value(`delete ${vm.name}`, home.client.deleteVm(vm.id));
  await guide.claim("no VM of the tour is left", async () => ((await ours(guide)).length === 0 ? "" : undefined));
  await guide.claim("the queue is empty", async () => {
    const queue = await guide.value("list the queue", home.client.queue());
    return queue.every(({ project }) => project !== PROJECT) ? "" : undefined;
  });
  await guide.claim("no lease is open on either side", async () => {
    const lent = await guide.value("list the peer's leases", peer.client.leases());
    const open = [...(await leasesOf(guide, "borrower")), ...lent.filter(({ name }) => name === "bursts")];
    return open.every(({ stage }) => stage === "closed" || stage === "released" || stage === "voided") ? "" : undefined;
  });
  await guide.claim("the peer's host has its room back", async () => {
    const vms = await guide.value("list the peer's VMs", peer.client.vms({ final: "false" }));
    return vms.every(({ name }) => name !== "bursts") ? "" : undefined;
  });
}

async function vmNamed(guide: Guide, name: string): Promise<VmView | undefined> {
  return (await ours(guide)).find((vm) => vm.name === name);
}

async function leasesOf(guide: Guide, role: "borrower" | "lender") {
  const leases = await guide.value("list leases", guide.home.client.leases());
  return leases
    .filter((lease) => lease.role === role && lease.name === "bursts")
    .sort((a, b) => b.remainingMs - a.remainingMs);
}

function hostOf({ place }: VmView): string {
  return place.kind === "host" ? place.host : "";
}
