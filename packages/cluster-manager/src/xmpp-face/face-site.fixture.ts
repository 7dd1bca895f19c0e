/** The sites of a test of the face, and the end of all of them. */
import { TestBed } from "../leadership/test-bed.fixture.ts";
import { Person } from "./person.fixture.ts";

export const WATCHERS = {
  watchers: [
    { jid: "ann@alpha.test", role: "admin" },
    { jid: "vic@alpha.test", role: "viewer", projects: ["elsewhere"] },
  ],
};

const beds: TestBed[] = [];

/** A site that `stopAll` ends. */
export async function start(options: Parameters<typeof TestBed.start>[0] = {}): Promise<TestBed> {
  const bed = await TestBed.start(options);
  beds.push(bed);
  return bed;
}

/** Ends every site and everybody online: for `afterEach`. */
export async function stopAll(): Promise<void> {
  for (const bed of beds.splice(0)) await bed.stop();
  await Person.stopAll();
}
