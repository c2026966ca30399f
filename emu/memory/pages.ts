import {
  inWindow,
  LOW_AREA,
  LOW_AREA_END,
  PAGE_SHIFT,
  PAGE_SIZE,
  PAGE_TABLES,
  PAGE_TABLES_END,
  PERM_ABSENT,
  PERM_CODE,
  PERM_DIRTY,
  PERM_MAP,
  PERM_MAP_END,
  PERM_READ_SPAN,
  PERM_WRITE_SPAN,
  PROT_READ,
  PROT_WRITE,
  WINDOW_END,
} from "../layout.ts";
import { ones, type PageSet, PIECE_PAGES } from "./page-set.ts";

const PROT_MASK = 7;
const PAGES_IN_WINDOW = WINDOW_END >>> PAGE_SHIFT;

/** Radix tree outside the window: 11 + 12 + 12 bits of page number. An entry is a table's or a frame's address. */
export const TOP_SHIFT = 36;
export const MIDDLE_SHIFT = 24;
export const TOP_ENTRIES = 1 << 11;
export const TABLE_ENTRIES = 1 << 12;
const TABLE_BYTES = TABLE_ENTRIES * 4;

/** An entry with this bit has the page's slot in swap above it, and none of the rights that an access could need. */
const SWAPPED = 16;
const SLOT_SHIFT = 5;
const swapEntry = (slot: number): number => ((slot << SLOT_SHIFT) | SWAPPED) >>> 0;
/** The slot of a page in swap, from its entry; undefined for one with a frame. */
export const slotOf = (entry: number): number | undefined => (entry & SWAPPED ? entry >>> SLOT_SHIFT : undefined);
/** Slots that an entry has room for. */
export const MOST_SLOTS = 2 ** (32 - SLOT_SHIFT);

/** Pages, a power of two, that are thought of as written to when one of them is. */
const NEIGHBOURHOOD = 16;

/** Pages, as a power of two, whose permission bytes are known together to be zero: reservations are large and empty. */
const CHUNK_SHIFT = 10;
const CHUNK_MASK = (1 << CHUNK_SHIFT) - 1;
const chunkAfter = (page: number): number => ((page >>> CHUNK_SHIFT) + 1) << CHUNK_SHIFT;

/** A byte times this is that byte four times. */
const EVERY_BYTE = 0x0101_0101;
/** Marks of four pages that setting a protection and clearing have to look at. Signed, since V8 is slow with what is not. */
const MARKS = ((PERM_DIRTY | PERM_ABSENT) * EVERY_BYTE) | 0;

/** Where inWindow changes from one page to the next. */
const BORDERS = [LOW_AREA, LOW_AREA_END, WINDOW_END, Number.POSITIVE_INFINITY];

/** Cuts [start, end) into pieces that lie as a whole in the window, or out of line. */
export function* parts(start: number, end: number): Iterable<{ start: number; end: number; isWindow: boolean }> {
  let at = start;
  for (const border of BORDERS) {
    if (at >= end) return;
    if (at >= border) continue;
    const until = Math.min(end, border);
    yield { start: at, end: until, isWindow: inWindow(at) };
    at = until;
  }
}

/** Where the frame of an entry lies that has one. */
export function frameOf(entry: number): number {
  return (entry >>> PAGE_SHIFT) * PAGE_SIZE;
}

/**
 * Page permissions as the CPU sees them: a byte map for the window, a radix tree of frames outside of it.
 * The byte map carries, beside the permissions, whether an access may run on into the next page, so that one load and
 * one test decide the common access, however it is aligned (docs/architecture.md, "Memory").
 */
export class PageMap {
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  /** Pages that hold translated code. */
  readonly codePages = new Set<number>();
  /** Window chunks in which a permission byte may be other than zero. */
  readonly #used = new Uint8Array((PAGES_IN_WINDOW >>> CHUNK_SHIFT) + 1);
  /** Window pages that hold something: those marked PERM_DIRTY. */
  residentWindow = 0;
  /** Where tables go once the area for them is full: space of the window, or undefined if there is none. */
  moreTables: (() => { start: number; end: number } | undefined) | undefined;
  #nextTable = PAGE_TABLES + TOP_ENTRIES * 4;
  #tablesEnd = PAGE_TABLES_END;
  #freeTables: number[] = [];

