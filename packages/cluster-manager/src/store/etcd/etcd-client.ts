import { type CancelTimer, type Clock, decode, describeFaults, err, ok, type Result } from "@muster/base";
import type { z } from "zod";
import { type EtcdFault, faultOf, wantsNewToken } from "./etcd-fault.ts";
import { type EtcdTls, type Exchange, Gateway } from "./gateway.ts";
import {
  type EtcdHeader,
  type EtcdTxn,
  encodeRange,
  encodeTxn,
  encodeWatch,
  errorAnswerSchema,
  type KeyValue,
  keepAliveAnswerSchema,
  leaseAnswerSchema,
  type MemberStatus,
  parsedJson,
  type RangeAnswer,
  type RangeQuery,
  rangeAnswerSchema,
  statusAnswerSchema,
  tokenAnswerSchema,
  txnAnswerSchema,
  versionAnswerSchema,
} from "./messages.ts";
import { type WatchEnd, type WatchOptions, WatchReader } from "./watch-reader.ts";

export type EtcdClientOptions = {
  readonly clock: Clock;
  readonly endpoints: readonly string[];
  readonly tls?: EtcdTls | undefined;
  /** User and password of etcd's own authentication; the gateway does not take a certificate's name for a user. */
  readonly auth?: { readonly user: string; readonly password: string } | undefined;
  /** How long one member has for one answer; then another one is asked. */
  readonly requestMs?: number | undefined;
  /** How long a read may go on, over all members. */
  readonly readMs?: number | undefined;
};

export type TxnAnswer = {
  readonly succeeded: boolean;
  readonly header: EtcdHeader;
  /** What the `get`s of the branch taken found, in their order. */
  readonly reads: readonly (KeyValue | undefined)[];
};

export type EtcdWatch = { close(): void };

type Path = `/v3/${string}` | "/version";

const REQUEST_MS = 1_000;
const READ_MS = 5_000;
/** Between two rounds over all members. */
const ROUND_PAUSE_MS = 50;
/**
 * The part of etcd's v3 interface that the store needs, by its JSON gateway. Linearizable reads are repeated at the
 * next member until their time is up; a transaction is sent to the next member only while none has seen it, because
 * whether it may be repeated is for its guards to say.
 */
export class EtcdClient {
  readonly #options: EtcdClientOptions;
  readonly #gateway: Gateway;
  /** The member asked first: the last one that answered. */
  #preferred = 0;
  #token: string | undefined;
  #tokenComing: Promise<Result<string, EtcdFault>> | undefined;
  #endPauses = new Set<() => void>();
  #closed = false;

  constructor(options: EtcdClientOptions) {
    this.#options = options;
    const { clock, endpoints, tls, requestMs = REQUEST_MS } = options;
    this.#gateway = new Gateway({ clock, endpoints, tls, requestMs });
  }

  range(query: RangeQuery): Promise<Result<RangeAnswer, EtcdFault>> {
    return this.#read("/v3/kv/range", encodeRange(query), rangeAnswerSchema);
  }

  /** Sends a transaction once. On `unclear` it may have been carried out, or may be yet. */
  async txn(txn: EtcdTxn): Promise<Result<TxnAnswer, EtcdFault>> {
    const answered = await this.#once("/v3/kv/txn", encodeTxn(txn), txnAnswerSchema);
    if (!answered.ok) return answered;
    const { header, succeeded, responses } = answered.value;
    const reads = responses.flatMap(({ response_range }) => (response_range ? [response_range.kvs[0]] : []));
    return ok({ header, succeeded, reads });
  }

  /** The lease's id. */
  async grantLease(seconds: number): Promise<Result<string, EtcdFault>> {
    const granted = await this.#read("/v3/lease/grant", { TTL: String(seconds) }, leaseAnswerSchema);
    return granted.ok ? ok(granted.value.ID) : granted;
  }

  /** Whether the lease still exists; if so it lives on. */
  async keepLease(id: string): Promise<Result<boolean, EtcdFault>> {
    const kept = await this.#once("/v3/lease/keepalive", { ID: id }, keepAliveAnswerSchema);
    return kept.ok ? ok(kept.value.result.TTL > 0) : kept;
  }

  async revokeLease(id: string): Promise<void> {
    await this.#call("/v3/lease/revoke", { ID: id });
  }

  /** The version of the member that answers: `3.4.23`. */
  async version(): Promise<Result<string, EtcdFault>> {
    const answered = await this.#read("/version", undefined, versionAnswerSchema);
    return answered.ok ? ok(answered.value.etcdserver) : answered;
  }

  /** What the member that answers says of itself; give the client one endpoint to ask a certain one. */
  status(): Promise<Result<MemberStatus, EtcdFault>> {
    return this.#read("/v3/maintenance/status", {}, statusAnswerSchema);
  }

