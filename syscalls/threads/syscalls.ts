import { REG } from "../../emu/cpu/state.ts";
import { SyscallError } from "../abi/errno.ts";
import { SIGNAL, SS_DISABLE } from "../abi/signals.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { vfork } from "../process/vfork.ts";
import { row } from "../table.ts";
import { futex } from "./futex.ts";

/** Flags of clone(2) (include/uapi/linux/sched.h). */
export const CLONE = {
  VM: 0x100,
  FS: 0x200,
  FILES: 0x400,
  SIGHAND: 0x800,
  PTRACE: 0x2000,
  VFORK: 0x4000,
  PARENT: 0x8000,
  THREAD: 0x1_0000,
  NEWNS: 0x2_0000,
  SYSVSEM: 0x4_0000,
  SETTLS: 0x8_0000,
  PARENT_SETTID: 0x10_0000,
  CHILD_CLEARTID: 0x20_0000,
  DETACHED: 0x40_0000,
  PIDFD: 0x1000,
  UNTRACED: 0x80_0000,
  CHILD_SETTID: 0x100_0000,
} as const;

/** What makes a thread of this process; anything without it would be a new process. */
const THREAD_FLAGS = CLONE.VM | CLONE.FS | CLONE.FILES | CLONE.SIGHAND | CLONE.THREAD;

/** What a child may have in common with its parent, and be given, when it shares its memory (vfork). */
const VFORK_FLAGS = CLONE.VM | CLONE.VFORK | CLONE.PIDFD | CLONE.SETTLS | CLONE.PARENT_SETTID;
const EXIT_SIGNAL = 0xff;

/** clone(2) for a child process that is to call execve(2). @throws SyscallError ENOSYS for any other kind of process */
function cloneProcess(process: LinuxProcess, thread: LinuxThread, flags: number, args: Args): SyscallResult {
  const needed = CLONE.VM | CLONE.VFORK;
  if ((flags & needed) !== needed || flags & ~(VFORK_FLAGS | EXIT_SIGNAL)) throw new SyscallError("ENOSYS");
  if (flags & CLONE.PIDFD && flags & CLONE.PARENT_SETTID) throw new SyscallError("EINVAL");
  return vfork(process, thread, {
    exitSignal: flags & EXIT_SIGNAL,
    stack: args.u64(1),
    parentTid: flags & CLONE.PARENT_SETTID ? args.address(2) : undefined,
    pidfd: flags & CLONE.PIDFD ? args.address(2) : undefined,
    tls: flags & CLONE.SETTLS ? args.u64(4) : undefined,
  });
}

const vforkCall = (process: LinuxProcess, thread: LinuxThread): SyscallResult =>
  vfork(process, thread, {
    exitSignal: SIGNAL.SIGCHLD,
    stack: 0n,
    parentTid: undefined,
    pidfd: undefined,
    tls: undefined,
  });

/**
 * clone(2): flags, stack, parent's and child's tid address, TLS base.
 * @throws SyscallError ENOSYS for a process with memory of its own, EAGAIN when there are too many threads
 */
function clone(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const flags = args.u32(0);
  if (flags & CLONE.THREAD && !(flags & CLONE.SIGHAND)) throw new SyscallError("EINVAL");
  if (flags & CLONE.SIGHAND && !(flags & CLONE.VM)) throw new SyscallError("EINVAL");
  if (!(flags & CLONE.THREAD)) return cloneProcess(process, thread, flags, args);
  if ((flags & THREAD_FLAGS) !== THREAD_FLAGS || thread.vfork !== undefined) throw new SyscallError("ENOSYS");
  const [stack, parentTid, childTid] = [args.u64(1), args.address(2), args.address(3)];
  const child = process.createThread(thread.name);
  try {
    if (flags & CLONE.PARENT_SETTID) process.memory.writeU32(parentTid, child.tid);
    if (flags & CLONE.CHILD_SETTID) process.memory.writeU32(childTid, child.tid);
  } catch (error) {
    process.forgetThread(child);
    throw error;
  }
  child.cpu.copyFrom(thread.cpu);
  child.cpu.gpr[REG.RAX] = 0n;
  if (stack !== 0n) child.cpu.gpr[REG.RSP] = stack;
  if (flags & CLONE.SETTLS) child.cpu.fsBase = args.u64(4);
  if (flags & CLONE.CHILD_CLEARTID) child.clearChildTid = childTid;
  child.signalMask = thread.signalMask;
  child.alternateStack = { address: 0, size: 0, flags: SS_DISABLE };
  process.startThread(child);
  return child.tid;
}

