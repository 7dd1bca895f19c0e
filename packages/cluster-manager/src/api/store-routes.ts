import { storeViewSchema } from "@muster/protocol";
import type { Backend } from "./backend.ts";
import { adminRefusal } from "./permission.ts";
import { type Route, refuse, route, value } from "./route.ts";

/** The store as its admin has to know it. */
export function storeRoutes({ loop }: Backend): Route[] {
  return [
    route({
      method: "GET",
      path: "/v1/site/store",
      id: "showStore",
      summary: "What an admin has to know of the store: a restore under way, higher terms, VMs that no record knows.",
      answer: storeViewSchema,
      handle: ({ actor }) => {
        const forbidden = adminRefusal(actor);
        return forbidden === undefined
          ? loop.read((views) => value(views.store()))
          : Promise.resolve(refuse(forbidden));
      },
    }),
  ];
}
