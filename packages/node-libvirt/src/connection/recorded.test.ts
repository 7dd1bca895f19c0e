import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ProtocolViolation } from "../fault.ts";
import { decodeFrame, type Frame } from "../frame/frame.ts";
import { FrameSplitter } from "../frame/frame-splitter.ts";
import { eventKinds } from "../table/event.ts";
import { errorReport } from "../table/fields.ts";
import { procedureTable as table } from "../table/procedures.ts";
import { recordedFrames as recorded } from "../testing/recorded-frames.ts";
import { decode } from "../xdr/decode.ts";
import type { Schema } from "../xdr/schema.ts";
import { isPing } from "./keepalive.ts";

const testDomain = { name: "test", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: 1 };

function read<T>(schema: Schema<T>, frame: Buffer): T {
  return decode(schema, decodeFrame(frame).body);
}

describe("frames recorded from a real daemon", () => {
  it("are read to the last byte", () => {
    expect(read(table.authList.result, recorded.authList)).toEqual({ types: [0] });
    expect(read(table.connectSupportsFeature.result, recorded.supportsFeature)).toEqual({ supported: 1 });
    expect(read(table.connectOpen.result, recorded.open)).toEqual({});
    expect(read(table.connectListAllDomains.result, recorded.listAllDomains)).toEqual({
      domains: [testDomain],
      count: 1,
    });
    expect(read(table.nodeGetInfo.result, recorded.nodeInfo)).toMatchObject({
      memoryKiB: 3_145_728n,
      cpus: 16,
      mhz: 1_400,
      nodes: 2,
      sockets: 2,
      cores: 2,
      threads: 2,
    });
    expect(read(table.connectGetAllDomainStats.result, recorded.allDomainStats).records).toEqual([
      {
        domain: testDomain,
        params: [
          { field: "state.state", value: { type: 1, value: 1 } },
          { field: "state.reason", value: { type: 1, value: 0 } },
        ],
      },
    ]);
  });

  it("carry libvirt's errors whole", () => {
    expect(decodeFrame(recorded.noSuchDomain).status).toBe(1);
    const error = { code: 42, domain: 12, level: 2, message: "Domain not found" };
    expect(read(errorReport, recorded.noSuchDomain)).toMatchObject(error);
    expect(read(errorReport, recorded.unknownProcedure)).toMatchObject({
      code: 39,
      message: "unknown procedure: 9999",
    });
  });

  it("carry events under the callback id that the registration answered", () => {
    const { callbackId } = read(table.connectDomainEventCallbackRegisterAny.result, recorded.registerLifecycle);
    expect(decodeFrame(recorded.lifecycleSuspended).procedure).toBe(eventKinds["domain.lifecycle"].number);
    expect(read(eventKinds["domain.lifecycle"].body, recorded.lifecycleSuspended)).toEqual({
      callbackId,
      domain: testDomain,
      event: 3,
      detail: 0,
    });
    expect(isPing(decodeFrame(recorded.ping))).toBe(true);
  });

  it("are cut out of a stream at any chunk borders", () => {
    const all = Object.values(recorded);
    const stream = Buffer.concat(all);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), (step) => {
        const splitter = new FrameSplitter(1 << 20);
        const frames: Frame[] = [];
        for (let at = 0; at < stream.length; at += step) frames.push(...splitter.push(stream.subarray(at, at + step)));
        expect(frames).toEqual(all.map(decodeFrame));
      }),
    );
  });

  it("become a value or a violation with any bytes changed", () => {
    const bodies: readonly [Buffer, Schema<unknown>][] = [
      [recorded.nodeInfo, table.nodeGetInfo.result],
      [recorded.listAllDomains, table.connectListAllDomains.result],
      [recorded.allDomainStats, table.connectGetAllDomainStats.result],
      [recorded.noSuchDomain, errorReport],
      [recorded.lifecycleSuspended, eventKinds["domain.lifecycle"].body],
    ];
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(fc.constantFrom(...bodies), changes, ([frame, schema], edits) => {
        const body = Buffer.from(decodeFrame(frame).body);
        for (const [at, value] of edits) body[at % body.length] = value;
        try {
          decode(schema, body);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolViolation);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
