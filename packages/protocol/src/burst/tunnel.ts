/**
 * What a borrower asks for with the lease of a VM that is to sit on its home network: an end of a tunnel at the lender's host
 * that leads to a gateway host of the borrower's. The lender's end follows with the state of the lease.
 */
import { z } from "zod";
import {
  type TunnelNic,
  tunnelEndFields,
  tunnelEndSchema,
  tunnelMtuSchema,
  tunnelNicFields,
  tunnelNicSchema,
  tunnelVniSchema,
} from "../host/tunnel-end.ts";
import { type Fields, integer, nested } from "../xml/field.ts";

/** Whether the borrower's end can be reached; where it is `outbound`, the lender's has to be. */
export const tunnelReachSchema = z.enum(["reachable", "outbound"]);
export type TunnelReach = z.output<typeof tunnelReachSchema>;

export const leaseTunnelSchema = z.object({
  vni: tunnelVniSchema,
  /** Of the guest's interface: what fits through the tunnel at the borrower's end. */
  mtu: tunnelMtuSchema,
  nic: tunnelNicSchema,
  /** The borrower's. */
  end: tunnelEndSchema,
});
export type LeaseTunnel = z.output<typeof leaseTunnelSchema>;

export const leaseTunnelFields: Fields<LeaseTunnel> = {
  vni: integer,
  mtu: integer,
  nic: nested<TunnelNic>(tunnelNicFields),
  end: nested(tunnelEndFields),
};
