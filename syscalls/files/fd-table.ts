import { SyscallError } from "../abi/errno.ts";
import type { FileDescription } from "./description.ts";

export interface Descriptor {
  readonly description: FileDescription;
  closeOnExec: boolean;
}

/** Most descriptors a process may ever have (fs/file.c, sysctl_nr_open). */
export const NR_OPEN = 1_048_576;

/** A process's file descriptors: small numbers for open file descriptions (Linux: fs/file.c, struct fdtable). */
export class FdTable {
  /** RLIMIT_NOFILE: one more than the highest number that may be handed out. */
  limit: number;
  /** The hard limit, up to which the process may raise it. */
  hardLimit = NR_OPEN;
  /** Processes that have it (clone(2), CLONE_FILES). */
  users = 1;
  /** Told of each descriptor that goes. */
  onClose: ((description: FileDescription) => void) | undefined;
  #slots: (Descriptor | undefined)[] = [];
  /** No number below is free. */
  #lowestFree = 0;

  constructor(limit = 1024) {
    this.limit = limit;
  }

  /** The descriptor, or undefined if the number is not open. */
  find(fd: number): Descriptor | undefined {
    return this.#slots[fd];
  }

  /** @throws SyscallError EBADF */
  get(fd: number): FileDescription {
    const slot = this.#slots[fd];
    if (slot === undefined) throw new SyscallError("EBADF");
    return slot.description;
  }

  /** Open descriptors in order. */
  *entries(): IterableIterator<[number, Descriptor]> {
    for (let fd = 0; fd < this.#slots.length; fd++) {
      const slot = this.#slots[fd];
      if (slot !== undefined) yield [fd, slot];
    }
  }

  /**
   * The lowest free number from `minimum` on; nothing is taken yet (Linux: alloc_fd).
   * @throws SyscallError EMFILE at the limit
   */
  lowestFree(minimum = 0): number {
    let fd = Math.max(minimum, this.#lowestFree);
    while (this.#slots[fd] !== undefined) fd++;
    if (minimum <= this.#lowestFree) this.#lowestFree = fd;
    if (fd >= Math.min(this.limit, NR_OPEN)) throw new SyscallError("EMFILE");
    return fd;
  }

  /** Gives `description` the lowest free number from `minimum` on. @throws SyscallError EMFILE */
  install(description: FileDescription, closeOnExec: boolean, minimum = 0): number {
    const fd = this.lowestFree(minimum);
    this.#set(fd, description, closeOnExec);
    return fd;
  }

  /** Gives `description` exactly the number `fd`, closing what was there (dup2(2)). */
  replace(fd: number, description: FileDescription, closeOnExec: boolean): void {
    const old = this.#slots[fd];
    this.#set(fd, description, closeOnExec);
    if (old === undefined) return;
    this.onClose?.(old.description);
    old.description.release();
  }

  #set(fd: number, description: FileDescription, closeOnExec: boolean): void {
    while (this.#slots.length < fd) this.#slots.push(undefined);
    this.#slots[fd] = { description: description.acquire(), closeOnExec };
  }

  /** @throws SyscallError EBADF */
  close(fd: number): void {
    const slot = this.#slots[fd];
    if (slot === undefined) throw new SyscallError("EBADF");
    this.#slots[fd] = undefined;
    this.#lowestFree = Math.min(this.#lowestFree, fd);
    this.onClose?.(slot.description);
    slot.description.release();
  }

  /** Numbers in use in [first, last]. */
  inRange(first: number, last: number): number[] {
    const found: number[] = [];
    for (let fd = first; fd <= Math.min(last, this.#slots.length - 1); fd++) {
      if (this.#slots[fd] !== undefined) found.push(fd);
    }
    return found;
  }

  /** Closes all, whatever the host says of some. */
  closeAll(): void {
    for (const fd of this.inRange(0, this.#slots.length - 1)) {
      try {
        this.close(fd);
      } catch (error) {
        if (!(error instanceof SyscallError)) throw error;
      }
    }
  }
}
