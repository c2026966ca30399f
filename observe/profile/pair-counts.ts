const SMALLEST = 1024;
const TWO_32 = 2 ** 32;

/**
 * Counts by pairs of whole numbers, in typed arrays: there may be millions. Pairs are numbered from 0 on, in the order in
 * which they came up.
 */
export class PairCounts {
  /** Open addressing, at most half full: a pair's number and 1; 0 is free. */
  #slots = new Int32Array(2 * SMALLEST);
  #first = new Int32Array(SMALLEST);
  #second = new Float64Array(SMALLEST);
  #counts = new Float64Array(SMALLEST);
  #size = 0;

  /** How many pairs there are. */
  get size(): number {
    return this.#size;
  }

  /**
   * The number of a pair, which is there from then on.
   * @param first of 31 bits
   * @param second of 53 bits
   */
  indexOf(first: number, second: number): number {
    if (this.#size === this.#first.length) this.#grow();
    const mask = this.#slots.length - 1;
    for (let at = hash(first, second) & mask; ; at = (at + 1) & mask) {
      const index = this.#slots[at] - 1;
      if (index < 0) {
        this.#slots[at] = this.#size + 1;
        this.#first[this.#size] = first;
        this.#second[this.#size] = second;
        return this.#size++;
      }
      if (this.#first[index] === first && this.#second[index] === second) return index;
    }
  }

  /** Adds to the count of the pair with a number. */
  add(index: number, amount: number): void {
    this.#counts[index] += amount;
  }

  firstOf(index: number): number {
    return this.#first[index];
  }

  secondOf(index: number): number {
    return this.#second[index];
  }

  countOf(index: number): number {
    return this.#counts[index];
  }

  #grow(): void {
    const length = this.#first.length * 2;
    const [first, second, counts] = [this.#first, this.#second, this.#counts];
    this.#first = new Int32Array(length);
    this.#first.set(first);
    this.#second = new Float64Array(length);
    this.#second.set(second);
    this.#counts = new Float64Array(length);
    this.#counts.set(counts);
    this.#slots = new Int32Array(2 * length);
    const mask = this.#slots.length - 1;
    for (let index = 0; index < this.#size; index++) {
      let at = hash(first[index], second[index]) & mask;
      while (this.#slots[at] !== 0) at = (at + 1) & mask;
      this.#slots[at] = index + 1;
    }
  }
}

/** Spreads pairs over 32 bits (the last steps are MurmurHash3's finalizer). */
function hash(first: number, second: number): number {
  let mixed = Math.imul(first, 0x9e37_79b1) ^ second ^ Math.imul(second / TWO_32, 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
  return mixed ^ (mixed >>> 16);
}