  /** Changes below a prefix from a revision on, from one member until it ends; the next watch starts at another. */
  async watch(options: WatchOptions): Promise<EtcdWatch> {
    const token = await this.#tokenNow();
    const endpoint = this.#preferred;
    const end = (how: WatchEnd): void => {
      if (how.kind === "broken") this.#avoid(endpoint);
      options.onEnd(how);
    };
    if (!token.ok) {
      end({ kind: "broken", message: token.error.message });
      return { close: () => {} };
    }
    const reader = new WatchReader(options, end, (code, text) => {
      if (wantsNewToken(code, text)) this.#token = undefined;
    });
    const body = encodeWatch(options.prefix, options.fromRevision);
    const stream = this.#gateway.stream(
      { endpoint, path: "/v3/watch", body, token: token.value },
      (line) => {
        if (reader.take(line) === "over") stream.close();
      },
      ({ message }) => reader.end({ kind: "broken", message }),
    );
    return { close: () => stream.close() };
  }

  close(): void {
    this.#closed = true;
    for (const end of [...this.#endPauses]) end();
    this.#gateway.close();
  }

  /** For what may be done twice: goes on over all members until an answer or the end of its time. */
  async #read<Schema extends z.ZodType>(
    path: Path,
    body: object | undefined,
    schema: Schema,
  ): Promise<Result<z.output<Schema>, EtcdFault>> {
    const { clock, readMs = READ_MS } = this.#options;
    const untilMs = clock.nowMs() + readMs;
    for (;;) {
      const answered = await this.#once(path, body, schema);
      if (answered.ok || (answered.error.kind !== "unsent" && answered.error.kind !== "unclear")) return answered;
      if (this.#closed || clock.nowMs() + ROUND_PAUSE_MS >= untilMs) return answered;
      await this.pause(ROUND_PAUSE_MS);
    }
  }

  /** Ends early when the client is closed. */
  pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        cancel();
        this.#endPauses.delete(end);
        resolve();
      };
      const cancel: CancelTimer = this.#options.clock.setTimer(delayMs, end);
      this.#endPauses.add(end);
    });
  }

  async #once<Schema extends z.ZodType>(
    path: Path,
    body: object | undefined,
    schema: Schema,
  ): Promise<Result<z.output<Schema>, EtcdFault>> {
    const answered = await this.#call(path, body);
    if (!answered.ok) return answered;
    const decoded = decode(schema, parsedJson(answered.value));
    if (decoded.ok) return decoded;
    return err({ kind: "unclear", message: `etcd answered ${path} oddly: ${describeFaults(decoded.error)}` });
  }

  /** One round over the members, as long as none has seen the request; a token that is no longer known is renewed. */
  async #call(path: Path, body: object | undefined): Promise<Result<string, EtcdFault>> {
    let renewed = false;
    let last: EtcdFault = { kind: "unsent", message: "the client is closed" };
    for (let tried = 0; tried < this.#gateway.size && !this.#closed; ) {
      const token = await this.#tokenNow();
      if (!token.ok) return token;
      const endpoint = this.#preferred;
      const exchange = await this.#gateway.ask({ endpoint, path, ...(body && { body }), token: token.value });
      const result = this.#judge(exchange);
      if (result.ok) return result;
      if (result.error.newToken && !renewed && this.#options.auth !== undefined) {
        renewed = true;
        if (this.#token === token.value) this.#token = undefined;
        continue;
      }
      last = result.error;
      if (last.kind === "unsent" || last.kind === "unclear") this.#avoid(endpoint);
      if (last.kind !== "unsent") break;
      tried += 1;
    }
    return err({ kind: last.kind, message: last.message });
  }

  #judge(exchange: Exchange): Result<string, EtcdFault & { readonly newToken?: boolean }> {
    if (exchange.kind !== "answered") return err(exchange);
    const { status, text } = exchange;
    if (status >= 200 && status < 300) return ok(text);
    const body = errorAnswerSchema.safeParse(parsedJson(text));
    const { code, error, message } = body.success ? body.data : {};
    const said = (error ?? message ?? `status ${status}: ${text.trim()}`).slice(0, 500);
    return err({ ...faultOf(status, code, said), newToken: wantsNewToken(code, said) });
  }

  #avoid(endpoint: number): void {
    if (this.#preferred === endpoint) this.#preferred = (endpoint + 1) % this.#gateway.size;
  }

  async #tokenNow(): Promise<Result<string | undefined, EtcdFault>> {
    const { auth } = this.#options;
    if (auth === undefined || this.#token !== undefined) return ok(this.#token);
    this.#tokenComing ??= this.#authenticate(auth).finally(() => {
      this.#tokenComing = undefined;
    });
    return this.#tokenComing;
  }

  /** One round over the members. Without a token nothing was asked yet, so that failing here is never `unclear`. */
  async #authenticate(auth: { readonly user: string; readonly password: string }): Promise<Result<string, EtcdFault>> {
    const body = { name: auth.user, password: auth.password };
    let last: EtcdFault = { kind: "unsent", message: "the client is closed" };
    for (let tried = 0; tried < this.#gateway.size && !this.#closed; tried += 1) {
      const endpoint = this.#preferred;
      const answered = this.#judge(await this.#gateway.ask({ endpoint, path: "/v3/auth/authenticate", body }));
      const token = answered.ok ? tokenAnswerSchema.safeParse(parsedJson(answered.value)) : undefined;
      if (token?.success) {
        this.#token = token.data.token;
        return ok(this.#token);
      }
      if (!answered.ok) {
        const { kind, message } = answered.error;
        if (kind === "denied" || kind === "refused") return err({ kind: "denied", message });
        last = { kind: "unsent", message };
      }
      this.#avoid(endpoint);
    }
    return err(last);
  }
}
