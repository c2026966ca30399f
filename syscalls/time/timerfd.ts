import type { Timer } from "../../emu/threads/timer-queue.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from "../abi/fcntl.ts";
import { POLLIN } from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import { anonymousStat } from "../files/anonymous.ts";
import { FileDescription, WOULD_BLOCK } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";
import { CLOCK, type ClockKind, clockOf, readClock } from "./clocks.ts";
import { NS_PER_SECOND, readItimerspec, writeItimerspec } from "./timespec.ts";

/** Flags of timerfd_settime(2) (include/uapi/linux/timerfd.h); those of timerfd_create(2) are O_CLOEXEC, O_NONBLOCK. */
const TFD_TIMER_ABSTIME = 1;
const TFD_TIMER_CANCEL_ON_SET = 2;

/** Clocks that a descriptor can go by (fs/timerfd.c, timerfd_create), and which of them may wake the machine. */
const CLOCKS: readonly number[] = [
  CLOCK.REALTIME,
  CLOCK.MONOTONIC,
  CLOCK.BOOTTIME,
  CLOCK.REALTIME_ALARM,
  CLOCK.BOOTTIME_ALARM,
];
const ALARM_CLOCKS: readonly number[] = [CLOCK.REALTIME_ALARM, CLOCK.BOOTTIME_ALARM];

/** What timerfd_gettime(2) tells, in ns. */
interface TimerState {
  readonly value: bigint;
  readonly interval: bigint;
}

/**
 * A timer whose expirations are read from a descriptor (timerfd_create(2); Linux: fs/timerfd.c). As there, a periodic
 * timer runs on only when somebody has looked at it: until then what went by is worked out from the clock.
 */
export class TimerFd extends FileDescription {
  readonly #process: LinuxProcess;
  readonly #id: bigint;
  readonly #clockId: number;
  readonly #clock: ClockKind;
  /** Clock time of the next expiration (or the last one, while `#expired`), in ns; undefined while disarmed. */
  #due: bigint | undefined;
  #interval = 0n;
  /** Expirations that nobody has read. */
  #ticks = 0n;
  /** It has gone off and was not restarted since. */
  #expired = false;
  #settings = 0;
  #armed: Timer | undefined;
  /** The clock was set, which reads are told by ECANCELED (TFD_TIMER_CANCEL_ON_SET). */
  #canceled = false;
  readonly #clockSet = (): void => this.#afterClockSet();

