import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import type { SyscallResult } from "../block.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import type { FileDescription } from "./description.ts";
import { NR_OPEN } from "./fd-table.ts";
import { FifoDescription } from "./fifo.ts";
import { type LockRequest, OFFSET_MAX } from "./locks.ts";
import { MemoryFile } from "./memory-file.ts";
import { ownerEx, ownerOf, setOwner, setSignal } from "./owner.ts";
import { PIPE_CAPACITY, PipeEnd } from "./pipe.ts";

const close: Handler = (process, _thread, args) => {
  process.files.table.close(args.u32(0));
  return 0;
};

const CLOSE_RANGE_UNSHARE = 2;
const CLOSE_RANGE_CLOEXEC = 4;

/** close_range(2); Linux: fs/file.c, sys_close_range. Descriptors are shared by all threads here, so UNSHARE is not. */
const closeRange: Handler = (process, _thread, args) => {
  const [first, last, flags] = [args.u32(0), args.u32(1), args.u32(2)];
  if (flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) || first > last) return -errno.EINVAL;
  const { table } = process.files;
  for (const fd of table.inRange(first, last)) {
    if (flags & CLOSE_RANGE_CLOEXEC) (table.find(fd) as { closeOnExec: boolean }).closeOnExec = true;
    else table.close(fd);
  }
  return 0;
};

const dup: Handler = (process, _thread, args) => {
  const { table } = process.files;
  return table.install(table.get(args.u32(0)), false);
};

/** The checks of dup3 (fs/file.c, ksys_dup3): EBADF for a target above the limit comes before the source's. */
function duplicateTo(process: Process, from: number, to: number, closeOnExec: boolean): number {
  const { table } = process.files;
  if (to >= Math.min(table.limit, NR_OPEN)) throw new SyscallError("EBADF");
  table.replace(to, table.get(from), closeOnExec);
  return to;
}

const dup2: Handler = (process, _thread, args) => {
  const [from, to] = [args.u32(0), args.u32(1)];
  if (from === to) {
    process.files.table.get(from);
    return to;
  }
  return duplicateTo(process, from, to, false);
};

const dup3: Handler = (process, _thread, args) => {
  const [from, to, flags] = [args.u32(0), args.u32(1), args.u32(2)];
  if (flags & ~abi.O_CLOEXEC || from === to) return -errno.EINVAL;
  return duplicateTo(process, from, to, flags !== 0);
};

function makePipe(process: Process, address: number, flags: number): number {
  if (flags & ~(abi.O_CLOEXEC | abi.O_NONBLOCK | abi.O_DIRECT)) return -errno.EINVAL;
  const { table } = process.files;
  const ends = PipeEnd.pair(process.files.anonymousInode(), flags);
  const fds: number[] = [];
  for (const end of ends) end.acquire();
  try {
    for (const end of ends) fds.push(table.install(end, (flags & abi.O_CLOEXEC) !== 0));
    const bytes = new Uint8Array(8);
    const view = new DataView(bytes.buffer);
    fds.forEach((fd, i) => {
      view.setInt32(4 * i, fd, true);
    });
    process.memory.writeBytes(address, bytes);
    return 0;
  } catch (error) {
    for (const fd of fds) table.close(fd);
    throw error;
  } finally {
    for (const end of ends) end.release();
  }
}

const pipe: Handler = (process, _thread, args) => makePipe(process, args.address(0), 0);
const pipe2: Handler = (process, _thread, args) => makePipe(process, args.address(0), args.u32(1));

/** The first byte that a lock's whence counts from, and the range (fs/locks.c, flock64_to_posix_lock). */
function lockRange(description: FileDescription, view: DataView): { start: bigint; end: bigint } {
  const [whence, offset, length] = [view.getInt16(2, true), view.getBigInt64(8, true), view.getBigInt64(16, true)];
  const base = whence === abi.SEEK_CUR ? description.offset : whence === abi.SEEK_END ? description.stat().size : 0;
  const first = BigInt(base) + offset;
  const start = length < 0n ? first + length : first;
  if (first < 0n || start < 0n) throw new SyscallError("EINVAL");
  const end = length === 0n ? OFFSET_MAX : length < 0n ? first - 1n : first + length - 1n;
  if (first > OFFSET_MAX || end > OFFSET_MAX) throw new SyscallError("EOVERFLOW");
  return { start, end };
}

