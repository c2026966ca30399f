import { errno, SyscallError } from "../abi/errno.ts";
import { IN_ACCESS, IN_MODIFY } from "../abi/inotify.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import type { Thread } from "../thread.ts";
import { readOrWait, writeOrWait } from "./blocking.ts";
import type { FileDescription } from "./description.ts";
import { IoVector } from "./io-vector.ts";
import { withinLimit } from "./size-limit.ts";

/** @throws SyscallError EBADF if it is not open for reading (fs/read_write.c, vfs_read) */
function readable(process: Process, fd: number): FileDescription {
  const description = process.files.table.get(fd);
  if (!description.readable) throw new SyscallError("EBADF");
  return description;
}

/** @throws SyscallError EBADF if it is not open for writing (fs/read_write.c, vfs_write) */
function writable(process: Process, fd: number): FileDescription {
  const description = process.files.table.get(fd);
  if (!description.writable) throw new SyscallError("EBADF");
  return description;
}

/** Counts bytes that came or went, and tells those who watch the file of those that moved at once, as files' do. */
function noted(process: Process, description: FileDescription, mask: number, result: SyscallResult): SyscallResult {
  const { io, watches } = process.files;
  if (mask === IN_ACCESS) io.syscr++;
  else io.syscw++;
  if (typeof result !== "number" || result <= 0) return result;
  if (mask === IN_ACCESS) io.rchar += result;
  else io.wchar += result;
  if (watches.isActive) watches.atDescription(description, mask);
  return result;
}

const one = (process: Process, args: Args, direction: "in" | "out"): IoVector =>
  IoVector.guest(process.memory, args.address(1), args.address(2), direction);

/** The iovec array of readv and its kin: the count is an unsigned long. */
const many = (process: Process, args: Args, direction: "in" | "out"): IoVector =>
  IoVector.fromIovecs(process.memory, args.address(1), args.address(2), direction);

/** Reads on from the offset, waiting if need be. */
function readInto(process: Process, description: FileDescription, to: IoVector): SyscallResult {
  const count = (bytes: number): void => void (process.files.io.rchar += bytes);
  const result = readOrWait(description, () => description.read(to), to, count);
  return noted(process, description, IN_ACCESS, result);
}

/** Writes on from the offset, waiting if need be. */
function writeFrom(process: Process, thread: Thread, description: FileDescription, given: IoVector): SyscallResult {
  const from = withinLimit(process, thread, description, given);
  const count = (bytes: number): void => void (process.files.io.wchar += bytes);
  const result = writeOrWait(process, thread, description, from, () => description.write(from), count);
  return noted(process, description, IN_MODIFY, result);
}

const read: Handler = (process, _thread, args) => {
  const description = readable(process, args.i32(0));
  return readInto(process, description, one(process, args, "out"));
};

const readv: Handler = (process, _thread, args) => {
  const description = readable(process, args.i32(0));
  const to = many(process, args, "out");
  return to.length === 0 ? 0 : readInto(process, description, to);
};

const write: Handler = (process, thread, args) => {
  const description = writable(process, args.i32(0));
  return writeFrom(process, thread, description, one(process, args, "in"));
};

const writev: Handler = (process, thread, args) => {
  const description = writable(process, args.i32(0));
  const from = many(process, args, "in");
  return from.length === 0 ? 0 : writeFrom(process, thread, description, from);
};

/**
 * Positional transfers: EINVAL for a negative position, then EBADF, ESPIPE for what has no positions, then the access
 * mode (fs/read_write.c, ksys_pread64 and do_preadv).
 */
function positional(process: Process, fd: number, position: number, mode: "readable" | "writable"): FileDescription {
  if (position < 0) throw new SyscallError("EINVAL");
  const description = process.files.table.get(fd);
  if (!description.seekable) throw new SyscallError("ESPIPE");
  if (!description[mode]) throw new SyscallError("EBADF");
  return description;
}

const pread64: Handler = (process, _thread, args) => {
  const position = args.offset(3);
  const description = positional(process, args.i32(0), position, "readable");
  const to = one(process, args, "out");
  return noted(process, description, IN_ACCESS, description.readAt(to, position));
};

const pwrite64: Handler = (process, thread, args) => {
  const position = args.offset(3);
  const description = positional(process, args.i32(0), position, "writable");
  const from = withinLimit(process, thread, description, one(process, args, "in"), position);
  return from.length === 0 ? 0 : noted(process, description, IN_MODIFY, description.writeAt(from, position));
};

const preadv: Handler = (process, _thread, args) => {
  const position = args.offset(3);
  const description = positional(process, args.i32(0), position, "readable");
  return noted(process, description, IN_ACCESS, description.readAt(many(process, args, "out"), position));
};

const pwritev: Handler = (process, thread, args) => {
  const position = args.offset(3);
  const description = positional(process, args.i32(0), position, "writable");
  const from = withinLimit(process, thread, description, many(process, args, "in"), position);
  return from.length === 0 ? 0 : noted(process, description, IN_MODIFY, description.writeAt(from, position));
};

/** preadv2 and pwritev2: position -1 means the file's own offset; no RWF_ flag is supported (EOPNOTSUPP). */
const second =
  (plain: Handler, at: Handler): Handler =>
  (process: Process, thread: Thread, args: Args): SyscallResult => {
    if (args.i32(5) !== 0) return -errno.ENOTSUP;
    return args.i64(3) === -1n ? plain(process, thread, args) : at(process, thread, args);
  };

export const READ_WRITE_SYSCALLS: readonly SyscallRow[] = [
  row(0, "read", ["fd", "bufferOut", "size"], read),
  row(1, "write", ["fd", "bufferIn", "size"], write),
  row(17, "pread64", ["fd", "bufferOut", "size", "long"], pread64),
  row(18, "pwrite64", ["fd", "bufferIn", "size", "long"], pwrite64),
  row(19, "readv", ["fd", "iovecOut", "ulong"], readv),
  row(20, "writev", ["fd", "iovecIn", "ulong"], writev),
  row(295, "preadv", ["fd", "iovecOut", "ulong", "long", "long"], preadv),
  row(296, "pwritev", ["fd", "iovecIn", "ulong", "long", "long"], pwritev),
  row(327, "preadv2", ["fd", "iovecOut", "ulong", "long", "long", "hex"], second(readv, preadv), "no RWF_ flags"),
  row(328, "pwritev2", ["fd", "iovecIn", "ulong", "long", "long", "hex"], second(writev, pwritev), "no RWF_ flags"),
];
