import { PROT_WRITE } from "../../emu/layout.ts";
import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { Backing, Vma } from "../../emu/memory/vma.ts";
import { SyscallError } from "../abi/errno.ts";
import type { FileDescription, Mappable } from "../files/description.ts";

/** Largest piece that is read or written at once. */
const CHUNK = 0x10_0000;

/**
 * A file behind mappings. Pages of a private mapping come in when they are used; the bytes of a shared one are copied in
 * when it is mapped, and those of a writable one go back at msync, munmap and exit.
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

  /** Fills a fresh mapping from the file; bytes beyond its end stay zero. */
  load(memory: GuestMemory, address: number, length: number, offset: number): void {
    const buffer = new Uint8Array(Math.min(length, CHUNK));
    for (let done = 0; done < length; ) {
      const count = this.file.readAt(buffer.subarray(0, Math.min(buffer.length, length - done)), offset + done);
      if (count <= 0) break;
      memory.poke(address + done, buffer.subarray(0, count));
      done += count;
    }
  }

  /** Writes a range of a shared mapping back, as far as the file reaches (msync(2)). */
  store(memory: GuestMemory, vma: Vma, start: number, end: number): void {
    if (!vma.shared || !this.writable || !(vma.prot & PROT_WRITE)) return;
    const size = Number(this.file.stat().size);
    for (let at = start; at < end; ) {
      const offset = vma.offset + (at - vma.start);
      const count = Math.min(end - at, CHUNK, size - offset);
      if (count <= 0) return;
      try {
        this.file.writeAt(memory.readBytes(at, count), offset);
      } catch (error) {
        if (!(error instanceof GuestFault)) throw error;
      }
      at += count;
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
