import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ProtocolViolation } from "../fault.ts";
import { bytes } from "../xdr/schema.ts";
import { encodeFrame, type Frame } from "./frame.ts";
import { FrameSplitter } from "./frame-splitter.ts";

const header = { program: 0x2000_8086, version: 1, procedure: 7, type: 1, serial: 9, status: 0 };

function frame(size: number): Buffer {
  return encodeFrame(header, bytes(1 << 20), new Uint8Array(size));
}

function pushAll(splitter: FrameSplitter, chunks: readonly Buffer[]): Frame[] {
  return chunks.flatMap((chunk) => [...splitter.push(chunk)]);
}

describe("cutting a stream into frames", () => {
  it("finds the same frames wherever the chunks end", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 300 }), { minLength: 1, maxLength: 6 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
        (sizes, cuts) => {
          const stream = Buffer.concat(sizes.map(frame));
          const chunks: Buffer[] = [];
          for (let at = 0; at < stream.length; ) {
            const step = cuts.next().value ?? 1;
            chunks.push(stream.subarray(at, at + step));
            at += step;
          }
          const splitter = new FrameSplitter(1 << 20);
          const bodies = pushAll(splitter, chunks).map(({ body, ...rest }) => ({
            ...rest,
            size: body.readUInt32BE(0),
          }));
          expect(bodies).toEqual(sizes.map((size) => ({ ...header, size })));
          expect(splitter.heldBytes).toBe(0);
        },
      ),
    );
  });

  it("refuses a length shorter than a header and one over the limit as soon as its four bytes are there", () => {
    const length = (value: number) => {
      const word = Buffer.alloc(4);
      word.writeUInt32BE(value);
      return word;
    };
    for (const value of [0, 4, 27, 1_025, 0xffff_ffff]) {
      expect(() => pushAll(new FrameSplitter(1_024), [length(value)])).toThrow(ProtocolViolation);
    }
    expect(pushAll(new FrameSplitter(1_024), [length(1_024)])).toEqual([]);
  });

  it("takes a big frame in single bytes, in linear time", () => {
    const whole = frame(1 << 18);
    const splitter = new FrameSplitter(1 << 20);
    for (let at = 0; at < whole.length - 1; at++) pushAll(splitter, [whole.subarray(at, at + 1)]);
    expect(splitter.heldBytes).toBe(whole.length - 1);
    const [complete] = pushAll(splitter, [whole.subarray(-1)]);
    expect(complete?.body.equals(whole.subarray(28))).toBe(true);
    expect(splitter.heldBytes).toBe(0);
  });

  it("makes no room for bytes that a length word only promises", () => {
    const before = process.memoryUsage().arrayBuffers;
    const promise = Buffer.alloc(28);
    promise.writeUInt32BE(1 << 25);
    const splitters = Array.from({ length: 16 }, () => new FrameSplitter(1 << 25));
    for (const splitter of splitters) expect(pushAll(splitter, [promise])).toEqual([]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 24);
  });

  it("never touches the bytes of a frame again", () => {
    const splitter = new FrameSplitter(1 << 20);
    const cut = [frame(100).subarray(0, 50), Buffer.concat([frame(100).subarray(50), frame(100).subarray(0, 60)])];
    const [first] = pushAll(splitter, cut);
    const copy = Buffer.from(first?.body ?? []);
    pushAll(splitter, [frame(100).subarray(60), Buffer.alloc(28, 0).fill(frame(0).subarray(0, 28))]);
    expect(first?.body.equals(copy)).toBe(true);
  });
});
