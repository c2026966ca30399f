import { SyscallError } from "../abi/errno.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";
import { CLOCK, clockOf } from "./clocks.ts";
import { NS_PER_SECOND, readTimespec } from "./timespec.ts";

/** struct timex (include/uapi/linux/timex.h): size, status "not synchronised", the value that says so. */
const TIMEX_SIZE = 208;
const STA_UNSYNC = 0x40;
const TIME_ERROR = 5;
/** Worst error in µs, when nobody keeps the clock right (kernel/time/ntp.c, NTP_PHASE_LIMIT). */
const MAX_ERROR = 16_000_000;

/** What the kernel tells of a clock that nobody keeps right; the host's is not the guest's to change. */
function readClock(process: LinuxProcess, address: number): number {
  if (process.memory.readU32(address) !== 0) throw new SyscallError("EPERM");
  const bytes = new Uint8Array(TIMEX_SIZE);
  const view = new DataView(bytes.buffer);
  const set = (at: number, value: number): void => view.setBigInt64(at, BigInt(value), true);
  set(24, MAX_ERROR);
  set(32, MAX_ERROR);
  view.setInt32(40, STA_UNSYNC, true);
  // Time constant, precision and tolerance.
  set(48, 2);
  set(56, 1);
  set(64, 32_768_000);
  const now = process.clock.realtimeNs();
  view.setBigInt64(72, now / BigInt(NS_PER_SECOND), true);
  view.setBigInt64(80, (now % BigInt(NS_PER_SECOND)) / 1000n, true);
  // Microseconds between clock ticks.
  set(88, 10_000);
  process.memory.writeBytes(address, bytes);
  return TIME_ERROR;
}

const adjtimex = (process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult =>
  readClock(process, args.address(0));

function clockAdjtime(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  clockOf(process, thread, args.i32(0));
  if (args.i32(0) !== CLOCK.REALTIME) throw new SyscallError("ENOTSUP");
  return readClock(process, args.address(1));
}

/** Setting a clock: what is no time is refused first. @throws SyscallError EINVAL, EPERM */
function clockSettime(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  if (args.i32(0) !== CLOCK.REALTIME) throw new SyscallError("EINVAL");
  readTimespec(process.memory, args.address(1));
  throw new SyscallError("EPERM");
}

function settimeofday(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [time, zone] = [args.address(0), args.address(1)];
  if (time !== 0) {
    const microseconds = process.memory.readI64(time + 8);
    if (process.memory.readI64(time) < 0n || microseconds < 0n || microseconds > 1_000_000n)
      throw new SyscallError("EINVAL");
  }
  if (zone !== 0) process.memory.readBytes(zone, 8);
  throw new SyscallError("EPERM");
}

const NOTE = "the host's clock is not the guest's to set: EPERM";

export const ADJUST_SYSCALLS = [
  row(159, "adjtimex", ["address"], adjtimex, NOTE),
  row(164, "settimeofday", ["address", "address"], settimeofday, NOTE),
  row(227, "clock_settime", ["clock", "timespec"], clockSettime, NOTE),
  row(305, "clock_adjtime", ["clock", "address"], clockAdjtime, NOTE),
];
