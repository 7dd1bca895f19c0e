/** How lost hosts are switched off: `fencing` in `cluster.yaml`, by host. */
import { hostNameSchema } from "@muster/protocol";
import { z } from "zod";

const path = z.string().min(1).max(4_096);

const common = {
  /** Longest time in which the host has to be off, and be confirmed to be (S2). */
  timeoutMs: z.int().min(1_000).max(600_000).default(60_000),
  /**
   * Switches the host off without anybody asking, when it was not heard for so long. Absent: only on an admin's order. The
   * time should be well above what a host needs to start anew.
   */
  auto: z.strictObject({ afterMs: z.int().min(10_000).max(86_400_000) }).optional(),
};

export const fenceAgentSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("program"),
    /** A fence agent (`fence_ipmilan`, `fence_apc`, …), by its whole path. */
    program: path.regex(/^\//, "must be the whole path of a program"),
    /** Its options, one `key=value` a line as it reads them from its standard input; secrets are in no argument and no log. */
    optionsFile: path,
    ...common,
  }),
  z.strictObject({
    kind: z.literal("redfish"),
    /** The machine's computer system: `https://bmc/redfish/v1/Systems/1`. */
    url: z.url({ protocol: /^https$/, message: "must be an https address" }),
    user: z.string().min(1).max(128),
    passwordFile: path,
    /** Certificates that are trusted instead of the system's. */
    caFile: path.optional(),
    ...common,
  }),
]);
export type FenceAgentConfig = z.output<typeof fenceAgentSchema>;

export const fencingSchema = z.record(hostNameSchema, fenceAgentSchema).default({});
export type Fencing = z.output<typeof fencingSchema>;

/** The same with relative paths anchored. */
export function anchorFencing(fencing: Fencing, at: (name: string) => string): Fencing {
  const anchored = Object.entries(fencing).map(([host, agent]) => [
    host,
    agent.kind === "program"
      ? { ...agent, optionsFile: at(agent.optionsFile) }
      : {
          ...agent,
          passwordFile: at(agent.passwordFile),
          ...(agent.caFile === undefined ? {} : { caFile: at(agent.caFile) }),
        },
  ]);
  return Object.fromEntries(anchored);
}
