import { type Fields, type InferFields, type Schema, struct } from "../xdr/schema.ts";

/** The RPC programs a libvirt daemon serves on one socket. */
export const Program = { remote: 0x2000_8086, qemu: 0x2000_8087, keepalive: 0x6b65_6570 } as const;

/** `read` for what only looks (short), `job` for what changes something or may wait for a guest (long). */
export type Lane = "read" | "job";

/** One row of the table: all the client needs to know to make a call and to read its answer. */
export interface Procedure<Args, Result> {
  readonly name: string;
  readonly program: number;
  readonly number: number;
  readonly lane: Lane;
  readonly args: Schema<Args>;
  readonly result: Schema<Result>;
}

interface Row<A extends Fields, R extends Fields> {
  readonly number: number;
  readonly lane: Lane;
  readonly args: A;
  readonly result: R;
}

type Rows = Readonly<Record<string, Row<Fields, Fields>>>;

type Table<R extends Rows> = {
  readonly [K in keyof R]: Procedure<InferFields<R[K]["args"]>, InferFields<R[K]["result"]>>;
};

/** A row for a procedure that only looks: `read(number, arguments, results)`, fields in wire order. */
export function read<const A extends Fields, const R extends Fields>(number: number, args: A, result: R): Row<A, R> {
  return { number, lane: "read", args, result };
}

/** A row for a procedure that changes something: `job(number, arguments, results)`, fields in wire order. */
export function job<const A extends Fields, const R extends Fields>(number: number, args: A, result: R): Row<A, R> {
  return { number, lane: "job", args, result };
}

/** Turns rows into procedures of `program`, each named by its key. */
export function procedures<const R extends Rows>(program: number, rows: R): Table<R> {
  const entries = Object.entries(rows).map(([name, row]) => [
    name,
    { name, program, number: row.number, lane: row.lane, args: struct(row.args), result: struct(row.result) },
  ]);
  return Object.fromEntries(entries) as Table<R>;
}
