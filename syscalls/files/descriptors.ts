import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import type { FileDescription } from "./description.ts";
import { NR_OPEN } from "./fd-table.ts";
import { FifoDescription } from "./fifo.ts";
import { MemoryFile } from "./memory-file.ts";
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

/** struct flock (include/uapi/asm-generic/fcntl.h): l_type s16 at 0, l_whence s16 at 2, l_start, l_len, l_pid. */
function lock(process: Process, description: FileDescription, command: number, address: number): number {
  const { memory } = process;
  const bytes = memory.readBytes(address, 32);
  const view = new DataView(bytes.buffer);
  const type = view.getInt16(0, true);
  const whence = view.getInt16(2, true);
  const get = command === abi.F_GETLK || command === abi.F_OFD_GETLK;
  if (![abi.F_RDLCK, abi.F_WRLCK, abi.F_UNLCK].includes(type) || whence < 0 || whence > 2) return -errno.EINVAL;
  if (command >= abi.F_OFD_GETLK && view.getInt32(24, true) !== 0) return -errno.EINVAL;
  if (get) {
    if (type === abi.F_UNLCK) return -errno.EINVAL;
    // Nobody else holds locks: what was asked for could be had.
    view.setInt16(0, abi.F_UNLCK, true);
    memory.writeBytes(address, bytes);
    return 0;
  }
  if (type === abi.F_RDLCK && !description.readable) return -errno.EBADF;
  if (type === abi.F_WRLCK && !description.writable) return -errno.EBADF;
  return 0;
}

/** What F_SETFL makes of the flags (fs/fcntl.c, setfl): the rest stays. */
export function setStatusFlags(description: FileDescription, flags: number): void {
  description.setStatus((description.flags & ~abi.SETFL_MASK) | (flags & abi.SETFL_MASK));
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
      setStatusFlags(description, args.u32(2));
      return 0;
    case abi.F_GETLK:
    case abi.F_SETLK:
    case abi.F_SETLKW:
    case abi.F_OFD_GETLK:
    case abi.F_OFD_SETLK:
    case abi.F_OFD_SETLKW:
      return lock(process, description, command, args.address(2));
    case abi.F_SETOWN:
    case abi.F_GETOWN:
      return 0;
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

/** flock(2): no other process takes locks on our files, so every lock is granted. */
const flock: Handler = (process, _thread, args) => {
  const operation = args.u32(1) & ~4;
  const description = process.files.table.get(args.u32(0));
  if (![1, 2, 8].includes(operation)) return -errno.EINVAL;
  if (description.flags & abi.O_PATH) return -errno.EBADF;
  return 0;
};

const LOCK_NOTE = "always granted: locks are not taken on the host";

export const DESCRIPTOR_SYSCALLS: readonly SyscallRow[] = [
  row(3, "close", ["fd"], close),
  row(22, "pipe", ["fdPair"], pipe),
  row(32, "dup", ["fd"], dup),
  row(33, "dup2", ["fd", "fd"], dup2),
  row(
    72,
    "fcntl",
    ["fd", "fcntlCommand", "any"],
    fcntl,
    "record locks are always granted; no leases, no owner signals",
  ),
  row(73, "flock", ["fd", "flockOp"], flock, LOCK_NOTE),
  row(292, "dup3", ["fd", "fd", "openFlags"], dup3),
  row(293, "pipe2", ["fdPair", "openFlags"], pipe2, "O_DIRECT has no effect"),
  row(436, "close_range", ["fd", "fd", "hex"], closeRange, "CLOSE_RANGE_UNSHARE has no effect"),
];
