/** The six argument registers of a system call: RDI, RSI, RDX, R10, R8, R9 (syscall(2)). */
export class Args {
  readonly #values: BigUint64Array;

  constructor(values: BigUint64Array) {
    this.#values = values;
  }

  u64(index: number): bigint {
    return this.#values[index];
  }

  i64(index: number): bigint {
    return BigInt.asIntN(64, this.#values[index]);
  }

  u32(index: number): number {
    return Number(this.#values[index] & 0xffff_ffffn);
  }

  i32(index: number): number {
    return this.u32(index) | 0;
  }

  /** An address or an unsigned length. Exact below 2^53; anything above stays above every valid address. */
  address(index: number): number {
    return Number(this.#values[index]);
  }

  /** A signed 64-bit quantity (an offset) as a number. */
  offset(index: number): number {
    return Number(this.i64(index));
  }
}
