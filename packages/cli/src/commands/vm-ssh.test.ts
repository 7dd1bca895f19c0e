import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VmView } from "@muster/protocol";
import { afterAll, describe, expect, it } from "vitest";
import { answers, knownHostsFile, sshArguments, sshTarget, targetOf, withoutMark } from "./vm-ssh.ts";

const folder = mkdtempSync(join(tmpdir(), "vm-ssh-"));
const servers: Server[] = [];
afterAll(() => {
  rmSync(folder, { recursive: true });
  for (const server of servers) server.close();
});

async function greeter(greeting: string): Promise<{ host: string; port: number }> {
  const server = createServer((socket) => socket.end(greeting));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.52.0.1", resolve));
  const address = server.address();
  return { host: "127.52.0.1", port: typeof address === "object" ? (address?.port ?? 0) : 0 };
}

describe("muster vm ssh", () => {
  it.each([
    ["10.77.0.5", { host: "10.77.0.5", port: 22 }],
    ["127.0.0.1:2222", { host: "127.0.0.1", port: 2222 }],
    ["fd00::5", { host: "fd00::5", port: 22 }],
    ["[fd00::5]:2222", { host: "fd00::5", port: 2222 }],
    ["-oProxyCommand=evil", undefined],
    ["host.example", undefined],
  ])("takes %s for an address, or for none", (text, target) => {
    expect(sshTarget(text)).toEqual(target);
  });

  it("goes by the way in from outside where the VM's address is behind its host", () => {
    const access = { host: "192.0.2.4", port: 20_003 };
    expect(targetOf({ address: "10.77.0.5", access })).toEqual(access);
    expect(targetOf({ address: "10.77.0.5" })).toEqual({ host: "10.77.0.5", port: 22 });
    expect(targetOf({})).toBeUndefined();
  });

  it("hands on what follows the mark, and not the mark", () => {
    expect(withoutMark(["--", "ls", "--", "-l"])).toEqual(["ls", "--", "-l"]);
    expect(withoutMark(["ls", "-l"])).toEqual(["ls", "-l"]);
  });

  it("keeps host keys by VM and site, not by address, and never takes a second one", () => {
    const knownHosts = knownHostsFile("alpha.test", { XDG_STATE_HOME: folder });
    expect(knownHosts).toBe(join(folder, "muster", "known_hosts-alpha.test"));
    const args = sshArguments({
      vm: { id: "0190-a" } as VmView,
      target: { host: "127.0.0.1", port: 2222 },
      user: "root",
      identity: undefined,
      knownHosts,
      words: ["uptime", "-p"],
    });
    expect(args.join(" ")).toBe(
      `-o HostKeyAlias=vm-0190-a -o UserKnownHostsFile="${knownHosts}" -o StrictHostKeyChecking=accept-new ` +
        "-o CheckHostIP=no -p 2222 -l root -- 127.0.0.1 uptime -p",
    );
  });

  it("knows an ssh server by its greeting, and takes nothing else for one", async () => {
    expect(await answers(await greeter("SSH-2.0-dropbear\r\n"))).toBe(true);
    expect(await answers(await greeter("HTTP/1.1 400 Bad Request\r\n"))).toBe(false);
    expect(await answers({ host: "127.52.0.1", port: 1 })).toBe(false);
  });
});
