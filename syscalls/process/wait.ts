import type { ExitStatus } from "../../host/processes.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import { CLD_EXITED, CLD_KILLED, SIGNAL } from "../abi/signals.ts";
import type { Args } from "../args.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { CLD_TRAPPED, type Traced, type TraceStop } from "../ptrace/traced.ts";
import { SIGINFO_SIZE, writeSigInfo } from "../signals/info.ts";
import { type Child, type ChildEvent, childSignal } from "./children.ts";
import { PidFd } from "./pidfd.ts";

/** Options of wait4(2) and waitid(2) (include/uapi/linux/wait.h). */
const W = {
  NOHANG: 1,
  UNTRACED: 2,
  EXITED: 4,
  CONTINUED: 8,
  NOWAIT: 0x0100_0000,
  NOTHREAD: 0x2000_0000,
  ALL: 0x4000_0000,
  CLONE: 0x8000_0000,
} as const;
const P = { ALL: 0, PID: 1, PGID: 2, PIDFD: 3 } as const;

/** Which children a call waits for: by number and kind (kernel/exit.c, eligible_child). */
function eligible(options: number, chosen: (child: Child) => boolean): (child: Child) => boolean {
  return (child) => {
    if (!chosen(child)) return false;
    if (options & W.ALL) return true;
    return (child.exitSignal !== SIGNAL.SIGCHLD) === ((options & W.CLONE) !== 0);
  };
}

/** What is taken of a child: its end, or that it stands or goes on. */
type Happened = { readonly kind: "ended"; readonly status: ExitStatus } | ChildEvent;

/** What there is to tell of a child to who waits for these things (kernel/exit.c, wait_consider_task). */
function happened(child: Child, options: number): Happened | undefined {
  const { status, event } = child;
  if (status !== undefined) return options & W.EXITED ? { kind: "ended", status } : undefined;
  if (event?.kind === "stopped") return options & W.UNTRACED ? event : undefined;
  return event !== undefined && options & W.CONTINUED ? event : undefined;
}

/** Waits until something has happened to one of the children; `take` stores what the caller wants and gives the result. */
function waitFor(
  process: LinuxProcess,
  options: number,
  wanted: (child: Child) => boolean,
  nothing: () => number,
  take: (child: Child, what: Happened) => number,
  wantedThread: (thread: LinuxThread) => boolean,
  takeTraced: (traced: Traced) => number,
): SyscallResult {
  const { children } = process;
  const attempt = (): number | null => {
    let isAny = false;
    for (const child of children.all) {
      if (!wanted(child)) continue;
      // Who waits for no end is not kept by a child that has come to it.
      if (child.status === undefined || options & W.EXITED) isAny = true;
      const what = happened(child, options);
      if (what === undefined) continue;
      // The caller's memory may not be there: then nothing has been taken.
      const result = take(child, what);
      if (options & W.NOWAIT) return result;
      if (what.kind === "ended") children.waitedFor(child);
      else child.event = undefined;
      return result;
    }
    for (const traced of process.tracees) {
      const { stop, ended, thread } = traced;
      if (!wantedThread(thread)) continue;
      isAny = true;
      const isTold = ended !== undefined ? (options & W.EXITED) !== 0 : stop !== undefined && !traced.isReported;
      if (!isTold) continue;
      const result = takeTraced(traced);
      if (options & W.NOWAIT) return result;
      if (ended !== undefined) process.tracees.delete(traced);
      else traced.isReported = true;
      return result;
    }
    return isAny ? null : -errno.ECHILD;
  };
  const now = attempt();
  if (now !== null) return now;
  if (options & W.NOHANG) return nothing();
  return new Block({ on: [children.queue], retry: attempt });
}

/** The status word of wait(2): the exit status in the second byte, or the signal in the first (bits/waitstatus.h). */
function statusWord(what: Happened): number {
  if (what.kind === "stopped") return (what.signal << 8) | 0x7f;
  if (what.kind === "continued") return 0xffff;
  const { status } = what;
  return status.kind === "exited" ? (status.status & 0xff) << 8 : status.signal & 0x7f;
}

/** The status word of a traced thread that stands (ptrace(2)). */
function tracedStatus(stop: TraceStop | undefined): number {
  return ((stop?.event ?? 0) << 16) | ((stop?.signal ?? 0) << 8) | 0x7f;
}

