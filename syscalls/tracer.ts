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

/** Who may hold threads back at what they do: a debugger. It pauses the scheduler itself. */
export interface Supervisor {
  /** A signal is about to be delivered; false takes it away from the thread (ptrace(2), signal-delivery-stop). */
  signal(thread: LinuxThread, info: SignalInfo): boolean;
  /** A system call is about to be carried out; false stops before it: it is asked again when the thread goes on. */
  syscallEntry(thread: LinuxThread, number: number): boolean;
  /** A system call has its result in RAX. */
  syscallReturn(thread: LinuxThread, number: number): void;
  threadExit(thread: LinuxThread): void;
}
