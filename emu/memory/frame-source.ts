import { PAGE_SIZE, WINDOW_END } from "../layout.ts";
import { FRAME_CHUNK } from "./frames.ts";
import type { PageMap } from "./pages.ts";
import { COMPACT } from "./placement.ts";
import { FRAMES_NAME, type VmaList } from "./vma.ts";

/** Where frames come from: pieces of the window that no mapping lies on, then of reservations that nobody has used. */
export class FrameSource {
  readonly #vmas: VmaList;
  readonly #pages: PageMap;
  readonly #most: number;
  /** Bytes that were taken for good. */
  bytes = 0;
  /** Pieces of reservations that are frames, by their addresses. */
  readonly #borrowed = new Set<number>();

  /** @param most bytes that become frames */
  constructor(vmas: VmaList, pages: PageMap, most: number) {
    this.#vmas = vmas;
    this.#pages = pages;
    this.#most = most;
  }

  /** Takes FRAME_CHUNK bytes from the window for the emulator's own use. */
  claim(): number | undefined {
    if (this.bytes + FRAME_CHUNK > this.#most) return undefined;
    const start = this.#vmas.findFree(FRAME_CHUNK, COMPACT.low, COMPACT.high);
    if (start === undefined) return undefined;
    const name = FRAMES_NAME;
    this.#vmas.insert({ start, end: start + FRAME_CHUNK, prot: 0, shared: true, backing: undefined, offset: 0, name });
    this.bytes += FRAME_CHUNK;
    return start;
  }

  /** Takes FRAME_CHUNK bytes of a reservation that nobody has used, until somebody does (vacate). */
  borrow(): number | undefined {
    if (this.bytes + this.#borrowed.size * FRAME_CHUNK + FRAME_CHUNK > this.#most) return undefined;
    for (const vma of this.#vmas.overlapping(COMPACT.low, COMPACT.high)) {
      if (vma.prot !== 0 || vma.shared || vma.backing !== undefined) continue;
      const first = Math.ceil(vma.start / FRAME_CHUNK) * FRAME_CHUNK;
      for (let at = first; at + FRAME_CHUNK <= Math.min(vma.end, COMPACT.high); at += FRAME_CHUNK) {
        if (this.#borrowed.has(at) || !this.#pages.isUnused(at / PAGE_SIZE, (at + FRAME_CHUNK) / PAGE_SIZE)) continue;
        this.#borrowed.add(at);
        return at;
      }
    }
    return undefined;
  }

  /**
   * Takes what was borrowed away from [start, end).
   * @param giveUp puts a piece out of use (Frames.giveUp)
   * @returns false if that can't be done for one
   */
  vacate(start: number, end: number, giveUp: (chunk: number) => boolean): boolean {
    if (this.#borrowed.size === 0 || start >= WINDOW_END) return true;
    for (const chunk of [...this.#borrowed]) {
      if (chunk >= end || chunk + FRAME_CHUNK <= start) continue;
      this.#borrowed.delete(chunk);
      if (giveUp(chunk)) continue;
      this.#borrowed.add(chunk);
      return false;
    }
    return true;
  }
}
