import { SyscallError } from "../abi/errno.ts";
import { O_NONBLOCK, O_RDWR } from "../abi/fcntl.ts";
import { EFD_SEMAPHORE, POLLERR, POLLIN, POLLOUT } from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import { anonymousStat } from "./anonymous.ts";
import { FileDescription, WOULD_BLOCK } from "./description.ts";
import type { IoVector } from "./io-vector.ts";

const ULLONG_MAX = 0xffff_ffff_ffff_ffffn;

/** A counter that is waited for like a file (eventfd(2); Linux: fs/eventfd.c). */
export class EventFd extends FileDescription {
  #count: bigint;
  readonly #semaphore: boolean;
  readonly #id: bigint;

  constructor(initial: number, flags: number, id: bigint) {
    super(O_RDWR | (flags & O_NONBLOCK));
    this.#count = BigInt(initial);
    this.#semaphore = (flags & EFD_SEMAPHORE) !== 0;
    this.#id = id;
  }

  override get path(): string {
    return "anon_inode:[eventfd]";
  }

  override stat(): FileStat {
    return anonymousStat(this.#id, 0o600);
  }

  /** Seeking does nothing (fs/read_write.c, noop_llseek). */
  override seek(): number {
    return 0;
  }

  override read(to: IoVector): number {
    if (to.remaining < 8) throw new SyscallError("EINVAL");
    if (this.#count === 0n) return WOULD_BLOCK;
    const value = this.#semaphore ? 1n : this.#count;
    this.#count -= value;
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    this.queue.wake();
    // The counter has been taken even if the buffer is bad (eventfd_read).
    return to.put(bytes) < 8 ? to.fault() : 8;
  }

  override write(from: IoVector): number {
    if (from.remaining < 8) throw new SyscallError("EINVAL");
    const { done } = from;
    const bytes = from.take(8);
    if (bytes.length < 8) from.fault();
    const value = new DataView(bytes.buffer).getBigUint64(0, true);
    if (value === ULLONG_MAX || ULLONG_MAX - this.#count <= value) from.done = done;
    if (value === ULLONG_MAX) throw new SyscallError("EINVAL");
    if (ULLONG_MAX - this.#count <= value) return WOULD_BLOCK;
    this.#count += value;
    this.queue.wake();
    return 8;
  }

  override poll(): number {
    let mask = 0;
    if (this.#count > 0n) mask |= POLLIN;
    if (this.#count === ULLONG_MAX) mask |= POLLERR;
    if (ULLONG_MAX - 1n > this.#count) mask |= POLLOUT;
    return mask;
  }
}
