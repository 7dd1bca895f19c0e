import { systemClock, systemRng, uuidv7 } from "@muster/base";
import { CONSOLE_BYTES_MAX, type ConsoleRequest, type ConsoleState } from "@muster/protocol";
import type { Command } from "commander";
import { CommandFailed, EXIT } from "../exit-code.ts";
import { openSession } from "../session.ts";
import { say } from "../terminal.ts";
import { expectValue } from "../wait.ts";

/** How long a host is asked to wait for output; below what a manager that hangs is given. */
const WAIT_MS = 1_000;
/** Answers without output after the end of input that is no terminal's, before it is left. */
const QUIET_MAX = 2;

export function addConsole(vm: Command): void {
  vm.command("console <vm>")
    .description("the VM's serial console; leave it with ~. at the beginning of a line")
    .option("--force", "take it from whoever is at it")
    .action(async (name: string, options: { force?: boolean }, command: Command) => {
      const { client } = openSession(command);
      const session = uuidv7(systemClock, systemRng);
      const order = async (request: Omit<ConsoleRequest, "session">): Promise<ConsoleState> =>
        expectValue(await client.vmConsole(name, { session, ...request }));
      await order({ action: "open", sequence: 0, ...(options.force === true ? { force: true } : {}) });
      if (process.stdin.isTTY) say(`at the console of ${name}; leave it with ~. at the beginning of a line`);
      const end = await attach(order);
      if (end === "left") await client.vmConsole(name, { session, action: "close", sequence: 0 });
      if (process.stdin.isTTY) say(end === "left" ? "\nleft; the VM goes on" : "\nthe console has ended");
      if (end === "ended" && process.stdin.isTTY !== true)
        throw new CommandFailed("the console has ended", EXIT.failed);
    });
}

type Order = (request: Omit<ConsoleRequest, "session">) => Promise<ConsoleState>;

/** Carries both ways until the user leaves or the console ends. */
async function attach(order: Order): Promise<"left" | "ended"> {
  const { stdin } = process;
  const keys = new EscapeReader();
  let left = false;
  let inputEnded = false;
  let typing: Promise<unknown> = Promise.resolve();
  let inputs = 0;
  const type = (bytes: Buffer): void => {
    const { typed, leave } = stdin.isTTY ? keys.read(bytes) : { typed: bytes, leave: false };
    for (let at = 0; at < typed.length; at += CONSOLE_BYTES_MAX) {
      inputs += 1;
      const sequence = inputs;
      const data = typed.subarray(at, at + CONSOLE_BYTES_MAX).toString("base64");
      typing = typing.then(() => order({ action: "input", sequence, data }));
      typing.catch(() => {
        left = true;
      });
    }
    if (leave) left = true;
  };
  if (stdin.isTTY) stdin.setRawMode(true);
  stdin.on("data", type);
  stdin.once("end", () => {
    inputEnded = true;
  });
  try {
    let quiet = 0;
    for (let sequence = 1; !left; sequence += 1) {
      const { open, data } = await order({ action: "output", sequence, waitMs: WAIT_MS });
      process.stdout.write(Buffer.from(data, "base64"));
      if (!open) return "ended";
      quiet = inputEnded && data === "" ? quiet + 1 : 0;
      if (quiet >= QUIET_MAX) break;
    }
    await typing;
    return "left";
  } finally {
    stdin.off("data", type);
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
  }
}

const CR = 13;
const LF = 10;
const TILDE = "~".charCodeAt(0);
const DOT = ".".charCodeAt(0);

/** `~.` at the beginning of a line leaves, `~~` is one tilde, as with ssh(1). */
export class EscapeReader {
  #state: "line-start" | "tilde" | "within" = "line-start";

  read(bytes: Uint8Array): { readonly typed: Buffer; readonly leave: boolean } {
    const typed: number[] = [];
    for (const byte of bytes) {
      if (this.#state === "tilde") {
        if (byte === DOT) return { typed: Buffer.from(typed), leave: true };
        typed.push(TILDE);
        this.#state = "within";
        if (byte === TILDE) continue;
      } else if (this.#state === "line-start" && byte === TILDE) {
        this.#state = "tilde";
        continue;
      }
      typed.push(byte);
      this.#state = byte === CR || byte === LF ? "line-start" : "within";
    }
    return { typed: Buffer.from(typed), leave: false };
  }
}
