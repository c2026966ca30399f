import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { WindowSize } from "../../host/terminal.ts";
import { SyscallError } from "../abi/errno.ts";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import { SIGNAL } from "../abi/signals.ts";
import { ICANON, IXON, type Termios, TOSTOP, VMIN, VSTART, VSTOP, VTIME } from "../abi/termios.ts";
import { WOULD_BLOCK } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import { LineDiscipline } from "./line-discipline.ts";
import type { Flow, Tty, When } from "./tty.ts";

/** Bytes on their way to a terminal's master (drivers/tty/pty.c, tty_buffer_set_limit). */
const OUTPUT_LIMIT = 8192;
/** Handed over by a write at a time. */
const CHUNK = 2048;
const MS_PER_TENTH = 100;

/** Bits of a packet's first byte (ioctl_tty(2), TIOCPKT). */
const PKT_FLUSHREAD = 1;
const PKT_FLUSHWRITE = 2;
const PKT_STOP = 4;
const PKT_START = 8;
const PKT_NOSTOP = 16;
const PKT_DOSTOP = 32;

/** What a pair of terminals needs of the kernel around it. */
export interface PtyKernel {
  /** Sends a signal to a process group. */
  signalGroup(group: number, signal: number): void;
  /** The terminal is its session's no more: those in the foreground are told (SIGHUP, and SIGCONT unless at an end). */
  disassociate(pty: Pty, onExit: boolean): void;
  /** The master is gone: the session's leader is told as well (drivers/tty/tty_io.c, tty_signal_session_leader). */
  hangUp(pty: Pty): void;
  /**
   * May the caller read, write or change the terminal, or is it in the background? Then its group is sent `signal`, and the
   * call is to wait (drivers/tty/tty_jobctrl.c, __tty_check_change).
   * @throws SyscallError EIO where nobody could bring it to the foreground
   */
  mayUse(pty: Pty, signal: number): boolean;
  /** Calls back after so many milliseconds; what it returns takes that back. */
  after(ms: number, then: () => void): () => void;
}

/** A read of the slave that waits, and how long it may (VTIME). */
interface Timed {
  expired: boolean;
  cancel(): void;
}

/**
 * A pair of pseudo-terminals (pty(7); Linux: drivers/tty/pty.c): what is written to the master is typed at the slave,
 * and what is written to the slave, and the echo of what is typed, is read at the master.
 */
export class Pty implements Tty {
  /** N of /dev/pts/N. */
  readonly index: number;
  readonly device: bigint;
  /** Woken for the slave, and for the master. */
  readonly queue = new WaitQueue();
  readonly masterQueue = new WaitQueue();
  /** TIOCSPTLCK: it can be opened by name only when this has been taken off. */
  locked = true;
  /** The session that it controls, and the group in its foreground; 0 for none. */
  session = 0;
  foreground = 0;
  exclusive = false;
  readonly #kernel: PtyKernel;
  readonly #discipline: LineDiscipline;
  readonly #timed = new Map<IoVector, Timed>();
  #size: WindowSize = { rows: 0, columns: 0 };
  /** What the master has not read. */
  #output: number[] = [];
  #packets = false;
  #status = 0;
  #held = false;
  #slaves = 0;
  #wasOpened = false;
  #masterOpen = true;

