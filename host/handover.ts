import type { ExitStatus, Usage } from "./processes.ts";

/**
 * What a goemu tells the one that it starts for a guest's child process: one line of JSON on a descriptor. Bytes are
 * strings with one character each. When the guest has ended, the new goemu answers with a line (`Report`).
 */
export interface Handover {
  readonly file: string;
  readonly name: string;
  readonly argv: readonly string[];
  readonly envp: readonly string[];
  /** All descriptors that the guest starts with. */
  readonly descriptors: readonly HandoverDescriptor[];
  readonly ignored: readonly number[];
  /** Blocked signals as a decimal number: bit N-1 is signal N. */
  readonly blocked: string;
}

export interface HandoverDescriptor {
  readonly fd: number;
  /** It is the same open file description as this descriptor. */
  readonly as?: number;
  /** To the guest it is one end of a pipe, open in this access mode, whatever it is on the host. */
  readonly pipe?: number;
}

export interface Report {
  readonly status: ExitStatus;
  readonly usage: Usage;
}
