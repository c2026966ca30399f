import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import {
  encodeStat,
  encodeStatfs,
  encodeStatx,
  type FileStat,
  type FileSystemStat,
  PIPEFS_MAGIC,
  PROC_SUPER_MAGIC,
  STATX_RESERVED,
  SYSFS_MAGIC,
} from "../abi/stat.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import { isHidden, type Place, readPath, redirect, resolve } from "./resolve.ts";
import { virtualStat } from "./virtual.ts";

/** What stat(2) says about a place. @throws SyscallError */
export function statPlace(process: Process, place: Place, follow: boolean): FileStat {
  if (place.kind === "virtual") {
    const { node } = place;
    return node.kind === "magic" && follow ? node.description().stat() : virtualStat(process, node, place.path);
  }
  const stat = process.host.files.stat(place.path, follow);
  return isHidden(process, stat) ? statPlace(process, redirect(process, place.shown, follow), follow) : stat;
}

/**
 * What newfstatat and statx name: a path, or with AT_EMPTY_PATH and no path the descriptor itself (fs/stat.c,
 * vfs_statx; a NULL path counts as empty since Linux 6.11).
 */
export function statAt(process: Process, dirfd: number, address: number, flags: number): FileStat {
  const path = flags & abi.AT_EMPTY_PATH && address === 0 ? "" : readPath(process, address);
  if (path === "" && flags & abi.AT_EMPTY_PATH) {
    if (dirfd !== abi.AT_FDCWD) return process.files.table.get(dirfd).stat();
    return statPlace(process, resolve(process, dirfd, ".", true), true);
  }
  const follow = !(flags & abi.AT_SYMLINK_NOFOLLOW);
  return statPlace(process, resolve(process, dirfd, path, follow), follow);
}

const fstat: Handler = (process, _thread, args) => {
  const stat = process.files.table.get(args.u32(0)).stat();
  process.memory.writeBytes(args.address(1), encodeStat(stat));
  return 0;
};

const statWith =
  (flags: number): Handler =>
  (process, _thread, args) => {
    const stat = statAt(process, abi.AT_FDCWD, args.address(0), flags);
    process.memory.writeBytes(args.address(1), encodeStat(stat));
    return 0;
  };

const STAT_FLAGS = abi.AT_SYMLINK_NOFOLLOW | abi.AT_NO_AUTOMOUNT | abi.AT_EMPTY_PATH | abi.AT_STATX_SYNC_TYPE;

const newfstatat: Handler = (process, _thread, args) => {
  const flags = args.u32(3);
  if (flags & ~STAT_FLAGS) return -errno.EINVAL;
  process.memory.writeBytes(args.address(2), encodeStat(statAt(process, args.i32(0), args.address(1), flags)));
  return 0;
};

const statx: Handler = (process, _thread, args) => {
  const flags = args.u32(2);
  if (args.u32(3) & STATX_RESERVED) return -errno.EINVAL;
  if ((flags & abi.AT_STATX_SYNC_TYPE) === abi.AT_STATX_SYNC_TYPE || flags & ~STAT_FLAGS) return -errno.EINVAL;
  process.memory.writeBytes(args.address(4), encodeStatx(statAt(process, args.i32(0), args.address(1), flags)));
  return 0;
};

function virtualFileSystem(type: number): FileSystemStat {
  return { type, blockSize: 4096, blocks: 0n, blocksFree: 0n, blocksAvailable: 0n, files: 0n, filesFree: 0n };
}

function statfsPlace(process: Process, place: Place): FileSystemStat {
  if (place.kind === "virtual") {
    return virtualFileSystem(place.path.startsWith("/sys") ? SYSFS_MAGIC : PROC_SUPER_MAGIC);
  }
  return process.host.files.fileSystem(place.path);
}

const statfs: Handler = (process, _thread, args) => {
  const place = resolve(process, abi.AT_FDCWD, readPath(process, args.address(0)), true);
  process.memory.writeBytes(args.address(1), encodeStatfs(statfsPlace(process, place)));
  return 0;
};

