import type { TunnelEnd } from "@muster/protocol";

/** Whether two descriptions are of the same end. */
export function isSameEnd(left: TunnelEnd | undefined, right: TunnelEnd | undefined): boolean {
  return (
    left?.publicKey === right?.publicKey &&
    left?.endpoint?.address === right?.endpoint?.address &&
    left?.endpoint?.port === right?.endpoint?.port
  );
}
