import { NS_BURST } from "@muster/protocol";
import { Element } from "ltx";
import { afterEach, describe, expect, it } from "vitest";
import { start, stopAll, WATCHERS } from "./face-site.fixture.ts";
import { CLOUD, Person } from "./person.fixture.ts";

afterEach(stopAll);

describe("words", () => {
  it("answers in chat and by ad-hoc command alike", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    expect(await ann.say("help")).toContain("drain <host>");
    expect(await ann.say("status")).toContain("64 of 64 vCPU free; hosts: 1 alive");
    expect(await ann.say("hosts")).toContain("h1");
    expect(await ann.say("queue")).toBe("none");
    expect(await ann.say("peers")).toBe("none");
    expect(await ann.say("create chatty debian-12 2 1024 10")).toBe("chatty is accepted");
    await bed.untilPhase("chatty", "running");
    expect(await ann.say("vms")).toContain("chatty");
    expect(await ann.say("why chatty")).toContain("h1");
    expect(await ann.say("create broken debian-12 0 1024 10")).toContain("spec.vcpus");
    const command = new Element("command", {
      xmlns: "http://jabber.org/protocol/commands",
      node: "status",
      action: "execute",
    });
    const answer = await ann.ask(command, "set");
    expect(answer.kind === "result" && answer.payload?.getChildText("note")).toContain("62 of 64 vCPU free");
  });

  it("asks for a code before it destroys, and takes no code of another act or person", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    for (const name of ["one", "two"]) await bed.create({ name }, { key: name });
    await bed.untilPhase("one", "running");
    await bed.untilPhase("two", "running");
    const code = async (word: string): Promise<string> => /(\d{4})$/.exec(await ann.say(word))?.[1] ?? "none";
    const ofTwo = await code("delete two");
    const ofOne = await code("delete one");
    if (ofTwo !== ofOne) expect(await ann.say(`delete one ${ofTwo}`)).toContain("That code does not fit");
    expect((await bed.get("/v1/vms/one")).body).toMatchObject({ wanted: "running" });
    expect(await ann.say(`delete one ${ofOne}`)).toBe("delete of one is stored");
    await bed.untilPhase(String((await bed.get("/v1/vms?name=one")).body.items?.[0]?.id), "deleted");
    const vic = await Person.online(bed.network, "vic@alpha.test/x");
    expect(await vic.say(`delete two ${ofTwo}`)).toContain("may not use delete");
    expect((await bed.get("/v1/vms/two")).body).toMatchObject({ phase: "running" });
  });

  it("lets admins, and only them, approve and deny what waits for it", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    expect(await ann.say("help")).toContain("approve <lease> [reason]");
    for (const word of ["approve", "deny"])
      expect(await ann.say(`${word} e001`)).toBe("nothing is lent here under e001");
    const vic = await Person.online(bed.network, "vic@alpha.test/x");
    expect(await vic.say("approve e001")).toContain("may not use approve");
  });

  it("says features, version and, to watchers only, contacts", async () => {
    const bed = await start({ hosts: ["h1"], config: WATCHERS });
    const ann = await Person.online(bed.network, "ann@alpha.test/gajim");
    const mallory = await Person.online(bed.network, "mallory@alpha.test/x");
    const info = await ann.ask(new Element("query", { xmlns: "http://jabber.org/protocol/disco#info" }));
    expect(info.kind === "result" && info.payload?.toString()).toContain(`var="${NS_BURST}"`);
    const version = await ann.ask(new Element("query", { xmlns: "jabber:iq:version" }));
    expect(version.kind === "result" && version.payload?.getChildText("version")).toBe("0.0.0-test");
    const items = () => new Element("query", { xmlns: "http://jabber.org/protocol/disco#items" });
    const seen = await ann.ask(items());
    expect(seen.kind === "result" && seen.payload?.toString()).toContain(`host-h1@${CLOUD}`);
    const hidden = await mallory.ask(items());
    expect(hidden.kind === "result" && hidden.payload?.getChildElements()).toEqual([]);
  });
});
