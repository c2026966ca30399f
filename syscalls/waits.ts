import { GuestFault } from "../emu/memory/guest-memory.ts";
import { errno, SyscallError } from "./abi/errno.ts";
import type { Block } from "./block.ts";
import type { LinuxProcess } from "./linux-process.ts";
import type { LinuxThread } from "./linux-thread.ts";

/** System calls that wait: parks threads, retries, times out, lets signals break a wait off. */
export class Waits {
  readonly #process: LinuxProcess;

  constructor(process: LinuxProcess) {
    this.#process = process;
  }

  /** Puts a thread to sleep in its system call. */
  begin(thread: LinuxThread, block: Block): void {
    const { scheduler } = this.#process;
    const waiter = (): void => this.#retry(thread, block.retry);
    const timer =
      block.deadline === Number.POSITIVE_INFINITY
        ? undefined
        : scheduler.timers.add(block.deadline, () => this.#retry(thread, block.timeout));
    thread.state = "blocked";
    thread.wait = { block, waiter, timer };
    for (const queue of block.on) queue.add(waiter);
    this.interrupt(thread);
  }

  #retry(thread: LinuxThread, attempt: () => number | bigint | null): void {
    let result: number | bigint | null;
    try {
      result = this.#process.onBehalfOf(thread, attempt);
    } catch (error) {
      if (error instanceof SyscallError) result = -error.value;
      else if (error instanceof GuestFault) result = -errno.EFAULT;
      else throw error;
    }
    if (result === null || thread.wait === undefined) return;
    this.#end(thread);
    this.#process.finishSyscall(thread, result);
  }

  #end(thread: LinuxThread): void {
    const { wait } = thread;
    if (wait === undefined) return;
    thread.wait = undefined;
    for (const queue of wait.block.on) queue.remove(wait.waiter);
    if (wait.timer !== undefined) wait.timer.cancelled = true;
    wait.block.cleanup?.();
    if (thread.state === "blocked") this.#process.scheduler.enqueue(thread);
  }

  /** A signal has come: the thread leaves its wait; delivery decides whether the call fails or starts again. */
  interrupt(thread: LinuxThread): void {
    const { wait } = thread;
    if (wait === undefined || wait.block.onSignal === "never") return;
    if (!this.#process.signalsOf(thread).deliverable(thread)) return;
    this.#end(thread);
    thread.interrupted = wait.block;
    this.#process.strace?.leave(this.#process, thread, -errno.EINTR);
  }

  /** Forgets the wait of a thread that is gone. */
  abandon(thread: LinuxThread): void {
    thread.state = "exited";
    this.#end(thread);
  }
}
