import type { LeaseView } from "@muster/protocol";
import type { Command } from "commander";
import { type Column, formatList } from "../output/format.ts";
import { parseDuration } from "../quantity.ts";
import { openSession } from "../session.ts";
import { confirm, print } from "../terminal.ts";
import { expectValue } from "../wait.ts";

const COLUMNS: readonly Column<LeaseView>[] = [
  { heading: "ID", value: ({ id }) => id },
  { heading: "PEER", value: ({ peer }) => peer },
  { heading: "VM", value: ({ name }) => name },
  { heading: "STAGE", value: ({ stage }) => stage },
  {
    heading: "ENDS IN S",
    value: ({ endsWithinMs }) => (endsWithinMs === undefined ? "-" : Math.ceil(endsWithinMs / 1_000)),
  },
  { heading: "REASON", value: ({ reason }) => reason ?? "-" },
];

type DecisionOptions = { readonly reason?: string; readonly peer?: string };
type RevokeOptions = {
  readonly reason: string;
  readonly notice: number;
  readonly peer?: string;
  readonly yes?: boolean;
};

/** What the lender's admin decides on single leases, under `muster lease`. */
export function addLeaseVerbs(lease: Command): void {
  addDecision(lease, "approve", "let a peer have what waits for approval");
  addDecision(lease, "deny", "refuse a peer what waits for approval");
  lease
    .command("revoke <lease>")
    .description("end a lease that we lend; the borrower is told the reason")
    .requiredOption("--reason <text>", "why, for both sides")
    .option("--notice <duration>", "how long the borrower has", parseDuration, 0)
    .option("--peer <domain>", "whose lease it is, where the id alone is ambiguous")
    .option("--yes", "do not ask")
    .action(async (id: string, { reason, notice, peer, yes }: RevokeOptions, command: Command) => {
      const { client, format } = openSession(command);
      await confirm(`End lease ${id}? Its VM is removed with its disk.`, yes);
      const view = expectValue(await client.revokeLease(id, { reason, noticeMs: notice }, peer));
      print(formatList([view], COLUMNS, format));
    });
}

function addDecision(lease: Command, verb: "approve" | "deny", description: string): void {
  lease
    .command(`${verb} <lease>`)
    .description(description)
    .option("--reason <text>", "why")
    .option("--peer <domain>", "whose request it is, where the id alone is ambiguous")
    .action(async (id: string, { reason, peer }: DecisionOptions, command: Command) => {
      const { client, format } = openSession(command);
      const more = { ...(reason === undefined ? {} : { reason }), ...(peer === undefined ? {} : { peer }) };
      print(formatList([expectValue(await client.decideLease(id, verb === "approve", more))], COLUMNS, format));
    });
}
