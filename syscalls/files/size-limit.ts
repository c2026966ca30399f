import { SyscallError } from "../abi/errno.ts";
import { O_APPEND } from "../abi/fcntl.ts";
import { SI_USER, SIGNAL } from "../abi/signals.ts";
import { S_IFMT, S_IFREG } from "../abi/stat.ts";
import { RLIM_INFINITY, RLIMIT } from "../process/limits.ts";
import type { Process } from "../process.ts";
import type { Thread } from "../thread.ts";
import type { FileDescription } from "./description.ts";
import { IoVector } from "./io-vector.ts";

/** RLIMIT_FSIZE in bytes (setrlimit(2)). */
function limitOf(process: Process): number {
  const { soft } = process.limits.get(RLIMIT.FSIZE);
  return soft === RLIM_INFINITY ? Number.POSITIVE_INFINITY : Number(soft);
}

function refuse(process: Process, thread: Thread): never {
  process.sendSignalToThread(thread, SIGNAL.SIGXFSZ, { code: SI_USER });
  throw new SyscallError("EFBIG");
}

/**
 * What may be written of `from`: as much as RLIMIT_FSIZE leaves (mm/filemap.c, generic_write_check_limits).
 * @param position where it would go; undefined for where the file stands
 * @throws SyscallError EFBIG, with SIGXFSZ, if that is nothing
 */
export function withinLimit(
  process: Process,
  thread: Thread,
  description: FileDescription,
  from: IoVector,
  position?: number,
): IoVector {
  const limit = limitOf(process);
  if (limit === Number.POSITIVE_INFINITY || from.remaining === 0) return from;
  const { mode, size } = description.stat();
  if ((mode & S_IFMT) !== S_IFREG) return from;
  const start = description.flags & O_APPEND ? size : (position ?? description.position);
  if (start >= limit) refuse(process, thread);
  return from.remaining <= limit - start ? from : IoVector.buffer(from.take(limit - start));
}

/** A file is to have a size (mm/truncate.c, inode_newsize_ok). @throws SyscallError EFBIG, with SIGXFSZ */
export function checkSize(process: Process, thread: Thread, before: number, size: number): void {
  if (size > before && size > limitOf(process)) refuse(process, thread);
}
