/** The site that the tests of one file share. */
import { afterAll } from "vitest";
import { TestBed } from "../leadership/test-bed.fixture.ts";

/** A site with two hosts, stopped after the last test of the file. */
export async function startBed(): Promise<TestBed> {
  const bed = await TestBed.start({ hosts: ["h1", "h2"] });
  afterAll(() => bed.stop());
  return bed;
}

/** Everything anybody asked for, as stored. */
export const wished = ({ disk }: TestBed): string[] =>
  [...disk.records.keys()].filter((key) => /^(vm|request|host)\//.test(key)).sort();
