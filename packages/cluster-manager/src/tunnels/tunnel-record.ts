/** Which gateway host of ours has the end of an exchange's tunnel; stored under `tunnel/<exchange>` before the host is asked. */
import { z } from "zod";

export type TunnelRecord = {
  /** Of the exchange. */
  readonly id: string;
  readonly vm: string;
  readonly peer: string;
  /** Gateway host. */
  readonly host: string;
  /** Rises with every gateway that is asked (H5). */
  readonly attempt: number;
  /** The exchange is over: the end is to be closed. */
  readonly closing: boolean;
};

export const tunnelRecordSchema = z.object({
  id: z.string().min(1),
  vm: z.string().min(1),
  peer: z.string(),
  host: z.string(),
  attempt: z.int().min(1),
  closing: z.boolean(),
}) satisfies z.ZodType<TunnelRecord>;
