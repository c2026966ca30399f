import type { ValType } from "../wasm/expr.ts";

/**
 * Locals that are used again: V8's baseline compiler clears each one at entry, and its frame has room for each. A local
 * that an instruction took is free after it, unless something that was learnt there is still about it.
 */
export class LocalPool {
  readonly #free = new Map<ValType, number[]>();
  /** Taken since the last `reclaim`, and before. */
  #fresh: { type: ValType; index: number }[] = [];
  #taken: { type: ValType; index: number }[] = [];
  /** How many parts of the code under construction need a local to keep its value, whatever they know. */
  readonly #held = new Map<number, number>();

  /** A free local, or one from `make`. */
  take(type: ValType, make: (type: ValType) => number): number {
    const index = this.#free.get(type)?.pop() ?? make(type);
    this.#fresh.push({ type, index });
    return index;
  }

  #give({ type, index }: { type: ValType; index: number }): void {
    const list = this.#free.get(type);
    if (list === undefined) this.#free.set(type, [index]);
    else list.push(index);
  }

  /** Was something taken since the last `reclaim`? */
  get hasFresh(): boolean {
    return this.#fresh.length > 0;
  }

  /** Takes back what was taken since the last time and is not needed. */
  reclaim(isNeeded: (index: number) => boolean): void {
    for (const local of this.#fresh) {
      if (isNeeded(local.index)) this.#taken.push(local);
      else this.#give(local);
    }
    this.#fresh = [];
  }

  /** Goes on at a point of the code where just these locals are in use, whatever another path has done to them. */
  reserve(needed: ReadonlySet<number>): void {
    const kept: { type: ValType; index: number }[] = [];
    for (const list of [this.#fresh, this.#taken]) {
      for (const local of list) {
        if (needed.has(local.index) || this.#held.has(local.index)) kept.push(local);
        else this.#give(local);
      }
    }
    this.#fresh = [];
    this.#taken = kept;
    for (const [type, list] of this.#free) {
      const rest: number[] = [];
      for (const index of list) {
        if (needed.has(index)) this.#taken.push({ type, index });
        else rest.push(index);
      }
      if (rest.length < list.length) this.#free.set(type, rest);
    }
  }

  /** Keeps locals from being reused until `release`, in all code written meanwhile. */
  hold(locals: Iterable<number>): void {
    for (const index of locals) this.#held.set(index, (this.#held.get(index) ?? 0) + 1);
  }

  release(locals: Iterable<number>): void {
    for (const index of locals) {
      const count = (this.#held.get(index) ?? 0) - 1;
      if (count > 0) this.#held.set(index, count);
      else this.#held.delete(index);
    }
  }
}
