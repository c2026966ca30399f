import type { HostFile } from "../../host/host.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import { IN_ATTRIB } from "../abi/inotify.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import type { FileDescription } from "./description.ts";
import { PathDescription } from "./directory.ts";
import { readPath, resolve } from "./resolve.ts";

const { AT_FDCWD } = abi;

/** A file whose metadata a call changes: an open one, or a path. */
type Target = { readonly file: HostFile } | { readonly path: string; readonly follow: boolean };

/** @throws SyscallError EPERM for files of our own trees */
function byPath(process: Process, dirfd: number, path: string, follow: boolean): Target {
  const place = resolve(process, dirfd, path, follow);
  if (place.kind === "host") return { path: place.path, follow };
  if (place.node.kind === "magic" && follow) return byDescription(place.node.description());
  throw new SyscallError("EPERM");
}

/** @throws SyscallError EPERM for what has no host file behind it */
function byDescription(description: FileDescription): Target {
  if (description.host === undefined) throw new SyscallError("EPERM");
  // Node changes nothing through an O_PATH descriptor; its name in /proc does.
  if (description instanceof PathDescription) return { path: description.host.prefix, follow: true };
  return { file: description.host };
}

/** fchmod and fchown refuse descriptors opened with O_PATH. */
function byDescriptor(process: Process, fd: number): Target {
  const description = process.files.table.get(fd);
  if (description.flags & abi.O_PATH) throw new SyscallError("EBADF");
  return byDescription(description);
}

/** What an *at call with AT_EMPTY_PATH names. */
function atTarget(process: Process, dirfd: number, address: number, flags: number): Target {
  const path = readPath(process, address);
  if (path === "" && flags & abi.AT_EMPTY_PATH) {
    return dirfd === AT_FDCWD ? byPath(process, dirfd, ".", true) : byDescription(process.files.table.get(dirfd));
  }
  return byPath(process, dirfd, path, !(flags & abi.AT_SYMLINK_NOFOLLOW));
}

/** Tells those who watch of changed metadata. */
function changed(process: Process, target: Target): number {
  const { watches } = process.files;
  if (!watches.isActive) return 0;
  const { files } = process.host;
  const path = "file" in target ? pathOf(target.file) : target.follow ? files.realPath(target.path) : target.path;
  watches.atFile(path, "file" in target ? target.file.stat() : files.stat(target.path, target.follow), IN_ATTRIB);
  return 0;
}

/** Where a file is now; undefined if it has no name any more. */
function pathOf(file: HostFile): string | undefined {
  try {
    return file.path();
  } catch {
    return undefined;
  }
}

function chmodTarget(process: Process, target: Target, mode: number): number {
  const bits = mode & 0o7777;
  if ("file" in target) target.file.chmod(bits);
  else if (!target.follow) return -errno.ENOTSUP;
  else process.host.files.chmod(target.path, bits);
  return changed(process, target);
}

const chmod: Handler = (process, _thread, args) =>
  chmodTarget(process, atTarget(process, AT_FDCWD, args.address(0), 0), args.u32(1));
const fchmod: Handler = (process, _thread, args) =>
  chmodTarget(process, byDescriptor(process, args.u32(0)), args.u32(1));
const fchmodat: Handler = (process, _thread, args) =>
  chmodTarget(process, atTarget(process, args.i32(0), args.address(1), 0), args.u32(2));
const fchmodat2: Handler = (process, _thread, args) => {
  const flags = args.u32(3);
  if (flags & ~(abi.AT_SYMLINK_NOFOLLOW | abi.AT_EMPTY_PATH)) return -errno.EINVAL;
  return chmodTarget(process, atTarget(process, args.i32(0), args.address(1), flags), args.u32(2));
};

