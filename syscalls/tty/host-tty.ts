import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { HostTerminal, WindowSize } from "../../host/terminal.ts";
import { SyscallError } from "../abi/errno.ts";
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import { DISABLED, ICANON, type Termios, VMIN, VSTART, VSTOP, VTIME } from "../abi/termios.ts";
import { WOULD_BLOCK } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { Flow, Tty, When } from "./tty.ts";

/** Most bytes asked of a terminal, or handed to it, at once. */
const CHUNK = 0x1_0000;
/** How often a terminal that takes no more is tried again, in ms: hosts do not tell when there is room. */
const RETRY_MS = 2;
/** How often a terminal is looked at while a read waits for several bytes. */
const LOOK_AGAIN_MS = 5;
const MS_PER_TENTH = 100;

/** Is there something to read? "unknown" where the host has to be asked. */
type Input = "some" | "none" | "unknown";

/** A read under way of a terminal whose VTIME says how long it may take. */
interface Timed {
  expired: boolean;
  timer: ReturnType<typeof setTimeout>;
}

/**
 * A terminal of the host. Its line discipline is the host's: here is only what the host can't be asked for, since what we
 * do with the terminal must not wait (VMIN and VTIME of reads that wait, output held by tcflow(3)).
 */
export class HostTty implements Tty {
  readonly device: bigint;
  readonly queue = new WaitQueue();
  readonly #terminal: HostTerminal;
  readonly #wakeUp: () => void;
  readonly #timed = new Map<IoVector, Timed>();
  /** What TIOCINQ has taken out of the terminal to count it: what each read(2) of the host gave. */
  readonly #counted: Uint8Array[] = [];
  #users = 0;
  #input: Input = "unknown";
  #full = false;
  #held = false;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #lookAgain: ReturnType<typeof setTimeout> | undefined;
  readonly #ready = (): void => {
    this.#input = "some";
    this.#changed();
  };

  /** @param wakeUp lets the machine go on after something arrived */
  constructor(terminal: HostTerminal, wakeUp: () => void) {
    this.#terminal = terminal;
    this.device = terminal.device;
    this.#wakeUp = wakeUp;
  }

  #changed(): void {
    this.queue.wake();
    this.#wakeUp();
  }

  attributes(): Termios {
    return this.#terminal.attributes();
  }

  setAttributes(attributes: Termios, when: When): void {
    if (when === "flush") this.flush(true, false);
    this.#terminal.setAttributes(attributes);
    // What can be read depends on the settings: a line that is not finished, how many bytes are enough.
    this.#input = "unknown";
    this.#changed();
  }

  windowSize(): WindowSize {
    return this.#terminal.windowSize();
  }

  setWindowSize(size: WindowSize): void {
    this.#terminal.setWindowSize(size);
  }

  read(to: IoVector, waits: boolean): number {
    const before = to.done;
    const piece = this.#take(Math.min(to.remaining, CHUNK));
    this.#watchForQueue();
    if (piece !== undefined) {
      const count = to.put(piece);
      if (count === 0 && piece.length > 0) to.fault();
      // The rest of a line stays for the next read.
      if (count < piece.length) this.#counted.unshift(piece.subarray(count));
      if (!waits || piece.length === 0) return to.done;
    }
    if (!waits) return WOULD_BLOCK;
    return this.#enough(to, to.done > before);
  }

  /** Has a read that waits got what it waits for (drivers/tty/n_tty.c, n_tty_read)? */
  #enough(to: IoVector, more: boolean): number {
    const { lflag, cc } = this.#terminal.attributes();
    const [minimum, tenths] = lflag & ICANON ? [1, 0] : [cc[VMIN], cc[VTIME]];
    if (to.done >= Math.max(1, Math.min(minimum, to.length))) return this.#finish(to);
    if (tenths > 0 && (minimum === 0 || to.done > 0)) {
      if (this.#timed.get(to)?.expired) return this.#finish(to);
      if (more || !this.#timed.has(to)) this.#startTimer(to, tenths * MS_PER_TENTH);
    }
    // Of what has come one by one the host tells only when there is a minimum of it, and some has been taken already.
    if (minimum > 1) this.#lookAgain ??= setTimeout(() => this.#look(), LOOK_AGAIN_MS);
    else this.#watch();
    return WOULD_BLOCK;
  }

  #look(): void {
    this.#lookAgain = undefined;
    this.#changed();
  }

  #startTimer(to: IoVector, ms: number): void {
    clearTimeout(this.#timed.get(to)?.timer);
    const timed: Timed = {
      expired: false,
      timer: setTimeout(() => {
        timed.expired = true;
        this.#changed();
      }, ms),
    };
    this.#timed.set(to, timed);
  }

  #finish(to: IoVector): number {
    this.endRead(to);
    return to.done;
  }

  endRead(to: IoVector): void {
    clearTimeout(this.#timed.get(to)?.timer);
    this.#timed.delete(to);
  }

  /** What is there, at most `max` bytes; undefined if that is nothing. */
  #take(max: number): Uint8Array | undefined {
    const first = this.#counted.shift();
    if (first === undefined) {
      const piece = this.#terminal.read(max);
      this.#input = piece === undefined ? "none" : "unknown";
      return piece;
    }
    if (first.length > max) this.#counted.unshift(first.subarray(max));
    return first.subarray(0, max);
  }

  /**
   * Whoever is told of edges (epoll(7), EPOLLET) does not ask again when everything has been read: what comes next has
   * to be told without being asked for.
   */
  #watchForQueue(): void {
    if (this.queue.size > 0) this.#watch();
  }

  #watch(): void {
    if (this.#input !== "some" && this.#counted.length === 0) this.#terminal.watch(this.#ready);
  }

  write(from: IoVector): number {
    if (from.remaining === 0) return 0;
    if (this.#held) return WOULD_BLOCK;
    const view = from.views(CHUNK)[0];
    if (view === undefined) from.fault();
    try {
      const count = this.#terminal.write(view);
      from.advance(count);
      this.#full = false;
      return count;
    } catch (error) {
      if (!(error instanceof SyscallError) || error.message !== "EAGAIN") throw error;
      this.#tryLater();
      return WOULD_BLOCK;
    }
  }

  /** Wakes writers after a while. */
  #tryLater(): void {
    this.#full = true;
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.#full = false;
      this.#changed();
    }, RETRY_MS);
  }

  poll(): number {
    let mask = 0;
    if (!this.#full && !this.#held) mask |= POLLOUT | POLLWRNORM;
    if (this.#counted.length === 0 && this.#input === "unknown") {
      this.#input = this.#terminal.readable?.() ? "some" : "none";
    }
    if (this.#input === "some" || this.#counted.length > 0) mask |= POLLIN | POLLRDNORM;
    else this.#watch();
    return mask;
  }

  inputQueued(): number {
    for (;;) {
      const piece = this.#terminal.read(CHUNK);
      if (piece === undefined) break;
      this.#counted.push(piece);
      if (piece.length === 0) break;
    }
    this.#input = "none";
    this.#watchForQueue();
    return this.#counted.reduce((sum, { length }) => sum + length, 0);
  }

  outputQueued(): number {
    return 0;
  }

  flush(input: boolean, _output: boolean): void {
    if (!input) return;
    this.#counted.length = 0;
    this.#input = "unknown";
    const before = this.#terminal.attributes();
    // Of a line that is not finished nothing can be read as long as the terminal makes lines.
    const lines = (before.lflag & ICANON) !== 0;
    if (lines) this.#terminal.setAttributes({ ...before, lflag: before.lflag & ~ICANON });
    for (;;) {
      const piece = this.#terminal.read(CHUNK);
      if (piece === undefined || piece.length === 0) break;
    }
    if (lines) this.#terminal.setAttributes(before);
  }

  flow(what: Flow): void {
    if (what === "stop-output" || what === "start-output") {
      this.#held = what === "stop-output";
      if (!this.#held) this.#changed();
      return;
    }
    const character = this.attributes().cc[what === "send-stop" ? VSTOP : VSTART];
    if (character !== DISABLED) this.#terminal.write(Uint8Array.of(character));
  }

  open(): void {
    this.#users++;
  }

  close(): void {
    if (--this.#users > 0) return;
    this.#terminal.unwatch(this.#ready);
    clearTimeout(this.#retry);
    clearTimeout(this.#lookAgain);
    for (const { timer } of this.#timed.values()) clearTimeout(timer);
    this.#timed.clear();
  }
}
