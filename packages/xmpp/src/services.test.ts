import { seededRng, VirtualClock } from "@muster/base";
import { Element } from "ltx";
import { afterEach, describe, expect, it } from "vitest";
import { adHocDisco, serveAdHoc } from "./ad-hoc.ts";
import type { Bus, IncomingStanza, IqOutcome } from "./bus.ts";
import { serveChat } from "./chat.ts";
import { memoryNetwork } from "./memory-bus.ts";
import { serve } from "./services.ts";
import { type Word, Words } from "./words.ts";

const CLOUD = "cloud.alpha.test";
const COMMANDS = "http://jabber.org/protocol/commands";
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const WORDS: readonly Word[] = [
  {
    word: "hosts",
    title: "List the hosts",
    fields: [],
    permits: () => true,
    answer: () => ({
      kind: "done",
      note: "2 hosts.",
      table: {
        columns: [
          { name: "name", label: "Name" },
          { name: "state", label: "State" },
        ],
        rows: [
          ["h1", "accepting"],
          ["h2", "draining"],
        ],
      },
    }),
  },
  {
    word: "drain",
    title: "Take no more VMs on a host",
    fields: [
      { name: "host", label: "Host", required: true },
      { name: "how", label: "How", required: false, options: ["now", "later"] },
    ],
    permits: (by) => by === "admin@alpha.test",
    answer: ({ by, values }) => ({ kind: "done", note: `${by} drains ${values.host} ${values.how ?? "later"}.` }),
  },
  {
    word: "break",
    title: "Fail",
    fields: [],
    permits: (by) => by === "admin@alpha.test",
    answer: () => {
      throw new Error("password is hunter2");
    },
  },
];

const clock = new VirtualClock();
const network = memoryNetwork({ clock, rng: seededRng(3) });
const running: Bus[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((bus) => bus.stop()));
});

async function world(words: readonly Word[] = WORDS) {
  const faults: string[] = [];
  const cloud = network.component(CLOUD);
  const admin = network.client("Admin@alpha.test/desk");
  const guest = network.client("guest@alpha.test/desk");
  const options = { words: new Words(words, (where) => faults.push(where)), address: CLOUD, clock };
  serve(cloud, {
    disco: {
      identities: [{ category: "component", type: "generic", name: "Muster" }],
      features: ["urn:muster:burst:1"],
      parts: [adHocDisco(options)],
    },
    version: { name: "Muster", version: "0.1.0", os: "Linux" },
    ping: true,
  });
  serveAdHoc(cloud, options);
  serveChat(cloud, options);
  running.push(cloud, admin, guest);
  for (const bus of running) bus.start();
  clock.advance(1);
  return { cloud, admin, guest, faults };
}

async function ask(bus: Bus, payload: Element, type: "get" | "set" = "get", to = CLOUD): Promise<IqOutcome> {
  const asked = bus.request({ to, type, payload, timeoutMs: 1000 });
  for (let turn = 0; turn < 5; turn++) {
    await settle();
    clock.advance(1);
  }
  return asked;
}

async function payloadOf(outcome: Promise<IqOutcome>): Promise<Element> {
  const settled = await outcome;
  if (settled.kind !== "result" || settled.payload === undefined) throw new Error(`no result: ${settled.kind}`);
  return settled.payload;
}

async function conditionOf(outcome: Promise<IqOutcome>): Promise<string> {
  const settled = await outcome;
  return settled.kind === "error" ? settled.fault.condition : settled.kind;
}

describe("services", () => {
  it("answer disco#info with identity and the features of all that is served", async () => {
    const { guest } = await world();
    const info = await payloadOf(ask(guest, new Element("query", "http://jabber.org/protocol/disco#info")));
    expect(info.getChild("identity")?.attrs).toEqual({ category: "component", type: "generic", name: "Muster" });
    expect(info.getChildren("feature").map((feature) => feature.attrs.var)).toEqual([
      "http://jabber.org/protocol/commands",
      "http://jabber.org/protocol/disco#info",
      "http://jabber.org/protocol/disco#items",
      "jabber:iq:version",
      "jabber:x:data",
      "urn:muster:burst:1",
      "urn:xmpp:ping",
    ]);
  });

  it("answer version and ping, at addresses below the domain too", async () => {
    const { guest } = await world();
    const version = await payloadOf(ask(guest, new Element("query", "jabber:iq:version")));
    expect(["name", "version", "os"].map((name) => version.getChildText(name))).toEqual(["Muster", "0.1.0", "Linux"]);
    const ping = await ask(guest, new Element("ping", "urn:xmpp:ping"), "get", `vm-1@${CLOUD}`);
    expect(ping).toMatchObject({ kind: "result", from: `vm-1@${CLOUD}` });
  });

  it("answer item-not-found about nodes that are not there", async () => {
    const { guest } = await world();
    for (const query of ["info", "items"]) {
      const payload = new Element("query", { xmlns: `http://jabber.org/protocol/disco#${query}`, node: "nowhere" });
      expect(await conditionOf(ask(guest, payload))).toBe("item-not-found");
    }
  });
});

