import type { Args } from "./args.ts";
import type { ExitStatus, LinuxProcess } from "./linux-process.ts";
import type { LinuxThread } from "./linux-thread.ts";
import type { SignalInfo } from "./signals/info.ts";
import type { SyscallRow } from "./table.ts";

/** Who wants to see system calls and signals: `--strace`, a trace. */
export interface SyscallTracer {
  enter(
    process: LinuxProcess,
    thread: LinuxThread,
    row: SyscallRow<LinuxProcess, LinuxThread> | undefined,
    number: number,
    args: Args,
  ): void;
  leave(process: LinuxProcess, thread: LinuxThread, result: number | bigint): void;
  signal(process: LinuxProcess, thread: LinuxThread, info: SignalInfo): void;
  processExit(process: LinuxProcess, status: ExitStatus): void;
}

/** Who wants to see threads and the addresses at which code stops for it: probes (observe/probes.ts). */
export interface ProcessObserver {
  /** A thread is about to run for the first time; `parent` called clone(2), or is undefined for the first thread. */
  threadStart(thread: LinuxThread, parent: LinuxThread | undefined): void;
  threadExit(thread: LinuxThread): void;
  /** The thread is about to run the instruction at its RIP, which is one of the interpreter's stops. */
  stopped(thread: LinuxThread): void;
}
