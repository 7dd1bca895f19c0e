import { ProtocolViolation } from "../fault.ts";
import { decodeFrame, type Frame, HEADER_BYTES } from "./frame.ts";

/**
 * Cuts a byte stream into frames. Chunks may end anywhere. Memory held is at most one frame of `maxFrameBytes` plus
 * one chunk: a length word out of range is refused as soon as its four bytes are there.
 */
export class FrameSplitter {
  readonly #maxFrameBytes: number;
  #chunks: Buffer[] = [];
  #held = 0;

  constructor(maxFrameBytes: number) {
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Bytes of an unfinished frame. */
  get heldBytes(): number {
    return this.#held;
  }

  /** Takes a chunk and yields every frame it completes. Throws {@link ProtocolViolation} on an impossible length. */
  *push(chunk: Buffer): Generator<Frame, void, undefined> {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    while (this.#held >= 4) {
      const size = this.#frameSize();
      if (this.#held < size) return;
      const bytes = this.#joined();
      this.#chunks = bytes.length > size ? [bytes.subarray(size)] : [];
      this.#held -= size;
      yield decodeFrame(bytes.subarray(0, size));
    }
  }

  #frameSize(): number {
    const first = this.#chunks[0];
    const head = first !== undefined && first.length >= 4 ? first : this.#joined();
    const size = head.readUInt32BE(0);
    if (size < HEADER_BYTES) throw new ProtocolViolation(`a frame of ${size} bytes is shorter than its header`);
    if (size > this.#maxFrameBytes) {
      throw new ProtocolViolation(`a frame of ${size} bytes exceeds the limit of ${this.#maxFrameBytes}`);
    }
    return size;
  }

  /** Everything held, as the one chunk it becomes. */
  #joined(): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && this.#chunks.length === 1) return first;
    const joined = Buffer.concat(this.#chunks, this.#held);
    this.#chunks = [joined];
    return joined;
  }
}