  constructor(index: number, device: bigint, kernel: PtyKernel) {
    this.index = index;
    this.device = device;
    this.#kernel = kernel;
    this.#discipline = new LineDiscipline({
      output: (bytes) => this.#show(bytes),
      signal: (signal) => {
        if (this.foreground > 0) kernel.signalGroup(this.foreground, signal);
      },
      flow: (stopped) => this.#flowChanged(stopped),
      flushOutput: () => this.#flushOutput(),
    });
  }

  /** Has the master been closed? Then the slave is hung up. */
  get hungUp(): boolean {
    return !this.#masterOpen;
  }

  #show(bytes: readonly number[]): void {
    for (const byte of bytes) this.#output.push(byte);
    this.masterQueue.wake();
  }

  #flushOutput(): void {
    this.#output = [];
    this.#tell(PKT_FLUSHWRITE);
    this.queue.wake();
  }

  #flowChanged(stopped: boolean): void {
    this.#status &= ~(PKT_STOP | PKT_START);
    this.#tell(stopped ? PKT_STOP : PKT_START);
    this.queue.wake();
  }

  /** Something that a master in packet mode is told of. */
  #tell(status: number): void {
    if (!this.#packets) return;
    this.#status |= status;
    this.masterQueue.wake();
  }

  // The slave.

  attributes(): Termios {
    return this.#discipline.termios;
  }

  setAttributes(attributes: Termios, when: When): void {
    if (when === "flush") this.flush(true, false);
    const before = this.#discipline.termios;
    this.#discipline.termios = attributes;
    const stops = (termios: Termios): boolean =>
      (termios.iflag & IXON) !== 0 && termios.cc[VSTOP] === 0x13 && termios.cc[VSTART] === 0x11;
    if (stops(before) !== stops(attributes)) {
      this.#status &= ~(PKT_NOSTOP | PKT_DOSTOP);
      this.#tell(stops(attributes) ? PKT_DOSTOP : PKT_NOSTOP);
    }
    this.queue.wake();
  }

  windowSize(): WindowSize {
    return this.#size;
  }

  /** pty_resize(): whoever is in the foreground is told of another size. */
  setWindowSize(size: WindowSize): void {
    if (size.rows === this.#size.rows && size.columns === this.#size.columns) return;
    this.#size = size;
    if (this.foreground > 0) this.#kernel.signalGroup(this.foreground, SIGNAL.SIGWINCH);
  }

  /** n_tty_read(). @throws SyscallError EIO */
  read(to: IoVector, waits: boolean): number {
    if (this.hungUp) return this.#finish(to);
    if (!this.#kernel.mayUse(this, SIGNAL.SIGTTIN)) return WOULD_BLOCK;
    const { lflag, cc } = this.#discipline.termios;
    const canonical = (lflag & ICANON) !== 0;
    const [minimum, tenths] = canonical ? [1, 0] : [cc[VMIN], cc[VTIME]];
    const before = to.done;
    if (this.#discipline.hasInput()) {
      const bytes = this.#discipline.take(to.remaining);
      const count = to.put(bytes);
      this.masterQueue.wake();
      if (count < bytes.length && to.done === 0) to.fault();
      if (canonical || count < bytes.length || !waits) return this.#finish(to);
    } else if (!canonical && minimum === 0 && tenths === 0) return this.#finish(to);
    else if (!waits) return to.done > 0 ? to.done : WOULD_BLOCK;
    if (to.done >= Math.max(1, Math.min(minimum, to.length))) return this.#finish(to);
    if (tenths > 0 && (minimum === 0 || to.done > 0)) {
      if (this.#timed.get(to)?.expired) return this.#finish(to);
      if (to.done > before || !this.#timed.has(to)) this.#startTimer(to, tenths * MS_PER_TENTH);
    }
    return WOULD_BLOCK;
  }

  #startTimer(to: IoVector, ms: number): void {
    this.#timed.get(to)?.cancel();
    const timed: Timed = {
      expired: false,
      cancel: this.#kernel.after(ms, () => {
        timed.expired = true;
        this.queue.wake();
      }),
    };
    this.#timed.set(to, timed);
  }

  #finish(to: IoVector): number {
    this.endRead(to);
    return to.done;
  }

  endRead(to: IoVector): void {
    this.#timed.get(to)?.cancel();
    this.#timed.delete(to);
  }

  get #takesOutput(): boolean {
    return !this.#held && !this.#discipline.stopped && this.#output.length < OUTPUT_LIMIT;
  }

  /** n_tty_write(). @throws SyscallError EIO when the master is gone */
  write(from: IoVector): number {
    if (this.hungUp) throw new SyscallError("EIO");
    if (from.remaining === 0) return 0;
    if (this.#discipline.termios.lflag & TOSTOP && !this.#kernel.mayUse(this, SIGNAL.SIGTTOU)) return WOULD_BLOCK;
    if (!this.#takesOutput) return WOULD_BLOCK;
    const bytes = from.take(Math.min(CHUNK, from.remaining));
    if (bytes.length === 0) from.fault();
    this.#show(this.#discipline.written(bytes));
    return bytes.length;
  }

  poll(): number {
    if (this.hungUp) return POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM;
    const { cc, lflag } = this.#discipline.termios;
    const minimum = !(lflag & ICANON) && cc[VTIME] === 0 ? cc[VMIN] : 1;
    let mask = this.#discipline.hasInput(minimum) ? POLLIN | POLLRDNORM : 0;
    if (this.#takesOutput) mask |= POLLOUT | POLLWRNORM;
    return mask;
  }

  inputQueued(): number {
    return this.#discipline.queued;
  }

  outputQueued(): number {
    return 0;
  }

  flush(input: boolean, output: boolean): void {
    if (input) {
      this.#discipline.flushInput();
      this.#tell(PKT_FLUSHREAD);
      this.masterQueue.wake();
    }
    if (output) this.#flushOutput();
  }

  flow(what: Flow): void {
    const { cc } = this.#discipline.termios;
    if (what === "stop-output" || what === "start-output") {
      const held = what === "stop-output";
      if (held === this.#held) return;
      this.#held = held;
      this.#flowChanged(held);
    } else this.#show([what === "send-stop" ? cc[VSTOP] : cc[VSTART]]);
  }

  /** @throws SyscallError EIO when it is locked, or its master is gone; EBUSY when it is somebody's alone (TIOCEXCL) */
  open(): void {
    if (this.hungUp) throw new SyscallError("EIO");
    if (this.exclusive && this.#slaves > 0) throw new SyscallError("EBUSY");
    this.#slaves++;
    this.#wasOpened = true;
    this.masterQueue.wake();
  }

  close(): void {
    if (--this.#slaves > 0) return;
    this.exclusive = false;
    this.masterQueue.wake();
  }

  /** Another group is in the foreground; who waits in the background may look again. */
  setForeground(group: number): void {
    this.foreground = group;
    this.queue.wake();
  }

  /** TIOCSIG: a signal as if it had been typed. @throws SyscallError EINVAL */
  signal(signal: number): void {
    if (signal !== SIGNAL.SIGINT && signal !== SIGNAL.SIGQUIT && signal !== SIGNAL.SIGTSTP)
      throw new SyscallError("EINVAL");
    if (this.foreground > 0) this.#kernel.signalGroup(this.foreground, signal);
  }

  // The master.

  /** Bytes that the master could read now. */
  get masterQueued(): number {
    return this.#output.length;
  }

  get packets(): boolean {
    return this.#packets;
  }

  /** TIOCPKT: each read of the master begins with a byte that says what follows, or what has happened. */
  set packets(on: boolean) {
    if (on && !this.#packets) this.#status = 0;
    this.#packets = on;
  }

  /** Is nobody at the other end any more (TTY_OTHER_CLOSED)? Not before somebody has been. */
  get #slaveGone(): boolean {
    return this.#wasOpened && this.#slaves === 0;
  }

  /** @throws SyscallError EIO when all slaves have been closed and nothing is left */
  masterRead(to: IoVector): number {
    if (to.remaining === 0) return 0;
    if (this.#status !== 0) {
      const status = this.#status;
      this.#status = 0;
      if (to.put(Uint8Array.of(status)) === 0) to.fault();
      return to.done;
    }
    if (this.#output.length === 0) {
      if (this.#slaveGone) throw new SyscallError("EIO");
      return WOULD_BLOCK;
    }
    const wasFull = this.#output.length >= OUTPUT_LIMIT;
    if (this.#packets && to.put(Uint8Array.of(0)) === 0) to.fault();
    const bytes = Uint8Array.from(this.#output.slice(0, to.remaining));
    const count = to.put(bytes);
    if (count < bytes.length && to.done === 0) to.fault();
    this.#output.splice(0, count);
    if (wasFull) this.queue.wake();
    return to.done;
  }

  /** What is written to the master is typed at the terminal. */
  masterWrite(from: IoVector): number {
    if (from.remaining === 0) return 0;
    const room = this.#discipline.room;
    if (room <= 0) return WOULD_BLOCK;
    const bytes = from.take(Math.min(room, from.remaining));
    if (bytes.length === 0) from.fault();
    this.#discipline.type(bytes);
    this.queue.wake();
    return bytes.length;
  }

  masterPoll(): number {
    let mask = 0;
    if (this.#status !== 0) mask |= POLLIN | POLLRDNORM | POLLPRI;
    if (this.#output.length > 0) mask |= POLLIN | POLLRDNORM;
    if (this.#discipline.room > 0) mask |= POLLOUT | POLLWRNORM;
    if (this.#slaveGone) mask |= POLLHUP;
    return mask;
  }

  /** The last descriptor of the master is gone: the terminal is hung up (pty_close, tty_vhangup). */
  closeMaster(): void {
    this.#masterOpen = false;
    this.#discipline.flushInput();
    this.#output = [];
    this.#kernel.hangUp(this);
    this.session = 0;
    this.foreground = 0;
    this.queue.wake();
  }
}
