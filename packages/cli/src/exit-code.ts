import { EXIT_CODE, type Refusal } from "@muster/protocol";

/** Exit codes of the command line, a contract for scripts. */
export const EXIT = { done: 0, failed: 1, usage: 2, notFound: 3, notAllowed: 4, unreachable: 5, timedOut: 6 } as const;

/** Ends a command with a message on stderr and an exit code; thrown by commands, caught once in `main`. */
export class CommandFailed extends Error {
  override readonly name = "CommandFailed";
  readonly exitCode: number;

  constructor(message: string, exitCode: number) {
    super(message);
    this.exitCode = exitCode;
  }
}

export function failedBy(refused: Refusal): CommandFailed {
  const field = refused.field !== undefined && !refused.message.includes(refused.field) ? ` (${refused.field})` : "";
  return new CommandFailed(`${refused.message}${field}`, EXIT_CODE[refused.kind]);
}
