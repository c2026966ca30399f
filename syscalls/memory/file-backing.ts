import { PAGE_SIZE, PROT_WRITE } from "../../emu/layout.ts";
import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { Backing, Vma } from "../../emu/memory/vma.ts";
import { SyscallError } from "../abi/errno.ts";
import type { FileDescription, Mappable } from "../files/description.ts";
import type { SharedFiles, SharedPlace, SharedView } from "../files/shared-files.ts";
import { AnonymousFile } from "./anonymous-file.ts";

/** Largest piece that is read or written at once. */
const CHUNK = 0x10_0000;

const pageFloor = (value: number): number => value - (value % PAGE_SIZE);
const pageCeil = (value: number): number => Math.ceil(value / PAGE_SIZE) * PAGE_SIZE;

/**
 * A file behind mappings. Pages come in when they are used; those of a shared mapping that were stored to go back when
 * somebody reads the file or another mapping of it, and at msync, munmap and exit.
 */
export class FileBacking implements Backing, SharedView {
  readonly path: string;
  readonly file: Mappable;
  /** Do stores to a shared mapping reach the file? */
  readonly writable: boolean;
  readonly #description: FileDescription;
  readonly #memory: GuestMemory;
  readonly #files: SharedFiles;
  readonly #isShared: boolean;

  /** @param shared is it mapped MAP_SHARED? */
  constructor(
    description: FileDescription,
    file: Mappable,
    memory: GuestMemory,
    { files, shared }: { readonly files: SharedFiles; readonly shared: boolean },
  ) {
    this.path = file.path;
    this.file = file;
    this.writable = description.writable;
    this.#description = description.acquire();
    this.#memory = memory;
    this.#files = files;
    this.#isShared = shared;
    if (shared) files.add(file.identity, this);
  }

  /** The same file behind the same mappings of another address space (fork(2)). */
  fork(memory: GuestMemory): FileBacking {
    return new FileBacking(this.#description, this.file, memory, { files: this.#files, shared: this.#isShared });
  }

  /** Has nobody else what is in its file? */
  get isLast(): boolean {
    const description = this.#description;
    return description instanceof AnonymousFile && !description.outlives && this.#files.isAlone(this.file.identity);
  }

  get isMapped(): boolean {
    for (const { backing } of this.#memory.space.vmas) if (backing === this) return true;
    return false;
  }

  /** It is mapped nowhere any more, or the process ends: the description is no longer needed. */
  close(): void {
    this.#files.remove(this.file.identity, this);
    this.#description.release();
  }

  readonly read = (into: Uint8Array, offset: number): number => {
    try {
      if (!this.#files.isEmpty) this.#files.settle(this.file.identity, offset, offset + into.length);
      return this.file.readAt(into, offset);
    } catch (error) {
      // To the program it is as if the file had ended.
      if (error instanceof SyscallError) return 0;
      throw error;
    }
  };

  readonly storing = (offset: number, page: number): void => {
    this.#files.storing(this.file.identity, offset, { memory: this.#memory, page });
  };

  /** Its shared mappings with the range of memory that holds [from, to) of the file. */
  *#places(from: number, to: number): Iterable<{ vma: Vma; start: number; end: number }> {
    for (const vma of this.#memory.space.vmas) {
      if (vma.backing !== this || !vma.shared) continue;
      const start = Math.max(vma.start, vma.start + from - vma.offset);
      const end = Math.min(vma.end, vma.start + to - vma.offset);
      if (start < end) yield { vma, start, end };
    }
  }

  settle(from: number, to: number): void {
    if (!this.writable) return;
    for (const { vma, start, end } of this.#places(from, to)) {
      this.#store(vma, pageFloor(start), Math.min(vma.end, pageCeil(end)));
    }
  }

  written(from: number, to: number): void {
    const { paging } = this.#memory.space;
    for (const { vma, start, end } of this.#places(from, Math.min(to, this.#size))) {
      for (let at = start; at < end; at = pageFloor(at) + PAGE_SIZE) {
        if (!paging.isPresent(pageFloor(at))) continue;
        const bytes = new Uint8Array(Math.min(end, pageFloor(at) + PAGE_SIZE) - at);
        const count = this.file.readAt(bytes, vma.offset + (at - vma.start));
        this.#memory.poke(at, bytes.subarray(0, Math.max(0, count)));
      }
    }
  }

  resized(size: number): void {
    const { space } = this.#memory;
    for (const { vma, start, end } of this.#places(size, Number.MAX_SAFE_INTEGER)) {
      const whole = Math.min(vma.end, pageCeil(start));
      // What is behind the end on its page is zero; pages behind that are gone (mm/truncate.c, truncate_pagecache()).
      if (whole > start && space.paging.isPresent(pageFloor(start))) {
        this.#memory.poke(start, new Uint8Array(whole - start));
      }
      if (whole < end) space.forget(whole, end);
    }
  }

  storedElsewhere(offset: number, { memory, page }: SharedPlace): void {
    const { space } = this.#memory;
    for (const { start, end } of this.#places(offset, offset + PAGE_SIZE)) {
      if (start === page && memory === this.#memory) continue;
      if (space.paging.isPresent(start)) space.forget(start, end);
    }
  }

  get #size(): number {
    return Number(this.file.stat().size);
  }

  /** Writes a range of a shared mapping back, as far as the file reaches (msync(2)). */
  store(vma: Vma, start: number, end: number): void {
    // Places in frames are not kept from one mapping to the next.
    this.#memory.space.makeRoom();
    this.#store(vma, start, end);
  }

  #store(vma: Vma, start: number, end: number): void {
    if (!vma.shared || !this.writable || !(vma.prot & PROT_WRITE)) return;
    const { space } = this.#memory;
    let last = Number.POSITIVE_INFINITY;
    let size = 0;
    for (let at = start; at < Math.min(end, last); ) {
      const from = at;
      while (at < end && at - from < CHUNK && space.paging.isStoredTo(at)) at += PAGE_SIZE;
      if (at === from) {
        at += PAGE_SIZE;
        continue;
      }
      size = this.#size;
      last = vma.start + Math.max(0, size - vma.offset);
      const offset = vma.offset + (from - vma.start);
      if (offset < size) this.file.writeAt(this.#memory.readBytes(from, Math.min(at - from, size - offset)), offset);
      space.markStored(from, at);
    }
  }
}

/**
 * Stores what shared file mappings in [start, end) hold; returns the files behind mappings there.
 * @param areGone nobody will look at these mappings any more
 */
export function storeShared(memory: GuestMemory, start: number, end: number, areGone = false): Set<FileBacking> {
  const backings = new Set<FileBacking>();
  for (const vma of memory.space.vmas.overlapping(start, end)) {
    if (!(vma.backing instanceof FileBacking)) continue;
    const { backing } = vma;
    if (!(areGone && backing.isLast)) backing.store(vma, Math.max(start, vma.start), Math.min(end, vma.end));
    backings.add(vma.backing);
  }
  return backings;
}
