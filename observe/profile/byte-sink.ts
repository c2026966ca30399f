/** Bytes that are gathered, with the number encoding of protocol buffers (protobuf.dev, Encoding). */
export class ByteSink {
  #buffer: Uint8Array = new Uint8Array(1 << 12);
  length = 0;

  /** What is there: good until more is written. */
  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#buffer.length, this.length + count));
    grown.set(this.bytes);
    this.#buffer = grown;
  }

  /** A whole number of up to 53 bits, 7 bits a byte from the lowest on. */
  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#buffer[this.length++] = (rest % 0x80) | 0x80;
    this.#buffer[this.length++] = rest;
  }

  write(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.length);
    this.length += bytes.length;
  }
}
