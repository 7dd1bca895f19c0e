import { connect } from "node:tls";
import type { VmView } from "@muster/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FederationRun, newStateFolder } from "../system/federation-run.ts";
import { processOf, tracesOf } from "../system/traces.ts";
import { logInAt, makeAccount } from "./site-login.ts";
import { attribute } from "./stanza-text.ts";
import type { XmppClient } from "./xmpp-client.ts";

const CLOUD = "cloud.alpha.test";
const HOST = `host-host1@${CLOUD}`;
const HOST_MANAGER = /host-manager\/src\/main\.ts --config \S+\/alpha\/host1\//;
const SPEC = { image: "debian-12", vcpus: 4, memoryMiB: 1_024, diskGiB: 10 };
const NS_COMMANDS = "http://jabber.org/protocol/commands";

let run: FederationRun;
let admin: XmppClient;

async function create(name: string, count = 1): Promise<readonly VmView[]> {
  const created = await run.client().createVms({ name, count, spec: SPEC }, `watch-${name}`);
  if (!created.ok) throw new Error(created.error.message);
  return created.value.vms;
}

function contactOf({ id }: VmView): string {
  return `vm-${id}@${CLOUD}`;
}

/** Number of the next stanza: what is waited for from here on is news. */
function now(): number {
  return admin.stanzas.length;
}

beforeAll(async () => {
  run = await FederationRun.up(newStateFolder(), ["--sites", "1", "--hosts", "2", "--loopback", "77"]);
  admin = await logInAt(run, "alpha", "admin");
  admin.send("<presence/>");
});

afterAll(async () => {
  admin?.close();
  await run.clear();
  expect(tracesOf(run.state, [77])).toEqual([]);
});

