import type { SiteClient } from "@muster/client";
import type { AcceptanceView, LendChange, PeerPolicyView, PeerVerb, PeerView } from "@muster/protocol";
import { type Command, Option } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { type Column, formatList, formatObject } from "../output/format.ts";
import { printable } from "../output/printable.ts";
import { parseCount, parseDuration } from "../quantity.ts";
import { openSession } from "../session.ts";
import { confirm, print, say } from "../terminal.ts";
import { expectValue, waitFor } from "../wait.ts";
import { type JudgeOptions, judgePolicy, parseShare, type RuleOptions, rulesOf, withRules } from "./peer-policy.ts";

const COLUMNS: readonly Column<PeerView>[] = [
  { heading: "DOMAIN", value: ({ domain }) => domain },
  { heading: "STATE", value: ({ state }) => state },
  { heading: "ITS SIDE", value: ({ partner }) => partner?.state ?? "-" },
  { heading: "OFFERS VCPUS", value: ({ offered }) => offered?.free.vcpus ?? "-" },
  { heading: "BORROWED", value: ({ borrowedLeases }) => borrowedLeases },
  { heading: "LENT", value: ({ lentLeases }) => lentLeases },
  { heading: "SOURCE", value: ({ source }) => source },
  { heading: "KEY", value: ({ keyFingerprint }) => (keyFingerprint === "" ? "-" : keyFingerprint) },
  { heading: "REASON", value: ({ reason, partner }) => reason ?? partner?.reason ?? "-" },
];

type LendOptions = {
  readonly lend?: boolean;
  readonly lendShare?: number;
  readonly lendVms?: number;
  readonly leaseMax?: number;
  readonly images?: string;
};

export function addPeerCommands(program: Command): void {
  const peer = program.command("peer").description("sites we have a peering with");
  addReading(peer);
  addInvite(peer);
  addAccept(peer);
  addPolicy(peer);
  addVerbs(peer);
  addRotateKey(peer);
}

function addReading(peer: Command): void {
  peer
    .command("list")
    .description("all peers, invited ones and those that were left included")
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList(expectValue(await client.peers()), COLUMNS, format));
    });
  peer
    .command("show <domain>")
    .description("one peer: state, keys, terms of both directions")
    .action(async (domain: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatObject(expectValue(await client.peer(domain)), format));
    });
}

function addInvite(peer: Command): void {
  withLending(peer.command("invite <domain>"))
    .description("print a token for the other site's admin: it works once, and for that site only")
    .option("--no-borrow", "our requests are not to burst there")
    .option("--expires <duration>", "how long the token works", parseDuration, 24 * 3_600_000)
    .addOption(
      new Option(
        "--reach <way>",
        "server: from server to server; client: the other site logs in at ours, outbound only",
      )
        .choices(["server", "client"])
        .default("server"),
    )
    .action(async (domain: string, options: InviteOptions, command: Command) => {
      const { client, format } = openSession(command);
      const { borrow, expires: expiresMs, reach } = options;
      const wish = { domain, lend: lendOf(options), borrow, expiresMs, reach };
      const invitation = expectValue(await client.invitePeer(wish));
      if (format !== "table") {
        print(formatObject(invitation, format));
        return;
      }
      say(`We would lend ${domain}: ${policyText(invitation.lend)}`);
      say(`Our key: ${invitation.fingerprint}`);
      if (invitation.account !== undefined)
        say(`It comes as ${invitation.account}, an account of our server: its own need not be reachable`);
      say(`Until ${invitation.expiresAt} its admin may run: muster peer accept <token>`);
      print(`${invitation.token}\n`);
    });
}

function addAccept(peer: Command): void {
  withLending(peer.command("accept <token>"))
    .description("show what a token's peering would be, ask, and accept it")
    .option("--no-borrow", "our requests are not to burst there")
    .option("--yes", "do not ask")
    .option("--wait <duration>", "how long to wait for the other site's answer", parseDuration, 60_000)
    .action(async (token: string, options: AcceptOptions, command: Command) => {
      const { client, format } = openSession(command);
      const wish = { token, lend: lendOf(options), borrow: options.borrow };
      const shown = expectValue(await client.acceptPeer(wish, true));
      sayAcceptance(shown);
      await confirm(`Peer with ${shown.domain}?`, options.yes);
      expectValue(await client.acceptPeer(wish, false));
      const active = await untilActive(client, shown.domain, options.wait);
      print(formatList([active], COLUMNS, format));
    });
}

type InviteOptions = LendOptions & {
  readonly borrow: boolean;
  readonly expires: number;
  readonly reach: "server" | "client";
};

type AcceptOptions = LendOptions & { readonly borrow: boolean; readonly yes?: boolean; readonly wait: number };

function sayAcceptance(shown: AcceptanceView): void {
  const { domain, theirLend, theirBorrow, lend, borrow } = shown;
  say(`${domain} would lend us: ${policyText(theirLend)}${borrow ? "" : "; we would not ask"}`);
  say(`We would lend ${domain}: ${policyText(lend)}${theirBorrow ? "" : "; it does not mean to ask"}`);
  say(`Its key: ${shown.fingerprint} (compare it with what its admin reads out)`);
  say(`Our key: ${shown.ourFingerprint}`);
  if (shown.reach !== undefined)
    say(printable(`We would log in as ${shown.reach.jid} at ${shown.reach.service}, and open no port for it`));
}

