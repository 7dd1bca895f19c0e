import { once } from "node:events";
import { rename, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";

/** `VIR_DOMAIN_CREATE_WITH_FLAGS` of libvirt's remote protocol (src/remote/remote_protocol.x): starts a defined domain. */
export const START_DOMAIN = 196;

/** Offsets in a frame: length, program, version, procedure, type, serial, status, 4 bytes each. */
const PROCEDURE_AT = 12;
const SERIAL_AT = 20;
const HEADER_BYTES = 28;

/** Where the call is when the trap springs: not handed to the daemon, or carried out and its answer withheld. */
export type TrapMoment = "before" | "after";

type Trap = { readonly procedure: number; readonly moment: TrapMoment; readonly spring: () => void };

/** Stands in front of a libvirtd's socket and springs at one call: where a process is to die between two steps. */
export class LibvirtTrap {
  readonly #path: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #trap: Trap | undefined;

  private constructor(path: string, server: Server) {
    this.#path = path;
    this.#server = server;
    server.on("connection", (near) => this.#accept(near));
  }

  /** Takes the daemon's place at its socket; connections that are open stay as they are. */
  static async open(path: string): Promise<LibvirtTrap> {
    await rename(path, ownPath(path));
    const server = createServer();
    const trap = new LibvirtTrap(path, server);
    server.listen(path);
    await once(server, "listening");
    return trap;
  }

  /** Waits for the next call of that kind, and runs `spring` in its place or before its answer is delivered. */
  next(procedure: number, moment: TrapMoment, spring: () => void): Promise<void> {
    return new Promise((sprung) => {
      this.#trap = {
        procedure,
        moment,
        spring: () => {
          this.#trap = undefined;
          spring();
          sprung();
        },
      };
    });
  }

  /** Gives the daemon its socket back. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
    await rm(this.#path, { force: true });
    await rename(ownPath(this.#path), this.#path);
  }

  #accept(near: Socket): void {
    const far = connect(ownPath(this.#path));
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    let withheld: number | undefined;
    frames(near, (frame) => {
      const trap = this.#trap;
      if (trap !== undefined && procedureOf(frame) === trap.procedure) {
        if (trap.moment === "before") {
          trap.spring();
          return;
        }
        withheld = frame.readUInt32BE(SERIAL_AT);
      }
      far.write(frame);
    });
    frames(far, (frame) => {
      const answers = procedureOf(frame) === this.#trap?.procedure && frame.readUInt32BE(SERIAL_AT) === withheld;
      if (answers) this.#trap?.spring();
      else near.write(frame);
    });
  }
}

function ownPath(path: string): string {
  return `${path}.own`;
}

function procedureOf(frame: Buffer): number {
  return frame.length < HEADER_BYTES ? -1 : frame.readUInt32BE(PROCEDURE_AT);
}

/** Cuts what arrives into frames: each begins with its own length (libvirt's src/rpc/virnetmessage.c). */
function frames(from: Socket, take: (frame: Buffer) => void): void {
  let held = Buffer.alloc(0);
  from.on("data", (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    while (held.length >= 4 && held.length >= held.readUInt32BE(0)) {
      const length = held.readUInt32BE(0);
      take(held.subarray(0, length));
      held = held.subarray(length);
    }
  });
}
