import { type LedgerEntryView, NO_DIGEST } from "@muster/protocol";
import { expect, it } from "vitest";
import { usageRecords } from "./usage-record.ts";

const VM = "01900000-0000-7000-8000-000000000001";
const ENTRY: LedgerEntryView = {
  side: "lent",
  peer: "alpha.example",
  state: "agreed",
  receipt: {
    id: VM,
    sequence: 2,
    lender: "beta.example",
    borrower: "alpha.example",
    lease: "01900000-0000-7000-8000-000000000002",
    vm: VM,
    project: "physics",
    owner: "u-17",
    image: "debian-12",
    fromMs: 3_600_000,
    untilMs: 5_400_999,
    final: true,
    startedAt: "2026-11-21T08:00:00.500Z",
    resources: { vcpus: 4, memoryMiB: 8_192, diskGiB: 20, gpus: 1 },
    prices: { vcpuHour: 1, memoryGiBHour: 0, gpuHour: 0 },
    amount: 2,
    previous: NO_DIGEST,
  },
  digest: NO_DIGEST,
  madeAt: "2026-11-21T09:30:01.000Z",
  lenderProof: { proof: "a..b", key: "k" },
};

it("writes one usage record a receipt: its own stretch, in whole seconds, with nobody's credentials", () => {
  const started = Math.floor(Date.parse("2026-11-21T09:00:00Z") / 1_000);
  expect(usageRecords([ENTRY], "muster")).toBe(
    [
      "APEL-cloud-message: v0.4",
      `VMUUID: ${VM}`,
      "SiteName: beta.example",
      "CloudComputeService: muster",
      "MachineName: 01900000-0000-7000-8000-000000000002",
      "LocalUserId: u-17",
      "LocalGroupId: physics",
      "GlobalUserName: alpha.example/u-17",
      "FQAN: /alpha.example/physics",
      "Status: completed",
      `StartTime: ${started}`,
      `EndTime: ${started + 1_801}`,
      "SuspendDuration: NULL",
      "WallDuration: 1800",
      "CpuDuration: NULL",
      "CpuCount: 4",
      "NetworkType: NULL",
      "NetworkInbound: NULL",
      "NetworkOutbound: NULL",
      "PublicIPCount: NULL",
      "Memory: 8192",
      "Disk: 20",
      "BenchmarkType: NULL",
      "Benchmark: NULL",
      "StorageRecordId: NULL",
      "ImageId: debian-12",
      "CloudType: muster",
      "%%",
      "",
    ].join("\n"),
  );
  expect(usageRecords([], "muster")).toBe("APEL-cloud-message: v0.4\n");
});
