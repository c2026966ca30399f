import { GuestFault } from "../emu/memory/guest-memory.ts";
import { MemoryError } from "../emu/memory/memory-error.ts";
import { OutOfFrames } from "../emu/memory/pages.ts";
import { errno, SyscallError } from "./abi/errno.ts";

/** The errno behind an error that a handler threw; anything else is a bug of ours and goes on. */
export function errnoOf(error: unknown): number {
  if (error instanceof SyscallError) return error.value;
  if (error instanceof GuestFault) return errno.EFAULT;
  if (error instanceof MemoryError) return errno[error.code];
  if (error instanceof OutOfFrames) return errno.ENOMEM;
  throw error;
}
