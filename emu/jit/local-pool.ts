import type { ValType } from "../wasm/expr.ts";

/**
 * Locals that are used again: V8's baseline compiler clears each one at entry, and its frame has room for each. A local
 * that an instruction took is free after it, unless something that was learnt there is still about it.
 */
export class LocalPool {
  readonly #free = new Map<ValType, number[]>();
  #taken: { type: ValType; index: number }[] = [];
  /** How many parts of the code under construction need a local to keep its value, whatever they know. */
  readonly #held = new Map<number, number>();

  /** A free local, or one from `make`. */
  take(type: ValType, make: (type: ValType) => number): number {
    const index = this.#free.get(type)?.pop() ?? make(type);
    this.#taken.push({ type, index });
    return index;
  }

  /** Takes back what is not needed. */
  reclaim(needed: ReadonlySet<number>): void {
    const kept: { type: ValType; index: number }[] = [];
    for (const local of this.#taken) {
      if (needed.has(local.index) || this.#held.has(local.index)) kept.push(local);
      else {
        const list = this.#free.get(local.type);
        if (list === undefined) this.#free.set(local.type, [local.index]);
        else list.push(local.index);
      }
    }
    this.#taken = kept;
  }

  /** Back to a point of the code where these locals were in use: another path may have given them back. */
  reserve(needed: ReadonlySet<number>): void {
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
