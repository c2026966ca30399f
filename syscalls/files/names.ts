import { errno, SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import { IN_ATTRIB, IN_CREATE, IN_ISDIR } from "../abi/inotify.ts";
import { S_IFIFO, S_IFMT, S_IFREG } from "../abi/stat.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import { pathToBytes } from "./path.ts";
import { hostPath, readPath, resolve } from "./resolve.ts";

const { AT_FDCWD } = abi;

/** The host path of a name to be made: names of our own trees exist already or cannot be made (EEXIST, EPERM). */
function newName(process: Process, dirfd: number, path: string): string {
  const place = resolve(process, dirfd, path, false);
  if (place.kind === "virtual") throw new SyscallError("EEXIST");
  return place.path;
}

/** Tells those who watch that there is a new name. */
function made(process: Process, path: string, mask: number): void {
  if (process.files.watches.isActive) process.files.watches.atName(path, mask);
}

function mkdirAt(process: Process, dirfd: number, address: number, mode: number): number {
  const path = newName(process, dirfd, readPath(process, address));
  process.host.files.mkdir(path, mode & 0o1777);
  made(process, path, IN_CREATE | IN_ISDIR);
  return 0;
}

const mkdir: Handler = (process, _thread, args) => mkdirAt(process, AT_FDCWD, args.address(0), args.u32(1));
const mkdirat: Handler = (process, _thread, args) => mkdirAt(process, args.i32(0), args.address(1), args.u32(2));

/** Last name of a path: "." and ".." have errors of their own (fs/namei.c, do_rmdir and do_unlinkat). */
function lastName(path: string): string {
  let end = path.length;
  while (end > 0 && path[end - 1] === "/") end--;
  return path.slice(path.lastIndexOf("/", end - 1) + 1, end);
}

function removeDirectory(process: Process, dirfd: number, path: string): number {
  const name = lastName(path);
  if (name === ".") return -errno.EINVAL;
  if (name === "..") return -errno.ENOTEMPTY;
  const onHost = hostPath(process, dirfd, path, false);
  const before = process.files.watches.before(onHost);
  process.host.files.rmdir(onHost);
  if (before !== undefined) process.files.watches.removed(onHost, before);
  return 0;
}

function removeFile(process: Process, dirfd: number, path: string): number {
  const name = lastName(path);
  if (path !== "" && (name === "." || name === ".." || name === "")) return -errno.EISDIR;
  const onHost = hostPath(process, dirfd, path, false);
  const before = process.files.watches.before(onHost);
  process.host.files.unlink(onHost);
  if (before !== undefined) process.files.watches.removed(onHost, before);
  return 0;
}

const rmdir: Handler = (process, _thread, args) =>
  removeDirectory(process, AT_FDCWD, readPath(process, args.address(0)));
const unlink: Handler = (process, _thread, args) => removeFile(process, AT_FDCWD, readPath(process, args.address(0)));

const unlinkat: Handler = (process, _thread, args) => {
  const flags = args.u32(2);
  if (flags & ~abi.AT_REMOVEDIR) return -errno.EINVAL;
  const path = readPath(process, args.address(1));
  return flags ? removeDirectory(process, args.i32(0), path) : removeFile(process, args.i32(0), path);
};

/** renameat2(2): NOREPLACE is checked just before, so another process could slip in between. */
function renameAt(process: Process, from: [number, number], to: [number, number], flags: number): number {
  if (flags & ~(abi.RENAME_NOREPLACE | abi.RENAME_EXCHANGE | abi.RENAME_WHITEOUT)) return -errno.EINVAL;
  if (flags & abi.RENAME_NOREPLACE && flags & abi.RENAME_EXCHANGE) return -errno.EINVAL;
  if (flags & ~abi.RENAME_NOREPLACE) return -errno.EINVAL;
  const [oldPath, newPath] = [readPath(process, from[1]), readPath(process, to[1])];
  for (const path of [oldPath, newPath]) {
    if (path !== "" && [".", "..", ""].includes(lastName(path))) return -errno.EBUSY;
  }
  const [source, target] = [hostPath(process, from[0], oldPath, false), hostPath(process, to[0], newPath, false)];
  const { files } = process.host;
  if (flags & abi.RENAME_NOREPLACE) {
    files.stat(source, false);
    if (exists(process, target)) return -errno.EEXIST;
  }
  const { watches } = process.files;
  const [moved, replaced] = [watches.before(source), watches.before(target)];
  files.rename(source, target);
  const isSame = moved?.ino === replaced?.ino && moved?.dev === replaced?.dev;
  if (moved !== undefined && !isSame) watches.moved(source, target, moved, replaced);
  return 0;
}

function exists(process: Process, path: string): boolean {
  try {
    process.host.files.stat(path, false);
    return true;
  } catch {
    return false;
  }
}

const rename: Handler = (process, _thread, args) =>
  renameAt(process, [AT_FDCWD, args.address(0)], [AT_FDCWD, args.address(1)], 0);
const renameat: Handler = (process, _thread, args) =>
  renameAt(process, [args.i32(0), args.address(1)], [args.i32(2), args.address(3)], 0);
const renameat2: Handler = (process, _thread, args) =>
  renameAt(process, [args.i32(0), args.address(1)], [args.i32(2), args.address(3)], args.u32(4));

/** linkat(2). With AT_EMPTY_PATH or AT_SYMLINK_FOLLOW the source is found first, since the host never follows. */
function linkAt(process: Process, from: [number, number], to: [number, number], flags: number): number {
  if (flags & ~(abi.AT_SYMLINK_FOLLOW | abi.AT_EMPTY_PATH)) return -errno.EINVAL;
  const oldPath = readPath(process, from[1]);
  const newPath = readPath(process, to[1]);
  const { files } = process.host;
  let source: string;
  if (oldPath === "" && flags & abi.AT_EMPTY_PATH) {
    const { host } = process.files.table.get(from[0]);
    if (host === undefined) return -errno.EXDEV;
    source = host.path();
  } else {
    const follow = (flags & abi.AT_SYMLINK_FOLLOW) !== 0;
    const place = resolve(process, from[0], oldPath, follow);
    if (place.kind === "virtual" && place.node.kind !== "magic") return -errno.EXDEV;
    // /proc/self/fd/N names an open file, which so gets a name again (open(2), O_TMPFILE).
    if (place.kind === "virtual") source = place.node.kind === "magic" ? magicSource(place.node.description()) : "";
    else source = follow ? files.realPath(place.path) : place.path;
  }
  const name = newName(process, to[0], newPath);
  files.link(source, name);
  const linked = process.files.watches.before(name);
  if (linked !== undefined) process.files.watches.atFile(undefined, linked, IN_ATTRIB);
  made(process, name, IN_CREATE);
  return 0;
}

function magicSource(description: { readonly host: { path(): string } | undefined }): string {
  if (description.host === undefined) throw new SyscallError("EXDEV");
  return description.host.path();
}

const link: Handler = (process, _thread, args) =>
  linkAt(process, [AT_FDCWD, args.address(0)], [AT_FDCWD, args.address(1)], 0);
const linkat: Handler = (process, _thread, args) =>
  linkAt(process, [args.i32(0), args.address(1)], [args.i32(2), args.address(3)], args.u32(4));

function symlinkAt(process: Process, target: number, dirfd: number, address: number): number {
  const text = readPath(process, target);
  if (text === "") return -errno.ENOENT;
  const path = newName(process, dirfd, readPath(process, address));
  process.host.files.symlink(text, path);
  made(process, path, IN_CREATE);
  return 0;
}

const symlink: Handler = (process, _thread, args) => symlinkAt(process, args.address(0), AT_FDCWD, args.address(1));
const symlinkat: Handler = (process, _thread, args) =>
  symlinkAt(process, args.address(0), args.i32(1), args.address(2));

/** readlinkat(2): the text without NUL, cut to the buffer; EINVAL for what is no link. */
function readLinkAt(process: Process, dirfd: number, address: number, buffer: number, size: number): number {
  if (size <= 0) return -errno.EINVAL;
  const path = readPath(process, address);
  let text: string;
  if (path === "") {
    // An O_PATH descriptor of a symbolic link (fs/stat.c, do_readlinkat).
    const description = process.files.table.get(dirfd);
    if (description.host === undefined) return -errno.ENOENT;
    text = process.host.files.readLink(description.path);
  } else {
    const place = resolve(process, dirfd, path, false);
    if (place.kind === "host") text = process.host.files.readLink(place.path);
    else if (place.node.kind === "link" || place.node.kind === "magic") text = place.node.target();
    else return -errno.EINVAL;
  }
  const bytes = pathToBytes(text).subarray(0, size);
  process.memory.writeBytes(buffer, bytes);
  return bytes.length;
}

const readlink: Handler = (process, _thread, args) =>
  readLinkAt(process, AT_FDCWD, args.address(0), args.address(1), args.i32(2));
const readlinkat: Handler = (process, _thread, args) =>
  readLinkAt(process, args.i32(0), args.address(1), args.address(2), args.i32(3));

/** mknodat(2): regular files and FIFOs; a host without mknod has nothing else to offer. */
function mknodAt(process: Process, dirfd: number, address: number, mode: number): number {
  const kind = mode & S_IFMT;
  if (kind !== 0 && kind !== S_IFREG && kind !== S_IFIFO) return -errno.EPERM;
  const path = newName(process, dirfd, readPath(process, address));
  if (kind === S_IFIFO) {
    const { files } = process.host;
    if (files.makeFifo === undefined) return -errno.EPERM;
    files.makeFifo(path, mode & 0o7777 & ~process.files.umask);
  } else process.host.files.open(path, abi.O_CREAT | abi.O_EXCL | abi.O_WRONLY, mode & 0o7777).close();
  made(process, path, IN_CREATE);
  return 0;
}

const mknod: Handler = (process, _thread, args) => mknodAt(process, AT_FDCWD, args.address(0), args.u32(1));
const mknodat: Handler = (process, _thread, args) => mknodAt(process, args.i32(0), args.address(1), args.u32(2));

const MKNOD_NOTE = "regular files and FIFOs, these by the host's mkfifo command: EPERM for devices and sockets";
const RENAME_NOTE = "NOREPLACE is not atomic; no EXCHANGE, no WHITEOUT";

export const NAME_SYSCALLS: readonly SyscallRow[] = [
  row(82, "rename", ["path", "path"], rename),
  row(83, "mkdir", ["path", "octal"], mkdir),
  row(84, "rmdir", ["path"], rmdir),
  row(86, "link", ["path", "path"], link),
  row(87, "unlink", ["path"], unlink),
  row(88, "symlink", ["path", "path"], symlink),
  row(89, "readlink", ["path", "string", "size"], readlink),
  row(133, "mknod", ["path", "octal", "hex"], mknod, MKNOD_NOTE),
  row(258, "mkdirat", ["dirfd", "path", "octal"], mkdirat),
  row(259, "mknodat", ["dirfd", "path", "octal", "hex"], mknodat, MKNOD_NOTE),
  row(263, "unlinkat", ["dirfd", "path", "unlinkFlags"], unlinkat),
  row(264, "renameat", ["dirfd", "path", "dirfd", "path"], renameat),
  row(265, "linkat", ["dirfd", "path", "dirfd", "path", "atFlags"], linkat),
  row(266, "symlinkat", ["path", "dirfd", "path"], symlinkat),
  row(267, "readlinkat", ["dirfd", "path", "string", "size"], readlinkat),
  row(316, "renameat2", ["dirfd", "path", "dirfd", "path", "hex"], renameat2, RENAME_NOTE),
];
