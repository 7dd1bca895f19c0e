import { systemClock } from "@muster/base";
import type { SiteClient } from "@muster/client";
import type { SerialLogPart } from "@muster/protocol";
import type { Command } from "commander";
import { openSession } from "../session.ts";
import { expectValue } from "../wait.ts";

/** How much is shown of a long log where not all of it is asked for. */
const TAIL_BYTES = 64 * 1024;
const LOOK_MS = 1_000;

type LogOptions = { readonly follow?: boolean; readonly all?: boolean };

export function addLog(vm: Command): void {
  vm.command("log <vm>")
    .description("what the VM's serial console has said: the last 64 KiB, or all of it")
    .option("-f, --follow", "go on as more comes, until interrupted")
    .option("--all", "from the beginning")
    .action(async (name: string, options: LogOptions, command: Command) => {
      const { client } = openSession(command);
      const end = new AbortController();
      process.once("SIGINT", () => end.abort());
      const show = options.all === true ? 0 : undefined;
      const decoder = new TextDecoder();
      for await (const bytes of logParts(client, name, show, options.follow === true ? end.signal : undefined))
        process.stdout.write(process.stdout.isTTY ? forTerminal(decoder.decode(bytes, { stream: true })) : bytes);
    });
}

/** The log part by part from `from` on, or its end; followed until `follow` aborts. A log that began anew is read anew. */
export async function* logParts(
  client: Pick<SiteClient, "vmLog">,
  name: string,
  from: number | undefined,
  follow: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  let offset = from ?? Math.max(0, expectValue(await client.vmLog(name, undefined)).size - TAIL_BYTES);
  for (;;) {
    const part: SerialLogPart = expectValue(await client.vmLog(name, offset));
    if (part.next > part.offset) yield Buffer.from(part.data, "base64");
    const isAnew = part.size < offset;
    offset = isAnew ? 0 : part.next;
    if (isAnew || part.next < part.size) continue;
    if (follow === undefined || follow.aborted) return;
    await pause(LOOK_MS, follow);
    if (follow.aborted) return;
  }
}

function pause(delayMs: number, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      over.removeEventListener("abort", end);
      resolve();
    };
    const cancel = systemClock.setTimer(delayMs, end);
    over.addEventListener("abort", end);
  });
}

/** Sequences that colour or move (ECMA-48 section 5.4): left out whole. */
const CONTROL_SEQUENCE = new RegExp(`${String.fromCharCode(27)}\\[[0-?]*[ -/]*[@-~]`, "g");

/** A guest must not move the cursor, colour or clear anything on the terminal of who reads its log. */
export function forTerminal(text: string): string {
  const plain = text.replace(/\r\n?/g, "\n").replace(CONTROL_SEQUENCE, "");
  return plain.replace(/\p{Cc}/gu, (sign) => (sign === "\n" || sign === "\t" ? sign : "?"));
}
