/** A guest thread as system calls see it. */
export interface Thread {
  readonly tid: number;
  readonly name: string;
  /** Blocked signals: bit N-1 is signal N. */
  signalMask: bigint;
  /** Mask to go back to once a call is over that set another for its duration (signals/user-mask.ts). */
  savedMask: bigint | undefined;
}
