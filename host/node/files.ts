import * as fs from "node:fs";
import { SyscallError } from "../../syscalls/abi/errno.ts";
import * as abi from "../../syscalls/abi/fcntl.ts";
import {
  directoryType,
  type FileStat,
  type FileSystemStat,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
  S_IFMT,
} from "../../syscalls/abi/stat.ts";
import type { HostDirectoryEntry, HostFile, HostFileSystem } from "../host.ts";
import type { HostTerminal } from "../terminal.ts";
import { asSyscallError, attempt } from "./errors.ts";
import { makeFifo, NodeFifo } from "./fifo.ts";
import { asAsked, rememberTimes, toFileTime } from "./file-times.ts";
import { PullReader } from "./reader.ts";
import { isTerminal } from "./terminal.ts";
import { terminals } from "./terminals.ts";
import { moveOffset } from "./wasi.ts";

const LINUX = process.platform === "linux";

/** Open flags with a name in Node on every platform, and the host's numbers: Linux's own differ between architectures. */
const FLAGS = (
  [
    [abi.O_CREAT, "O_CREAT"],
    [abi.O_EXCL, "O_EXCL"],
    [abi.O_NOCTTY, "O_NOCTTY"],
    [abi.O_TRUNC, "O_TRUNC"],
    [abi.O_APPEND, "O_APPEND"],
    [abi.O_NONBLOCK, "O_NONBLOCK"],
    [abi.O_DSYNC, "O_DSYNC"],
    [abi.O_DIRECTORY, "O_DIRECTORY"],
    [abi.O_NOFOLLOW, "O_NOFOLLOW"],
    [abi.O_NOATIME, "O_NOATIME"],
  ] as const
).map(([bit, name]) => ({ bit, native: fs.constants[name] ?? 0 }));
const ACCESS_MODES = [fs.constants.O_RDONLY, fs.constants.O_WRONLY, fs.constants.O_RDWR, 3];

/** O_PATH and the O_TMPFILE bit have the same number on every Linux; Node has no name for them. */
const LINUX_ONLY = abi.O_PATH | (abi.O_TMPFILE & ~abi.O_DIRECTORY);

function nativeFlags(flags: number): number {
  let native = ACCESS_MODES[flags & abi.O_ACCMODE] | (LINUX ? flags & LINUX_ONLY : 0);
  for (const flag of FLAGS) if (flags & flag.bit) native |= flag.native;
  if ((flags & abi.O_SYNC) === abi.O_SYNC) native |= fs.constants.O_SYNC;
  return native;
}

const STAT_OPTIONS = { bigint: true, throwIfNoEntry: false } as const;

/** A path as Node takes it: text is encoded as UTF-8, so that only ASCII may be given as it is. */
const toNode = (path: string): string | Buffer => (IS_ASCII.test(path) ? path : Buffer.from(path, "latin1"));
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are ASCII too
const IS_ASCII = /^[\x00-\x7f]*$/;

/** @internal */
export function fromNodeStat(stat: fs.BigIntStats): FileStat {
  return {
    dev: stat.dev,
    ino: stat.ino,
    mode: Number(stat.mode),
    nlink: Number(stat.nlink),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    rdev: stat.rdev,
    size: Number(stat.size),
    blockSize: Number(stat.blksize),
    blocks: Number(stat.blocks),
    ...asAsked(stat),
    ctimeNs: stat.ctimeNs,
    birthtimeNs: stat.birthtimeNs,
  };
}

/** Offset and flags of a descriptor that this process was started with (proc(5), /proc/pid/fdinfo). */
export function inheritedState(fd: number): { offset: number; flags: number } | undefined {
  if (!LINUX) return undefined;
  try {
    const text = fs.readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
    const offset = /^pos:\s*(\d+)/m.exec(text)?.[1];
    const flags = /^flags:\s*([0-7]+)/m.exec(text)?.[1];
    if (offset === undefined || flags === undefined) return undefined;
    return { offset: Number(offset), flags: Number.parseInt(flags, 8) };
  } catch {
    return undefined;
  }
}

/** A file opened by Node. */
export class NodeFile implements HostFile {
  #fd: number;
  readonly #openedAs: string;
  readonly inheritedOffset: number | undefined;
  #reader: PullReader | undefined;
  #fifo: NodeFifo | undefined;
  readonly #standard: boolean;
  readonly opened: FileStat | undefined;

  constructor(fd: number, openedAs: string, inheritedOffset?: number, opened?: FileStat) {
    this.opened = opened;
    this.#fd = fd;
    this.#openedAs = openedAs;
    this.inheritedOffset = inheritedOffset;
    this.#standard = inheritedOffset !== undefined;
  }

  get descriptor(): number {
    return this.#fd;
  }

