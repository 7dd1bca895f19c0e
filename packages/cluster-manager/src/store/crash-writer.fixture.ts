/** Writes pairs of records for ever and prints each acknowledged count, until it is killed. Run by the store's test. */
import { openLevelStore } from "./level-store.ts";

const opened = await openLevelStore({ path: process.argv[2] ?? "", manager: "crash", reserveBytes: 64 * 1024 });
if (!opened.ok) throw new Error(opened.error.message);
const store = opened.value;

const counts = new Map<string, number>();
for await (const [key, value] of store.scan("left/")) counts.set(key.slice("left/".length), Number(value));

async function write(writer: string): Promise<never> {
  for (let count = counts.get(writer) ?? 0; ; ) {
    count += 1;
    const outcome = await store.commit([
      { kind: "put", key: `left/${writer}`, value: count },
      { kind: "put", key: `padding/${writer}`, value: "x".repeat(400) },
      { kind: "put", key: `right/${writer}`, value: count },
    ]);
    if (outcome.kind !== "committed") throw new Error(outcome.kind);
    process.stdout.write(`${JSON.stringify({ kind: "stored", writer, count })}\n`);
  }
}

await Promise.all(["a", "b", "c", "d", "e", "f", "g", "h"].map(write));
