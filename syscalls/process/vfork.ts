import { REG } from "../../emu/cpu/state.ts";
import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import { SyscallError } from "../abi/errno.ts";
import { Block } from "../block.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { Child } from "./children.ts";
import { PidFd } from "./pidfd.ts";

/** What a call that makes a process asks for: the arguments of clone(2) that matter to it. */
export interface NewProcessRequest {
  readonly exitSignal: number;
  /** 0 for the parent's stack. */
  readonly stack: bigint;
  readonly parentTid: number | undefined;
  /** Where the number of a descriptor for the child goes (CLONE_PIDFD). */
  readonly pidfd: number | undefined;
  readonly tls: bigint | undefined;
}

/**
 * Starts a child that shares this process's memory until it calls execve(2) or exits; the calling thread waits for that
 * (vfork(2), clone(2) with CLONE_VM and CLONE_VFORK).
 */
export function vfork(process: LinuxProcess, thread: LinuxThread, request: NewProcessRequest): Block {
  if (thread.vfork !== undefined) throw new SyscallError("ENOSYS");
  const runner = process.createThread(thread.name);
  const child = new Child(runner.tid, request.exitSignal);
  let pidfd: number | undefined;
  try {
    if (request.pidfd !== undefined) {
      pidfd = process.files.table.install(new PidFd(child), true);
      process.memory.writeU32(request.pidfd, pidfd);
    }
    if (request.parentTid !== undefined) process.memory.writeU32(request.parentTid, child.pid);
  } catch (error) {
    if (pidfd !== undefined) process.files.table.close(pidfd);
    process.forgetThread(runner);
    throw error;
  }
  runner.cpu.copyFrom(thread.cpu);
  runner.cpu.gpr[REG.RAX] = 0n;
  if (request.stack !== 0n) runner.cpu.gpr[REG.RSP] = request.stack;
  if (request.tls !== undefined) runner.cpu.fsBase = request.tls;
  runner.signalMask = thread.signalMask;
  runner.alternateStack = { ...thread.alternateStack };
  const released = new WaitQueue();
  runner.vfork = {
    child,
    files: process.files.fork(),
    signals: process.signals.fork(),
    limits: process.limits.fork(),
    released,
    detached: false,
  };
  process.children.add(child);
  process.startThread(runner);
  return new Block({
    on: [released],
    retry: () => (runner.state === "exited" ? child.pid : null),
    onSignal: "never",
  });
}
