import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { systemClock, systemRng, VirtualClock } from "@muster/base";
import { Element } from "ltx";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Bus, BusStatus, IqOutcome } from "./bus.ts";
import { type XmppClientOptions, xmppClientBus } from "./client-bus.ts";
import { type XmppComponentOptions, xmppComponentBus } from "./component-bus.ts";
import { must, type RealSite, realSite, SECRET } from "./testing/real-site.ts";
import { TcpProxy } from "./testing/tcp-proxy.ts";
import { until } from "./testing/until.ts";

let site: RealSite;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  site = await realSite("alpha.test", "127.0.41.2", ["ann"]);
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.stop()));
});
afterAll(() => site.close());

const TIMES = { backoffBaseMs: 50 };

function client(options: Partial<XmppClientOptions> = {}): Bus {
  const bus = xmppClientBus({
    clock: systemClock,
    rng: systemRng,
    times: TIMES,
    service: `xmpps://${site.service.host}:${site.service.port}`,
    domain: site.domain,
    username: "ann",
    password: SECRET,
    resource: "desk",
    caPem: site.caPem,
    ...options,
  });
  running.push(bus);
  return bus;
}

function component(options: Partial<XmppComponentOptions> = {}): Bus {
  const { host, port } = site.component;
  const common = { clock: systemClock, rng: systemRng, times: TIMES };
  const bus = xmppComponentBus({ ...common, host, port, domain: site.cloud, secret: SECRET, ...options });
  running.push(bus);
  return bus;
}

async function wireTo(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
  const wire = await TcpProxy.to(target);
  running.push({ stop: () => wire.close() });
  return wire;
}

function statusesOf(bus: Bus): BusStatus[] {
  const seen: BusStatus[] = [];
  bus.onStatus((status) => seen.push(status));
  return seen;
}

async function online(...buses: Bus[]): Promise<void> {
  for (const bus of buses) bus.start();
  await until("online", () => buses.every((bus) => bus.status.kind === "online"));
}

function ping(bus: Bus): Promise<IqOutcome> {
  const payload = new Element("ping", "urn:xmpp:ping");
  return bus.request({ to: site.domain, type: "get", payload, timeoutMs: 5000 });
}

describe("stream management", () => {
  it("counts a resumption as online, time after time, and loses and repeats nothing in between", async () => {
    const wire = await wireTo(site.service);
    const ann = client({ service: `xmpps://${wire.host}:${wire.port}` });
    const cloud = component();
    const [atAnn, atCloud]: [string[], string[]] = [[], []];
    ann.onMessage(({ id }) => atAnn.push(id));
    cloud.onMessage(({ id }) => atCloud.push(id));
    const seen = statusesOf(ann);
    await online(ann, cloud);
    // The session can be resumed once the server said so, which is before it answers this.
    await ping(ann);
    const resumptions = (): number => seen.filter((status) => status.kind === "online" && status.resumed).length;
    for (let round = 0; round < 5; round++) {
      const both = [
        ann.send(new Element("message", { to: site.cloud, id: `up ${round}` })),
        cloud.send(new Element("message", { to: "ann@alpha.test/desk", id: `before ${round}` })),
      ];
      wire.cut();
      // While the client is away its server keeps the session, and what comes for it.
      await until("offline", () => ann.status.kind !== "online");
      both.push(cloud.send(new Element("message", { to: "ann@alpha.test/desk", id: `while ${round}` })));
      expect((await Promise.all(both)).map(({ kind }) => kind)).toEqual(["sent", "sent", "sent"]);
      await until("resumed", () => resumptions() === round + 1);
    }
    const rounds = [0, 1, 2, 3, 4];
    await until("all messages", () => atAnn.length >= 10 && atCloud.length >= 5);
    expect(atAnn).toEqual(rounds.flatMap((round) => [`before ${round}`, `while ${round}`]));
    expect(atCloud).toEqual(rounds.map((round) => `up ${round}`));
    expect(seen.filter(({ kind }) => kind === "online")).toHaveLength(6);
  });

  it("goes on with a new session when the server has forgotten the old one", async () => {
    const wire = await wireTo(site.service);
    const bus = client({ service: `xmpps://${wire.host}:${wire.port}`, username: "eve", password: SECRET });
    must(await site.server.ensureAccount({ name: "eve", password: SECRET }));
    await online(bus);
    const seen = statusesOf(bus);
    await site.server.stop();
    await until("offline", () => bus.status.kind !== "online");
    must(await site.server.start());
    await until("online again", () => bus.status.kind === "online");
    expect(seen.at(-1)).toMatchObject({ kind: "online", resumed: false });
    expect(await ping(bus)).toMatchObject({ kind: "result", from: site.domain });
  });
});

