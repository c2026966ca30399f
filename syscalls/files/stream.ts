import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { HostFile } from "../../host/host.ts";
import type { Inheritance } from "../../host/processes.ts";
import { SyscallError } from "../abi/errno.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import { FileDescription, WOULD_BLOCK } from "./description.ts";
import type { IoVector } from "./io-vector.ts";

/** Bytes taken from a source when the guest asked only whether there are some. */
const READ_AHEAD = 4096;
/** Most bytes asked of a source, or handed to a sink, at once. */
const CHUNK = 0x1_0000;
/** How often a full sink is tried again, in ms: hosts do not tell when there is room. */
const RETRY_MS = 2;

/** What a stream is made of: a FIFO, a pipe or a device of the host. */
export interface StreamEnds {
  /** Its number on the host. */
  readonly descriptor?: number;
  readonly path: string;
  stat(): FileStat;
  readonly source: ((max: number) => Uint8Array | Promise<Uint8Array>) | undefined;
  /** Writes some bytes and returns how many. @throws SyscallError EAGAIN if it is full, EPIPE if it is closed */
  readonly sink: ((bytes: Uint8Array) => number) | undefined;
  /** Lets the machine go on after something arrived. */
  wakeUp(): void;
  readonly file?: HostFile;
  /** Gives a stream back that was there from the start. */
  release?(): void;
}

/** The state of a host stream that all descriptions of it share: what has arrived and not been read. */
class Stream {
  readonly ends: StreamEnds;
  readonly queue = new WaitQueue();
  users = 0;
  buffered: Uint8Array = new Uint8Array(0);
  ended = false;
  error: SyscallError | undefined;
  sinkFull = false;
  #pending = false;
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(ends: StreamEnds) {
    this.ends = ends;
  }

  /** Asks the source for bytes unless there is an answer, or a question under way, already. */
  ask(max: number): void {
    const { source } = this.ends;
    if (source === undefined || this.#pending || this.ended || this.error || this.buffered.length > 0) return;
    try {
      const answer = source(Math.min(max, CHUNK));
      if (answer instanceof Uint8Array) {
        this.#arrived(answer);
        return;
      }
      this.#pending = true;
      answer.then(
        (bytes) => this.#settle(() => this.#arrived(bytes)),
        (error: unknown) => this.#settle(() => this.#failed(error)),
      );
    } catch (error) {
      this.#failed(error);
    }
  }

  #settle(store: () => void): void {
    this.#pending = false;
    store();
    this.queue.wake();
    this.ends.wakeUp();
  }

  #arrived(bytes: Uint8Array): void {
    if (bytes.length === 0) this.ended = true;
    else this.buffered = bytes;
  }

  #failed(error: unknown): void {
    this.error = error instanceof SyscallError ? error : new SyscallError("EIO");
  }

  /** Wakes writers after a while. */
  tryLater(): void {
    this.sinkFull = true;
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.sinkFull = false;
      this.queue.wake();
      this.ends.wakeUp();
    }, RETRY_MS);
  }

  drop(): void {
    if (--this.users > 0) return;
    clearTimeout(this.#retry);
    this.ends.file?.close();
    this.ends.release?.();
  }
}

/** A host stream that delivers when it likes: standard input, output and error; FIFOs and devices opened by path. */
export class StreamDescription extends FileDescription {
  readonly #stream: Stream;

  constructor(ends: StreamEnds | Stream, flags: number) {
    const stream = ends instanceof Stream ? ends : new Stream(ends);
    super(flags, stream.queue);
    this.#stream = stream;
    stream.users++;
  }

  override get canSignal(): boolean {
    return true;
  }

  override get path(): string {
    return this.#stream.ends.path;
  }

  override get host(): HostFile | undefined {
    return this.#stream.ends.file;
  }

  /** Bytes that are here already (ioctl FIONREAD). */
  get buffered(): number {
    return this.#stream.buffered.length;
  }

  override get writesAll(): boolean {
    return true;
  }

  override inherit(): Inheritance | undefined {
    const descriptor = this.#stream.ends.descriptor ?? this.#stream.ends.file?.descriptor;
    return descriptor === undefined ? undefined : { kind: "host", descriptor };
  }

  override stat(): FileStat {
    return this.#stream.ends.stat();
  }

  override reopen(flags: number): FileDescription {
    return new StreamDescription(this.#stream, flags);
  }

  override read(to: IoVector): number {
    const stream = this.#stream;
    if (stream.ends.source === undefined) throw new SyscallError("EBADF");
    if (to.remaining === 0) return 0;
    stream.ask(to.remaining);
    if (stream.buffered.length > 0) {
      const count = to.put(stream.buffered);
      if (count === 0) to.fault();
      stream.buffered = stream.buffered.subarray(count);
      return count;
    }
    if (stream.error !== undefined) {
      const { error } = stream;
      stream.error = undefined;
      throw error;
    }
    return stream.ended ? 0 : WOULD_BLOCK;
  }

  override write(from: IoVector): number {
    const { sink } = this.#stream.ends;
    if (sink === undefined) throw new SyscallError("EBADF");
    if (from.remaining === 0) return 0;
    const before = from.done;
    try {
      while (from.remaining > 0) {
        const view = from.views(CHUNK)[0];
        if (view === undefined) break;
        const count = sink(view);
        from.advance(count);
        if (count < view.length) break;
      }
    } catch (error) {
      if (from.done > before) return from.done - before;
      if (!(error instanceof SyscallError) || error.message !== "EAGAIN") throw error;
      this.#stream.tryLater();
      return WOULD_BLOCK;
    }
    this.#stream.sinkFull = false;
    if (from.done === before) from.fault();
    return from.done - before;
  }

  override poll(): number {
    const stream = this.#stream;
    let mask = 0;
    if (stream.ends.sink !== undefined && this.writable && !stream.sinkFull) mask |= POLLOUT | POLLWRNORM;
    if (stream.ends.source !== undefined && this.readable) {
      stream.ask(READ_AHEAD);
      if (stream.buffered.length > 0 || stream.ended) mask |= POLLIN | POLLRDNORM;
      if (stream.ended) mask |= POLLHUP;
      if (stream.error !== undefined) mask |= POLLERR | POLLIN;
    }
    return mask;
  }

  protected override destroy(): void {
    this.#stream.drop();
  }
}