/** struct rusage (144 bytes): ru_utime 0, ru_stime 16, ru_maxrss 32. */
function writeUsage(process: LinuxProcess, address: number, child: Child): void {
  if (address === 0) return;
  const bytes = new Uint8Array(144);
  const view = new DataView(bytes.buffer);
  const { userUs = 0, systemUs = 0, maxRssKib = 0 } = child.usage ?? {};
  for (const [offset, us] of [
    [0, userUs],
    [16, systemUs],
  ]) {
    view.setBigInt64(offset, BigInt(Math.floor(us / 1e6)), true);
    view.setBigInt64(offset + 8, BigInt(Math.floor(us % 1e6)), true);
  }
  view.setBigInt64(32, BigInt(maxRssKib), true);
  process.memory.writeBytes(address, bytes);
}

/** wait4(2). */
export function wait4(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [pid, statusAt, options, usageAt] = [args.i32(0), args.address(1), args.u32(2), args.address(3)];
  const known = W.NOHANG | W.UNTRACED | W.CONTINUED | W.NOTHREAD | W.ALL | W.CLONE;
  if (options & ~known || pid === -0x8000_0000) throw new SyscallError(options & ~known ? "EINVAL" : "ESRCH");
  const { group } = process;
  const chosen = (child: Child): boolean => {
    if (pid === -1) return true;
    return pid > 0 ? child.pid === pid : child.group === (pid === 0 ? group : -pid);
  };
  return waitFor(
    process,
    options | W.EXITED,
    eligible(options, chosen),
    () => 0,
    (child, what) => {
      if (statusAt !== 0) process.memory.writeU32(statusAt, statusWord(what));
      writeUsage(process, usageAt, child);
      return child.pid;
    },
    ({ tid, process: { group: its } }) => pid === -1 || (pid > 0 ? tid === pid : its === (pid === 0 ? group : -pid)),
    ({ thread, stop, ended }) => {
      const word = ended === undefined ? tracedStatus(stop) : statusWord({ kind: "ended", status: ended });
      if (statusAt !== 0) process.memory.writeU32(statusAt, word);
      return thread.tid;
    },
  );
}

/** waitid(2). */
export function waitid(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const [kind, id, infoAt, options, usageAt] = [
    args.i32(0),
    args.i32(1),
    args.address(2),
    args.u32(3),
    args.address(4),
  ];
  const known = W.NOHANG | W.UNTRACED | W.EXITED | W.CONTINUED | W.NOWAIT | W.NOTHREAD | W.ALL | W.CLONE;
  if (options & ~known || !(options & (W.EXITED | W.UNTRACED | W.CONTINUED))) throw new SyscallError("EINVAL");
  const chosen = chooser(process, kind, id);
  return waitFor(
    process,
    options,
    eligible(options, chosen.wanted),
    () => {
      if (chosen.nonblocking) return -errno.EAGAIN;
      if (infoAt !== 0) process.memory.writeBytes(infoAt, new Uint8Array(SIGINFO_SIZE));
      return 0;
    },
    (child) => {
      if (infoAt !== 0) writeSigInfo(process.memory, infoAt, childSignal(child));
      writeUsage(process, usageAt, child);
      return 0;
    },
    ({ tid, process: { group } }) => kind === P.ALL || (kind === P.PID ? tid === id : kind === P.PGID && group === id),
    ({ thread: { tid, process: of }, stop, ended }) => {
      const status =
        ended === undefined ? tracedStatus(stop) >> 8 : ended.kind === "exited" ? ended.status : ended.signal;
      const code = ended === undefined ? CLD_TRAPPED : ended.kind === "exited" ? CLD_EXITED : CLD_KILLED;
      const info = { signal: SIGNAL.SIGCHLD, code, pid: tid, uid: of.uid, status };
      if (infoAt !== 0) writeSigInfo(process.memory, infoAt, info);
      return 0;
    },
  );
}

function chooser(
  process: LinuxProcess,
  kind: number,
  id: number,
): { wanted: (child: Child) => boolean; nonblocking: boolean } {
  switch (kind) {
    case P.ALL:
      return { wanted: () => true, nonblocking: false };
    case P.PID:
      if (id <= 0) throw new SyscallError("EINVAL");
      return { wanted: (child) => child.pid === id, nonblocking: false };
    case P.PGID: {
      if (id < 0) throw new SyscallError("EINVAL");
      const group = id === 0 ? process.group : id;
      return { wanted: (child) => child.group === group, nonblocking: false };
    }
    case P.PIDFD: {
      if (id < 0) throw new SyscallError("EINVAL");
      const description = process.files.table.get(id);
      if (!(description instanceof PidFd)) throw new SyscallError("EBADF");
      return { wanted: (child) => child === description.child, nonblocking: description.nonblocking };
    }
    default:
      throw new SyscallError("EINVAL");
  }
}
