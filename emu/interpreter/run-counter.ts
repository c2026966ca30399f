import type { CodeCache } from "./code-cache.ts";
import type { Form, Handlers } from "./handlers.ts";

interface Run {
  readonly keys: readonly number[];
  times: number;
}

/** Counts which instruction forms follow each other in the blocks of programs, for handlers of sequences (fusion.ts). */
export class RunCounter {
  readonly #runs = new Map<string, Run>();
  readonly #longest: number;

  /** @param longest forms in a run that is counted, at most; two at least */
  constructor(longest: number) {
    this.#longest = longest;
  }

  /** Counts in the blocks that an interpreter without handlers of sequences has translated. */
  add(handlers: Handlers, code: CodeCache): void {
    const forms = new Map<number, Form | undefined>();
    const formAt = (slot: number): Form | undefined => {
      if (!forms.has(slot)) forms.set(slot, handlers.formAt(slot));
      return forms.get(slot);
    };
    for (const slots of code.handlerSlots()) {
      const block = slots.map(formAt);
      for (let from = 0; from < block.length; from++) {
        const keys: number[] = [];
        for (const form of block.slice(from, from + this.#longest)) {
          if (form === undefined) break;
          keys.push(form.key);
          if (keys.length > 1) this.#count(keys);
        }
      }
    }
  }

  #count(keys: readonly number[]): void {
    const name = keys.join();
    const run = this.#runs.get(name);
    if (run === undefined) this.#runs.set(name, { keys: [...keys], times: 1 });
    else run.times++;
  }

  /**
   * The most frequent runs, as numbers of their forms in `forms`. A run is at most as frequent as its beginning, which is
   * there, too, and comes first.
   */
  frequent(most: number, forms: readonly Form[]): number[][] {
    const numbers = new Map(forms.map(({ key }, i) => [key, i]));
    const known = [...this.#runs.values()].filter(({ keys }) => keys.every((key) => numbers.has(key)));
    return known
      .sort((a, b) => b.times - a.times || a.keys.length - b.keys.length)
      .slice(0, most)
      .map(({ keys }) => keys.map((key) => numbers.get(key) as number));
  }
}
