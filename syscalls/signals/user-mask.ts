import { SyscallError } from "../abi/errno.ts";
import type { Process } from "../process.ts";
import type { Thread } from "../thread.ts";
import { UNBLOCKABLE } from "./frame.ts";

/** sigset_t has 64 bits for the kernel; another size is EINVAL. */
export const SIGSET_SIZE = 8;

export function checkSetSize(size: number | bigint): void {
  if (Number(size) !== SIGSET_SIZE) throw new SyscallError("EINVAL");
}

/**
 * Replaces a thread's signal mask until its system call is over (Linux: kernel/signal.c, set_user_sigmask, and
 * set_restore_sigmask). If a handler interrupts the call, the old mask goes into the handler's frame
 * (Signals.deliver); otherwise it is back before any signal can be delivered (restoreMask).
 * @param address of the mask; with 0 nothing happens, whatever the size
 * @throws SyscallError EINVAL for a size other than 8; GuestFault
 */
export function setUserMask(process: Process, thread: Thread, address: number, size: number | bigint): void {
  if (address === 0) return;
  checkSetSize(size);
  const mask = process.memory.readU64(address) & ~UNBLOCKABLE;
  thread.savedMask = thread.signalMask;
  thread.signalMask = mask;
}

/** Takes setUserMask back, if it was done (Linux: restore_saved_sigmask). */
export function restoreMask(thread: Thread): void {
  if (thread.savedMask === undefined) return;
  thread.signalMask = thread.savedMask;
  thread.savedMask = undefined;
}
