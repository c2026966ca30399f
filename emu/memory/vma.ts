import { PROT_EXEC, PROT_READ, PROT_WRITE } from "../layout.ts";

/** One mapping, as a line of /proc/self/maps has it. Addresses and lengths in bytes, page aligned. */
export interface Vma {
  start: number;
  end: number;
  /** PROT_READ | PROT_WRITE | PROT_EXEC. */
  prot: number;
  shared: boolean;
  /** What the kernel layer knows about the mapping: its file, or nothing for anonymous memory. */
  backing: Backing | undefined;
  /** Offset of `start` in the backing file. */
  offset: number;
  /** Label in brackets ("[stack]", "[vdso]") or empty. */
  name: string;
  /** Is it not to count as memory that was promised (MAP_NORESERVE)? */
  noReserve?: boolean;
}

/** Bytes of private memory that a mapping promises (Linux: mm/mmap.c, accountable_mapping). */
export function promisedBytes(vma: Vma): number {
  return vma.shared || vma.noReserve || !(vma.prot & PROT_WRITE) ? 0 : vma.end - vma.start;
}

/** A file behind a mapping; the kernel layer has classes of it. */
export interface Backing {
  readonly path: string;
  /**
   * Where pages come from, each when it is first used: reads at an offset in the file.
   * Without it whoever maps also fills.
   * @returns how many bytes there were: fewer than asked for at the file's end, or where it can't be read
   */
  readonly read?: (into: Uint8Array, offset: number) => number;
  /**
   * A page of a shared mapping is about to be stored to for the first time since it was as the file.
   * @param offset of the page in the file
   * @param page its address
   */
  readonly storing?: (offset: number, page: number) => void;
}

/** Do the mapping's pages come from its file when they are first used? */
export function isPagedIn(vma: Vma): boolean {
  return vma.backing?.read !== undefined;
}

/**
 * The rights that pages have when they come in, or are not known to be written to. Those of a shared file mapping can't be
 * written at first, so that the first store is noticed: what is not stored to need not go back into the file.
 */
export function freshRights(vma: Vma): number {
  const rights = effective(vma.prot);
  return vma.shared && isPagedIn(vma) ? rights & ~PROT_WRITE : rights;
}

/** The name of the emulator's own mappings, which the guest does not see. */
export const FRAMES_NAME = "[goemu frames]";

/** What the CPU checks: a page that may be written or executed may be read (x86 has no other pages). */
export function effective(prot: number): number {
  return prot & (PROT_WRITE | PROT_EXEC) ? prot | PROT_READ : prot;
}

/** Does a mapping's protection allow an access that needs these rights? */
export function allows(prot: number, need: number): boolean {
  return (effective(prot) & need) === need;
}

/** The mappings of an address space: sorted, never overlapping (Linux: mm/vma.c). */
export class VmaList {
  #list: Vma[] = [];

  *[Symbol.iterator](): Iterator<Vma> {
    yield* this.#list;
  }

  get length(): number {
    return this.#list.length;
  }

  /** Index of the first mapping that ends above `address` (Linux: find_vma). */
  #indexFrom(address: number): number {
    let low = 0;
    let high = this.#list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#list[middle].end <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The mapping that holds `address`. */
  at(address: number): Vma | undefined {
    const vma = this.#list[this.#indexFrom(address)];
    return vma !== undefined && vma.start <= address ? vma : undefined;
  }

  /** Mappings that touch [start, end), in order. */
  overlapping(start: number, end: number): Vma[] {
    const found: Vma[] = [];
    for (let i = this.#indexFrom(start); i < this.#list.length && this.#list[i].start < end; i++) {
      found.push(this.#list[i]);
    }
    return found;
  }

  /** Is every byte of [start, end) mapped? */
  covers(start: number, end: number): boolean {
    let at = start;
    for (const vma of this.overlapping(start, end)) {
      if (vma.start > at) return false;
      at = vma.end;
    }
    return at >= end;
  }

  /** Splits the mapping around `address`, so that a boundary lies there. */
  split(address: number): void {
    const i = this.#indexFrom(address);
    const vma = this.#list[i];
    if (vma === undefined || vma.start >= address) return;
    const upper: Vma = { ...vma, start: address, offset: vma.offset + (address - vma.start) };
    vma.end = address;
    this.#list.splice(i + 1, 0, upper);
  }

  /** Takes [start, end) out and returns what was there. */
  remove(start: number, end: number): Vma[] {
    this.split(start);
    this.split(end);
    const from = this.#indexFrom(start);
    let to = from;
    while (to < this.#list.length && this.#list[to].start < end) to++;
    return this.#list.splice(from, to - from);
  }

  /** Adds a mapping to a range that is free, joining it with equal neighbours (Linux: vma_merge). */
  insert(vma: Vma): void {
    const i = this.#indexFrom(vma.start);
    this.#list.splice(i, 0, vma);
    this.mergeAround(vma.start, vma.end);
  }

  /** Joins equal neighbours at the edges of and inside [start, end]. */
  mergeAround(start: number, end: number): void {
    let i = Math.max(0, this.#indexFrom(start) - 1);
    while (i + 1 < this.#list.length && this.#list[i].start <= end) {
      const a = this.#list[i];
      const b = this.#list[i + 1];
      if (canMerge(a, b)) {
        a.end = b.end;
        this.#list.splice(i + 1, 1);
      } else i++;
    }
  }

  /** Highest free range of `length` bytes within [low, high), top down (Linux: vm_unmapped_area). */
  findFree(length: number, low: number, high: number): number | undefined {
    let top = high;
    for (let i = this.#indexFrom(high - 1); i >= -1; i--) {
      const vma = i >= 0 ? this.#list[i] : undefined;
      if (vma !== undefined && vma.start >= high) continue;
      const floor = Math.max(low, vma?.end ?? 0);
      if (top - floor >= length) return top - length;
      if (vma === undefined || vma.start <= low) return undefined;
      top = Math.min(top, vma.start);
    }
    return undefined;
  }

  /** Is [start, end) free of mappings? */
  isFree(start: number, end: number): boolean {
    const vma = this.#list[this.#indexFrom(start)];
    return vma === undefined || vma.start >= end;
  }
}

function canMerge(a: Vma, b: Vma): boolean {
  return (
    a.end === b.start &&
    a.prot === b.prot &&
    a.shared === b.shared &&
    a.backing === b.backing &&
    a.name === b.name &&
    (a.noReserve ?? false) === (b.noReserve ?? false) &&
    (a.backing === undefined || a.offset + (a.end - a.start) === b.offset)
  );
}
