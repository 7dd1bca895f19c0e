import { probeQemuRights } from "@muster/federation";

/** What `MUSTER_GUESTS` names; without it, all that can be run here. */
type Variant = "namespaces" | "session";

/** Whether a variant of the tests with real guests runs here and now, which is said on stderr, with the reason. */
export async function variantRuns(variant: Variant): Promise<boolean> {
  const why = await whyNot(variant);
  process.stderr.write(`real guests: variant ${variant} ${why ?? "runs, with QEMU's emulation"}\n`);
  return why === undefined;
}

async function whyNot(variant: Variant): Promise<string | undefined> {
  const wish = process.env.MUSTER_GUESTS;
  if (wish !== undefined && wish !== variant) return `is not run: MUSTER_GUESTS is ${wish}`;
  const rights = await probeQemuRights();
  // Root without those rights can still be somebody else.
  const isAble = variant === "session" ? rights.kind !== "none" || process.getuid?.() === 0 : rights.kind === variant;
  return isAble ? undefined : `is not run: ${"reason" in rights ? rights.reason : ""}`;
}
