import type { HeldLock, HostLocks } from "../locks.ts";

/** The locks of a machine that meets no other. */
export class MemoryLocks implements HostLocks {
  readonly self = "machine";
  readonly #files = new Map<string, readonly HeldLock[]>();

  update(file: string, change: (locks: readonly HeldLock[]) => readonly HeldLock[] | undefined): void {
    const locks = change(this.#files.get(file) ?? []);
    if (locks === undefined) return;
    if (locks.length === 0) this.#files.delete(file);
    else this.#files.set(file, locks);
  }

  setWaits(): void {}

  waitsOf(): readonly string[] {
    return [];
  }

  close(): void {
    this.#files.clear();
  }
}
