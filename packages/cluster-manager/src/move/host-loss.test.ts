/** What becomes of VMs whose host died, by their own policy, and of hosts that come back after they were declared dead. */
import { describe, expect, it } from "vitest";
import { ADMIN, ANN, type ScriptedSite } from "../core/scripted-site.fixture.ts";
import { expectAtRest, fence, hostNamed, LONG_MS, movingSite, runningOn } from "./moving-site.fixture.ts";

const SPEC = { image: "debian-12", vcpus: 1, memoryMiB: 512, diskGiB: 5 };

function siteWith(onHostLoss: "keep" | "restart"): ScriptedSite {
  const alpha = movingSite(["h1"]);
  alpha.ask({ kind: "vm-delete", actor: ANN, vm: "web" });
  alpha.advance(1_000);
  alpha.create({ name: "db", spec: { ...SPEC, onHostLoss } });
  alpha.advance(1_000);
  return alpha;
}

describe("a host that is lost", () => {
  it.each(["keep", "restart"] as const)(
    "P1: is waited for with every VM on it, `%s` or not, as long as nobody proved it dead",
    (policy) => {
      const alpha = siteWith(policy);
      alpha.add(movingSite().hosts.get("h2") ?? hostNamed(alpha, "h2"));
      hostNamed(alpha, "h1").up = false;
      alpha.advance(3_600_000);
      expect(alpha.vm("db")).toMatchObject({ phase: "in-doubt", attempt: 1, place: { host: "h1" } });
    },
  );

  it("P1: declared dead, has what is to be restarted start elsewhere by the next attempt", () => {
    const alpha = siteWith("restart");
    alpha.add(movingSite().hosts.get("h2") ?? hostNamed(alpha, "h2"));
    expect(fence(alpha, "h1")).toMatchObject({ kind: "host" });
    alpha.advance(LONG_MS);
    expectAtRest(alpha, "h2", "db");
    expect(alpha.vm("db").attempt).toBe(2);
  });

  it("declared dead, has what is to be kept wait for it with its disk, and run again when it is back", () => {
    const alpha = siteWith("keep");
    alpha.add(movingSite().hosts.get("h2") ?? hostNamed(alpha, "h2"));
    const host = hostNamed(alpha, "h1");
    host.up = false;
    alpha.advance(10_000);
    expect(alpha.ask({ kind: "host-fence", actor: ADMIN, host: "h1" })).toMatchObject({ kind: "host" });
    alpha.advance(LONG_MS);
    expect(alpha.vm("db")).toMatchObject({ phase: "in-doubt", attempt: 1, place: { host: "h1" } });
    expect(alpha.vm("db").reason).toContain("it waits for it, with its disk");
    host.up = true;
    alpha.advance(2_000);
    alpha.ask({ kind: "host-drain", actor: ADMIN, host: "h1", draining: false });
    alpha.advance(LONG_MS);
    expectAtRest(alpha, "h1", "db");
    expect(alpha.vm("db").attempt).toBe(1);
  });

  it("declared dead, lets what is kept there be deleted", () => {
    const alpha = siteWith("keep");
    fence(alpha, "h1");
    alpha.ask({ kind: "vm-delete", actor: ANN, vm: "db" });
    alpha.flow();
    expect(alpha.vm("db").phase).toBe("deleted");
  });
});

describe("a host that comes back after somebody vouched wrongly", () => {
  /** h1 was cut off, declared dead though its VM ran on, and h2 has taken the VM or is about to. */
  function returned(ready: boolean): ScriptedSite {
    const alpha = siteWith("restart");
    alpha.add(movingSite().hosts.get("h2") ?? hostNamed(alpha, "h2"));
    hostNamed(alpha, "h1").up = false;
    alpha.advance(10_000);
    alpha.check = () => {};
    alpha.ask({ kind: "host-fence", actor: ADMIN, host: "h1" });
    if (ready) alpha.advance(1_000);
    hostNamed(alpha, "h1").up = true;
    return alpha;
  }

  it("H3: kills nothing on hearsay: a second copy is left alone and shown as long as the new place is not confirmed", () => {
    const alpha = returned(false);
    const there = hostNamed(alpha, "h2");
    there.work.clear();
    there.up = false;
    alpha.effects.splice(0);
    alpha.advance(LONG_MS);
    const orders = alpha.effects.filter((effect) => effect.kind === "command" && effect.host === "h1");
    expect(orders).toEqual([]);
    expect(runningOn(alpha, alpha.vm("db").id)).toContain("h1");
    expect(alpha.core.views.host("h1", alpha.nowMs)).toBeDefined();
  });

  it("H5: is told to end the earlier attempt once the later one is confirmed to run elsewhere", () => {
    const alpha = returned(true);
    alpha.advance(LONG_MS);
    expect(runningOn(alpha, alpha.vm("db").id)).toEqual(["h2"]);
    expect(alpha.vm("db")).toMatchObject({ phase: "running", place: { host: "h2" }, attempt: 2 });
  });

  it("stays out of service until an admin takes it back", () => {
    const alpha = returned(true);
    alpha.advance(LONG_MS);
    expect(alpha.core.views.host("h1", alpha.nowMs)).toMatchObject({ condition: "fenced" });
    alpha.create({ name: "more", spec: { ...SPEC, vcpus: 8 } });
    alpha.advance(5_000);
    expect(alpha.vm("more").phase).toBe("queued");
    alpha.ask({ kind: "host-drain", actor: ADMIN, host: "h1", draining: false });
    alpha.advance(5_000);
    expect(alpha.vm("more")).toMatchObject({ phase: "running", place: { host: "h1" } });
  });
});