  constructor(process: LinuxProcess, thread: LinuxThread, clockId: number, flags: number) {
    super(O_RDWR | (flags & O_NONBLOCK));
    this.#process = process;
    this.#id = process.files.anonymousInode();
    this.#clockId = clockId;
    this.#clock = clockOf(process, thread, clockId);
    if (this.#clock.kind === "realtime") process.timekeeping.onClockSet.add(this.#clockSet);
  }

  override get path(): string {
    return "anon_inode:[timerfd]";
  }

  override stat(): FileStat {
    return anonymousStat(this.#id, 0o600);
  }

  /** The timer's lines of /proc/self/fdinfo (fs/timerfd.c, timerfd_show). */
  override get info(): string {
    const { value, interval } = this.#state();
    const time = (ns: bigint): string => `(${ns / BigInt(NS_PER_SECOND)}, ${ns % BigInt(NS_PER_SECOND)})`;
    return [
      `clockid: ${this.#clockId}`,
      `ticks: ${this.#ticks}`,
      `settime flags: 0${this.#settings.toString(8)}`,
      `it_value: ${time(value)}`,
      `it_interval: ${time(interval)}`,
      "",
    ].join("\n");
  }

  #now(): bigint {
    return readClock(this.#process, this.#clock);
  }

  /** What is left, without counting what went by. */
  #state(): TimerState {
    const left = this.#due === undefined ? 0n : this.#due - this.#now();
    return { value: left > 0n ? left : 0n, interval: this.#interval };
  }

  #disarm(): void {
    if (this.#armed !== undefined) this.#armed.cancelled = true;
    this.#armed = undefined;
  }

  /** Lets the scheduler come back at the time due, as far away as that is on the monotonic clock now. */
  #arm(): void {
    this.#disarm();
    if (this.#due === undefined || this.#expired) return;
    const { clock, scheduler } = this.#process;
    const left = Number(this.#due - this.#now());
    this.#armed = scheduler.timers.add(clock.monotonicNs() + Math.max(0, left), () => {
      this.#check();
      // The clock that it goes by may not be as far yet.
      if (!this.#expired) this.#arm();
    });
  }

  #check(): void {
    if (this.#due === undefined || this.#expired) return;
    if (this.#due > this.#now()) return;
    this.#disarm();
    this.#expired = true;
    this.#ticks++;
    this.queue.wake();
  }

  /** Counts the expirations of a periodic timer since it went off, and starts it again (hrtimer_forward_now). */
  #forward(): void {
    // The scheduler may not have come to it yet.
    this.#check();
    if (!this.#expired || this.#interval === 0n || this.#due === undefined) return;
    const late = this.#now() - this.#due;
    const passed = late < 0n ? 0n : late / this.#interval + 1n;
    this.#ticks += passed - 1n;
    this.#due += passed * this.#interval;
    this.#expired = false;
    this.#arm();
  }

  /** Somebody set the wall clock: an absolute time is nearer or further now. */
  #afterClockSet(): void {
    const watches = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
    if ((this.#settings & watches) === watches) {
      this.#canceled = true;
      this.#ticks++;
      this.queue.wake();
    }
    this.#arm();
  }

  /**
   * timerfd_settime(2).
   * @param value ns until it goes off, or the time of the clock at which it does; 0 disarms
   * @returns how it stood before
   */
  set(flags: number, value: bigint, interval: bigint): TimerState {
    this.#forward();
    const before = this.#state();
    const relative = (flags & TFD_TIMER_ABSTIME) === 0;
    this.#settings = flags;
    this.#canceled = false;
    this.#expired = false;
    this.#ticks = 0n;
    this.#interval = interval;
    this.#due = value === 0n ? undefined : relative ? this.#now() + value : value;
    this.#arm();
    return before;
  }

  /** timerfd_gettime(2). */
  get(): TimerState {
    this.#forward();
    return this.#state();
  }

  /** Seeking does nothing (fs/read_write.c, noop_llseek). */
  override seek(): number {
    return 0;
  }

  override read(to: IoVector): number {
    if (to.remaining < 8) throw new SyscallError("EINVAL");
    this.#check();
    if (this.#canceled) {
      this.#canceled = false;
      this.#ticks = 0n;
      this.#expired = false;
      throw new SyscallError("ECANCELED");
    }
    if (this.#ticks === 0n) return WOULD_BLOCK;
    this.#forward();
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, this.#ticks, true);
    this.#ticks = 0n;
    return to.put(bytes) < 8 ? to.fault() : 8;
  }

  override poll(): number {
    this.#check();
    return this.#ticks > 0n ? POLLIN : 0;
  }

  protected override destroy(): void {
    this.#disarm();
    this.#process.timekeeping.onClockSet.delete(this.#clockSet);
  }
}

/** @throws SyscallError EBADF, EINVAL for another kind of file */
function timerOf(process: LinuxProcess, fd: number): TimerFd {
  const description = process.files.table.get(fd);
  if (!(description instanceof TimerFd)) throw new SyscallError("EINVAL");
  return description;
}

function timerfdCreate(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const [clock, flags] = [args.i32(0), args.u32(1)];
  if (flags & ~(O_CLOEXEC | O_NONBLOCK) || !CLOCKS.includes(clock)) throw new SyscallError("EINVAL");
  // CAP_WAKE_ALARM, which only root has here.
  if (ALARM_CLOCKS.includes(clock) && process.euid !== 0) throw new SyscallError("EPERM");
  return process.files.table.install(new TimerFd(process, thread, clock, flags), (flags & O_CLOEXEC) !== 0);
}

function timerfdSettime(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [fd, flags, next, old] = [args.u32(0), args.u32(1), args.address(2), args.address(3)];
  const { interval, value } = readItimerspec(process.memory, next);
  if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) throw new SyscallError("EINVAL");
  const before = timerOf(process, fd).set(flags, value, interval);
  if (old !== 0) writeItimerspec(process.memory, old, before.interval, before.value);
  return 0;
}

function timerfdGettime(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const { value, interval } = timerOf(process, args.u32(0)).get();
  writeItimerspec(process.memory, args.address(1), interval, value);
  return 0;
}

export const TIMERFD_SYSCALLS = [
  row(283, "timerfd_create", ["clock", "openFlags"], timerfdCreate, "a program that is executed starts without it"),
  row(
    286,
    "timerfd_settime",
    ["fd", "hex", "itimerspec", "itimerspec"],
    timerfdSettime,
    "ECANCELED once goemu sees that the host's clock was set",
  ),
  row(287, "timerfd_gettime", ["fd", "itimerspec"], timerfdGettime),
];
