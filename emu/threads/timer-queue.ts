/** Things due at a time, the earliest first: a binary heap whose cancelled entries are dropped when they come up. */
export interface Timer {
  /** ns on the queue's clock. */
  readonly due: number;
  readonly fire: () => void;
  cancelled: boolean;
}

export class TimerQueue {
  #heap: Timer[] = [];

  /** Calls `fire` once the clock has reached `due`. */
  add(due: number, fire: () => void): Timer {
    const timer: Timer = { due, fire, cancelled: false };
    const heap = this.#heap;
    heap.push(timer);
    for (let i = heap.length - 1; i > 0; ) {
      const parent = (i - 1) >>> 1;
      if (heap[parent].due <= heap[i].due) break;
      [heap[parent], heap[i]] = [heap[i], heap[parent]];
      i = parent;
    }
    return timer;
  }

  /** When the next timer is due; Infinity if there is none. */
  get next(): number {
    while (this.#heap.length > 0 && this.#heap[0].cancelled) this.#pop();
    return this.#heap[0]?.due ?? Number.POSITIVE_INFINITY;
  }

  /** Fires everything due at `now`. */
  expire(now: number): void {
    while (this.next <= now) this.#pop().fire();
  }

  #pop(): Timer {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop() as Timer;
    if (heap.length > 0) {
      heap[0] = last;
      for (let i = 0; ; ) {
        let least = i;
        for (const child of [2 * i + 1, 2 * i + 2]) {
          if (child < heap.length && heap[child].due < heap[least].due) least = child;
        }
        if (least === i) break;
        [heap[least], heap[i]] = [heap[i], heap[least]];
        i = least;
      }
    }
    return top;
  }
}
