import {
  inWindow,
  PAGE_SIZE,
  PERM_ABSENT,
  PERM_DIRTY,
  PROT_EXEC,
  PROT_WRITE,
  TASK_SIZE,
  WASM_PAGES,
  WINDOW_END,
  WINDOW_START,
} from "../layout.ts";
import { FrameSource } from "./frame-source.ts";
import { FRAME_CHUNK, Frames } from "./frames.ts";
import { Guards } from "./guards.ts";
import { MemoryError } from "./memory-error.ts";
import { frameOf, PageMap, parts, slotOf } from "./pages.ts";
import { Paging } from "./paging.ts";
import { COMPACT, LINUX, type MapRequest, type Placement } from "./placement.ts";
import { Sharing } from "./sharing.ts";
import {
  allows,
  type Backing,
  effective,
  FRAMES_NAME,
  freshRights,
  isPagedIn,
  promisedBytes,
  type Vma,
  VmaList,
} from "./vma.ts";

export { COMPACT, FRAMES_NAME, LINUX, type MapRequest, type Placement };

/** Most mappings that a process may have (Linux: vm.max_map_count). */
const MAX_MAPPINGS = 65_530;

/** Can [start, end) be mapped at all, or is some of it below vm.mmap_min_addr or beyond the end? */
export function isInReach(start: number, end: number): boolean {
  return start >= WINDOW_START && end <= TASK_SIZE;
}

const alignUp = (value: number): number => Math.ceil(value / PAGE_SIZE) * PAGE_SIZE;

/**
 * Bytes of the window that are left to the frames of pages outside of it, unless there are reservations whose bytes
 * nobody uses; and those that are left in any case.
 */
const FRAME_RESERVE = 0x2000_0000;
const LEAST_RESERVE = 0x400_0000;
/** Where mappings outside the window begin: behind the addresses of the emulator's own part of wasm memory. */
const OUTSIDE = WASM_PAGES * 0x1_0000;
/** A machine's memory where nobody says how much it has. */
const DEFAULT_MEMORY = 4 * 2 ** 30;

export interface AddressSpaceOptions {
  /** Most bytes that may be promised to private writable mappings. */
  readonly limit?: number;
  /** Bytes of memory that the machine has, as far as a program can tell. */
  readonly size?: number;
  /** Most bytes of the window that become frames of pages outside of it. */
  readonly frameBytes?: number;
}

/** A guest's mappings and the memory behind them, with the rules of mmap(2), munmap(2), mprotect(2), mremap(2). */
export class AddressSpace {
  readonly memory: WebAssembly.Memory;
  readonly pages: PageMap;
  readonly vmas = new VmaList();
  readonly placement: Placement;
  /** Bytes that may be promised (`--memory`), and that the machine has. */
  readonly limit: number;
  readonly size: number;
  /** Bytes mapped at all, and those of them that private writable mappings promise (promisedBytes). */
  mappedBytes = 0;
  promisedBytes = 0;
  /** Bytes mapped with some access right, now and at most. */
  accessibleBytes = 0;
  peakAccessibleBytes = 0;
  /**
   * Called before the code on a page changes or goes away; drops translations made from it. Where it is known what is
   * written to, `bytes` bytes at `address`.
   */
  onCodeChange: (page: number, address?: number, bytes?: number) => void = () => {};
  /** May so many more bytes be mapped, and promised? The process's own limits (Linux: mm/mmap.c, may_expand_vm). */
  mayGrow: (mapped: number, promised: number) => boolean = () => true;
  /** Called when memory begins to be slower: mappings lie outside the window, which is full, or pages go into swap. */
  onSlow: (why: "outside" | "swap") => void = () => {};
  /**
   * Has the program put a mapping outside the window where it wanted it, and nothing was? Then it relies on Linux's layout, as
   * ThreadSanitizer does, and has its hints, too.
   */
  #choosesPlaces = false;
  readonly guards = new Guards(this);
  /** What it has in common with its children and its parent. */
  readonly sharing: Sharing;
  readonly #u8: Uint8Array;
  readonly #frames: Frames;
  readonly paging: Paging;
  readonly #source: FrameSource;
  /** Bytes of the window that mappings lie on, and those of them that have no right. */
  #windowBytes = 0;
  #idleBytes = 0;

