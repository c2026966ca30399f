import type { ExitStatus } from "../../syscalls/linux-process.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { SignalInfo } from "../../syscalls/signals/info.ts";

/** What a watchpoint looks for, as gdb's Z2, Z3 and Z4 have it. */
export type WatchKind = "write" | "read" | "access";

/** Why the guest stands still. `thread` is the one that it happened to. */
export type StopEvent =
  /** Somebody asked for it. */
  | { readonly kind: "interrupt"; readonly thread: LinuxThread }
  /** The thread is about to run the instruction at a breakpoint. */
  | { readonly kind: "breakpoint"; readonly thread: LinuxThread; readonly address: number }
  /** The thread has made an access; RIP is behind the instruction. `address` lies in the watched range. */
  | { readonly kind: "watchpoint"; readonly thread: LinuxThread; readonly watch: WatchKind; readonly address: number }
  /** A step is done. */
  | { readonly kind: "step"; readonly thread: LinuxThread }
  /** A signal is about to be delivered; how the thread goes on decides whether it is. */
  | { readonly kind: "signal"; readonly thread: LinuxThread; readonly info: SignalInfo }
  | { readonly kind: "syscallEntry" | "syscallReturn"; readonly thread: LinuxThread; readonly number: number }
  /** None of the threads that were to run is left. */
  | { readonly kind: "noResumed" }
  | { readonly kind: "exited"; readonly status: ExitStatus };

/** How a thread goes on. */
export type Action =
  /** With `signal`, that signal is delivered; the one that stopped the thread is dropped otherwise. */
  | { readonly kind: "continue"; readonly signal?: number }
  /** One instruction, or as long as RIP is in `range`, which is [start, end). */
  | { readonly kind: "step"; readonly signal?: number; readonly range?: AddressRange }
  | { readonly kind: "stop" };

export interface AddressRange {
  readonly start: number;
  readonly end: number;
}