  constructor(buffer: ArrayBuffer) {
    this.#u8 = new Uint8Array(buffer);
    this.#u32 = new Uint32Array(buffer);
  }

  /** Makes zero all that there is in wasm memory of mappings that are gone. @returns false if that is not known */
  wipe(): boolean {
    if (this.#tablesEnd !== PAGE_TABLES_END) return false;
    this.#u8.fill(0, PAGE_TABLES, this.#nextTable);
    this.#u8.fill(0, PERM_MAP, PERM_MAP_END);
    return true;
  }

  /** Permission byte of a window page (layout.ts, PERM_*). */
  window(page: number): number {
    return this.#u8[PERM_MAP + page];
  }

  /**
   * Sets the protection of window pages [first, last). Translated-code marks are dropped: the caller has thrown the
   * translations away.
   */
  protectWindow(first: number, last: number, prot: number): void {
    const u8 = this.#u8;
    const u32 = this.#u32;
    const set = prot | (prot & PROT_READ ? PERM_READ_SPAN : 0);
    if (set !== 0) this.#use(first, last);
    const four = set * EVERY_BYTE;
    let dirty = 0;
    let page = set !== 0 ? first : this.#skipUnused(first, last);
    const one = (): void => {
      dirty |= u8[PERM_MAP + page];
      const isAbsent = u8[PERM_MAP + page] & PERM_ABSENT;
      u8[PERM_MAP + page] = isAbsent ? PERM_ABSENT : (u8[PERM_MAP + page] & PERM_DIRTY) | set;
      page++;
    };
    while (page < last && page % 4 !== 0) one();
    // Reservations have hundreds of thousands of pages: four at a time.
    for (; page + 4 <= last; page += 4) {
      if (set === 0 && (page & CHUNK_MASK) === 0 && this.#used[page >>> CHUNK_SHIFT] === 0) {
        page = this.#skipUnused(page, last) - 4;
        continue;
      }
      const word = (PERM_MAP + page) >>> 2;
      if (u32[word] & MARKS) {
        for (const end = page + 4; page < end; ) one();
        page -= 4;
        continue;
      }
      u32[word] = four;
    }
    while (page < last) one();
    if (prot & PROT_WRITE && dirty & PERM_DIRTY) this.#respan(first, last);
    this.#respan(first - 1, first);
    this.#respan(last - 1, last);
  }

  /**
   * Sets the rights of pages [start, end), wherever they are.
   * @param rights as the CPU checks them (effective)
   */
  protect(start: number, end: number, rights: number): void {
    for (const part of parts(start, end)) {
      if (part.isWindow) this.protectWindow(part.start / PAGE_SIZE, part.end / PAGE_SIZE, rights);
      else {
        this.forEachOutside(part.start, part.end, (address, entry) => {
          // A page in swap gets its mapping's rights when it comes in.
          if (slotOf(entry) === undefined) this.setOutside(address, frameOf(entry), rights);
        });
      }
    }
  }

  #use(first: number, last: number): void {
    for (let page = first; page < last; page = chunkAfter(page)) this.#used[page >>> CHUNK_SHIFT] = 1;
  }

  /** The first page from `page` on in a chunk that is used, or `last`. */
  #skipUnused(page: number, last: number): number {
    let at = page;
    while (at < last && this.#used[at >>> CHUNK_SHIFT] === 0) at = chunkAfter(at);
    return Math.min(at, last);
  }

