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
  /** Gateways that had it before and may have it still, the latest ones (S2). */
  readonly left?: readonly FormerGateway[] | undefined;
};

export type FormerGateway = { readonly host: string; readonly attempt: number };

/** Most former gateways that are remembered: each closes its end by itself after a while (B4). */
export const LEFT_MAX = 8;

export const tunnelRecordSchema = z.object({
  id: z.string().min(1),
  vm: z.string().min(1),
  peer: z.string(),
  host: z.string(),
  attempt: z.int().min(1),
  closing: z.boolean(),
  left: z.array(z.object({ host: z.string(), attempt: z.int().min(1) })).optional(),
}) satisfies z.ZodType<TunnelRecord>;
