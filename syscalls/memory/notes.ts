import type { AddressSpace } from "../../emu/memory/address-space.ts";
import type { MemoryError } from "../../emu/memory/memory-error.ts";

/** Bytes as people say them: "512 MiB", "2.6 GiB". */
export function sizeText(bytes: number): string {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number.isInteger(value) || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/**
 * What goemu says about memory when the reason is its own and not the program's: each kind once, so that a program which
 * takes ENOMEM for an answer is not drowned.
 */
export class MemoryNotes {
  readonly #space: AddressSpace;
  readonly #report: (message: string) => void;
  readonly #said = new Set<string>();

  /** @param report takes a line */
  constructor(space: AddressSpace, report: (message: string) => void) {
    this.#space = space;
    this.#report = report;
    space.onSlow = (why) => this.#slow(why);
  }

  #say(kind: string, message: string): void {
    if (this.#said.has(kind)) return;
    this.#said.add(kind);
    this.#report(message);
  }

  /** A system call was refused memory. */
  refused({ refusal }: MemoryError, call: string): void {
    if (refusal === undefined) return;
    const { kind, bytes, before } = refusal;
    const what = `${call} of ${sizeText(bytes)} refused (ENOMEM)`;
    const { limit, size } = this.#space;
    if (kind === "limit") {
      this.#say(
        kind,
        `${what}: with the ${sizeText(before)} that it has, it is more than --memory ${sizeText(limit)} allows; give it more with --memory`,
      );
    } else if (kind === "machine") {
      this.#say(
        kind,
        `${what}: with the ${sizeText(before)} in use, it is more than the ${sizeText(size)} of memory that there are${this.#hint()}`,
      );
    } else this.#say(kind, `${what}: it names addresses that goemu itself uses; try the other --address-space`);
  }

  #hint(): string {
    return this.#space.limit === this.#space.size ? "; give it more with --memory" : "; run it on a machine with more";
  }

  /** A page can't be had, and so the program can't go on. */
  outOfMemory(): void {
    const { residentBytes, size } = this.#space;
    this.#say(
      "end",
      `out of memory: it uses ${sizeText(residentBytes)} of ${sizeText(size)}, and the host gives no more${this.#hint()}`,
    );
  }

  #slow(why: "outside" | "swap"): void {
    if (why === "outside")
      this.#say(
        why,
        "it uses more memory than fits into the 4 GiB that goemu is fast with: what goes beyond is slower",
      );
    else this.#say(why, "it uses more memory than fits into 4 GiB: the rest is moved to and fro, which is slow");
  }
}
