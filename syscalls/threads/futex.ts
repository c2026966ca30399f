import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import type { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { deadlineAt, readTimespec } from "../time/timespec.ts";

/** Operations (include/uapi/linux/futex.h; futex(2)). */
export const FUTEX = {
  WAIT: 0,
  WAKE: 1,
  REQUEUE: 3,
  CMP_REQUEUE: 4,
  WAKE_OP: 5,
  WAIT_BITSET: 9,
  WAKE_BITSET: 10,
  PRIVATE_FLAG: 128,
  CLOCK_REALTIME: 256,
} as const;

interface Waiter {
  readonly queue: WaitQueue;
  readonly bitset: number;
  key: number;
  woken: boolean;
}

/** Threads that wait for a word of memory, in order of arrival (Linux: kernel/futex/waitwake.c). */
export class FutexTable {
  readonly #waiters = new Map<number, Waiter[]>();

  /** A new waiter at the end of an address's queue. */
  add(key: number, bitset: number): Waiter {
    const waiter: Waiter = { queue: new WaitQueue(), bitset, key, woken: false };
    const list = this.#waiters.get(key);
    if (list === undefined) this.#waiters.set(key, [waiter]);
    else list.push(waiter);
    return waiter;
  }

  remove(waiter: Waiter): void {
    const list = this.#waiters.get(waiter.key);
    const index = list?.indexOf(waiter) ?? -1;
    if (list === undefined || index < 0) return;
    list.splice(index, 1);
    if (list.length === 0) this.#waiters.delete(waiter.key);
  }

  /** Wakes up to `count` waiters whose bitset meets `bitset`; returns how many. */
  wake(key: number, count: number, bitset = 0xffff_ffff): number {
    let woken = 0;
    for (const waiter of [...(this.#waiters.get(key) ?? [])]) {
      if (woken >= count) break;
      if ((waiter.bitset & bitset) === 0) continue;
      this.remove(waiter);
      waiter.woken = true;
      waiter.queue.wake();
      woken++;
    }
    return woken;
  }

  /** Moves up to `count` waiters to another address without waking them. */
  requeue(from: number, to: number, count: number): number {
    const moved = [...(this.#waiters.get(from) ?? [])].slice(0, count);
    for (const waiter of moved) {
      this.remove(waiter);
      waiter.key = to;
      const list = this.#waiters.get(to);
      if (list === undefined) this.#waiters.set(to, [waiter]);
      else list.push(waiter);
    }
    return moved.length;
  }
}

export function futex(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [address, op, value] = [args.address(0), args.i32(1), args.u32(2)];
  const command = op & ~(FUTEX.PRIVATE_FLAG | FUTEX.CLOCK_REALTIME);
  const { futexes, memory } = process;
  if (command !== FUTEX.WAIT && command !== FUTEX.WAIT_BITSET && op & FUTEX.CLOCK_REALTIME)
    throw new SyscallError("ENOSYS");
  if (address % 4 !== 0) throw new SyscallError("EINVAL");
  switch (command) {
    case FUTEX.WAIT:
      return wait(process, address, value, args.address(3), 0xffff_ffff, false, false);
    case FUTEX.WAIT_BITSET: {
      if (args.u32(5) === 0) throw new SyscallError("EINVAL");
      return wait(process, address, value, args.address(3), args.u32(5), true, (op & FUTEX.CLOCK_REALTIME) !== 0);
    }
    case FUTEX.WAKE:
      return futexes.wake(address, Math.max(1, value | 0));
    case FUTEX.WAKE_BITSET:
      if (args.u32(5) === 0) throw new SyscallError("EINVAL");
      return futexes.wake(address, Math.max(1, value | 0), args.u32(5));
    case FUTEX.REQUEUE:
    case FUTEX.CMP_REQUEUE: {
      const [limit, target] = [args.i32(3), args.address(4)];
      if ((value | 0) < 0 || limit < 0 || target % 4 !== 0) throw new SyscallError("EINVAL");
      if (command === FUTEX.CMP_REQUEUE && memory.readU32(address) !== args.u32(5)) return -errno.EAGAIN;
      const woken = value === 0 ? 0 : futexes.wake(address, value);
      return woken + futexes.requeue(address, target, limit);
    }
    case FUTEX.WAKE_OP:
      return wakeOp(process, args);
    default:
      throw new SyscallError("ENOSYS");
  }
}

/** A changed word is EAGAIN (futex_wait_setup). Timeouts of WAIT are relative, of WAIT_BITSET absolute. */
function wait(
  process: LinuxProcess,
  address: number,
  value: number,
  timeoutAddress: number,
  bitset: number,
  absolute: boolean,
  realtime: boolean,
): SyscallResult {
  const timeout = timeoutAddress === 0 ? undefined : readTimespec(process.memory, timeoutAddress);
  if (process.memory.readU32(address) !== value) return -errno.EAGAIN;
  let deadline = Number.POSITIVE_INFINITY;
  if (timeout !== undefined) {
    const past = realtime ? Number(process.clock.realtimeNs()) : process.clock.monotonicNs();
    deadline = absolute ? deadlineAt(process, Math.max(0, timeout - past)) : deadlineAt(process, timeout);
  }
  const waiter = process.futexes.add(address, bitset);
  return new Block({
    on: [waiter.queue],
    retry: () => (waiter.woken ? 0 : null),
    deadline,
    timeout: () => -errno.ETIMEDOUT,
    // With a timeout a restarted call would wait anew; Linux keeps the end (ERESTART_RESTARTBLOCK), as EINTR here.
    onSignal: timeout === undefined ? "restart" : "eintr",
    cleanup: () => process.futexes.remove(waiter),
  });
}

/** FUTEX_WAKE_OP: changes one word and wakes by what it was (futex(2)). */
function wakeOp(process: LinuxProcess, args: Args): SyscallResult {
  const { memory, futexes } = process;
  const [first, second, encoded] = [args.address(0), args.address(4), args.u32(5)];
  if (second % 4 !== 0) throw new SyscallError("EINVAL");
  const op = (encoded >>> 28) & 7;
  const comparison = (encoded >>> 24) & 15;
  let operand = (encoded << 8) >> 20;
  const comparand = (encoded << 20) >> 20;
  if (encoded & 0x8000_0000) operand = 1 << (operand & 31);
  const old = memory.readI32(second);
  const results = [operand, old + operand, old | operand, old & ~operand, old ^ operand];
  if (op >= results.length) throw new SyscallError("ENOSYS");
  memory.writeU32(second, results[op] >>> 0);
  const tests = [
    old === comparand,
    old !== comparand,
    old < comparand,
    old <= comparand,
    old > comparand,
    old >= comparand,
  ];
  if (comparison >= tests.length) throw new SyscallError("ENOSYS");
  let woken = futexes.wake(first, Math.max(1, args.i32(2)));
  if (tests[comparison]) woken += futexes.wake(second, Math.max(1, args.i32(3)));
  return woken;
}