const fstatfs: Handler = (process, _thread, args) => {
  const description = process.files.table.get(args.u32(0));
  const { host, path } = description;
  const stat =
    host !== undefined
      ? process.host.files.fileSystem(host.prefix)
      : path.startsWith("/")
        ? virtualFileSystem(path.startsWith("/sys") ? SYSFS_MAGIC : PROC_SUPER_MAGIC)
        : virtualFileSystem(PIPEFS_MAGIC);
  process.memory.writeBytes(args.address(1), encodeStatfs(stat));
  return 0;
};

/**
 * access(2) by the host's own judgement: the guest's user is the host's (fs/open.c, do_faccessat).
 * @throws SyscallError EINVAL for a mode or flag that does not exist
 */
function access(process: Process, dirfd: number, address: number, mode: number, flags: number): number {
  if (mode & ~7 || flags & ~(abi.AT_EACCESS | abi.AT_SYMLINK_NOFOLLOW | abi.AT_EMPTY_PATH)) return -errno.EINVAL;
  const path = readPath(process, address);
  if (path === "" && flags & abi.AT_EMPTY_PATH) {
    const { stat, host } = describe(process, dirfd);
    if (host !== undefined) process.host.files.access(host, mode);
    else checkMode(process, stat, mode);
    return 0;
  }
  const follow = !(flags & abi.AT_SYMLINK_NOFOLLOW);
  const place = resolve(process, dirfd, path, follow);
  if (place.kind === "virtual") {
    checkMode(process, statPlace(process, place, follow), mode);
    return 0;
  }
  // Without following, permissions of a link itself are all granted; it only has to exist.
  if (!follow && statPlace(process, place, false).mode >> 12 === 0o12) return 0;
  process.host.files.access(place.path, mode);
  return 0;
}

function describe(process: Process, fd: number): { stat: FileStat; host: string | undefined } {
  if (fd === abi.AT_FDCWD) return { stat: statPlace(process, resolve(process, fd, ".", true), true), host: undefined };
  const description = process.files.table.get(fd);
  return { stat: description.stat(), host: description.host?.prefix };
}

/** The permission check of a file that only exists in the machine (fs/namei.c, acl_permission_check). */
function checkMode(process: Process, stat: FileStat, mode: number): void {
  if (process.euid === 0 && !(mode & abi.X_OK)) return;
  const shift = stat.uid === process.euid ? 6 : stat.gid === process.egid ? 3 : 0;
  const granted = process.euid === 0 ? ((stat.mode & 0o111) === 0 ? 6 : 7) : (stat.mode >> shift) & 7;
  if (mode & ~granted) throw new SyscallError("EACCES");
}

const accessHandler: Handler = (process, _thread, args) =>
  access(process, abi.AT_FDCWD, args.address(0), args.u32(1), 0);
const faccessat: Handler = (process, _thread, args) => access(process, args.i32(0), args.address(1), args.u32(2), 0);
const faccessat2: Handler = (process, _thread, args) =>
  access(process, args.i32(0), args.address(1), args.u32(2), args.u32(3));

export const STAT_SYSCALLS: readonly SyscallRow[] = [
  row(4, "stat", ["path", "stat"], statWith(0)),
  row(5, "fstat", ["fd", "stat"], fstat),
  row(6, "lstat", ["path", "stat"], statWith(abi.AT_SYMLINK_NOFOLLOW)),
  row(21, "access", ["path", "accessMode"], accessHandler),
  row(137, "statfs", ["path", "statfs"], statfs),
  row(138, "fstatfs", ["fd", "statfs"], fstatfs),
  row(262, "newfstatat", ["dirfd", "path", "stat", "atFlags"], newfstatat),
  row(269, "faccessat", ["dirfd", "path", "accessMode"], faccessat),
  row(332, "statx", ["dirfd", "path", "atFlags", "hex", "address"], statx, "no mount id, no attributes"),
  row(439, "faccessat2", ["dirfd", "path", "accessMode", "atFlags"], faccessat2, "AT_EACCESS as without"),
];
