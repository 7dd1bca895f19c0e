import { Duplex } from "node:stream";
import { type Connection, type OpenStream, STREAM_BYTES_MAX } from "../connection/connection.ts";
import type { LibvirtError } from "../fault.ts";

/**
 * A console of a running domain as a stream of bytes, both ways: what the guest writes can be read, what is written is typed.
 * It ends when the guest does. `destroy` detaches at once, and leaves the guest as it is; an error is libvirt's or the
 * connection's. Whoever reads slowly slows down what the daemon sends, and nothing else.
 */
export class DomainConsole extends Duplex {
  readonly #connection: Connection;
  readonly #stream: OpenStream;

  /** Made by `libvirt.consoles.open`. */
  constructor(connection: Connection, stream: OpenStream) {
    super({ allowHalfOpen: false, autoDestroy: true });
    this.#connection = connection;
    this.#stream = stream;
  }

  /** Bytes came in. */
  receive(bytes: Buffer): void {
    if (!this.push(bytes)) this.#connection.pause();
  }

  /** The daemon has no more to send. */
  finish(fault?: LibvirtError): void {
    if (fault === undefined) this.push(null);
    else this.destroy(fault);
  }

  override _read(): void {
    this.#connection.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    for (let at = 0; at < chunk.length; at += STREAM_BYTES_MAX) {
      this.#stream.write(chunk.subarray(at, at + STREAM_BYTES_MAX));
    }
    this.#connection.drained(done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream.finish();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#connection.destroy("the console was closed");
    done(error);
  }
}