/** chown(2): an id of -1 stays as it is. */
function chownTarget(process: Process, target: Target, user: number, group: number): number {
  const { files } = process.host;
  const keep = 0xffff_ffff;
  const stat = "file" in target ? target.file.stat() : files.stat(target.path, target.follow);
  const [uid, gid] = [user === keep ? stat.uid : user, group === keep ? stat.gid : group];
  if ("file" in target) target.file.chown(uid, gid);
  else files.chown(target.path, uid, gid, target.follow);
  return changed(process, target);
}

const chownWith =
  (flags: number): Handler =>
  (process, _thread, args) =>
    chownTarget(process, atTarget(process, AT_FDCWD, args.address(0), flags), args.u32(1), args.u32(2));
const fchown: Handler = (process, _thread, args) =>
  chownTarget(process, byDescriptor(process, args.u32(0)), args.u32(1), args.u32(2));
const fchownat: Handler = (process, _thread, args) => {
  const flags = args.u32(4);
  if (flags & ~(abi.AT_SYMLINK_NOFOLLOW | abi.AT_EMPTY_PATH)) return -errno.EINVAL;
  const target = atTarget(process, args.i32(0), args.address(1), flags);
  return chownTarget(process, target, args.u32(2), args.u32(3));
};

/** New times in ns; undefined leaves one as it is. */
interface Times {
  readonly atime: bigint | undefined;
  readonly mtime: bigint | undefined;
}

function setTimes(process: Process, target: Target, times: Times): number {
  if (times.atime === undefined && times.mtime === undefined) return 0;
  if ("file" in target) target.file.setTimes(times.atime, times.mtime);
  else process.host.files.setTimes(target.path, times.atime, times.mtime, target.follow);
  return changed(process, target);
}

const now = (process: Process): Times => {
  const time = process.clock.realtimeNs();
  return { atime: time, mtime: time };
};

const UTIME_NOW = 0x3fff_ffffn;
const UTIME_OMIT = 0x3fff_fffen;

/** Two struct timespec, whose nanoseconds may be UTIME_NOW or UTIME_OMIT (utimensat(2)). */
function readTimes(process: Process, address: number): Times {
  if (address === 0) return now(process);
  const view = new DataView(process.memory.readBytes(address, 32).buffer);
  const time = (at: number): bigint | undefined => {
    const nanoseconds = view.getBigInt64(at + 8, true);
    if (nanoseconds === UTIME_NOW) return process.clock.realtimeNs();
    if (nanoseconds === UTIME_OMIT) return undefined;
    if (nanoseconds < 0n || nanoseconds > 999_999_999n) throw new SyscallError("EINVAL");
    return view.getBigInt64(at, true) * 1_000_000_000n + nanoseconds;
  };
  return { atime: time(0), mtime: time(16) };
}

/** utimensat(2); with a NULL path the descriptor itself (fs/utimes.c, do_utimes). */
const utimensat: Handler = (process, _thread, args) => {
  const times = readTimes(process, args.address(2));
  const flags = args.u32(3);
  if (flags & ~(abi.AT_SYMLINK_NOFOLLOW | abi.AT_EMPTY_PATH)) return -errno.EINVAL;
  const [dirfd, address] = [args.i32(0), args.address(1)];
  if (address === 0 && dirfd !== AT_FDCWD) {
    if (flags !== 0) return -errno.EINVAL;
    return setTimes(process, byDescriptor(process, dirfd), times);
  }
  return setTimes(process, atTarget(process, dirfd, address, flags), times);
};

/** Two struct timeval (utimes(2)). */
function readTimevals(process: Process, address: number): Times {
  if (address === 0) return now(process);
  const view = new DataView(process.memory.readBytes(address, 32).buffer);
  const time = (at: number): bigint => {
    const microseconds = view.getBigInt64(at + 8, true);
    if (microseconds < 0n || microseconds > 999_999n) throw new SyscallError("EINVAL");
    return view.getBigInt64(at, true) * 1_000_000_000n + microseconds * 1000n;
  };
  return { atime: time(0), mtime: time(16) };
}

const utimes: Handler = (process, _thread, args) => {
  const times = readTimevals(process, args.address(1));
  return setTimes(process, atTarget(process, AT_FDCWD, args.address(0), 0), times);
};