describe("ad-hoc commands", () => {
  const list = async (bus: Bus): Promise<string[]> => {
    const query = new Element("query", { xmlns: "http://jabber.org/protocol/disco#items", node: COMMANDS });
    const items = await payloadOf(ask(bus, query));
    return items.getChildren("item").map((item) => item.attrs.node ?? "");
  };
  const execute = (bus: Bus, attributes: Record<string, string>, ...children: Element[]): Promise<IqOutcome> => {
    const command = new Element("command", { xmlns: COMMANDS, ...attributes });
    command.append(...children);
    return ask(bus, command, "set");
  };
  const submission = (values: Readonly<Record<string, string>>): Element => {
    const form = new Element("x", { xmlns: "jabber:x:data", type: "submit" });
    for (const [name, value] of Object.entries(values)) form.c("field", { var: name }).c("value").t(value);
    return form;
  };

  it("are listed to each by what it may say", async () => {
    const { admin, guest } = await world();
    expect(await list(admin)).toEqual(["hosts", "drain", "break"]);
    expect(await list(guest)).toEqual(["hosts"]);
    const query = { xmlns: "http://jabber.org/protocol/disco#info", node: "drain" };
    expect((await payloadOf(ask(admin, new Element("query", query)))).getChild("identity")?.attrs.type).toBe(
      "command-node",
    );
    expect(await conditionOf(ask(guest, new Element("query", query)))).toBe("item-not-found");
  });

  it("without fields are done at once, with result form, note, actions and the session id that was given", async () => {
    const { guest } = await world();
    const done = await payloadOf(execute(guest, { node: "hosts", sessionid: "mine", action: "execute" }));
    expect(done.attrs).toMatchObject({ status: "completed", sessionid: "mine", node: "hosts" });
    expect(done.getChild("actions")?.getChild("complete")).toBeDefined();
    expect(done.getChildText("note")).toBe("2 hosts.");
    const form = done.getChild("x", "jabber:x:data");
    expect(form?.attrs.type).toBe("result");
    expect(form?.getChildren("item").map((item) => item.getChild("field")?.getChildText("value"))).toEqual([
      "h1",
      "h2",
    ]);
  });

  it("with fields answer a form, and are done by its submission in the same session", async () => {
    const { admin } = await world();
    const form = await payloadOf(execute(admin, { node: "drain" }));
    const { sessionid = "" } = form.attrs;
    expect(form.attrs.status).toBe("executing");
    expect(sessionid).toMatch(/^.{16,}$/);
    expect(form.getChild("actions")?.attrs.execute).toBe("complete");
    const fields = form.getChild("x", "jabber:x:data")?.getChildren("field") ?? [];
    expect(
      fields.map((field) => [field.attrs.var, field.attrs.type, field.getChild("required") !== undefined]),
    ).toEqual([
      ["host", "text-single", true],
      ["how", "list-single", false],
    ]);
    const values = submission({ host: " h1 ", how: "now" });
    const done = await payloadOf(execute(admin, { node: "drain", sessionid, action: "complete" }, values));
    expect(done.attrs).toMatchObject({ status: "completed", sessionid });
    expect(done.getChildText("note")).toBe("admin@alpha.test drains h1 now.");
    expect(done.getChild("x", "jabber:x:data")?.getChild("field")?.getChildText("value")).toBe(
      "admin@alpha.test drains h1 now.",
    );
  });

  it("refuse missing and wrong values by field name, and say nothing of what broke inside (S3)", async () => {
    const { admin, faults } = await world();
    const say = async (node: string, values: Readonly<Record<string, string>>): Promise<(string | undefined)[]> => {
      const done = await payloadOf(execute(admin, { node, action: "complete" }, submission(values)));
      return [done.getChild("note")?.attrs.type, done.getChildText("note") ?? undefined];
    };
    expect(await say("drain", { host: " " })).toEqual(["error", "drain needs host."]);
    expect(await say("drain", { host: "h1", how: "never" })).toEqual(["error", "how is one of now, later."]);
    expect(await say("drain", { host: "h".repeat(1001) })).toEqual(["error", "host is longer than 1000 characters."]);
    expect(await say("drain", { host: "h1", __proto__: "x", constructor: "y" })).toEqual([
      "info",
      "admin@alpha.test drains h1 later.",
    ]);
    expect(await say("break", {})).toEqual(["error", "break failed on our side; it is in the log."]);
    expect(faults).toEqual(["word break"]);
  });

  it("are forbidden to who may not say them, unknown where they do not exist, and can be cancelled", async () => {
    const { admin, guest } = await world();
    expect(await conditionOf(execute(guest, { node: "drain" }))).toBe("forbidden");
    expect(await conditionOf(execute(admin, { node: "nothing" }))).toBe("item-not-found");
    expect(await conditionOf(execute(admin, { node: "hosts", action: "explode" }))).toBe("bad-request");
    expect(await conditionOf(execute(admin, { node: "hosts", sessionid: "x".repeat(257) }))).toBe("bad-request");
    const elsewhere = new Element("command", { xmlns: COMMANDS, node: "hosts" });
    expect(await conditionOf(ask(admin, elsewhere, "set", `vm-1@${CLOUD}`))).toBe("item-not-found");
    const cancelled = await payloadOf(execute(admin, { node: "drain", sessionid: "s", action: "cancel" }));
    expect(cancelled.attrs).toMatchObject({ status: "canceled", sessionid: "s" });
  });
});

