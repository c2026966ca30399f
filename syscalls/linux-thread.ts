import { type CpuState, REG } from "../emu/cpu/state.ts";
import type { Core } from "../emu/machine.ts";
import type { GuestThread } from "../emu/threads/scheduler.ts";
import type { Timer } from "../emu/threads/timer-queue.ts";
import { SS_DISABLE } from "./abi/signals.ts";
import { Args } from "./args.ts";
import type { Block } from "./block.ts";
import type { Program } from "./kernel/mm.ts";
import type { LinuxProcess } from "./linux-process.ts";
import type { Traced } from "./ptrace/traced.ts";
import { SignalQueue } from "./signals/queue.ts";
import type { Thread } from "./thread.ts";
import { Scheduling } from "./threads/scheduling-state.ts";

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
  readonly process: LinuxProcess;
  tid: number;
  cpu: CpuState;
  state: GuestThread["state"] = "runnable";
  cpuTime = 0;
  instructions = 0;
  passedStop: number | undefined;
  name: string;
  signalMask = 0n;
  /** Signals that it takes in rt_sigtimedwait(2), which are not ignored meanwhile (Linux: task_struct's real_blocked). */
  awaited = 0n;
  savedMask: bigint | undefined;
  /** Signals sent to this thread that wait for delivery. */
  readonly pending = new SignalQueue();
  alternateStack: AlternateStack = { address: 0, size: 0, flags: SS_DISABLE };
  /** Where to store 0 and wake a futex at exit (CLONE_CHILD_CLEARTID, set_tid_address(2)). */
  clearChildTid = 0;
  /** Address of its struct robust_list_head, or 0 (set_robust_list(2)). */
  robustList = 0;
  scheduling = new Scheduling();
  /** personality(2). */
  personality = 0;
  wait: ActiveWait | undefined;
  /** Number of the system call under way, and its arguments. */
  syscall = -1;
  readonly args = new Args();
  /** A signal broke a wait off; how the call goes on depends on the handler (Linux: ERESTARTSYS and its kin). */
  interrupted: Block | undefined;
  /** The exception that it had last, as each signal's frame has it (Linux: thread_struct's trap_nr, error_code, cr2). */
  lastTrap = { trap: 0, error: 0 };
  cr2 = 0n;
  /** Set while the thread must not run, by a debugger. */
  held = false;
  /** What its tracer has to do with it (ptrace(2)). */
  traced: Traced | undefined;

  constructor(process: LinuxProcess, tid: number, cpu: CpuState, name: string) {
    this.process = process;
    this.tid = tid;
    this.cpu = cpu;
    this.name = name;
  }

  /** It begins with a program that its process has executed (execve(2)). */
  enterProgram(cpu: CpuState, program: Program, name: string): void {
    this.cpu = cpu;
    this.name = name;
    cpu.rip = program.entry;
    cpu.gpr[REG.RSP] = BigInt(program.stackPointer);
    this.alternateStack = { address: 0, size: 0, flags: SS_DISABLE };
    this.savedMask = undefined;
    this.interrupted = undefined;
    this.passedStop = undefined;
    this.lastTrap = { trap: 0, error: 0 };
    this.cr2 = 0n;
    this.held = false;
  }

  /** Its process has ended: it needs its CPU state no longer, which is a part of that one's memory. */
  letGo(): void {
    (this as { cpu: CpuState | undefined }).cpu = undefined;
  }

  get processor(): Core {
    return this.process.mm.core;
  }
}