  /** Recomputes the span bits of pages [first, last). */
  #respan(first: number, last: number): void {
    const u8 = this.#u8;
    let next = u8[PERM_MAP + last];
    for (let page = last - 1; page >= Math.max(first, 0); page--) {
      let perm = u8[PERM_MAP + page] & ~(PERM_READ_SPAN | PERM_WRITE_SPAN);
      if (perm & next & PROT_READ) perm |= PERM_READ_SPAN;
      const plain = perm & next & PROT_WRITE && perm & next & PERM_DIRTY && !((perm | next) & PERM_CODE);
      if (plain) perm |= PERM_WRITE_SPAN;
      u8[PERM_MAP + page] = perm;
      next = perm;
    }
  }

  #markWindowCode(page: number, holdsCode: boolean): void {
    if (holdsCode) this.#use(page, page + 1);
    if (holdsCode) this.#u8[PERM_MAP + page] |= PERM_CODE;
    else this.#u8[PERM_MAP + page] &= ~PERM_CODE;
    this.#respan(page - 1, page + 1);
  }

  /** Marks the page at `address`, in or outside the window, as holding translated code, or no longer. */
  markCodeAt(address: number, holdsCode: boolean): void {
    if (this.codePages.has(address / PAGE_SIZE) === holdsCode) return;
    if (holdsCode) this.codePages.add(address / PAGE_SIZE);
    else this.codePages.delete(address / PAGE_SIZE);
    if (inWindow(address)) {
      this.#markWindowCode(address / PAGE_SIZE, holdsCode);
      return;
    }
    const entry = this.outside(address);
    if (entry === 0) return;
    this.setOutside(
      address,
      Math.floor(entry / PAGE_SIZE) * PAGE_SIZE,
      (entry & PROT_MASK) | (holdsCode ? PERM_CODE : 0),
    );
  }

  /**
   * Takes the right to write from window pages [first, last) that hold something. They are frozen, and in the child's map,
   * which has their mapping, absent and inherited (Sharing).
   */
  shareWindow(child: PageMap, first: number, last: number, frozen: PageSet, inherited: PageSet): void {
    let found = false;
    // A gigabyte has a quarter of a million pages: four at a time.
    for (let page = first & ~3; page < last; ) {
      const end = Math.min(chunkAfter(page), last);
      if (this.#used[page >>> CHUNK_SHIFT] !== 0 && this.#shareChunk(child, page, first, end, frozen, inherited))
        found = true;
      page = end;
    }
    if (!found) return;
    child.#use(first, last);
    child.#respan(first - 1, last);
    this.#respan(first - 1, first);
  }

  /** @param from a multiple of four, which may lie before `first` */
  #shareChunk(child: PageMap, from: number, first: number, last: number, frozen: PageSet, inherited: PageSet): boolean {
    const [ours, theirs] = [this.#u32, child.#u32];
    const [start, bits] = [from - (from % PIECE_PAGES), [frozen.bitmap(from), inherited.bitmap(from)]];
    const [frozenBits, inheritedBits] = bits;
    let [newlyFrozen, newlyInherited] = [0, 0];
    for (let page = from; page < last; page += 4) {
      const word = (PERM_MAP + page) >>> 2;
      // A one in each byte whose page is dirty.
      let dirty = (ours[word] >>> 6) & EVERY_BYTE;
      if (page < first) dirty &= -1 << ((first - page) * 8);
      if (page + 4 > last) dirty &= -1 >>> ((page + 4 - last) * 8);
      if (dirty === 0) continue;
      ours[word] &= ~(dirty * (PROT_WRITE | PERM_WRITE_SPAN));
      theirs[word] = (theirs[word] & ~Math.imul(dirty, 0xff)) | Math.imul(dirty, PERM_ABSENT);
      const four = ((dirty | (dirty >>> 7) | (dirty >>> 14) | (dirty >>> 21)) & 15) << (page & 31);
      const at = (page - start) >>> 5;
      newlyFrozen += ones(four & ~frozenBits[at]);
      newlyInherited += ones(four & ~inheritedBits[at]);
      frozenBits[at] |= four;
      inheritedBits[at] |= four;
    }
    frozen.grew(newlyFrozen);
    inherited.grew(newlyInherited);
    return newlyInherited > 0;
  }

  /** The same for pages [start, end) outside of the window, in frames or in swap; the child has none of them yet. */
  shareOutside(start: number, end: number, frozen: PageSet, inherited: PageSet): void {
    this.#eachLeaf(start, end, (leaf, from, until) => {
      const first = Math.floor(from / PAGE_SIZE) % TABLE_ENTRIES;
      const count = (until - from) / PAGE_SIZE;
      const [frozenBits, inheritedBits] = [frozen.bitmap(from / PAGE_SIZE), inherited.bitmap(from / PAGE_SIZE)];
      let [newlyFrozen, newlyInherited] = [0, 0];
      for (let i = first; i < first + count; i++) {
        const value = this.#u32[(leaf >>> 2) + i];
        if (value === 0) continue;
        if (!(value & SWAPPED)) this.#u32[(leaf >>> 2) + i] = value & ~PROT_WRITE;
        const bit = 1 << (i & 31);
        newlyFrozen += frozenBits[i >>> 5] & bit ? 0 : 1;
        newlyInherited += inheritedBits[i >>> 5] & bit ? 0 : 1;
        frozenBits[i >>> 5] |= bit;
        inheritedBits[i >>> 5] |= bit;
      }
      frozen.grew(newlyFrozen);
      inherited.grew(newlyInherited);
    });
  }

  /** Gives those pages of [start, end) that are among some, and in memory, the right to be written to, or takes it. */
  setWrites(some: PageSet, start: number, end: number, allowed: boolean): void {
    for (const part of parts(start, end)) {
      const [first, last] = [part.start / PAGE_SIZE, part.end / PAGE_SIZE];
      for (const [at, bits] of some.bitmaps(first, last)) {
        const [from, until] = [Math.max(at, first), Math.min(at + PIECE_PAGES, last)];
        if (part.isWindow) this.#setWindowWrites(bits, from, until, allowed);
        else this.#setOutsideWrites(bits, from, until, allowed);
      }
    }
  }

  /** @param bits of 4,096 pages, those from `from` on among them */
  #setWindowWrites(bits: Int32Array, from: number, until: number, allowed: boolean): void {
    const u8 = this.#u8;
    let found = false;
    for (let page = from; page < until; page++) {
      const word = bits[(page % PIECE_PAGES) >>> 5];
      if (word === 0) page |= 31;
      else if (word & (1 << (page & 31))) {
        found = true;
        if (!allowed) u8[PERM_MAP + page] &= ~PROT_WRITE;
        else if (!(u8[PERM_MAP + page] & PERM_ABSENT)) u8[PERM_MAP + page] |= PROT_WRITE;
      }
    }
    if (found) this.#respan(from - 1, until);
  }

  #setOutsideWrites(bits: Int32Array, from: number, until: number, allowed: boolean): void {
    this.#eachLeaf(from * PAGE_SIZE, until * PAGE_SIZE, (leaf) => {
      const first = from % TABLE_ENTRIES;
      for (let i = first; i < first + until - from; i++) {
        if (!(bits[i >>> 5] & (1 << (i & 31)))) continue;
        const value = this.#u32[(leaf >>> 2) + i];
        if (value !== 0 && !(value & SWAPPED))
          this.#u32[(leaf >>> 2) + i] = allowed ? value | PROT_WRITE : value & ~PROT_WRITE;
      }
    });
  }

  /** Gives the page at `address` the right to be written to, beside those that it has; one that is absent, when it comes in. */
  allowWrites(address: number): void {
    if (inWindow(address)) {
      const page = address / PAGE_SIZE;
      if (this.#u8[PERM_MAP + page] & PERM_ABSENT) return;
      this.#u8[PERM_MAP + page] |= PROT_WRITE;
      this.#respan(page - 1, page + 1);
      return;
    }
    const entry = this.outside(address);
    if (entry !== 0) this.setOutside(address, frameOf(entry), (entry % PAGE_SIZE) | PROT_WRITE);
  }

  /** Takes PROT_READ from the page at `address`, so that reads take the slow path. */
  hideReads(address: number): void {
    if (!inWindow(address)) {
      const entry = this.outside(address);
      if (entry !== 0)
        this.setOutside(
          address,
          Math.floor(entry / PAGE_SIZE) * PAGE_SIZE,
          entry & (PROT_MASK | PERM_CODE) & ~PROT_READ,
        );
      return;
    }
    const page = address / PAGE_SIZE;
    this.#u8[PERM_MAP + page] &= ~PROT_READ;
    this.#respan(page - 1, page + 1);
  }

  /** How many of the pages [start, end) hold something, in memory or in swap. */
  resident(start: number, end: number): number {
    let count = 0;
    for (const part of parts(start, end)) {
      if (!part.isWindow) {
        this.forEachOutside(part.start, part.end, () => count++);
        continue;
      }
      const [first, last] = [part.start / PAGE_SIZE, part.end / PAGE_SIZE];
      for (let page = this.#skipUnused(first, last); page < last; page++) {
        if ((page & CHUNK_MASK) === 0) page = this.#skipUnused(page, last);
        if (page < last && this.#u8[PERM_MAP + page] & PERM_DIRTY) count++;
      }
    }
    return count;
  }

  /** Makes window pages [first, last), which are zero, absent. */
  markAbsent(first: number, last: number): void {
    this.#use(first, last);
    this.#u8.fill(PERM_ABSENT, PERM_MAP + first, PERM_MAP + last);
    this.#respan(first - 1, first);
  }

  /** The absent window pages around `page` in [first, last), which must be in the window; an end before the start if it is not. */
  absentAround(page: number, first: number, last: number): { first: number; last: number } {
    const u8 = this.#u8;
    let [from, to] = [page, page];
    while (to < last && u8[PERM_MAP + to] & PERM_ABSENT) to++;
    if (to > page) while (from > first && u8[PERM_MAP + from - 1] & PERM_ABSENT) from--;
    return { first: from, last: to };
  }

  /** Absent window pages [first, last) have their contents now. Marks of translated code stay. */
  markPresent(first: number, last: number, prot: number): void {
    this.#use(first, last);
    this.residentWindow += last - first;
    for (let page = first; page < last; page++) {
      this.#u8[PERM_MAP + page] = (this.#u8[PERM_MAP + page] & PERM_CODE) | PERM_DIRTY | prot;
    }
    this.#respan(first - 1, last);
  }

  /** Clears the bytes of window pages [first, last) where they may be other than zero; none is absent then. */
  clearWindow(first: number, last: number): void {
    const u8 = this.#u8;
    let page = first;
    while (page < last) {
      page = this.#skipUnused(page, last);
      if (page === last) break;
      if (!(u8[PERM_MAP + page] & PERM_DIRTY)) {
        const word = (PERM_MAP + page) >>> 2;
        if (page % 4 === 0 && !(this.#u32[word] & MARKS)) page += 4;
        else u8[PERM_MAP + page++] &= ~PERM_ABSENT;
        continue;
      }
      const start = page;
      while (page < last && u8[PERM_MAP + page] & PERM_DIRTY) {
        u8[PERM_MAP + page++] &= ~(PERM_DIRTY | PERM_WRITE_SPAN);
      }
      this.residentWindow -= page - start;
      u8.fill(0, start * PAGE_SIZE, page * PAGE_SIZE);
      this.#respan(start - 1, start);
    }
  }

  /**
   * Marks window pages [first, last) as written to. The next one comes along if it is writable: accesses that run from
   * one page into the next, as those of memory that fills up do, are plain then.
   */
  markDirty(first: number, last: number): void {
    this.#use(first, last + 1);
    // What no access is allowed to can have bytes all the same: a debugger's, or those of a mapping that was moved.
    this.#use(first, last);
    for (let page = first; page < last; page++) this.#soil(page);
    if (this.#u8[PERM_MAP + last] & PROT_WRITE) this.#soil(last);
    this.#respan(first - 1, last + 1);
  }

  /** Have window pages [first, last) no right and no contents, neither here nor in a file? */
  isUnused(first: number, last: number): boolean {
    for (let page = first; page < last; page++) if (this.#u8[PERM_MAP + page] !== 0) return false;
    return true;
  }

  #soil(page: number): void {
    if (this.#u8[PERM_MAP + page] & PERM_DIRTY) return;
    this.#u8[PERM_MAP + page] |= PERM_DIRTY;
    this.residentWindow++;
  }

  /**
   * Notes the first write to a window page. Others of its neighbourhood that are writable come along, since writes tend
   * to go on, and each first one is slow.
   */
  touch(page: number): void {
    this.markDirty(page, page + 1);
    const end = Math.min((page & ~(NEIGHBOURHOOD - 1)) + NEIGHBOURHOOD, PAGES_IN_WINDOW);
    let last = page + 1;
    while (last < end && (this.#u8[PERM_MAP + last] & (PROT_WRITE | PERM_CODE)) === PROT_WRITE) last++;
    if (last > page + 1) this.markDirty(page + 1, last);
  }

  /** Address of the entry of a page outside the window; 0 where there is none and `create` is false. */
  #entryAddress(address: number, create: boolean): number {
    const top = PAGE_TABLES + Math.floor(address / 2 ** TOP_SHIFT) * 4;
    const middle = this.#table(top, create);
    if (middle === 0) return 0;
    const leaf = this.#table(middle + (Math.floor(address / 2 ** MIDDLE_SHIFT) % TABLE_ENTRIES) * 4, create);
    if (leaf === 0) return 0;
    return leaf + (Math.floor(address / PAGE_SIZE) % TABLE_ENTRIES) * 4;
  }

  #table(entryAddress: number, create: boolean): number {
    let table = this.#u32[entryAddress >>> 2];
    if (table === 0 && create) {
      table = this.#takeTable();
      this.#u32[entryAddress >>> 2] = table;
    }
    return table;
  }

  #takeTable(): number {
    const free = this.#freeTables.pop();
    if (free !== undefined) return free;
    if (this.#nextTable + TABLE_BYTES > this.#tablesEnd) {
      const more = this.moreTables?.();
      if (more === undefined) throw new OutOfFrames();
      this.#nextTable = more.start;
      this.#tablesEnd = more.end;
    }
    this.#nextTable += TABLE_BYTES;
    return this.#nextTable - TABLE_BYTES;
  }

  /** Frame address | permission bits of a page outside the window; 0 if it has no frame, be it in swap or nowhere. */
  outside(address: number): number {
    const entry = this.entryOf(address);
    return entry & SWAPPED ? 0 : entry;
  }

  /** What the tables have of a page outside the window: as `outside`, or as `swapEntry` makes it; 0 for nothing. */
  entryOf(address: number): number {
    const entry = this.#entryAddress(address, false);
    return entry === 0 ? 0 : this.#u32[entry >>> 2];
  }

  setOutside(address: number, frame: number, perm: number): void {
    this.#u32[this.#entryAddress(address, true) >>> 2] = frame | perm;
  }

  /** A page outside the window gets a frame that was taken for it; without a table for its entry the frame is free again. */
  enter(address: number, frame: number, rights: number, frames: { free(frame: number): void }): void {
    try {
      this.setOutside(address, frame, rights);
    } catch (error) {
      frames.free(frame);
      throw error;
    }
  }

  /** The page outside the window has no frame any more: its bytes are in a slot of swap. */
  setSwapped(address: number, slot: number): void {
    this.#u32[this.#entryAddress(address, true) >>> 2] = swapEntry(slot);
  }

  /** Visits the pages with a frame or in swap in [start, end), skipping what has no tables; see entryOf. */
  forEachOutside(start: number, end: number, visit: (address: number, entry: number) => void): void {
    this.#eachLeaf(start, end, (leaf, from, until) => {
      let entry = (leaf >>> 2) + (Math.floor(from / PAGE_SIZE) % TABLE_ENTRIES);
      for (let address = from; address < until; address += PAGE_SIZE, entry++) {
        const value = this.#u32[entry];
        if (value !== 0) visit(address, value);
      }
    });
  }

  /** Visits the tables of [start, end), with the part that each is about. */
  #eachLeaf(start: number, end: number, visit: (leaf: number, from: number, until: number) => void): void {
    let address = start;
    while (address < end) {
      const middle = this.#u32[(PAGE_TABLES >>> 2) + Math.floor(address / 2 ** TOP_SHIFT)];
      const step = 2 ** (middle === 0 ? TOP_SHIFT : MIDDLE_SHIFT);
      const until = Math.min(end, (Math.floor(address / step) + 1) * step);
      const leaf = middle && this.#u32[(middle >>> 2) + (Math.floor(address / 2 ** MIDDLE_SHIFT) % TABLE_ENTRIES)];
      if (leaf !== 0) visit(leaf, address, until);
      address = until;
    }
  }

  /** Gives the tables back that are about nothing but [start, end), where no page has an entry any more. */
  dropTables(start: number, end: number): void {
    this.#eachLeaf(start, end, (leaf, from, until) => {
      if (until - from < 2 ** MIDDLE_SHIFT) return;
      const middle = this.#u32[(PAGE_TABLES >>> 2) + Math.floor(from / 2 ** TOP_SHIFT)];
      this.#u32[(middle >>> 2) + (Math.floor(from / 2 ** MIDDLE_SHIFT) % TABLE_ENTRIES)] = 0;
      this.#freeTables.push(leaf);
    });
  }

  clearOutside(address: number): void {
    const entry = this.#entryAddress(address, false);
    if (entry !== 0) this.#u32[entry >>> 2] = 0;
  }

  /** Permissions (PROT_*, PERM_CODE) of the page that holds `address`; for pages outside only those with a frame. */
  permissions(address: number): number {
    if (inWindow(address)) return this.window(Math.floor(address / PAGE_SIZE)) & (PROT_MASK | PERM_CODE);
    return this.outside(address) & (PROT_MASK | PERM_CODE);
  }
}

/**
 * There is no frame for a page outside the window, or no table for its entry. Frames may be had again once nobody holds
 * on to those of other pages: see Frames.makeRoom.
 */
export class OutOfFrames extends Error {}