  constructor(memory: WebAssembly.Memory, placement: Placement = COMPACT, options: AddressSpaceOptions = {}) {
    this.memory = memory;
    this.pages = new PageMap(memory.buffer);
    this.#u8 = new Uint8Array(memory.buffer);
    this.placement = placement;
    this.limit = options.limit ?? Number.POSITIVE_INFINITY;
    this.size = options.size ?? DEFAULT_MEMORY;
    this.#source = new FrameSource(this.vmas, this.pages, options.frameBytes ?? Number.POSITIVE_INFINITY);
    const isHeld = (page: number): boolean => this.guards.isHeld(page);
    this.#frames = new Frames(this.pages, this.#u8, () => this.#source.claim() ?? this.#source.borrow(), isHeld);
    const places = { pages: this.pages, frames: this.#frames, u8: this.#u8, vmas: this.vmas };
    this.sharing = new Sharing(places);
    this.paging = new Paging(places, this.sharing);
    this.#frames.onSwap = () => this.onSlow("swap");
    this.#frames.onMove = (page) => {
      if (this.pages.codePages.has(page)) this.onCodeChange(page);
    };
    this.#frames.maySwap = () => this.residentBytes < this.size;
    this.pages.moreTables = () => {
      const start = this.#source.claim();
      return start === undefined ? undefined : { start, end: start + FRAME_CHUNK };
    };
  }

  /** Bytes of pages that hold something: those that were written to, and those that came from a file. */
  get residentBytes(): number {
    return (this.pages.residentWindow + this.#frames.used + this.#frames.swap.pages) * PAGE_SIZE;
  }

  /** How many pages of [start, end) hold something, here or in a parent's memory. */
  resident(start: number, end: number): number {
    return this.pages.resident(start, end) + this.sharing.inherited.count(start / PAGE_SIZE, end / PAGE_SIZE);
  }

  /** Are there but a few frames left until makeRoom? */
  get isShortOfFrames(): boolean {
    return this.#frames.isShort;
  }

  /** Sees to it that pages can come in. Places in wasm memory of pages outside the window are others afterwards. */
  makeRoom(): void {
    this.#frames.makeRoom();
  }

  /**
   * Maps fresh zeroed memory and returns its address (mmap(2); Linux: mm/mmap.c, do_mmap).
   * @param credit bytes that it promises which are promised already
   */
  map(request: MapRequest, credit = 0): number {
    const length = alignUp(request.length);
    if (length <= 0 || !Number.isFinite(length)) throw new MemoryError(request.length === 0 ? "EINVAL" : "ENOMEM");
    if (length > TASK_SIZE) throw new MemoryError("ENOMEM");
    this.#checkCount();
    const start = this.#place(request, length);
    const end = start + length;
    this.vacate(start, end);
    const vma: Vma = {
      start,
      end,
      prot: request.prot,
      shared: request.shared ?? false,
      backing: request.backing,
      offset: request.offset ?? 0,
      name: request.name ?? "",
      noReserve: request.noReserve,
    };
    const promised = promisedBytes(vma) - this.#promisedIn(start, end) - credit;
    if (!this.mayGrow(length - this.#mappedIn(start, end), promised)) throw new MemoryError("ENOMEM");
    this.#checkPromise(promised);
    if (start >= WINDOW_END && !request.fixed && !this.#choosesPlaces) this.#noteOutside(vma);
    this.#release(start, end);
    this.#account(vma, 1);
    this.vmas.insert(vma);
    this.pages.protect(start, end, freshRights(vma));
    if (isPagedIn(vma)) this.#markAbsent(start, end);
    return start;
  }

  /** Bytes of [start, end) that mappings lie on. */
  #mappedIn(start: number, end: number): number {
    return this.vmas
      .overlapping(start, end)
      .reduce((sum, vma) => sum + Math.min(vma.end, end) - Math.max(vma.start, start), 0);
  }

  /** Bytes that the private mappings in [start, end) promise. */
  #promisedIn(start: number, end: number): number {
    let sum = 0;
    for (const vma of this.vmas.overlapping(start, end)) {
      if (promisedBytes(vma) > 0) sum += Math.min(vma.end, end) - Math.max(vma.start, start);
    }
    return sum;
  }

  /**
   * May more bytes be promised? No more than the limit in all, and never at once more than the machine has (Linux:
   * mm/util.c, __vm_enough_memory), or than it has left.
   */
  #checkPromise(bytes: number): void {
    if (bytes <= 0) return;
    const before = this.promisedBytes;
    if (before + bytes > this.limit) throw new MemoryError("ENOMEM", { kind: "limit", bytes, before });
    const used = this.residentBytes;
    if (used + bytes > this.size) throw new MemoryError("ENOMEM", { kind: "machine", bytes, before: used });
  }

  #place(request: MapRequest, length: number): number {
    const { address } = request;
    const inReach = (from: number): boolean => isInReach(from, from + length);
    if (request.fixed) {
      if (address % PAGE_SIZE !== 0) throw new MemoryError("EINVAL");
      if (!inReach(address)) throw new MemoryError("ENOMEM");
      this.#refuseFrames(address, address + length);
      const isFree = this.vmas.isFree(address, address + length);
      if (request.noReplace && !isFree) throw new MemoryError("EEXIST");
      if (isFree && address >= OUTSIDE) this.#choosesPlaces = true;
      return address;
    }
    const hint = Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
    const inside = this.placement.high <= WINDOW_END && this.#fitsWindow(length);
    const wanted = hint !== 0 && (hint + length <= WINDOW_END || !inside || this.#choosesPlaces);
    if (wanted && inReach(hint) && this.vmas.isFree(hint, hint + length)) return hint;
    if (inside) {
      const found = this.vmas.findFree(length, this.placement.low, this.placement.high);
      if (found !== undefined) return found;
    }
    const found = this.vmas.findFree(length, OUTSIDE, LINUX.high);
    if (found === undefined) throw new MemoryError("ENOMEM");
    return found;
  }

  /** A mapping lies outside the window for want of room: it is slower, unless it is a reservation that hardly gets used. */
  #noteOutside({ start, end, prot }: Vma): void {
    const isPlain = prot & PROT_WRITE || end - start < FRAME_RESERVE;
    if (isPlain && this.placement.high <= WINDOW_END) this.onSlow("outside");
  }

