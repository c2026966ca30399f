import { REG } from "../../emu/cpu/state.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import { SIGNAL, SS_DISABLE } from "../abi/signals.ts";
import { Block, type SyscallResult } from "../block.ts";
import { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { PidFd } from "../process/pidfd.ts";
import { EVENT, traceChild } from "../ptrace/traced.ts";
import { discardProcess } from "./end.ts";
import { forkMm } from "./fork-mm.ts";

/** What a new process has in common with its parent, and what it is given (clone(2)). */
export interface ForkRequest {
  /** What is shared with the parent in place of a copy: CLONE_VM, CLONE_FILES, CLONE_FS, CLONE_SIGHAND. */
  readonly memory: boolean;
  readonly descriptors: boolean;
  readonly directory: boolean;
  readonly actions: boolean;
  /** Signal actions are the default ones (CLONE_CLEAR_SIGHAND). */
  readonly clearActions: boolean;
  /** The calling thread waits until the child has executed a program, or has ended (CLONE_VFORK). */
  readonly waits: boolean;
  /** It is a child of the caller's parent (CLONE_PARENT). */
  readonly sibling: boolean;
  readonly exitSignal: number;
  /** Its stack pointer; 0 for the caller's. */
  readonly stack: bigint;
  readonly tls: bigint | undefined;
  /** Where numbers go, in the caller's memory, in the child's, and in that at its end. */
  readonly parentTid: number | undefined;
  readonly childTid: number | undefined;
  readonly clearTid: number | undefined;
  /** Where the number of a descriptor for the child goes (CLONE_PIDFD). */
  readonly pidfd: number | undefined;
}

/**
 * Makes a process (kernel/fork.c, copy_process() and kernel_clone()).
 * @throws SyscallError EAGAIN if there are too many, ENOMEM; GuestFault
 */
export function fork(process: LinuxProcess, thread: LinuxThread, request: ForkRequest): SyscallResult {
  const { kernel } = process;
  kernel.checkRoom();
  // What can fail is tried first: nothing has to be taken back then.
  if (request.pidfd !== undefined) {
    process.files.table.lowestFree();
    process.memory.writeU32(request.pidfd, 0);
  }
  const mm = request.memory ? process.mm : forkMm(kernel, process.mm);
  const files = process.files.fork({ table: request.descriptors, directory: request.directory });
  const child = new LinuxProcess(kernel, kernel.newPid(), {
    mm,
    files,
    signals: (owner) => {
      if (request.actions) return process.signals.share(owner);
      const copy = process.signals.fork(owner);
      if (request.clearActions) copy.execute();
      return copy;
    },
    limits: process.limits.fork(),
    parent: request.sibling ? process.parent : process,
    exitSignal: request.sibling ? process.self.exitSignal : request.exitSignal,
    credentials: process.credentials.fork(),
    group: process.group,
    session: process.session,
  });
  // The memory is limited by the limits of who had it first.
  if (request.memory) process.limitMemory();
  const first = firstThread(child, thread.name);
  first.cpu.copyFrom(thread.cpu);
  first.cpu.gpr[REG.RAX] = 0n;
  if (request.stack !== 0n) first.cpu.gpr[REG.RSP] = request.stack;
  if (request.tls !== undefined) first.cpu.fsBase = request.tls;
  first.signalMask = thread.signalMask;
  first.scheduling = thread.scheduling.fork();
  first.personality = thread.personality;
  const keepsStack = !request.memory || request.waits;
  first.alternateStack = keepsStack ? { ...thread.alternateStack } : { address: 0, size: 0, flags: SS_DISABLE };
  if (request.clearTid !== undefined) first.clearChildTid = request.clearTid;
  if (request.childTid !== undefined) tryStore(child, request.childTid, child.pid);
  if (request.parentTid !== undefined) tryStore(process, request.parentTid, child.pid);
  if (request.pidfd !== undefined) {
    process.memory.writeU32(request.pidfd, process.files.table.install(new PidFd(child.self), true));
  }
  child.parent?.children.add(child.self);
  const event = request.waits ? EVENT.VFORK : request.exitSignal === SIGNAL.SIGCHLD ? EVENT.FORK : EVENT.CLONE;
  traceChild(thread, first, event);
  child.startThread(first);
  if (!request.waits) return child.pid;
  const queue = new WaitQueue();
  let isReleased = false;
  child.released = () => {
    isReleased = true;
    child.released = undefined;
    queue.wake();
  };
  return new Block({ on: [queue], retry: () => (isReleased ? child.self.pid : null), onSignal: "never" });
}

/** @throws SyscallError EAGAIN if there are too many threads in the address space */
function firstThread(child: LinuxProcess, name: string): LinuxThread {
  try {
    return child.createThread(name);
  } catch (error) {
    discardProcess(child);
    throw error;
  }
}

/** As on Linux nobody is told if there is no such place (kernel_clone(), schedule_tail()). */
function tryStore({ memory }: LinuxProcess, address: number, value: number): void {
  try {
    memory.writeU32(address, value);
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
  }
}
