/** Numbers from a seed, the same every time: xorshift32 (Marsaglia 2003). */
export class Random {
  #state: number;

  /** @param seed any number; 0 counts as 1 */
  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  /** An integer from 0 to `limit` - 1; `limit` at most 2^32. */
  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }
}
