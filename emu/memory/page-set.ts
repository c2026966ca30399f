/** Page numbers of a piece, as a power of two: 4,096, as one table of the radix tree has (pages.ts). */
const PIECE_SHIFT = 12;
export const PIECE_PAGES = 1 << PIECE_SHIFT;
const WORDS = PIECE_PAGES / 32;

/** A set of page numbers below 2^36, which tend to come in runs: bitmaps of 4,096 pages each, where there are any. */
export class PageSet {
  readonly #pieces = new Map<number, Int32Array>();
  /** Pages in it. */
  size = 0;

  has(page: number): boolean {
    if (this.size === 0) return false;
    const piece = this.#pieces.get(Math.floor(page / PIECE_PAGES));
    if (piece === undefined) return false;
    const at = page % PIECE_PAGES;
    return (piece[at >>> 5] & (1 << (at & 31))) !== 0;
  }

  add(page: number): void {
    const piece = this.#piece(page);
    const at = page % PIECE_PAGES;
    const bit = 1 << (at & 31);
    if (piece[at >>> 5] & bit) return;
    piece[at >>> 5] |= bit;
    this.size++;
  }

  /**
   * The bitmap of the 4,096 pages from a multiple of 4,096 on, made if there is none, 32 pages a word. Who sets bits says so
   * (`grew`).
   */
  bitmap(first: number): Int32Array {
    return this.#piece(first);
  }

  /** So many bits were set in bitmaps. */
  grew(pages: number): void {
    this.size += pages;
  }

  /** The bitmaps that have a page of [first, last), by their first pages, in order. */
  bitmaps(first: number, last: number): [number, Int32Array][] {
    return this.#near(first, last).map(([number, piece]) => [number * PIECE_PAGES, piece]);
  }

  /** Takes a page out; says whether it was there. */
  delete(page: number): boolean {
    if (this.size === 0) return false;
    const piece = this.#pieces.get(Math.floor(page / PIECE_PAGES));
    const at = page % PIECE_PAGES;
    const bit = 1 << (at & 31);
    if (piece === undefined || !(piece[at >>> 5] & bit)) return false;
    piece[at >>> 5] &= ~bit;
    this.size--;
    return true;
  }

  clear(): void {
    this.#pieces.clear();
    this.size = 0;
  }

  /** The pages of [first, last), in order. It may change meanwhile. */
  *within(first: number, last: number): Iterable<number> {
    for (const [number, piece] of this.#near(first, last)) {
      const start = number * PIECE_PAGES;
      const until = Math.min(last - start, PIECE_PAGES);
      for (let at = Math.max(first - start, 0); at < until; at++) {
        const word = piece[at >>> 5] >>> (at & 31);
        if (word === 0) at |= 31;
        else if (word & 1) yield start + at;
      }
    }
  }

  /** How many of the pages [first, last) are in it. */
  count(first: number, last: number): number {
    let count = 0;
    for (const [number, piece] of this.#near(first, last)) {
      const start = number * PIECE_PAGES;
      if (start >= first && start + PIECE_PAGES <= last) for (const word of piece) count += ones(word);
      else for (const _ of this.within(Math.max(first, start), Math.min(last, start + PIECE_PAGES))) count++;
    }
    return count;
  }

  /** The pieces that have a page of [first, last), in order. */
  #near(first: number, last: number): [number, Int32Array][] {
    if (this.size === 0 || last <= first) return [];
    const [from, until] = [Math.floor(first / PIECE_PAGES), Math.ceil(last / PIECE_PAGES)];
    if (until - from > this.#pieces.size) {
      return [...this.#pieces].filter(([number]) => number >= from && number < until).sort(([a], [b]) => a - b);
    }
    const found: [number, Int32Array][] = [];
    for (let number = from; number < until; number++) {
      const piece = this.#pieces.get(number);
      if (piece !== undefined) found.push([number, piece]);
    }
    return found;
  }

  #piece(page: number): Int32Array {
    const number = Math.floor(page / PIECE_PAGES);
    let piece = this.#pieces.get(number);
    if (piece === undefined) {
      piece = new Int32Array(WORDS);
      this.#pieces.set(number, piece);
    }
    return piece;
  }
}

/** Bits that are 1 in a word (Warren, "Hacker's Delight", 5-1). */
export function ones(word: number): number {
  let count = word - ((word >>> 1) & 0x5555_5555);
  count = (count & 0x3333_3333) + ((count >>> 2) & 0x3333_3333);
  return Math.imul((count + (count >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
