import { SyscallError } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import { IN_CREATE, IN_MODIFY, IN_OPEN } from "../abi/inotify.ts";
import { type FileStat, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT } from "../abi/stat.ts";
import type { SyscallResult } from "../block.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import { TtyDescription } from "../tty/description.ts";
import type { FileDescription } from "./description.ts";
import { HostDirectory, PathDescription, VirtualDirectoryDescription } from "./directory.ts";
import { FifoDescription, waitForOtherSide } from "./fifo.ts";
import { HostFileDescription } from "./host-file.ts";
import { isHidden, type Place, readPath, redirect, resolve, resolveInMachine } from "./resolve.ts";
import { identityOf } from "./shared-files.ts";
import { StreamDescription } from "./stream.ts";
import { openVirtual, virtualStat } from "./virtual.ts";

/**
 * Opens a file for the guest (open(2); Linux: fs/open.c, do_sys_openat2 and fs/namei.c, path_openat).
 * @param flags O_*; @param mode permissions of a new file before the umask
 * @throws SyscallError
 */
export function openPath(process: Process, dirfd: number, path: string, flags: number, mode: number): FileDescription {
  const follow = !(flags & abi.O_NOFOLLOW) && (flags & (abi.O_CREAT | abi.O_EXCL)) !== (abi.O_CREAT | abi.O_EXCL);
  return openPlace(process, resolve(process, dirfd, path, follow), flags, mode, follow);
}

/** Opens a file of the machine by its absolute path, whatever the root of the process is. @throws SyscallError */
export function openInMachine(process: Process, path: string, flags: number): FileDescription {
  return openPlace(process, resolveInMachine(process, abi.AT_FDCWD, path, true), flags, 0, true);
}

function openPlace(process: Process, place: Place, flags: number, mode: number, follow: boolean): FileDescription {
  if (place.kind === "virtual") return openInTree(process, place.node, place.path, flags);
  // An empty set of permission bits besides the file's own: the kernel drops them too (S_IALLUGO).
  const { watches } = process.files;
  const before = watches.before(place.path);
  const file = process.host.files.open(place.path, flags & ~abi.O_CLOEXEC, mode & 0o7777);
  const stat = file.opened ?? file.stat();
  if (isHidden(process, stat)) {
    file.close();
    return openPlace(process, redirect(process, place.shown, follow), flags, mode, follow);
  }
  if (flags & abi.O_TRUNC && !process.files.shared.isEmpty) process.files.shared.resized(identityOf(stat), stat.size);
  const status = (flags & ~abi.O_OPEN_ONLY) | abi.O_LARGEFILE;
  if (flags & abi.O_PATH) return new PathDescription(file, place.shown, () => file.stat(), status & ~abi.O_LARGEFILE);
  const kind = stat.mode & S_IFMT;
  if (kind === S_IFDIR || (kind !== S_IFCHR && kind !== S_IFIFO)) {
    const description =
      kind === S_IFDIR
        ? new HostDirectory(file, process.host.files, status, place.shown)
        : new HostFileDescription(file, status, place.shown, process.files.shared);
    description.onRelease.add(() => watches.closed(description));
    if (watches.isActive) tellOpen(process, place.path, description, flags, before);
    return description;
  }
  if (file.fifo !== undefined) {
    return new FifoDescription(file, file.fifo, status, place.shown, () => process.wakeUp());
  }
  const { terminal } = file;
  if (terminal !== undefined) {
    const end = { path: place.shown, stat: () => file.stat(), file };
    return new TtyDescription(process.files.terminals.of(terminal), end, status);
  }
  return new StreamDescription(
    {
      path: place.shown,
      stat: () => file.stat(),
      source: file.input,
      sink: (bytes) => file.write(bytes, null),
      wakeUp: () => process.wakeUp(),
      file,
    },
    status,
  );
}

/** What an open tells those who watch: that a file was made, or emptied, and that it is open (fs/namei.c, fs/open.c). */
function tellOpen(
  process: Process,
  path: string,
  description: FileDescription,
  flags: number,
  before: FileStat | undefined,
): void {
  const { watches } = process.files;
  if (flags & abi.O_CREAT && before === undefined) watches.atName(path, IN_CREATE);
  watches.atDescription(description, IN_OPEN);
  // Linux empties a file once it is open (fs/namei.c, do_open), whether there was something in it or not.
  if (flags & abi.O_TRUNC && before !== undefined) watches.atDescription(description, IN_MODIFY);
}

function openInTree(
  process: Process,
  node: Extract<Place, { kind: "virtual" }>["node"],
  path: string,
  flags: number,
): FileDescription {
  const creating = (flags & abi.O_CREAT) !== 0;
  if (creating && flags & abi.O_EXCL) throw new SyscallError("EEXIST");
  const status = (flags & ~abi.O_OPEN_ONLY) | abi.O_LARGEFILE;
  const stat = () => virtualStat(process, node, path);
  if (flags & abi.O_PATH && node.kind !== "magic") {
    if (flags & abi.O_DIRECTORY && node.kind !== "directory") throw new SyscallError("ENOTDIR");
    return new PathDescription(undefined, path, stat, status & ~abi.O_LARGEFILE);
  }
  switch (node.kind) {
    case "directory":
      if (creating || (flags & abi.O_ACCMODE) !== abi.O_RDONLY) throw new SyscallError("EISDIR");
      return new VirtualDirectoryDescription(process, node, path, status);
    case "magic":
      if (flags & abi.O_NOFOLLOW) throw new SyscallError("ELOOP");
      return reopen(process, node.description(), flags);
    case "link":
      throw new SyscallError("ELOOP");
    default:
      if (flags & abi.O_DIRECTORY) throw new SyscallError("ENOTDIR");
      return openVirtual(process, node, path, status, flags);
  }
}

