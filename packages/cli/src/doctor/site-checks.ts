import type { SiteClient } from "@muster/client";
import { problemSchema, type Refusal } from "@muster/protocol";
import { type Check, ill, well, worry } from "./check.ts";
import { storeChecks } from "./store-checks.ts";

/** What the site says of itself: manager, component link, hosts and their libvirt, peers. */
export async function siteChecks(client: SiteClient, urls: readonly string[]): Promise<readonly Check[]> {
  const site = await client.site();
  if (!site.ok) return [apiCheck(site.error)];
  const { domain, leader, term } = site.value;
  const checks: Check[] = [well("api", `${domain}: ${leader} leads in term ${term}`)];
  for (const url of urls) checks.push(await readyCheck(url), await clockCheck(url));
  checks.push(...(await storeChecks(client)));
  checks.push(...(await hostChecks(client)), ...(await peerChecks(client)));
  return checks;
}

function apiCheck({ kind, message }: Refusal): Check {
  if (kind === "not-authorized" || kind === "forbidden")
    return ill("api", message, "give the site's token with --token-file or MUSTER_TOKEN_FILE");
  return ill("api", message, "start the federation with ./muster up, or name the manager's address with --api");
}

async function readyCheck(url: string): Promise<Check> {
  const response = await reach(`${url}/readyz`);
  if (response?.text.includes('"title":"not leader"')) return well("manager", `${url} stands by`);
  if (response?.ok) return well("component", "the XMPP server has the component's link, and the hosts were heard");
  return ill(
    "component",
    `${url} leads, but is not ready: ${response === undefined ? "no answer" : detailOf(response.text)}`,
    "is the XMPP server up, does xmpp.secretFile hold the component's secret, and do the certificates of xmpp.tls verify? " +
      "the manager's log says which",
  );
}

/** The sentence of a problem document (RFC 9457); any other text as it came. */
function detailOf(text: string): string {
  try {
    const problem = problemSchema.safeParse(JSON.parse(text));
    return problem.success ? problem.data.detail : text;
  } catch {
    return text;
  }
}

/** Most that two clocks may differ before certificates and logs mislead. */
const SKEW_MS_MAX = 5_000;

async function clockCheck(url: string): Promise<Check> {
  const response = await reach(`${url}/healthz`);
  const theirs = Date.parse(response?.date ?? "");
  if (Number.isNaN(theirs))
    return worry("clock", "the manager did not tell its time", "is something between us and the manager?");
  const skewMs = Math.abs(Date.now() - theirs);
  if (skewMs <= SKEW_MS_MAX) return well("clock", "this machine and the manager agree");
  return worry(
    "clock",
    `this machine and the manager differ by ${Math.round(skewMs / 1000)} s`,
    "let both follow a time server (chrony, systemd-timesyncd)",
  );
}

async function hostChecks(client: SiteClient): Promise<readonly Check[]> {
  const hosts = await client.hosts();
  if (!hosts.ok) return [ill("hosts", hosts.error.message, "see the manager's log")];
  if (hosts.value.length === 0) return [worry("hosts", "the site has none", "let one in with: muster host enrol NAME")];
  return hosts.value.map(({ name, liveness, condition, hypervisor, foreignVms, tunnel }) => {
    const foreign = foreignVms > 0 ? `, ${foreignVms} foreign domains` : "";
    if (liveness !== "alive")
      return ill(
        `host ${name}`,
        `is ${liveness}`,
        "is its host manager running, and can it reach the XMPP server? see its log",
      );
    if (condition === "degraded")
      return ill(
        `host ${name}`,
        "its hypervisor does not answer",
        "is libvirtd running on it? the host manager joins again by itself",
      );
    if (condition === "fenced")
      return worry(
        `host ${name}`,
        "was declared dead, and is heard again",
        `is it repaired? let it take VMs again with: muster host undrain ${name}`,
      );
    if (tunnel?.ready === false)
      return worry(
        `host ${name}`,
        `is a gateway by its host.yaml, and carries no tunnels: ${tunnel.says}`,
        "install what is missing there, or take gateway out of its host.yaml",
      );
    const gateway = tunnel === undefined ? "" : `, gateway by ${tunnel.says}`;
    return well(`host ${name}`, `${hypervisor}, ${condition}${foreign}${gateway}`);
  });
}

async function peerChecks(client: SiteClient): Promise<readonly Check[]> {
  const peers = await client.peers();
  if (!peers.ok) return [ill("peers", peers.error.message, "see the manager's log")];
  return peers.value.map(({ domain, state, keyFingerprint }) => {
    if (state === "active") return well(`peer ${domain}`, `answers, key ${keyFingerprint}`);
    return worry(
      `peer ${domain}`,
      `is ${state}`,
      "is it running, does its server let us in, and do both sides pin the right key?",
    );
  });
}

/** Longest answer that is shown or read (S2). */
const TEXT_MAX = 2_000;

type Reached = { readonly ok: boolean; readonly text: string; readonly date: string };

async function reach(url: string): Promise<Reached | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(3_000) });
    const text = (await response.text()).slice(0, TEXT_MAX);
    return { ok: response.ok, text, date: response.headers.get("date") ?? "" };
  } catch {
    return undefined;
  }
}
