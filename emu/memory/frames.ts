import { PAGE_SIZE, PERM_CODE, WINDOW_END } from "../layout.ts";
import { OutOfFrames, type PageMap } from "./pages.ts";
import { Swap } from "./swap.ts";

/** Frames come from the window in pieces of this many bytes. */
export const FRAME_CHUNK = 0x40_0000;
const CHUNK_FRAMES = FRAME_CHUNK / PAGE_SIZE;

/** Frames that are free whenever guest code or a system call begins, so that it gets to its end with them. */
const RESERVE = 8192;
/** So many are left to what a system call does beside moving the guest's bytes. */
const LAST = 64;

/**
 * Where pages outside the window are kept: frames, pages of wasm memory that no mapping lies on. When there are no more,
 * pages that came in long ago are put into swap, and come back when they are used.
 *
 * That happens only in makeRoom: translated code and system calls keep places in wasm memory while they run, so that no
 * frame may change hands under them.
 */
export class Frames {
  readonly swap = new Swap();
  /** Called when the first page goes into swap. */
  onSwap: () => void = () => {};
  /** May more pages be kept? Asked before a page goes into swap. */
  maySwap: () => boolean = () => true;
  readonly #pages: PageMap;
  readonly #u8: Uint8Array;
  readonly #claim: () => number | undefined;
  readonly #isHeld: (page: number) => boolean;
  /** Called before a page, by its number, gets another frame: whoever made something of its bytes forgets it. */
  onMove: (page: number) => void = () => {};
  #chunks: number[] = [];
  #free: number[] = [];
  /** Address of the page in each frame, by the frame's number; 0 for none. */
  #owners = new Float64Array(0);
  #isFull = false;
  #hand = 0;

  /**
   * @param claim takes FRAME_CHUNK bytes of the window that are zero for good, and returns where; undefined if it can't
   * @param isHeld does a page, by its number, have to keep its frame?
   */
  constructor(pages: PageMap, u8: Uint8Array, claim: () => number | undefined, isHeld: (page: number) => boolean) {
    this.#pages = pages;
    this.#u8 = u8;
    this.#claim = claim;
    this.#isHeld = isHeld;
  }

  /** Pages that are in frames. */
  get used(): number {
    return this.#chunks.length * CHUNK_FRAMES - this.#free.length;
  }

  /** Are there but a few frames left until makeRoom? */
  get isShort(): boolean {
    return this.#isFull && this.#free.length < Math.min(LAST, (this.#chunks.length * CHUNK_FRAMES) / 8);
  }

  /**
   * A zeroed frame for the page at an address.
   * @throws OutOfFrames
   */
  take(address: number): number {
    if (this.#free.length === 0 && !this.#grow()) throw new OutOfFrames();
    const frame = this.#free.pop() as number;
    this.#owners[frame / PAGE_SIZE] = address;
    return frame;
  }

  /** Gives a frame back, whatever is in it. */
  free(frame: number): void {
    this.#u8.fill(0, frame, frame + PAGE_SIZE);
    this.#owners[frame / PAGE_SIZE] = 0;
    this.#free.push(frame);
  }

  /** The frame is another page's from now on. */
  give(frame: number, address: number): void {
    this.#owners[frame / PAGE_SIZE] = address;
  }

  #grow(): boolean {
    const start = this.#claim();
    this.#isFull = start === undefined;
    if (start === undefined) return false;
    if (this.#chunks.length === 0) this.#owners = new Float64Array(WINDOW_END / PAGE_SIZE);
    this.#chunks.push(start);
    for (let at = start + FRAME_CHUNK - PAGE_SIZE; at >= start; at -= PAGE_SIZE) this.#free.push(at);
    return true;
  }

  /**
   * Takes a claimed piece out of use: its pages get other frames, or go into swap, and its bytes are zero.
   * @returns false if there is no room for them; then it stays in use
   */
  giveUp(chunk: number): boolean {
    const isElsewhere = (frame: number): boolean => frame < chunk || frame >= chunk + FRAME_CHUNK;
    this.#free = this.#free.filter(isElsewhere);
    const left: number[] = [];
    let isDone = true;
    for (let frame = chunk; frame < chunk + FRAME_CHUNK; frame += PAGE_SIZE) {
      const address = this.#owners[frame / PAGE_SIZE];
      if (address !== 0 && !this.#leave(frame, address)) isDone = false;
      else left.push(frame);
    }
    if (isDone) this.#chunks = this.#chunks.filter((start) => start !== chunk);
    else this.#free.push(...left);
    this.#isFull = true;
    return isDone;
  }

  /** Gives the page at `address` another frame than its own, or puts it into swap. */
  #leave(frame: number, address: number): boolean {
    this.onMove(address / PAGE_SIZE);
    const to = this.#free.pop();
    if (to === undefined) {
      if (this.#isHeld(address / PAGE_SIZE) || !this.#evict(frame, address)) return false;
      this.#free.pop();
      return true;
    }
    const entry = this.#pages.outside(address);
    this.#u8.copyWithin(to, frame, frame + PAGE_SIZE);
    this.#u8.fill(0, frame, frame + PAGE_SIZE);
    this.#owners[to / PAGE_SIZE] = address;
    this.#owners[frame / PAGE_SIZE] = 0;
    this.#pages.setOutside(address, to, entry % PAGE_SIZE);
    return true;
  }

  /** Sees to it that there are free frames, putting pages into swap. Nobody may hold on to a place in a frame. */
  makeRoom(): void {
    const all = this.#chunks.length * CHUNK_FRAMES;
    const reserve = Math.min(RESERVE, all / 2);
    if (all === 0 || this.#free.length >= reserve / 2 || this.#grow()) return;
    if (this.swap.pages === 0) this.onSwap();
    for (let looked = 0; looked < all && this.#free.length < reserve; looked++) {
      this.#hand = (this.#hand + 1) % all;
      const frame = this.#chunks[Math.floor(this.#hand / CHUNK_FRAMES)] + (this.#hand % CHUNK_FRAMES) * PAGE_SIZE;
      const address = this.#owners[frame / PAGE_SIZE];
      const stays = address === 0 || this.#pages.outside(address) & PERM_CODE || this.#isHeld(address / PAGE_SIZE);
      if (!stays && !this.#evict(frame, address)) return;
    }
  }

  /** Puts a page into swap. @returns false if swap takes nothing any more */
  #evict(frame: number, address: number): boolean {
    const slot = this.maySwap() ? this.swap.put(this.#u8.subarray(frame, frame + PAGE_SIZE)) : undefined;
    if (slot === undefined) return false;
    this.#pages.setSwapped(address, slot);
    this.free(frame);
    return true;
  }
}
