import { join } from "node:path";
import { type Clock, err, ok, type Result } from "@muster/base";
import { defaultImageCache, ensureGuestImage, type GuestImageFile } from "../guest-image/index.ts";
import type { FederationPlan } from "../plan/federation-plan.ts";
import type { SiteRun } from "../process/site-run.ts";
import type { StateFolder } from "../state/state-folder.ts";
import { registerFirstContent } from "./first-content.ts";
import { type MachinePlan, planMachines } from "./machine-plan.ts";
import { QemuMachines } from "./machines.ts";
import { probeQemuRights } from "./rights.ts";

/** What a federation with real guests has beyond one without. */
export type QemuFederation = {
  readonly machines: QemuMachines;
  /** Absent where guests have QEMU's user networking. */
  readonly plan: MachinePlan | undefined;
  readonly image: GuestImageFile;
};

/** Finds out how real guests can be run here, says so, and builds their image; the error says what is missing. */
export async function prepareQemu(
  plan: FederationPlan,
  folder: StateFolder,
  clock: Clock,
  progress: (line: string) => void,
): Promise<Result<QemuFederation, string>> {
  const rights = await probeQemuRights();
  if (rights.kind === "none") return err(`real guests cannot be run here: ${rights.reason}`);
  if (rights.kind === "session")
    progress(
      `hosts share this user's rights (${rights.reason}): guests get user networking, ssh comes in by a forwarded port`,
    );
  else progress("each host is a network namespace with a libvirtd of its own");
  const image = await ensureGuestImage({ cacheFolder: defaultImageCache(), progress });
  if (!image.ok) return image;
  const machinePlan = rights.kind === "namespaces" ? planMachines(plan, folder.root) : undefined;
  const machines = new QemuMachines({
    ...(machinePlan === undefined ? {} : { plan: machinePlan }),
    cacheFolder: join(defaultImageCache(), "..", "libvirt"),
    clock,
  });
  return ok({ machines, plan: machinePlan, image: image.value });
}

/** Network and image for the first guests of a site that is up. */
export function registerAt(site: SiteRun, { plan, image }: QemuFederation): Promise<Result<void, string>> {
  return registerFirstContent(site.client, plan?.sites.get(site.plan.name), image);
}
