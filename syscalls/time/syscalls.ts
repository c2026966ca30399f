import { SyscallError } from "../abi/errno.ts";
import type { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";
import { ADJUST_SYSCALLS } from "./adjust.ts";
import { CLOCK, clockOf, readClock } from "./clocks.ts";
import { INTERVAL_SYSCALLS } from "./interval-timers.ts";
import { TIMERFD_SYSCALLS } from "./timerfd.ts";
import { deadlineAt, NS_PER_SECOND, readTimespec, writeTimespec, writeTimeval } from "./timespec.ts";

const TIMER_ABSTIME = 1;

function clockGettime(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const clock = clockOf(process, thread, args.i32(0));
  writeTimespec(process.memory, args.address(1), readClock(process, clock));
  return 0;
}

/** Every clock here counts in ns, as Linux says with high-resolution timers. */
function clockGetres(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  clockOf(process, thread, args.i32(0));
  if (args.address(1) !== 0) writeTimespec(process.memory, args.address(1), 1n);
  return 0;
}

function gettimeofday(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const now = process.clock.realtimeNs();
  const [time, zone] = [args.address(0), args.address(1)];
  if (time !== 0) {
    process.memory.writeU64(time, now / BigInt(NS_PER_SECOND));
    process.memory.writeU64(time + 8, (now % BigInt(NS_PER_SECOND)) / 1000n);
  }
  if (zone !== 0) process.memory.writeU64(zone, 0n);
  return 0;
}

function time(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const seconds = process.clock.realtimeNs() / BigInt(NS_PER_SECOND);
  if (args.address(0) !== 0) process.memory.writeU64(args.address(0), seconds);
  return seconds;
}

/** Sleeps until a CLOCK_MONOTONIC time; a signal stores what is left at `rest` and gives EINTR. */
function sleepUntil(process: LinuxProcess, deadline: number, rest: number): SyscallResult {
  return new Block({
    retry: () => null,
    deadline,
    timeout: () => 0,
    // Without a handler the sleep goes on to the same end, with one it is EINTR (ERESTART_RESTARTBLOCK).
    onSignal: "eintr",
    interrupted: () => {
      if (rest === 0) return;
      const left = Math.max(0, Math.ceil(deadline - process.clock.monotonicNs()));
      writeTimespec(process.memory, rest, BigInt(left));
    },
  });
}

function nanosleep(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const ns = readTimespec(process.memory, args.address(0));
  return sleepUntil(process, deadlineAt(process, ns), args.address(1));
}

/** Clocks without a sleep of their own (kernel/time/posix-timers.c: no nsleep). */
const NO_SLEEP: ReadonlySet<number> = new Set([
  CLOCK.THREAD_CPUTIME_ID,
  CLOCK.MONOTONIC_RAW,
  CLOCK.REALTIME_COARSE,
  CLOCK.MONOTONIC_COARSE,
]);

function clockNanosleep(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const clock = clockOf(process, thread, args.i32(0));
  if (NO_SLEEP.has(args.i32(0))) throw new SyscallError("ENOTSUP");
  const ns = readTimespec(process.memory, args.address(2));
  if (clock.kind === "thread") throw new SyscallError("EINVAL");
  if (!(args.i32(1) & TIMER_ABSTIME)) return sleepUntil(process, deadlineAt(process, ns), args.address(3));
  const left = ns - Number(readClock(process, clock));
  return sleepUntil(process, deadlineAt(process, Math.max(0, left)), 0);
}

/** Clock ticks of 10 ms: user and system time of the process and of its children. */
function times(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const ticks = (ns: number): bigint => BigInt(Math.floor(ns / 1e7));
  const address = args.address(0);
  if (address !== 0) {
    for (const [i, value] of [ticks(process.cpuTime), 0n, 0n, 0n].entries())
      process.memory.writeU64(address + i * 8, value);
  }
  return ticks(process.clock.monotonicNs());
}

/** struct rusage: user time, system time, maximum resident set in KiB; the rest is zero. */
function getrusage(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const who = args.i32(0);
  if (who !== 0 && who !== -1 && who !== 1) throw new SyscallError("EINVAL");
  const address = args.address(1);
  process.memory.writeBytes(address, new Uint8Array(144));
  const ns = who === -1 ? 0 : who === 1 ? process.threadCpuTime(thread) : process.cpuTime;
  writeTimeval(process.memory, address, ns);
  process.memory.writeU64(address + 32, BigInt(Math.floor(process.memory.space.peakAccessibleBytes / 1024)));
  return 0;
}

export const TIME_SYSCALLS = [
  row(35, "nanosleep", ["timespec", "timespec"], nanosleep),
  row(96, "gettimeofday", ["address", "address"], gettimeofday),
  row(98, "getrusage", ["int", "address"], getrusage),
  row(100, "times", ["address"], times),
  row(201, "time", ["address"], time),
  row(228, "clock_gettime", ["clock", "timespec"], clockGettime),
  row(229, "clock_getres", ["clock", "timespec"], clockGetres),
  row(230, "clock_nanosleep", ["clock", "int", "timespec", "timespec"], clockNanosleep),
  ...INTERVAL_SYSCALLS,
  ...TIMERFD_SYSCALLS,
  ...ADJUST_SYSCALLS,
];
