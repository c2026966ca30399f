import { SyscallError } from "../abi/errno.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import type { HostFile, WindowSize } from "../host/host.ts";
import { FileDescription, WOULD_BLOCK } from "./description.ts";
import type { IoVector } from "./io-vector.ts";

/** Bytes taken from a source when the guest asked only whether there are some. */
const READ_AHEAD = 4096;
/** Most bytes asked of a source, or handed to a sink, at once. */
const CHUNK = 0x1_0000;
/** How often a full sink is tried again, in ms: hosts do not tell when there is room. */
const RETRY_MS = 2;

/** What a stream is made of: a terminal, a FIFO, a pipe or a device of the host. */
export interface StreamEnds {
  readonly path: string;
  stat(): FileStat;
  readonly source: ((max: number) => Uint8Array | Promise<Uint8Array>) | undefined;
  /** Writes some bytes and returns how many. @throws SyscallError EAGAIN if it is full, EPIPE if it is closed */
  readonly sink: ((bytes: Uint8Array) => number) | undefined;
  readonly isTerminal: boolean;
  windowSize(): WindowSize | undefined;
  /** Lets the machine go on after something arrived. */
  wakeUp(): void;
  readonly file?: HostFile;
}

/** A host stream that delivers when it likes: standard input, output and error; FIFOs and devices opened by path. */
export class StreamDescription extends FileDescription {
  readonly #ends: StreamEnds;
  #buffered: Uint8Array = new Uint8Array(0);
  #ended = false;
  #error: SyscallError | undefined;
  #pending = false;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #sinkFull = false;

  constructor(ends: StreamEnds, flags: number) {
    super(flags);
    this.#ends = ends;
  }

  override get path(): string {
    return this.#ends.path;
  }

  override get host(): HostFile | undefined {
    return this.#ends.file;
  }

  get isTerminal(): boolean {
    return this.#ends.isTerminal;
  }

  /** Size of the terminal; undefined if this is none. */
  windowSize(): WindowSize | undefined {
    return this.#ends.windowSize();
  }

  /** Bytes that are here already (ioctl FIONREAD). */
  get buffered(): number {
    return this.#buffered.length;
  }

  override stat(): FileStat {
    return this.#ends.stat();
  }

  /** Asks the source for bytes unless there is an answer, or a question under way, already. */
  #ask(max: number): void {
    const { source } = this.#ends;
    if (source === undefined || this.#pending || this.#ended || this.#error || this.#buffered.length > 0) return;
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
    this.#ends.wakeUp();
  }

  #arrived(bytes: Uint8Array): void {
    if (bytes.length === 0) this.#ended = true;
    else this.#buffered = bytes;
  }

  #failed(error: unknown): void {
    this.#error = error instanceof SyscallError ? error : new SyscallError("EIO");
  }

  override read(to: IoVector): number {
    if (this.#ends.source === undefined) throw new SyscallError("EBADF");
    if (to.remaining === 0) return 0;
    this.#ask(to.remaining);
    if (this.#buffered.length > 0) {
      const count = to.put(this.#buffered);
      if (count === 0) to.fault();
      this.#buffered = this.#buffered.subarray(count);
      return count;
    }
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      throw error;
    }
    if (!this.#ended) return WOULD_BLOCK;
    // Control-D ends one read of a terminal; the next one asks again.
    if (this.#ends.isTerminal) this.#ended = false;
    return 0;
  }

  override write(from: IoVector): number {
    const { sink } = this.#ends;
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
      this.#tryLater();
      return WOULD_BLOCK;
    }
    this.#sinkFull = false;
    if (from.done === before) from.fault();
    return from.done - before;
  }

  #tryLater(): void {
    this.#sinkFull = true;
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.#sinkFull = false;
      this.queue.wake();
      this.#ends.wakeUp();
    }, RETRY_MS);
  }

  override poll(): number {
    let mask = 0;
    if (this.#ends.sink !== undefined && this.writable && !this.#sinkFull) mask |= POLLOUT | POLLWRNORM;
    if (this.#ends.source !== undefined && this.readable) {
      this.#ask(READ_AHEAD);
      if (this.#buffered.length > 0 || this.#ended) mask |= POLLIN | POLLRDNORM;
      if (this.#ended && !this.#ends.isTerminal) mask |= POLLHUP;
      if (this.#error !== undefined) mask |= POLLERR | POLLIN;
    }
    return mask;
  }

  protected override destroy(): void {
    clearTimeout(this.#retry);
    this.#ends.file?.close();
  }
}
