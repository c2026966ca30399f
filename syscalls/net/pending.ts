import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import { SyscallError } from "../abi/errno.ts";

/** Something that the host has been asked and has not answered yet. */
export class Pending {
  readonly queue = new WaitQueue();
  #done = false;
  #error: SyscallError | undefined;

  /** @param wakeUp lets the machine go on after the answer */
  constructor(promise: Promise<unknown>, wakeUp: () => void) {
    const settle = (error: SyscallError | undefined): void => {
      this.#done = true;
      this.#error = error;
      this.queue.wake();
      wakeUp();
    };
    promise.then(
      () => settle(undefined),
      (error: unknown) => settle(error instanceof SyscallError ? error : new SyscallError("EIO")),
    );
  }

  get done(): boolean {
    return this.#done;
  }

  /** Call when done. @throws SyscallError if the host refused */
  check(): void {
    if (this.#error !== undefined) throw this.#error;
  }
}
