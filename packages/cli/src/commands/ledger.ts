import type { LedgerBalanceView, LedgerEntryView, LedgerFinding } from "@muster/protocol";
import { type Command, Option } from "commander";
import { EXIT } from "../exit-code.ts";
import { type Column, formatList, formatObject } from "../output/format.ts";
import { usageRecords } from "../output/usage-record.ts";
import { openSession } from "../session.ts";
import { print, say } from "../terminal.ts";
import { expectValue } from "../wait.ts";

const THOUSAND = 1_000;
const MS_PER_HOUR = 3_600_000;

const ENTRIES: readonly Column<LedgerEntryView>[] = [
  { heading: "SIDE", value: ({ side }) => side },
  { heading: "PEER", value: ({ peer }) => peer },
  { heading: "NO", value: ({ receipt }) => receipt.sequence },
  { heading: "STATE", value: ({ state, refused }) => (refused === undefined ? state : "refused") },
  { heading: "PROJECT", value: ({ receipt }) => receipt.project },
  { heading: "LEASE", value: ({ receipt }) => receipt.lease },
  { heading: "VCPUS", value: ({ receipt }) => receipt.resources.vcpus },
  { heading: "HOURS", value: ({ receipt }) => hours(receipt.untilMs - receipt.fromMs) },
  { heading: "AMOUNT", value: ({ receipt }) => units(receipt.amount) },
  { heading: "BORROWER'S", value: ({ verdict }) => (verdict === undefined ? "-" : units(verdict.ownAmount)) },
  { heading: "LAST", value: ({ receipt }) => (receipt.final ? "yes" : "no") },
  { heading: "WHY", value: ({ verdict, refused }) => refused ?? verdict?.reason ?? "-" },
];

const BALANCES: readonly Column<LedgerBalanceView>[] = [
  { heading: "PEER", value: ({ peer }) => peer },
  { heading: "LENT", value: ({ lent }) => units(lent.amount) },
  { heading: "BORROWED", value: ({ borrowed }) => units(borrowed.amount) },
  { heading: "NET", value: ({ net }) => units(net.amount) },
  { heading: "NET VCPU-HOURS", value: ({ net }) => net.vcpuHours.toFixed(3) },
  { heading: "OPEN", value: ({ lent }) => lent.open },
  { heading: "DISPUTED", value: ({ lent, borrowed }) => lent.disputed + borrowed.disputed },
  { heading: "REFUSED", value: ({ refused }) => refused },
  { heading: "LAST REFUSAL", value: ({ lastRefusal }) => lastRefusal ?? "-" },
];

const FINDINGS: readonly Column<LedgerFinding>[] = [
  { heading: "SIDE", value: ({ side }) => side },
  { heading: "PEER", value: ({ peer }) => peer },
  { heading: "NO", value: ({ sequence }) => sequence },
  { heading: "FAULT", value: ({ fault }) => fault },
  { heading: "FINDING", value: ({ message }) => message },
];

/** Every number as it is, for other programs. */
const EXPORT: readonly Column<LedgerEntryView>[] = [
  ...(["side", "peer", "state"] as const).map((name) => ({
    heading: name,
    value: (entry: LedgerEntryView) => entry[name],
  })),
  ...(["sequence", "id", "lender", "borrower", "lease", "vm", "project", "owner", "image", "startedAt"] as const).map(
    (name) => ({ heading: name, value: ({ receipt }: LedgerEntryView) => receipt[name] }),
  ),
  ...(["fromMs", "untilMs", "amount"] as const).map((name) => ({
    heading: name,
    value: ({ receipt }: LedgerEntryView) => receipt[name],
  })),
  { heading: "final", value: ({ receipt }) => String(receipt.final) },
  ...(["vcpus", "memoryMiB", "diskGiB", "gpus"] as const).map((name) => ({
    heading: name,
    value: ({ receipt }: LedgerEntryView) => receipt.resources[name],
  })),
  { heading: "borrowerMs", value: ({ verdict }) => verdict?.ownMs ?? "" },
  { heading: "borrowerAmount", value: ({ verdict }) => verdict?.ownAmount ?? "" },
  { heading: "reason", value: ({ verdict, refused }) => refused ?? verdict?.reason ?? "" },
  { heading: "digest", value: ({ digest }) => digest },
];

