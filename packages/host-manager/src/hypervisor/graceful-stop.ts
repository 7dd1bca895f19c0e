/** Ends a guest: asked first, as by its power button, and cut off when it does not listen. */
import type { Clock } from "@muster/base";
import { type Domain, ErrorCode, isLibvirtError, type Libvirt } from "node-libvirt";
import { reportState } from "./libvirt-survey.ts";

export type StopOptions = {
  readonly clock: Clock;
  /** How long the guest may take to shut down. */
  readonly stopMs: number;
  /** Ends the wait early; the guest is then left as it is. */
  readonly signal: AbortSignal;
};

const POLL_MS = 100;

/** Whether the guest has ended; false only where the wait was ended early. A suspended guest hears nothing and is cut off. */
export async function stopGracefully(libvirt: Libvirt, domain: Domain, options: StopOptions): Promise<boolean> {
  const { clock, stopMs, signal } = options;
  const stateNow = async () => reportState((await libvirt.domains.state(domain)).state);
  if ((await stateNow()) === "running" && stopMs > 0) {
    await orEnded(libvirt.domains.shutdown(domain));
    const endMs = clock.nowMs() + stopMs;
    while ((await stateNow()) === "running" && clock.nowMs() < endMs) {
      if (signal.aborted) return false;
      await pause(clock, POLL_MS);
    }
  }
  if ((await stateNow()) !== "stopped") await orEnded(libvirt.domains.destroy(domain));
  return true;
}

/** A guest may end by itself between the look and the order. */
async function orEnded(order: Promise<void>): Promise<void> {
  try {
    await order;
  } catch (cause) {
    if (!isLibvirtError(cause, ErrorCode.operationInvalid)) throw cause;
  }
}

function pause(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve);
  });
}