const futimesat: Handler = (process, _thread, args) => {
  const times = readTimevals(process, args.address(2));
  return setTimes(process, atTarget(process, args.i32(0), args.address(1), 0), times);
};

/** struct utimbuf: actime and modtime in seconds (utime(2)). */
const utime: Handler = (process, _thread, args) => {
  const address = args.address(1);
  const { memory } = process;
  const times =
    address === 0
      ? now(process)
      : { atime: memory.readI64(address) * 1_000_000_000n, mtime: memory.readI64(address + 8) * 1_000_000_000n };
  return setTimes(process, atTarget(process, AT_FDCWD, args.address(0), 0), times);
};

/** Extended attributes: the file must be there, but has none and takes none (xattr(7)). */
const xattr =
  (result: number, byFd: boolean): Handler =>
  (process, _thread, args) => {
    if (byFd) process.files.table.get(args.u32(0));
    else {
      const place = resolve(process, AT_FDCWD, readPath(process, args.address(0)), false);
      if (place.kind === "host") process.host.files.stat(place.path, false);
    }
    return result;
  };

const XATTR_NOTE = "files have no extended attributes and take none";
const TIME_NOTE = "other programs of the host see a time between 2004 and 2038 at most 239 ns early";

export const METADATA_SYSCALLS: readonly SyscallRow[] = [
  row(90, "chmod", ["path", "octal"], chmod),
  row(91, "fchmod", ["fd", "octal"], fchmod),
  row(92, "chown", ["path", "int", "int"], chownWith(0)),
  row(93, "fchown", ["fd", "int", "int"], fchown),
  row(94, "lchown", ["path", "int", "int"], chownWith(abi.AT_SYMLINK_NOFOLLOW)),
  row(132, "utime", ["path", "address"], utime),
  row(188, "setxattr", ["path", "path", "bufferIn", "size", "int"], xattr(-errno.ENOTSUP, false), XATTR_NOTE),
  row(189, "lsetxattr", ["path", "path", "bufferIn", "size", "int"], xattr(-errno.ENOTSUP, false), XATTR_NOTE),
  row(190, "fsetxattr", ["fd", "path", "bufferIn", "size", "int"], xattr(-errno.ENOTSUP, true), XATTR_NOTE),
  row(191, "getxattr", ["path", "path", "address", "size"], xattr(-errno.ENODATA, false), XATTR_NOTE),
  row(192, "lgetxattr", ["path", "path", "address", "size"], xattr(-errno.ENODATA, false), XATTR_NOTE),
  row(193, "fgetxattr", ["fd", "path", "address", "size"], xattr(-errno.ENODATA, true), XATTR_NOTE),
  row(194, "listxattr", ["path", "address", "size"], xattr(0, false), XATTR_NOTE),
  row(195, "llistxattr", ["path", "address", "size"], xattr(0, false), XATTR_NOTE),
  row(196, "flistxattr", ["fd", "address", "size"], xattr(0, true), XATTR_NOTE),
  row(197, "removexattr", ["path", "path"], xattr(-errno.ENODATA, false), XATTR_NOTE),
  row(198, "lremovexattr", ["path", "path"], xattr(-errno.ENODATA, false), XATTR_NOTE),
  row(199, "fremovexattr", ["fd", "path"], xattr(-errno.ENODATA, true), XATTR_NOTE),
  row(235, "utimes", ["path", "address"], utimes, TIME_NOTE),
  row(260, "fchownat", ["dirfd", "path", "int", "int", "atFlags"], fchownat),
  row(261, "futimesat", ["dirfd", "path", "address"], futimesat, TIME_NOTE),
  row(268, "fchmodat", ["dirfd", "path", "octal"], fchmodat),
  row(280, "utimensat", ["dirfd", "path", "address", "atFlags"], utimensat, TIME_NOTE),
  row(452, "fchmodat2", ["dirfd", "path", "octal", "atFlags"], fchmodat2),
];
