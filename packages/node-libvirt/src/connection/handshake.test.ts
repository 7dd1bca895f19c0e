import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Frame } from "../frame/frame.ts";
import { FrameSplitter } from "../frame/frame-splitter.ts";
import { procedureTable as table } from "../table/procedures.ts";
import { rejection } from "../testing/eventually.ts";
import { Peer } from "../testing/fake-daemon.ts";
import { openConnection } from "./handshake.ts";

/** Runs `use` against a server where `script` sees every frame, those of the opening included. */
async function withServer<T>(
  script: (frame: Frame, peer: Peer) => void,
  use: (socketPath: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "nlv-open-"));
  const server = createServer((socket) => {
    const splitter = new FrameSplitter(1 << 20);
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk) => {
      for (const frame of splitter.push(chunk)) script(frame, new Peer(socket));
    });
    socket.on("end", () => socket.destroy());
  });
  const socketPath = join(folder, "sock");
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  try {
    return await use(socketPath);
  } finally {
    server.close();
    await rm(folder, { recursive: true });
  }
}

function answerAll(types: readonly number[], seen: number[]): (frame: Frame, peer: Peer) => void {
  return (frame, peer) => {
    seen.push(frame.procedure);
    if (frame.procedure === table.authList.number) peer.reply(frame, table.authList, { types });
    if (frame.procedure === table.authPolkit.number) peer.reply(frame, table.authPolkit, { complete: 1 });
    if (frame.procedure === table.connectSupportsFeature.number) {
      peer.reply(frame, table.connectSupportsFeature, { supported: 1 });
    }
    if (frame.procedure === table.connectOpen.number) peer.reply(frame, table.connectOpen, {});
  };
}

describe("opening a hypervisor", () => {
  it("asks for authentication, keepalive and the hypervisor, in this order", async () => {
    const seen: number[] = [];
    const connection = await withServer(answerAll([0], seen), (socketPath) => openConnection({ socketPath }));
    expect(seen).toEqual([66, 60, 1]);
    connection.destroy();
  });

  it("lets polkit decide where the daemon asks for it", async () => {
    const seen: number[] = [];
    const connection = await withServer(answerAll([2], seen), (socketPath) => openConnection({ socketPath }));
    expect(seen).toEqual([66, 70, 60, 1]);
    connection.destroy();
  });

  it("says what to change where the daemon asks for SASL", async () => {
    const fault = await withServer(answerAll([1], []), (socketPath) => rejection(openConnection({ socketPath })));
    expect(fault).toMatchObject({ kind: "connection-lost", sent: false });
    expect(String(fault)).toContain("auth_unix_rw");
  });

  it("ends by its deadline where the daemon accepts and says nothing", async () => {
    const start = performance.now();
    const fault = await withServer(
      () => {},
      (socketPath) => rejection(openConnection({ socketPath, openTimeoutMs: 60 })),
    );
    expect(fault).toMatchObject({ kind: "timeout", procedure: "authList" });
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it("passes on libvirt's reason where the hypervisor is unknown", async () => {
    const script = (frame: Frame, peer: Peer) => {
      if (frame.procedure === table.connectOpen.number) return peer.refuse(frame, 38, "no driver for wrong:///");
      answerAll([0], [])(frame, peer);
    };
    const fault = await withServer(script, (socketPath) => rejection(openConnection({ socketPath, uri: "wrong:///" })));
    expect(fault).toMatchObject({ kind: "libvirt", code: 38, procedure: "connectOpen" });
  });
});
