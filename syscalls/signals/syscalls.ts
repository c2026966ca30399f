import { VECTOR } from "../../emu/cpu/exits.ts";
import { REG } from "../../emu/cpu/state.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import {
  MINSIGSTKSZ,
  SI_KERNEL,
  SI_TKILL,
  SIG_BLOCK,
  SIG_SETMASK,
  SIG_UNBLOCK,
  SIGNAL,
  SS_AUTODISARM,
  SS_DISABLE,
  SS_ONSTACK,
} from "../abi/signals.ts";
import type { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { maySignal } from "../process/credentials.ts";
import { row } from "../table.ts";
import { deadlineAt, readTimespec } from "../time/timespec.ts";
import { BadFrame, BadSelector, onAlternateStack, returnFromHandler, UNBLOCKABLE } from "./frame.ts";
import { SIGINFO_SIZE, sentBy, writeSigInfo } from "./info.ts";
import { bitOf } from "./queue.ts";
import { SIGNALFD_SYSCALLS } from "./signalfd.ts";
import { checkSetSize, SIGSET_SIZE, setUserMask } from "./user-mask.ts";

/** struct kernel_sigaction: handler, flags, restorer, mask; 8 bytes each. */
function rtSigaction(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const signal = args.i32(0);
  checkSetSize(args.address(3));
  const [next, old] = [args.address(1), args.address(2)];
  const { memory, signals } = process;
  const action =
    next === 0
      ? undefined
      : {
          handler: memory.readU64(next),
          flags: Number(memory.readU64(next + 8) & 0xffff_ffffn),
          restorer: memory.readU64(next + 16),
          mask: memory.readU64(next + 24) & ~UNBLOCKABLE,
        };
  if (signal < 1 || signal > 64) throw new SyscallError("EINVAL");
  if (action !== undefined && (bitOf(signal) & UNBLOCKABLE) !== 0n) throw new SyscallError("EINVAL");
  const before = signals.action(signal);
  if (action !== undefined) signals.setAction(signal, action);
  if (old !== 0) {
    memory.writeU64(old, before.handler);
    memory.writeU64(old + 8, BigInt(before.flags >>> 0));
    memory.writeU64(old + 16, before.restorer);
    memory.writeU64(old + 24, before.mask);
  }
  return 0;
}

function rtSigprocmask(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  checkSetSize(args.address(3));
  const [how, next, old] = [args.i32(0), args.address(1), args.address(2)];
  const before = thread.signalMask;
  if (next !== 0) {
    const set = process.memory.readU64(next);
    if (how === SIG_BLOCK) thread.signalMask |= set & ~UNBLOCKABLE;
    else if (how === SIG_UNBLOCK) thread.signalMask &= ~set;
    else if (how === SIG_SETMASK) thread.signalMask = set & ~UNBLOCKABLE;
    else throw new SyscallError("EINVAL");
  }
  if (old !== 0) process.memory.writeU64(old, before);
  return 0;
}

function rtSigreturn(process: LinuxProcess, thread: LinuxThread): SyscallResult {
  try {
    returnFromHandler(process, thread);
  } catch (error) {
    if (error instanceof BadSelector) {
      // The fault of the kernel's IRET, as the program's own (arch/x86/kernel/traps.c, fixup_bad_iret).
      thread.lastTrap = { trap: VECTOR.GP, error: error.error };
    } else if (!(error instanceof GuestFault || error instanceof BadFrame)) throw error;
    process.signals.force(thread, { signal: SIGNAL.SIGSEGV, code: SI_KERNEL });
    if (!(error instanceof BadSelector)) return 0;
  }
  // RAX is what the frame says: the dispatcher stores the result there.
  return thread.cpu.gpr[REG.RAX];
}

function sigaltstack(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const { memory } = process;
  const [next, old] = [args.address(0), args.address(1)];
  const before = thread.alternateStack;
  const active = onAlternateStack(thread);
  if (next !== 0) {
    const address = memory.readPointer(next);
    const flags = memory.readU32(next + 8);
    const size = memory.readPointer(next + 16);
    if (active) throw new SyscallError("EPERM");
    const mode = (flags & ~SS_AUTODISARM) >>> 0;
    if (mode !== 0 && mode !== SS_DISABLE && mode !== SS_ONSTACK) throw new SyscallError("EINVAL");
    if (mode === SS_DISABLE) thread.alternateStack = { address: 0, size: 0, flags: SS_DISABLE };
    else {
      if (size < MINSIGSTKSZ) throw new SyscallError("ENOMEM");
      thread.alternateStack = { address, size, flags: (flags & SS_AUTODISARM) >>> 0 };
    }
  }
  if (old !== 0) {
    memory.writeU64(old, BigInt(before.address));
    memory.writeU64(old + 8, BigInt(active ? SS_ONSTACK : before.flags));
    memory.writeU64(old + 16, BigInt(before.size));
  }
  return 0;
}

/** @throws SyscallError EINVAL for what is no signal's number */
export function checkSignal(signal: number): void {
  if (signal < 0 || signal > 64) throw new SyscallError("EINVAL");
}

const JOB_STOPS: ReadonlySet<number> = new Set([SIGNAL.SIGSTOP, SIGNAL.SIGTSTP, SIGNAL.SIGTTIN, SIGNAL.SIGTTOU]);

/** The processes that kill(2) reaches. @throws SyscallError ESRCH if there is none, EPERM if none may be sent it */
function targets(process: LinuxProcess, pid: number, signal: number): LinuxProcess[] {
  const { kernel } = process;
  const all = [...kernel.processes.values()];
  let found: LinuxProcess[];
  if (pid > 0) found = all.filter((each) => each === kernel.processOf(pid));
  else if (pid === -1) found = all.filter((each) => each !== process);
  else found = all.filter(({ group }) => group === (pid === 0 ? process.group : -pid));
  if (found.length === 0) throw new SyscallError("ESRCH");
  const allowed = found.filter((target) => maySignal(process, target, signal));
  if (allowed.length === 0) throw new SyscallError("EPERM");
  return allowed;
}

/** kill(2). One that has ended, but was not waited for, takes any signal. */
function kill(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [pid, signal] = [args.i32(0), args.i32(1)];
  checkSignal(signal);
  const found = targets(process, pid, signal);
  const { group, foreground } = process.job;
  const isOurs = pid <= 0 && pid !== -1 && found.includes(process.kernel.first);
  // A stop of the job that the host's shell has made is its business: the host sends it to all, us included.
  if (isOurs && foreground === group && JOB_STOPS.has(signal) && process.stopJob(signal)) return 0;
  if (signal !== 0) for (const target of found) target.receive(sentBy(process, signal));
  return 0;
}

function sendToTid(process: LinuxProcess, tid: number, signal: number, owner?: number): SyscallResult {
  if (tid <= 0) throw new SyscallError("EINVAL");
  checkSignal(signal);
  const target = process.kernel.threads.get(tid);
  if (target === undefined || (owner !== undefined && target.process.pid !== owner)) throw new SyscallError("ESRCH");
  if (!maySignal(process, target.process, signal)) throw new SyscallError("EPERM");
  if (signal !== 0) {
    const info = { signal, code: SI_TKILL, pid: process.pid, uid: process.uid };
    if (!target.process.signals.sendToThread(target, info)) return -errno.EAGAIN;
  }
  return 0;
}

const tkill = (process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult =>
  sendToTid(process, args.i32(0), args.i32(1));

function tgkill(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  if (args.i32(0) <= 0) throw new SyscallError("EINVAL");
  return sendToTid(process, args.i32(1), args.i32(2), args.i32(0));
}

/** rt_sigqueueinfo(2) and rt_tgsigqueueinfo(2): a siginfo of the sender's making. */
function queueInfo(
  process: LinuxProcess,
  pid: number,
  tid: number | undefined,
  signal: number,
  address: number,
): SyscallResult {
  const raw = process.memory.readBytes(address, SIGINFO_SIZE);
  const code = new DataView(raw.buffer).getInt32(8, true);
  // Nobody may look like the kernel, or like kill(2), to others (kernel/signal.c, do_rt_sigqueueinfo).
  if ((code >= 0 || code === SI_TKILL) && pid !== process.pid) throw new SyscallError("EPERM");
  checkSignal(signal);
  const { kernel } = process;
  const target = tid === undefined ? undefined : kernel.threads.get(tid);
  const owner = tid === undefined ? kernel.processOf(pid) : target?.process;
  if (owner === undefined || (tid !== undefined && owner.pid !== pid)) throw new SyscallError("ESRCH");
  if (!maySignal(process, owner, signal)) throw new SyscallError("EPERM");
  if (signal === 0) return 0;
  new DataView(raw.buffer).setInt32(0, signal, true);
  const info = { signal, code, raw };
  const sent = target === undefined ? owner.receive(info) : owner.signals.sendToThread(target, info);
  return sent ? 0 : -errno.EAGAIN;
}

function rtSigpending(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  if (args.address(1) > SIGSET_SIZE) throw new SyscallError("EINVAL");
  process.memory.writeU64(args.address(0), process.signals.pendingMask(thread) & thread.signalMask);
  return 0;
}

function rtSigsuspend(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  checkSetSize(args.address(1));
  const address = args.address(0);
  if (address === 0) throw new GuestFault(address);
  setUserMask(process, thread, address, args.address(1));
  return new Block({ retry: () => null, onSignal: "eintr" });
}

const pause = (): SyscallResult => new Block({ retry: () => null, onSignal: "eintr" });

/** rt_sigtimedwait(2): takes a pending signal of a set without running its handler. */
function rtSigtimedwait(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  checkSetSize(args.address(3));
  const { memory, signals } = process;
  const set = memory.readU64(args.address(0)) & ~UNBLOCKABLE;
  const infoAddress = args.address(1);
  const timeout = args.address(2) === 0 ? undefined : readTimespec(memory, args.address(2));
  const attempt = (): number | null => {
    const info = signals.take(thread, (signal) => (set & bitOf(signal)) !== 0n);
    if (info === undefined) return null;
    if (infoAddress !== 0) writeSigInfo(memory, infoAddress, info);
    return info.signal;
  };
  const now = attempt();
  if (now !== null) return now;
  if (timeout === 0) return -errno.EAGAIN;
  // While it waits the set counts as open, so that sending wakes the thread; the mask is back before delivery.
  const before = thread.signalMask;
  thread.signalMask &= ~set;
  thread.awaited = set & before;
  return new Block({
    retry: attempt,
    deadline: timeout === undefined ? undefined : deadlineAt(process, timeout),
    timeout: () => -errno.EAGAIN,
    onSignal: "eintr",
    cleanup: () => {
      thread.signalMask = before;
      thread.awaited = 0n;
    },
  });
}

export const SIGNAL_SYSCALLS = [
  row(13, "rt_sigaction", ["signal", "sigaction", "sigaction", "size"], rtSigaction),
  row(14, "rt_sigprocmask", ["sigmaskHow", "sigset", "sigset", "size"], rtSigprocmask),
  row(15, "rt_sigreturn", [], rtSigreturn),
  row(34, "pause", [], pause),
  row(
    62,
    "kill",
    ["int", "signal"],
    kill,
    "the guest sees the processes of its machine; stops of the first one's group are sent to the host's",
  ),
  row(127, "rt_sigpending", ["sigset", "size"], rtSigpending),
  row(128, "rt_sigtimedwait", ["sigset", "address", "timespec", "size"], rtSigtimedwait),
  row(129, "rt_sigqueueinfo", ["int", "signal", "address"], (process: LinuxProcess, _thread: LinuxThread, args) => {
    return queueInfo(process, args.i32(0), undefined, args.i32(1), args.address(2));
  }),
  row(130, "rt_sigsuspend", ["sigset", "size"], rtSigsuspend),
  row(131, "sigaltstack", ["address", "address"], sigaltstack),
  row(200, "tkill", ["int", "signal"], tkill),
  row(234, "tgkill", ["int", "int", "signal"], tgkill),
  row(
    297,
    "rt_tgsigqueueinfo",
    ["int", "int", "signal", "address"],
    (process: LinuxProcess, _thread: LinuxThread, args) => {
      return queueInfo(process, args.i32(0), args.i32(1), args.i32(2), args.address(3));
    },
  ),
  ...SIGNALFD_SYSCALLS,
];
