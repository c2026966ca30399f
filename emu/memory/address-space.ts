import {
  inWindow,
  LOW_AREA,
  LOW_AREA_END,
  PAGE_SHIFT,
  PAGE_SIZE,
  PERM_ABSENT,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  TASK_SIZE,
  WINDOW_END,
  WINDOW_START,
} from "../layout.ts";
import { OutOfFrames, PageMap } from "./pages.ts";
import { type Backing, isPagedIn, type Vma, VmaList } from "./vma.ts";

/** Why a request for memory was refused; the names are those of the errno that Linux returns. */
export class MemoryError extends Error {
  readonly code: "ENOMEM" | "EINVAL" | "EEXIST" | "EFAULT";

  constructor(code: "ENOMEM" | "EINVAL" | "EEXIST" | "EFAULT") {
    super(code);
    this.code = code;
  }
}

/** Where mappings go that may lie anywhere: see docs/architecture.md, "Memory". */
export interface Placement {
  readonly low: number;
  readonly high: number;
  /** Are hints above the window honoured? */
  readonly honourHighHints: boolean;
}

export const COMPACT: Placement = { low: LOW_AREA_END, high: WINDOW_END - 0x100_0000, honourHighHints: false };
/** mmap_base without randomisation, as under gdb: below the 8 MiB stack and its gap (arch/x86/mm/mmap.c). */
export const LINUX: Placement = { low: LOW_AREA_END, high: 0x7fff_f7ff_f000, honourHighHints: true };

/** The name of the emulator's own mappings, which the guest does not see. */
export const FRAMES_NAME = "[goemu frames]";

export interface MapRequest {
  /** Hint, or the exact address under `fixed`; 0 for anywhere. */
  address: number;
  length: number;
  prot: number;
  fixed?: boolean;
  /** With `fixed`: fail with EEXIST instead of replacing (MAP_FIXED_NOREPLACE). */
  noReplace?: boolean;
  shared?: boolean;
  backing?: Backing;
  offset?: number;
  name?: string;
  /** Is more than there is memory in all refused at once, as Linux does (mm/util.c, __vm_enough_memory)? */
  accounted?: boolean;
}

/** Most mappings that a process may have (Linux: vm.max_map_count). */
const MAX_MAPPINGS = 65_530;

/** Can [start, end) be mapped at all, or is some of it below vm.mmap_min_addr or beyond the end? */
export function isInReach(start: number, end: number): boolean {
  return start >= WINDOW_START && end <= TASK_SIZE;
}

/** Where inWindow changes from one page to the next. */
const BORDERS = [LOW_AREA, LOW_AREA_END, WINDOW_END, Number.POSITIVE_INFINITY];

/** Cuts [start, end) into pieces that lie as a whole in the window, or out of line. */
function* parts(start: number, end: number): Iterable<{ start: number; end: number; isWindow: boolean }> {
  let at = start;
  for (const border of BORDERS) {
    if (at >= end) return;
    if (at >= border) continue;
    const until = Math.min(end, border);
    yield { start: at, end: until, isWindow: inWindow(at) };
    at = until;
  }
}

const alignUp = (value: number): number => Math.ceil(value / PAGE_SIZE) * PAGE_SIZE;

/** Frames for pages outside the window are cut from the window in pieces of this many bytes. */
const FRAME_CHUNK = 0x40_0000;

/** Pages of a file that are brought in together: this many bytes, aligned. */
const CLUSTER = 0x2_0000;

/** A guest's mappings and the memory behind them, with the rules of mmap(2), munmap(2), mprotect(2), mremap(2). */
export class AddressSpace {
  readonly memory: WebAssembly.Memory;
  readonly pages: PageMap;
  readonly vmas = new VmaList();
  readonly placement: Placement;
  /** Bytes that may be mapped accessible (RLIMIT_AS-like `--memory`). */
  readonly limit: number;
  /** Bytes mapped with some access right, now and at most. */
  accessibleBytes = 0;
  peakAccessibleBytes = 0;
  /** Called before the code on a page changes or goes away; drops translations made from it. */
  onCodeChange: (page: number) => void = () => {};
  /** Pages without PROT_READ in the page map so that reads are seen (guard). */
  readonly #readGuarded = new Set<number>();
  readonly #u8: Uint8Array;
  #freeFrames: number[] = [];