  currentOffset(): number | undefined {
    return inheritedState(this.#fd)?.offset;
  }

  moveTo(offset: number): boolean {
    return moveOffset(this.#fd, offset);
  }

  get prefix(): string {
    return LINUX ? `/proc/self/fd/${this.#fd}` : this.#openedAs;
  }

  path(): string {
    if (!LINUX) return this.#openedAs;
    const path = attempt(() => fs.readlinkSync(`/proc/self/fd/${this.#fd}`, { encoding: "latin1" }));
    if (path.endsWith(" (deleted)")) throw new SyscallError("ENOENT");
    return path;
  }

  read(into: Uint8Array, position: number | null, at = 0, length = into.length - at): number {
    try {
      return fs.readSync(this.#fd, into, at, length, position);
    } catch (error) {
      throw asSyscallError(error);
    }
  }

  write(from: Uint8Array, position: number | null, at = 0, length = from.length - at): number {
    try {
      return fs.writeSync(this.#fd, from, at, length, position);
    } catch (error) {
      throw asSyscallError(error);
    }
  }

  get terminal(): HostTerminal | undefined {
    return isTerminal(this.#fd) ? terminals.of(this.#fd) : undefined;
  }

  get input(): ((max: number) => Uint8Array | Promise<Uint8Array>) | undefined {
    const kind = this.stat().mode & S_IFMT;
    if (kind !== S_IFCHR && kind !== S_IFIFO) return undefined;
    if (kind === S_IFIFO) {
      return (max) => (this.#reader ??= new PullReader(this.#fd)).read(max);
    }
    return (max) => {
      const bytes = new Uint8Array(max);
      return bytes.subarray(0, this.read(bytes, null));
    };
  }

  get fifo(): NodeFifo | undefined {
    if ((this.stat().mode & S_IFMT) !== S_IFIFO) return undefined;
    return (this.#fifo ??= new NodeFifo(this.prefix));
  }

  stat(): FileStat {
    return fromNodeStat(attempt(() => fs.fstatSync(this.#fd, { bigint: true })));
  }

  truncate(size: number): void {
    attempt(() => fs.ftruncateSync(this.#fd, size));
  }

  sync(dataOnly: boolean): void {
    attempt(() => (dataOnly ? fs.fdatasyncSync(this.#fd) : fs.fsyncSync(this.#fd)));
  }

  chmod(mode: number): void {
    attempt(() => fs.fchmodSync(this.#fd, mode));
  }

  chown(uid: number, gid: number): void {
    attempt(() => fs.fchownSync(this.#fd, uid, gid));
  }

  setTimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    attempt(() => fs.futimesSync(this.#fd, toFileTime(atimeNs), toFileTime(mtimeNs)));
    rememberTimes(atimeNs, mtimeNs, () => fs.fstatSync(this.#fd, { bigint: true }));
  }

  /** Node has no fcntl: the file is opened again with the other flags, which only Linux can do by descriptor. */
  setAppend(on: boolean): void {
    const flags = inheritedState(this.#fd)?.flags;
    if (flags === undefined || this.#standard) throw new SyscallError("ENOTSUP");
    const wanted = on ? flags | abi.O_APPEND : flags & ~abi.O_APPEND;
    const reopened = attempt(() => fs.openSync(`/proc/self/fd/${this.#fd}`, nativeFlags(wanted & ~abi.O_TMPFILE)));
    fs.closeSync(this.#fd);
    this.#fd = reopened;
  }

  close(): void {
    this.#reader?.close();
    this.#fifo?.close();
    // Node itself needs its standard streams.
    if (!this.#standard) attempt(() => fs.closeSync(this.#fd));
  }
}

/** The host's files through node:fs. */
export class NodeFileSystem implements HostFileSystem {
  open(path: string, flags: number, mode: number): HostFile {
    if (!LINUX && (flags & abi.O_TMPFILE) === abi.O_TMPFILE) throw new SyscallError("ENOTSUP");
    const name = toNode(path);
    const native = nativeFlags(flags);
    const nonblocking = flags & (abi.O_PATH | abi.O_NONBLOCK) ? 0 : (fs.constants.O_NONBLOCK ?? 0);
    if (nonblocking === 0) {
      return new NodeFile(
        attempt(() => fs.openSync(name, native, mode)),
        path,
      );
    }
    return this.#openPatiently(name, path, native, nonblocking, mode);
  }

  /**
   * Opening a FIFO waits for its other end, opening a terminal line for its carrier; the host must not wait. For regular
   * files and directories O_NONBLOCK means nothing, except that a lease of another process (fcntl(2), F_SETLEASE) is
   * not waited for.
   */
  #openPatiently(name: string | Buffer, path: string, native: number, nonblocking: number, mode: number): NodeFile {
    let fd: number;
    try {
      fd = attempt(() => fs.openSync(name, native | nonblocking, mode));
    } catch (error) {
      if (!(error instanceof SyscallError) || error.message !== "EAGAIN" || isFifoOrDevice(name)) throw error;
      fd = attempt(() => fs.openSync(name, native, mode));
    }
    const stat = fromNodeStat(fs.fstatSync(fd, { bigint: true }));
    // A drive opened so might be one without a disk in it; a child that gets a terminal takes it for one that waits.
    if ((stat.mode & S_IFMT) === S_IFBLK || isPseudoTerminal(stat)) {
      fs.closeSync(fd);
      fd = attempt(() => fs.openSync(name, native, mode));
    }
    return new NodeFile(fd, path, undefined, stat);
  }

  stat(path: string, follow: boolean): FileStat {
    const name = toNode(path);
    // To be told of a missing file by a value is cheaper than by an error.
    if (follow) {
      const stat = attempt(() => fs.statSync(name, STAT_OPTIONS));
      if (stat !== undefined) return fromNodeStat(stat);
      // It may stand for ENOTDIR as well. lstatSync's does not, which tells unless there is a link to nowhere.
      if (attempt(() => fs.lstatSync(name, STAT_OPTIONS)) === undefined) throw new SyscallError("ENOENT");
      return fromNodeStat(attempt(() => fs.statSync(name, { bigint: true })));
    }
    const stat = attempt(() => fs.lstatSync(name, STAT_OPTIONS));
    if (stat === undefined) throw new SyscallError("ENOENT");
    return fromNodeStat(stat);
  }

  readDirectory(path: string): HostDirectoryEntry[] {
    const names = attempt(() => fs.readdirSync(toNode(path), { encoding: "latin1" }));
    const entries: HostDirectoryEntry[] = [];
    for (const name of names) {
      const stat = fs.lstatSync(toNode(`${path}/${name}`), STAT_OPTIONS);
      if (stat === undefined) continue;
      entries.push({ name, ino: stat.ino, type: directoryType(Number(stat.mode)) });
    }
    return entries;
  }

  mkdir(path: string, mode: number): void {
    attempt(() => fs.mkdirSync(toNode(path), { mode }));
  }

  makeFifo(path: string, mode: number): void {
    makeFifo(path, mode);
  }

  rmdir(path: string): void {
    attempt(() => fs.rmdirSync(toNode(path)));
  }

  unlink(path: string): void {
    attempt(() => fs.unlinkSync(toNode(path)));
  }

  rename(from: string, to: string): void {
    attempt(() => fs.renameSync(toNode(from), toNode(to)));
  }

  link(from: string, to: string): void {
    attempt(() => fs.linkSync(toNode(from), toNode(to)));
  }

  symlink(target: string, path: string): void {
    attempt(() => fs.symlinkSync(toNode(target), toNode(path)));
  }

  readLink(path: string): string {
    return attempt(() => fs.readlinkSync(toNode(path), { encoding: "buffer" })).toString("latin1");
  }

  truncate(path: string, size: number): void {
    attempt(() => fs.truncateSync(toNode(path), size));
  }

  chmod(path: string, mode: number): void {
    attempt(() => fs.chmodSync(toNode(path), mode));
  }

  chown(path: string, uid: number, gid: number, follow: boolean): void {
    attempt(() => (follow ? fs.chownSync : fs.lchownSync)(toNode(path), uid, gid));
  }

  setTimes(path: string, atimeNs: bigint | undefined, mtimeNs: bigint | undefined, follow: boolean): void {
    const name = toNode(path);
    attempt(() => (follow ? fs.utimesSync : fs.lutimesSync)(name, toFileTime(atimeNs), toFileTime(mtimeNs)));
    rememberTimes(atimeNs, mtimeNs, () => (follow ? fs.statSync : fs.lstatSync)(name, STAT_OPTIONS));
  }

  access(path: string, mode: number): void {
    attempt(() => fs.accessSync(toNode(path), mode));
  }

  fileSystem(path: string): FileSystemStat {
    const stat = attempt(() => fs.statfsSync(toNode(path), { bigint: true }));
    return {
      type: Number(stat.type),
      blockSize: Number(stat.bsize),
      blocks: stat.blocks,
      blocksFree: stat.bfree,
      blocksAvailable: stat.bavail,
      files: stat.files,
      filesFree: stat.ffree,
    };
  }

  watch(path: string, changed: (name: string) => void): () => void {
    try {
      const watcher = fs.watch(toNode(path), { persistent: false, encoding: "buffer" }, (_, name) => {
        changed(name === null ? "" : Buffer.from(name).toString("latin1"));
      });
      watcher.on("error", () => {});
      return () => watcher.close();
    } catch {
      // The user has as many watches as the host allows: the guest hears of its own changes.
      return () => {};
    }
  }

  realPath(path: string): string {
    return attempt(() => fs.realpathSync.native(toNode(path), { encoding: "buffer" })).toString("latin1");
  }

  currentDirectory(): string {
    return Buffer.from(attempt(() => process.cwd())).toString("latin1");
  }
}

/** /dev/tty, or a terminal without a line whose carrier could be waited for (admin-guide/devices.txt, 5 and 136–143). */
function isPseudoTerminal({ mode, rdev }: FileStat): boolean {
  const major = Number(rdev >> 8n) & 0xfff;
  return LINUX && (mode & S_IFMT) === S_IFCHR && (rdev === 0x500n || (major >= 136 && major <= 143));
}

function isFifoOrDevice(path: string | Buffer): boolean {
  try {
    const stat = fs.statSync(path, { throwIfNoEntry: false });
    return stat !== undefined && (stat.isFIFO() || stat.isCharacterDevice());
  } catch {
    return false;
  }
}
