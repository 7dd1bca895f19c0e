import { randomUUID } from "node:crypto";
import { decode } from "@muster/base";
import {
  refusal,
  requestIdSchema,
  snapshotViewSchema,
  vmOperationSchema,
  vmViewSchema,
  volumeViewSchema,
} from "@muster/protocol";
import { z } from "zod";
import type { Backend } from "./backend.ts";
import { findVm } from "./permission.ts";
import { type Reply, type Route, refuse, route, value } from "./route.ts";
import { changeVm } from "./vm-routes.ts";

const vmParams = z.strictObject({ id: z.string().min(1).max(63) });

/** What is done once with a VM beyond starting and stopping it: saving, snapshots, volumes, another size. */
export function operationRoutes(backend: Backend): Route[] {
  return [operateRoute(backend), snapshotsRoute(backend), volumesRoute(backend)];
}

function operateRoute(backend: Backend): Route {
  return route({
    method: "POST",
    path: "/v1/vms/{id}/operations",
    id: "operateVm",
    summary:
      "Saves a VM, or makes, goes back to and deletes its snapshots, makes, attaches, detaches and deletes its volumes, or " +
      "resizes it while it is stopped. Answered when the operation is stored; `operation` of the VM says how it ended. " +
      "Idempotency-Key is the id of the operation: the same key with the same body is the same operation.",
    params: vmParams,
    body: vmOperationSchema,
    status: 202,
    answer: vmViewSchema,
    async handle({ actor, params, body, idempotencyKey }): Promise<Reply> {
      const key = decode(requestIdSchema, idempotencyKey ?? randomUUID());
      if (!key.ok) {
        const [fault] = key.error;
        return refuse(
          refusal("bad-request", "invalid-idempotency-key", `Idempotency-Key ${fault?.message ?? "is not valid"}`, {
            field: "Idempotency-Key",
          }),
        );
      }
      return changeVm(backend, actor, params.id, (ticket, vm) => ({
        kind: "vm-operation",
        ticket,
        actor,
        vm,
        key: key.value,
        operation: body,
      }));
    },
  });
}

function snapshotsRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/vms/{id}/snapshots",
    id: "listSnapshots",
    summary: "The snapshots of a VM, oldest first.",
    params: vmParams,
    answer: z.object({ items: z.array(snapshotViewSchema) }),
    handle: ({ actor, params }) =>
      loop.read((views) => {
        const found = findVm(views, actor, params.id);
        return "kind" in found ? refuse(found) : value({ items: found.snapshots ?? [] });
      }),
  });
}

function volumesRoute({ loop }: Backend): Route {
  return route({
    method: "GET",
    path: "/v1/vms/{id}/volumes",
    id: "listVolumes",
    summary: "The disks of a VM beside its first one.",
    params: vmParams,
    answer: z.object({ items: z.array(volumeViewSchema) }),
    handle: ({ actor, params }) =>
      loop.read((views) => {
        const found = findVm(views, actor, params.id);
        return "kind" in found ? refuse(found) : value({ items: found.volumes ?? [] });
      }),
  });
}
