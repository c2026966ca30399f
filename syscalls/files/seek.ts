import { errno, SyscallError } from "../abi/errno.ts";
import { O_PATH } from "../abi/fcntl.ts";
import { IN_MODIFY } from "../abi/inotify.ts";
import { S_IFDIR, S_IFMT, S_IFREG } from "../abi/stat.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import type { FileDescription } from "./description.ts";
import { MAX_OFFSET } from "./host-file.ts";
import { readPath, resolve } from "./resolve.ts";
import { identityOf } from "./shared-files.ts";
import { checkSize } from "./size-limit.ts";

const lseek: Handler = (process, _thread, args) => {
  const description = process.files.table.get(args.u32(0));
  if (description.flags & O_PATH) return -errno.EBADF;
  if (args.u32(2) > 4) return -errno.EINVAL;
  return description.seek(args.offset(1), args.u32(2));
};

/** ftruncate's checks (fs/open.c, do_sys_ftruncate): EINVAL for what is no regular file or not open for writing. */
function sizable(process: Process, fd: number): FileDescription {
  const description = process.files.table.get(fd);
  const regular = (description.stat().mode & S_IFMT) === S_IFREG;
  if (description.flags & O_PATH) throw new SyscallError("EBADF");
  if (!regular || !description.writable) throw new SyscallError("EINVAL");
  return description;
}

const ftruncate: Handler = (process, thread, args) => {
  const size = args.offset(1);
  if (size < 0) return -errno.EINVAL;
  const description = sizable(process, args.u32(0));
  checkSize(process, thread, description.stat().size, size);
  description.truncate(size);
  process.files.watches.atDescription(description, IN_MODIFY);
  return 0;
};

const truncate: Handler = (process, thread, args) => {
  const size = args.offset(1);
  if (size < 0) return -errno.EINVAL;
  const place = resolve(process, -100, readPath(process, args.address(0)), true);
  if (place.kind === "virtual") return place.node.kind === "directory" ? -errno.EISDIR : -errno.EINVAL;
  const before = process.host.files.stat(place.path, true);
  const kind = before.mode & S_IFMT;
  if (kind === S_IFDIR) return -errno.EISDIR;
  if (kind !== S_IFREG) return -errno.EINVAL;
  checkSize(process, thread, before.size, size);
  process.host.files.truncate(place.path, size);
  const { shared } = process.files;
  if (!shared.isEmpty) shared.resized(identityOf(process.host.files.stat(place.path, true)), size);
  const { watches } = process.files;
  const stat = watches.before(place.path);
  if (stat !== undefined) watches.atFile(place.path, stat, IN_MODIFY);
  return 0;
};

/** fallocate(2) with mode 0: the file is at least so long afterwards; blocks are not reserved on the host. */
const fallocate: Handler = (process, thread, args) => {
  const [offset, length] = [args.offset(2), args.offset(3)];
  const description = process.files.table.get(args.u32(0));
  if (offset < 0 || length <= 0) return -errno.EINVAL;
  if (args.u32(1) !== 0) return -errno.ENOTSUP;
  if (!description.writable) return -errno.EBADF;
  const stat = description.stat();
  if ((stat.mode & S_IFMT) !== S_IFREG) return (stat.mode & S_IFMT) === S_IFDIR ? -errno.EISDIR : -errno.ENODEV;
  if (offset + length >= MAX_OFFSET) return -errno.EFBIG;
  checkSize(process, thread, stat.size, offset + length);
  if (offset + length > stat.size) description.truncate(offset + length);
  process.files.watches.atDescription(description, IN_MODIFY);
  return 0;
};

/** readahead(2): a hint, which is checked. */
const readahead: Handler = (process, _thread, args) => {
  const description = process.files.table.get(args.u32(0));
  if (!description.readable) return -errno.EBADF;
  return (description.stat().mode & S_IFMT) === S_IFREG ? 0 : -errno.EINVAL;
};

const fsyncWith =
  (dataOnly: boolean): Handler =>
  (process, _thread, args) => {
    const description = process.files.table.get(args.u32(0));
    if (description.flags & O_PATH) return -errno.EBADF;
    description.sync(dataOnly);
    return 0;
  };

const sync: Handler = () => 0;

/** syncfs and friends only have to know the descriptor. */
const onDescriptor: Handler = (process, _thread, args) => {
  const description = process.files.table.get(args.u32(0));
  return description.flags & O_PATH ? -errno.EBADF : 0;
};

const syncfs: Handler = (process, thread, args) => {
  const description = process.files.table.get(args.u32(0));
  if (description.host === undefined) return onDescriptor(process, thread, args);
  description.sync(false);
  return 0;
};

const syncFileRange: Handler = (process, _thread, args) => {
  const description = process.files.table.get(args.u32(0));
  if (args.u32(3) & ~7 || args.offset(1) < 0 || args.offset(2) < 0) return -errno.EINVAL;
  if ((description.stat().mode & S_IFMT) !== S_IFREG) return -errno.ESPIPE;
  description.sync(true);
  return 0;
};

/** fadvise64(2): advice is taken and not followed. */
const fadvise64: Handler = (process, _thread, args) => {
  const description = process.files.table.get(args.u32(0));
  if (!description.seekable) return -errno.ESPIPE;
  return args.u32(3) > 5 ? -errno.EINVAL : 0;
};

export const SEEK_SYSCALLS: readonly SyscallRow[] = [
  row(8, "lseek", ["fd", "long", "whence"], lseek, "SEEK_HOLE finds only the end"),
  row(74, "fsync", ["fd"], fsyncWith(false)),
  row(75, "fdatasync", ["fd"], fsyncWith(true)),
  row(76, "truncate", ["path", "long"], truncate),
  row(77, "ftruncate", ["fd", "long"], ftruncate),
  row(162, "sync", [], sync, "host file systems are left to the host"),
  row(221, "fadvise64", ["fd", "long", "size", "int"], fadvise64, "advice has no effect"),
  row(277, "sync_file_range", ["fd", "long", "long", "hex"], syncFileRange, "syncs the whole file"),
  row(187, "readahead", ["fd", "long", "size"], readahead, "without effect"),
  row(285, "fallocate", ["fd", "hex", "long", "long"], fallocate, "mode 0 only; no blocks are reserved"),
  row(306, "syncfs", ["fd"], syncfs, "syncs the file only"),
];
