/** Bytes that are no WebAssembly, or WebAssembly that is not read here. */
export class WasmFormatError extends Error {
  override name = "WasmFormatError";
}

/** Reads the number encodings of the WebAssembly binary format (core spec, 5.2); the counterpart of Bytes. */
export class Reader {
  readonly #bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get isDone(): boolean {
    return this.at >= this.end;
  }

  /** Moves on. @returns where it was */
  #take(count: number): number {
    const at = this.at;
    if (count > this.end - at) throw new WasmFormatError(`cut off at byte ${this.end}`);
    this.at += count;
    return at;
  }

  byte(): number {
    return this.#bytes[this.#take(1)];
  }

  /** Unsigned LEB128, up to 32 bits. */
  u32(): number {
    return Number(BigInt.asUintN(32, this.#leb(32).value));
  }

  /** Signed LEB128 of `bits` bits, 64 at most. */
  signed(bits: number): bigint {
    const { value, width } = this.#leb(bits);
    return BigInt.asIntN(Math.min(width, bits), value);
  }

  #leb(bits: number): { value: bigint; width: number } {
    let value = 0n;
    for (let width = 0; width < bits; ) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << BigInt(width);
      width += 7;
      if (byte < 0x80) return { value, width };
    }
    throw new WasmFormatError(`a number that is too long before byte ${this.at}`);
  }

  bytes(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  /** A name: its length, then its UTF-8. */
  name(): string {
    return new TextDecoder().decode(this.bytes(this.u32()));
  }

  /** A reader of the next `count` bytes, over which this one moves on. */
  part(count: number): Reader {
    const at = this.#take(count);
    return new Reader(this.#bytes, at, at + count);
  }

  /** A vector: its length, then its elements. */
  vector<T>(read: (reader: Reader) => T): T[] {
    const count = this.u32();
    // Elements take a byte at least: a length that promises more is not believed.
    if (count > this.end - this.at) throw new WasmFormatError(`cut off at byte ${this.end}`);
    return Array.from({ length: count }, () => read(this));
  }
}
