import type { GuestMemory } from "../../emu/memory/guest-memory.ts";

/** What tells a file from all others of a machine: device and inode of a host's, an object for one in memory. */
export type FileIdentity = string | object;

/** A file that is mapped shared (mmap(2)), as those see it who read and write it otherwise. Offsets in bytes. */
export interface SharedView {
  /** Somebody is about to look at [from, to) of the file: what was stored to the mapping goes there. */
  settle(from: number, to: number): void;
  /** [from, to) of the file is not what it was; `to` may be behind its end. */
  written(from: number, to: number): void;
  /** The file has another size. */
  resized(size: number): void;
  /** The mapping's page for `offset` is about to be stored to elsewhere. */
  storedElsewhere(offset: number, at: SharedPlace): void;
}

/** A page of an address space, by its address. */
export interface SharedPlace {
  readonly memory: GuestMemory;
  readonly page: number;
}

/**
 * The files that are mapped shared. Each mapping has bytes of its own, and so has the host's file: this is where they are
 * kept the same (Linux has one page cache instead, mm/filemap.c). Like caches of several processors: a page of the file is
 * stored to in one mapping at a time, where everybody finds it, and goes into the file when others want to see it.
 */
export class SharedFiles {
  readonly #views = new Map<FileIdentity, Set<SharedView>>();

  /** Is none mapped? Then there is nothing to be told. */
  get isEmpty(): boolean {
    return this.#views.size === 0;
  }

  add(file: FileIdentity, view: SharedView): void {
    const views = this.#views.get(file);
    if (views === undefined) this.#views.set(file, new Set([view]));
    else views.add(view);
  }

  remove(file: FileIdentity, view: SharedView): void {
    const views = this.#views.get(file);
    views?.delete(view);
    if (views?.size === 0) this.#views.delete(file);
  }

  /** Is there but one view of it? */
  isAlone(file: FileIdentity): boolean {
    return (this.#views.get(file)?.size ?? 0) <= 1;
  }

  settle(file: FileIdentity, from: number, to: number): void {
    for (const view of this.#views.get(file) ?? []) view.settle(from, to);
  }

  written(file: FileIdentity, from: number, to: number): void {
    for (const view of this.#views.get(file) ?? []) view.written(from, to);
  }

  resized(file: FileIdentity, size: number): void {
    for (const view of this.#views.get(file) ?? []) view.resized(size);
  }

  storing(file: FileIdentity, offset: number, at: SharedPlace): void {
    for (const view of this.#views.get(file) ?? []) view.storedElsewhere(offset, at);
  }
}

/** The identity of a file with this device and inode. */
export const identityOf = ({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): FileIdentity =>
  `${dev}:${ino}`;
