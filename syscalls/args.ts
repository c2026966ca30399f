const TWO_32 = 2 ** 32;
/** Arguments that a system call has. */
const COUNT = 6;

/**
 * The six argument registers of a system call: RDI, RSI, RDX, R10, R8, R9 (syscall(2)). A thread has one object for all its
 * calls, one after the other: what a call that waits needs later it reads at its start.
 */
export class Args {
  /** Low and high half of each. */
  readonly #words = new Uint32Array(2 * COUNT);

  /** @param values the registers; those left out are 0 */
  constructor(values: BigUint64Array = new BigUint64Array()) {
    new BigUint64Array(this.#words.buffer).set(values);
  }

  /** Sets argument `index` to a register's halves. */
  set(index: number, low: number, high: number): void {
    this.#words[2 * index] = low;
    this.#words[2 * index + 1] = high;
  }

  u64(index: number): bigint {
    return (BigInt(this.#words[2 * index + 1]) << 32n) | BigInt(this.#words[2 * index]);
  }

  i64(index: number): bigint {
    return BigInt.asIntN(64, this.u64(index));
  }

  u32(index: number): number {
    return this.#words[2 * index];
  }

  i32(index: number): number {
    return this.#words[2 * index] | 0;
  }

  /** An address or an unsigned length. Exact below 2^53; anything above stays above every valid address. */
  address(index: number): number {
    return this.#words[2 * index + 1] * TWO_32 + this.#words[2 * index];
  }

  /** A signed 64-bit quantity (an offset) as a number. */
  offset(index: number): number {
    return (this.#words[2 * index + 1] | 0) * TWO_32 + this.#words[2 * index];
  }
}
