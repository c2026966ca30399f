import type { GuestMemory } from "../emu/memory/guest-memory.ts";
import type { Host } from "../host/host.ts";
import type { HostJob } from "../host/terminal.ts";
import type { FileState } from "./files/file-state.ts";
import type { Network } from "./net/network.ts";
import type { Limits } from "./process/limits.ts";
import type { Thread } from "./thread.ts";

/** A guest process as system calls see it. */
export interface Process {
  readonly memory: GuestMemory;
  readonly files: FileState;
  readonly host: Host;
  readonly network: Network;
  readonly pid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly gid: number;
  readonly euid: number;
  readonly egid: number;
  readonly exePath: string;
  /** Name of its first thread. */
  readonly comm: string;
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  readonly auxv: Uint8Array;
  readonly cpus: number;
  readonly cpuDescription: { readonly vendor: string; readonly brand: string; readonly flags: readonly string[] };
  readonly limits: Limits;
  /** Process group, session, and what the terminal has in its foreground. */
  readonly job: HostJob;
  /** The terminal has a group in its foreground from now on (TIOCSPGRP). @throws SyscallError */
  setForeground(group: number): void;
  /** What it does, as /proc/pid/stat says it: R, S, T or Z. */
  readonly state: string;
  /** All processes of the machine. */
  readonly others: Iterable<Process>;
  readonly clock: { monotonicNs(): number; realtimeNs(): bigint };
  readonly threads: Iterable<Thread>;
  /** CPU time of all threads in ns. */
  readonly cpuTime: number;
  /** When the process began: CLOCK_MONOTONIC in ns. */
  readonly startNs: number;
  sendSignalToThread(thread: Thread, signo: number, info: { code: number }): void;
  wakeUp(): void;
  /** New files of the host get this file mode creation mask. */
  useMask(umask: number): void;
}
