import { Element } from "ltx";
import { describe, expect, it } from "vitest";
import {
  CLOUD,
  LINKS,
  lastPeer,
  messagesOf,
  online,
  STREAM_ERRORS,
  setUpServers,
  statusesOf,
} from "./link-faults.fixture.ts";
import { until } from "./testing/until.ts";

setUpServers();

describe.each(LINKS)("$kind link: what arrives", ({ make, server, accept }) => {
  it("is whole wherever a packet ends, within a character too", async () => {
    server().onPeer((peer) => accept(peer));
    const bus = make();
    const heard = messagesOf(bus);
    await online(bus);
    const peer = lastPeer(server());
    const text = "Zürich 雪 𝄞";
    const bytes = Buffer.from(`<message from='x@${CLOUD}' to='ann@alpha.test/desk'><body>${text}</body></message>`);
    const [start, end] = [bytes.indexOf("Z"), bytes.indexOf("</body>")];
    for (let cut = start; cut <= end; cut++) {
      const count = heard.length;
      // Once the first is heard, the packet that holds it and the first part of the second was read.
      peer.send(Buffer.concat([Buffer.from(`<message from='x@${CLOUD}'/>`), bytes.subarray(0, cut)]));
      await until("the first", () => heard.length === count + 1);
      peer.send(bytes.subarray(cut));
      await until("the second", () => heard.length === count + 2);
      expect(heard.at(-1)?.stanza.getChildText("body"), `cut at ${cut - start}`).toBe(text);
    }
  });

  it("in the packet that ends the handshake is not lost", async () => {
    server().onPeer((peer) => accept(peer, `<message from='a@${CLOUD}' to='b@${CLOUD}' id='1'/>`));
    const bus = make();
    const heard = messagesOf(bus);
    const seen: string[] = [];
    bus.onStatus((status) => seen.push(status.kind));
    bus.onMessage(({ id }) => seen.push(id));
    await online(bus);
    await until("the message", () => heard.length === 1);
    expect(seen).toEqual(["connecting", "online", "1"]);
  });

  it("X2: answers another's question only from the address that was asked", async () => {
    server().onPeer((peer) => accept(peer));
    const bus = make();
    await online(bus);
    const asked = bus.request({
      to: "cm@alpha.test",
      type: "get",
      payload: new Element("q", "urn:x"),
      timeoutMs: 5000,
    });
    const peer = lastPeer(server());
    const [, id] = await peer.until(/<iq[^>]* id="([^"]+)"[^>]*><q/);
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    for (const from of ["evil@peer.test", "cm@alpha.test/x"]) {
      peer.send(`<iq type='result' id='${id}' from='${from}'><forged xmlns='urn:x'/></iq>`);
    }
    peer.send(`<iq type='result' id='${id}' from='cm@alpha.test'><true xmlns='urn:x'/></iq>`);
    const answer = await asked;
    expect(answer.kind === "result" && answer.payload?.name).toBe("true");
  });

  it("X4: each request gets one answer, from us and not from the library too", async () => {
    server().onPeer((peer) => accept(peer));
    const bus = make();
    bus.handle("get", "urn:x", "q", () => ({ kind: "result" }));
    await online(bus);
    const peer = lastPeer(server());
    const requests = {
      handled: "<q xmlns='urn:x'/>",
      unknown: "<q xmlns='urn:y'/>",
      ping: "<ping xmlns='urn:xmpp:ping'/>",
      none: "",
      two: "<q xmlns='urn:x'/><q xmlns='urn:x'/>",
      big: `<q xmlns='urn:x'>${"x".repeat(70_000)}</q>`,
      deep: `${"<q xmlns='urn:x'>".repeat(100)}${"</q>".repeat(100)}`,
    };
    const send = (id: string, payload: string): void =>
      peer.send(`<iq type='get' id='${id}' from='x@${CLOUD}' to='ann@alpha.test/desk'>${payload}</iq>`);
    for (const [id, payload] of Object.entries(requests)) send(id, payload);
    // The library would answer a little later than we do: two turns of question and answer are enough for it.
    for (const id of ["fence1", "fence2"]) {
      send(id, "<q xmlns='urn:x'/>");
      await peer.until(new RegExp(`id="${id}"`));
    }
    const answers = [...peer.text.matchAll(/<iq [^>]*\bid="(\w+)"[^>]*>(?:<error[^>]*><([\w-]+))?/g)]
      .map(([answer, id = "", condition]) => [id, condition ?? /type="(\w+)"/.exec(answer)?.[1]] as const)
      .filter(([id]) => id in requests);
    expect(Object.fromEntries(answers)).toEqual({
      handled: "result",
      unknown: "service-unavailable",
      ping: "service-unavailable",
      none: "bad-request",
      two: "bad-request",
      big: "policy-violation",
      deep: "policy-violation",
    });
    expect(answers).toHaveLength(Object.keys(requests).length);
  });

  it.each([
    ["an entity that does not exist", "<message><body>&bogus;</body></message>"],
    ["a tag that closes another", "<message></presence>"],
    ["a stanza without end", `<message><body>${"x".repeat(1_200_000)}`],
    ["the end of the stream", "</stream:stream>"],
    ["a stream error", `<stream:error><internal-server-error xmlns='${STREAM_ERRORS}'/></stream:error>`],
  ])("S1: %s ends the link, and another is made", async (_what, bytes) => {
    server().onPeer((peer) => accept(peer));
    const bus = make();
    const seen = statusesOf(bus);
    await online(bus);
    lastPeer(server()).send(bytes);
    await until("online again", () => seen.filter(({ kind }) => kind === "online").length === 2);
    expect(seen.map(({ kind }) => kind)).toEqual(["connecting", "online", "offline", "connecting", "online"]);
    await until("the first closed", () => server().peers[0]?.socket.destroyed === true);
  });

  it("S1: errors without content, unknown answers and strange addresses are survived", async () => {
    server().onPeer((peer) => accept(peer));
    const faults: string[] = [];
    const bus = make({ onFault: (where) => faults.push(where) });
    const heard = messagesOf(bus);
    await online(bus);
    const peer = lastPeer(server());
    peer.send(
      "<iq type='error' id='nobody'/><iq type='result'/><message from='@' to='/'/><presence from=''/><strange/>",
    );
    peer.send(`<message from='a@${CLOUD}' id='fence'/>`);
    await until("the fence", () => heard.some(({ id }) => id === "fence"));
    expect(bus.status.kind).toBe("online");
    expect(heard.map(({ id }) => id)).toEqual(["fence"]);
    expect(faults).toContain("receive");
  });
});
