import { describe, expect, it } from "vitest";
import { client, online, QUICK, SASL, setUpServers, tlsServerNow } from "./link-faults.fixture.ts";
import { PLAIN } from "./testing/fake-server.ts";
import { until } from "./testing/until.ts";

setUpServers();

describe("client link: authentication that fails early", () => {
  it("is refused, however fast the server is, and leaves no rejection that would end the process", async () => {
    const rejections: unknown[] = [];
    const count = (reason: unknown): void => {
      rejections.push(reason);
    };
    process.on("unhandledRejection", count);
    tlsServerNow().onPeer(async (peer, index) => {
      const failure = `<failure xmlns='${SASL}'><not-authorized/></failure>`;
      // Sometimes with the features, before the client asked; sometimes with the end of the stream, or of the socket.
      await peer.openClient(PLAIN);
      if (index % 4 !== 0) await peer.until(/<auth/);
      peer.send(index % 4 === 1 ? `${failure}</stream:stream>` : failure);
      if (index % 4 === 2) peer.socket.end();
      if (index % 4 === 3) peer.socket.destroySoon();
    });
    for (let round = 0; round < 16; round++) {
      const bus = client();
      bus.start();
      await until("refused or lost", () => bus.status.kind === "refused" || bus.status.kind === "offline");
      await bus.stop();
    }
    // The library's own time-outs have to pass too: they are what used to reject with nobody there.
    await new Promise((resolve) => setTimeout(resolve, 1.5 * QUICK.openWithinMs));
    process.off("unhandledRejection", count);
    expect(rejections).toEqual([]);
  });

  it("a failure that will pass is tried again", async () => {
    tlsServerNow().onPeer(async (peer, index) => {
      if (index > 0) return peer.acceptClient();
      await peer.openClient(PLAIN);
      await peer.until(/<auth/);
      peer.send(`<failure xmlns='${SASL}'><temporary-auth-failure/></failure>`);
      return peer;
    });
    await online(client());
  });

  it("a server without a mechanism of ours is refused as not-authorized", async () => {
    tlsServerNow().onPeer((peer) =>
      peer.openClient(`<mechanisms xmlns='${SASL}'><mechanism>X-OWN</mechanism></mechanisms>`),
    );
    const bus = client();
    bus.start();
    await until("refused", () => bus.status.kind === "refused");
    expect(bus.status).toMatchObject({ reason: "not-authorized", text: expect.stringContaining("mechanism") });
  });
});
