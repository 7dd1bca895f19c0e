/** Fills the small disk it was started on until commits fail, frees space, and reports. Run by the store's test. */
import { randomBytes } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openLevelStore } from "./level-store.ts";
import { readAll } from "./read-all.ts";
import type { CommitOutcome, Store } from "./store.ts";

const disk = process.argv[2] ?? "";
const filler = join(disk, "filler");
await writeFile(filler, randomBytes(10 * 1024 * 1024));

const open = async (): Promise<Store> => {
  const opened = await openLevelStore({ path: join(disk, "store"), manager: "full" });
  if (!opened.ok) throw new Error(opened.error.message);
  return opened.value;
};
const print = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const first = await open();
let acknowledged = 0;
let outcome: CommitOutcome = { kind: "committed" };
while (outcome.kind === "committed" && acknowledged < 20_000) {
  outcome = await first.commit([
    { kind: "put", key: `n/${acknowledged}`, value: randomBytes(6_000).toString("hex") },
    { kind: "put", key: `twin/${acknowledged}`, value: true },
  ]);
  if (outcome.kind === "committed") acknowledged += 1;
}
print({ kind: "full", outcome: outcome.kind, message: "message" in outcome ? outcome.message : "", acknowledged });

await rm(filler);
const again = await first.commit([{ kind: "put", key: "last", value: true }]);
await first.close();
const second = await open();
const count = async (prefix: string): Promise<number> => (await readAll(second, prefix)).length;
const found = { numbers: await count("n/"), twins: await count("twin/"), last: await count("last") };
print({
  kind: "done",
  again: again.kind,
  lost: acknowledged - found.numbers + (1 - found.last),
  extra: found.twins - found.numbers,
});
await second.close();
