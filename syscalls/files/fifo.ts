import type { HostFifo, HostFile } from "../../host/host.ts";
import type { Inheritance } from "../../host/processes.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_ACCMODE, O_NONBLOCK, O_RDONLY, O_WRONLY } from "../abi/fcntl.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import { Block } from "../block.ts";
import type { Process } from "../process.ts";
import { FileDescription, WOULD_BLOCK } from "./description.ts";
import type { IoVector } from "./io-vector.ts";
import { PIPE_BUF, PIPE_CAPACITY } from "./pipe.ts";

/** How often is looked at what the host does not tell, in ms: a full FIFO, one without writers, one without readers. */
const FULL_MS = 2;
const CLOSED_MS = 5;
const READERS_MS = 50;
/** How often the other side of a FIFO that is being opened is looked for, in ms. */
const OPEN_MS = 5;

function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/**
 * One open of a FIFO (fifo(7)). All bytes go through the host's, which knows who has it open: guests of this machine, of
 * others, the host's own programs. The host's descriptor never waits; what the host does not tell is asked for again and
 * again as long as somebody waits.
 */
export class FifoDescription extends FileDescription {
  readonly #file: HostFile;
  readonly #fifo: HostFifo;
  readonly #openedAs: string;
  readonly #wakeUp: () => void;
  /** Bytes that were taken out to find out whether there are any. */
  #taken: Uint8Array = new Uint8Array(0);
  /** Has somebody had it open for writing since this open? Without that its end is none to poll(2). */
  #hadWriter = false;
  #full = false;
  #waiting = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(file: HostFile, fifo: HostFifo, flags: number, openedAs: string, wakeUp: () => void) {
    super(flags);
    this.#file = file;
    this.#fifo = fifo;
    this.#openedAs = openedAs;
    this.#wakeUp = wakeUp;
  }

  override get host(): HostFile {
    return this.#file;
  }

  override get canSignal(): boolean {
    return true;
  }

  override get path(): string {
    try {
      return this.#file.path();
    } catch {
      return `${this.#openedAs} (deleted)`;
    }
  }

  override stat(): FileStat {
    return this.#file.stat();
  }

  override get writesAll(): boolean {
    return true;
  }

  override inherit(): Inheritance | undefined {
    const { descriptor } = this.#file;
    return descriptor === undefined ? undefined : { kind: "host", descriptor };
  }

  /** Bytes that can be read now (ioctl FIONREAD). */
  get buffered(): number {
    const rest = new Uint8Array(PIPE_CAPACITY);
    const count = this.readable ? this.#readHost(rest) : 0;
    if (count > 0) this.#taken = concat(this.#taken, rest.subarray(0, count));
    return this.#taken.length;
  }

  /** Is this an open for reading that has to wait for somebody who writes (fs/pipe.c, fifo_open)? */
  get lacksWriter(): boolean {
    const waits = (this.flags & (O_ACCMODE | O_NONBLOCK)) === O_RDONLY;
    return waits && !this.#hadWriter && this.#look() === "closed";
  }

  /** What there is to read. To find out a byte may have to be taken. */
  #look(): "data" | "empty" | "closed" {
    if (this.#taken.length > 0) return "data";
    const bytes = new Uint8Array(1);
    const count = this.#readHost(bytes);
    if (count === 0) return "closed";
    this.#hadWriter = true;
    if (count === WOULD_BLOCK) return "empty";
    this.#taken = bytes.subarray(0, count);
    return "data";
  }

  /** Reads from the host; 0 if nobody has it open for writing, WOULD_BLOCK if it is empty. */
  #readHost(into: Uint8Array): number {
    try {
      return this.#file.read(into, null);
    } catch (error) {
      if (error instanceof SyscallError && error.message === "EAGAIN") return WOULD_BLOCK;
      throw error;
    }
  }

  override read(to: IoVector): number {
    if (to.remaining === 0) return 0;
    const before = to.done;
    if (this.#taken.length > 0) {
      const count = to.put(this.#taken);
      if (count === 0) to.fault();
      this.#taken = this.#taken.subarray(count);
    }
    let last = WOULD_BLOCK;
    for (const view of to.views()) {
      last = this.#readHost(view);
      if (last > 0) to.advance(last);
      if (last < view.length) break;
    }
    if (last !== 0) this.#hadWriter = true;
    if (to.done > before) return to.done - before;
    if (last === WOULD_BLOCK) this.#awaitBytes();
    return last;
  }

  /** Lets the host tell of the next bytes, or of the end. */
  #awaitBytes(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    void this.#fifo.wait().then((bytes) => {
      this.#waiting = false;
      if (this.#closed) return;
      this.#hadWriter = true;
      this.#taken = concat(bytes, this.#taken);
      this.#changed();
    });
  }

  /** Whoever waits looks again, after a while. */
  #later(ms: number): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#full = false;
      if (this.queue.size > 0) this.#changed();
    }, ms);
  }

  #changed(): void {
    this.queue.wake();
    this.#wakeUp();
  }

  override write(from: IoVector): number {
    if (from.remaining === 0) return 0;
    const { done } = from;
    // What fits into PIPE_BUF is written at once or not at all, even if it lies in several pieces.
    const whole = from.remaining <= PIPE_BUF && done === 0;
    const bytes = from.take(Math.min(from.remaining, PIPE_CAPACITY));
    from.done = done;
    if (bytes.length === 0 || (whole && bytes.length < from.remaining)) from.fault();
    try {
      const count = this.#file.write(bytes, null);
      from.advance(count);
      this.#full = false;
      return count;
    } catch (error) {
      if (!(error instanceof SyscallError) || error.message !== "EAGAIN") throw error;
      this.#full = true;
      this.#later(FULL_MS);
      return WOULD_BLOCK;
    }
  }

  override poll(): number {
    return this.#pollReader() | this.#pollWriter();
  }

  #pollReader(): number {
    if (!this.readable) return 0;
    const state = this.#look();
    if (state === "data") return POLLIN | POLLRDNORM;
    if (state === "closed" && this.#hadWriter) {
      // Another writer may come, of which the host does not tell while the last one's end is to be seen.
      this.#later(CLOSED_MS);
      return POLLHUP;
    }
    this.#awaitBytes();
    return 0;
  }

  #pollWriter(): number {
    if (!this.writable) return 0;
    const mask = this.#full ? 0 : POLLOUT | POLLWRNORM;
    if ((this.flags & O_ACCMODE) === O_WRONLY && !this.#fifo.hasReader()) return mask | POLLERR;
    this.#later(this.#full ? FULL_MS : READERS_MS);
    return mask;
  }

  protected override destroy(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#file.close();
  }
}

/**
 * Opening a FIFO waits for its other side (fifo(7)); the host is asked again and again, since it may not block.
 * @param attempt opens, or says by undefined that the other side is still missing
 */
export function waitForOtherSide(process: Process, attempt: () => number | undefined, cleanup?: () => void): Block {
  const { fifoOpened } = process.files;
  // What it does may wake the queue that it waits on.
  let underWay = false;
  const timer = setInterval(() => {
    fifoOpened.wake();
    process.wakeUp();
  }, OPEN_MS);
  return new Block({
    on: [fifoOpened],
    retry: () => {
      if (underWay) return null;
      underWay = true;
      try {
        return attempt() ?? null;
      } finally {
        underWay = false;
      }
    },
    cleanup: () => {
      clearInterval(timer);
      cleanup?.();
    },
  });
}
