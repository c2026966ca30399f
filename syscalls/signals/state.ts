import { REG } from "../../emu/cpu/state.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import { errno } from "../abi/errno.ts";
import {
  defaultAction,
  SA_NODEFER,
  SA_RESETHAND,
  SA_RESTART,
  SEGV_MAPERR,
  SI_KERNEL,
  SI_QUEUE,
  SI_TIMER,
  SI_USER,
  SIG_DFL,
  SIG_IGN,
  SIGNAL,
} from "../abi/signals.ts";
import { PartialBlock } from "../files/blocking.ts";
import { isOrphaned } from "../kernel/jobs.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { RLIMIT } from "../process/limits.ts";
import { enterHandler, UNBLOCKABLE } from "./frame.ts";
import type { SignalInfo } from "./info.ts";
import { bitOf, SignalQueue } from "./queue.ts";
import { restoreMask } from "./user-mask.ts";

/** What sigaction(2) sets. Handler and restorer are addresses; SIG_DFL is 0, SIG_IGN 1. */
export interface SignalAction {
  handler: bigint;
  flags: number;
  restorer: bigint;
  mask: bigint;
}

const STOPS = [SIGNAL.SIGSTOP, SIGNAL.SIGTSTP, SIGNAL.SIGTTIN, SIGNAL.SIGTTOU];

const DEFAULT_ACTION: SignalAction = { handler: 0n, flags: 0, restorer: 0n, mask: 0n };

/** A process's signal handlers and pending signals, and how signals are delivered (Linux: kernel/signal.c). */
export class Signals {
  readonly #process: LinuxProcess;
  #actions: SignalAction[] = [];
  /** Signals for the process as a whole: a thread that doesn't block them takes them, the first one if it can. */
  readonly pending = new SignalQueue();
  /** Woken at each signal that is queued, for the process or one of its threads (signalfd(2)). */
  readonly arrivals = new WaitQueue();

  /** Told of each action that is set; `isDefault` tells that it is the signal's own. */
  actionChanged: ((signal: number, isDefault: boolean) => void) | undefined;

  constructor(process: LinuxProcess) {
    this.#process = process;
  }

