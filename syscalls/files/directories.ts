import type { HostDirectoryEntry } from "../../host/host.ts";
import { CAP } from "../abi/capabilities.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import { AT_FDCWD, O_PATH, X_OK } from "../abi/fcntl.ts";
import { S_IFDIR, S_IFMT } from "../abi/stat.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import { pathOf, seenFrom } from "./confine.ts";
import { DirectoryDescription, HostDirectory, PathDescription } from "./directory.ts";
import type { WorkingDirectory } from "./file-state.ts";
import { pathToBytes } from "./path.ts";
import { type Place, readPath, resolve } from "./resolve.ts";

/** @returns bytes that are good until the next call */
type Encoder = (entry: HostDirectoryEntry, next: number) => Uint8Array;

/** Larger than any entry: names have 255 bytes at most. */
const entryBytes = new Uint8Array(1024);
const entryView = new DataView(entryBytes.buffer);

/** An entry of `size` bytes with what both structures begin with, and the name from `at` on. */
function encodeEntry({ ino, name }: HostDirectoryEntry, next: number, at: number, size: number): Uint8Array {
  const bytes = entryBytes.subarray(0, size);
  bytes.fill(0, at);
  entryView.setBigUint64(0, ino, true);
  entryView.setBigInt64(8, BigInt(next), true);
  entryView.setUint16(16, size, true);
  for (let i = 0; i < name.length; i++) bytes[at + i] = name.charCodeAt(i);
  return bytes;
}

/**
 * struct linux_dirent64 (include/linux/dirent.h): d_ino u64 at 0, d_off s64 at 8, d_reclen u16 at 16, d_type u8 at 18,
 * d_name from 19 with its NUL, the whole a multiple of 8 bytes.
 */
const dirent64: Encoder = (entry, next) => {
  const bytes = encodeEntry(entry, next, 19, Math.ceil((19 + entry.name.length + 1) / 8) * 8);
  bytes[18] = entry.type;
  return bytes;
};

/** struct linux_dirent (fs/readdir.c): as above, but the name from 18 and the type in the last byte. */
const direntOld: Encoder = (entry, next) => {
  const bytes = encodeEntry(entry, next, 18, Math.ceil((18 + entry.name.length + 2) / 8) * 8);
  bytes[bytes.length - 1] = entry.type;
  return bytes;
};

/** getdents(2): as many whole entries as fit; EINVAL if not even one does. */
const getdentsWith =
  (encode: Encoder): Handler =>
  (process, _thread, args) => {
    const description = process.files.table.get(args.u32(0));
    if (description.flags & O_PATH) return -errno.EBADF;
    if (!(description instanceof DirectoryDescription)) return -errno.ENOTDIR;
    const [address, size] = [args.address(1), args.u32(2)];
    const entries = description.entries();
    let done = 0;
    while (description.offset < entries.length) {
      const bytes = encode(entries[description.offset], description.offset + 1);
      if (done + bytes.length > size) return done > 0 ? done : -errno.EINVAL;
      try {
        process.memory.writeBytes(address + done, bytes);
      } catch (error) {
        if (done > 0) return done;
        throw error;
      }
      done += bytes.length;
      description.offset++;
    }
    return done;
  };

/** getcwd(2): the length with the NUL; ERANGE if it does not fit, ENOENT if the directory is gone. */
const getcwd: Handler = (process, _thread, args) => {
  const { cwd, root } = process.files;
  const path = pathOf(cwd);
  // fs/d_path.c, prepend_unreachable().
  const bytes = pathToBytes(`${seenFrom(root, path) ?? `(unreachable)${path}`}\0`);
  if (args.address(1) < bytes.length) return -errno.ERANGE;
  process.memory.writeBytes(args.address(0), bytes);
  return bytes.length;
};

function changeDirectory(process: Process, place: WorkingDirectory): number {
  const { files } = process;
  const old = files.cwd;
  files.cwd = place;
  files.leave(old);
  return 0;
}

/** The working directory that a place is. @throws SyscallError ENOTDIR */
function workingDirectory(process: Process, place: Place): WorkingDirectory {
  if (place.kind === "host") return process.files.openWorkingDirectory(place.path, place.shown);
  const { node, path } = place;
  if (node.kind === "magic") return ofDescription(process, node.description());
  if (node.kind !== "directory") throw new SyscallError("ENOTDIR");
  return { path, prefix: path, file: undefined };
}

function ofDescription(process: Process, description: unknown): WorkingDirectory {
  if (description instanceof HostDirectory)
    return process.files.openWorkingDirectory(description.prefix, description.path);
  if (description instanceof PathDescription && description.host !== undefined) {
    if ((description.stat().mode & S_IFMT) !== S_IFDIR) throw new SyscallError("ENOTDIR");
    return process.files.openWorkingDirectory(description.host.prefix, description.path);
  }
  if (!(description instanceof DirectoryDescription)) throw new SyscallError("ENOTDIR");
  return { path: description.path, prefix: description.prefix, file: undefined };
}

const chdir: Handler = (process, _thread, args) => {
  const path = readPath(process, args.address(0));
  return changeDirectory(process, workingDirectory(process, resolve(process, AT_FDCWD, path, true)));
};

/**
 * chroot(2): absolute paths begin at another directory; where the process works stays as it is (fs/open.c, ksys_chroot).
 * The order of errors is Linux's: the path first, then the right to do it.
 */
const chroot: Handler = (process, _thread, args) => {
  const { files } = process;
  const place = workingDirectory(process, resolve(process, AT_FDCWD, readPath(process, args.address(0)), true));
  try {
    if (place.file !== undefined) process.host.files.access(place.prefix, X_OK);
    if (!process.credentials.has(CAP.SYS_CHROOT)) throw new SyscallError("EPERM");
  } catch (error) {
    files.leave(place);
    throw error;
  }
  const old = files.root;
  files.root = place.path === "/" ? undefined : place;
  if (old !== undefined) files.leave(old);
  if (files.root === undefined) files.leave(place);
  return 0;
};

const fchdir: Handler = (process, _thread, args) =>
  changeDirectory(process, ofDescription(process, process.files.table.get(args.u32(0))));

/** umask(2): the host applies it to new files. */
const umask: Handler = (process, _thread, args) => {
  const { files } = process;
  const old = files.umask;
  files.umask = args.u32(0) & 0o777;
  process.useMask(files.umask);
  return old;
};

export const DIRECTORY_SYSCALLS: readonly SyscallRow[] = [
  row(78, "getdents", ["fd", "dirents", "uint"], getdentsWith(direntOld)),
  row(79, "getcwd", ["string", "size"], getcwd),
  row(80, "chdir", ["path"], chdir),
  row(81, "fchdir", ["fd"], fchdir),
  row(95, "umask", ["octal"], umask),
  row(161, "chroot", ["path"], chroot),
  row(217, "getdents64", ["fd", "dirents", "uint"], getdentsWith(dirent64)),
];
