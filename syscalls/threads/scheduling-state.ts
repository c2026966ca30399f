/** Scheduling policies (include/uapi/linux/sched.h). */
export const Policy = { OTHER: 0, FIFO: 1, RR: 2, BATCH: 3, IDLE: 5, DEADLINE: 6 } as const;

/** How a thread wants to be scheduled (sched(7)): what it asks for it is told again. */
export class Scheduling {
  /** CPUs that it may run on, bit 0 the first; undefined for all. */
  affinity: bigint | undefined;
  policy: number = Policy.OTHER;
  /** Of real-time policies, 1–99; else 0. */
  priority = 0;
  nice = 0;
  /** ioprio_set(2): class and level; 0 for none of its own. */
  ioPriority = 0;
  resetOnFork = false;

  /** What a new thread or process begins with (kernel/sched/core.c, sched_fork). */
  fork(): Scheduling {
    const child = Object.assign(new Scheduling(), this);
    if (!this.resetOnFork) return child;
    child.resetOnFork = false;
    if (child.policy === Policy.FIFO || child.policy === Policy.RR) {
      child.policy = Policy.OTHER;
      child.priority = 0;
      child.nice = 0;
    } else child.nice = Math.max(0, child.nice);
    return child;
  }
}