describe("what the server refuses", () => {
  it("is told as refused: a wrong password, a wrong secret, an unknown component", async () => {
    const buses = {
      password: client({ password: "wrong" }),
      secret: component({ secret: "wrong" }),
      domain: component({ domain: "nobody.alpha.test" }),
    };
    for (const bus of Object.values(buses)) bus.start();
    await until("all refused", () => Object.values(buses).every((bus) => bus.status.kind === "refused"));
    expect(Object.values(buses).map(({ status }) => status)).toEqual([
      expect.objectContaining({ reason: "not-authorized" }),
      expect.objectContaining({ reason: "not-authorized" }),
      expect.objectContaining({ reason: "host-unknown" }),
    ]);
    // S3: the reason is shown to people and logs.
    expect(JSON.stringify(Object.values(buses).map(({ status }) => status))).not.toContain("wrong");
  });

  it("a second link to a component takes the address, and the first steps down instead of fighting for it", async () => {
    const clock = new VirtualClock();
    const [first, second] = [component({ clock }), component()];
    await online(first);
    const seen = statusesOf(second);
    await online(second);
    await until("the first refused", () => first.status.kind === "refused");
    expect(first.status).toMatchObject({ reason: "conflict" });
    clock.advance(3_600_000);
    expect([clock.nextDueMs(), first.status.kind]).toEqual([undefined, "refused"]);
    expect(seen.map(({ kind }) => kind)).toEqual(["connecting", "online"]);
  });

  it("a login that fails early does not end the process", async () => {
    const program = fileURLToPath(new URL("./testing/failing-logins.ts", import.meta.url));
    const { host, port } = site.service;
    const child = spawn(process.execPath, ["--conditions=muster-source", program, `xmpps://${host}:${port}`], {
      env: { ...process.env, CA_PEM: site.caPem },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += String(chunk);
    });
    child.stderr.on("data", (chunk) => {
      output += String(chunk);
    });
    const code = await new Promise((resolve) => child.once("close", resolve));
    expect([code, output.trim()]).toEqual([0, "12 refused"]);
  });
});

describe("enrolment", () => {
  it("registers the account with a token before the first login, and does not mind the token afterwards", async () => {
    const { token } = must(await site.server.enrolmentToken("h1", 60));
    const enrolled = { username: "h1", password: "chosen by the host", enrolToken: token };
    const bus = client(enrolled);
    await online(bus);
    expect(bus.status).toMatchObject({ address: "h1@alpha.test/desk" });
    await bus.stop();
    await online(client(enrolled));
    await running[1]?.stop();
    await online(client({ username: "h1", password: "chosen by the host" }));
  });

  it("is refused with a token that is wrong, used, or made for another host", async () => {
    const { token } = must(await site.server.enrolmentToken("h2", 60));
    await online(client({ username: "h2", password: SECRET, enrolToken: token }));
    const other = must(await site.server.enrolmentToken("h3", 60));
    const refused = [
      client({ username: "h4", password: SECRET, enrolToken: "nonsense" }),
      client({ username: "h4", password: SECRET, enrolToken: token }),
      client({ username: "h4", password: SECRET, enrolToken: other.token }),
    ];
    for (const bus of refused) bus.start();
    await until("all refused", () => refused.every((bus) => bus.status.kind === "refused"));
    for (const { status } of refused) {
      expect(status).toMatchObject({
        reason: "not-authorized",
        text: expect.stringMatching(/refused to enrol h4: .*new token/),
      });
    }
    expect(JSON.stringify(refused.map(({ status }) => status))).not.toContain(token);
  });
});
