import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { Inheritance } from "../../host/processes.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_ACCMODE, O_NONBLOCK, O_RDONLY, O_WRONLY } from "../abi/fcntl.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import { type FileStat, S_IFIFO } from "../abi/stat.ts";
import { anonymousStat } from "./anonymous.ts";
import { FileDescription, WOULD_BLOCK } from "./description.ts";
import type { IoVector } from "./io-vector.ts";

/** Writes up to this size are atomic; also the unit in which Linux keeps a pipe's bytes (pipe(7)). */
export const PIPE_BUF = 4096;
export const PIPE_CAPACITY = 0x1_0000;
/** Largest capacity without privilege (/proc/sys/fs/pipe-max-size). */
export const PIPE_MAX = 0x10_0000;

/** The bytes between the ends of a pipe (pipe(7); Linux: fs/pipe.c). */
class Pipe {
  capacity = PIPE_CAPACITY;
  bytes = 0;
  readers = 0;
  writers = 0;
  /** Descriptions that are open for both ways (a pipe opened again through /proc/self/fd). */
  duplex = 0;
  readonly readQueue = new WaitQueue();
  readonly writeQueue = new WaitQueue();
  readonly inode: bigint;
  readonly #chunks: Uint8Array[] = [];

  constructor(inode: bigint) {
    this.inode = inode;
  }

  get free(): number {
    return this.capacity - this.bytes;
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /** Moves bytes to `to`; returns how many. */
  shift(to: IoVector): number {
    let moved = 0;
    while (to.remaining > 0 && this.#chunks.length > 0) {
      const chunk = this.#chunks[0];
      const count = to.put(chunk);
      if (count === chunk.length) this.#chunks.shift();
      else this.#chunks[0] = chunk.subarray(count);
      moved += count;
      this.bytes -= count;
      if (count < chunk.length) break;
    }
    return moved;
  }

  /** The first bytes, which stay where they are (tee(2)). */
  peek(max: number): Uint8Array {
    const out = new Uint8Array(Math.min(max, this.bytes));
    let at = 0;
    for (const chunk of this.#chunks) {
      if (at === out.length) break;
      const part = chunk.subarray(0, out.length - at);
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  wake(): void {
    this.readQueue.wake();
    this.writeQueue.wake();
  }
}

/** One end of a pipe. */
export class PipeEnd extends FileDescription {
  readonly #pipe: Pipe;

  constructor(pipe: Pipe, flags: number) {
    super(flags, (flags & O_ACCMODE) === O_WRONLY ? pipe.writeQueue : pipe.readQueue);
    this.#pipe = pipe;
    if (this.readable) pipe.readers++;
    if (this.writable) pipe.writers++;
    if (this.readable && this.writable) pipe.duplex++;
  }

  /** Both ends of a new pipe. */
  static pair(inode: bigint, flags: number): [PipeEnd, PipeEnd] {
    const pipe = new Pipe(inode);
    const status = flags & O_NONBLOCK;
    return [new PipeEnd(pipe, O_RDONLY | status), new PipeEnd(pipe, O_WRONLY | status)];
  }

  override get canSignal(): boolean {
    return true;
  }

  override get path(): string {
    return `pipe:[${this.#pipe.inode}]`;
  }

  get capacity(): number {
    return this.#pipe.capacity;
  }

  /** Bytes waiting to be read. */
  get buffered(): number {
    return this.#pipe.bytes;
  }

  /** Bytes that can be written now. */
  get room(): number {
    return this.#pipe.free;
  }

  /** Are both ends of one pipe? */
  samePipe(other: PipeEnd): boolean {
    return this.#pipe === other.#pipe;
  }

  peek(max: number): Uint8Array {
    return this.#pipe.peek(max);
  }

  /**
   * Changes the capacity (fcntl(2), F_SETPIPE_SZ): rounded up to a power of two pages.
   * @throws SyscallError EBUSY if more is in it, EPERM above the limit, EINVAL for nonsense
   */
  resize(wanted: number): number {
    if (wanted > 0x8000_0000) throw new SyscallError("EINVAL");
    const size = 2 ** Math.ceil(Math.log2(Math.max(wanted, PIPE_BUF)));
    if (size > PIPE_MAX) throw new SyscallError("EPERM");
    if (size < this.#pipe.bytes) throw new SyscallError("EBUSY");
    this.#pipe.capacity = size;
    this.#pipe.writeQueue.wake();
    return size;
  }

  override get writesAll(): boolean {
    return true;
  }

  override inherit(): Inheritance {
    return { kind: "bridge", flags: this.flags & O_ACCMODE };
  }

  override stat(): FileStat {
    return anonymousStat(this.#pipe.inode, S_IFIFO | 0o600);
  }

  override reopen(flags: number): FileDescription {
    return new PipeEnd(this.#pipe, flags);
  }

  override read(to: IoVector): number {
    const pipe = this.#pipe;
    if (to.remaining === 0) return 0;
    if (pipe.bytes === 0) return pipe.writers === 0 ? 0 : WOULD_BLOCK;
    const count = pipe.shift(to);
    if (count === 0) to.fault();
    this.#changed(pipe.writeQueue);
    return count;
  }

  override write(from: IoVector): number {
    const pipe = this.#pipe;
    if (from.remaining === 0) return 0;
    if (pipe.readers === 0) throw new SyscallError("EPIPE");
    const room = from.remaining <= PIPE_BUF && from.done === 0 && pipe.free < from.remaining ? 0 : pipe.free;
    if (room === 0) return WOULD_BLOCK;
    const chunk = from.take(Math.min(room, from.remaining));
    if (chunk.length === 0) from.fault();
    pipe.push(chunk);
    this.#changed(pipe.readQueue);
    return chunk.length;
  }

  #changed(queue: WaitQueue): void {
    queue.wake();
    // An end opened for both ways sleeps on the read queue whatever it waits for.
    if (queue === this.#pipe.writeQueue && this.#pipe.duplex > 0) this.#pipe.readQueue.wake();
  }

  override poll(): number {
    const pipe = this.#pipe;
    let mask = 0;
    if (this.readable) {
      if (pipe.bytes > 0) mask |= POLLIN | POLLRDNORM;
      if (pipe.writers === 0) mask |= POLLHUP;
    }
    if (this.writable) {
      if (pipe.free >= PIPE_BUF) mask |= POLLOUT | POLLWRNORM;
      if (pipe.readers === 0) mask |= POLLERR;
    }
    return mask;
  }

  protected override destroy(): void {
    if (this.readable) this.#pipe.readers--;
    if (this.writable) this.#pipe.writers--;
    if (this.readable && this.writable) this.#pipe.duplex--;
    this.#pipe.wake();
  }
}
