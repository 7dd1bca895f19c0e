import { consoleRequestSchema, consoleStateSchema, refusal } from "@muster/protocol";
import { z } from "zod";
import type { Backend } from "./backend.ts";
import { changeRefusal, findVm } from "./permission.ts";
import { type Route, refuse, route, value } from "./route.ts";

/** The console of a VM. The session is the host's: any leader carries its orders on. */
export function consoleRoutes({ loop, console }: Backend): Route[] {
  const order = route({
    method: "POST",
    path: "/v1/vms/{id}/console",
    id: "useConsole",
    summary:
      "One order of a session at the VM's console, under an id that the client chooses: open, input (base64), output " +
      "(waits a moment for some), close. Inputs and outputs are counted from 1; the same again is the same.",
    params: z.strictObject({ id: z.string().min(1).max(63) }),
    body: consoleRequestSchema,
    answer: consoleStateSchema,
    async handle({ actor, params, body }) {
      const found = await loop.read((views) => findVm(views, actor, params.id));
      if ("kind" in found) return refuse(found);
      const forbidden = changeRefusal(actor, found.project);
      if (forbidden !== undefined) return refuse(forbidden);
      const { place, id: vm, name, phase } = found;
      if (place.kind === "peer")
        return refuse(refusal("not-acceptable", "console-at-peer", `${name} runs at ${place.peer}: use ssh`));
      if (place.kind === "none" || phase !== "running")
        return refuse(refusal("conflict", "not-running", `${name} is ${phase}: only a running VM has a console`));
      const state = await console(place.host, { vm, ...body });
      return state.ok ? value(state.value) : refuse(state.error);
    },
  });
  return [order];
}
