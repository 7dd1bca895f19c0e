/** Writes pairs of records, and blocks that need a stage, for ever, and prints each acknowledged count. Run by a test. */
import { systemClock, systemRng } from "@muster/base";
import type { RecordChange } from "../core/records.ts";
import { openEtcdStore } from "./etcd-open.ts";

const [prefix = "", ...endpoints] = process.argv.slice(2);
const opened = await openEtcdStore({
  clock: systemClock,
  rng: systemRng,
  endpoints,
  prefix,
  site: "alpha.example",
  manager: "crash",
});
if (!opened.ok) throw new Error(opened.error.message);
const store = opened.value;

const counts = new Map<string, number>();
for await (const [key, value] of store.scan("left/")) counts.set(key.slice("left/".length), Number(value));

async function write(writer: string, blockSize: number): Promise<never> {
  for (let count = counts.get(writer) ?? 0; ; ) {
    count += 1;
    const block = Array.from(
      { length: blockSize },
      (_, index): RecordChange => ({ kind: "put", key: `block/${writer}/${index}`, value: count }),
    );
    const outcome = await store.commit([
      { kind: "put", key: `left/${writer}`, value: count },
      ...block,
      { kind: "put", key: `right/${writer}`, value: count },
    ]);
    if (outcome.kind !== "committed") throw new Error(outcome.kind);
    process.stdout.write(`${JSON.stringify({ writer, count })}\n`);
  }
}

await Promise.all([write("a", 400), write("b", 250), write("c", 1), write("d", 1)]);