describe("an ordinary XMPP account that may watch", () => {
  it("logs in with the certificate verified, and would not without the site's own authority", async () => {
    const { xmppAddress, domain } = run.site("alpha");
    const refused = await new Promise<string>((resolve) => {
      const socket = connect({ host: xmppAddress, port: 5223, servername: domain });
      socket.once("error", (error) => resolve(error.message));
      socket.once("secureConnect", () => resolve("accepted"));
    });
    expect(refused).toMatch(/certificate/);
  });

  it("sees the site and its hosts available, with what they have free", async () => {
    for (const contact of [CLOUD, HOST]) {
      await admin.subscribe(contact);
      const isYes = (text: string): boolean =>
        attribute(text, "type") === "subscribed" && attribute(text, "from") === contact;
      await admin.stanza(`${contact} lets us in`, isYes);
    }
    await admin.untilShown(CLOUD, "available", /12\/12 vCPU free, 0 VMs, 0 queued/);
    await admin.untilShown(HOST, "available", /6\/6 vCPU free, 0 VMs/);
    const shown = admin.stanzas.find((text) => text.startsWith("<presence") && text.includes(`from='${HOST}'`));
    expect(
      admin.stanzas.some((text) => text.includes("urn:muster:capacity:1")),
      shown,
    ).toBe(true);
  });

  it("sees a VM from waiting through running, paused, stopped and started again to its end", async () => {
    const [first, second] = await create("full", 2);
    if (first === undefined || second === undefined) throw new Error("no VMs");
    const [waits] = await create("waits");
    if (waits === undefined) throw new Error("no VM");
    const contact = contactOf(waits);
    await admin.subscribe(contact);
    await admin.untilShown(contact, "dnd", /queued/);
    await admin.untilShown(CLOUD, "dnd", /1 queued/);
    const api = run.client();
    let from = now();
    await api.deleteVm(first.id);
    await admin.untilShown(contact, "available", /running on host/, from);
    from = now();
    await api.actOnVm(waits.id, "suspend");
    await admin.untilShown(contact, "away", /paused/, from);
    from = now();
    await api.actOnVm(waits.id, "resume");
    await admin.untilShown(contact, "available", /running/, from);
    from = now();
    await api.actOnVm(waits.id, "stop");
    await admin.untilShown(contact, "unavailable", /stopped/, from);
    from = now();
    await api.actOnVm(waits.id, "start");
    await admin.untilShown(contact, "available", /running/, from);
    from = now();
    await api.deleteVm(waits.id);
    await admin.untilShown(contact, "unavailable", /deleted|gone/, from);
    from = now();
    await api.deleteVm(second.id);
    await admin.untilShown(CLOUD, "available", /12\/12 vCPU free/, from);
  });

  it("sees a host drained and taken back", async () => {
    let from = now();
    await run.client().drainHost("host1", true);
    await admin.untilShown(HOST, "xa", /draining/, from);
    from = now();
    await run.client().drainHost("host1", false);
    await admin.untilShown(HOST, "available", /6\/6 vCPU free/, from);
  });

  it("sees the death of a host, its VM in doubt, and the return of both", async () => {
    const vms = await create("doubt", 2);
    for (const vm of vms) {
      await admin.subscribe(contactOf(vm));
      await admin.untilShown(contactOf(vm), "available", /running on host/);
    }
    let from = now();
    // While the supervisor is stopped nobody starts the host manager again.
    run.signal("SIGSTOP");
    process.kill(processOf(run.state, HOST_MANAGER).pid, "SIGKILL");
    await admin.untilShown(HOST, "unavailable", /not heard any more/, from);
    await admin.untilShown(CLOUD, "away", /1 hosts not heard/, from);
    const inDoubt = (): boolean =>
      vms.some((vm) => admin.shownBy(contactOf(vm), from).some(({ status }) => /in doubt on host1/.test(status)));
    await admin.until(() => "a VM in doubt", inDoubt);
    from = now();
    run.signal("SIGCONT");
    await admin.untilShown(HOST, "available", /2\/6 vCPU free, 1 VM/, from);
    const back = (): boolean =>
      vms.some((vm) => admin.shownBy(contactOf(vm), from).some(({ status }) => /running on host1/.test(status)));
    await admin.until(() => "the VM running", back);
    for (const vm of vms) await run.client().deleteVm(vm.id);
  });

  it("sees a hung host as away before it is lost", async () => {
    const from = now();
    const { pid } = processOf(run.state, HOST_MANAGER);
    process.kill(pid, "SIGSTOP");
    try {
      await admin.untilShown(HOST, "away", /heartbeats missed/, from);
      await admin.untilShown(HOST, "unavailable", /not heard any more/, from);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await admin.untilShown(HOST, "available", /vCPU free/, now());
  });

  it("is answered in chat", async () => {
    expect(await admin.say(CLOUD, "help")).toMatch(/status .*why/su);
    expect(await admin.say(CLOUD, "status")).toMatch(/alpha\.test: \d+ of 12 vCPU free; hosts: 2 alive/);
    const [vm] = await create("asked");
    expect(await admin.say(CLOUD, "vms")).toMatch(/asked/);
    expect(await admin.say(CLOUD, `why ${vm?.name}`)).toMatch(/host[12]/);
    expect(await admin.say(CLOUD, "why nobody")).toMatch(/nobody/);
    expect(await admin.say(CLOUD, "dance")).toMatch(/There is no dance/);
    const asked = await admin.say(CLOUD, "delete asked");
    const code = /delete asked (\d{4})/.exec(asked)?.[1];
    expect(code, asked).toBeDefined();
    expect(await admin.say(CLOUD, `delete asked ${code}`)).toMatch(/delete of asked is stored/);
  });

  it("runs ad-hoc commands (XEP-0050)", async () => {
    const list = await admin.iq(
      "get",
      CLOUD,
      `<query xmlns='http://jabber.org/protocol/disco#items' node='${NS_COMMANDS}'/>`,
    );
    expect(list).toMatch(/node=['"]status['"]/);
    const status = await admin.iq("set", CLOUD, `<command xmlns='${NS_COMMANDS}' node='status' action='execute'/>`);
    expect(status).toMatch(/status=['"]completed['"]/);
    expect(status).toMatch(/alpha\.test: \d+ of 12 vCPU free/);
    const form = await admin.iq("set", CLOUD, `<command xmlns='${NS_COMMANDS}' node='drain' action='execute'/>`);
    expect(form).toMatch(/status=['"]executing['"].*var=['"]host['"]/s);
    const session = /sessionid=['"]([^'"]+)['"]/.exec(form)?.[1];
    const from = now();
    const submitted = await admin.iq(
      "set",
      CLOUD,
      `<command xmlns='${NS_COMMANDS}' node='drain' action='complete' sessionid='${session}'><x xmlns='jabber:x:data' type='submit'><field var='host'><value>host1</value></field></x></command>`,
    );
    expect(submitted).toMatch(/status=['"]completed['"]/);
    await admin.untilShown(HOST, "xa", /draining/, from);
    await run.client().drainHost("host1", false);
    await admin.untilShown(HOST, "available", /vCPU free/, from);
  });

  it("finds features, version and ping", async () => {
    const info = await admin.iq("get", CLOUD, "<query xmlns='http://jabber.org/protocol/disco#info'/>");
    for (const feature of ["urn:xmpp:ping", "jabber:iq:version", NS_COMMANDS, "urn:muster:burst:1"])
      expect(info).toContain(feature);
    const items = await admin.iq("get", CLOUD, "<query xmlns='http://jabber.org/protocol/disco#items'/>");
    expect(items).toContain(HOST);
    expect(await admin.iq("get", CLOUD, "<query xmlns='jabber:iq:version'/>")).toMatch(/<name>Muster<\/name>/);
    expect(await admin.iq("get", CLOUD, "<ping xmlns='urn:xmpp:ping'/>")).toMatch(/type=['"]result['"]/);
    expect(await admin.iq("get", HOST, "<vCard xmlns='vcard-temp'/>")).toMatch(/Host host1/);
  });
});

describe("an account without permission", () => {
  it("is refused once, then met with silence; it sees and changes nothing", async () => {
    await makeAccount(run, "alpha", "mallory", "sesame");
    const mallory = await logInAt(run, "alpha", "mallory", "sesame");
    try {
      mallory.send("<presence/>");
      await mallory.subscribe(HOST);
      const isNo = (text: string): boolean => /^<presence [^>]*type=['"]unsubscribed['"]/.test(text);
      await mallory.stanza("a refusal", isNo);
      expect(await mallory.say(CLOUD, "status")).toMatch(/no permission/);
      const from = mallory.stanzas.length;
      for (let again = 0; again < 5; again += 1) {
        mallory.send(`<presence type='subscribe' to='${HOST}'/>`);
        mallory.send(`<message type='chat' to='${CLOUD}'><body>status</body></message>`);
      }
      const drain = await mallory.iq("set", CLOUD, `<command xmlns='${NS_COMMANDS}' node='drain' action='execute'/>`);
      expect(drain).toMatch(/<forbidden|<item-not-found/);
      // The answer to the last stanza came: what went before it got none.
      const later = mallory.stanzas.slice(from).filter((text) => !text.startsWith("<iq"));
      expect(later).toEqual([]);
      expect(await mallory.iq("get", HOST, "<vCard xmlns='vcard-temp'/>")).toMatch(/<forbidden/);
      const items = await mallory.iq("get", CLOUD, "<query xmlns='http://jabber.org/protocol/disco#items'/>");
      expect(items).not.toContain("host-");
      expect(mallory.shownBy(HOST)).toEqual([]);
      expect(mallory.shownBy(CLOUD)).toEqual([]);
    } finally {
      mallory.close();
    }
  });
});
