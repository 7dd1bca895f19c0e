import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linkComponent, type RawStream } from "./testing/raw-stream.ts";
import { type TestSite, TestSites } from "./testing/test-sites.ts";

let sites: TestSites;
let alpha: TestSite;

beforeAll(async () => {
  sites = await TestSites.create();
  alpha = await (await sites.site("alpha.test", "127.0.34.1", { deadPeerSeconds: 1 })).start();
});

afterAll(() => sites.close());

describe("a component link", () => {
  it("that hangs is closed and its address free, while one that answers pings stays", async () => {
    const [hung, alive] = await Promise.all([alpha.component(), alpha.component("cm-a.alpha.test")]);
    hung.hang();
    const startedMs = performance.now();
    // Silent for a period, then pinged: three answered pings outlive the two periods that a hung link gets.
    for (let count = 0; count < 3; count += 1) {
      const [, id] = await alive.until(/<iq[^>]*id='(watchdog-[^']+)'[^>]*>.*?urn:xmpp:ping/);
      alive.send(`<iq type='result' id='${id}' from='cm-a.alpha.test' to='alpha.test'/>`);
    }
    expect(performance.now() - startedMs).toBeGreaterThan(2_000);
    alive.send(`<iq type='get' id='w1' from='cm-a.alpha.test' to='${alpha.cloud}'><ping xmlns='urn:xmpp:ping'/></iq>`);
    await alive.until(/<iq[^>]*id='w1'.*<remote-server-timeout/);
    expect(alive.closed).toBe(false);
    expect(await alpha.log()).toContain("did not answer a ping");
    await answersAs(await alpha.component(), alive);
    alive.close();
  });

  it("of a new leader takes the address at once, and the one before is told", async () => {
    const [old, prober] = await Promise.all([alpha.component(), alpha.component("cm-a.alpha.test")]);
    const winner = await alpha.component();
    await old.until(/<stream:error><conflict/);
    await old.untilClosed();
    await answersAs(winner, prober);
    winner.close();
    prober.close();
  });

  it("with a wrong secret is refused", async () => {
    await expect(linkComponent(alpha.target(5347), alpha.cloud, "a guess")).rejects.toThrow(/not-authorized/);
  });
});

/** A request from `prober` reaches the holder of the address and its answer comes back. */
async function answersAs(holder: RawStream, prober: RawStream): Promise<void> {
  prober.send(`<iq type='get' id='a1' from='cm-a.alpha.test' to='${alpha.cloud}'><ping xmlns='urn:xmpp:ping'/></iq>`);
  await holder.until(/<iq[^>]*id='a1'/);
  holder.send(`<iq type='result' id='a1' from='${alpha.cloud}' to='cm-a.alpha.test'/>`);
  await prober.until(/<iq[^>]*id='a1'[^>]*>/);
}
