import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import type { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { FileBacking } from "../memory/file-backing.ts";
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
  table: FutexTable;
  key: number;
  woken: boolean;
}

/** Threads that wait for a word of memory, in order of arrival (Linux: kernel/futex/waitwake.c). */
export class FutexTable {
  readonly #waiters = new Map<number, Waiter[]>();
  readonly #whenEmpty: (() => void) | undefined;

  /** @param whenEmpty called when nobody waits any more */
  constructor(whenEmpty?: () => void) {
    this.#whenEmpty = whenEmpty;
  }

  /** A new waiter at the end of an address's queue. */
  add(key: number, bitset: number): Waiter {
    const waiter: Waiter = { queue: new WaitQueue(), bitset, table: this, key, woken: false };
    this.#enter(waiter);
    return waiter;
  }

  #enter(waiter: Waiter): void {
    const list = this.#waiters.get(waiter.key);
    if (list === undefined) this.#waiters.set(waiter.key, [waiter]);
    else list.push(waiter);
  }

  /** Takes a waiter out, wherever it waits now. */
  static remove(waiter: Waiter): void {
    waiter.table.#remove(waiter);
  }

  #remove(waiter: Waiter): void {
    const list = this.#waiters.get(waiter.key);
    const index = list?.indexOf(waiter) ?? -1;
    if (list === undefined || index < 0) return;
    list.splice(index, 1);
    if (list.length > 0) return;
    this.#waiters.delete(waiter.key);
    if (this.#waiters.size === 0) this.#whenEmpty?.();
  }

  /** Wakes up to `count` waiters whose bitset meets `bitset`; returns how many. */
  wake(key: number, count: number, bitset = 0xffff_ffff): number {
    let woken = 0;
    for (const waiter of [...(this.#waiters.get(key) ?? [])]) {
      if (woken >= count) break;
      if ((waiter.bitset & bitset) === 0) continue;
      this.#remove(waiter);
      waiter.woken = true;
      waiter.queue.wake();
      woken++;
    }
    return woken;
  }

  /** Moves up to `count` waiters to another place without waking them. */
  requeue(from: number, to: FutexPlace, count: number): number {
    const moved = [...(this.#waiters.get(from) ?? [])].slice(0, count);
    for (const waiter of moved) {
      this.#remove(waiter);
      waiter.table = to.table;
      waiter.key = to.key;
      to.table.#enter(waiter);
    }
    return moved.length;
  }
}

/** Where threads wait for a word of memory. */
export interface FutexPlace {
  readonly table: FutexTable;
  readonly key: number;
}

/**
 * The place of a word: the address where memory is its address space's own, else the offset in the file that is mapped
 * shared (kernel/futex/core.c, get_futex_key()).
 * @param isPrivate does the caller say that nobody else has the memory (FUTEX_PRIVATE_FLAG)?
 */
export function futexAt(process: LinuxProcess, address: number, isPrivate: boolean): FutexPlace {
  const { kernel, mm } = process;
  if (!isPrivate) {
    const vma = mm.memory.space.vmas.at(address);
    if (vma?.shared && vma.backing instanceof FileBacking) {
      return { table: kernel.futexesOf(vma.backing.file.identity), key: vma.offset + (address - vma.start) };
    }
  }
  return { table: mm.futexes, key: address };
}

export function futex(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [address, op, value] = [args.address(0), args.i32(1), args.u32(2)];
  const command = op & ~(FUTEX.PRIVATE_FLAG | FUTEX.CLOCK_REALTIME);
  const { memory } = process;
  const isPrivate = (op & FUTEX.PRIVATE_FLAG) !== 0;
  const here = (): FutexPlace => futexAt(process, address, isPrivate);
  if (command !== FUTEX.WAIT && command !== FUTEX.WAIT_BITSET && op & FUTEX.CLOCK_REALTIME)
    throw new SyscallError("ENOSYS");
  if (address % 4 !== 0) throw new SyscallError("EINVAL");
  switch (command) {
    case FUTEX.WAIT:
      return wait(process, address, here(), value, args.address(3), 0xffff_ffff, false, false);
    case FUTEX.WAIT_BITSET: {
      if (args.u32(5) === 0) throw new SyscallError("EINVAL");
      const isReal = (op & FUTEX.CLOCK_REALTIME) !== 0;
      return wait(process, address, here(), value, args.address(3), args.u32(5), true, isReal);
    }
    case FUTEX.WAKE:
      return wake(here(), Math.max(1, value | 0));
    case FUTEX.WAKE_BITSET:
      if (args.u32(5) === 0) throw new SyscallError("EINVAL");
      return wake(here(), Math.max(1, value | 0), args.u32(5));
    case FUTEX.REQUEUE:
    case FUTEX.CMP_REQUEUE: {
      const [limit, target] = [args.i32(3), args.address(4)];
      if ((value | 0) < 0 || limit < 0 || target % 4 !== 0) throw new SyscallError("EINVAL");
      if (command === FUTEX.CMP_REQUEUE && memory.readU32(address) !== args.u32(5)) return -errno.EAGAIN;
      const { table, key } = here();
      const woken = value === 0 ? 0 : table.wake(key, value);
      return woken + table.requeue(key, futexAt(process, target, isPrivate), limit);
    }
    case FUTEX.WAKE_OP:
      return wakeOp(process, args, isPrivate);
    default:
      throw new SyscallError("ENOSYS");
  }
}

const wake = ({ table, key }: FutexPlace, count: number, bitset?: number): number => table.wake(key, count, bitset);

/** A changed word is EAGAIN (futex_wait_setup). Timeouts of WAIT are relative, of WAIT_BITSET absolute. */
function wait(
  process: LinuxProcess,
  address: number,
  place: FutexPlace,
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
  const waiter = place.table.add(place.key, bitset);
  return new Block({
    on: [waiter.queue],
    retry: () => (waiter.woken ? 0 : null),
    deadline,
    timeout: () => -errno.ETIMEDOUT,
    // With a timeout a restarted call would wait anew; Linux keeps the end (ERESTART_RESTARTBLOCK), as EINTR here.
    onSignal: timeout === undefined ? "restart" : "eintr",
    cleanup: () => FutexTable.remove(waiter),
  });
}

/** FUTEX_WAKE_OP: changes one word and wakes by what it was (futex(2)). */
function wakeOp(process: LinuxProcess, args: Args, isPrivate: boolean): SyscallResult {
  const { memory } = process;
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
  let woken = wake(futexAt(process, first, isPrivate), Math.max(1, args.i32(2)));
  if (tests[comparison]) woken += wake(futexAt(process, second, isPrivate), Math.max(1, args.i32(3)));
  return woken;
}
