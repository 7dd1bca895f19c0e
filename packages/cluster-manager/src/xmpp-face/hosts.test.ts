import { type HostVm, noticesMessage, noticesTakenMessage, refusal } from "@muster/protocol";
import { Element } from "ltx";
import { afterEach, describe, expect, it } from "vitest";
import { until } from "../leadership/test-bed.fixture.ts";
import { start, stopAll } from "./face-site.fixture.ts";
import { CLOUD, Person, refusalOf } from "./person.fixture.ts";

afterEach(stopAll);

describe("hosts", () => {
  it("S1: capacity counts only from accounts of hosts that are let in", async () => {
    const bed = await start({ hosts: ["h1"] });
    const stranger = await Person.online(bed.network, "host-h9@alpha.test/muster");
    await stranger.bus.send(bed.host("h1").presence({ ...bed.host("h1").capacity(), vms: 99 }));
    const user = await Person.online(bed.network, "mallory@alpha.test/muster");
    await user.bus.send(bed.host("h1").presence({ ...bed.host("h1").capacity(), vms: 98 }));
    const foreign = await Person.online(bed.network, "host-h1@evil.test/muster");
    await foreign.bus.send(bed.host("h1").presence({ ...bed.host("h1").capacity(), vms: 97 }));
    await until("it is logged", () =>
      bed.log.some((line) => line.includes("host-h9@alpha.test") && line.includes("not let in")),
    );
    expect((await bed.get("/v1/hosts")).body.items).toMatchObject([{ name: "h1", vms: 0 }]);
    expect(bed.log.filter((line) => line.includes("host-h9@alpha.test"))).toHaveLength(1);
  });

  it("S1: capacity that cannot be read changes nothing", async () => {
    const bed = await start({ hosts: ["h1"] });
    const presence = bed.host("h1").presence(bed.host("h1").capacity());
    presence.getChild("capacity")?.getChild("total")?.remove("x");
    const total = presence.getChild("capacity")?.getChild("total");
    if (total !== undefined) total.attrs.vcpus = "-5";
    await bed.host("h1").bus.send(presence);
    await until("it is logged", () => bed.log.some((line) => line.includes("total.vcpus")));
    expect((await bed.get("/v1/hosts/h1")).body).toMatchObject({ total: { vcpus: 64 } });
  });

  it("forbids notices of who is no host, names the field of bad ones, and takes good ones", async () => {
    const bed = await start({ hosts: ["h1"] });
    const state: HostVm = { vm: "01890000-0000-7000-8000-000000000000", attempt: 1, state: "running" };
    const notices = () =>
      noticesMessage.encode({ bootId: bed.host("h1").bootId, notices: [{ ...state, sequence: 7 }] });
    const mallory = await Person.online(bed.network, "mallory@alpha.test/x");
    expect(refusalOf(await mallory.ask(notices(), "set"))).toMatchObject({
      condition: "forbidden",
      reason: "not-a-host",
    });
    const { bus } = bed.host("h1");
    const bad = notices();
    const [notice] = bad.getChildElements();
    if (notice !== undefined) notice.attrs.sequence = "soon";
    const refused = await bus.request({ to: CLOUD, type: "set", payload: bad, timeoutMs: 3_000 });
    expect(refusalOf(refused)).toMatchObject({ condition: "bad-request", field: "notices[0].sequence" });
    const taken = await bus.request({ to: CLOUD, type: "set", payload: notices(), timeoutMs: 3_000 });
    expect(
      taken.kind === "result" && taken.payload !== undefined && noticesTakenMessage.decode(taken.payload),
    ).toMatchObject({
      ok: true,
      value: { sequence: 7 },
    });
  });

  it("another host's word about this host's VM changes nothing", async () => {
    const bed = await start({ hosts: ["h1", "h2"] });
    await bed.create({ name: "mine" }, { key: "mine" });
    const vm = await bed.untilPhase("mine", "running");
    const here = String(vm.place?.host);
    const other = here === "h1" ? "h2" : "h1";
    const gone: HostVm = { vm: String(vm.id), attempt: 1, state: "gone" };
    const payload = noticesMessage.encode({ bootId: bed.host(other).bootId, notices: [{ ...gone, sequence: 1 }] });
    await bed.host(other).bus.request({ to: CLOUD, type: "set", payload, timeoutMs: 3_000 });
    expect((await bed.get("/v1/vms/mine")).body).toMatchObject({ phase: "running", place: { host: here } });
  });

  it("H1: lives with a host that refuses its term: the VM does not run there", async () => {
    const bed = await start({ hosts: ["h1"] });
    bed.host("h1").refusal = refusal("stale-term", "stale-term", "this host obeys term 99");
    await bed.create({ name: "late" }, { key: "late" });
    await until("the host was asked", () => bed.host("h1").commands.length > 0);
    expect(String((await bed.get("/v1/vms/late")).body.phase)).not.toBe("running");
    expect(bed.ends).toEqual([]);
    bed.host("h1").refusal = undefined;
    await bed.untilPhase("late", "running");
  });

  it("takes no word of another session of a host for the host's own end", async () => {
    const bed = await start({ hosts: ["h1"] });
    const twin = await Person.online(bed.network, "host-h1@alpha.test/twin");
    await twin.presence(CLOUD, "unavailable");
    expect((await twin.ask(new Element("ping", { xmlns: "urn:xmpp:ping" }))).kind).toBe("result");
    expect((await bed.get("/v1/hosts/h1")).body).toMatchObject({ liveness: "alive" });
    await bed.host("h1").stop();
    await until("h1 is not alive", async () => String((await bed.get("/v1/hosts/h1")).body.liveness) !== "alive");
  });

  it("gives orders to the session that reports, whatever another one of the account says meanwhile", async () => {
    const bed = await start({ hosts: ["h1"] });
    const twin = await Person.online(bed.network, "host-h1@alpha.test/twin");
    const notices = noticesMessage.encode({
      bootId: "01900000-0000-7000-8000-0000000000ff",
      notices: [{ vm: "01900000-0000-7000-8000-0000000000fe", attempt: 1, state: "void", sequence: 1 }],
    });
    const answer = await twin.ask(notices, "set");
    expect(answer.kind).toBe("result");
    await bed.create({ name: "web" }, { key: "web" });
    await bed.untilPhase("web", "running");
    expect(bed.host("h1").commands.length).toBeGreaterThan(0);
  });

  it("shows a host that fell silent as suspect, then lost", async () => {
    const bed = await start({ hosts: ["h1", "h2"] });
    bed.host("h2").hush();
    await until("h2 is lost", async () => String((await bed.get("/v1/hosts/h2")).body.liveness) === "lost");
    expect((await bed.get("/v1/hosts/h1")).body).toMatchObject({ liveness: "alive" });
  });
});
