import { REG } from "../../emu/cpu/state.ts";
import { PAGE_SIZE } from "../../emu/layout.ts";
import { SyscallError } from "../abi/errno.ts";
import { SIGNAL, SS_DISABLE } from "../abi/signals.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import { fork } from "../kernel/fork.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { EVENT, traceChild } from "../ptrace/traced.ts";
import { row } from "../table.ts";
import { CLONE, NAMESPACES } from "./clone-flags.ts";
import { futex } from "./futex.ts";
import { ROBUST_LIST_HEAD } from "./robust-list.ts";

/** What makes a thread of this process; anything without it would be a new process. */
const THREAD_FLAGS = CLONE.VM | CLONE.FS | CLONE.FILES | CLONE.SIGHAND | CLONE.THREAD;

const EXIT_SIGNAL = 0xff;

/** What clone(2) and clone3(2) ask for (kernel/fork.c, struct kernel_clone_args). */
interface CloneRequest {
  readonly flags: number;
  readonly exitSignal: number;
  /** Signal actions are the default ones (CLONE_CLEAR_SIGHAND). */
  readonly clearActions: boolean;
  /** The new thread's stack pointer; 0 for the caller's. */
  readonly stack: bigint;
  readonly parentTid: number;
  readonly childTid: number;
  readonly pidfd: number;
  readonly tls: bigint;
}

/** A process (kernel/fork.c, copy_process()). @throws SyscallError EINVAL, EPERM for namespaces, EAGAIN, ENOMEM */
function cloneProcess(process: LinuxProcess, thread: LinuxThread, request: CloneRequest): SyscallResult {
  const { flags } = request;
  const has = (flag: number): boolean => (flags & flag) !== 0;
  if (has(NAMESPACES)) throw new SyscallError(has(CLONE.FS) && has(CLONE.NEWNS | CLONE.NEWUSER) ? "EINVAL" : "EPERM");
  return fork(process, thread, {
    memory: has(CLONE.VM),
    descriptors: has(CLONE.FILES),
    directory: has(CLONE.FS),
    actions: has(CLONE.SIGHAND),
    clearActions: request.clearActions,
    waits: has(CLONE.VFORK),
    sibling: has(CLONE.PARENT),
    exitSignal: request.exitSignal,
    stack: request.stack,
    tls: has(CLONE.SETTLS) ? request.tls : undefined,
    parentTid: has(CLONE.PARENT_SETTID) ? request.parentTid : undefined,
    childTid: has(CLONE.CHILD_SETTID) ? request.childTid : undefined,
    clearTid: has(CLONE.CHILD_CLEARTID) ? request.childTid : undefined,
    pidfd: has(CLONE.PIDFD) ? request.pidfd : undefined,
  });
}

/** fork(2) and vfork(2): clone(2) with these flags. */
const forkWith =
  (flags: number) =>
  (process: LinuxProcess, thread: LinuxThread): SyscallResult =>
    cloneProcess(process, thread, {
      flags,
      exitSignal: SIGNAL.SIGCHLD,
      clearActions: false,
      stack: 0n,
      parentTid: 0,
      childTid: 0,
      pidfd: 0,
      tls: 0n,
    });

/** clone(2): flags with the exit signal, stack, parent's and child's tid address, TLS base. */
function clone(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const flags = args.u32(0);
  // One argument is the place for both.
  if (flags & CLONE.PIDFD && flags & CLONE.PARENT_SETTID) throw new SyscallError("EINVAL");
  return start(process, thread, {
    flags: flags & ~EXIT_SIGNAL,
    exitSignal: flags & EXIT_SIGNAL,
    clearActions: false,
    stack: args.u64(1),
    parentTid: args.address(2),
    childTid: args.address(3),
    pidfd: args.address(2),
    tls: args.u64(4),
  });
}

/** Sizes of struct clone_args (include/uapi/linux/sched.h, CLONE_ARGS_SIZE_VER0 and VER2), the largest that is read. */
const CLONE_ARGS_SIZE = 64;
const CLONE_ARGS_SIZE_NOW = 88;
/** Flags of clone3(2) alone (include/uapi/linux/sched.h). */
const CLEAR_SIGHAND = 1n << 32n;
const INTO_CGROUP = 1n << 33n;
const NEWTIME = 0x80n;

/**
 * clone3(2): struct clone_args, its size (kernel/fork.c, copy_clone_args_from_user(), clone3_args_valid()).
 * @throws SyscallError E2BIG where fields that are not known are not 0, EINVAL, ENOSYS as clone(2)
 */
