/** What a new leader places before it has heard every host. */
import { describe, expect, it } from "vitest";
import { ScriptedHost } from "./scripted-host.fixture.ts";
import { ADMIN, POLICY, ScriptedSite } from "./scripted-site.fixture.ts";

const FULL = { image: "debian-12", vcpus: 8, memoryMiB: 64, diskGiB: 1 };

/** Two hosts, of which the first does not answer, and a leader that has just begun. */
function siteWithOneSilent(): ScriptedSite {
  const silent = new ScriptedHost("h1");
  const alpha = new ScriptedSite({ hosts: [silent, new ScriptedHost("h2")] });
  silent.up = false;
  alpha.restart();
  return alpha;
}

describe("what is asked of a leader that has not heard all of its hosts", () => {
  it("L4: goes to a host whose list was heard", () => {
    const alpha = siteWithOneSilent();
    alpha.create({ name: "first" });
    alpha.advance(POLICY.timing.settleMs - 500);
    expect(alpha.core.views.site(alpha.nowMs).reconciled).toBe(false);
    expect(alpha.vm("first")).toMatchObject({ phase: "running", place: { host: "h2" } });
  });

  it("L4: waits with everything else where something was asked of an earlier leader and waits for longer", () => {
    const alpha = siteWithOneSilent();
    alpha.create({ name: "fills", spec: FULL });
    alpha.advance(500);
    alpha.create({ name: "old", spec: FULL });
    alpha.restart();
    alpha.step({ kind: "vm-delete", ticket: 1, actor: ADMIN, vm: "fills" });
    alpha.create({ name: "young" });
    alpha.advance(POLICY.timing.settleMs - 500);
    expect(alpha.vm("young").phase).toBe("queued");
    alpha.advance(1_000);
    expect(alpha.vm("old")).toMatchObject({ phase: "running", place: { host: "h2" } });
  });
});
