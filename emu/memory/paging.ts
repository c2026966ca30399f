import { inWindow, PAGE_SIZE, PERM_DIRTY, PROT_WRITE } from "../layout.ts";
import type { Frames } from "./frames.ts";
import { frameOf, OutOfFrames, type PageMap, slotOf } from "./pages.ts";
import type { PagePlaces, Sharing } from "./sharing.ts";
import { effective, freshRights, isPagedIn, type Vma } from "./vma.ts";

/** Pages of a file that are brought in together: this many bytes, aligned. */
const CLUSTER = 0x2_0000;

/** How the pages of mappings come to have contents: from files, from swap, from where they were before (Linux: mm/memory.c). */
export class Paging {
  readonly #pages: PageMap;
  readonly #frames: Frames;
  readonly #u8: Uint8Array;
  readonly #sharing: Sharing;

  constructor({ pages, frames, u8 }: PagePlaces, sharing: Sharing) {
    this.#pages = pages;
    this.#frames = frames;
    this.#u8 = u8;
    this.#sharing = sharing;
  }

  /** Is there anything on a mapped page that its mapping alone does not tell? */
  isPresent(page: number): boolean {
    if (this.#sharing.inherited.has(page / PAGE_SIZE)) return true;
    if (inWindow(page)) return (this.#pages.window(page / PAGE_SIZE) & PERM_DIRTY) !== 0;
    return this.#pages.entryOf(page) !== 0;
  }

  /** Moves the contents of a page that is present to a fresh one. @param rights what the CPU is to check there */
  move(from: number, to: number, rights: number): void {
    const pages = this.#pages;
    const entry = inWindow(from) ? 0 : pages.entryOf(from);
    if (inWindow(to)) {
      const slot = entry === 0 ? undefined : slotOf(entry);
      const at = entry === 0 ? from : frameOf(entry);
      this.#u8.set(slot === undefined ? this.#u8.subarray(at, at + PAGE_SIZE) : this.#frames.swap.read(slot), to);
      pages.markPresent(to / PAGE_SIZE, to / PAGE_SIZE + 1, rights);
      return;
    }
    if (entry === 0 && this.#frames.isShort) {
      const slot = this.#frames.swap.put(this.#u8.subarray(from, from + PAGE_SIZE));
      if (slot === undefined) throw new OutOfFrames();
      pages.setSwapped(to, slot);
      return;
    }
    const frame = entry === 0 ? this.#frames.take(to) : frameOf(entry);
    if (entry === 0) this.#u8.copyWithin(frame, from, from + PAGE_SIZE);
    else pages.clearOutside(from);
    const slot = slotOf(entry);
    if (slot !== undefined) {
      pages.setSwapped(to, slot);
      return;
    }
    this.#frames.give(frame, to);
    pages.setOutside(to, frame, rights);
  }

  /**
   * Brings a mapping's page in.
   * @returns for a page out of line its entry, otherwise 1; 0 if it lies behind its file's end
   * @throws OutOfFrames
   */
  pageIn(vma: Vma, page: number): number {
    if (this.#sharing.bringIn(vma, page)) return inWindow(page) ? 1 : this.#pages.outside(page);
    if (inWindow(page)) return this.#pageInWindow(vma, page) ? 1 : 0;
    const present = this.#pages.entryOf(page);
    const slot = slotOf(present);
    if (present !== 0 && slot === undefined) return present;
    if (slot === undefined && isPagedIn(vma)) return this.#readOutside(vma, page);
    const frame = this.#frames.take(page);
    // What may have been stored to before it went into swap counts as stored to.
    if (slot !== undefined) this.#frames.swap.take(slot, this.#u8.subarray(frame, frame + PAGE_SIZE));
    this.#enter(page, frame, effective(vma.prot));
    return this.#pages.outside(page);
  }

  #enter(page: number, frame: number, rights: number): void {
    this.#pages.enter(page, frame, this.#sharing.rightsOf(page / PAGE_SIZE, rights), this.#frames);
  }

  /** Reads a page outside the window from its file, and those behind it: reading many costs hardly more than one. */
  #readOutside(vma: Vma, page: number): number {
    let end = page + PAGE_SIZE;
    const until = this.#frames.isShort ? end : Math.min(Math.floor(page / CLUSTER) * CLUSTER + CLUSTER, vma.end);
    const { inherited } = this.#sharing;
    while (end < until && this.#pages.entryOf(end) === 0 && !inherited.has(end / PAGE_SIZE)) end += PAGE_SIZE;
    const bytes = new Uint8Array(end - page);
    const count = this.#readFile(vma, page, bytes);
    for (let done = 0; done < count; done += PAGE_SIZE) {
      if (done > 0 && this.#frames.isShort) break;
      const frame = this.#frames.take(page + done);
      this.#u8.set(bytes.subarray(done, done + PAGE_SIZE), frame);
      this.#enter(page + done, frame, freshRights(vma));
    }
    return this.#pages.outside(page);
  }

  /** May a page of a shared file mapping hold what its file does not? */
  isStoredTo(page: number): boolean {
    if (inWindow(page)) return (this.#pages.window(page / PAGE_SIZE) & PROT_WRITE) !== 0;
    const entry = this.#pages.entryOf(page);
    return slotOf(entry) !== undefined || (entry & PROT_WRITE) !== 0;
  }

  /** Brings an absent page of the window in, and those around it: reading a page costs hardly less than reading many. */
  #pageInWindow(vma: Vma, page: number): boolean {
    const cluster = Math.floor(page / CLUSTER) * CLUSTER;
    const from = Math.max(cluster, vma.start);
    const until = Math.min(cluster + CLUSTER, vma.end);
    const { inherited } = this.#sharing;
    let { first, last } = this.#pages.absentAround(page / PAGE_SIZE, from / PAGE_SIZE, until / PAGE_SIZE);
    if (first === last) return true;
    // What is absent since it is a parent's is not what the file has.
    for (const other of inherited.within(first, last)) {
      if (other < page / PAGE_SIZE) first = other + 1;
      else last = Math.min(last, other);
    }
    const start = first * PAGE_SIZE;
    const count = this.#readFile(vma, start, this.#u8.subarray(start, last * PAGE_SIZE));
    // Pages wholly behind the end of the file stay absent.
    const end = start + Math.ceil(count / PAGE_SIZE) * PAGE_SIZE;
    this.#pages.markPresent(first, end / PAGE_SIZE, freshRights(vma));
    return page < end;
  }

  /** Reads what a mapping's file has for `address`; returns how many bytes there were. */
  #readFile(vma: Vma, address: number, into: Uint8Array): number {
    const offset = vma.offset + (address - vma.start);
    let done = 0;
    while (done < into.length) {
      const count = vma.backing?.read?.(into.subarray(done), offset + done) ?? 0;
      if (count <= 0) break;
      done += count;
    }
    return done;
  }
}
