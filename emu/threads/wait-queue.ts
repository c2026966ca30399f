/**
 * A set of parked callers waiting for a condition to be worth looking at again: the emulator's counterpart of the
 * kernel's wait_queue_head (include/linux/wait.h). Callers are woken in the order in which they came.
 */
export type Waiter = () => void;

export class WaitQueue {
  /** Made for the first of them: most queues, those of plain files among them, never have one. */
  #waiters: Set<Waiter> | undefined;

  /** Number of parked callers. */
  get size(): number {
    return this.#waiters?.size ?? 0;
  }

  /** Parks a caller: `waiter` runs at each wake-up until it is removed. */
  add(waiter: Waiter): void {
    this.#waiters ??= new Set();
    this.#waiters.add(waiter);
  }

  remove(waiter: Waiter): void {
    this.#waiters?.delete(waiter);
  }

  /** Lets every parked caller look again, in order of arrival. A waiter that is satisfied removes itself. */
  wake(): void {
    if (this.#waiters === undefined || this.#waiters.size === 0) return;
    for (const waiter of [...this.#waiters]) waiter();
  }
}
