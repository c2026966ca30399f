import { PROT_READ, PROT_WRITE, TASK_SIZE } from "../../emu/layout.ts";
import { GuestFault, type GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SyscallError } from "../abi/errno.ts";
import { MAX_RW_COUNT, UIO_MAXIOV } from "../abi/fcntl.ts";

interface Segment {
  readonly address: number;
  readonly length: number;
}

/**
 * Where a transfer takes its bytes from or puts them: guest memory in pieces, or a buffer of the kernel's own. Knows how
 * far it has got and stops at the first byte that the guest may not access (Linux: include/linux/uio.h, iov_iter).
 */
export class IoVector {
  /** Bytes asked for. */
  readonly length: number;
  /** Bytes moved so far. */
  done = 0;
  readonly #memory: GuestMemory | undefined;
  readonly #buffer: Uint8Array;
  readonly #segments: readonly Segment[];
  readonly #need: number;

  private constructor(
    memory: GuestMemory | undefined,
    buffer: Uint8Array,
    segments: readonly Segment[],
    length: number,
    need: number,
  ) {
    this.#memory = memory;
    this.#buffer = buffer;
    this.#segments = segments;
    this.length = length;
    this.#need = need;
  }

  /**
   * One piece of guest memory, at most MAX_RW_COUNT bytes of it.
   * @param direction "in": the guest's bytes are read (write(2)); "out": they are written (read(2))
   * @throws GuestFault if the range is not user space at all (access_ok)
   */
  static guest(memory: GuestMemory, address: number, length: number, direction: "in" | "out"): IoVector {
    if (address + length > TASK_SIZE) throw new GuestFault(address);
    const capped = Math.min(length, MAX_RW_COUNT);
    const need = direction === "in" ? PROT_READ : PROT_WRITE;
    return new IoVector(memory, EMPTY, [{ address, length: capped }], capped, need);
  }

  /**
   * The pieces of a struct iovec array (lib/iov_iter.c, iovec_from_user and __import_iovec: EINVAL for more than
   * UIO_MAXIOV pieces or a negative length, EFAULT for one outside of user space).
   */
  static fromIovecs(memory: GuestMemory, address: number, count: number, direction: "in" | "out"): IoVector {
    if (count > UIO_MAXIOV) throw new SyscallError("EINVAL");
    const segments: Segment[] = [];
    let total = 0;
    const table = new DataView(memory.readBytes(address, count * 16).buffer);
    for (let i = 0; i < count; i++) {
      if (table.getBigInt64(i * 16 + 8, true) < 0n) throw new SyscallError("EINVAL");
    }
    for (let i = 0; i < count; i++) {
      const base = Number(table.getBigUint64(i * 16, true)); // iov_base
      const size = Number(table.getBigUint64(i * 16 + 8, true)); // iov_len
      if (base + size > TASK_SIZE) throw new GuestFault(base);
      const length = Math.min(size, MAX_RW_COUNT - total);
      segments.push({ address: base, length });
      total += length;
    }
    return new IoVector(memory, EMPTY, segments, total, direction === "in" ? PROT_READ : PROT_WRITE);
  }

  /** A buffer of our own. */
  static buffer(bytes: Uint8Array): IoVector {
    return new IoVector(undefined, bytes, [{ address: 0, length: bytes.length }], bytes.length, 0);
  }

  get remaining(): number {
    return this.length - this.done;
  }

  /** All memory that the vector's bytes may lie in; see place. */
  get bytes(): Uint8Array {
    return this.#memory?.u8 ?? this.#buffer;
  }

  /** Where in `bytes` all that is left lies, if it is one piece and may be accessed throughout; -1 if not, or if none is. */
  place(): number {
    return this.#placeOf(this.remaining);
  }

  /** The same for the next `count` bytes of what is left. */
  #placeOf(count: number): number {
    if (this.#segments.length !== 1 || count === 0) return -1;
    const start = this.#segments[0].address + this.done;
    return this.#memory === undefined ? start : this.#memory.contiguous(start, count, this.#need);
  }

  /**
   * Views of what comes next, at most `max` bytes; shorter where the guest may not access what follows. Nothing is
   * consumed: see advance.
   */
  views(max = this.remaining): Uint8Array[] {
    const views: Uint8Array[] = [];
    let skip = this.done;
    let left = Math.min(max, this.remaining);
    for (const { address, length } of this.#segments) {
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const want = Math.min(left, length - skip);
      if (want === 0) break;
      const start = address + skip;
      skip = 0;
      if (this.#memory === undefined) {
        views.push(this.#buffer.subarray(start, start + want));
      } else {
        const fits = this.#memory.accessible(start, want, this.#need);
        if (fits > 0) views.push(...this.#memory.pieces(start, fits, this.#need));
        if (fits < want) break;
      }
      left -= want;
    }
    return views;
  }

  advance(count: number): void {
    this.done += count;
  }

  /**
   * Copies into the vector as much as fits and is accessible.
   * @returns bytes copied; less than asked only at the end or at a fault
   */
  put(bytes: Uint8Array): number {
    // Mostly it is one piece that takes all: no view is made of it.
    const place = bytes.length > 0 && bytes.length <= this.remaining ? this.#placeOf(bytes.length) : -1;
    if (place >= 0) {
      this.bytes.set(bytes, place);
      this.advance(bytes.length);
      return bytes.length;
    }
    let copied = 0;
    for (const view of this.views(bytes.length)) {
      view.set(bytes.subarray(copied, copied + view.length));
      copied += view.length;
    }
    this.advance(copied);
    return copied;
  }

  /** Copies out of the vector, at most `max` bytes; shorter only at the end or at a fault. */
  take(max: number): Uint8Array {
    const count = Math.min(max, this.remaining);
    const place = this.#placeOf(count);
    if (place >= 0) {
      this.advance(count);
      return this.bytes.slice(place, place + count);
    }
    const views = this.views(max);
    const bytes = new Uint8Array(views.reduce((sum, view) => sum + view.length, 0));
    let at = 0;
    for (const view of views) {
      bytes.set(view, at);
      at += view.length;
    }
    this.advance(at);
    return bytes;
  }

  /** Call when nothing could be moved although something was asked for and there: the guest's pointer is bad. */
  fault(): never {
    throw new GuestFault(this.#segments[0]?.address ?? 0);
  }
}

const EMPTY = new Uint8Array(0);
