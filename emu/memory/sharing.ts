import { inWindow, PAGE_SIZE, PROT_WRITE } from "../layout.ts";
import type { Frames } from "./frames.ts";
import { PageSet } from "./page-set.ts";
import { frameOf, OutOfFrames, type PageMap, parts, slotOf } from "./pages.ts";
import { Swap } from "./swap.ts";
import { effective, FRAMES_NAME, isPagedIn, type Vma, type VmaList } from "./vma.ts";

/** Bytes that come from a parent together, aligned: what lies near a page is often used with it. */
const CLUSTER = 0x8000;
/** Pages that are copied at once when a process ends whose children still look at them; with more it is kept. */
const COPIED_AT_END = 4096;
/** Slots of a buffer of pages that have been saved: 256 KiB. */
const BUFFER_SLOTS = 64;

/** What an address space keeps its pages in. */
export interface PagePlaces {
  readonly pages: PageMap;
  readonly frames: Frames;
  readonly u8: Uint8Array;
  readonly vmas: VmaList;
}

/** A parent's pages as they were when a child was made. */
class Snapshot {
  readonly base: Sharing;
  readonly child: Sharing;
  /** Pages that have changed since, before the next snapshot was made, by slot. */
  readonly saved = new Map<number, number>();

  constructor(base: Sharing, child: Sharing) {
    this.base = base;
    this.child = child;
  }
}

/**
 * What an address space has in common with its children and its parent (fork(2)). Two wasm memories can't have a page in
 * common, so each page is in the parent's memory at first, where the child gets it when it first accesses it (`inherited`:
 * the page is absent until then). The parent's first store to such a page is noticed (`frozen`: it has no right to be
 * written to in the page map), and what it held is saved before.
 *
 * Snapshots go from old to new: what one has not saved is in the next one, and at last in the parent's memory.
 */
export class Sharing {
  readonly frozen = new PageSet();
  readonly inherited = new PageSet();
  #places: PagePlaces | undefined;
  #origin: Snapshot | undefined;
  readonly #snapshots: Snapshot[] = [];
  readonly #saved = new Swap(BUFFER_SLOTS);
  /** Does nothing run here any more? */
  isClosed = false;
  /** Called when nobody needs the memory any more, after `close`. */
  onFree: () => void = () => {};

  constructor(places: PagePlaces) {
    this.#places = places;
  }

  get isActive(): boolean {
    return this.frozen.size > 0 || this.inherited.size > 0;
  }

  /** Makes what is in private mappings the child's, too, which has the same mappings and nothing in them. */
  fork(child: Sharing): void {
    const { vmas, pages } = this.#open;
    for (const vma of vmas) {
      if (vma.shared && (isPagedIn(vma) || vma.name === FRAMES_NAME)) continue;
      for (const part of parts(vma.start, vma.end)) {
        const [first, last] = [part.start / PAGE_SIZE, part.end / PAGE_SIZE];
        if (part.isWindow) pages.shareWindow(child.#open.pages, first, last, this.frozen, child.inherited);
        else pages.shareOutside(part.start, part.end, this.frozen, child.inherited);
        for (const page of this.inherited.within(first, last)) {
          this.frozen.add(page);
          child.inherited.add(page);
          if (part.isWindow) child.#open.pages.markAbsent(page, page + 1);
        }
      }
    }
    if (child.inherited.size === 0) return;
    child.#origin = new Snapshot(this, child);
    this.#snapshots.push(child.#origin);
  }

  /** Rights of a page as the CPU is to check them, of those that its mapping gives. */
  rightsOf(page: number, rights: number): number {
    return this.frozen.has(page) ? rights & ~PROT_WRITE : rights;
  }

  /** Takes the right to write again from the frozen pages of [start, end). */
  hideWrites(start: number, end: number): void {
    if (this.frozen.size > 0) this.#open.pages.setWrites(this.frozen, start, end, false);
  }

  /** A page is about to be changed: children keep what it held. @returns whether it was frozen @throws OutOfFrames */
  unfreeze(page: number): boolean {
    if (!this.frozen.has(page)) return false;
    this.#save(page);
    this.frozen.delete(page);
    return true;
  }

  /** The contents of [start, end) are about to go: children keep them, and what is the parent's is no longer wanted. */
  leave(start: number, end: number): void {
    const [first, last] = [start / PAGE_SIZE, end / PAGE_SIZE];
    for (const page of this.frozen.within(first, last)) this.unfreeze(page);
    for (const page of this.inherited.within(first, last)) this.#take(page);
  }

  /**
   * Brings a page in that is still the parent's, and some around it.
   * @returns false if it is not
   * @throws OutOfFrames
   */
  bringIn(vma: Vma, address: number): boolean {
    if (!this.inherited.has(address / PAGE_SIZE)) return false;
    this.#bringIn(vma, address);
    const start = Math.floor(address / CLUSTER) * CLUSTER;
    const end = Math.min(start + CLUSTER, vma.end);
    for (let at = Math.max(start, vma.start); at < end && !this.#open.frames.isShort; at += PAGE_SIZE) {
      if (this.inherited.has(at / PAGE_SIZE)) this.#bringIn(vma, at);
    }
    return true;
  }

  #bringIn(vma: Vma, address: number): void {
    const { pages, frames, u8 } = this.#open;
    const page = address / PAGE_SIZE;
    const rights = this.rightsOf(page, effective(vma.prot));
    if (inWindow(address)) {
      u8.set(this.contents(page), address);
      pages.markPresent(page, page + 1, rights);
    } else {
      const frame = frames.take(address);
      u8.set(this.contents(page), frame);
      pages.enter(address, frame, rights, frames);
    }
    this.#take(page);
  }

