import type { Result } from "@muster/base";
import type { NetworkFault, NicWiring } from "./port.ts";
import type { NicUse } from "./uses-file.ts";

/** One way of attaching interfaces. Called by one at a time, after the use was noted; both calls are safe to repeat. */
export type NetworkDriver = {
  /** Why this host cannot attach any such interface, with the remedy; `undefined` when it can. */
  lack(): Promise<string | undefined>;
  /** Makes what is missing for this use. */
  make(use: NicUse): Promise<Result<NicWiring, NetworkFault>>;
  /** Takes away what was only for this use, and with `last` what all uses of its network shared. Throws when it cannot. */
  unmake(use: NicUse, last: boolean): Promise<void>;
  /** Takes away what is ours and of no use in `uses`, as after the loss of the notes. */
  sweep(uses: readonly NicUse[]): Promise<void>;
  /** Brings what was made for these uses in line with what was learned since. Throws when it cannot. */
  refresh?(uses: readonly NicUse[]): Promise<void>;
};