/** struct flock (include/uapi/asm-generic/fcntl.h): l_type s16 at 0, l_whence s16 at 2, l_start, l_len, l_pid. */
function lock(process: Process, description: FileDescription, command: number, address: number): SyscallResult {
  const { memory } = process;
  const bytes = memory.readBytes(address, 32);
  const view = new DataView(bytes.buffer);
  const type = view.getInt16(0, true);
  const whence = view.getInt16(2, true);
  const get = command === abi.F_GETLK || command === abi.F_OFD_GETLK;
  if (![abi.F_RDLCK, abi.F_WRLCK, abi.F_UNLCK].includes(type) || whence < 0 || whence > 2) return -errno.EINVAL;
  const { locks } = process.files;
  const byDescription = command >= abi.F_OFD_GETLK;
  const request: LockRequest = {
    kind: "record",
    type: type === abi.F_UNLCK ? "none" : type === abi.F_WRLCK ? "exclusive" : "shared",
    ...lockRange(description, view),
    byDescription,
  };
  if (get) {
    if (type === abi.F_UNLCK || (byDescription && view.getInt32(24, true) !== 0)) return -errno.EINVAL;
    const held = locks.conflict(description, request);
    if (held === undefined) view.setInt16(0, abi.F_UNLCK, true);
    else {
      view.setInt16(0, held.exclusive ? abi.F_WRLCK : abi.F_RDLCK, true);
      view.setInt16(2, abi.SEEK_SET, true);
      view.setBigInt64(8, held.start, true);
      view.setBigInt64(16, held.end === OFFSET_MAX ? 0n : held.end - held.start + 1n, true);
      view.setInt32(24, held.pid, true);
    }
    memory.writeBytes(address, bytes);
    return 0;
  }
  if (type === abi.F_RDLCK && !description.readable) return -errno.EBADF;
  if (type === abi.F_WRLCK && !description.writable) return -errno.EBADF;
  if (byDescription && view.getInt32(24, true) !== 0) return -errno.EINVAL;
  const wait = command === abi.F_SETLKW || command === abi.F_OFD_SETLKW;
  return locks.set(description, request, wait, byDescription ? -1 : process.pid);
}

/** What F_SETFL makes of the flags (fs/fcntl.c, setfl): the rest stays. */
export function setStatusFlags(description: FileDescription, fd: number, flags: number): void {
  const before = description.flags;
  description.setStatus((before & ~abi.SETFL_MASK) | (flags & abi.SETFL_MASK));
  if ((before ^ description.flags) & abi.O_ASYNC && description.canSignal) description.signalDriven.turn(fd);
}

/** Descriptors opened with O_PATH know only these commands (fs/fcntl.c, check_fcntl_cmd). */
const PATH_COMMANDS = new Set([abi.F_DUPFD, abi.F_DUPFD_CLOEXEC, abi.F_GETFD, abi.F_SETFD, abi.F_GETFL]);