  /** What a page holds, be it here, in swap, or the parent's: a view. */
  contents(page: number): Uint8Array {
    if (this.inherited.has(page)) {
      const origin = this.#origin as Snapshot;
      return origin.base.#read(origin, page);
    }
    const { pages, frames, u8 } = this.#open;
    let at = page * PAGE_SIZE;
    if (!inWindow(at)) {
      const entry = pages.entryOf(at);
      const slot = slotOf(entry);
      if (slot !== undefined) return frames.swap.read(slot);
      at = frameOf(entry);
    }
    return u8.subarray(at, at + PAGE_SIZE);
  }

  #read(snapshot: Snapshot, page: number): Uint8Array {
    for (let i = this.#snapshots.indexOf(snapshot); i < this.#snapshots.length; i++) {
      const slot = this.#snapshots[i].saved.get(page);
      if (slot !== undefined) return this.#saved.read(slot);
    }
    return this.contents(page);
  }

  #save(page: number): void {
    if (!this.#isNeeded(page, this.#snapshots.length - 1)) return;
    const slot = this.#saved.put(this.contents(page));
    if (slot === undefined) throw new OutOfFrames();
    this.#snapshots[this.#snapshots.length - 1].saved.set(page, slot);
  }

  /** Does a child of snapshot `newest` or an older one still want a page, and is it not saved there? */
  #isNeeded(page: number, newest: number): boolean {
    for (let i = newest; i >= 0; i--) {
      const { saved, child } = this.#snapshots[i];
      if (saved.has(page)) return false;
      if (child.inherited.has(page)) return true;
    }
    return false;
  }

  /** A page is the parent's no longer. */
  #take(page: number): void {
    const origin = this.#origin;
    if (!this.inherited.delete(page) || origin === undefined) return;
    if (this.inherited.size > 0) origin.base.#dropped(origin, page);
    else {
      this.#origin = undefined;
      origin.base.#release(origin);
    }
  }

  /** A snapshot's child does not want a page any more: what was saved for it alone goes. */
  #dropped(snapshot: Snapshot, page: number): void {
    const all = this.#snapshots;
    let at = all.indexOf(snapshot);
    while (at < all.length && !all[at].saved.has(page)) at++;
    if (at === all.length) return;
    if (all[at].child.inherited.has(page) || this.#isNeeded(page, at - 1)) return;
    this.#saved.free(all[at].saved.get(page) as number);
    all[at].saved.delete(page);
  }

  /** A snapshot's child wants nothing any more. */
  #release(snapshot: Snapshot): void {
    const at = this.#snapshots.indexOf(snapshot);
    if (at < 0) return;
    this.#snapshots.splice(at, 1);
    for (const [page, slot] of snapshot.saved) {
      if (this.#isNeeded(page, at - 1)) this.#snapshots[at - 1].saved.set(page, slot);
      else this.#saved.free(slot);
    }
    if (this.#snapshots.length > 0) return;
    if (this.isClosed) this.#letGo();
    else this.#thaw();
  }

  /** Nobody looks at the pages any more: stores are plain again. */
  #thaw(): void {
    const { pages, vmas } = this.#open;
    for (const vma of vmas) {
      if (vma.prot & PROT_WRITE) pages.setWrites(this.frozen, vma.start, vma.end, true);
    }
    this.frozen.clear();
  }

  /**
   * Nothing runs here any more. The memory is free at once, or when the last child needs nothing of it: then what is left
   * of it is copied, if that is little, or if it is the only thing for which a parent's memory is kept, too.
   */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.#snapshots.length === 0) {
      this.#letGo();
      return;
    }
    const newest = this.#snapshots.length - 1;
    const needed: number[] = [];
    const most = this.#origin?.base.isClosed ? Number.POSITIVE_INFINITY : COPIED_AT_END;
    for (const page of this.frozen.within(0, Number.POSITIVE_INFINITY)) {
      if (!this.#isNeeded(page, newest)) continue;
      needed.push(page);
      if (needed.length > most) return;
    }
    for (const page of needed) {
      try {
        this.#save(page);
      } catch (error) {
        if (error instanceof OutOfFrames) return;
        throw error;
      }
    }
    this.#letGo();
  }

  #letGo(): void {
    if (this.#places === undefined) return;
    this.#places = undefined;
    this.frozen.clear();
    this.inherited.clear();
    const origin = this.#origin;
    this.#origin = undefined;
    if (origin !== undefined) origin.base.#release(origin);
    this.onFree();
  }

  get #open(): PagePlaces {
    if (this.#places === undefined) throw new Error("the address space is gone");
    return this.#places;
  }
}
