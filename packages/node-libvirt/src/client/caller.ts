import type { CallOptions } from "../connection/connection.ts";
import type { Procedure } from "../table/procedure.ts";

/** A call that may have to wait for its turn. */
export interface OrderedCallOptions extends CallOptions {
  /** UUID of the domain whose earlier jobs must be done first. Without it the call goes out at once. */
  readonly order?: string | undefined;
}

/** Makes calls. What every part of the facade is built on. */
export interface Caller {
  call<A, R>(procedure: Procedure<A, R>, args: A, options?: OrderedCallOptions): Promise<R>;
}
