import type { SourceFrame } from "../../loader/symbols/table.ts";
import { PairCounts } from "./pair-counts.ts";

/** A call stack, innermost frame first, and how many instructions ran in its innermost line. */
export interface StackCount {
  readonly frames: readonly SourceFrame[];
  readonly instructions: number;
}

/** A place in the source with the calls that were inlined around it, innermost frame first. Equal ones are one object. */
export interface Site {
  /** From 0 on, in the order in which they came up. */
  readonly index: number;
  readonly frames: readonly SourceFrame[];
}

/** The sites of a program. */
export class Sites {
  readonly all: Site[] = [];
  readonly #byKey = new Map<string, Site>();
  readonly #byAddress = new Map<number, Site>();

  /** The site of the instruction at an address, whose frames are read once. */
  at(address: number, read: () => readonly SourceFrame[]): Site {
    let site = this.#byAddress.get(address);
    if (site === undefined) {
      site = this.of(read());
      this.#byAddress.set(address, site);
    }
    return site;
  }

  /** The site with these frames. */
  of(frames: readonly SourceFrame[]): Site {
    const key = frames.map(({ name, file, line }) => `${name}\0${file}\0${line}`).join("\0\0");
    let site = this.#byKey.get(key);
    if (site === undefined) {
      site = { index: this.all.length, frames };
      this.all.push(site);
      this.#byKey.set(key, site);
    }
    return site;
  }
}

/** The stack that is empty: all others hang on it. */
export const ROOT = 0;

/**
 * How many instructions ran by call stack, as a tree: a stack is a number, and consists of another stack and the site
 * inside of it. Millions of them share what they have in common. A stack has a higher number than those that it hangs on.
 */
export class Profile {
  readonly #sites: Sites;
  /** Pairs of the stack and the site; the root's is no pair that there is. */
  readonly #stacks = new PairCounts();

  constructor(sites: Sites) {
    this.#sites = sites;
    this.#stacks.indexOf(ROOT, -1);
  }

  get sites(): readonly Site[] {
    return this.#sites.all;
  }

  /** One more than the highest number of a stack. */
  get size(): number {
    return this.#stacks.size;
  }

  /** The stack with a site inside of another stack. */
  within(stack: number, site: Site): number {
    return this.#stacks.indexOf(stack, site.index);
  }

  /** Counts instructions that ran in a stack's innermost line. */
  add(stack: number, instructions: number): void {
    this.#stacks.add(stack, instructions);
  }

  /** The stack that another one hangs on; the root's is itself. */
  parentOf(stack: number): number {
    return this.#stacks.firstOf(stack);
  }

  /** The innermost site of a stack other than the root. */
  siteOf(stack: number): Site {
    return this.#sites.all[this.#stacks.secondOf(stack)];
  }

  /** Instructions that ran in a stack's innermost line. */
  instructionsIn(stack: number): number {
    return this.#stacks.countOf(stack);
  }

  get instructions(): number {
    let sum = 0;
    for (let stack = 0; stack < this.size; stack++) sum += this.instructionsIn(stack);
    return sum;
  }

  /** Each stack in full: for small profiles. */
  *stacks(): Generator<StackCount> {
    for (let stack = 0; stack < this.size; stack++) {
      const instructions = this.instructionsIn(stack);
      if (instructions === 0) continue;
      const frames: SourceFrame[] = [];
      for (let at = stack; at !== ROOT; at = this.parentOf(at)) frames.push(...this.siteOf(at).frames);
      yield { frames, instructions };
    }
  }
}

/** The nodes of a tree by what they hang on, where a node has a higher number than its parent, and the root is 0. */
export class Branches {
  readonly #first: Int32Array;
  readonly #next: Int32Array;

  constructor(size: number, parentOf: (node: number) => number) {
    this.#first = new Int32Array(size);
    this.#next = new Int32Array(size);
    // Backwards, so that children are in order.
    for (let node = size - 1; node > 0; node--) {
      const parent = parentOf(node);
      this.#next[node] = this.#first[parent];
      this.#first[parent] = node;
    }
  }

  *of(node: number): Generator<number> {
    for (let child = this.#first[node]; child !== 0; child = this.#next[child]) yield child;
  }

  /** Goes through the whole tree but for its root, parents before and after their children, without recursion. */
  walk(enter: (node: number) => void, leave: (node: number) => void): void {
    const path: number[] = [];
    for (let node = this.#first[0]; ; ) {
      while (node !== 0) {
        enter(node);
        path.push(node);
        node = this.#first[node];
      }
      const last = path.pop();
      if (last === undefined) return;
      leave(last);
      node = this.#next[last];
    }
  }
}
