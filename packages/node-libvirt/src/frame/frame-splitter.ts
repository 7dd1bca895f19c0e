import { ProtocolViolation } from "../fault.ts";
import { decodeFrame, type Frame, HEADER_BYTES } from "./frame.ts";

const LENGTH_BYTES = 4;
const EMPTY = Buffer.alloc(0);

/**
 * Cuts a byte stream into frames. Chunks may end anywhere. Memory held is at most one frame of `maxFrameBytes`: a
 * length word out of range is refused as soon as its four bytes are there, and room is made as bytes come in, not as
 * the length word promises.
 */
export class FrameSplitter {
  readonly #maxFrameBytes: number;
  /** The unfinished frame: `#held` bytes at the front of `#buffer`. */
  #buffer = EMPTY;
  #held = 0;

  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Bytes of an unfinished frame. */
  get heldBytes(): number {
    return this.#held;
  }

  /**
   * Takes a chunk and yields every frame it completes, whose bytes are not touched again. Throws
   * {@link ProtocolViolation} on an impossible length.
   */
  *push(chunk: Buffer): Generator<Frame, void, undefined> {
    let rest = chunk;
    while (rest.length > 0) {
      const whole = this.#held === 0 ? this.#wholeFrame(rest) : undefined;
      if (whole !== undefined) {
        rest = rest.subarray(whole.length);
        yield decodeFrame(whole);
        continue;
      }
      rest = rest.subarray(this.#collect(rest));
      if (this.#held >= HEADER_BYTES && this.#held === this.#frameBytes(this.#buffer)) {
        const frame = this.#buffer.subarray(0, this.#held);
        this.#buffer = EMPTY;
        this.#held = 0;
        yield decodeFrame(frame);
      }
    }
  }

  /** The frame that `bytes` begin with, if all of it is there: the common case, which copies nothing. */
  #wholeFrame(bytes: Buffer): Buffer | undefined {
    if (bytes.length < LENGTH_BYTES) return undefined;
    const size = this.#frameBytes(bytes);
    return bytes.length >= size ? bytes.subarray(0, size) : undefined;
  }

  /** Copies what belongs to the unfinished frame: first its length word, then the rest. Returns how many bytes. */
  #collect(bytes: Buffer): number {
    const wanted = this.#held < LENGTH_BYTES ? LENGTH_BYTES : this.#frameBytes(this.#buffer);
    const taken = Math.min(bytes.length, wanted - this.#held);
    const needed = this.#held + taken;
    if (needed > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(needed, Math.min(this.#buffer.length * 2, wanted)));
      this.#buffer.copy(grown, 0, 0, this.#held);
      this.#buffer = grown;
    }
    bytes.copy(this.#buffer, this.#held, 0, taken);
    this.#held = needed;
    if (needed === LENGTH_BYTES) this.#frameBytes(this.#buffer);
    return taken;
  }

  #frameBytes(head: Buffer): number {
    const size = head.readUInt32BE(0);
    if (size < HEADER_BYTES) throw new ProtocolViolation(`a frame of ${size} bytes is shorter than its header`);
    if (size > this.#maxFrameBytes) {
      throw new ProtocolViolation(`a frame of ${size} bytes exceeds the limit of ${this.#maxFrameBytes}`);
    }
    return size;
  }
}