describe("chat", () => {
  const talk = async (bus: Bus, line: string, more: Readonly<Record<string, string>> = {}): Promise<string[]> => {
    const heard: IncomingStanza[] = [];
    const off = bus.onMessage((message) => heard.push(message));
    const message = new Element("message", { to: CLOUD, type: "chat", ...more });
    message.c("body").t(line);
    message.c("thread").t("t1");
    await bus.send(message);
    for (let turn = 0; turn < 5; turn++) {
      await settle();
      clock.advance(1);
    }
    off();
    for (const { from, stanza } of heard) expect([from, stanza.getChildText("thread")]).toEqual([CLOUD, "t1"]);
    return heard.map(({ stanza }) => stanza.getChildText("body") ?? "");
  };

  it("answers the same words with the same permission and the same checks", async () => {
    const { admin, guest } = await world();
    expect(await talk(admin, "drain h1 now")).toEqual(["admin@alpha.test drains h1 now."]);
    expect(await talk(admin, "  DRAIN   h1 ")).toEqual(["admin@alpha.test drains h1 later."]);
    expect(await talk(admin, "drain")).toEqual(["drain needs host."]);
    expect(await talk(guest, "hosts")).toEqual(["2 hosts.\nName: h1, State: accepting\nName: h2, State: draining"]);
    expect(await talk(guest, "drain h1")).toEqual(["You may not use drain."]);
    expect(await talk(admin, "dance")).toEqual([
      "There is no dance.\nhosts – List the hosts\ndrain <host> [how] – Take no more VMs on a host\nbreak – Fail",
    ]);
    expect(await talk(admin, "break")).toEqual(["break failed on our side; it is in the log."]);
    expect(await talk(admin, `drain ${"x".repeat(2000)}`)).toEqual(["A line may have 1000 characters."]);
  });

  it("does not answer errors, headlines, other addresses and empty lines", async () => {
    const { admin } = await world();
    for (const more of [{ type: "error" }, { type: "headline" }, { type: "groupchat" }, { to: `vm-1@${CLOUD}` }]) {
      expect(await talk(admin, "hosts", more)).toEqual([]);
    }
    expect(await talk(admin, "   ")).toEqual([]);
  });

  it("tells a stranger that it is one, once a minute", async () => {
    const { guest } = await world(WORDS.slice(1));
    const forbidden = ["You have no permission here. Ask the administrator of this site."];
    expect(await talk(guest, "hosts")).toEqual(forbidden);
    expect(await talk(guest, "drain h1")).toEqual([]);
    clock.advance(60_000);
    expect(await talk(guest, "help")).toEqual(forbidden);
  });
});

describe("Words", () => {
  it("has each word once, and only words that can be typed", () => {
    const [word] = WORDS;
    if (word === undefined) throw new Error("no word");
    expect(() => new Words([word, word], () => {})).toThrow(/twice/);
    expect(() => new Words([{ ...word, word: "two words" }], () => {})).toThrow(/no word/);
  });
});