type ShowOptions = { readonly peer?: string; readonly state?: string; readonly refused?: boolean };
type ExportOptions = { readonly as: "csv" | "apel"; readonly peer?: string; readonly side?: string };

export function addLedgerCommands(program: Command): void {
  const ledger = program
    .command("ledger")
    .description("receipts for what was lent and borrowed, and what peers owe each other");
  addShow(ledger);
  ledger
    .command("balance")
    .description("what was lent to and borrowed from each peer; positive: it owes us")
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      print(formatList(expectValue(await client.ledgerBalances()), BALANCES, format));
    });
  addVerify(ledger);
  addExport(ledger);
}

function addShow(ledger: Command): void {
  ledger
    .command("show")
    .description("receipts in order, with both sides' figures")
    .option("--peer <domain>", "only with this peer")
    .addOption(new Option("--state <state>", "only in this state").choices(["open", "agreed", "disputed"]))
    .option("--refused", "only those that the borrower refused")
    .action(async ({ peer, state, refused }: ShowOptions, command: Command) => {
      const { client, format } = openSession(command);
      const wanted = refused === true ? "refused" : state;
      const filter = {
        ...(peer === undefined ? {} : { peer }),
        ...(wanted === undefined ? {} : { state: wanted }),
      };
      print(formatList(expectValue(await client.ledger(filter)), ENTRIES, format));
    });
}

function addVerify(ledger: Command): void {
  ledger
    .command("verify")
    .description(
      "check all receipts again: gaps, chain, amounts, signatures; exit code 1 and each finding if one is wrong",
    )
    .action(async (_options: object, command: Command) => {
      const { client, format } = openSession(command);
      const checked = expectValue(await client.verifyLedger());
      if (format === "json" || format === "yaml") print(formatObject(checked, format));
      else if (checked.findings.length > 0) print(formatList(checked.findings, FINDINGS, format));
      const more = checked.truncated ? "; there are more than are listed" : "";
      say(`${checked.receipts} receipts in ${checked.books} books, ${checked.findings.length} findings${more}`);
      if (checked.findings.length > 0) process.exitCode = EXIT.failed;
    });
}

function addExport(ledger: Command): void {
  ledger
    .command("export")
    .description("receipts for other programs: all as CSV, or agreed ones that we lent as APEL-like usage records")
    .addOption(new Option("--as <format>", "what to write").choices(["csv", "apel"]).default("csv"))
    .addOption(new Option("--side <side>", "only what we lent, or borrowed").choices(["lent", "borrowed"]))
    .option("--peer <domain>", "only with this peer")
    .action(async ({ as, peer, side }: ExportOptions, command: Command) => {
      const { client } = openSession(command);
      const wanted = side ?? (as === "apel" ? "lent" : undefined);
      const filter = { ...(peer === undefined ? {} : { peer }), ...(wanted === undefined ? {} : { side: wanted }) };
      const entries = expectValue(await client.ledger(filter));
      if (as === "csv") {
        print(formatList(entries, EXPORT, "csv"));
        return;
      }
      const agreed = entries.filter(({ state }) => state === "agreed");
      print(usageRecords(agreed, "muster"));
      if (agreed.length < entries.length)
        say(`${entries.length - agreed.length} receipts are left out: they are open or disputed`);
    });
}

function units(thousandths: number): string {
  return (thousandths / THOUSAND).toFixed(3);
}

function hours(durationMs: number): string {
  return (durationMs / MS_PER_HOUR).toFixed(3);
}
