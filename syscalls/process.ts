import type { GuestMemory } from "../emu/memory/guest-memory.ts";
import type { Host } from "../host/host.ts";
import type { HostJob } from "../host/terminal.ts";
import type { FileState } from "./files/file-state.ts";
import type { FileOwner } from "./files/signal-driven.ts";
import type { Network } from "./net/network.ts";
import type { Credentials } from "./process/credentials.ts";
import type { Limits } from "./process/limits.ts";
import type { Thread } from "./thread.ts";
import type { Pty } from "./tty/pty.ts";
import type { Ptys } from "./tty/ptys.ts";
import type { Tty } from "./tty/tty.ts";

/** What a process may do to terminals (JobControl). */
export interface TerminalUse {
  mayUse(pty: Pty, signal: number): boolean;
  setForeground(group: number, terminal: Tty): void;
  opened(pty: Pty): void;
  take(pty: Pty, steal: boolean): void;
  leave(): void;
}

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
  readonly credentials: Credentials;
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
  /** What it may do to terminals. */
  readonly jobControl: TerminalUse;
  /** Pseudo-terminals of the machine. */
  readonly ptys: Ptys;
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
  /** Whom the signals of a file may go to (F_SETOWN); undefined if there is nobody such. */
  fileOwner(kind: FileOwner["kind"], id: number): FileOwner | undefined;
  wakeUp(): void;
  /** New files of the host get this file mode creation mask. */
  useMask(umask: number): void;
}