function clone3(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const [address, size] = [args.address(0), args.address(1)];
  if (size > PAGE_SIZE) throw new SyscallError("E2BIG");
  if (size < CLONE_ARGS_SIZE) throw new SyscallError("EINVAL");
  const { memory } = process;
  const given = memory.readBytes(address, size);
  if (given.subarray(CLONE_ARGS_SIZE_NOW).some((byte) => byte !== 0)) throw new SyscallError("E2BIG");
  const fields = new BigUint64Array(CLONE_ARGS_SIZE_NOW / 8);
  new Uint8Array(fields.buffer).set(given.subarray(0, CLONE_ARGS_SIZE_NOW));
  const [flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls, setTid, setTidSize] = fields;
  // CLONE_DETACHED and an exit signal among the flags have gone; a thread has no exit signal.
  if (flags & BigInt(EXIT_SIGNAL | CLONE.DETACHED)) throw new SyscallError("EINVAL");
  if (exitSignal > 64n || (flags & BigInt(CLONE.THREAD | CLONE.PARENT) && exitSignal !== 0n)) {
    throw new SyscallError("EINVAL");
  }
  if ((stack === 0n) !== (stackSize === 0n)) throw new SyscallError("EINVAL");
  if ((setTid === 0n) !== (setTidSize === 0n)) throw new SyscallError("EINVAL");
  const clearActions = (flags & CLEAR_SIGHAND) !== 0n;
  if (clearActions && flags & BigInt(CLONE.SIGHAND)) throw new SyscallError("EINVAL");
  // CLONE_INTO_CGROUP; the rest is not there. Ids that the caller chooses want a right that it lacks.
  if ((flags & ~CLEAR_SIGHAND) >> 32n !== 0n) throw new SyscallError(flags & INTO_CGROUP ? "ENOSYS" : "EINVAL");
  if (flags & NEWTIME) throw new SyscallError("EPERM");
  if (setTid !== 0n) throw new SyscallError("EPERM");
  return start(process, thread, {
    flags: Number(flags & 0xffff_ffffn),
    exitSignal: Number(exitSignal),
    clearActions,
    stack: stack === 0n ? 0n : stack + stackSize,
    parentTid: Number(parentTid),
    childTid: Number(childTid),
    pidfd: Number(pidfd),
    tls,
  });
}

/**
 * Starts a thread or a child (kernel/fork.c, copy_process()).
 * @throws SyscallError ENOSYS for a thread that does not share descriptors and directory, EAGAIN when there are too many
 */
function start(process: LinuxProcess, thread: LinuxThread, request: CloneRequest): SyscallResult {
  const { flags, parentTid, childTid } = request;
  if (flags & CLONE.PIDFD && flags & CLONE.DETACHED) throw new SyscallError("EINVAL");
  if (flags & CLONE.THREAD && !(flags & CLONE.SIGHAND)) throw new SyscallError("EINVAL");
  if (flags & CLONE.SIGHAND && !(flags & CLONE.VM)) throw new SyscallError("EINVAL");
  if (!(flags & CLONE.THREAD)) return cloneProcess(process, thread, request);
  if ((flags & THREAD_FLAGS) !== THREAD_FLAGS) throw new SyscallError("ENOSYS");
  if (flags & CLONE.PIDFD) throw new SyscallError("EINVAL");
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
  if (request.stack !== 0n) child.cpu.gpr[REG.RSP] = request.stack;
  if (flags & CLONE.SETTLS) child.cpu.fsBase = request.tls;
  if (flags & CLONE.CHILD_CLEARTID) child.clearChildTid = childTid;
  child.signalMask = thread.signalMask;
  child.scheduling = thread.scheduling.fork();
  child.personality = thread.personality;
  child.alternateStack = { address: 0, size: 0, flags: SS_DISABLE };
  traceChild(thread, child, EVENT.CLONE);
  process.startThread(child);
  return child.tid;
}

const setTidAddress = (_process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult => {
  thread.clearChildTid = args.address(0);
  return thread.tid;
};

const setRobustList = (_process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult => {
  if (args.address(1) !== ROBUST_LIST_HEAD) throw new SyscallError("EINVAL");
  thread.robustList = args.address(0);
  return 0;
};

function getRobustList(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const pid = args.i32(0);
  const asked = pid === 0 ? thread : process.kernel.threads.get(pid);
  if (asked === undefined) throw new SyscallError("ESRCH");
  process.memory.writeU64(args.address(2), BigInt(ROBUST_LIST_HEAD));
  process.memory.writeU64(args.address(1), BigInt(asked.robustList));
  return 0;
}

const exit = (process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult => {
  process.exitThread(thread, args.i32(0) & 0xff);
  return 0;
};

const exitGroup = (process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult => {
  process.exit(args.i32(0) & 0xff);
  return 0;
};

const schedYield = (process: LinuxProcess): SyscallResult => {
  process.scheduler.yieldCurrent();
  return 0;
};

const getcpu = (process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult => {
  if (args.address(0) !== 0) process.memory.writeU32(args.address(0), 0);
  if (args.address(1) !== 0) process.memory.writeU32(args.address(1), 0);
  return 0;
};

const CLONE_NOTE = "no namespaces; threads share descriptors, and the directory until unshare(2)";

export const THREAD_SYSCALLS = [
  row(24, "sched_yield", [], schedYield),
  row(56, "clone", ["cloneFlags", "address", "address", "address", "address"], clone, CLONE_NOTE),
  row(57, "fork", [], forkWith(0)),
  row(58, "vfork", [], forkWith(CLONE.VM | CLONE.VFORK)),
  row(60, "exit", ["status"], exit),
  row(186, "gettid", [], (_process: LinuxProcess, thread: LinuxThread) => thread.tid),
  row(202, "futex", ["address", "futexOp", "uint", "timespec", "address", "hex"], futex, "no priority inheritance"),
  row(218, "set_tid_address", ["address"], setTidAddress),
  row(231, "exit_group", ["status"], exitGroup),
  row(273, "set_robust_list", ["address", "size"], setRobustList),
  row(274, "get_robust_list", ["int", "address", "address"], getRobustList),
  row(435, "clone3", ["address", "size"], clone3, "as clone"),
  row(309, "getcpu", ["address", "address", "address"], getcpu, "always CPU 0"),
];