  constructor(memory: WebAssembly.Memory, placement: Placement = COMPACT, limit = Number.POSITIVE_INFINITY) {
    this.memory = memory;
    this.pages = new PageMap(memory.buffer);
    this.#u8 = new Uint8Array(memory.buffer);
    this.placement = placement;
    this.limit = limit;
  }

  /** Maps fresh zeroed memory and returns its address (mmap(2); Linux: mm/mmap.c, do_mmap). */
  map(request: MapRequest): number {
    const length = alignUp(request.length);
    if (length <= 0 || !Number.isFinite(length)) throw new MemoryError(request.length === 0 ? "EINVAL" : "ENOMEM");
    if (length > TASK_SIZE) throw new MemoryError("ENOMEM");
    if (request.accounted && length > WINDOW_END) throw new MemoryError("ENOMEM");
    this.#checkCount();
    const start = this.#place(request, length);
    const end = start + length;
    if (request.prot !== 0 && this.accessibleBytes + length > this.limit) throw new MemoryError("ENOMEM");
    this.#release(start, end);
    this.vmas.insert({
      start,
      end,
      prot: request.prot,
      shared: request.shared ?? false,
      backing: request.backing,
      offset: request.offset ?? 0,
      name: request.name ?? "",
    });
    this.#account(request.prot, length);
    this.#protectPages(start, end, request.prot);
    if (request.backing?.read !== undefined && !request.shared) this.#markAbsent(start, end);
    return start;
  }

  #place(request: MapRequest, length: number): number {
    const { address } = request;
    const inReach = (from: number): boolean => isInReach(from, from + length);
    if (request.fixed) {
      if (address % PAGE_SIZE !== 0) throw new MemoryError("EINVAL");
      if (!inReach(address)) throw new MemoryError("ENOMEM");
      if (this.#holdsFrames(address, address + length)) throw new MemoryError("ENOMEM");
      if (request.noReplace && !this.vmas.isFree(address, address + length)) throw new MemoryError("EEXIST");
      return address;
    }
    const hint = Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
    const wanted = hint !== 0 && (hint + length <= WINDOW_END || this.placement.honourHighHints);
    if (wanted && inReach(hint) && this.vmas.isFree(hint, hint + length)) return hint;
    const found =
      this.placement.high > WINDOW_END
        ? this.vmas.findFree(length, WINDOW_END + 0x1000_0000, this.placement.high)
        : this.vmas.findFree(length, this.placement.low, this.placement.high);
    if (found === undefined) throw new MemoryError("ENOMEM");
    return found;
  }

