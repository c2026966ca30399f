import type { Timer } from "../../emu/threads/timer-queue.ts";
import { SyscallError } from "../abi/errno.ts";
import { SI_KERNEL, SI_TIMER, SIGNAL } from "../abi/signals.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { RLIMIT } from "../process/limits.ts";
import { row } from "../table.ts";
import { type ClockKind, clockOf, readClock } from "./clocks.ts";
import { readTimespec, readTimeval, writeTimespec, writeTimeval } from "./timespec.ts";

/** One armed timer: on the host's clock it sits in the scheduler's queue, on a CPU clock it is looked at after turns. */
class IntervalTimer {
  readonly #process: LinuxProcess;
  readonly clock: ClockKind;
  readonly #fire: (timer: IntervalTimer) => void;
  /** Time of the clock at which it fires next, in ns; undefined while disarmed. */
  due: number | undefined;
  interval = 0;
  /** Expirations that went by without a signal of their own (timer_getoverrun(2)). */
  overrun = 0;
  #armed: Timer | undefined;

  constructor(process: LinuxProcess, clock: ClockKind, fire: (timer: IntervalTimer) => void) {
    this.#process = process;
    this.clock = clock;
    this.#fire = fire;
  }

  now(): number {
    return Number(readClock(this.#process, this.clock));
  }

  /** Fires after `first` ns, then every `interval` ns; 0 disarms. */
  set(first: number, interval: number): void {
    if (this.#armed !== undefined) this.#armed.cancelled = true;
    this.#armed = undefined;
    this.interval = interval;
    this.due = first === 0 ? undefined : this.now() + first;
    this.#arm();
  }

  get left(): number {
    return this.due === undefined ? 0 : Math.max(1, this.due - this.now());
  }

  get onCpuClock(): boolean {
    return this.clock.kind === "process" || this.clock.kind === "thread";
  }

  #arm(): void {
    if (this.due === undefined || this.onCpuClock) return;
    const at = this.#process.clock.monotonicNs() + (this.due - this.now());
    this.#armed = this.#process.scheduler.timers.add(at, () => this.check());
  }

  /** Fires if it is time. */
  check(): void {
    if (this.due === undefined) return;
    const late = this.now() - this.due;
    if (late < 0) {
      if (!this.onCpuClock) this.#arm();
      return;
    }
    if (this.interval > 0) {
      const missed = Math.floor(late / this.interval);
      this.overrun = missed;
      this.due += (missed + 1) * this.interval;
    } else this.due = undefined;
    this.#arm();
    this.#fire(this);
  }
}

interface PosixTimer {
  readonly timer: IntervalTimer;
  lastOverrun: number;
}

/** ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF: clock and signal (setitimer(2)). */
const ITIMERS = [
  { clock: "monotonic", signal: SIGNAL.SIGALRM },
  { clock: "process", signal: SIGNAL.SIGVTALRM },
  { clock: "process", signal: SIGNAL.SIGPROF },
] as const;

const SIGEV_SIGNAL = 0;
const SIGEV_NONE = 1;
const SIGEV_THREAD_ID = 4;
const TIMER_ABSTIME = 1;

/** The timers of a process: setitimer(2) and timer_create(2). */
export class IntervalTimers {
  readonly #process: LinuxProcess;
  readonly #itimers: IntervalTimer[];
  readonly #posix = new Map<number, PosixTimer>();
  #nextId = 0;
  /** Timers on CPU clocks that are armed: looked at after each turn. */
  readonly #cpuTimers = new Set<IntervalTimer>();

  constructor(process: LinuxProcess) {
    this.#process = process;
    this.#itimers = ITIMERS.map(
      ({ clock, signal }) =>
        new IntervalTimer(process, { kind: clock }, () => process.signals.send({ signal, code: SI_KERNEL })),
    );
  }

  /** The process ends: nothing is due any more. */
  close(): void {
    for (const timer of this.#itimers) this.#set(timer, 0, 0);
    this.deleteAll();
  }

  /** What timer_create(2) made does not outlive an execve(2). */
  deleteAll(): void {
    for (const id of [...this.#posix.keys()]) this.delete(id);
  }

  /** After a thread's turn: CPU time has gone by. */
  checkCpuTimers(): void {
    for (const timer of this.#cpuTimers) {
      timer.check();
      if (timer.due === undefined) this.#cpuTimers.delete(timer);
    }
  }

  #set(timer: IntervalTimer, first: number, interval: number): void {
    timer.set(first, interval);
    if (timer.onCpuClock && timer.due !== undefined) this.#cpuTimers.add(timer);
    else this.#cpuTimers.delete(timer);
  }

  itimer(which: number): IntervalTimer {
    const timer = this.#itimers[which];
    if (timer === undefined) throw new SyscallError("EINVAL");
    return timer;
  }

  setItimer(which: number, first: number, interval: number): void {
    this.#set(this.itimer(which), first, interval);
  }

  create(
    clock: ClockKind,
    notify: number,
    signal: number,
    value: bigint | undefined,
    thread: LinuxThread | undefined,
  ): number {
    // Each timer keeps room for its signal (kernel/time/posix-timers.c, do_timer_create).
    if (BigInt(this.#posix.size) >= this.#process.limits.get(RLIMIT.SIGPENDING).soft) throw new SyscallError("EAGAIN");
    const id = this.#nextId++;
    const posix: PosixTimer = {
      lastOverrun: 0,
      timer: new IntervalTimer(this.#process, clock, (timer) => {
        posix.lastOverrun = timer.overrun;
        if (notify === SIGEV_NONE) return;
        const info = { signal, code: SI_TIMER, timerId: id, overrun: timer.overrun, value: value ?? BigInt(id) };
        if (thread === undefined) this.#process.signals.send(info);
        else this.#process.signals.sendToThread(thread, info);
      }),
    };
    this.#posix.set(id, posix);
    return id;
  }

  posix(id: number): PosixTimer {
    const timer = this.#posix.get(id);
    if (timer === undefined) throw new SyscallError("EINVAL");
    return timer;
  }

  setPosix(id: number, absolute: boolean, first: number, interval: number): void {
    const { timer } = this.posix(id);
    const delay = absolute && first !== 0 ? Math.max(1, first - timer.now()) : first;
    this.#set(timer, delay, interval);
  }

  delete(id: number): void {
    this.#set(this.posix(id).timer, 0, 0);
    this.#posix.delete(id);
  }
}

type Handler = (process: LinuxProcess, thread: LinuxThread, args: Args) => SyscallResult;

const getitimer: Handler = (process, _thread, args) => {
  storeItimer(process, args.address(1), process.timers.itimer(args.i32(0)));
  return 0;
};

/** struct itimerval: interval, then time left. */
function storeItimer(process: LinuxProcess, address: number, timer: IntervalTimer): void {
  writeTimeval(process.memory, address, timer.interval);
  writeTimeval(process.memory, address + 16, timer.left);
}

const setitimer: Handler = (process, _thread, args) => {
  const [which, next, old] = [args.i32(0), args.address(1), args.address(2)];
  const interval = next === 0 ? 0 : readTimeval(process.memory, next);
  const first = next === 0 ? 0 : readTimeval(process.memory, next + 16);
  const timer = process.timers.itimer(which);
  if (old !== 0) storeItimer(process, old, timer);
  process.timers.setItimer(which, first, interval);
  return 0;
};

const alarm: Handler = (process, _thread, args) => {
  const left = Math.ceil(process.timers.itimer(0).left / 1e9);
  process.timers.setItimer(0, args.u32(0) * 1e9, 0);
  return left;
};

/** struct sigevent: value 0, signal 8, notify 12, thread id 16. */
const timerCreate: Handler = (process, thread, args) => {
  const { memory } = process;
  const clock = clockOf(process, thread, args.i32(0));
  const event = args.address(1);
  let id: number;
  if (event === 0) id = process.timers.create(clock, SIGEV_SIGNAL, SIGNAL.SIGALRM, undefined, undefined);
  else {
    const signal = memory.readI32(event + 8);
    const notify = memory.readI32(event + 12);
    if (notify !== SIGEV_SIGNAL && notify !== SIGEV_NONE && notify !== SIGEV_THREAD_ID)
      throw new SyscallError("EINVAL");
    if (notify !== SIGEV_NONE && (signal < 1 || signal > 64)) throw new SyscallError("EINVAL");
    const target = notify === SIGEV_THREAD_ID ? process.threadById(memory.readI32(event + 16)) : undefined;
    if (notify === SIGEV_THREAD_ID && target === undefined) throw new SyscallError("EINVAL");
    id = process.timers.create(clock, notify, signal, memory.readU64(event), target);
  }
  memory.writeU32(args.address(2), id);
  return 0;
};

const timerSettime: Handler = (process, _thread, args) => {
  const { memory, timers } = process;
  const next = args.address(2);
  if (next === 0) throw new SyscallError("EINVAL");
  const interval = readTimespec(memory, next);
  const first = readTimespec(memory, next + 16);
  const { timer } = timers.posix(args.i32(0));
  const [oldInterval, oldLeft] = [timer.interval, timer.left];
  timers.setPosix(args.i32(0), (args.i32(1) & TIMER_ABSTIME) !== 0, first, interval);
  const old = args.address(3);
  if (old !== 0) {
    writeTimespec(memory, old, BigInt(Math.floor(oldInterval)));
    writeTimespec(memory, old + 16, BigInt(Math.floor(oldLeft)));
  }
  return 0;
};

const timerGettime: Handler = (process, _thread, args) => {
  const { timer } = process.timers.posix(args.i32(0));
  writeTimespec(process.memory, args.address(1), BigInt(Math.floor(timer.interval)));
  writeTimespec(process.memory, args.address(1) + 16, BigInt(Math.floor(timer.left)));
  return 0;
};

const timerDelete: Handler = (process, _thread, args) => {
  process.timers.delete(args.i32(0));
  return 0;
};

export const INTERVAL_SYSCALLS = [
  row(36, "getitimer", ["int", "address"], getitimer),
  row(37, "alarm", ["uint"], alarm),
  row(38, "setitimer", ["int", "address", "address"], setitimer),
  row(222, "timer_create", ["clock", "address", "address"], timerCreate),
  row(223, "timer_settime", ["int", "int", "itimerspec", "itimerspec"], timerSettime),
  row(224, "timer_gettime", ["int", "itimerspec"], timerGettime),
  row(
    225,
    "timer_getoverrun",
    ["int"],
    (process: LinuxProcess, _thread: LinuxThread, args) => process.timers.posix(args.i32(0)).lastOverrun,
  ),
  row(226, "timer_delete", ["int"], timerDelete),
];
