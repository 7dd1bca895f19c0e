/** Outcome of an operation that is expected to fail sometimes; bugs throw instead. */
export type Result<Value, Fault> = Ok<Value> | Err<Fault>;
export type Ok<Value> = { readonly ok: true; readonly value: Value };
export type Err<Fault> = { readonly ok: false; readonly error: Fault };

export function ok<Value>(value: Value): Ok<Value> {
  return { ok: true, value };
}

export function err<Fault>(error: Fault): Err<Fault> {
  return { ok: false, error };
}
