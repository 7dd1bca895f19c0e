import { spawn } from "node:child_process";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { problemOf, refusal, type SiteView } from "@muster/protocol";
import { afterEach, beforeEach, expect, it } from "vitest";

const PROGRAM = fileURLToPath(new URL("../main.ts", import.meta.url));
const NOTHING = { vcpus: 0, memoryMiB: 0, diskGiB: 0, gpus: 0 };
const SITE: SiteView = {
  domain: "alpha.test",
  leader: "a",
  term: 1,
  managers: [],
  total: NOTHING,
  reserved: NOTHING,
  used: NOTHING,
  free: NOTHING,
  hosts: {},
  vms: {},
  queued: 0,
  reconciled: true,
};

let server: Server;

beforeEach(async () => {
  server = createServer(({ url }, response) => {
    if (url === "/v1/site") answer(response, 200, SITE);
    else answer(response, 429, problemOf(refusal("resource-constraint", "too-many-followers", "200 clients follow")));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it.each([["events"], ["events", "--follow"]])(
  "%s %s: says why nobody may follow, and fails",
  async (...command) => {
    const { port } = server.address() as AddressInfo;
    const args = ["--conditions=muster-source", PROGRAM, "--api", `http://127.0.0.1:${port}`, ...command];
    const child = spawn(process.execPath, args, {
      env: { ...process.env, MUSTER_TOKEN: "any" },
      stdio: ["ignore", "inherit", "pipe"],
    });
    let text = "";
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    const exitCode = await new Promise((resolve) => child.once("close", resolve));
    expect(text).toContain("200 clients follow");
    expect(exitCode).toBe(1);
  },
  30_000,
);

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
