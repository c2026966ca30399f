import type { SeededRandom } from "./random.ts";

/** How often the second in line goes before the first: once in so many times. */
const OVERTAKING = 4;

/** A line in which one may go before another, at most once: nobody is overtaken twice. */
class Line<T> {
  #items: T[] = [];
  #head = 0;
  /** The first in line has been overtaken. */
  #overtaken = false;

  get size(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(random: SeededRandom): T | undefined {
    if (this.size === 0) return undefined;
    const first = this.#items[this.#head++];
    let taken = first;
    if (this.size > 0 && !this.#overtaken && random.oneIn(OVERTAKING)) {
      taken = this.#items[this.#head];
      this.#items[this.#head] = first;
      this.#overtaken = true;
    } else this.#overtaken = false;
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
    return taken;
  }

  /** Takes an item out; returns whether it was there. */
  remove(item: T): boolean {
    const at = this.#items.indexOf(item, this.#head);
    if (at < 0) return false;
    if (at === this.#head) this.#overtaken = false;
    this.#items.splice(at, 1);
    return true;
  }
}

/**
 * Who runs next. Threads that have been woken, or were interrupted within their turn, come before those that have used
 * theirs up: who waits for input, a timer or a lock has little to do, and others wait for it. But that goes for so many
 * instructions only, then one of the others has a turn. So a thread that is in the queue runs within a number of
 * instructions that depends on nothing but how many there are.
 */
export class RunQueue<T> {
  readonly #preferred: T[] = [];
  readonly #fresh = new Line<T>();
  readonly #spent = new Line<T>();
  readonly #random: SeededRandom;
  readonly #mostAhead: number;
  /** What fresh threads have run since a spent one had a turn, in instructions. */
  #ahead = 0;
  #fromFresh = false;

  /** @param mostAhead instructions that fresh threads may run, together, before a spent one has a turn */
  constructor(random: SeededRandom, mostAhead: number) {
    this.#random = random;
    this.#mostAhead = mostAhead;
  }

  get size(): number {
    return this.#preferred.length + this.#fresh.size + this.#spent.size;
  }

  /** A thread that has been woken, or has not had all of its turn. */
  pushFresh(thread: T): void {
    this.#fresh.push(thread);
  }

  /** A thread whose turn is over, or that has given it up. */
  pushSpent(thread: T): void {
    this.#spent.push(thread);
  }

  /** Whose turn it is; undefined if nobody is there. */
  take(): T | undefined {
    this.#fromFresh = false;
    if (this.#preferred.length > 0) return this.#preferred.shift();
    this.#fromFresh = this.#fresh.size > 0 && (this.#spent.size === 0 || this.#ahead < this.#mostAhead);
    if (this.#fromFresh) return this.#fresh.shift(this.#random);
    this.#ahead = 0;
    return this.#spent.shift(this.#random);
  }

  /** The thread that was taken last has run. */
  ran(instructions: number): void {
    if (this.#fromFresh) this.#ahead += instructions;
  }

  /** Moves a thread that waits for its turn before all others. */
  prefer(thread: T): void {
    if (this.#fresh.remove(thread) || this.#spent.remove(thread)) this.#preferred.unshift(thread);
  }
}
