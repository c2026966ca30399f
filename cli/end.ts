import { printable } from "../loader/identify.ts";
import { warn } from "./write.ts";

/** Longest that what a debugger's client or the network is still to be told may take, in ms. */
export const LAST_WORDS_MS = 10_000;

/**
 * What goemu does once its guest has ended. The exit status is the guest's by then: whatever goes wrong is a line on
 * standard error, and the rest is done all the same.
 */
export class Ending {
  readonly #file: string;
  readonly #warn: (line: string) => void;

  /** @param file the program, as messages name it @param print takes a line */
  constructor(file: string, print: (line: string) => void = warn) {
    this.#file = file;
    this.#warn = print;
  }

  /** Does one thing. @param what it is, as in "cannot …" */
  step<T>(what: string, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#failed(what, reasonOf(error));
      return undefined;
    }
  }

  /** Waits for one thing, but no longer than `limit` ms. @param what it is, as in "cannot …" */
  async wait(what: string, work: () => Promise<unknown> | undefined, limit = LAST_WORDS_MS): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(resolve, limit, "late");
    });
    try {
      if ((await Promise.race([work(), late])) === "late") this.#failed(what, `not done after ${limit / 1000} s`);
    } catch (error) {
      this.#failed(what, reasonOf(error));
    } finally {
      clearTimeout(timer);
    }
  }

  #failed(what: string, reason: string): void {
    this.#warn(
      `goemu: ${printable(this.#file)}: cannot ${what}: ${printable(reason)} (the exit status is the program's)`,
    );
  }
}

/** One line about an error. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.replace(/\s*\n\s*/g, "; ");
}
