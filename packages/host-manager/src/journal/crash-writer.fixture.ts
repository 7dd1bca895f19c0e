/** Commits one turn after the other and says so, until it is killed: `crash-writer.fixture.ts FOLDER`. */
import { vmId } from "../testing/fixture.ts";
import { levelJournal } from "./level.ts";

const journal = levelJournal(process.argv[2] ?? "");
const content = await journal.load();
if (!content.ok) throw new Error(content.error.message);
for (let turn = content.value.head.term + 1; ; turn += 1) {
  const head = { ...content.value.head, term: turn, revision: turn };
  const vm = vmId(turn);
  await journal.commit([
    { kind: "head", head },
    { kind: "attempt", vm, record: { vm, attempt: 1, state: "void" } },
  ]);
  process.stdout.write(`${turn}\n`);
}
