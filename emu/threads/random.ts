/** Numbers that depend on a seed alone: xorshift32 (Marsaglia, "Xorshift RNGs", 2003). Nothing that has to be secret. */
export class SeededRandom {
  #state: number;

  /** @param seed any integer; of numbers that differ by multiples of 2^32 one is as good as the other */
  constructor(seed: number) {
    // Weyl's constant spreads small seeds; a state of 0 would stay 0.
    this.#state = Math.imul(seed, 0x9e37_79b9) ^ 0x5851_f42d || 1;
  }

  /** An integer from 0 to 2^32 - 1 (0 is never drawn). */
  next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    return this.next() % limit;
  }

  /** True once in `times` on average. */
  oneIn(times: number): boolean {
    return this.next() % times === 0;
  }

  /**
   * An integer from `low` to `low` times 2^`doublings`, less one: each doubling is as likely as the others. In whole
   * numbers throughout, as powers of fractions are not the same on every host.
   */
  logarithmic(low: number, doublings: number): number {
    const from = low * 2 ** this.below(doublings);
    return from + this.below(from);
  }
}
