import { REG, TRAP_FLAG } from "../../emu/cpu/state.ts";
import type { ExitStatus } from "../../host/processes.ts";
import { SA_NOCLDSTOP, SI_USER, SIG_IGN, SIGNAL, TRAP_TRACE } from "../abi/signals.ts";
import { ARGUMENTS, type LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import type { SignalInfo } from "../signals/info.ts";

/** Events that stop a traced thread (include/uapi/linux/ptrace.h, PTRACE_EVENT_*); the option for each is 1 << event. */
export const EVENT = { FORK: 1, VFORK: 2, CLONE: 3, EXEC: 4, EXIT: 6 } as const;
/** The other options. */
export const OPTION = { TRACESYSGOOD: 1, EXITKILL: 0x10_0000 } as const;
/** si_code of SIGCHLD for a stop of a traced thread. */
export const CLD_TRAPPED = 4;
/** What a call that a signal has interrupted returns to a tracer (include/linux/errno.h, ERESTARTSYS). */
const ERESTARTSYS = 512n;
const NONE = 0xffff_ffff_ffff_ffffn;

/** Why a traced thread stands. */
export interface TraceStop {
  /** The signal that wait(2) tells, with 0x80 for system calls where the tracer asks for that. */
  readonly signal: number;
  readonly event?: number;
  readonly message?: number;
  /** The signal about to be delivered; none for events and system calls. */
  readonly info?: SignalInfo;
  /** What the thread was about to do. */
  readonly work?: () => void;
}

/** How a tracer lets a thread go on: until a signal or event, the next system call, or the next instruction. */
export type Going = "on" | "syscall" | "step";

/**
 * What a thread's tracer has to do with it (ptrace(2); Linux: task_struct's ptrace and what kernel/ptrace.c makes of it). A
 * thread stops when it would run next.
 */
export class Traced {
  readonly thread: LinuxThread;
  readonly tracer: LinuxProcess;
  options: number;
  /** Why it stands, as long as it does. */
  stop: TraceStop | undefined;
  /** Has the tracer waited for that? */
  isReported = false;
  /** How it has ended, where its tracer is to be told, who is not its parent. */
  ended: ExitStatus | undefined;
  /** PTRACE_GETEVENTMSG. */
  message = 0;
  /** The number of the system call under way, else -1 (struct user_regs_struct, orig_rax). */
  callNumber = NONE;
  #going: Going = "on";
  #injected: SignalInfo | undefined;
  #then: (() => void) | undefined;
  readonly #waiting: TraceStop[] = [];

  constructor(thread: LinuxThread, tracer: LinuxProcess, options: number) {
    this.thread = thread;
    this.tracer = tracer;
    this.options = options;
    thread.traced = this;
    tracer.tracees.add(this);
  }

  has(event: number): boolean {
    return (this.options & (1 << event)) !== 0;
  }

  /** The thread stands from now on, or, while it waits in a system call, does not come back from it. */
  enter(stop: TraceStop): void {
    if (this.stop !== undefined) {
      this.#waiting.push(stop);
      return;
    }
    this.stop = stop;
    this.isReported = false;
    if (stop.message !== undefined) this.message = stop.message;
    if (this.thread.cpu.traps && this.#going === "step") this.thread.cpu.rflags &= ~BigInt(TRAP_FLAG);
    this.#tell(stop.signal & 0x7f);
  }

  /** The tracer is sent SIGCHLD, and who waits looks (kernel/signal.c, do_notify_parent_cldstop). */
  #tell(status: number): void {
    const { tracer, thread } = this;
    if (tracer.finished) return;
    tracer.children.queue.wake();
    const { handler, flags } = tracer.signals.action(SIGNAL.SIGCHLD);
    if (handler !== BigInt(SIG_IGN) && !(flags & SA_NOCLDSTOP)) {
      const { uid } = thread.process;
      tracer.signals.send({ signal: SIGNAL.SIGCHLD, code: CLD_TRAPPED, pid: thread.tid, uid, status });
    }
    tracer.wakeUp();
  }

  /** An event, if the tracer wants to know of such. */
  event(event: number, message: number): void {
    if (this.has(event)) this.enter({ signal: SIGNAL.SIGTRAP, event, message });
  }

  /**
   * The thread is about to run.
   * @returns false if it does not: it stands, or waits in a system call
   */
  mayRun(): boolean {
    const { thread } = this;
    for (;;) {
      if (this.stop === undefined && this.#then !== undefined) {
        const then = this.#then;
        this.#then = undefined;
        then();
        if (thread.state !== "runnable") return false;
        continue;
      }
      const next = this.stop === undefined ? this.#waiting.shift() : undefined;
      if (next !== undefined) this.enter(next);
      else if (this.stop === undefined && thread.interrupted !== undefined && this.callNumber !== NONE) {
        thread.cpu.gpr[REG.RAX] = BigInt.asUintN(64, -ERESTARTSYS);
        this.leavesCall();
        this.callNumber = NONE;
        continue;
      }
      if (this.stop === undefined) return true;
      thread.state = "stopped";
      return false;
    }
  }

  /** The thread runs code of its own from now on. */
  runs(): void {
    this.callNumber = NONE;
    if (this.#going === "step") this.thread.cpu.rflags |= BigInt(TRAP_FLAG);
  }

  /** A system call is about to be carried out; true if the thread stops before, and makes it then itself. */
  entersCall(number: number): boolean {
    this.callNumber = BigInt.asUintN(64, BigInt(number));
    if (this.#going !== "syscall") return false;
    const { thread } = this;
    // -ENOSYS, until it has been carried out (arch/x86/entry/entry_64.S).
    thread.cpu.gpr[REG.RAX] = BigInt.asUintN(64, -38n);
    this.enter({ signal: this.#callSignal, work: () => makeCall(thread, this.callNumber) });
    return true;
  }

  /** A system call has its result in RAX. */
  leavesCall(): void {
    if (this.#going === "syscall") this.enter({ signal: this.#callSignal });
    else if (this.#going === "step") {
      const info = { signal: SIGNAL.SIGTRAP, code: TRAP_TRACE, address: this.thread.cpu.rip64 };
      this.enter({ signal: SIGNAL.SIGTRAP, info });
    }
  }

  get #callSignal(): number {
    return SIGNAL.SIGTRAP | (this.options & OPTION.TRACESYSGOOD ? 0x80 : 0);
  }

  /** The signal with which the tracer has let it go on. */
  takeInjected(): SignalInfo | undefined {
    const info = this.#injected;
    this.#injected = undefined;
    return info;
  }

  get hasInjected(): boolean {
    return this.#injected !== undefined;
  }

  /** The tracer lets it go on. @param signal delivered to it then, or 0 */
  resume(going: Going, signal: number): void {
    const { stop, thread, tracer } = this;
    if (stop === undefined) return;
    this.#going = going;
    this.stop = undefined;
    this.#then = stop.work;
    const sent = { signal, code: SI_USER, pid: tracer.pid, uid: tracer.uid };
    if (signal !== 0 && stop.info !== undefined) this.#injected = stop.info.signal === signal ? stop.info : sent;
    else if (signal !== 0 && stop.event === undefined) thread.process.signals.sendToThread(thread, sent);
    this.#wake();
  }

  #wake(): void {
    const { thread } = this;
    if (thread.state === "stopped") thread.process.scheduler.enqueue(thread);
    thread.process.wakeUp();
  }

  /** Nobody traces it any more. */
  detach(signal: number): void {
    this.resume("on", signal);
    this.tracer.tracees.delete(this);
    this.#waiting.length = 0;
    // What it was about to do it does without being traced.
    this.options = 0;
    if (this.#then === undefined && this.#injected === undefined) this.thread.traced = undefined;
    else this.isLeft = true;
  }

  /** Its tracer has gone; what is left to do for the thread is done when it runs. */
  isLeft = false;

  /** It is to end (SIGKILL). */
  kill(): void {
    this.stop = undefined;
    this.#then = undefined;
    this.#waiting.length = 0;
    this.#going = "on";
    this.#wake();
  }

  /** The thread, or its process, has ended. */
  end(status: ExitStatus): void {
    const { thread, tracer } = this;
    this.stop = undefined;
    const isLeader = thread.tid === thread.process.pid;
    // A parent is told of its child in any case.
    if (tracer.finished || this.isLeft || (isLeader && thread.process.parent === tracer)) {
      tracer.tracees.delete(this);
      return;
    }
    this.ended = status;
    if (isLeader) this.#tell(status.kind === "exited" ? status.status : status.signal);
    else {
      tracer.children.queue.wake();
      tracer.wakeUp();
    }
  }
}

/** A thread that makes another: its tracer has that one, too, if it wants to (kernel/fork.c, ptrace_init_task). */
export function traceChild(parent: LinuxThread, child: LinuxThread, event: number): void {
  const { traced } = parent;
  if (traced === undefined || traced.isLeft || !traced.has(event)) return;
  new Traced(child, traced.tracer, traced.options);
  child.pending.push({ signal: SIGNAL.SIGSTOP, code: SI_USER });
  traced.event(event, child.tid);
}

/** What the end of a tracer means to those that it traces (kernel/ptrace.c, exit_ptrace). */
export function leaveTracees(tracer: LinuxProcess): void {
  for (const traced of [...tracer.tracees]) {
    const { process } = traced.thread;
    const dies = (traced.options & OPTION.EXITKILL) !== 0;
    tracer.tracees.delete(traced);
    if (traced.ended !== undefined) continue;
    if (traced.stop === undefined) traced.isLeft = true;
    else traced.detach(traced.stop.info?.signal ?? 0);
    if (dies) process.signals.send({ signal: SIGNAL.SIGKILL, code: SI_USER, pid: 0, uid: 0 });
  }
}

/** Makes the system call that a tracer has seen, and may have changed: -1 for none. */
function makeCall(thread: LinuxThread, number: bigint): void {
  const { process, args, cpu } = thread;
  const { words, gpr } = cpu;
  for (let i = 0; i < ARGUMENTS.length; i++) args.set(i, words[ARGUMENTS[i] * 2], words[ARGUMENTS[i] * 2 + 1]);
  const call = Number(BigInt.asIntN(32, number));
  if (call < 0) process.finishSyscall(thread, BigInt.asIntN(64, gpr[REG.RAX]));
  else process.callSystem(thread, call, args);
}
