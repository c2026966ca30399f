import { PAGE_SIZE, PROT_WRITE } from "../../emu/layout.ts";
import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { Backing, Vma } from "../../emu/memory/vma.ts";
import { SyscallError } from "../abi/errno.ts";
import type { FileDescription, Mappable } from "../files/description.ts";

/** Largest piece that is read or written at once. */
const CHUNK = 0x10_0000;

/**
 * A file behind mappings. Pages come in when they are used; those of a shared mapping that were stored to go back at msync,
 * munmap and exit.
 */
export class FileBacking implements Backing {
  readonly path: string;
  readonly file: Mappable;
  /** Do stores to a shared mapping reach the file? */
  readonly writable: boolean;
  readonly #description: FileDescription;

  constructor(description: FileDescription, file: Mappable, writable: boolean) {
    this.path = file.path;
    this.file = file;
    this.writable = writable;
    this.#description = description.acquire();
  }

  /** The process ends: the description is no longer needed. */
  close(): void {
    this.#description.release();
  }

  readonly read = (into: Uint8Array, offset: number): number => {
    try {
      return this.file.readAt(into, offset);
    } catch (error) {
      // To the program it is as if the file had ended.
      if (error instanceof SyscallError) return 0;
      throw error;
    }
  };

  /** Writes what was stored to a range of a shared mapping back, as far as the file reaches (msync(2)). */
  store(memory: GuestMemory, vma: Vma, start: number, end: number): void {
    if (!vma.shared || !this.writable || !(vma.prot & PROT_WRITE)) return;
    const { space } = memory;
    const size = Number(this.file.stat().size);
    const last = Math.min(end, vma.start + Math.max(0, size - vma.offset));
    for (let at = start; at < last; at += PAGE_SIZE) {
      const from = at;
      while (at < last && at - from < CHUNK && space.paging.isStoredTo(at)) at += PAGE_SIZE;
      if (at === from) continue;
      const offset = vma.offset + (from - vma.start);
      // Places in frames are not kept from one piece to the next.
      space.makeRoom();
      this.file.writeAt(memory.readBytes(from, Math.min(at - from, size - offset)), offset);
      space.markStored(from, at);
    }
  }
}

/** Stores what shared file mappings in [start, end) hold. */
export function storeShared(memory: GuestMemory, start: number, end: number): void {
  for (const vma of memory.space.vmas.overlapping(start, end)) {
    if (vma.backing instanceof FileBacking) {
      vma.backing.store(memory, vma, Math.max(start, vma.start), Math.min(end, vma.end));
    }
  }
}
