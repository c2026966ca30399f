import { CAP } from "../abi/capabilities.ts";
import { SyscallError } from "../abi/errno.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { RLIMIT } from "../process/limits.ts";
import { row } from "../table.ts";
import { NS_PER_SECOND } from "../time/timespec.ts";
import { Policy, type Scheduling } from "./scheduling-state.ts";

/** Numbers of policies, and what sched_setscheduler may put beside them (include/uapi/linux/sched.h). */
const RESET_ON_FORK = 0x4000_0000;
const REAL_TIME: ReadonlySet<number> = new Set([Policy.FIFO, Policy.RR]);
const ORDINARY: ReadonlySet<number> = new Set([Policy.OTHER, Policy.BATCH, Policy.IDLE]);
const MAX_PRIORITY = 99;
/** What SCHED_RR, and what others run at a time, in ns. */
const RR_SLICE = 100_000_000;
const SLICE = 2_800_000;
/** struct sched_attr: its first version's size, and the one with clamps. */
const ATTR_SIZE = 48;
const ATTR_SIZE_1 = 56;
const FLAG_RESET_ON_FORK = 1;

/** getpriority(2): whom the number means. */
const PRIO = { PROCESS: 0, PGRP: 1, USER: 2 } as const;
/** ioprio_set(2): whom, and classes. */
const IOPRIO_WHO = { PROCESS: 1, PGRP: 2, USER: 3 } as const;
const IOPRIO_CLASS = { NONE: 0, RT: 1, BE: 2, IDLE: 3 } as const;
const IOPRIO_SHIFT = 13;

/** The thread that a number names, 0 for the caller. @throws SyscallError EINVAL for a negative one, ESRCH */
function threadBy(process: LinuxProcess, thread: LinuxThread, pid: number, negative = true): LinuxThread {
  if (pid < 0 && negative) throw new SyscallError("EINVAL");
  const found = pid === 0 ? thread : process.kernel.threads.get(pid);
  if (found === undefined) throw new SyscallError("ESRCH");
  return found;
}

/** May the caller change how that thread is scheduled (kernel/sched/syscalls.c, check_same_owner and CAP_SYS_NICE)? */
function requireOwner(process: LinuxProcess, { process: target }: LinuxThread): void {
  const [own, other] = [process.credentials, target.credentials];
  const isSame = own.user.effective === other.user.effective || own.user.effective === other.user.real;
  if (!isSame && !own.has(CAP.SYS_NICE)) throw new SyscallError("EPERM");
}

/** A mask of all CPUs that there are. */
const everyCpu = (process: LinuxProcess): bigint => (1n << BigInt(process.cpus)) - 1n;

function schedGetaffinity(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const [length, address] = [args.u32(1), args.address(2)];
  if (length * 8 < process.cpus || length % 8 !== 0) throw new SyscallError("EINVAL");
  const { affinity } = threadBy(process, thread, args.i32(0), false).scheduling;
  const mask = affinity ?? everyCpu(process);
  const words = Math.max(1, Math.ceil(process.cpus / 64));
  for (let word = 0; word < words; word++) {
    process.memory.writeU64(address + word * 8, BigInt.asUintN(64, mask >> BigInt(64 * word)));
  }
  return words * 8;
}

/** What a program asks for it is told again; all guest threads share the host's one. @throws SyscallError EINVAL */
function schedSetaffinity(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const bytes = process.memory.readBytes(args.address(2), Math.min(args.u32(1), 128));
  const target = threadBy(process, thread, args.i32(0), false);
  requireOwner(process, target);
  const mask = bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n) & everyCpu(process);
  if (mask === 0n) throw new SyscallError("EINVAL");
  target.scheduling.affinity = mask === everyCpu(process) ? undefined : mask;
  return 0;
}

/** Takes over a policy and a priority. @throws SyscallError EINVAL, EPERM */
function change(process: LinuxProcess, target: LinuxThread, policy: number, priority: number, resets?: boolean): void {
  const isRealTime = REAL_TIME.has(policy);
  if (!isRealTime && !ORDINARY.has(policy)) throw new SyscallError("EINVAL");
  if (isRealTime ? priority < 1 || priority > MAX_PRIORITY : priority !== 0) throw new SyscallError("EINVAL");
  const { scheduling } = target;
  requireOwner(process, target);
  const may = process.credentials.has(CAP.SYS_NICE);
  if (isRealTime && (policy !== scheduling.policy || priority > scheduling.priority) && !may) {
    throw new SyscallError("EPERM");
  }
  if (resets === false && scheduling.resetOnFork && !may) throw new SyscallError("EPERM");
  Object.assign(scheduling, { policy, priority, resetOnFork: resets ?? scheduling.resetOnFork });
}