/** Opens what a description is open on once more (proc(5), /proc/pid/fd). */
function reopen(process: Process, description: FileDescription, flags: number): FileDescription {
  const { host } = description;
  const status = (flags & ~abi.O_OPEN_ONLY) | abi.O_LARGEFILE;
  const kind = description.stat().mode & S_IFMT;
  if (flags & abi.O_DIRECTORY && kind !== S_IFDIR) throw new SyscallError("ENOTDIR");
  const isNamed = description instanceof FifoDescription || (kind !== S_IFCHR && kind !== S_IFIFO);
  if (host !== undefined && isNamed) {
    const place: Place = { kind: "host", path: host.prefix, shown: description.path };
    return openPlace(process, place, flags & ~abi.O_NOFOLLOW, 0, true);
  }
  return description.reopen(status & ~(flags & abi.O_PATH ? abi.O_LARGEFILE : 0));
}

/** open and openat: flags are checked before the path is read, the descriptor is found before the file is opened. */
function open(process: Process, dirfd: number, address: number, flagsArgument: number, mode: number): SyscallResult {
  let flags = flagsArgument;
  if (flags & abi.O_PATH) flags &= abi.O_PATH | abi.O_DIRECTORY | abi.O_NOFOLLOW | abi.O_CLOEXEC;
  if ((flags & abi.O_TMPFILE) === abi.O_TMPFILE) {
    if ((flags & abi.O_ACCMODE) === abi.O_RDONLY) throw new SyscallError("EINVAL");
  } else if (flags & abi.O_TMPFILE & ~abi.O_DIRECTORY) throw new SyscallError("EINVAL");
  if ((flags & (abi.O_DIRECTORY | abi.O_CREAT)) === (abi.O_DIRECTORY | abi.O_CREAT)) throw new SyscallError("EINVAL");
  const path = readPath(process, address);
  if (path === "") throw new SyscallError("ENOENT");
  const { table } = process.files;
  table.lowestFree();
  const attempt = (): FileDescription => openPath(process, dirfd, path, flags, mode);
  const install = (description: FileDescription): number => {
    const fd = table.install(description, hasCloexec(flags));
    if (description instanceof FifoDescription) process.files.fifoOpened.wake();
    return fd;
  };
  const waits = (flags & (abi.O_ACCMODE | abi.O_NONBLOCK)) === abi.O_WRONLY;
  let description: FileDescription;
  try {
    description = attempt();
  } catch (error) {
    if (!waits || !isError(error, "ENXIO")) throw error;
    return waitForOtherSide(process, () => openForWriting(attempt, install));
  }
  if (!(description instanceof FifoDescription) || !description.lacksWriter) return install(description);
  const reader = description.acquire();
  // Whoever waits to write finds a reader now.
  process.files.fifoOpened.wake();
  if (!reader.lacksWriter) {
    const fd = install(reader);
    reader.release();
    return fd;
  }
  return waitForOtherSide(
    process,
    () => (reader.lacksWriter ? undefined : install(reader)),
    () => reader.release(),
  );
}

/** Opens a FIFO for writing, if there is a reader by now. */
function openForWriting(
  attempt: () => FileDescription,
  install: (description: FileDescription) => number,
): number | undefined {
  try {
    return install(attempt());
  } catch (error) {
    if (isError(error, "ENXIO")) return undefined;
    throw error;
  }
}

const hasCloexec = (flags: number): boolean => (flags & abi.O_CLOEXEC) !== 0;
const isError = (error: unknown, name: string): boolean => error instanceof SyscallError && error.message === name;

const openHandler: Handler = (process, _thread, args) =>
  open(process, abi.AT_FDCWD, args.address(0), args.i32(1), args.u32(2));

const openat: Handler = (process, _thread, args) =>
  open(process, args.i32(0), args.address(1), args.i32(2), args.u32(3));

const creat: Handler = (process, _thread, args) =>
  open(process, abi.AT_FDCWD, args.address(0), abi.O_CREAT | abi.O_WRONLY | abi.O_TRUNC, args.u32(1));

const NOTE =
  "opening a FIFO looks for the other side every 5 ms: a program of the host that opens and closes it in between is missed";

export const OPEN_SYSCALLS: readonly SyscallRow[] = [
  row(2, "open", ["path", "openFlags", "octal"], openHandler, NOTE),
  row(85, "creat", ["path", "octal"], creat),
  row(257, "openat", ["dirfd", "path", "openFlags", "octal"], openat, NOTE),
];
