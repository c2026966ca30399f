import { GuestFault } from "../emu/memory/guest-memory.ts";
import { errno, SyscallError } from "./abi/errno.ts";
import type { Block } from "./block.ts";
import type { Kernel } from "./kernel/kernel.ts";
import type { LinuxThread } from "./linux-thread.ts";

/** System calls that wait: parks threads, retries, times out, lets signals break a wait off. */
export class Waits {
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Puts a thread to sleep in its system call. */
  begin(thread: LinuxThread, block: Block): void {
    const { scheduler } = this.#kernel;
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
      result = this.#kernel.onBehalfOf(thread, attempt);
    } catch (error) {
      if (error instanceof SyscallError) result = -error.value;
      else if (error instanceof GuestFault) result = -errno.EFAULT;
      else throw error;
    }
    if (result === null || thread.wait === undefined) return;
    this.#end(thread);
    thread.process.finishSyscall(thread, result);
  }

  #end(thread: LinuxThread): void {
    const { wait } = thread;
    if (wait === undefined) return;
    thread.wait = undefined;
    for (const queue of wait.block.on) queue.remove(wait.waiter);
    if (wait.timer !== undefined) wait.timer.cancelled = true;
    wait.block.cleanup?.();
    if (thread.state === "blocked") this.#kernel.scheduler.enqueue(thread);
  }

  /** A signal has come: the thread leaves its wait; delivery decides whether the call fails or starts again. */
  interrupt(thread: LinuxThread): void {
    const { wait } = thread;
    if (wait === undefined || wait.block.onSignal === "never") return;
    const { process } = thread;
    if (!process.signals.deliverable(thread)) return;
    this.#end(thread);
    thread.interrupted = wait.block;
    process.strace?.leave(process, thread, -errno.EINTR);
  }

  /** Forgets the wait of a thread that is gone. */
  abandon(thread: LinuxThread): void {
    thread.state = "exited";
    this.#end(thread);
  }
}
