import { z } from "zod";

const PORT_MAX = 65_535;

const portsSchema = z
  .string()
  .regex(/^\d{1,5}-\d{1,5}$/, "must be a range of ports like 51820-51899")
  .transform((text, context) => {
    const [first = 0, last = 0] = text.split("-").map(Number);
    if (first < 1 || last > PORT_MAX || first > last)
      context.addIssue("must begin at 1 or above and end at 65535 or below, the first not above the last");
    return { first, last };
  });

/** `gateway` of `host.yaml`: this host may carry tunnels to other sites. Each takes one UDP port. */
export const gatewayConfigSchema = z.strictObject({
  /** Where hosts of other sites reach this one; without it tunnels are begun from here only. */
  address: z.union([z.ipv4(), z.ipv6()], "must be an IP address").optional(),
  /** Network namespace (ip-netns(8)) whose routes lead to the other sites, where that is not the host manager's. */
  namespace: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/, "must be the name of a network namespace")
    .optional(),
  ports: portsSchema.default({ first: 51_820, last: 51_899 }),
  /** Largest packet that passes on all ways to other sites. */
  mtu: z.int().min(1_280).max(9_216).default(1_500),
});
export type GatewayConfig = z.output<typeof gatewayConfigSchema>;
