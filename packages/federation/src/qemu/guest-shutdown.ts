import type { Clock } from "@muster/base";
import { Libvirt, type PrivateDaemon } from "node-libvirt";

/** How long guests have to shut down by themselves when the federation ends; then they are cut off. */
const PATIENCE_MS = 6_000;
const LOOK_EVERY_MS = 100;

/** Presses the power button of every guest, waits for them, and cuts off who still runs then. */
export async function shutDownGuests({ socketPath, uri }: PrivateDaemon, clock: Clock): Promise<void> {
  const libvirt = await Libvirt.open({ socketPath, uri, openTimeoutMs: 2_000, callTimeoutMs: 5_000 }).catch(
    () => undefined,
  );
  if (libvirt === undefined) return;
  try {
    const deadlineMs = clock.nowMs() + PATIENCE_MS;
    const running = async () => libvirt.domains.list({ active: true });
    for (const domain of await running()) await libvirt.domains.shutdown(domain).catch(() => undefined);
    while (clock.nowMs() < deadlineMs && (await running()).length > 0)
      await new Promise<void>((resolve) => clock.setTimer(LOOK_EVERY_MS, resolve));
    for (const domain of await running()) await libvirt.domains.destroy(domain);
  } catch {
    // libvirtd is in a bad way: it is stopped next, and its guests are ended without it.
  } finally {
    await libvirt.close();
  }
}