function schedSetscheduler(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const [policy, address] = [args.i32(1), args.address(2)];
  if (policy < 0 || address === 0) throw new SyscallError("EINVAL");
  const priority = process.memory.readI32(address);
  const target = threadBy(process, thread, args.i32(0));
  change(process, target, policy & ~RESET_ON_FORK, priority, (policy & RESET_ON_FORK) !== 0);
  return 0;
}

function schedSetparam(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  if (args.address(1) === 0) throw new SyscallError("EINVAL");
  const priority = process.memory.readI32(args.address(1));
  const target = threadBy(process, thread, args.i32(0));
  change(process, target, target.scheduling.policy, priority);
  return 0;
}

function schedGetscheduler(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const { policy, resetOnFork } = threadBy(process, thread, args.i32(0)).scheduling;
  return policy | (resetOnFork ? RESET_ON_FORK : 0);
}

function schedGetparam(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  if (args.address(1) === 0) throw new SyscallError("EINVAL");
  const { scheduling } = threadBy(process, thread, args.i32(0));
  process.memory.writeU32(args.address(1), scheduling.priority);
  return 0;
}

/** sched_get_priority_max(2) and sched_get_priority_min(2). */
const bound =
  (ofRealTime: number) =>
  (_process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult => {
    const policy = args.i32(0);
    if (REAL_TIME.has(policy)) return ofRealTime;
    if (!ORDINARY.has(policy) && policy !== Policy.DEADLINE) throw new SyscallError("EINVAL");
    return 0;
  };

function schedRrGetInterval(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const { policy } = threadBy(process, thread, args.i32(0)).scheduling;
  const slice = policy === Policy.RR ? RR_SLICE : policy === Policy.FIFO ? 0 : SLICE;
  process.memory.writeU64(args.address(1), BigInt(Math.floor(slice / NS_PER_SECOND)));
  process.memory.writeU64(args.address(1) + 8, BigInt(slice % NS_PER_SECOND));
  return 0;
}

function schedGetattr(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const [address, size] = [args.address(1), args.u32(2)];
  if (address === 0 || size < ATTR_SIZE || size > 4096 || args.u32(3) !== 0) throw new SyscallError("EINVAL");
  const { policy, nice, priority, resetOnFork } = threadBy(process, thread, args.i32(0)).scheduling;
  const bytes = new Uint8Array(Math.min(size, ATTR_SIZE_1));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint32(4, policy, true);
  view.setUint32(8, resetOnFork ? FLAG_RESET_ON_FORK : 0, true);
  view.setInt32(16, REAL_TIME.has(policy) ? 0 : nice, true);
  view.setUint32(20, priority, true);
  if (bytes.length === ATTR_SIZE_1) view.setUint32(52, 1024, true);
  process.memory.writeBytes(address, bytes);
  return 0;
}

function schedSetattr(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const address = args.address(1);
  if (address === 0 || args.u32(2) !== 0) throw new SyscallError("EINVAL");
  const { memory } = process;
  const size = memory.readU32(address) || ATTR_SIZE;
  if (size < ATTR_SIZE) throw new SyscallError("E2BIG");
  const [policy, flags] = [memory.readI32(address + 4), memory.readU32(address + 8)];
  const [nice, priority] = [memory.readI32(address + 16), memory.readI32(address + 20)];
  const target = threadBy(process, thread, args.i32(0));
  if (policy < 0 || flags & ~FLAG_RESET_ON_FORK) throw new SyscallError("EINVAL");
  change(process, target, policy, priority, (flags & FLAG_RESET_ON_FORK) !== 0);
  if (ORDINARY.has(policy)) setNice(process, target, nice);
  return 0;
}

/** @throws SyscallError EACCES for a nicer value without the right to it */
function setNice(process: LinuxProcess, target: LinuxThread, wanted: number): void {
  const nice = Math.max(-20, Math.min(19, wanted));
  const { scheduling } = target;
  const limit = Number(process.limits.get(RLIMIT.NICE).soft);
  if (nice < scheduling.nice && 20 - nice > limit && !process.credentials.has(CAP.SYS_NICE)) {
    throw new SyscallError("EACCES");
  }
  scheduling.nice = nice;
}

/** Threads that `which` and `who` mean. @throws SyscallError ESRCH if there are none */
function threadsOf(
  process: LinuxProcess,
  thread: LinuxThread,
  kind: "thread" | "group" | "user",
  who: number,
): LinuxThread[] {
  const { kernel } = process;
  const all = [...kernel.threads.values()];
  const group = who === 0 ? process.group : who;
  const user = who === 0 ? process.credentials.user.real : who;
  const found =
    kind === "thread"
      ? all.filter((each) => each === (who === 0 ? thread : kernel.threads.get(who)))
      : all.filter(({ process: its }) => (kind === "group" ? its.group === group : its.credentials.user.real === user));
  if (found.length === 0) throw new SyscallError("ESRCH");
  return found;
}

const PRIO_KINDS = new Map([
  [PRIO.PROCESS, "thread"],
  [PRIO.PGRP, "group"],
  [PRIO.USER, "user"],
] as const);
const IOPRIO_KINDS = new Map([
  [IOPRIO_WHO.PROCESS, "thread"],
  [IOPRIO_WHO.PGRP, "group"],
  [IOPRIO_WHO.USER, "user"],
] as const);

function kindOf<K extends string>(kinds: ReadonlyMap<number, K>, which: number): K {
  const kind = kinds.get(which);
  if (kind === undefined) throw new SyscallError("EINVAL");
  return kind;
}

/** The system call says 20 minus the lowest nice value. */
function getpriority(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const found = threadsOf(process, thread, kindOf(PRIO_KINDS, args.i32(0)), args.i32(1));
  return 20 - Math.min(...found.map(({ scheduling }) => scheduling.nice));
}

function setpriority(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const found = threadsOf(process, thread, kindOf(PRIO_KINDS, args.i32(0)), args.i32(1));
  for (const target of found) {
    requireOwner(process, target);
    setNice(process, target, args.i32(2));
  }
  return 0;
}

/** The priority for input and output that counts among several: without one of its own it follows from the nice value. */
function ioPriorityOf({ ioPriority, nice, policy }: Scheduling): number {
  if (ioPriority >> IOPRIO_SHIFT !== IOPRIO_CLASS.NONE) return ioPriority;
  const ioClass =
    policy === Policy.IDLE ? IOPRIO_CLASS.IDLE : REAL_TIME.has(policy) ? IOPRIO_CLASS.RT : IOPRIO_CLASS.BE;
  return (ioClass << IOPRIO_SHIFT) | Math.floor((nice + 20) / 5);
}

function ioprioGet(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const kind = kindOf(IOPRIO_KINDS, args.i32(0));
  const found = threadsOf(process, thread, kind, args.i32(1));
  if (kind === "thread") return found[0].scheduling.ioPriority;
  return Math.min(...found.map(({ scheduling }) => ioPriorityOf(scheduling)));
}

function ioprioSet(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const priority = args.i32(2);
  // Between class and level are hints, which mean nothing to most disks.
  const [ioClass, level] = [priority >> IOPRIO_SHIFT, priority & 7];
  if (ioClass === IOPRIO_CLASS.RT && !process.credentials.has(CAP.SYS_ADMIN)) throw new SyscallError("EPERM");
  const isNone = ioClass === IOPRIO_CLASS.NONE;
  if (ioClass < 0 || ioClass > IOPRIO_CLASS.IDLE || (isNone && level !== 0)) throw new SyscallError("EINVAL");
  for (const target of threadsOf(process, thread, kindOf(IOPRIO_KINDS, args.i32(0)), args.i32(1))) {
    requireOwner(process, target);
    target.scheduling.ioPriority = priority;
  }
  return 0;
}

const NOTE = "told again, without effect: all threads of the guest take turns on one of the host's";

export const SCHEDULING_SYSCALLS = [
  row(140, "getpriority", ["int", "int"], getpriority),
  row(141, "setpriority", ["int", "int", "int"], setpriority, NOTE),
  row(142, "sched_setparam", ["int", "address"], schedSetparam, NOTE),
  row(143, "sched_getparam", ["int", "address"], schedGetparam),
  row(144, "sched_setscheduler", ["int", "int", "address"], schedSetscheduler, NOTE),
  row(145, "sched_getscheduler", ["int"], schedGetscheduler),
  row(146, "sched_get_priority_max", ["int"], bound(MAX_PRIORITY)),
  row(147, "sched_get_priority_min", ["int"], bound(1)),
  row(148, "sched_rr_get_interval", ["int", "address"], schedRrGetInterval),
  row(203, "sched_setaffinity", ["int", "size", "address"], schedSetaffinity, NOTE),
  row(204, "sched_getaffinity", ["int", "size", "address"], schedGetaffinity),
  row(251, "ioprio_set", ["int", "int", "int"], ioprioSet, NOTE),
  row(252, "ioprio_get", ["int", "int"], ioprioGet),
  row(314, "sched_setattr", ["int", "address", "hex"], schedSetattr, `no deadlines; ${NOTE}`),
  row(315, "sched_getattr", ["int", "address", "size", "hex"], schedGetattr),
];
