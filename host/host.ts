import type { FileStat, FileSystemStat } from "../syscalls/abi/stat.ts";
import type { HostLocks } from "./locks.ts";
import type { HostNetwork } from "./network.ts";
import type { HostProcesses } from "./processes.ts";
import type { HostJob, HostTerminal } from "./terminal.ts";

/**
 * Everything that reaches outside of the machine goes through these interfaces, so that a library user, a browser or a
 * test can put its own world around a guest. All errors are thrown as SyscallError.
 *
 * Paths are byte strings: one character a byte (path.ts), since Linux file names are bytes, not text.
 */
export interface Host {
  readonly stdin: HostInput;
  readonly stdout: HostOutput;
  readonly stderr: HostOutput;
  readonly files: HostFileSystem;
  /** What lies beyond the guest's own loopback; without it connections to the outside fail with ENETUNREACH. */
  readonly network?: HostNetwork;
  /** Runs the guest's child processes; without it execve(2) fails with ENOSYS. */
  readonly processes?: HostProcesses;
  /** Where machines meet about the locks on files; without it a guest's locks are its own affair. */
  readonly locks?: HostLocks | undefined;
  /** What the guest starts with besides the three standard streams, or in their place; without it nothing. */
  readonly inherited?: readonly InheritedStream[];
  /** Process group, session and controlling terminal now; without it the guest is alone in a session of its own. */
  job?(): HostJob | undefined;
  /** CLOCK_MONOTONIC in ns, exact enough in a double. */
  monotonicNs(): number;
  /** CLOCK_REALTIME in ns since 1970. */
  realtimeNs(): bigint;
  /**
   * By how much realtimeNs is ahead of monotonicNs, where the two advance together until somebody sets the clock: guests
   * then read the time without a system call. A host without it is asked each time.
   */
  realtimeOffsetNs?(): bigint;
  /** Fills `bytes` with random bytes. */
  randomBytes(bytes: Uint8Array): void;
  hostName(): string;
  /** Bytes of memory that a process can have here; without it the guest's machine has 4 GiB. */
  memoryBytes?(): number;
  /** Is there memory for one more process of the machine? Without it always. */
  hasRoom?(): boolean;
  /** Sets the file mode creation mask of new host files (umask(2)) and returns the one before. */
  umask(mask: number): number;
  /**
   * Gives back streams and timers, so that the host's event loop may end.
   * @returns what is to be waited for, if anything: bytes that the guest has written and that are on their way
   */
  close(): void | Promise<void>;
}

/** A descriptor that a process starts with; without `stream` and `as` it is closed. */
export interface InheritedStream {
  readonly fd: number;
  readonly stream?: HostInput & HostOutput;
  /** It is the same open file description as this descriptor. */
  readonly as?: number;
}

export type { HostJob, HostTerminal, WindowSize } from "./terminal.ts";

/** What the three standard streams have in common. */
interface HostStdio {
  /** Its number on the host, which a child process can inherit. */
  readonly descriptor?: number;
  /** The terminal that it is, if it is one. */
  readonly terminal?: HostTerminal;
  /** Gives it back when the guest has closed it; standard streams of a program that a shell started stay open. */
  release?(): void;
  /** What fstat(2) tells about it. */
  stat(): FileStat;
  /** Open flags: access mode, O_APPEND. */
  readonly flags: number;
  /** The regular file behind the stream, if it is one; then all goes through it. */
  readonly file: HostFile | undefined;
  /** Name for /proc/self/fd: a path, or "pipe:[N]". */
  readonly path: string;
}

/** A source of bytes that is asked, never one that pushes. */
export interface HostInput extends HostStdio {
  /**
   * Up to `max` bytes, as soon as there are some; an empty array is the end of file. Never takes more than `max` bytes
   * out of the source. One call at a time.
   */
  read(max: number): Uint8Array | Promise<Uint8Array>;
}

export interface HostOutput extends HostStdio {
  /** Writes all bytes, waiting if it must. @throws SyscallError EPIPE when nobody reads any more */
  write(bytes: Uint8Array): void;
}

