import { decode, err, type FieldFault, ok, type Result } from "@muster/base";
import { PAGE_MAX, type Page, type Refusal, refusal } from "@muster/protocol";
import { z } from "zod";
import type { Actor } from "../core/event.ts";

/** What a route answers: a value of its schema, or a refusal. */
export type Reply =
  | {
      readonly kind: "value";
      readonly status?: number;
      readonly value: unknown;
      readonly headers?: Record<string, string>;
    }
  | { readonly kind: "refused"; readonly refusal: Refusal; readonly faults?: readonly FieldFault[] };

export type RawCall = {
  readonly actor: Actor;
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly idempotencyKey: string | undefined;
};

type Call<Params, Query, Body> = {
  readonly actor: Actor;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly idempotencyKey: string | undefined;
};

/** One operation of the API: served and described from the same schemas. */
export type Route = {
  readonly method: "GET" | "POST" | "DELETE";
  /** As OpenAPI writes it: `/v1/vms/{id}`. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly body?: z.ZodType | undefined;
  readonly status: number;
  readonly answer: z.ZodType;
  readonly run: (call: RawCall) => Promise<Reply>;
};

/** Declares a route; everything the caller sent is decoded before `handle` sees it (S1). */
export function route<Params extends z.ZodObject, Query extends z.ZodObject, Body extends z.ZodType>(definition: {
  readonly method: Route["method"];
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  readonly status?: number;
  readonly answer: z.ZodType;
  readonly handle: (call: Call<z.output<Params>, z.output<Query>, z.output<Body>>) => Promise<Reply>;
}): Route {
  const { params, query, body, handle, ...plain } = definition;
  const run = async (raw: RawCall): Promise<Reply> => {
    const call = decodeCall(raw, params, query, body);
    if (!call.ok) return { kind: "refused", refusal: faultsOf(call.error), faults: call.error };
    return handle(call.value);
  };
  return {
    ...plain,
    status: plain.status ?? 200,
    params: params ?? z.strictObject({}),
    query: query ?? z.strictObject({}),
    body,
    run,
  };
}

function decodeCall<Params extends z.ZodObject, Query extends z.ZodObject, Body extends z.ZodType>(
  raw: RawCall,
  params: Params | undefined,
  query: Query | undefined,
  body: Body | undefined,
): Result<Call<z.output<Params>, z.output<Query>, z.output<Body>>, FieldFault[]> {
  const decoded = {
    params: decode(params ?? z.strictObject({}), raw.params),
    query: decode(query ?? z.strictObject({}), raw.query),
    body: decode(body ?? z.undefined("takes no body"), raw.body),
  };
  const faults = [decoded.params, decoded.query, decoded.body].flatMap((part) => (part.ok ? [] : part.error));
  if (!decoded.params.ok || !decoded.query.ok || !decoded.body.ok) return err(faults);
  const { actor, idempotencyKey } = raw;
  const call: unknown = {
    actor,
    idempotencyKey,
    params: decoded.params.value,
    query: decoded.query.value,
    body: decoded.body.value,
  };
  return ok(call as Call<z.output<Params>, z.output<Query>, z.output<Body>>);
}

function faultsOf(faults: readonly FieldFault[]): Refusal {
  const [first] = faults;
  const text = faults.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`)).join("; ");
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusals are one line, what a caller sent may not be
  const line = text.replace(/[\u0000-\u001f\u007f]+/g, " ");
  return refusal(
    "bad-request",
    "invalid-fields",
    line,
    first === undefined ? {} : { field: first.field.slice(0, 128) },
  );
}

export function value(
  body: unknown,
  more: { readonly status?: number; readonly headers?: Record<string, string> } = {},
): Reply {
  return { kind: "value", value: body, ...more };
}

export function refuse(why: Refusal): Reply {
  return { kind: "refused", refusal: why };
}

/** Query of a list: at most `limit` items whose key comes after `after`. */
export const pageQuery = z.strictObject({
  limit: z.coerce
    .number("must be a whole number")
    .int("must be a whole number")
    .min(1, "must be at least 1")
    .max(PAGE_MAX, `must be at most ${PAGE_MAX}`)
    .default(100),
  after: z.string().max(128).optional(),
});

/** One page of a list that is sorted by `keyOf`. */
export function page<Item>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
  { limit, after }: z.output<typeof pageQuery>,
): Page<Item> {
  const rest = after === undefined ? items : items.filter((item) => keyOf(item) > after);
  const shown = rest.slice(0, limit);
  const last = shown.at(-1);
  return rest.length > shown.length && last !== undefined ? { items: shown, next: keyOf(last) } : { items: shown };
}
