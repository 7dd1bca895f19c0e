import { spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { QueueEntry } from "@muster/protocol";
import { afterEach, beforeEach, expect, it } from "vitest";

const PROGRAM = fileURLToPath(new URL("../main.ts", import.meta.url));
/** Far more than a pipe holds (64 KiB on Linux) while its reader is slow. */
const ENTRIES = 5_000;

let server: Server;

beforeEach(async () => {
  const items = Array.from({ length: ENTRIES }, (_, index): QueueEntry => entry(index + 1));
  server = createServer((_, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ items }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it("hands a long list to the reader of a pipe to its last line", async () => {
  const { port } = server.address() as AddressInfo;
  const child = spawn(
    process.execPath,
    ["--conditions=muster-source", PROGRAM, "--api", `http://127.0.0.1:${port}`, "--format", "json", "queue", "list"],
    { env: { ...process.env, MUSTER_TOKEN: "any" }, stdio: ["ignore", "pipe", "inherit"] },
  );
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  const exitCode = await new Promise((resolve) => child.once("close", resolve));
  expect(exitCode).toBe(0);
  const printed: readonly QueueEntry[] = JSON.parse(text);
  expect(printed).toHaveLength(ENTRIES);
}, 30_000);

function entry(position: number): QueueEntry {
  return {
    position,
    vm: `01900000-0000-7000-8000-${String(position).padStart(12, "0")}`,
    name: `late-${position}`,
    project: "default",
    priority: 5,
    waitingMs: 1_000,
    reason: "no host takes it: 3 lacks-vcpus",
    candidates: [],
  };
}
