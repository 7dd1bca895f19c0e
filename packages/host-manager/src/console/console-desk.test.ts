import { Duplex } from "node:stream";
import { err, ok, systemClock } from "@muster/base";
import type { ConsoleOrder } from "@muster/protocol";
import { describe, expect, it } from "vitest";
import { ConsoleDesk, SESSIONS_MAX } from "./console-desk.ts";

const VM = "0190a7b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b";
const session = (number: number): string => `0190a7b2-0000-7000-8000-${String(number).padStart(12, "0")}`;

/** A guest that says everything back in capitals. */
function shouter(): Duplex {
  const guest = new Duplex({
    allowHalfOpen: false,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      guest.push(Buffer.from(chunk.toString().toUpperCase()));
      done();
    },
  });
  return guest;
}

function deskOf(guest: Duplex) {
  const desk = new ConsoleDesk(systemClock, { console: async () => ok(guest) });
  const order = (action: ConsoleOrder["action"], more: Partial<ConsoleOrder> = {}) =>
    desk.take({ session: session(1), vm: VM, action, sequence: 0, ...more });
  const typed = (text: string, sequence: number) =>
    order("input", { sequence, data: Buffer.from(text).toString("base64") });
  const read = async (sequence: number, waitMs = 1_000): Promise<string> => {
    const state = await order("output", { sequence, waitMs });
    return state.ok ? `${state.value.open} ${Buffer.from(state.value.data, "base64")}` : state.error.reason;
  };
  return { desk, order, typed, read };
}

describe("the console desk", () => {
  it("types and reads, each once, whatever is said again", async () => {
    const { order, typed, read } = deskOf(shouter());
    expect(await order("open")).toMatchObject({ ok: true, value: { open: true } });
    const waiting = read(1);
    await typed("ls ", 1);
    await typed("ls ", 1);
    expect(await waiting).toBe("true LS ");
    expect(await read(1)).toBe("true LS ");
    await typed("-l", 2);
    expect(await read(2)).toBe("true -L");
    expect(await read(3, 10)).toBe("true ");
  });

  it("S2: tells long output in parts, in order", async () => {
    const { order, typed, read } = deskOf(shouter());
    await order("open");
    const text = "abcdefghij".repeat(600);
    await typed(text, 1);
    await typed(text, 2);
    let came = "";
    for (let sequence = 1; came.length < 12_000 && sequence < 9; sequence += 1) {
      const part = (await read(sequence)).slice("true ".length);
      expect(part.length).toBeLessThanOrEqual(6_144);
      came += part;
    }
    expect(came).toBe((text + text).toUpperCase());
  });

  it("tells what a guest wrote last before its end, and the end then", async () => {
    const guest = shouter();
    const { order, read } = deskOf(guest);
    await order("open");
    guest.push("bye");
    guest.push(null);
    expect(await read(1)).toBe("true bye");
    expect(await read(2)).toBe("false ");
  });

  it("knows no session of another VM, none that was left, and none that was never opened", async () => {
    const guest = shouter();
    const { desk, order, read } = deskOf(guest);
    expect(await read(1)).toBe("no-session");
    await order("open");
    const other = { session: session(1), vm: session(9), action: "output", sequence: 1 } as const;
    expect(await desk.take(other)).toMatchObject({ ok: false, error: { reason: "no-session" } });
    await order("close");
    expect(guest.destroyed).toBe(true);
    expect(await read(2)).toBe("no-session");
  });

  it("S2: opens no more than its bound, and says why the hypervisor did not", async () => {
    const desk = new ConsoleDesk(systemClock, { console: async () => ok(shouter()) });
    for (let number = 1; number <= SESSIONS_MAX; number += 1)
      await desk.take({ session: session(number), vm: VM, action: "open", sequence: 0 });
    const more = { session: session(99), vm: VM, action: "open", sequence: 0 } as const;
    expect(await desk.take(more)).toMatchObject({ ok: false, error: { reason: "consoles-full" } });
    desk.close();
    const busy = new ConsoleDesk(systemClock, { console: async () => err("somebody is at it") });
    expect(await busy.take(more)).toMatchObject({ ok: false, error: { reason: "console-refused" } });
    expect(await new ConsoleDesk(systemClock, {}).take(more)).toMatchObject({ error: { reason: "no-console" } });
  });
});
