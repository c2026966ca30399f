import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import type { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";
import { readTimespec } from "../time/timespec.ts";
import {
  IPC,
  type IpcObject,
  IpcTable,
  PERM_READ,
  PERM_SIZE,
  PERM_WRITE,
  requireOwner,
  secondsNow,
  setPerm,
  writePerm,
} from "./objects.ts";

/** semctl(2) and semop(2) (include/uapi/linux/sem.h). */
const SEM = { GETPID: 11, GETVAL: 12, GETALL: 13, GETNCNT: 14, GETZCNT: 15, SETVAL: 16, SETALL: 17 } as const;
const SEM_UNDO = 0x1000;
/** Most sets, semaphores in one, operations in a call; the largest value. */
const [SEMMNI, SEMMSL, SEMOPM, SEMVMX] = [32_000, 32_000, 500, 32_767];
const SEMBUF_SIZE = 6;
const SEMID_SIZE = 104;

interface Operation {
  readonly number: number;
  readonly change: number;
  readonly flags: number;
}

/** A set of semaphores (Linux: struct sem_array). */
interface SemaphoreSet extends IpcObject {
  readonly values: Int32Array;
  /** Who changed each last. */
  readonly pids: Int32Array;
  lastOperation: bigint;
  readonly queue: WaitQueue;
  /** Operations that calls wait for. */
  readonly waiting: Set<Operation>;
}

/** The sets of a machine, and what processes that end take back (SEM_UNDO). */
export class Semaphores {
  readonly table = new IpcTable<SemaphoreSet>(SEMMNI);
  readonly #undo = new Map<LinuxProcess, Map<SemaphoreSet, Int32Array>>();

  noteUndo(process: LinuxProcess, set: SemaphoreSet, { number, change }: Operation): void {
    const sets = this.#undo.get(process) ?? new Map<SemaphoreSet, Int32Array>();
    this.#undo.set(process, sets);
    const changes = sets.get(set) ?? new Int32Array(set.values.length);
    sets.set(set, changes);
    changes[number] -= change;
  }

  /** SETVAL and SETALL, and the end of a set: what was to be taken back is not. @param number one of them; all without it */
  forgetUndo(set: SemaphoreSet, number?: number): void {
    for (const sets of this.#undo.values()) {
      if (number === undefined) sets.delete(set);
      else {
        const changes = sets.get(set);
        if (changes !== undefined) changes[number] = 0;
      }
    }
  }

  /** A process ends (ipc/sem.c, exit_sem). */
  ended(process: LinuxProcess): void {
    const sets = this.#undo.get(process);
    this.#undo.delete(process);
    for (const [set, changes] of sets ?? []) {
      for (const [number, change] of changes.entries()) {
        if (change === 0) continue;
        set.values[number] = Math.max(0, Math.min(SEMVMX, set.values[number] + change));
        set.pids[number] = process.pid;
      }
      set.queue.wake();
    }
  }
}

function semget(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [key, count, flags] = [args.i32(0), args.i32(1), args.u32(2)];
  if (count < 0 || count > SEMMSL) throw new SyscallError("EINVAL");
  const fits = (set: SemaphoreSet): void => {
    if (count > set.values.length) throw new SyscallError("EINVAL");
  };
  const make = (base: IpcObject): SemaphoreSet => {
    if (count === 0) throw new SyscallError("EINVAL");
    const [values, pids] = [new Int32Array(count), new Int32Array(count)];
    return { ...base, values, pids, lastOperation: 0n, queue: new WaitQueue(), waiting: new Set() };
  };
  return process.kernel.semaphores.table.get(process, key, flags, fits, make).id;
}

/**
 * Does all operations, or none (semop(2); Linux: ipc/sem.c, perform_atomic_semop).
 * @returns what has to be waited for; undefined if all is done
 */
function perform(process: LinuxProcess, set: SemaphoreSet, operations: readonly Operation[]): Operation | undefined {
  const values = set.values.slice();
  for (const operation of operations) {
    const { number, change } = operation;
    if (change === 0 ? values[number] !== 0 : values[number] + change < 0) return operation;
    values[number] += change;
    if (values[number] > SEMVMX) throw new SyscallError("ERANGE");
  }
  set.values.set(values);
  for (const operation of operations) {
    set.pids[operation.number] = process.pid;
    if (operation.flags & SEM_UNDO) process.kernel.semaphores.noteUndo(process, set, operation);
  }
  set.lastOperation = secondsNow(process);
  if (operations.some(({ change }) => change !== 0)) set.queue.wake();
  return undefined;
}

function readOperations(process: LinuxProcess, address: number, count: number): Operation[] {
  if (count === 0) throw new SyscallError("EINVAL");
  if (count > SEMOPM) throw new SyscallError("E2BIG");
  const view = new DataView(process.memory.readBytes(address, count * SEMBUF_SIZE).buffer);
  return Array.from({ length: count }, (_, i) => {
    const at = i * SEMBUF_SIZE;
    return {
      number: view.getUint16(at, true),
      change: view.getInt16(at + 2, true),
      flags: view.getInt16(at + 4, true),
    };
  });
}

function operate(process: LinuxProcess, args: Args, timeoutNs: number): SyscallResult {
  const { table } = process.kernel.semaphores;
  const operations = readOperations(process, args.address(1), args.u32(2));
  const set = table.find(args.i32(0));
  if (operations.some(({ number }) => number >= set.values.length)) throw new SyscallError("EFBIG");
  table.use(process, set.id, operations.some(({ change }) => change !== 0) ? PERM_WRITE : PERM_READ);
  let blocked = perform(process, set, operations);
  if (blocked === undefined) return 0;
  if (blocked.flags & IPC.NOWAIT) return -errno.EAGAIN;
  set.waiting.add(blocked);
  const over = (): void => void (blocked !== undefined && set.waiting.delete(blocked));
  return new Block({
    on: [set.queue],
    retry: () => {
      if (set.isRemoved) return -errno.EIDRM;
      over();
      blocked = perform(process, set, operations);
      if (blocked === undefined) return 0;
      set.waiting.add(blocked);
      return null;
    },
    deadline: process.clock.monotonicNs() + timeoutNs,
    timeout: () => -errno.EAGAIN,
    onSignal: "eintr",
    cleanup: over,
  });
}

const semop = (process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult =>
  operate(process, args, Number.POSITIVE_INFINITY);

function semtimedop(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const address = args.address(3);
  return operate(process, args, address === 0 ? Number.POSITIVE_INFINITY : readTimespec(process.memory, address));
}

function semctl(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [id, number, command, address] = [args.i32(0), args.i32(1), args.i32(2), args.address(3)];
  const { semaphores } = process.kernel;
  const { table } = semaphores;
  const one = (wanted: number): SemaphoreSet => {
    const set = table.use(process, id, wanted);
    if (number < 0 || number >= set.values.length) throw new SyscallError("EINVAL");
    return set;
  };
  const waiting = (set: SemaphoreSet, forZero: boolean): number =>
    [...set.waiting].filter((each) => each.number === number && (each.change === 0) === forZero).length;
  const check = (value: number): number => {
    if (value < 0 || value > SEMVMX) throw new SyscallError("ERANGE");
    return value;
  };
  switch (command) {
    case IPC.RMID: {
      const set = table.find(id);
      requireOwner(process, set);
      table.remove(set);
      semaphores.forgetUndo(set);
      set.queue.wake();
      return 0;
    }
    case IPC.SET:
      setPerm(process, table.find(id), address);
      return 0;
    case IPC.STAT:
      process.memory.writeBytes(address, describe(table.use(process, id, PERM_READ)));
      return 0;
    case SEM.GETPID:
      return one(PERM_READ).pids[number];
    case SEM.GETVAL:
      return one(PERM_READ).values[number];
    case SEM.GETNCNT:
      return waiting(one(PERM_READ), false);
    case SEM.GETZCNT:
      return waiting(one(PERM_READ), true);
    case SEM.GETALL: {
      const { values } = table.use(process, id, PERM_READ);
      process.memory.writeBytes(address, new Uint8Array(Uint16Array.from(values).buffer));
      return 0;
    }
    case SEM.SETVAL: {
      const value = check(args.i32(3));
      const set = one(PERM_WRITE);
      set.values[number] = value;
      set.pids[number] = process.pid;
      return changed(process, set, number);
    }
    case SEM.SETALL: {
      const set = table.use(process, id, PERM_WRITE);
      const bytes = process.memory.readBytes(address, set.values.length * 2);
      const values = [...new Uint16Array(bytes.buffer)].map(check);
      set.values.set(values);
      set.pids.fill(process.pid);
      return changed(process, set);
    }
    default:
      throw new SyscallError("EINVAL");
  }
}

function changed(process: LinuxProcess, set: SemaphoreSet, number?: number): number {
  process.kernel.semaphores.forgetUndo(set, number);
  set.changed = secondsNow(process);
  set.queue.wake();
  return 0;
}

/** struct semid64_ds (arch/x86/include/uapi/asm/sembuf.h). */
function describe(set: SemaphoreSet): Uint8Array {
  const bytes = new Uint8Array(SEMID_SIZE);
  const view = new DataView(bytes.buffer);
  writePerm(view, set);
  view.setBigInt64(PERM_SIZE, set.lastOperation, true);
  view.setBigInt64(PERM_SIZE + 16, set.changed, true);
  view.setBigUint64(PERM_SIZE + 32, BigInt(set.values.length), true);
  return bytes;
}

const NOTE = "among the processes of the machine, not with those of the host; no limits to be asked for (IPC_INFO)";

export const SEMAPHORE_SYSCALLS = [
  row(64, "semget", ["int", "int", "octal"], semget, NOTE),
  row(65, "semop", ["int", "address", "uint"], semop),
  row(66, "semctl", ["int", "int", "int", "address"], semctl, NOTE),
  row(220, "semtimedop", ["int", "address", "uint", "timespec"], semtimedop),
];
