/** Makes the error that a reader throws when a read falls outside its bytes. */
export type ReadFailure = (message: string) => Error;

const utf8 = new TextDecoder("utf-8");

/** Bytes to take parts of: an array, or a file of which parts are read when they are asked for. */
export interface Bytes {
  readonly length: number;
  /** The bytes from `from` up to `to`, as far as there are any; a view, not a copy. */
  subarray(from: number, to: number): Uint8Array;
}

/** A file to read at any place. */
export interface FileSource {
  /** In bytes; it may turn out smaller. */
  readonly size: number;
  /** Reads at an offset; returns how many bytes there were. Must not throw. */
  read(into: Uint8Array, offset: number): number;
}

/** Bytes of a file are read in pieces of this many. */
const PIECE = 0x4000;

/**
 * A file's bytes, each piece of them read when it is first asked for: a large file costs no more than what is looked at.
 * Pages of memory that were never written to cost nothing, so an array of its size stands for all of it.
 */
export class FileBytes implements Bytes {
  readonly #bytes: Uint8Array;
  readonly #source: FileSource | undefined;
  /** For each piece whether it has been read. */
  readonly #present: Uint8Array;

  /** @param file all of its bytes, which are not copied and must not change, or where to read them */
  constructor(file: Uint8Array | FileSource) {
    if (file instanceof Uint8Array) {
      // A plain view, because slice() of Node's Buffer, which a caller may well pass, does not copy.
      this.#bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
      this.#present = new Uint8Array(0);
    } else {
      this.#source = file;
      this.#bytes = new Uint8Array(file.size);
      this.#present = new Uint8Array(Math.ceil(file.size / PIECE));
    }
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** Has [from, to) read. */
  load(from: number, to: number): void {
    const source = this.#source;
    if (source === undefined) return;
    const last = Math.min(Math.ceil(to / PIECE), this.#present.length);
    for (let piece = Math.max(0, Math.floor(from / PIECE)); piece < last; piece++) {
      if (this.#present[piece]) continue;
      const start = piece;
      while (piece < last && !this.#present[piece]) this.#present[piece++] = 1;
      readWhole(source, this.#bytes.subarray(start * PIECE, piece * PIECE), start * PIECE);
    }
  }

  subarray(from: number, to: number): Uint8Array {
    this.load(from, to);
    return this.#bytes.subarray(from, to);
  }

  /** All bytes: reads what has not been read. */
  get all(): Uint8Array {
    return this.subarray(0, this.length);
  }

  /** All bytes, of which only those are right that were asked for before. */
  get sparse(): Uint8Array {
    return this.#bytes;
  }

  /** Reads at an offset without keeping the bytes; returns how many there were. */
  read(into: Uint8Array, offset: number): number {
    if (this.#source !== undefined) return this.#source.read(into, offset);
    const part = this.#bytes.subarray(offset, offset + into.length);
    into.set(part);
    return part.length;
  }

  /** A reader of [from, to) that has read what it is asked for. */
  reader(from: number, to: number, what: string, fail: ReadFailure): ByteReader {
    const bytes = this.#bytes.subarray(from, to);
    return new ByteReader(bytes, what, fail, (offset, size) => this.load(from + offset, from + offset + size));
  }
}

function readWhole(source: FileSource, into: Uint8Array, offset: number): void {
  for (let done = 0; done < into.length; ) {
    const count = source.read(into.subarray(done), offset + done);
    if (count <= 0) return;
    done += count;
  }
}

/** The bytes that are looked at at a time for the end of a string. */
const STRING_STEP = 256;

/**
 * Bounds-checked little-endian reads over a byte array. Every read outside the bytes throws the error that `fail`
 * makes, so that a damaged file ends in one typed error whatever field is damaged.
 */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  readonly #fail: ReadFailure;
  readonly #load: ((offset: number, size: number) => void) | undefined;

  /**
   * `what` names the bytes in the error message, for instance "section table".
   * @param load is called before bytes are looked at, where they are not all there
   */
  constructor(bytes: Uint8Array, what: string, fail: ReadFailure, load?: (offset: number, size: number) => void) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.#fail = fail;
    this.#load = load;
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** All of the bytes. */
  get bytes(): Uint8Array {
    this.#load?.(0, this.#bytes.length);
    return this.#bytes;
  }

  /** A reader of what is behind `offset`. */
  from(offset: number, what: string, fail: ReadFailure): ByteReader {
    const load = this.#load;
    return new ByteReader(this.#bytes.subarray(offset), what, fail, load && ((at, size) => load(offset + at, size)));
  }

  /** Throws unless `size` bytes at `offset` are there. */
  check(offset: number, size: number): void {
    if (!(offset >= 0 && size >= 0 && offset + size <= this.#bytes.length)) {
      throw this.#fail(`${this.#what}: ${size} bytes at offset ${offset} lie outside its ${this.#bytes.length} bytes`);
    }
  }

  #need(offset: number, size: number): void {
    this.check(offset, size);
    this.#load?.(offset, size);
  }

  u8(offset: number): number {
    this.#need(offset, 1);
    return this.#bytes[offset];
  }

  u16(offset: number): number {
    this.#need(offset, 2);
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    this.#need(offset, 4);
    return this.#view.getUint32(offset, true);
  }

  i16(offset: number): number {
    this.#need(offset, 2);
    return this.#view.getInt16(offset, true);
  }

  i32(offset: number): number {
    this.#need(offset, 4);
    return this.#view.getInt32(offset, true);
  }

  /** An unsigned 64-bit value as a number: exact below 2^53, which is all that a 47-bit address space needs. */
  u64(offset: number): number {
    this.#need(offset, 8);
    return this.#view.getUint32(offset, true) + this.#view.getUint32(offset + 4, true) * 0x1_0000_0000;
  }

  /** A signed 64-bit value as a number: exact for magnitudes below 2^53. */
  i64(offset: number): number {
    this.#need(offset, 8);
    return this.#view.getUint32(offset, true) + this.#view.getInt32(offset + 4, true) * 0x1_0000_0000;
  }

  slice(offset: number, size: number): Uint8Array {
    this.#need(offset, size);
    return this.#bytes.subarray(offset, offset + size);
  }

  /** The UTF-8 string from `offset` to its NUL byte, which must come within `limit` bytes. */
  cstring(offset: number, limit = 65_536): string {
    this.check(offset, 1);
    const most = Math.min(offset + limit, this.#bytes.length);
    for (let at = offset; at < most; at += STRING_STEP) {
      const to = Math.min(at + STRING_STEP, most);
      this.#load?.(at, to - at);
      const end = this.#bytes.subarray(at, to).indexOf(0);
      if (end >= 0) {
        return utf8.decode(this.#bytes.subarray(offset, at + end));
      }
    }
    throw this.#fail(`${this.#what}: no end of the string at offset ${offset}`);
  }
}

/** `value` as `0x…`, as addresses are written throughout goemu. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

export const PAGE_SIZE = 4096;

export function pageFloor(address: number): number {
  return Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
}

export function pageCeil(address: number): number {
  return Math.ceil(address / PAGE_SIZE) * PAGE_SIZE;
}

/** The least index below `count` for which `isAbove` holds, or `count`; `isAbove` must be false, then true. */
export function upperBound(count: number, isAbove: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (isAbove(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}
