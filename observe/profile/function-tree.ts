import { PairCounts } from "./pair-counts.ts";
import { Branches, type Profile, ROOT } from "./profile.ts";

/** A profile by functions alone: lines are put together. The root is node 0, parents come before their children. */
export class FunctionTree {
  readonly #names: string[];
  /** Pairs of the parent and the name's number in `#names`. */
  readonly #nodes = new PairCounts();
  readonly #totals: Float64Array;
  readonly #branches: Branches;

  constructor(profile: Profile) {
    const numbers = new Map<string, number>();
    const numberOf = (name: string): number => {
      const number = numbers.get(name) ?? numbers.size;
      if (number === numbers.size) numbers.set(name, number);
      return number;
    };
    /** By site, the outermost function first. */
    const sites = profile.sites.map(({ frames }) => frames.map(({ name }) => numberOf(name)).toReversed());
    const nodeOf = new Int32Array(profile.size);
    this.#nodes.indexOf(ROOT, -1);
    for (let stack = 1; stack < profile.size; stack++) {
      let node = nodeOf[profile.parentOf(stack)];
      for (const name of sites[profile.siteOf(stack).index]) node = this.#nodes.indexOf(node, name);
      nodeOf[stack] = node;
      this.#nodes.add(node, profile.instructionsIn(stack));
    }
    this.#names = [...numbers.keys()];
    const { size } = this.#nodes;
    this.#totals = new Float64Array(size);
    for (let node = size - 1; node >= 0; node--) {
      this.#totals[node] += this.instructionsIn(node);
      if (node !== ROOT) this.#totals[this.#nodes.firstOf(node)] += this.#totals[node];
    }
    this.#branches = new Branches(size, (node) => this.#nodes.firstOf(node));
  }

  nameOf(node: number): string {
    return this.#names[this.#nodes.secondOf(node)];
  }

  /** Instructions of the function itself, called this way. */
  instructionsIn(node: number): number {
    return this.#nodes.countOf(node);
  }

  /** The same with all that it called. */
  totalOf(node: number): number {
    return this.#totals[node];
  }

  /** The functions that it called, by name. */
  calleesOf(node: number): number[] {
    return [...this.#branches.of(node)].sort((a, b) => (this.nameOf(a) < this.nameOf(b) ? -1 : 1));
  }
}
