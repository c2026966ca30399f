import type { CpuState } from "../emu/cpu/state.ts";
import type { GuestThread, Processor } from "../emu/threads/scheduler.ts";
import type { Timer } from "../emu/threads/timer-queue.ts";
import { SS_DISABLE } from "./abi/signals.ts";
import { Args } from "./args.ts";
import type { Block } from "./block.ts";
import type { VforkState } from "./process/children.ts";
import { SignalQueue } from "./signals/queue.ts";
import type { Thread } from "./thread.ts";

/** A system call under way that waits. */
export interface ActiveWait {
  readonly block: Block;
  readonly waiter: () => void;
  readonly timer: Timer | undefined;
}

/** The alternate signal stack (sigaltstack(2)). */
export interface AlternateStack {
  address: number;
  size: number;
  flags: number;
}

/** A guest thread with what Linux keeps for it (task_struct). */
export class LinuxThread implements Thread, GuestThread {
  readonly tid: number;
  readonly cpu: CpuState;
  readonly processor: Processor;
  state: GuestThread["state"] = "runnable";
  cpuTime = 0;
  instructions = 0;
  passedStop: number | undefined;
  name: string;
  signalMask = 0n;
  savedMask: bigint | undefined;
  /** Signals sent to this thread that wait for delivery. */
  readonly pending = new SignalQueue();
  alternateStack: AlternateStack = { address: 0, size: 0, flags: SS_DISABLE };
  /** Where to store 0 and wake a futex at exit (CLONE_CHILD_CLEARTID, set_tid_address(2)). */
  clearChildTid = 0;
  /** Address of its struct robust_list_head, or 0 (set_robust_list(2)). */
  robustList = 0;
  wait: ActiveWait | undefined;
  /** Number of the system call under way, and its arguments. */
  syscall = -1;
  readonly args = new Args();
  /** A signal broke a wait off; how the call goes on depends on the handler (Linux: ERESTARTSYS and its kin). */
  interrupted: Block | undefined;
  /** It runs for a child process that shares this one's memory until its execve(2). */
  vfork: VforkState | undefined;
  /** The exception that it had last, as each signal's frame has it (Linux: thread_struct's trap_nr, error_code, cr2). */
  lastTrap = { trap: 0, error: 0 };
  cr2 = 0n;
  /** Set while the thread must not run, by a debugger. */
  held = false;

  constructor(tid: number, cpu: CpuState, processor: Processor, name: string) {
    this.tid = tid;
    this.cpu = cpu;
    this.processor = processor;
    this.name = name;
  }
}
