import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import { SI_KERNEL, SI_QUEUE, SI_TIMER, SI_TKILL, SI_USER } from "../abi/signals.ts";

/** What is known of a signal: the siginfo_t of its handler. */
export interface SignalInfo {
  readonly signal: number;
  /** SI_*, or the signal's own codes (SEGV_MAPERR, …). */
  readonly code: number;
  readonly pid?: number;
  readonly uid?: number;
  /** si_addr of SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP. */
  readonly address?: bigint;
  /** sigval of timers and queued signals. */
  readonly value?: bigint;
  readonly timerId?: number;
  readonly overrun?: number;
  /** si_status of SIGCHLD: the exit status or the signal. */
  readonly status?: number;
  /** si_band and si_fd of a file's signals (fcntl(2), F_SETSIG). */
  readonly band?: number;
  readonly fd?: number;
  /** Raw siginfo given by rt_sigqueueinfo(2). */
  readonly raw?: Uint8Array;
  /** Page-fault error code and trap number for the ucontext. */
  readonly error?: number;
  readonly trap?: number;
  /** The exception was a fault: EFLAGS.RF is set in the frame (SDM Vol. 3A, 6.8.3). */
  readonly resume?: boolean;
  /** It came from an instruction: it can't be blocked or ignored (force_sig_fault). */
  readonly forced?: boolean;
}

export const SIGINFO_SIZE = 128;

/** A signal that a process sends by kill(2). */
export const sentBy = ({ pid, uid }: { readonly pid: number; readonly uid: number }, signal: number): SignalInfo => ({
  signal,
  code: SI_USER,
  pid,
  uid,
});

/** Stores a siginfo_t. @throws GuestFault */
export function writeSigInfo(memory: GuestMemory, address: number, info: SignalInfo): void {
  memory.writeBytes(address, encodeSigInfo(info));
}

/** A siginfo_t (include/uapi/asm-generic/siginfo.h): si_signo 0, si_errno 4, si_code 8, union from 16. */
export function encodeSigInfo(info: SignalInfo): Uint8Array {
  const bytes = new Uint8Array(SIGINFO_SIZE);
  if (info.raw !== undefined) bytes.set(info.raw.subarray(0, SIGINFO_SIZE));
  const view = new DataView(bytes.buffer);
  view.setInt32(0, info.signal, true);
  if (info.raw === undefined) {
    view.setInt32(8, info.code, true);
    if (info.status !== undefined) {
      view.setInt32(16, info.pid ?? 0, true);
      view.setInt32(20, info.uid ?? 0, true);
      view.setInt32(24, info.status, true);
    } else if (info.fd !== undefined) {
      view.setBigInt64(16, BigInt(info.band ?? 0), true);
      view.setInt32(24, info.fd, true);
    } else if (info.code === SI_TIMER) {
      view.setInt32(16, info.timerId ?? 0, true);
      view.setInt32(20, info.overrun ?? 0, true);
      view.setBigUint64(24, BigInt.asUintN(64, info.value ?? 0n), true);
    } else if (info.code === SI_USER || info.code === SI_TKILL || info.code === SI_QUEUE) {
      view.setInt32(16, info.pid ?? 0, true);
      view.setInt32(20, info.uid ?? 0, true);
      view.setBigUint64(24, BigInt.asUintN(64, info.value ?? 0n), true);
    } else if (info.code !== SI_KERNEL || info.address !== undefined) {
      view.setBigUint64(16, BigInt.asUintN(64, info.address ?? 0n), true);
    }
  }
  return bytes;
}
