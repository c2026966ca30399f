import { PAGE_SIZE } from "../layout.ts";
import { MOST_SLOTS } from "./pages.ts";

/** Slots of a buffer, unless somebody wants it otherwise: 16 MiB. */
const BUFFER_SLOTS = 4096;

/**
 * Pages that have no room in wasm memory, each in a slot: what swap space is to a kernel. Slots lie in buffers of the
 * host's, which come when they are needed and go when nothing is in them.
 */
export class Swap {
  readonly #slots: number;
  readonly #buffers: (Uint8Array | undefined)[] = [];
  /** Free slots of each buffer. */
  readonly #free: number[][] = [];
  /** Buffers, some more than once, among which are all that have free slots. */
  readonly #open: number[] = [];
  /** Slots in use. */
  pages = 0;

  /** @param slots of a buffer */
  constructor(slots = BUFFER_SLOTS) {
    this.#slots = slots;
  }

  /** Puts a page away. @returns its slot; undefined if the host has no memory for it */
  put(page: Uint8Array): number | undefined {
    while (this.#open.length > 0 && this.#free[this.#open[this.#open.length - 1]].length === 0) this.#open.pop();
    const index = this.#open[this.#open.length - 1] ?? this.#grow();
    if (index === undefined) return undefined;
    const slot = this.#free[index].pop() as number;
    this.#buffers[index]?.set(page, (slot % this.#slots) * PAGE_SIZE);
    this.pages++;
    return slot;
  }

  /** Copies a slot's page to a place, and frees the slot. */
  take(slot: number, into: Uint8Array): void {
    into.set(this.read(slot));
    this.free(slot);
  }

  /** A view of a slot's page. */
  read(slot: number): Uint8Array {
    const start = (slot % this.#slots) * PAGE_SIZE;
    return (this.#buffers[Math.floor(slot / this.#slots)] as Uint8Array).subarray(start, start + PAGE_SIZE);
  }

  free(slot: number): void {
    const index = Math.floor(slot / this.#slots);
    const free = this.#free[index];
    if (free.length === 0) this.#open.push(index);
    free.push(slot);
    this.pages--;
    if (free.length < this.#slots) return;
    this.#buffers[index] = undefined;
    this.#free[index] = [];
  }

  /** A new buffer's index; undefined if there can't be one. */
  #grow(): number | undefined {
    const unused = this.#buffers.indexOf(undefined);
    const index = unused < 0 ? this.#buffers.length : unused;
    const first = index * this.#slots;
    if (first + this.#slots > MOST_SLOTS) return undefined;
    try {
      this.#buffers[index] = new Uint8Array(this.#slots * PAGE_SIZE);
    } catch (error) {
      // That is how a host says that it has no memory left.
      if (error instanceof RangeError) return undefined;
      throw error;
    }
    this.#free[index] = Array.from({ length: this.#slots }, (_, i) => first + this.#slots - 1 - i);
    this.#open.push(index);
    return index;
  }
}