/** Waits for the other site's answer; a refusal ends the waiting with its reason. */
function untilActive(client: SiteClient, domain: string, waitMs: number): Promise<PeerView> {
  return waitFor(
    {
      read: async () => expectValue(await client.peer(domain)),
      done: ({ state }) => state === "active" || state === "unreachable",
      progress: ({ state, trouble }) =>
        printable(`the peering with ${domain} is ${state}${trouble === undefined ? "" : `: ${trouble}`}`),
      check({ state, reason }) {
        if (state === "left")
          throw new CommandFailed(printable(reason ?? `the peering with ${domain} was left`), EXIT.failed);
      },
    },
    waitMs,
  );
}

function addPolicy(peer: Command): void {
  withRules(withLending(peer.command("policy <domain>")))
    .description("show what we lend a peer, set it, or ask what it would grant; what runs keeps the lease it has")
    .option("--borrow", "let our requests burst there")
    .option("--no-borrow", "do not let our requests burst there")
    .action(async (domain: string, options: PolicyOptions, command: Command) => {
      const { client, format } = openSession(command);
      if (await judgePolicy(client, domain, options, format)) return;
      const lend = { ...lendOf(options), ...rulesOf(options) };
      const { borrow } = options;
      const change = { lend, ...(borrow === undefined ? {} : { borrow }) };
      const changes = Object.keys(lend).length > 0 || borrow !== undefined;
      const view = expectValue(changes ? await client.setPeerPolicy(domain, change) : await client.peer(domain));
      const { policy, agreed } = view;
      print(
        formatObject({ domain, lend: policy, borrow: view.borrow, ...(agreed ? { lendsUs: agreed } : {}) }, format),
      );
    });
}

type PolicyOptions = LendOptions & RuleOptions & JudgeOptions & { readonly borrow?: boolean };

const VERBS: Readonly<Record<PeerVerb, { readonly text: string; readonly asks?: string }>> = {
  suspend: { text: "let nothing be borrowed in either direction until resume; leases run out" },
  resume: { text: "make a suspended or drained peering active again" },
  drain: { text: "grant no new leases and renew none: those that run end with their time" },
  leave: {
    text: "end the peering, also where the partner is dead; leases run out by themselves",
    asks: "Leases between the sites end with their time.",
  },
};

function addVerbs(peer: Command): void {
  for (const verb of ["suspend", "resume", "drain", "leave"] as const) {
    const { text, asks } = VERBS[verb];
    const command = peer
      .command(`${verb} <domain>`)
      .description(text)
      .option("--reason <text>", "what the partner's admin is told");
    if (asks !== undefined) command.option("--yes", "do not ask");
    command.action(async (domain: string, options: { reason?: string; yes?: boolean }, self: Command) => {
      const { client, format } = openSession(self);
      if (asks !== undefined) await confirm(`Leave the peering with ${domain}? ${asks}`, options.yes);
      print(formatList([expectValue(await client.changePeer(domain, verb, options.reason))], COLUMNS, format));
    });
  }
}

function addRotateKey(peer: Command): void {
  peer
    .command("rotate-key")
    .description("let the next key of the site's key file sign, and tell all peers under the present one")
    .option(
      "--overlap <duration>",
      "how long peers accept what the key before signed",
      parseDuration,
      7 * 24 * 3_600_000,
    )
    .option("--yes", "do not ask")
    .action(async (options: { overlap: number; yes?: boolean }, command: Command) => {
      const { client, format } = openSession(command);
      await confirm("Does every manager's key file hold the next key? It signs from now on.", options.yes);
      const { sequence } = expectValue(await client.siteKey());
      const key = expectValue(await client.rotateKey(sequence + 1, options.overlap));
      if (key.byHand.length > 0)
        say(`peers of the configuration know the first key of the file: ${key.byHand.join(", ")}`);
      print(formatObject(key, format));
    });
}

function withLending(command: Command): Command {
  return command
    .option("--no-lend", "take no requests of the peer")
    .option("--lend-share <share>", "share of the site that it may have at once: 0.25 or 25%", parseShare)
    .option("--lend-vms <count>", "most VMs at once", parseCount)
    .option("--lease-max <duration>", "longest lease at a time", parseDuration)
    .option("--images <list>", "images it may use, by tag or digest, with commas; none named means all");
}

/** Only what was said: the manager knows what holds otherwise. */
function lendOf({ lend, lendShare, lendVms, leaseMax, images }: LendOptions): LendChange {
  return {
    ...(lend === false ? { accept: false } : {}),
    ...(lendShare === undefined ? {} : { share: lendShare }),
    ...(lendVms === undefined ? {} : { vmsMax: lendVms }),
    ...(leaseMax === undefined ? {} : { leaseMsMax: leaseMax }),
    ...(images === undefined ? {} : { images: images.split(",").filter((image) => image !== "") }),
  };
}

function policyText({ accept, share, vmsMax, leaseMsMax, images }: PeerPolicyView): string {
  if (!accept) return "nothing";
  const which = images.length === 0 ? "all images" : `images ${images.join(", ")}`;
  return `${Math.round(share * 1_000) / 10} % of the site, ${vmsMax} VMs at most, leases up to ${leaseMsMax / 60_000} min, ${which}`;
}
