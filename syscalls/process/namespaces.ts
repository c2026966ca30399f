import { CAP } from "../abi/capabilities.ts";
import { SyscallError } from "../abi/errno.ts";
import { AT_FDCWD } from "../abi/fcntl.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import { type Place, readPath, resolve } from "../files/resolve.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { row } from "../table.ts";
import { CLONE, NAMESPACES } from "../threads/clone-flags.ts";

const UNSHARED = CLONE.FS | CLONE.FILES | CLONE.SYSVSEM;
/** Shared by the threads of a process whatever they do: unsharing it is for a process with one thread, which has it for itself. */
const OF_THREADS = CLONE.THREAD | CLONE.SIGHAND | CLONE.VM;
/** A time namespace (its bit is that of an exit signal in clone(2)). */
const NEWTIME = 0x80;

/**
 * unshare(2) (kernel/fork.c, ksys_unshare): directories and mask for the calling thread, descriptors for a process with one
 * thread.
 * @throws SyscallError EINVAL for flags that mean nothing, and for namespaces, as from a kernel that was built without them;
 * EPERM for those without CAP_SYS_ADMIN
 */
function unshare(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  const flags = args.u32(0);
  if (flags & ~(UNSHARED | OF_THREADS | NAMESPACES | NEWTIME)) throw new SyscallError("EINVAL");
  const isOnly = process.threadCount === 1;
  if (flags & (OF_THREADS | CLONE.NEWUSER) && !isOnly) throw new SyscallError("EINVAL");
  if (flags & (CLONE.SIGHAND | CLONE.VM) && process.mm.users > 1) throw new SyscallError("EINVAL");
  if (flags & (NAMESPACES | NEWTIME)) {
    if (flags & CLONE.NEWUSER || process.credentials.has(CAP.SYS_ADMIN)) throw new SyscallError("EINVAL");
    throw new SyscallError("EPERM");
  }
  if (flags & CLONE.FILES && !isOnly) throw new SyscallError("EINVAL");
  if (flags & CLONE.FS) process.files.unsharePlace(isOnly);
  if (flags & CLONE.FILES) process.files.unshareTable();
  return 0;
}

/** setns(2): no descriptor stands for a namespace. @throws SyscallError EBADF, EINVAL */
function setns(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  process.files.table.get(args.u32(0));
  throw new SyscallError("EINVAL");
}

const place = (process: LinuxProcess, address: number): Place =>
  resolve(process, AT_FDCWD, readPath(process, address), true);

/** Fails where there is nothing at a path. @throws SyscallError */
function checkThere(process: LinuxProcess, address: number): string {
  const found = place(process, address);
  if (found.kind === "host") process.host.files.stat(found.path, true);
  return found.path;
}

function checkMayMount({ credentials }: LinuxProcess): void {
  if (!credentials.has(CAP.SYS_ADMIN)) throw new SyscallError("EPERM");
}

/** Flags of mount(2) that ask for something else than a new file system (include/uapi/linux/mount.h). */
const MS = { REMOUNT: 0x20, BIND: 0x1000, MOVE: 0x2000, PROPAGATION: 0x1e_0000 } as const;

/** mount(2) (fs/namespace.c, path_mount). @throws SyscallError EPERM, ENODEV: no file system is known, EINVAL */
function mount(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  checkThere(process, args.address(1));
  checkMayMount(process);
  const changes = args.u32(3) & (MS.REMOUNT | MS.BIND | MS.MOVE | MS.PROPAGATION);
  throw new SyscallError(changes === 0 && args.address(2) !== 0 ? "ENODEV" : "EINVAL");
}

/** Flags of umount2(2): MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW. */
const UMOUNT_FLAGS = 0xf;
const MOUNTED: ReadonlySet<string> = new Set(["/", "/proc", "/sys", "/sys/fs/cgroup"]);

/** umount2(2) (fs/namespace.c, ksys_umount). @throws SyscallError EPERM, EBUSY for what there is, EINVAL else */
function umount2(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  if (args.u32(1) & ~UMOUNT_FLAGS) throw new SyscallError("EINVAL");
  const path = checkThere(process, args.address(0));
  checkMayMount(process);
  throw new SyscallError(MOUNTED.has(path) ? "EBUSY" : "EINVAL");
}

/** pivot_root(2): the machine's root is its first one, which can't be moved. @throws SyscallError EPERM, EINVAL */
function pivotRoot(process: LinuxProcess, _thread: LinuxThread, args: Args): SyscallResult {
  checkMayMount(process);
  for (const i of [0, 1]) checkThere(process, args.address(i));
  throw new SyscallError("EINVAL");
}

export const NAMESPACE_SYSCALLS = [
  row(155, "pivot_root", ["path", "path"], pivotRoot, "EINVAL: the machine has one root; EPERM without CAP_SYS_ADMIN"),
  row(
    165,
    "mount",
    ["path", "path", "string", "hex", "address"],
    mount,
    "ENODEV or EINVAL: nothing is mounted; EPERM without CAP_SYS_ADMIN",
  ),
  row(166, "umount2", ["path", "hex"], umount2, "EBUSY or EINVAL: nothing is unmounted; EPERM without CAP_SYS_ADMIN"),
  row(
    272,
    "unshare",
    ["cloneFlags"],
    unshare,
    "FS for threads, FILES for processes with one thread (else EINVAL); no namespaces: EINVAL, EPERM without CAP_SYS_ADMIN",
  ),
  row(308, "setns", ["fd", "cloneFlags"], setns, "EINVAL: there are no namespaces"),
];