  /** Is some of [start, end) the emulator's own? The guest can neither have nor change it. */
  #holdsFrames(start: number, end: number): boolean {
    return this.vmas.overlapping(start, end).some(({ name }) => name === FRAMES_NAME);
  }

  #account(prot: number, bytes: number): void {
    if (prot === 0) return;
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
      this.#account(vma.prot, vma.start - vma.end);
      this.#dropCode(vma.start, vma.end);
      this.#protectPages(vma.start, vma.end, 0);
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

  #protectPages(start: number, end: number, prot: number): void {
    for (const part of parts(start, end)) {
      if (part.isWindow) this.pages.protectWindow(part.start / PAGE_SIZE, part.end / PAGE_SIZE, effective(prot));
      else {
        this.pages.forEachOutside(part.start, part.end, (address, entry) => {
          this.pages.setOutside(address, frameOf(entry), effective(prot));
        });
      }
    }
  }

  /** Pages of [start, end), zero, are to be brought in when they are used. Those out of line have no frame yet. */
  #markAbsent(start: number, end: number): void {
    for (const part of parts(start, end)) {
      if (part.isWindow) this.pages.markAbsent(part.start / PAGE_SIZE, part.end / PAGE_SIZE);
    }
  }

  #clear(start: number, end: number): void {
    for (const part of parts(start, end)) {
      if (part.isWindow) this.pages.clearWindow(part.start / PAGE_SIZE, part.end / PAGE_SIZE);
      else {
        this.pages.forEachOutside(part.start, part.end, (address, entry) => {
          const frame = frameOf(entry);
          this.#u8.fill(0, frame, frame + PAGE_SIZE);
          this.#freeFrames.push(frame);
          this.pages.clearOutside(address);
        });
      }
    }
  }

  /** Changes the protection of a range that is mapped throughout (mprotect(2)); ENOMEM where it is not. */
  protect(address: number, length: number, prot: number): void {
    const end = address + alignUp(length);
    if (address % PAGE_SIZE !== 0) throw new MemoryError("EINVAL");
    if (end === address) return;
    if (end > TASK_SIZE || !this.vmas.covers(address, end)) throw new MemoryError("ENOMEM");
    if (this.#holdsFrames(address, end)) throw new MemoryError("ENOMEM");
    this.#checkCount();
    if (prot !== 0 && this.accessibleBytes + this.#inaccessible(address, end) > this.limit)
      throw new MemoryError("ENOMEM");
    this.vmas.split(address);
    this.vmas.split(end);
    this.#dropCode(address, end);
    for (const vma of this.vmas.overlapping(address, end)) {
      this.#account(vma.prot, vma.start - vma.end);
      vma.prot = prot;
      this.#account(prot, vma.end - vma.start);
    }
    this.#protectPages(address, end, prot);
    this.vmas.mergeAround(address, end);
  }

  /** Bytes of [start, end) that are mapped without any access right. */
  #inaccessible(start: number, end: number): number {
    return this.vmas
      .overlapping(start, end)
      .filter(({ prot }) => prot === 0)
      .reduce((sum, vma) => sum + Math.min(vma.end, end) - Math.max(vma.start, start), 0);
  }

  /** Makes private pages read as zero again, or as what their file has (madvise(2), MADV_DONTNEED). */
  discard(address: number, length: number): void {
    const end = address + alignUp(length);
    for (const vma of this.vmas.overlapping(address, end)) {
      if (vma.shared || (vma.backing !== undefined && !isPagedIn(vma))) continue;
      const from = Math.max(vma.start, address);
      const to = Math.min(vma.end, end);
      this.#dropCode(from, to);
      this.#clear(from, to);
      if (isPagedIn(vma)) this.#markAbsent(from, to);
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
    const address = this.map({ ...moved, address: target ?? 0, fixed: target !== undefined });
    this.#copy(old, address, Math.min(from, to));
    this.#release(old, old + from);
    return address;
  }

  /**
   * Makes accesses to the page of `address` take the slow path, where Interpreter.watch sees them: writes, or reads and
   * writes. Changes of protection and code on the page undo it, so it is to be repeated before guest code runs.
   */
  guard(address: number, reads: boolean): void {
    const page = Math.floor(address / PAGE_SIZE);
    if (this.vmas.at(address) === undefined) return;
    this.pageIn(address);
    // Stores to a page with translated code are never plain.
    this.pages.markCodeAt(page * PAGE_SIZE, true);
    if (!reads) return;
    this.#readGuarded.add(page);
    this.pages.hideReads(page * PAGE_SIZE);
  }

  /** Takes all guards away: accesses are plain again. */
  unguard(): void {
    for (const page of this.#readGuarded) {
      const vma = this.vmas.at(page * PAGE_SIZE);
      if (vma === undefined) continue;
      this.onCodeChange(page);
      this.#protectPages(page * PAGE_SIZE, page * PAGE_SIZE + PAGE_SIZE, vma.prot);
    }
    this.#readGuarded.clear();
  }

  /** Is an access allowed that the page map refuses because the page is guarded? */
  allowsGuarded(address: number, need: number): boolean {
    if (!this.#readGuarded.has(Math.floor(address / PAGE_SIZE))) return false;
    return allows(this.vmas.at(address)?.prot ?? 0, need);
  }

  #copy(from: number, to: number, length: number): void {
    for (let done = 0; done < length; done += PAGE_SIZE) {
      // A page that nobody has used is the same at its new place.
      if (!this.#isPresent(from + done)) continue;
      if (!this.#isPresent(to + done) && this.pageIn(to + done) === 0) continue;
      const [source, destination] = [this.#physical(from + done), this.#physical(to + done)];
      this.#u8.copyWithin(destination, source, source + PAGE_SIZE);
      if (inWindow(to + done)) this.pages.markDirty((to + done) >>> PAGE_SHIFT, ((to + done) >>> PAGE_SHIFT) + 1);
    }
  }

  /** Has a mapped page its contents, or is all of it still to come? */
  #isPresent(page: number): boolean {
    if (inWindow(page)) return !(this.pages.window(page / PAGE_SIZE) & PERM_ABSENT);
    return this.pages.outside(page) !== 0;
  }

  #physical(page: number): number {
    return inWindow(page) ? page : frameOf(this.pages.outside(page));
  }

  /**
   * Brings a mapped page in: gives one out of line its frame, and reads what comes from a file.
   * @returns for a page out of line its entry, otherwise 1; 0 if the page is not mapped, lies behind its file's end, or
   * can't be had
   */
  pageIn(address: number): number {
    const vma = this.vmas.at(address);
    if (vma === undefined) return 0;
    const page = Math.floor(address / PAGE_SIZE) * PAGE_SIZE;
    if (inWindow(page)) return this.#pageInWindow(vma, page) ? 1 : 0;
    const present = this.pages.outside(page);
    if (present !== 0) return present;
    try {
      const frame = this.#takeFrame();
      if (isPagedIn(vma) && this.#readFile(vma, page, frame, PAGE_SIZE) === 0) {
        this.#freeFrames.push(frame);
        return 0;
      }
      this.pages.setOutside(page, frame, effective(vma.prot));
    } catch (error) {
      if (error instanceof OutOfFrames || error instanceof MemoryError) return 0;
      throw error;
    }
    return this.pages.outside(page);
  }

  /** Brings an absent page of the window in, and those around it: reading a page costs hardly less than reading many. */
  #pageInWindow(vma: Vma, page: number): boolean {
    const cluster = Math.floor(page / CLUSTER) * CLUSTER;
    const from = Math.max(cluster, vma.start);
    const until = Math.min(cluster + CLUSTER, vma.end);
    const { first, last } = this.pages.absentAround(page / PAGE_SIZE, from / PAGE_SIZE, until / PAGE_SIZE);
    if (first === last) return true;
    const start = first * PAGE_SIZE;
    const count = this.#readFile(vma, start, start, last * PAGE_SIZE - start);
    // Pages wholly behind the end of the file stay absent.
    const end = start + Math.ceil(count / PAGE_SIZE) * PAGE_SIZE;
    this.pages.markPresent(first, end / PAGE_SIZE, effective(vma.prot));
    return page < end;
  }

  /** Reads `length` bytes of a mapping's file for `address` to `host` in wasm memory; returns how many there were. */
  #readFile(vma: Vma, address: number, host: number, length: number): number {
    const offset = vma.offset + (address - vma.start);
    let done = 0;
    while (done < length) {
      const count = vma.backing?.read?.(this.#u8.subarray(host + done, host + length), offset + done) ?? 0;
      if (count <= 0) break;
      done += count;
    }
    return done;
  }

  /** May the page be executed, be it there or not? */
  isExecutable(page: number): boolean {
    if (this.pages.window(page) & PERM_ABSENT) return ((this.vmas.at(page * PAGE_SIZE)?.prot ?? 0) & PROT_EXEC) !== 0;
    return (this.pages.window(page) & PROT_EXEC) !== 0;
  }

  /** The guest's mapping that holds `address`. */
  guestMapping(address: number): Vma | undefined {
    const vma = this.vmas.at(address);
    return vma?.name === FRAMES_NAME ? undefined : vma;
  }

  #takeFrame(): number {
    if (this.#freeFrames.length === 0) {
      const start = this.vmas.findFree(FRAME_CHUNK, COMPACT.low, COMPACT.high);
      if (start === undefined) throw new MemoryError("ENOMEM");
      const name = FRAMES_NAME;
      this.vmas.insert({ start, end: start + FRAME_CHUNK, prot: 0, shared: true, backing: undefined, offset: 0, name });
      for (let at = start + FRAME_CHUNK - PAGE_SIZE; at >= start; at -= PAGE_SIZE) this.#freeFrames.push(at);
    }
    return this.#freeFrames.pop() as number;
  }
}

/** What the CPU checks: a page that may be written or executed may be read (x86 has no other pages). */
function effective(prot: number): number {
  return prot & (PROT_WRITE | PROT_EXEC) ? prot | PROT_READ : prot;
}

/** Does a mapping's protection allow an access that needs these rights? */
export function allows(prot: number, need: number): boolean {
  return (effective(prot) & need) === need;
}

function frameOf(entry: number): number {
  return (entry >>> PAGE_SHIFT) * PAGE_SIZE;
}

function mapRequestOf(vma: Vma): MapRequest {
  return { ...vma, address: vma.start, length: vma.end - vma.start };
}
