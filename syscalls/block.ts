import type { WaitQueue } from "../emu/threads/wait-queue.ts";

/** What a system call hands back: a value for RAX (errors negated), or a wait. */
export type SyscallResult = number | bigint | Block;

/**
 * A system call that can't finish yet. The thread sleeps until one of the queues is woken, the deadline passes or a
 * signal arrives.
 */
export class Block {
  /** Queues whose wake-ups make the call worth retrying. */
  readonly on: readonly WaitQueue[];
  /** Tries to finish; null to go on waiting. May throw SyscallError or GuestFault like a handler. */
  readonly retry: () => number | bigint | null;
  /** Absolute CLOCK_MONOTONIC time in ns at which `timeout` decides the result; Infinity for none. */
  readonly deadline: number;
  readonly timeout: () => number | bigint;
  /**
   * What a caught signal makes of the call (signal(7), "Interruption of system calls"): `restart` is ERESTARTSYS
   * (restarted under SA_RESTART, else EINTR), `eintr` is ERESTARTNOHAND (always EINTR when a handler runs), `never` that
   * signals wait until the call is over (TASK_KILLABLE).
   */
  readonly onSignal: "restart" | "eintr" | "never";
  /** Runs just before an interrupted call returns EINTR, for instance to store the time left. */
  readonly interrupted: (() => void) | undefined;
  /** Always runs once, when the wait is over for whatever reason. */
  readonly cleanup: (() => void) | undefined;

  constructor(init: {
    on?: readonly WaitQueue[];
    retry: () => number | bigint | null;
    deadline?: number;
    timeout?: () => number | bigint;
    onSignal?: "restart" | "eintr" | "never";
    interrupted?: () => void;
    cleanup?: () => void;
  }) {
    this.on = init.on ?? [];
    this.retry = init.retry;
    this.deadline = init.deadline ?? Number.POSITIVE_INFINITY;
    this.timeout = init.timeout ?? (() => 0);
    this.onSignal = init.onSignal ?? "restart";
    this.interrupted = init.interrupted;
    this.cleanup = init.cleanup;
  }
}