/** What a FIFO tells beside its bytes. */
export interface HostFifo {
  /**
   * Resolves when there may be something to read, with bytes that had to be taken out for that, at most a few; without any
   * once the last writer is gone. While nobody has written yet it goes on.
   */
  wait(): Promise<Uint8Array>;
  /** Has somebody it open for reading? */
  hasReader(): boolean;
}

/** An open file or directory of the host. */
export interface HostFile {
  /** Its number on the host, which a child process can inherit. */
  readonly descriptor?: number;
  /** Where the host's own offset stands, as other processes may have left it. */
  currentOffset?(): number | undefined;
  /** Moves the host's own offset, as far as the file reaches; false if that can't be done. */
  moveTo?(offset: number): boolean;
  /**
   * What stands for this directory when "/name" is appended: stays right when the directory is renamed, where the host
   * has such a thing, else the path by which it was opened.
   */
  readonly prefix: string;
  /** The path now. @throws SyscallError ENOENT if it has been deleted */
  path(): string;
  /** Offset shared with other processes by inheritance, and where it stands; undefined for files we opened. */
  readonly inheritedOffset: number | undefined;
  /** What stat() said when it was opened, where the host has asked for that anyway. */
  readonly opened?: FileStat;
  /**
   * Reads at `position`, or at the host's own offset if that is null. Regular files answer at once; what can block
   * throws EAGAIN.
   * @param at where in `into` the bytes go, its start if left out
   * @param length how many at most, up to its end if left out
   */
  read(into: Uint8Array, position: number | null, at?: number, length?: number): number;
  write(from: Uint8Array, position: number | null, at?: number, length?: number): number;
  /** The terminal that it is, if it is one. */
  readonly terminal?: HostTerminal;
  /** Bytes of a FIFO or a device when there are some; undefined for regular files and directories. */
  readonly input: ((max: number) => Uint8Array | Promise<Uint8Array>) | undefined;
  /** Of a FIFO only. */
  readonly fifo?: HostFifo | undefined;
  stat(): FileStat;
  truncate(size: number): void;
  sync(dataOnly: boolean): void;
  chmod(mode: number): void;
  chown(uid: number, gid: number): void;
  /**
   * Sets access and modification time, ns since 1970; undefined leaves one as it is. A host that can't keep a time takes
   * one shortly before it.
   */
  setTimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void;
  /** Turns O_APPEND on or off (fcntl(2), F_SETFL). */
  setAppend(on: boolean): void;
  close(): void;
}

export interface HostDirectoryEntry {
  readonly name: string;
  readonly ino: bigint;
  /** DT_* (readdir(3)). */
  readonly type: number;
}

/** The host's files. `follow`: does a symbolic link as the last name stand for its target? */
export interface HostFileSystem {
  /** Opens with Linux's O_* flags. A FIFO never blocks: without a reader O_WRONLY throws ENXIO. */
  open(path: string, flags: number, mode: number): HostFile;
  stat(path: string, follow: boolean): FileStat;
  /** Entries without "." and "..". */
  readDirectory(path: string): HostDirectoryEntry[];
  mkdir(path: string, mode: number): void;
  /** Makes a FIFO; `mode`: its permissions as they are to be. Without it there are none (EPERM). */
  makeFifo?(path: string, mode: number): void;
  rmdir(path: string): void;
  unlink(path: string): void;
  rename(from: string, to: string): void;
  link(from: string, to: string): void;
  symlink(target: string, path: string): void;
  readLink(path: string): string;
  truncate(path: string, size: number): void;
  chmod(path: string, mode: number): void;
  chown(path: string, uid: number, gid: number, follow: boolean): void;
  setTimes(path: string, atimeNs: bigint | undefined, mtimeNs: bigint | undefined, follow: boolean): void;
  /** May the file be used so (R_OK | W_OK | X_OK, 0 for "exists")? Throws EACCES, EROFS, ENOENT … if not. */
  access(path: string, mode: number): void;
  fileSystem(path: string): FileSystemStat;
  /**
   * Calls `changed` some time after something has happened to a name in a directory, or to a file; the name may be missing.
   * Without it nothing is told.
   * @returns ends that
   */
  watch?(path: string, changed: (name: string) => void): () => void;
  /** The path without symbolic links, "." and "..". */
  realPath(path: string): string;
  /** Where the guest starts. */
  currentDirectory(): string;
}
