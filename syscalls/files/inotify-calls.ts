import { errno, SyscallError } from "../abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC, O_NONBLOCK, R_OK } from "../abi/fcntl.ts";
import * as abi from "../abi/inotify.ts";
import { S_IFDIR, S_IFMT } from "../abi/stat.ts";
import type { Process } from "../process.ts";
import { type Handler, row, type SyscallRow } from "../table.ts";
import { Inotify } from "./inotify.ts";
import { readPath, resolve } from "./resolve.ts";
import { statPlace } from "./stat.ts";

function init(process: Process, flags: number): number {
  if (flags & ~(O_CLOEXEC | O_NONBLOCK)) return -errno.EINVAL;
  const { table, watches } = process.files;
  return table.install(watches.create(process.files.anonymousInode(), flags), (flags & O_CLOEXEC) !== 0);
}

/** @throws SyscallError EBADF, EINVAL for another kind of file */
function inotifyOf(process: Process, fd: number): Inotify {
  const description = process.files.table.get(fd);
  if (!(description instanceof Inotify)) throw new SyscallError("EINVAL");
  return description;
}

/** inotify_add_watch(2), with the order of checks of fs/notify/inotify/inotify_user.c. */
const addWatch: Handler = (process, _thread, args) => {
  const mask = args.u32(2);
  if (mask & ~abi.IN_KNOWN || mask === 0) return -errno.EINVAL;
  process.files.table.get(args.u32(0));
  if (mask & abi.IN_MASK_ADD && mask & abi.IN_MASK_CREATE) return -errno.EINVAL;
  const inotify = inotifyOf(process, args.u32(0));
  const follow = !(mask & abi.IN_DONT_FOLLOW);
  const path = readPath(process, args.address(1));
  const place = resolve(process, AT_FDCWD, path, follow);
  const stat = statPlace(process, place, follow);
  if (mask & abi.IN_ONLYDIR && (stat.mode & S_IFMT) !== S_IFDIR) return -errno.ENOTDIR;
  if (place.kind === "virtual") return process.files.watches.add(inotify, undefined, stat, mask);
  if (follow) process.host.files.access(place.path, R_OK);
  const found = follow ? process.host.files.realPath(place.path) : place.path;
  return process.files.watches.add(inotify, found, stat, mask);
};

const removeWatch: Handler = (process, _thread, args) => {
  const inotify = inotifyOf(process, args.u32(0));
  const watch = inotify.watches.get(args.i32(1));
  if (watch === undefined) return -errno.EINVAL;
  inotify.remove(watch);
  return 0;
};

const NOTE =
  "the guest's own changes exactly; those of other programs as the host tells of them: no opens and reads, each write closes, what is done and undone at once is not seen";

export const INOTIFY_SYSCALLS: readonly SyscallRow[] = [
  row(253, "inotify_init", [], (process) => init(process, 0), NOTE),
  row(254, "inotify_add_watch", ["fd", "path", "hex"], addWatch, NOTE),
  row(255, "inotify_rm_watch", ["fd", "int"], removeWatch),
  row(294, "inotify_init1", ["openFlags"], (process, _thread, args) => init(process, args.u32(0)), NOTE),
];
