/** Makes the error that a reader throws when a read falls outside its bytes. */
export type ReadFailure = (message: string) => Error;

const utf8 = new TextDecoder("utf-8");

/**
 * Bounds-checked little-endian reads over a byte array. Every read outside the bytes throws the error that `fail`
 * makes, so that a damaged file ends in one typed error whatever field is damaged.
 */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  readonly #fail: ReadFailure;

  /** `what` names the bytes in the error message, for instance "section table". */
  constructor(bytes: Uint8Array, what: string, fail: ReadFailure) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.#fail = fail;
  }

  get length(): number {
    return this.bytes.length;
  }

  /** Throws unless `size` bytes at `offset` are there. */
  check(offset: number, size: number): void {
    if (!(offset >= 0 && size >= 0 && offset + size <= this.bytes.length)) {
      throw this.#fail(`${this.#what}: ${size} bytes at offset ${offset} lie outside its ${this.bytes.length} bytes`);
    }
  }

  u8(offset: number): number {
    this.check(offset, 1);
    return this.bytes[offset];
  }

  u16(offset: number): number {
    this.check(offset, 2);
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    this.check(offset, 4);
    return this.#view.getUint32(offset, true);
  }

  i16(offset: number): number {
    this.check(offset, 2);
    return this.#view.getInt16(offset, true);
  }

  i32(offset: number): number {
    this.check(offset, 4);
    return this.#view.getInt32(offset, true);
  }

  /** An unsigned 64-bit value as a number: exact below 2^53, which is all that a 47-bit address space needs. */
  u64(offset: number): number {
    this.check(offset, 8);
    return this.#view.getUint32(offset, true) + this.#view.getUint32(offset + 4, true) * 0x1_0000_0000;
  }

  /** A signed 64-bit value as a number: exact for magnitudes below 2^53. */
  i64(offset: number): number {
    this.check(offset, 8);
    return this.#view.getUint32(offset, true) + this.#view.getInt32(offset + 4, true) * 0x1_0000_0000;
  }

  slice(offset: number, size: number): Uint8Array {
    this.check(offset, size);
    return this.bytes.subarray(offset, offset + size);
  }

  /** The UTF-8 string from `offset` to its NUL byte, which must come within `limit` bytes. */
  cstring(offset: number, limit = 65_536): string {
    this.check(offset, 1);
    const end = this.bytes.subarray(offset, offset + limit).indexOf(0);
    if (end < 0) {
      throw this.#fail(`${this.#what}: no end of the string at offset ${offset}`);
    }
    return utf8.decode(this.bytes.subarray(offset, offset + end));
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
