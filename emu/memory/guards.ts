import { PAGE_SIZE } from "../layout.ts";
import type { AddressSpace } from "./address-space.ts";
import { allows } from "./vma.ts";

/** Pages whose accesses take the slow path, where Interpreter.watch sees them: what debuggers want to know of. */
export class Guards {
  readonly #space: AddressSpace;
  /** Pages without PROT_READ in the page map so that reads are seen. */
  readonly #hidden = new Set<number>();

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  /**
   * Makes accesses to the page of `address` slow: writes, or reads and writes. Changes of protection and code on the page
   * undo it, so it is to be repeated before guest code runs.
   */
  add(address: number, reads: boolean): void {
    const { pages, vmas } = this.#space;
    const page = Math.floor(address / PAGE_SIZE);
    if (vmas.at(address) === undefined) return;
    this.#space.pageIn(address);
    // Stores to a page with translated code are never plain.
    pages.markCodeAt(page * PAGE_SIZE, true);
    if (!reads) return;
    this.#hidden.add(page);
    pages.hideReads(page * PAGE_SIZE);
  }

  /** Takes all guards away: accesses are plain again. */
  clear(): void {
    for (const page of this.#hidden) {
      if (this.#space.vmas.at(page * PAGE_SIZE) === undefined) continue;
      this.#space.onCodeChange(page);
      this.#space.restoreRights(page * PAGE_SIZE, page * PAGE_SIZE + PAGE_SIZE);
    }
    this.#hidden.clear();
  }

  /** Does a page, by its number, have to stay where it is? */
  isHeld(page: number): boolean {
    return this.#hidden.has(page);
  }

  /** Is an access allowed that the page map refuses because the page is guarded? */
  allows(address: number, need: number): boolean {
    if (!this.#hidden.has(Math.floor(address / PAGE_SIZE))) return false;
    return allows(this.#space.vmas.at(address)?.prot ?? 0, need);
  }
}