const fcntl: Handler = (process, _thread, args) => {
  const { table } = process.files;
  const fd = args.u32(0);
  const command = args.u32(1);
  const description = table.get(fd);
  const descriptor = table.find(fd) as { closeOnExec: boolean };
  if (description.flags & abi.O_PATH && !PATH_COMMANDS.has(command)) return -errno.EBADF;
  switch (command) {
    case abi.F_DUPFD:
    case abi.F_DUPFD_CLOEXEC: {
      const minimum = args.address(2);
      if (minimum >= table.limit) return -errno.EINVAL;
      return table.install(description, command === abi.F_DUPFD_CLOEXEC, minimum);
    }
    case abi.F_GETFD:
      return descriptor.closeOnExec ? abi.FD_CLOEXEC : 0;
    case abi.F_SETFD:
      descriptor.closeOnExec = (args.u32(2) & abi.FD_CLOEXEC) !== 0;
      return 0;
    case abi.F_GETFL:
      return description.flags;
    case abi.F_SETFL:
      setStatusFlags(description, fd, args.u32(2));
      return 0;
    case abi.F_GETLK:
    case abi.F_SETLK:
    case abi.F_SETLKW:
    case abi.F_OFD_GETLK:
    case abi.F_OFD_SETLK:
    case abi.F_OFD_SETLKW:
      return lock(process, description, command, args.address(2));
    case abi.F_SETOWN:
      setOwner(process, description, args.i32(2));
      return 0;
    case abi.F_GETOWN:
      return ownerOf(description);
    case abi.F_SETOWN_EX:
    case abi.F_GETOWN_EX:
      return ownerEx(process, description, command, args.address(2));
    case abi.F_SETSIG:
      return setSignal(description, args.i32(2));
    case abi.F_GETSIG:
      return description.signalDriven.signal;
    case abi.F_SETPIPE_SZ:
    case abi.F_GETPIPE_SZ:
      // The host does not say how large it has made a FIFO: as all are at first.
      if (description instanceof FifoDescription) {
        if (command === abi.F_SETPIPE_SZ && args.u32(2) > PIPE_CAPACITY) return -errno.EPERM;
        return PIPE_CAPACITY;
      }
      if (!(description instanceof PipeEnd)) return -errno.EBADF;
      return command === abi.F_GETPIPE_SZ ? description.capacity : description.resize(args.u32(2));
    case abi.F_ADD_SEALS:
    case abi.F_GET_SEALS:
      if (!(description instanceof MemoryFile)) return -errno.EINVAL;
      return command === abi.F_GET_SEALS ? description.seals : description.addSeals(args.u32(2));
    default:
      return -errno.EINVAL;
  }
};

/** Operations of flock(2) (include/uapi/asm-generic/fcntl.h). */
const LOCK_NB = 4;
const FLOCK_TYPES: ReadonlyMap<number, LockRequest["type"]> = new Map([
  [1, "shared"],
  [2, "exclusive"],
  [8, "none"],
]);

const flock: Handler = (process, _thread, args) => {
  const operation = args.u32(1);
  const type = FLOCK_TYPES.get(operation & ~LOCK_NB);
  if (type === undefined) return -errno.EINVAL;
  const description = process.files.table.get(args.u32(0));
  if (description.flags & abi.O_PATH) return -errno.EBADF;
  const request: LockRequest = { kind: "flock", type, start: 0n, end: OFFSET_MAX, byDescription: true };
  return process.files.locks.set(description, request, (operation & LOCK_NB) === 0, process.pid);
};

const LOCK_NOTE =
  "among the goemus of one user; locks of the host's own programs are not seen, and a program that is executed holds none of the locks that it was left";

export const DESCRIPTOR_SYSCALLS: readonly SyscallRow[] = [
  row(3, "close", ["fd"], close),
  row(22, "pipe", ["fdPair"], pipe),
  row(32, "dup", ["fd"], dup),
  row(33, "dup2", ["fd", "fd"], dup2),
  row(72, "fcntl", ["fd", "fcntlCommand", "any"], fcntl, `record locks: ${LOCK_NOTE}; no leases`),
  row(73, "flock", ["fd", "flockOp"], flock, LOCK_NOTE),
  row(292, "dup3", ["fd", "fd", "openFlags"], dup3),
  row(293, "pipe2", ["fdPair", "openFlags"], pipe2, "O_DIRECT has no effect"),
  row(436, "close_range", ["fd", "fd", "hex"], closeRange, "CLOSE_RANGE_UNSHARE has no effect"),
];
