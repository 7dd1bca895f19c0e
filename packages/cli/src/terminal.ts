import { createInterface } from "node:readline/promises";
import { CommandFailed, EXIT } from "./exit-code.ts";

/** Data goes to stdout and nothing else does. */
export function print(text: string): void {
  process.stdout.write(text);
}

/** Messages, progress and questions go to stderr. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Colours only for a terminal, and not where NO_COLOR is set (no-color.org). */
export function useColor(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && (process.env.NO_COLOR ?? "") === "";
}

/** Asks before something is destroyed; without a terminal nothing is asked and `--yes` is needed. */
export async function confirm(question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new CommandFailed(`${question} Say --yes to confirm.`, EXIT.usage);
  const asker = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await asker.question(`${question} [y/N] `);
  asker.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandFailed("nothing was done", EXIT.failed);
}
