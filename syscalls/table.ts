import type { Args } from "./args.ts";
import type { SyscallResult } from "./block.ts";
import type { Process } from "./process.ts";
import type { Thread } from "./thread.ts";

/** Carries out one system call. Fails by returning a negated errno or by throwing SyscallError or GuestFault. */
export type Handler<P extends Process = Process, T extends Thread = Thread> = (
  process: P,
  thread: T,
  args: Args,
) => SyscallResult;

/** How an argument is printed and read: one formatter each in strace/. */
export type ArgKind =
  | "int"
  | "uint"
  | "hex"
  | "long"
  | "ulong"
  | "size"
  | "address"
  | "fd"
  | "dirfd"
  | "path"
  | "octal"
  | "openFlags"
  | "bufferIn"
  | "bufferOut"
  | "iovecIn"
  | "iovecOut"
  | "stat"
  | "whence"
  | "fcntlCommand"
  | "prot"
  | "mapFlags"
  | "madvice"
  | "signal"
  | "sigset"
  | "sigaction"
  | "sigmaskHow"
  | "cloneFlags"
  | "futexOp"
  | "timespec"
  | "timeval"
  | "itimerspec"
  | "clock"
  | "archCode"
  | "resource"
  | "rlimit"
  | "epollOp"
  | "epollEvent"
  | "pollfds"
  | "ioctl"
  | "utsname"
  | "fdPair"
  | "status"
  | "prctlOp"
  | "atFlags"
  | "accessMode"
  | "statfs"
  | "flockOp"
  | "string"
  | "dirents"
  | "fdset"
  | "epollEventsOut"
  | "eventfdFlags"
  | "unlinkFlags"
  | "socketFamily"
  | "socketType"
  | "socketFlags"
  | "sockaddr"
  | "sockaddrOut"
  | "lengthOut"
  | "shutdownHow"
  | "socketLevel"
  | "socketOption"
  | "optionIn"
  | "optionOut"
  | "messageFlags"
  | "msghdrIn"
  | "msghdrOut"
  | "any";

/** One system call: number, name, argument kinds (for --strace), handler and how far it goes. */
export interface SyscallRow<P extends Process = Process, T extends Thread = Thread> {
  readonly number: number;
  readonly name: string;
  readonly args: readonly ArgKind[];
  readonly handler: Handler<P, T>;
  /** What is left out, or empty if everything that Linux does is there. */
  readonly note: string;
}

/** A row of the table; `note` says what part of Linux's behaviour is left out. */
export function row<P extends Process, T extends Thread>(
  number: number,
  name: string,
  args: readonly ArgKind[],
  handler: Handler<P, T>,
  note = "",
): SyscallRow<P, T> {
  return { number, name, args, handler, note };
}
