import { type Clock, err, type Result } from "@muster/base";
import type { Store } from "../store/store.ts";
import type { StoreFault } from "../store/store-fault.ts";

export type TakeLeadOptions = {
  readonly clock: Clock;
  readonly open: () => Promise<Result<Store, StoreFault>>;
  /** Between two tries while another manager leads. */
  readonly retryMs: number;
  readonly signal: AbortSignal;
  /** Called when this manager has to wait, and again when it waits for something else. */
  readonly onStandby: (message: string) => void;
};

/**
 * Opens the store, waiting as long as another manager holds it, or it is away: whoever opens it leads under the next
 * term (L1).
 */
export async function takeLead(options: TakeLeadOptions): Promise<Result<Store, StoreFault>> {
  let waitsFor: StoreFault["kind"] | undefined;
  for (;;) {
    if (options.signal.aborted) return err({ kind: "locked", message: "stopped while waiting for the lead" });
    const opened = await options.open();
    if (opened.ok || (opened.error.kind !== "locked" && opened.error.kind !== "unavailable")) return opened;
    const { kind, message } = opened.error;
    if (kind !== waitsFor) options.onStandby(message);
    waitsFor = kind;
    await pause(options);
  }
}

function pause({ clock, retryMs, signal }: TakeLeadOptions): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.setTimer(retryMs, done);
    signal.addEventListener("abort", done);
  });
}