const setTidAddress = (_process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult => {
  thread.clearChildTid = args.address(0);
  return thread.tid;
};

/** Length of a struct robust_list_head; the list itself serves only threads that die with locks held. */
const ROBUST_LIST_HEAD = 24;
const setRobustList = (_process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult => {
  if (args.address(1) !== ROBUST_LIST_HEAD) throw new SyscallError("EINVAL");
  return 0;
};

const exit = (process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult => {
  process.exitThread(thread, args.i32(0) & 0xff);
  return 0;
};

const exitGroup = (process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult => {
  process.exit(args.i32(0) & 0xff, thread);
  return 0;
};

/** Bytes of the kernel's CPU mask: one word for up to 64 CPUs. */
const CPU_MASK_BYTES = 8;

function schedGetaffinity(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [pid, length, address] = [args.i32(0), args.u32(1), args.address(2)];
  if (length * 8 < process.cpus || length % 8 !== 0) throw new SyscallError("EINVAL");
  if (pid !== 0 && process.threadById(pid) === undefined) throw new SyscallError("ESRCH");
  const words = Math.ceil(process.cpus / 64);
  for (let word = 0; word < words; word++) {
    const cpus = Math.min(64, process.cpus - word * 64);
    process.memory.writeU64(address + word * 8, (1n << BigInt(cpus)) - 1n);
  }
  return Math.max(CPU_MASK_BYTES, words * 8);
}

/** Accepts any mask that leaves a CPU: all guest threads share the host's one. */
function schedSetaffinity(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [pid, length, address] = [args.i32(0), args.u32(1), args.address(2)];
  if (pid !== 0 && process.threadById(pid) === undefined) throw new SyscallError("ESRCH");
  const mask = process.memory.readBytes(address, Math.min(length, 128));
  const usable = mask.some((byte, i) =>
    [...Array(8).keys()].some((bit) => byte & (1 << bit) && i * 8 + bit < process.cpus),
  );
  if (!usable) throw new SyscallError("EINVAL");
  return 0;
}

const schedYield = (process: LinuxProcess): SyscallResult => {
  process.scheduler.yieldCurrent();
  return 0;
};

const getcpu = (process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult => {
  if (args.address(0) !== 0) process.memory.writeU32(args.address(0), 0);
  if (args.address(1) !== 0) process.memory.writeU32(args.address(1), 0);
  return 0;
};

export const THREAD_SYSCALLS = [
  row(24, "sched_yield", [], schedYield),
  row(
    56,
    "clone",
    ["cloneFlags", "address", "address", "address", "address"],
    clone,
    "threads, and children that share memory until execve (vfork); no fork",
  ),
  row(58, "vfork", [], vforkCall),
  row(60, "exit", ["status"], exit),
  row(186, "gettid", [], (_process: LinuxProcess, thread: LinuxThread) => thread.tid),
  row(202, "futex", ["address", "futexOp", "uint", "timespec", "address", "hex"], futex, "no priority inheritance"),
  row(203, "sched_setaffinity", ["int", "size", "address"], schedSetaffinity, "checked, without effect"),
  row(204, "sched_getaffinity", ["int", "size", "address"], schedGetaffinity),
  row(218, "set_tid_address", ["address"], setTidAddress),
  row(231, "exit_group", ["status"], exitGroup),
  row(273, "set_robust_list", ["address", "size"], setRobustList, "accepted; the list is not walked at exit"),
  row(309, "getcpu", ["address", "address", "address"], getcpu, "always CPU 0"),
];
