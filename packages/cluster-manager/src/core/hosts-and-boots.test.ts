/** Who speaks for a host: its starts, one after the other, and hosts that come, never come, or are removed. */
import { describe, expect, it } from "vitest";
import { ScriptedHost } from "./scripted-host.fixture.ts";
import { ADMIN, ScriptedSite } from "./scripted-site.fixture.ts";

function running(): { alpha: ScriptedSite; host: ScriptedHost; firstBoot: string } {
  const host = new ScriptedHost("h1");
  const alpha = new ScriptedSite({ hosts: [host] });
  alpha.create({ name: "web" });
  alpha.flow();
  expect(alpha.vm("web").phase).toBe("running");
  return { alpha, host, firstBoot: host.bootId };
}

/** Its host manager starts anew, and is heard. */
function reboot(alpha: ScriptedSite, host: ScriptedHost): void {
  host.boot(alpha.newId());
  alpha.step({ kind: "host-capacity", host: host.name, capacity: host.capacity() });
  alpha.flow();
}

describe("the starts of a host manager", () => {
  it("L3: a notice of an earlier start that comes late moves nothing, and not how far the new one's were taken", () => {
    const { alpha, host, firstBoot } = running();
    const late = { vm: alpha.vm("web").id, attempt: 1, state: "stopped", sequence: 9 } as const;
    reboot(alpha, host);
    host.fail(late.vm, "stopped");
    alpha.flow();
    alpha.advance(2_000);
    const before = alpha.store.get("host/h1");
    expect(before).toMatchObject({ notices: { bootId: host.bootId } });
    const phase = alpha.vm("web").phase;
    const answer = alpha.ask({ kind: "host-notices", host: "h1", bootId: firstBoot, notices: [late] });
    expect(answer).toEqual({ kind: "notices-taken", sequence: 0 });
    expect(alpha.store.get("host/h1")).toEqual(before);
    expect(alpha.vm("web").phase).toBe(phase);
  });

  it("H1: a report of an earlier start that comes late does not count for the host's", () => {
    const { alpha, host } = running();
    const late = host.capacity({ labels: { zone: "old" } });
    reboot(alpha, host);
    const hellos = () => alpha.effects.filter(({ kind }) => kind === "hello").length;
    const before = hellos();
    alpha.step({ kind: "host-capacity", host: "h1", capacity: late });
    expect(alpha.core.views.host("h1", alpha.nowMs)?.labels).toEqual({});
    alpha.step({ kind: "tick" });
    expect(hellos()).toBe(before);
  });

  it("takes whoever answers its hello for the host, also an earlier start that is the only one left", () => {
    const { alpha, host, firstBoot } = running();
    reboot(alpha, host);
    const other = host.bootId;
    host.boot(firstBoot);
    alpha.step({ kind: "host-welcome", host: "h1", welcome: { term: 1, bootId: firstBoot } });
    alpha.step({ kind: "host-capacity", host: "h1", capacity: host.capacity({ labels: { zone: "here" } }) });
    expect(alpha.core.views.host("h1", alpha.nowMs)?.labels).toEqual({ zone: "here" });
    expect(other).not.toBe(firstBoot);
  });

  it("asks again who the host is when the one that it takes for an earlier start goes on speaking", () => {
    const { alpha, host, firstBoot } = running();
    reboot(alpha, host);
    // An answer to hello that was on its way for long: it speaks of the start before.
    alpha.step({ kind: "host-welcome", host: "h1", welcome: { term: 1, bootId: firstBoot } });
    host.fail(alpha.vm("web").id, "stopped");
    alpha.advance(3_000);
    expect(alpha.store.get("host/h1")).toMatchObject({ notices: { bootId: host.bootId } });
    expect(host.notices()).toEqual([]);
  });

  it("hears an earlier start again once the one that took its place is lost", () => {
    const { alpha, host, firstBoot } = running();
    reboot(alpha, host);
    host.up = false;
    alpha.advance(20_000);
    expect(alpha.core.views.host("h1", alpha.nowMs)?.liveness).toBe("lost");
    host.boot(firstBoot);
    alpha.advance(3_000);
    expect(alpha.core.views.host("h1", alpha.nowMs)?.liveness).toBe("alive");
  });
});

describe("hosts that come and go", () => {
  it("P4: tells a host that was enrolled and never seen from one that is silent", () => {
    const alpha = new ScriptedSite({ hosts: [new ScriptedHost("h1")] });
    alpha.ask({ kind: "host-add", actor: ADMIN, host: "h2" });
    const condition = (name: string) => alpha.core.views.host(name, alpha.nowMs)?.condition;
    expect([condition("h1"), condition("h2")]).toEqual(["accepting", "enrolled, never seen"]);
    alpha.restart();
    expect([condition("h1"), condition("h2")]).toEqual(["unknown", "enrolled, never seen"]);
    alpha.add(new ScriptedHost("h2"));
    alpha.restart();
    expect(condition("h2")).toBe("unknown");
  });

  it("a configuration that still names a removed host does not bring it back; an admin does", () => {
    const alpha = new ScriptedSite();
    const add = (configured: boolean) =>
      alpha.ask({ kind: "host-add", actor: ADMIN, host: "h1", ...(configured ? { configured } : {}) });
    expect(add(true)).toEqual({ kind: "host", host: "h1" });
    alpha.ask({ kind: "host-remove", actor: ADMIN, host: "h1" });
    alpha.restart();
    expect(add(true)).toMatchObject({ kind: "refused", refusal: { reason: "removed" } });
    expect(alpha.core.views.hosts(alpha.nowMs)).toEqual([]);
    expect(add(false)).toEqual({ kind: "host", host: "h1" });
    alpha.restart();
    expect(add(true)).toEqual({ kind: "host", host: "h1" });
    expect([...alpha.store.keys()]).toEqual(["host/h1"]);
  });
});
