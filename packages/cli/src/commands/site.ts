import { systemClock } from "@muster/base";
import type { EventView, LeaseView, ProposedMove, QueueEntry, Refusal } from "@muster/protocol";
import type { Command } from "commander";
import { CommandFailed, EXIT, failedBy } from "../exit-code.ts";
import { type Column, type Format, formatList, formatObject, formatRow } from "../output/format.ts";
import { printable } from "../output/printable.ts";
import { parseCount, parseMoment } from "../quantity.ts";
import { openSession } from "../session.ts";
import { print, say } from "../terminal.ts";
import { expectValue } from "../wait.ts";
import { addLeaseVerbs } from "./lease.ts";
import { formatExplanation } from "./vm.ts";

const QUEUE_COLUMNS: readonly Column<QueueEntry>[] = [
  { heading: "POSITION", value: ({ position }) => position },
  { heading: "NAME", value: ({ name }) => name },
  { heading: "PROJECT", value: ({ project }) => project },
  { heading: "PRIORITY", value: ({ priority }) => priority },
  { heading: "WAITING S", value: ({ waitingMs }) => Math.round(waitingMs / 1_000) },
  { heading: "REASON", value: ({ reason }) => reason },
];

const LEASE_COLUMNS: readonly Column<LeaseView>[] = [
  { heading: "ROLE", value: ({ role }) => role },
  { heading: "PEER", value: ({ peer }) => peer },
  { heading: "VM", value: ({ name }) => name },
  { heading: "STAGE", value: ({ stage }) => stage },
  { heading: "VM PHASE", value: ({ vmPhase }) => vmPhase ?? "-" },
  { heading: "LEFT S", value: ({ remainingMs }) => Math.round(remainingMs / 1_000) },
  { heading: "RENEWALS", value: ({ renewals }) => renewals },
  { heading: "ID", value: ({ id }) => id },
];

export function addSiteCommands(program: Command): void {
  const site = program.command("site").description("the site as a whole");
  site
    .command("show")
    .description("leader, term, capacity, counts")
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatObject(expectValue(await client.site()), format));
    });
  site
    .command("step-down")
    .description("hand the lead over to a manager that stands by")
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatObject(expectValue(await client.stepDown()), format));
    });
  addMaintenance(site);
  addBalance(site);
  addQueue(program);
  addLeases(program);
  addEvents(program);
}

type MaintenanceOptions = { readonly until?: string; readonly reason?: string; readonly end?: boolean };

function addMaintenance(site: Command): void {
  site
    .command("maintenance")
    .description("lend nothing new for a while, and show peers why and until when; what runs goes on")
    .option("--reason <text>", "why, for the admins of peers")
    .option("--until <time>", "until when: 2026-12-01T06:00, or 2h from now; without it, until --end", (text) =>
      parseMoment(text, systemClock.wallMs()),
    )
    .option("--end", "it is over")
    .action(async ({ reason, until, end }: MaintenanceOptions, command: Command) => {
      const { client, format } = openSession(command);
      if (end !== true && reason === undefined)
        throw new CommandFailed("say why: --reason TEXT; or that it is over: --end", EXIT.usage);
      const wish =
        end === true || reason === undefined ? undefined : { reason, ...(until === undefined ? {} : { until }) };
      const { domain, maintenance } = expectValue(await client.setMaintenance(wish));
      print(formatObject({ domain, maintenance: maintenance ?? "none" }, format));
    });
}

const MOVE_COLUMNS: readonly Column<ProposedMove>[] = [
  { heading: "VM", value: ({ name }) => name },
  { heading: "FROM", value: ({ from }) => from },
  { heading: "TO", value: ({ to }) => to },
  { heading: "GAIN", value: ({ gain }) => gain },
  { heading: "ID", value: ({ vm }) => vm },
];

function addBalance(site: Command): void {
  site
    .command("balance")
    .description("move running VMs so that the hosts are more evenly used, by the scheduler's own score")
    .option("--dry-run", "only say which would be moved")
    .option("--moves <count>", "at most so many", parseCount, 4)
    .action(async (options: { dryRun?: boolean; moves: number }, command: Command) => {
      const { client, format } = openSession(command);
      const dryRun = options.dryRun === true;
      const { moves } = expectValue(await client.balance({ dryRun, movesMax: options.moves }));
      if (moves.length === 0) say("the site is even: no move would gain enough");
      print(formatList(moves, MOVE_COLUMNS, format));
    });
}

function addQueue(program: Command): void {
  const queue = program.command("queue").description("requests that wait");
  queue
    .command("list")
    .description("in the order in which they are served")
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList(expectValue(await client.queue()), QUEUE_COLUMNS, format));
    });
  queue
    .command("why <vm>")
    .description("why one waits")
    .action(async (id: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatExplanation(expectValue(await client.why(id)), format));
    });
}

function addLeases(program: Command): void {
  const lease = program.command("lease").description("VMs of ours at peers, and of peers here");
  lease
    .command("list")
    .description("all leases, both roles")
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList(expectValue(await client.leases()), LEASE_COLUMNS, format));
    });
  addLeaseVerbs(lease);
  lease
    .command("show <lease>")
    .description("one lease")
    .action(async (id: string, _options: object, command: Command) => {
      const { client, format } = openSession(command);
      const found = expectValue(await client.leases()).find((leaseView) => leaseView.id === id);
      if (found === undefined) throw new CommandFailed(`there is no lease ${id}`, EXIT.notFound);
      print(formatObject(found, format));
    });
}

/** How long `events` without `--follow` waits for the first event that is remembered, and for each one after it. */
const FIRST_EVENT_MS = 2_000;
const NEXT_EVENT_MS = 250;

function addEvents(program: Command): void {
  program
    .command("events")
    .description("what happened lately")
    .option("--follow", "go on until interrupted")
    .action(async (options: { follow?: boolean }, command: Command) => {
      const { client, format } = openSession(command);
      expectValue(await client.site());
      const abort = new AbortController();
      const end = (): void => abort.abort();
      process.once("SIGINT", end);
      const endIn = (delayMs: number): (() => void) =>
        options.follow === true ? () => {} : systemClock.setTimer(delayMs, end);
      let refused: Refusal | undefined;
      const onRefused = (why: Refusal): void => {
        // A change of leader passes: the client joins again.
        if (why.kind === "unavailable" || why.kind === "not-leader") return;
        refused = why;
        end();
      };
      let cancel = endIn(FIRST_EVENT_MS);
      for await (const event of client.events(abort.signal, "remembered", onRefused)) {
        cancel();
        print(eventText(event, format));
        cancel = endIn(NEXT_EVENT_MS);
      }
      if (refused !== undefined) throw failedBy(refused);
    });
}

/** One event as it comes: JSON lines, a YAML document or a CSV row each, so that a stream can be read on. */
function eventText(event: EventView, format: Format): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(event)}\n`;
    case "yaml":
      return `---\n${formatObject(event, format)}`;
    case "csv":
      return formatRow([event.at, event.kind, event.subject, event.message]);
    case "table":
      return `${event.at}  ${event.kind} ${event.subject}: ${printable(event.message)}\n`;
  }
}
