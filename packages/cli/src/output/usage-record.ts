/**
 * Usage records of the APEL cloud format, version 0.4: one a receipt, so that several with one VMUUID are stretches of one VM
 * that follow each other and do not contain each other.
 */
import type { LedgerEntryView } from "@muster/protocol";

const HEADER = "APEL-cloud-message: v0.4\n";
const MS_PER_SECOND = 1_000;
/** What the format has a field for and nobody measures. */
const UNKNOWN = "NULL";

/** A message with these records; `service` names what provided them. */
export function usageRecords(entries: readonly LedgerEntryView[], service: string): string {
  return HEADER + entries.map((entry) => `${recordOf(entry, service)}%%\n`).join("");
}

function recordOf({ receipt }: LedgerEntryView, service: string): string {
  const { resources } = receipt;
  const startedMs = Date.parse(receipt.startedAt);
  const fields: readonly (readonly [string, string | number])[] = [
    ["VMUUID", receipt.vm],
    ["SiteName", receipt.lender],
    ["CloudComputeService", service],
    ["MachineName", receipt.lease],
    ["LocalUserId", receipt.owner],
    ["LocalGroupId", receipt.project],
    ["GlobalUserName", `${receipt.borrower}/${receipt.owner}`],
    ["FQAN", `/${receipt.borrower}/${receipt.project}`],
    ["Status", receipt.final ? "completed" : "started"],
    ["StartTime", seconds(startedMs + receipt.fromMs)],
    ["EndTime", seconds(startedMs + receipt.untilMs)],
    ["SuspendDuration", UNKNOWN],
    ["WallDuration", seconds(receipt.untilMs - receipt.fromMs)],
    ["CpuDuration", UNKNOWN],
    ["CpuCount", resources.vcpus],
    ["NetworkType", UNKNOWN],
    ["NetworkInbound", UNKNOWN],
    ["NetworkOutbound", UNKNOWN],
    ["PublicIPCount", UNKNOWN],
    ["Memory", resources.memoryMiB],
    ["Disk", resources.diskGiB],
    ["BenchmarkType", UNKNOWN],
    ["Benchmark", UNKNOWN],
    ["StorageRecordId", UNKNOWN],
    ["ImageId", receipt.image],
    ["CloudType", "muster"],
  ];
  return fields.map(([name, text]) => `${name}: ${text}\n`).join("");
}

function seconds(durationMs: number): number {
  return Math.floor(durationMs / MS_PER_SECOND);
}
