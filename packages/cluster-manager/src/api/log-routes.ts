import { refusal, SERIAL_LOG_BYTES_MAX, serialLogPartSchema } from "@muster/protocol";
import { z } from "zod";
import type { Backend } from "./backend.ts";
import { findVm } from "./permission.ts";
import { type Route, refuse, route, value } from "./route.ts";

/** What the guest's serial console has said. */
export function logRoutes({ loop, readLog }: Backend): Route[] {
  const read = route({
    method: "GET",
    path: "/v1/vms/{id}/log",
    id: "readVmLog",
    summary:
      "A part of what the VM's serial console has said, in base64, from `offset` on or its end; `next` is the offset of the " +
      "following part.",
    params: z.strictObject({ id: z.string().min(1).max(63) }),
    query: z.strictObject({
      offset: z.coerce.number("must be a whole number").int("must be a whole number").min(0).optional(),
      max: z.coerce
        .number()
        .int("must be a whole number")
        .min(1)
        .max(SERIAL_LOG_BYTES_MAX)
        .default(SERIAL_LOG_BYTES_MAX),
    }),
    answer: serialLogPartSchema,
    async handle({ actor, params, query }) {
      const found = await loop.read((views) => findVm(views, actor, params.id));
      if ("kind" in found) return refuse(found);
      const { place, id: vm, name, phase } = found;
      if (place.kind === "peer")
        return refuse(refusal("not-acceptable", "log-at-peer", `${name} runs at ${place.peer}, which keeps its log`));
      if (place.kind === "none")
        return refuse(refusal("item-not-found", "no-log", `${name} is ${phase}: no host has a log of it`));
      const { offset, max } = query;
      const part = await readLog(place.host, { vm, max, ...(offset === undefined ? {} : { offset }) });
      return part.ok ? value(part.value) : refuse(part.error);
    },
  });
  return [read];
}