  /** Is there room in the window for so many bytes? What lies outside may as well lie where the program wants it. */
  #fitsWindow(length: number): boolean {
    const reserve = Math.max(this.#source.bytes, LEAST_RESERVE, FRAME_RESERVE - this.#idleBytes);
    return this.#windowBytes + length + reserve <= COMPACT.high - COMPACT.low;
  }

  /** The guest can neither have nor change what is the emulator's own. */
  #refuseFrames(start: number, end: number): void {
    if (!this.vmas.overlapping(start, end).some(({ name }) => name === FRAMES_NAME)) return;
    throw new MemoryError("ENOMEM", { kind: "frames", bytes: end - start, before: this.residentBytes });
  }

  /** A mapping comes (1) or goes (-1). */
  #account(vma: Vma, sign: 1 | -1): void {
    const bytes = sign * (vma.end - vma.start);
    this.mappedBytes += bytes;
    this.promisedBytes += sign * promisedBytes(vma);
    const inside = sign * Math.max(0, Math.min(vma.end, WINDOW_END) - vma.start);
    this.#windowBytes += inside;
    if (vma.prot === 0) {
      this.#idleBytes += inside;
      return;
    }
    this.accessibleBytes += bytes;
    this.peakAccessibleBytes = Math.max(this.peakAccessibleBytes, this.accessibleBytes);
  }

  /** Unmaps [address, address + length) (munmap(2)); ranges that are not mapped are fine. */
  unmap(address: number, length: number): void {
    const size = alignUp(length);
    if (address % PAGE_SIZE !== 0 || size <= 0 || address + size > TASK_SIZE) throw new MemoryError("EINVAL");
    const inside = this.vmas.at(address);
    if (inside !== undefined && inside.start < address && inside.end > address + size) this.#checkCount();
    this.#release(address, address + size);
  }

  #checkCount(): void {
    if (this.vmas.length >= MAX_MAPPINGS) throw new MemoryError("ENOMEM");
  }

  /** Takes mappings, frames and bytes of [start, end) away. Afterwards the pages are inaccessible and zero. */
  #release(start: number, end: number): void {
    for (const guest of this.vmas.overlapping(start, end)) {
      if (guest.name !== FRAMES_NAME) this.#releasePart(Math.max(start, guest.start), Math.min(end, guest.end));
    }
  }

  #releasePart(start: number, end: number): void {
    for (const vma of this.vmas.remove(start, end)) {
      this.#account(vma, -1);
      this.#dropCode(vma.start, vma.end);
      this.pages.protect(vma.start, vma.end, 0);
      this.#clear(vma.start, vma.end);
    }
  }

  #dropCode(start: number, end: number): void {
    this.#eachCodePage(start, end, (page) => this.onCodeChange(page));
  }

  /** Visits the pages of [start, end) that hold translated code: few in all, so they are kept apart. */
  #eachCodePage(start: number, end: number, visit: (page: number) => void): void {
    const [first, last] = [start / PAGE_SIZE, end / PAGE_SIZE];
    const { codePages } = this.pages;
    if (codePages.size === 0) return;
    if (last - first < codePages.size) {
      for (let page = first; page < last; page++) if (codePages.has(page)) visit(page);
      return;
    }
    for (const page of [...codePages]) if (page >= first && page < last) visit(page);
  }

  /** Pages of [start, end), zero, are to be brought in when they are used. Those out of line have no frame yet. */
  #markAbsent(start: number, end: number): void {
    for (const part of parts(start, end)) {
      if (part.isWindow) this.pages.markAbsent(part.start / PAGE_SIZE, part.end / PAGE_SIZE);
    }
  }

  #clear(start: number, end: number): void {
    if (this.sharing.isActive) this.sharing.leave(start, end);
    for (const part of parts(start, end)) {
      if (part.isWindow) this.pages.clearWindow(part.start / PAGE_SIZE, part.end / PAGE_SIZE);
      else {
        this.pages.forEachOutside(part.start, part.end, (address, entry) => {
          const slot = slotOf(entry);
          if (slot === undefined) this.#frames.free(frameOf(entry));
          else this.#frames.swap.free(slot);
          this.pages.clearOutside(address);
        });
        this.pages.dropTables(part.start, part.end);
      }
    }
  }

  /** Changes the protection of a range that is mapped throughout (mprotect(2)); ENOMEM where it is not. */
  protect(address: number, length: number, prot: number): void {
    const end = address + alignUp(length);
    if (address % PAGE_SIZE !== 0) throw new MemoryError("EINVAL");
    if (end === address) return;
    if (end > TASK_SIZE || !this.vmas.covers(address, end)) throw new MemoryError("ENOMEM");
    this.#refuseFrames(address, end);
    this.#checkCount();
    const promised = prot & PROT_WRITE ? this.#newlyPromised(address, end) : 0;
    if (!this.mayGrow(0, promised)) throw new MemoryError("ENOMEM");
    this.#checkPromise(promised);
    if (prot !== 0) this.vacate(address, end);
    this.vmas.split(address);
    this.vmas.split(end);
    this.#dropCode(address, end);
    for (const vma of this.vmas.overlapping(address, end)) {
      this.#account(vma, -1);
      vma.prot = prot;
      this.#account(vma, 1);
    }
    this.restoreRights(address, end);
    this.vmas.mergeAround(address, end);
  }

  /** Gives the pages of [start, end) the rights that their mappings have at first; translated code there has been dropped. */
  restoreRights(start: number, end: number): void {
    for (const vma of this.vmas.overlapping(start, end)) {
      this.pages.protect(Math.max(vma.start, start), Math.min(vma.end, end), freshRights(vma));
    }
    this.sharing.hideWrites(start, end);
  }

  /** Bytes that [start, end) promises once it is writable, and does not yet. */
  #newlyPromised(start: number, end: number): number {
    return this.vmas
      .overlapping(start, end)
      .filter((vma) => !(vma.prot & PROT_WRITE) && promisedBytes({ ...vma, prot: PROT_WRITE }) > 0)
      .reduce((sum, vma) => sum + Math.min(vma.end, end) - Math.max(vma.start, start), 0);
  }

  /** What the pages of file mappings in [start, end) hold is not their file's any more: they come in anew when they are used. */
  forget(start: number, end: number): void {
    for (const vma of this.vmas.overlapping(start, end)) {
      if (!isPagedIn(vma)) continue;
      const [from, to] = [Math.max(vma.start, start), Math.min(vma.end, end)];
      this.#dropCode(from, to);
      this.#clear(from, to);
      this.#markAbsent(from, to);
    }
  }

  /** Makes private pages read as zero again, or as what their file has (madvise(2), MADV_DONTNEED). */
  discard(address: number, length: number): void {
    const end = address + alignUp(length);
    for (const vma of this.vmas.overlapping(address, end)) {
      if (vma.shared || (vma.backing !== undefined && !isPagedIn(vma))) continue;
      const from = Math.max(vma.start, address);
      const to = Math.min(vma.end, end);
      this.#dropCode(from, to);
      const { isActive } = this.sharing;
      this.#clear(from, to);
      if (isPagedIn(vma)) this.#markAbsent(from, to);
      else if (isActive) this.restoreRights(from, to);
    }
  }

  /**
   * Grows, shrinks or moves a mapping (mremap(2); Linux: mm/mremap.c).
   * @param target exact new address (MREMAP_FIXED), or undefined
   */
  remap(old: number, oldLength: number, newLength: number, mayMove: boolean, target?: number): number {
    const from = alignUp(oldLength);
    const to = alignUp(newLength);
    if (old % PAGE_SIZE !== 0 || to === 0) throw new MemoryError("EINVAL");
    const vma = this.guestMapping(old);
    if (vma === undefined || old + from > vma.end) throw new MemoryError("EFAULT");
    if (target === undefined) {
      if (to <= from) {
        if (to < from) this.unmap(old + to, from - to);
        return old;
      }
      const grown = { ...mapRequestOf(vma), address: old + from, length: to - from, fixed: true, noReplace: true };
      if (old + from === vma.end && this.vmas.isFree(old + from, old + to) && old + to <= TASK_SIZE) {
        this.map({ ...grown, offset: vma.offset + (old + from - vma.start) });
        return old;
      }
      if (!mayMove) throw new MemoryError("ENOMEM");
    }
    const moved = { ...mapRequestOf(vma), offset: vma.offset + (old - vma.start), length: to };
    const credit = promisedBytes({ ...vma, start: old, end: old + Math.min(from, to) });
    const address = this.map({ ...moved, address: target ?? 0, fixed: target !== undefined }, credit);
    this.#move(old, address, Math.min(from, to));
    this.#release(old, old + from);
    return address;
  }

  /** Moves the contents of pages to a fresh mapping. */
  #move(from: number, to: number, length: number): void {
    for (let done = 0; done < length; done += PAGE_SIZE) {
      if (this.sharing.isActive) this.own(from + done);
      // A page that nobody has used is the same at its new place.
      if (this.paging.isPresent(from + done)) this.paging.move(from + done, to + done, this.#rightsAt(to + done));
    }
  }

  #rightsAt(page: number): number {
    const vma = this.vmas.at(page);
    return vma === undefined ? 0 : freshRights(vma);
  }

  /**
   * Brings a mapped page in: gives one out of line its frame, and reads what comes from a file.
   * @param need PROT_* bits that the mapping has to allow: an access that it does not brings nothing in
   * @returns for a page out of line its entry, otherwise 1; 0 if the page is not mapped or lies behind its file's end
   * @throws OutOfFrames
   */
  pageIn(address: number, need = 0): number {
    const vma = this.vmas.at(address);
    return vma === undefined || !allows(vma.prot, need)
      ? 0
      : this.paging.pageIn(vma, Math.floor(address / PAGE_SIZE) * PAGE_SIZE);
  }

  /**
   * The page of a shared file mapping is about to be stored to, which its mapping allows.
   * @returns false if it isn't one, or it does not
   */
  allowStores(address: number): boolean {
    const vma = this.vmas.at(address);
    if (vma === undefined || !vma.shared || !isPagedIn(vma) || !(vma.prot & PROT_WRITE)) return false;
    const page = Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
    vma.backing?.storing?.(vma.offset + (page - vma.start), page);
    this.pages.protect(page, page + PAGE_SIZE, effective(vma.prot));
    return true;
  }

  /** The pages of a shared file mapping in [start, end) are as its file again. */
  markStored(start: number, end: number): void {
    for (const vma of this.vmas.overlapping(start, end)) {
      this.#dropCode(Math.max(vma.start, start), Math.min(vma.end, end));
    }
    this.restoreRights(start, end);
  }

  /**
   * The page of a private mapping is about to be stored to, which its mapping allows: if a child looks at it, it gets to
   * keep what was there.
   * @returns false if none does, or the mapping does not allow it
   * @throws OutOfFrames
   */
  unshare(address: number): boolean {
    if (this.sharing.frozen.size === 0) return false;
    const vma = this.vmas.at(address);
    return vma !== undefined && (vma.prot & PROT_WRITE) !== 0 && this.own(address);
  }

  /** The page is about to be changed, whatever its mapping allows. @returns whether a child looked at it @throws OutOfFrames */
  own(address: number): boolean {
    const page = Math.floor(address / PAGE_SIZE);
    if (this.sharing.inherited.has(page)) this.pageIn(address);
    if (!this.sharing.unfreeze(page)) return false;
    if ((this.vmas.at(address)?.prot ?? 0) & PROT_WRITE) this.pages.allowWrites(page * PAGE_SIZE);
    return true;
  }

  /**
   * Makes an empty address space what this one is (fork(2); Linux: kernel/fork.c, dup_mmap): the same mappings, of which
   * shared ones have their file's contents and the others what is in them now.
   * @param backingOf what is behind the child's mappings that have this behind them here
   */
  fork(child: AddressSpace, backingOf: (backing: Backing) => Backing): void {
    for (const vma of this.vmas) {
      if (vma.name === FRAMES_NAME) continue;
      const copy: Vma = { ...vma, backing: vma.backing && backingOf(vma.backing) };
      child.#account(copy, 1);
      child.pages.protect(copy.start, copy.end, freshRights(copy));
      if (isPagedIn(copy)) child.#markAbsent(copy.start, copy.end);
      child.vmas.insert(copy);
    }
    child.#choosesPlaces = this.#choosesPlaces;
    this.sharing.fork(child.sharing);
  }

  /**
   * Makes wasm memory zero where it has pages, or what is known of them, so that another address space can have it: nobody
   * uses this one any more.
   * @returns false if that can't be done
   */
  wipe(): boolean {
    this.onCodeChange = () => {};
    for (const vma of [...this.vmas]) if (vma.name !== FRAMES_NAME) this.#releasePart(vma.start, vma.end);
    return this.pages.wipe();
  }

  /** May the page be executed, be it there or not? */
  isExecutable(page: number): boolean {
    if (this.pages.window(page) & PERM_ABSENT) return ((this.vmas.at(page * PAGE_SIZE)?.prot ?? 0) & PROT_EXEC) !== 0;
    return (this.pages.window(page) & PROT_EXEC) !== 0;
  }

  /**
   * Would the page tables have a page at `address`? Not in a mapping without rights, and not before somebody has used it.
   * That memory without a file was only read is not known here; it counts as unused.
   */
  isInUse(address: number): boolean {
    const vma = this.guestMapping(address);
    if (vma === undefined || effective(vma.prot) === 0) return false;
    const page = Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
    if (this.sharing.inherited.has(page / PAGE_SIZE)) return true;
    if (!inWindow(page)) return this.pages.outside(page) !== 0;
    const state = this.pages.window(page / PAGE_SIZE);
    if (state & PERM_ABSENT || !(state & PERM_DIRTY)) return false;
    // Neighbours of a page that is written to are marked with it (PageMap.touch).
    return vma.backing !== undefined || this.#u8.subarray(page, page + PAGE_SIZE).some((byte) => byte !== 0);
  }

  /** The guest's mapping that holds `address`. */
  guestMapping(address: number): Vma | undefined {
    const vma = this.vmas.at(address);
    return vma?.name === FRAMES_NAME ? undefined : vma;
  }

  /**
   * Takes frames away from [start, end), so that its bytes are its own.
   * @throws MemoryError
   */
  vacate(start: number, end: number): void {
    if (this.#source.vacate(start, end, (chunk) => this.#frames.giveUp(chunk))) return;
    throw new MemoryError("ENOMEM", { kind: "machine", bytes: end - start, before: this.residentBytes });
  }
}

function mapRequestOf(vma: Vma): MapRequest {
  return { ...vma, address: vma.start, length: vma.end - vma.start };
}
