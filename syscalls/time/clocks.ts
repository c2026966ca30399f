import { SyscallError } from "../abi/errno.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";

/** Clock ids (include/uapi/linux/time.h). */
export const CLOCK = {
  REALTIME: 0,
  MONOTONIC: 1,
  PROCESS_CPUTIME_ID: 2,
  THREAD_CPUTIME_ID: 3,
  MONOTONIC_RAW: 4,
  REALTIME_COARSE: 5,
  MONOTONIC_COARSE: 6,
  BOOTTIME: 7,
  REALTIME_ALARM: 8,
  BOOTTIME_ALARM: 9,
  TAI: 11,
} as const;

/** What a clock counts. */
export type ClockKind =
  | { kind: "realtime" }
  | { kind: "monotonic" }
  | { kind: "process" }
  | { kind: "thread"; thread: LinuxThread };

/**
 * The clock behind an id. Negative ids are CPU clocks of a process or thread: ~pid << 3 | kind, bit 2 for a thread
 * (include/linux/posix-timers_types.h).
 * @throws SyscallError EINVAL
 */
export function clockOf(process: LinuxProcess, thread: LinuxThread, id: number): ClockKind {
  if (id < 0) {
    const target = ~(id >> 3);
    if ((id & 7) >= 7 || (id & 3) === 3) throw new SyscallError("EINVAL");
    if (id & 4) {
      const found = target === 0 ? thread : process.threadById(target);
      if (found === undefined) throw new SyscallError("EINVAL");
      return { kind: "thread", thread: found };
    }
    if (target !== 0 && target !== process.pid) throw new SyscallError("EINVAL");
    return { kind: "process" };
  }
  switch (id) {
    case CLOCK.REALTIME:
    case CLOCK.REALTIME_COARSE:
    case CLOCK.REALTIME_ALARM:
    case CLOCK.TAI:
      return { kind: "realtime" };
    case CLOCK.MONOTONIC:
    case CLOCK.MONOTONIC_RAW:
    case CLOCK.MONOTONIC_COARSE:
    case CLOCK.BOOTTIME:
    case CLOCK.BOOTTIME_ALARM:
      return { kind: "monotonic" };
    case CLOCK.PROCESS_CPUTIME_ID:
      return { kind: "process" };
    case CLOCK.THREAD_CPUTIME_ID:
      return { kind: "thread", thread };
    default:
      throw new SyscallError("EINVAL");
  }
}

/** A clock's time in ns. */
export function readClock(process: LinuxProcess, clock: ClockKind): bigint {
  switch (clock.kind) {
    case "realtime":
      return process.clock.realtimeNs();
    case "monotonic":
      return BigInt(Math.floor(process.clock.monotonicNs()));
    case "process":
      return BigInt(Math.floor(process.cpuTime));
    case "thread":
      return BigInt(Math.floor(process.threadCpuTime(clock.thread)));
  }
}
