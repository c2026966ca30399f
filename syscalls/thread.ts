/** A guest thread as system calls see it. */
export interface Thread {
  readonly tid: number;
  readonly name: string;
  /** Blocked signals: bit N-1 is signal N. */
  signalMask: bigint;
  /** Mask to go back to once a call is over that set another for its duration (signals/user-mask.ts). */
  savedMask: bigint | undefined;
  /** What it has for itself as a child that has not called execve(2) yet (vfork(2)). */
  readonly vfork?: { detached: boolean; readonly leadsSession?: boolean };
}