  /** A copy of the actions for a new process, with nothing pending (fork(2)). */
  fork(process: LinuxProcess): Signals {
    const copy = new Signals(process);
    for (const [signal, action] of this.#actions.entries()) if (action !== undefined) copy.#actions[signal] = action;
    return copy;
  }

  /** The same actions, changes of which both processes see, for a new process (clone(2), CLONE_SIGHAND). */
  share(process: LinuxProcess): Signals {
    const copy = new Signals(process);
    copy.#actions = this.#actions;
    return copy;
  }

  /** Signals that have handlers have their default action again, and the actions are the process's own (execve(2)). */
  execute(): void {
    const before = this.#actions;
    this.#actions = [];
    for (const [signal, action] of before.entries()) {
      if (action === undefined) continue;
      if (action.handler === BigInt(SIG_IGN)) this.#actions[signal] = { ...DEFAULT_ACTION, handler: action.handler };
      else this.actionChanged?.(signal, true);
    }
  }

  action(signal: number): SignalAction {
    return this.#actions[signal] ?? DEFAULT_ACTION;
  }

  /** Sets an action; pending signals that are now ignored are dropped. */
  setAction(signal: number, action: SignalAction): void {
    this.#actions[signal] = action;
    this.actionChanged?.(signal, action.handler === BigInt(SIG_DFL));
    if (!this.#ignored(signal)) return;
    this.pending.drop(signal);
    for (const thread of this.#process.threads) thread.pending.drop(signal);
  }

  /** Has the signal no effect at all? */
  #ignored(signal: number): boolean {
    // A tracer sees those, too.
    for (const { traced } of this.#process.threads) if (traced !== undefined && signal !== SIGNAL.SIGKILL) return false;
    const { handler } = this.action(signal);
    if (handler === BigInt(SIG_IGN)) return true;
    const action = defaultAction(signal);
    return handler === BigInt(SIG_DFL) && (action === "ignore" || action === "continue");
  }

  /**
   * What a signal does when it is sent, whether or not it is blocked or ignored: one that stops takes SIGCONT out of the
   * queues, SIGCONT those that stop, and lets the process go on (kernel/signal.c, prepare_signal).
   */
  #prepare({ signal }: SignalInfo): void {
    const queues = (): SignalQueue[] => [this.pending, ...[...this.#process.threads].map(({ pending }) => pending)];
    if (defaultAction(signal) === "stop") for (const queue of queues()) queue.drop(SIGNAL.SIGCONT);
    else if (signal === SIGNAL.SIGCONT) {
      for (const queue of queues()) for (const stop of STOPS) queue.drop(stop);
      this.#process.resume(signal);
    } else if (signal === SIGNAL.SIGKILL) {
      this.#process.resume(signal);
      for (const thread of this.#process.threads) thread.traced?.kill();
    }
  }

  /** Sends a signal to the process; false if too many are queued already (EAGAIN to a sender that can be told). */
  send(info: SignalInfo): boolean {
    if (this.#process.finished) return true;
    this.#prepare(info);
    const takers = [...this.#process.threads].filter((thread) => !(thread.signalMask & bitOf(info.signal)));
    const isAwaited = takers.some((thread) => thread.awaited & bitOf(info.signal));
    if (takers.length > 0 && !isAwaited && this.#ignored(info.signal)) return true;
    if (this.#duplicate(this.pending, info)) return true;
    if (this.#full(info)) return false;
    this.pending.push(info);
    this.arrivals.wake();
    const current = this.#process.scheduler.current;
    const leaders = this.#leaders(info);
    const taker =
      takers.find((thread) => leaders && thread === this.#leader) ??
      takers.find((thread) => thread === current) ??
      takers.find((thread) => thread.state === "runnable") ??
      takers[0];
    if (taker !== undefined) this.#wake(taker);
    return true;
  }

  /** Sends a signal to one thread (tgkill(2), faults, SIGPIPE); false as for `send`. */
  sendToThread(thread: LinuxThread, info: SignalInfo): boolean {
    if (thread.state === "exited") return true;
    this.#prepare(info);
    const blocked = (thread.signalMask & bitOf(info.signal)) !== 0n;
    if (info.forced) {
      // force_sig_fault: a blocked or ignored one takes the default action after all.
      if (blocked || this.action(info.signal).handler === BigInt(SIG_IGN)) {
        this.#actions[info.signal] = { ...DEFAULT_ACTION };
        thread.signalMask &= ~bitOf(info.signal);
      }
      thread.pending.unshift(info);
      return true;
    }
    const isAwaited = (thread.awaited & bitOf(info.signal)) !== 0n;
    if (!blocked && !isAwaited && this.#ignored(info.signal)) return true;
    if (this.#duplicate(thread.pending, info)) return true;
    if (this.#full(info)) return false;
    thread.pending.push(info);
    this.arrivals.wake();
    if (!blocked) this.#wake(thread);
    return true;
  }

  /** Standard signals are pending once at most, and so is each timer's; other real-time signals queue up. */
  #duplicate(pending: SignalQueue, info: SignalInfo): boolean {
    if (info.signal < 32) return pending.has(info.signal);
    return info.code === SI_TIMER && info.timerId !== undefined && pending.hasTimer(info.timerId);
  }

  /** Are as many signals queued as may be (RLIMIT_SIGPENDING)? Standard ones always find room. */
  #full(info: SignalInfo): boolean {
    if (info.signal < 32) return false;
    let queued = this.pending.length;
    for (const { pending } of this.#process.threads) queued += pending.length;
    return BigInt(queued) >= this.#process.limits.get(RLIMIT.SIGPENDING).soft;
  }

  #wake(thread: LinuxThread): void {
    if (thread.wait !== undefined) this.#process.waits.interrupt(thread);
    this.#process.wakeUp();
  }

  /** The first thread of the process, until it ends. */
  get #leader(): LinuxThread | undefined {
    return this.#process.threadById(this.#process.pid);
  }

  /**
   * Is a signal of the process its first thread's? One that somebody has sent is, if that thread can take it (Linux:
   * complete_signal). What ends the process does so at once, whichever thread is asked.
   */
  #leaders({ signal, code }: SignalInfo): boolean {
    if (code !== SI_USER && code !== SI_QUEUE) return false;
    const leader = this.#leader;
    if (leader === undefined || leader.state === "exited") return false;
    if (leader.signalMask & bitOf(signal) || leader.wait?.block.onSignal === "never") return false;
    return this.action(signal).handler !== BigInt(SIG_DFL);
  }

  /** Of the process's pending signals those that another thread is to take. */
  #others(thread: LinuxThread): bigint {
    return this.pending.length === 0 || thread === this.#leader
      ? 0n
      : this.pending.maskOf((info) => this.#leaders(info));
  }

  /** Signals that a thread would take now. */
  deliverable(thread: LinuxThread): boolean {
    const { signalMask } = thread;
    return thread.pending.deliverable(signalMask) || this.pending.deliverable(signalMask | this.#others(thread));
  }

  /** All signals pending for a thread, as a mask (sigpending(2)). */
  pendingMask(thread: LinuxThread): bigint {
    return thread.pending.mask | this.pending.mask;
  }

  /** Takes the next signal out of the queues: the thread's own first, faults before others, then by number. */
  take(thread: LinuxThread, allowed: (signal: number) => boolean): SignalInfo | undefined {
    return thread.pending.take(allowed) ?? this.pending.take(allowed);
  }

  /**
   * Delivers pending signals to a thread about to run user code (Linux: arch_do_signal_or_restart): builds frames for
   * handlers, carries out default actions, decides about an interrupted system call.
   */
  deliver(thread: LinuxThread): void {
    const process = this.#process;
    while (thread.state === "runnable" && !process.finished) {
      const isOpen = (signal: number): boolean => !(thread.signalMask & bitOf(signal));
      const others = this.#others(thread);
      const injected = thread.traced?.takeInjected();
      const info =
        injected ??
        thread.pending.take(isOpen) ??
        this.pending.take((signal) => isOpen(signal) && !(others & bitOf(signal)));
      if (info === undefined) break;
      const { traced } = thread;
      if (traced !== undefined && !traced.isLeft && injected === undefined && info.signal !== SIGNAL.SIGKILL) {
        traced.enter({ signal: info.signal, info });
        thread.state = "stopped";
        return;
      }
      if (process.supervisor?.signal(thread, info) === false) return;
      process.strace?.signal(process, thread, info);
      const action = this.action(info.signal);
      if (action.handler === BigInt(SIG_IGN)) continue;
      if (action.handler === BigInt(SIG_DFL)) {
        this.#defaultAction(thread, info);
        continue;
      }
      this.#settleInterrupted(thread, (action.flags & SA_RESTART) !== 0);
      this.#enter(thread, info, action);
    }
    if (thread.state !== "runnable") return;
    this.#settleInterrupted(thread, true, true);
    restoreMask(thread);
  }

  #enter(thread: LinuxThread, info: SignalInfo, action: SignalAction): void {
    const returnMask = thread.savedMask ?? thread.signalMask;
    thread.savedMask = undefined;
    try {
      enterHandler(this.#process, thread, info, action, returnMask);
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
      // No stack to run the handler on: Linux forces SIGSEGV, fatal if that was the signal (force_sigsegv).
      if (info.signal === SIGNAL.SIGSEGV) this.#process.die(info.signal);
      else this.sendToThread(thread, { signal: SIGNAL.SIGSEGV, code: SI_KERNEL, forced: true });
      return;
    }
    let blocked = thread.signalMask | action.mask;
    if (!(action.flags & SA_NODEFER)) blocked |= bitOf(info.signal);
    thread.signalMask = blocked & ~UNBLOCKABLE;
    if (action.flags & SA_RESETHAND) this.#actions[info.signal] = { ...action, handler: BigInt(SIG_DFL) };
  }

  /** Ends an interrupted wait: the call is made again, or fails with EINTR. */
  #settleInterrupted(thread: LinuxThread, restart: boolean, noHandler = false): void {
    const block = thread.interrupted;
    if (block === undefined) return;
    thread.interrupted = undefined;
    const { cpu } = thread;
    if (block instanceof PartialBlock && block.transferred > 0) {
      // What was moved can't be moved again: the call returns how much it was (signal(7)).
      cpu.gpr[REG.RAX] = BigInt(block.transferred);
      return;
    }
    if (noHandler || (restart && block.onSignal === "restart")) {
      cpu.rip64 -= 2n;
      cpu.gpr[REG.RAX] = BigInt(thread.syscall);
      return;
    }
    try {
      block.interrupted?.();
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
    }
    cpu.gpr[REG.RAX] = BigInt.asUintN(64, BigInt(-errno.EINTR));
  }

  #defaultAction(thread: LinuxThread, info: SignalInfo): void {
    switch (defaultAction(info.signal)) {
      case "terminate":
      case "core":
        this.#process.die(info.signal);
        return;
      case "stop":
        // Nobody could continue the members of an orphaned group (kernel/signal.c, get_signal).
        if (info.signal !== SIGNAL.SIGSTOP && isOrphaned(this.#process)) return;
        if (thread.traced !== undefined && !thread.traced.isLeft) thread.traced.enter({ signal: info.signal });
        else this.#process.stop(info.signal);
        return;
      default:
        return;
    }
  }

  /** A fault of the CPU becomes a signal that the thread can't avoid. */
  force(thread: LinuxThread, info: Omit<SignalInfo, "forced">): void {
    this.sendToThread(thread, { ...info, forced: true });
  }

  /** SIGSEGV for a bad frame or stack. */
  forceSegv(thread: LinuxThread): void {
    this.force(thread, { signal: SIGNAL.SIGSEGV, code: SEGV_MAPERR, address: 0n });
  }
}
