import type { IoVector } from "../files/io-vector.ts";

/** Bytes that come in small pieces are kept in blocks, larger ones the more there are. */
const MIN_BLOCK = 0x400;
const MAX_BLOCK = 0x4000;

interface Piece {
  readonly bytes: Uint8Array;
  /** First byte that has not been read. */
  start: number;
  /** One past the last byte that is there; the rest of `bytes` is free. */
  end: number;
}

/** A stream's bytes that have arrived and not been read. */
export class ByteQueue {
  /** Bytes in it. */
  size = 0;
  #pieces: Piece[] = [];
  #head = 0;

  /** Puts bytes at the end. @param borrowed if not, the queue may keep `bytes` itself */
  push(bytes: Uint8Array, borrowed = false): void {
    this.size += bytes.length;
    const last = this.#pieces.length > this.#head ? this.#pieces[this.#pieces.length - 1] : undefined;
    if (last !== undefined && bytes.length <= last.bytes.length - last.end) {
      last.bytes.set(bytes, last.end);
      last.end += bytes.length;
      return;
    }
    if (bytes.length >= MAX_BLOCK / 2) {
      this.#pieces.push({ bytes: borrowed ? bytes.slice() : bytes, start: 0, end: bytes.length });
      return;
    }
    const block = new Uint8Array(Math.min(MAX_BLOCK, Math.max(MIN_BLOCK, 2 * this.size)));
    block.set(bytes);
    this.#pieces.push({ bytes: block, start: 0, end: bytes.length });
  }

  /** Moves bytes to `to` as far as it takes them; returns how many. */
  shift(to: IoVector): number {
    let moved = 0;
    while (to.remaining > 0 && this.size > 0) {
      const piece = this.#pieces[this.#head];
      const wanted = Math.min(to.remaining, piece.end - piece.start);
      const count = to.put(piece.bytes.subarray(piece.start, piece.start + wanted));
      this.#drop(piece, count);
      moved += count;
      if (count < wanted) break;
    }
    return moved;
  }

  /** Copies the first bytes to `to` and leaves them where they are. */
  peek(to: IoVector): number {
    let moved = 0;
    for (let i = this.#head; i < this.#pieces.length && to.remaining > 0; i++) {
      const { bytes, start, end } = this.#pieces[i];
      const wanted = Math.min(to.remaining, end - start);
      const count = to.put(bytes.subarray(start, start + wanted));
      moved += count;
      if (count < wanted) break;
    }
    return moved;
  }

  /** Throws the first bytes away, at most `count`; returns how many. */
  discard(count: number): number {
    let left = Math.min(count, this.size);
    const dropped = left;
    while (left > 0) {
      const piece = this.#pieces[this.#head];
      const part = Math.min(left, piece.end - piece.start);
      this.#drop(piece, part);
      left -= part;
    }
    return dropped;
  }

  #drop(piece: Piece, count: number): void {
    piece.start += count;
    this.size -= count;
    if (piece.start < piece.end) return;
    if (this.size === 0 && piece.bytes.length <= MAX_BLOCK && this.#pieces.length - this.#head === 1) {
      // The last block goes on being filled from its start.
      piece.start = 0;
      piece.end = 0;
      return;
    }
    this.#head++;
    if (this.#head < this.#pieces.length && this.#head < 64) return;
    this.#pieces.splice(0, this.#head);
    this.#head = 0;
  }
}
