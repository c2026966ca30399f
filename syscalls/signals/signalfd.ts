import { SyscallError } from "../abi/errno.ts";
import { O_CLOEXEC, O_NONBLOCK, O_RDWR } from "../abi/fcntl.ts";
import { POLLIN } from "../abi/poll.ts";
import { SI_KERNEL, SI_TIMER, SI_USER, SIGNAL } from "../abi/signals.ts";
import type { FileStat } from "../abi/stat.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import { anonymousStat } from "../files/anonymous.ts";
import { FileDescription, WOULD_BLOCK } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";
import { UNBLOCKABLE } from "./frame.ts";
import { encodeSigInfo, type SignalInfo } from "./info.ts";
import { bitOf } from "./queue.ts";
import { checkSetSize } from "./user-mask.ts";

/** Size of a struct signalfd_siginfo (include/uapi/linux/signalfd.h). */
const RECORD = 128;

/** Signals whose siginfo_t names an address (kernel/signal.c, siginfo_layout). */
const FAULTS: readonly number[] = [SIGNAL.SIGSEGV, SIGNAL.SIGBUS, SIGNAL.SIGILL, SIGNAL.SIGFPE, SIGNAL.SIGTRAP];

/** A struct signalfd_siginfo made of a siginfo_t; which fields the latter has, its code tells (signalfd_copyinfo). */
function encodeRecord(info: SignalInfo): Uint8Array {
  const bytes = new Uint8Array(RECORD);
  const to = new DataView(bytes.buffer);
  const from = new DataView(encodeSigInfo(info).buffer);
  const code = from.getInt32(8, true);
  to.setInt32(0, info.signal, true); // ssi_signo
  to.setInt32(4, from.getInt32(4, true), true); // ssi_errno
  to.setInt32(8, code, true); // ssi_code
  const sender = (): void => {
    to.setInt32(12, from.getInt32(16, true), true); // ssi_pid
    to.setInt32(16, from.getInt32(20, true), true); // ssi_uid
  };
  const value = (): void => {
    to.setInt32(44, from.getInt32(24, true), true); // ssi_int
    to.setBigUint64(48, from.getBigUint64(24, true), true); // ssi_ptr
  };
  const ofSignal = code > SI_USER && code < SI_KERNEL;
  if (ofSignal && FAULTS.includes(info.signal))
    to.setBigUint64(72, from.getBigUint64(16, true), true); // ssi_addr
  else if (ofSignal && info.signal === SIGNAL.SIGCHLD) {
    sender();
    to.setInt32(40, from.getInt32(24, true), true); // ssi_status
    to.setBigUint64(56, from.getBigUint64(32, true), true); // ssi_utime
    to.setBigUint64(64, from.getBigUint64(40, true), true); // ssi_stime
  } else if (ofSignal && info.signal === SIGNAL.SIGIO) {
    to.setInt32(28, Number(from.getBigInt64(16, true)), true); // ssi_band
    to.setInt32(20, from.getInt32(24, true), true); // ssi_fd
  } else if (code === SI_TIMER) {
    to.setInt32(24, from.getInt32(16, true), true); // ssi_tid
    to.setInt32(32, from.getInt32(20, true), true); // ssi_overrun
    value();
  } else {
    sender();
    if (code < 0) value();
  }
  return bytes;
}

/**
 * Signals read from a descriptor (signalfd(2); Linux: fs/signalfd.c). Whose: those pending for the thread that reads or
 * polls, and for its process.
 */
export class SignalFd extends FileDescription {
  readonly #kernel: Kernel;
  readonly #id: bigint;
  #set: bigint;

  constructor(process: LinuxProcess, set: bigint, flags: number) {
    super(O_RDWR | (flags & O_NONBLOCK), process.signals.arrivals);
    this.#kernel = process.kernel;
    this.#id = process.files.anonymousInode();
    this.#set = set;
  }

  override get path(): string {
    return "anon_inode:[signalfd]";
  }

  override stat(): FileStat {
    return anonymousStat(this.#id, 0o600);
  }

  override get info(): string {
    return `sigmask:\t${this.#set.toString(16).padStart(16, "0")}\n`;
  }

  /** What is pending for one thread is nothing to another that polls: each has to look for itself. */
  override get pollDependsOnCaller(): boolean {
    return true;
  }

  /** Changes the signals that are taken. */
  accept(set: bigint): void {
    this.#set = set;
    this.queue.wake();
  }

  /** Seeking does nothing (fs/read_write.c, noop_llseek). */
  override seek(): number {
    return 0;
  }

  override read(to: IoVector): number {
    if (to.remaining < RECORD) throw new SyscallError("EINVAL");
    const thread = this.#kernel.caller as LinuxThread;
    const before = to.done;
    while (to.remaining >= RECORD) {
      const info = thread.process.signals.take(thread, (signal) => (this.#set & bitOf(signal)) !== 0n);
      if (info === undefined) return to.done > before ? to.done - before : WOULD_BLOCK;
      const start = to.done;
      if (to.put(encodeRecord(info)) === RECORD) continue;
      // The signal is gone, as on Linux; what has been told before counts.
      to.done = start;
      return start > before ? start - before : to.fault();
    }
    return to.done - before;
  }

  override poll(): number {
    const thread = this.#kernel.caller;
    if (thread === undefined) return 0;
    return thread.process.signals.pendingMask(thread) & this.#set ? POLLIN : 0;
  }
}

/** The mask is the kernel's sigset_t of 8 bytes; a descriptor of -1 asks for a new one. */
function makeSignalFd(process: LinuxProcess, args: Args, flags: number): SyscallResult {
  checkSetSize(args.address(2));
  const set = process.memory.readU64(args.address(1)) & ~UNBLOCKABLE;
  if (flags & ~(O_CLOEXEC | O_NONBLOCK)) throw new SyscallError("EINVAL");
  const { table } = process.files;
  const fd = args.i32(0);
  if (fd === -1) return table.install(new SignalFd(process, set, flags), (flags & O_CLOEXEC) !== 0);
  const description = table.get(args.u32(0));
  if (!(description instanceof SignalFd)) throw new SyscallError("EINVAL");
  description.accept(set);
  return fd;
}

export const SIGNALFD_SYSCALLS = [
  row(282, "signalfd", ["fd", "sigset", "size"], (process: LinuxProcess, _thread: LinuxThread, args: Args) =>
    makeSignalFd(process, args, 0),
  ),
  row(
    289,
    "signalfd4",
    ["fd", "sigset", "size", "openFlags"],
    (process: LinuxProcess, _thread: LinuxThread, args: Args) => makeSignalFd(process, args, args.u32(3)),
  ),
];
