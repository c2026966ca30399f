/** A growing byte buffer with the number encodings of the WebAssembly binary format (core spec, 5.2). */
export class Bytes {
  #buffer: Uint8Array;
  #view: DataView;
  length = 0;
  /** The last `local.set`, as long as nothing follows it: where it starts and ends, and its local. */
  #setStart = -1;
  #setEnd = -1;
  #setIndex = -1;

  /** @param capacity bytes that are expected: more cost a copy */
  constructor(capacity = 256) {
    this.#buffer = new Uint8Array(capacity);
    this.#view = new DataView(this.#buffer.buffer);
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(this.#buffer.length * 2, this.length + count));
    grown.set(this.#buffer);
    this.#buffer = grown;
    this.#view = new DataView(grown.buffer);
  }

  byte(value: number): void {
    if (this.length === this.#buffer.length) this.#reserve(1);
    this.#buffer[this.length++] = value;
  }

  /** Writes a number over one that has as many bytes (`patchNumber`). */
  patch(at: number, size: number, value: number): void {
    patchNumber(this.#buffer, at, size, value);
  }

  /** Unsigned LEB128, up to 32 bits. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.byte(rest);
  }

  /** Signed LEB128 of a 32-bit value. */
  s32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const low = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && !(low & 0x40)) || (rest === -1 && low & 0x40)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** Signed LEB128 of a 64-bit value. */
  s64(value: bigint): void {
    if (value >= -0x8000_0000n && value <= 0x7fff_ffffn) {
      this.s32(Number(value));
      return;
    }
    let rest = BigInt.asIntN(64, value);
    for (;;) {
      const low = Number(rest & 0x7fn);
      rest >>= 7n;
      if ((rest === 0n && !(low & 0x40)) || (rest === -1n && low & 0x40)) {
        this.byte(low);
        return;
      }
      this.byte(low | 0x80);
    }
  }

  /** `local.get`; right behind a `local.set` of the same local the two become a `local.tee`. */
  localGet(index: number): void {
    if (this.#setEnd === this.length && this.#setIndex === index) {
      this.#buffer[this.#setStart] = 0x22;
      this.#setEnd = -1;
      return;
    }
    this.byte(0x20);
    this.u32(index);
  }

  localSet(index: number): void {
    this.#setStart = this.length;
    this.byte(0x21);
    this.u32(index);
    this.#setEnd = this.length;
    this.#setIndex = index;
  }

  f32(value: number): void {
    this.#reserve(4);
    this.#view.setFloat32(this.length, value, true);
    this.length += 4;
  }

  f64(value: number): void {
    this.#reserve(8);
    this.#view.setFloat64(this.length, value, true);
    this.length += 8;
  }

  bytes(values: Uint8Array): void {
    this.#reserve(values.length);
    this.#buffer.set(values, this.length);
    this.length += values.length;
  }

  /** A name: its length, then its UTF-8 (ASCII here). */
  name(text: string): void {
    this.u32(text.length);
    for (let i = 0; i < text.length; i++) this.byte(text.charCodeAt(i));
  }

  /** A view of what was written; valid until the next write. */
  view(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }
}

/**
 * Writes signed LEB128 of a given size, or unsigned of a value that leaves the last byte's sign bit clear: what is to be
 * put in when more is known has as many bytes as it may need.
 */
export function patchNumber(bytes: Uint8Array, at: number, size: number, value: number): void {
  const limit = 2 ** (7 * size - 1);
  if (!(value >= -limit && value < limit)) throw new RangeError(`${value} does not fit ${size} bytes`);
  for (let i = 0; i < size; i++) bytes[at + i] = ((value >> (7 * i)) & 0x7f) | (i < size - 1 ? 0x80 : 0);
}
