/** `POST /v1/hosts/{name}/fence?agent=true` on a running manager, with an agent that is a real program. */
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, vi } from "vitest";
import { TestBed, TOKENS } from "../leadership/test-bed.fixture.ts";

const folder = mkdtempSync(join(tmpdir(), "muster-fence-"));
const program = join(folder, "fence_test");
const ran = join(folder, "ran");
writeFileSync(program, `#!/bin/sh\ngrep -q ^action=off$ && touch ${ran} && exit 0\n[ -e ${ran} ] && exit 2\nexit 0\n`);
chmodSync(program, 0o755);
writeFileSync(join(folder, "options"), "ip=192.0.2.9\n");
const fencing = { h1: { kind: "program", program, optionsFile: join(folder, "options"), timeoutMs: 10_000 } };
const bed = await TestBed.start({ hosts: ["h1", "h2"], config: { fencing } });

afterAll(async () => {
  await bed.stop();
  rmSync(folder, { recursive: true, force: true });
});

const fence = (host: string, token = TOKENS.admin) => bed.send("POST", `/v1/hosts/${host}/fence?agent=true`, { token });

describe("fencing by agent", () => {
  it("is for admins, and never against a host that is heard", async () => {
    expect((await fence("h1", TOKENS.user)).status).toBe(403);
    expect(await fence("h1")).toMatchObject({ status: 409, body: { reason: "host-alive" } });
    expect(existsSync(ran)).toBe(false);
  });

  it("P1: declares a lost host dead once its agent said that it is off, and tells who did", async () => {
    await bed.hosts.get("h1")?.stop();
    await vi.waitFor(async () => expect((await bed.get("/v1/hosts/h1")).body.liveness).not.toBe("alive"), 20_000);
    await vi.waitFor(async () => expect((await fence("h1")).status).toBe(200), 20_000);
    expect(existsSync(ran)).toBe(true);
    expect((await bed.get("/v1/hosts/h1")).body.condition).toBe("fenced");
    expect(bed.log.join("")).toContain("confirmed that it is off");
  });

  it("is refused for a host that has no agent", async () => {
    await bed.hosts.get("h2")?.stop();
    expect(await fence("h2")).toMatchObject({ body: { reason: "no-fence-agent" } });
  });
});
