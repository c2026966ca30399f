import { SyscallError } from "../abi/errno.ts";
import { O_ACCMODE, O_RDONLY } from "../abi/fcntl.ts";
import { type FileStat, makeDevice, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG } from "../abi/stat.ts";
import type { Process } from "../process.ts";
import type { FileDescription } from "./description.ts";
import { SyntheticFile } from "./synthetic-file.ts";

/** Device numbers of the file systems that exist only inside the machine (any number the host does not use will do). */
export const PROC_DEVICE = makeDevice(0, 0xf001);
export const SYS_DEVICE = makeDevice(0, 0xf002);
export const DEV_DEVICE = makeDevice(0, 0xf003);

/** What all nodes of /proc, /sys and our part of /dev have in common. */
interface NodeBase {
  /** File type and permissions. */
  readonly mode: number;
  readonly rdev?: bigint;
}

export interface VirtualDirectory extends NodeBase {
  readonly kind: "directory";
  /** The entry of this name, or undefined. */
  lookup(name: string): VirtualNode | undefined;
  /** All entries, without "." and "..". */
  entries(): [name: string, node: VirtualNode][];
}

export interface VirtualFile extends NodeBase {
  readonly kind: "file";
  /** The contents now. */
  content(): Uint8Array;
}

/** A symbolic link that is followed by its text. */
export interface VirtualLink extends NodeBase {
  readonly kind: "link";
  target(): string;
  /** Its text is a path of the machine, whatever the root of who follows it is. */
  readonly isPlace?: boolean;
}

/** A link of /proc whose text is only for show: it leads to an open file (Linux: fs/proc/base.c, proc_pid_get_link). */
export interface MagicLink extends NodeBase {
  readonly kind: "magic";
  target(): string;
  description(): FileDescription;
}

export interface VirtualDevice extends NodeBase {
  readonly kind: "device";
  readonly rdev: bigint;
  /** What stat(2) says, where that is not made from its path. */
  stat?(): FileStat;
  /** @param flags status flags of the description; @param openFlags all flags of open(2) */
  open(flags: number, openFlags: number): FileDescription;
}

export type VirtualNode = VirtualDirectory | VirtualFile | VirtualLink | MagicLink | VirtualDevice;

/** A directory with a fixed set of entries, each made when asked for. */
export function directory(entries: Readonly<Record<string, () => VirtualNode>>): VirtualDirectory {
  return {
    kind: "directory",
    mode: S_IFDIR | 0o555,
    lookup: (name) => (Object.hasOwn(entries, name) ? entries[name]() : undefined),
    entries: () => Object.entries(entries).map(([name, make]) => [name, make()]),
  };
}

/** A read-only file whose text is made when it is read. Its characters are bytes. */
export function file(text: () => string, mode = 0o444): VirtualFile {
  return { kind: "file", mode: S_IFREG | mode, content: () => Uint8Array.from(text(), (c) => c.charCodeAt(0)) };
}

export function binaryFile(content: () => Uint8Array, mode = 0o400): VirtualFile {
  return { kind: "file", mode: S_IFREG | mode, content };
}

export function link(target: () => string): VirtualLink {
  return { kind: "link", mode: S_IFLNK | 0o777, target };
}

/** A link to where something is (/proc/pid/cwd). */
export function placeLink(target: () => string): VirtualLink {
  return { ...link(target), isPlace: true };
}

export function magicLink(target: () => string, description: () => FileDescription, mode = 0o700): MagicLink {
  return { kind: "magic", mode: S_IFLNK | mode, target, description };
}

export function device(major: number, minor: number, open: (flags: number) => FileDescription): VirtualDevice {
  return { kind: "device", mode: S_IFCHR | 0o666, rdev: makeDevice(major, minor), open };
}

/** A stable inode number for a path (FNV-1a), so that the same name always is the same file. */
function inodeOf(path: string): bigint {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < path.length; i++) hash = Math.imul(hash ^ path.charCodeAt(i), 0x0100_0193) >>> 0;
  return BigInt(hash) + 1n;
}

/** What stat(2) says about a node. Sizes as Linux gives them: 0 for files of /proc, a page for those of /sys. */
export function virtualStat(process: Process, node: VirtualNode, path: string): FileStat {
  if (node.kind === "device" && node.stat !== undefined) return node.stat();
  const now = process.clock.realtimeNs();
  const inSys = path.startsWith("/sys");
  const own = path.startsWith("/proc/self") || path.startsWith(`/proc/${process.pid}`);
  return {
    dev: inSys ? SYS_DEVICE : path.startsWith("/dev") ? DEV_DEVICE : PROC_DEVICE,
    ino: inodeOf(path),
    mode: node.mode,
    nlink: node.kind === "directory" ? 2 : 1,
    uid: own ? process.euid : 0,
    gid: own ? process.egid : 0,
    rdev: node.rdev ?? 0n,
    size: node.kind === "file" && inSys ? 4096 : node.kind === "magic" ? 64 : 0,
    blockSize: inSys || path.startsWith("/dev") ? 4096 : 1024,
    blocks: 0,
    atimeNs: now,
    mtimeNs: now,
    ctimeNs: now,
    birthtimeNs: 0n,
  };
}

/** Opens a file or device node; directories are opened by their own kind. @throws SyscallError EACCES for writing */
export function openVirtual(
  process: Process,
  node: VirtualFile | VirtualDevice,
  path: string,
  flags: number,
  openFlags: number,
): FileDescription {
  if (node.kind === "device") return node.open(flags, openFlags);
  if ((flags & O_ACCMODE) !== O_RDONLY) throw new SyscallError("EACCES");
  return new SyntheticFile(path, flags, () => virtualStat(process, node, path), node.content);
}
