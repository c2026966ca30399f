import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { Host, HostFile, HostInput, HostOutput } from "../../host/host.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_ACCMODE, O_APPEND, O_DIRECTORY, O_LARGEFILE, O_PATH, O_RDONLY, O_WRONLY } from "../abi/fcntl.ts";
import { S_IFMT, S_IFREG } from "../abi/stat.ts";
import { TtyDescription } from "../tty/description.ts";
import { Terminals } from "../tty/terminals.ts";
import type { FileDescription } from "./description.ts";
import { FdTable } from "./fd-table.ts";
import { HostFileDescription } from "./host-file.ts";
import { FileLocks } from "./locks.ts";
import { SharedFiles } from "./shared-files.ts";
import { StreamDescription } from "./stream.ts";
import { Watches } from "./watches.ts";

/** What a standard stream keeps of the flags with which others opened it. */
const STANDARD_FLAGS = O_ACCMODE | O_APPEND | O_LARGEFILE;

/** A working directory: its name, and what stands for it in paths given to the host. */
export interface WorkingDirectory {
  readonly path: string;
  readonly prefix: string;
  /** Held open so that the directory can be renamed meanwhile; none for directories of /proc and /sys. */
  readonly file: HostFile | undefined;
  /** How many have it; closed with the last of them. */
  readonly users?: { count: number };
}

/** What clone(2) with CLONE_FS shares (Linux: struct fs_struct). */
interface Place {
  /** File mode creation mask (umask(2)). */
  umask: number;
  cwd: WorkingDirectory;
  /** Where absolute paths begin (chroot(2)); undefined for the machine's root. */
  root: WorkingDirectory | undefined;
  users: number;
}

/** What a new process has in common with its parent in place of a copy (clone(2): CLONE_FILES, CLONE_FS). */
export interface SharedState {
  readonly table?: boolean;
  readonly directory?: boolean;
}

/** What a process's threads share about files: descriptors, working directory, umask (Linux: files_struct, fs_struct). */
export class FileState {
  table: FdTable;
  readonly host: Host;
  /** Makes the machine's loop run again; the process sets it. */
  wakeUp: () => void = () => {};
  /** The thread that makes a system call; the kernel sets it. */
  caller: () => object | undefined = () => undefined;
  /** Locks of who has the table. */
  locks: FileLocks;
  /** Files that are mapped shared. */
  readonly shared: SharedFiles;
  /** The tables of all processes. */
  readonly tables: Set<FdTable>;
  /** What is watched for changes (inotify(7)). */
  readonly watches: Watches;
  /** Woken when a FIFO was opened. */
  readonly fifoOpened: WaitQueue;
  /** What read(2), write(2) and their kin have moved so far (/proc/pid/io; Linux: struct task_io_accounting). */
  readonly io = { rchar: 0, wchar: 0, syscr: 0, syscw: 0 };
  /** Device numbers of the host's own /proc and /sys, which are never shown to the guest. */
  readonly hiddenDevices: ReadonlySet<bigint>;
  /** Terminals that descriptors lead to. */
  readonly terminals: Terminals;
  readonly #inodes: { next: bigint };
  #place: Place;
  /** Of threads that have one of their own (unshare(2), CLONE_FS). */
  #places: Map<object, Place> | undefined;
  #isClosed = false;

  /**
   * Opens the three standard streams and the host's working directory.
   * @param limit RLIMIT_NOFILE
   * @param parent whose descriptors, directory and mask a new process has, in place of the host's
   */
  constructor(host: Host, limit = 1024, parent?: FileState, share: SharedState = {}) {
    this.host = host;
    this.shared = parent?.shared ?? new SharedFiles();
    this.tables = parent?.tables ?? new Set();
    this.watches = parent?.watches ?? new Watches(host, this.tables, () => this.wakeUp());
    this.fifoOpened = parent?.fifoOpened ?? new WaitQueue();
    this.terminals = parent?.terminals ?? new Terminals(() => this.wakeUp());
    this.#inodes = parent === undefined ? { next: 1n } : parent.#inodes;
    if (parent === undefined) {
      this.table = new FdTable(limit);
      this.tables.add(this.table);
      this.locks = this.#lockTable(new FileLocks(host, () => this.wakeUp()));
      const umask = host.umask(0o22);
      host.umask(umask);
      this.#place = { umask, cwd: this.openWorkingDirectory(host.files.currentDirectory()), root: undefined, users: 1 };
      this.hiddenDevices = this.#findHiddenDevices();
      this.#openStandardStreams();
      this.#openInherited();
      return;
    }
    this.hiddenDevices = parent.hiddenDevices;
    this.wakeUp = parent.wakeUp;
    this.caller = parent.caller;
    this.#place = parent.#now;
    if (share.directory) this.#place.users++;
    else this.#place = this.#copyPlace(parent);
    this.table = parent.table;
    this.locks = parent.locks;
    if (share.table) this.table.users++;
    else this.#copyTable(parent);
  }

  /** Record locks go with descriptors of their files. */
  #lockTable(locks: FileLocks): FileLocks {
    this.table.onClose = (description) => locks.closed(description);
    return locks;
  }

  #copyTable({ table, locks }: FileState): void {
    this.table = new FdTable(table.limit);
    this.table.hardLimit = table.hardLimit;
    for (const [fd, { description, closeOnExec }] of table.entries()) this.table.replace(fd, description, closeOnExec);
    this.tables.add(this.table);
    this.locks = this.#lockTable(locks.fork());
  }

  #copyPlace({ umask, cwd, root }: FileState): Place {
    for (const directory of [cwd, root]) if (directory?.users !== undefined) directory.users.count++;
    return { umask, cwd, root, users: 1 };
  }

  #leavePlace(place: Place): void {
    if (--place.users > 0) return;
    this.leave(place.cwd);
    if (place.root !== undefined) this.leave(place.root);
  }

  /** What the thread that makes a system call has. */
  get #now(): Place {
    if (this.#places === undefined) return this.#place;
    return this.#places.get(this.caller() ?? this) ?? this.#place;
  }

  /**
   * The calling thread has directories and a mask of its own from now on (unshare(2), CLONE_FS).
   * @param isOnly is it the process's only one?
   */
  unsharePlace(isOnly: boolean): void {
    const thread = this.caller();
    const before = this.#now;
    if (isOnly || thread === undefined) {
      if (before.users === 1) return;
      this.#place = this.#copyPlace(this);
      this.#leavePlace(before);
      return;
    }
    if (before !== this.#place && before.users === 1) return;
    const copy = this.#copyPlace(this);
    this.forgetThread(thread);
    this.#places ??= new Map();
    this.#places.set(thread, copy);
  }

  /** A thread begins with the directories of the one that makes it (clone(2), CLONE_FS). */
  threadStarts(thread: object): void {
    const place = this.#places?.get(this.caller() ?? this);
    if (place === undefined) return;
    place.users++;
    this.#places?.set(thread, place);
  }

  /** A thread has ended. */
  forgetThread(thread: object): void {
    const place = this.#places?.get(thread);
    if (place === undefined) return;
    this.#places?.delete(thread);
    this.#leavePlace(place);
  }

  /** The threads of a process that executes a program are gone but for one, whose directories are the process's. */
  onlyThread(thread: object): void {
    const place = this.#places?.get(thread);
    if (place !== undefined) {
      place.users++;
      this.#leavePlace(this.#place);
      this.#place = place;
    }
    for (const each of [...(this.#places?.keys() ?? [])]) this.forgetThread(each);
    this.#places = undefined;
  }

  /** The process has a table of descriptors of its own from now on (unshare(2), CLONE_FILES). */
  unshareTable(): void {
    if (this.table.users === 1) return;
    this.table.users--;
    this.#copyTable(this);
  }

  /** A working directory is no longer one process's. */
  leave({ file, users }: WorkingDirectory): void {
    if (users === undefined || --users.count === 0) ignoreErrors(() => file?.close());
  }

  /** A copy for a new process: open file descriptions are shared (fork(2)). */
  fork(share: SharedState = {}): FileState {
    return new FileState(this.host, this.table.limit, this, share);
  }

  /** What a program is executed with: a table of its own, without the descriptors that are closed then (execve(2)). */
  execute(): void {
    this.unshareTable();
    for (const [fd, { closeOnExec }] of [...this.table.entries()]) {
      if (closeOnExec) ignoreErrors(() => this.table.close(fd));
    }
  }

  get umask(): number {
    return this.#now.umask;
  }

  set umask(mask: number) {
    this.#now.umask = mask;
  }

  get cwd(): WorkingDirectory {
    return this.#now.cwd;
  }

  set cwd(directory: WorkingDirectory) {
    this.#now.cwd = directory;
  }

  get root(): WorkingDirectory | undefined {
    return this.#now.root;
  }

  set root(directory: WorkingDirectory | undefined) {
    this.#now.root = directory;
  }

  /**
   * Makes a host path a working directory.
   * @param shown its absolute path, for the case that the host does not tell (it may be longer than PATH_MAX)
   * @throws SyscallError as chdir(2)
   */
  openWorkingDirectory(path: string, shown = path): WorkingDirectory {
    const file = this.host.files.open(path, O_PATH | O_DIRECTORY, 0);
    let actual = shown;
    try {
      actual = file.path();
    } catch {
      // A directory that has been removed can still be worked in.
    }
    return { path: actual, prefix: file.prefix, file, users: { count: 1 } };
  }

  #findHiddenDevices(): Set<bigint> {
    const devices = new Set<bigint>();
    try {
      const root = this.host.files.stat("/", true).dev;
      for (const path of ["/proc", "/sys"]) {
        const { dev } = this.host.files.stat(path, true);
        if (dev !== root) devices.add(dev);
      }
    } catch {
      // A host without them has nothing to hide.
    }
    return devices;
  }

  /** A fresh inode number for a pipe, an eventfd or a memfd. */
  anonymousInode(): bigint {
    return this.#inodes.next++;
  }

  #openStandardStreams(): void {
    const { stdin, stdout, stderr } = this.host;
    const input = this.#standardStream(stdin, undefined);
    this.table.install(input, false);
    for (const stream of [stdout, stderr]) {
      // On one terminal all three are usually one description, readable and writable.
      const shared = input instanceof TtyDescription && sameFile(stdin, stream);
      this.table.install(shared ? input : this.#standardStream(undefined, stream), false);
    }
  }

  /** Descriptors that whoever started the program left open, and the standard streams that it closed. */
  #openInherited(): void {
    for (const { fd, stream, as } of this.host.inherited ?? []) {
      if (as !== undefined) this.table.replace(fd, this.table.get(as), false);
      else if (stream === undefined) this.table.close(fd);
      else {
        const access = stream.flags & O_ACCMODE;
        const description = this.#standardStream(
          access === O_WRONLY ? undefined : stream,
          access === O_RDONLY ? undefined : stream,
        );
        this.table.replace(fd, description, false);
      }
    }
  }

  #standardStream(input: HostInput | undefined, output: HostOutput | undefined): FileDescription {
    const stdio = (input ?? output) as HostInput | HostOutput;
    if (stdio.file !== undefined && (stdio.stat().mode & S_IFMT) === S_IFREG) {
      return new HostFileDescription(stdio.file, stdio.flags & STANDARD_FLAGS, stdio.path, this.shared);
    }
    const { terminal } = stdio;
    const release = (): void => stdio.release?.();
    if (terminal !== undefined) {
      const end = { descriptor: stdio.descriptor, path: stdio.path, stat: () => stdio.stat(), release };
      return new TtyDescription(this.terminals.of(terminal), end, stdio.flags & STANDARD_FLAGS);
    }
    return new StreamDescription(
      {
        descriptor: stdio.descriptor,
        path: stdio.path,
        stat: () => stdio.stat(),
        source: input === undefined ? undefined : (max) => input.read(max),
        sink:
          output === undefined
            ? undefined
            : (bytes) => {
                output.write(bytes);
                return bytes.length;
              },
        wakeUp: () => this.wakeUp(),
        release,
      },
      stdio.flags & STANDARD_FLAGS,
    );
  }

  /** Closes everything, as the end of a process does: what a close(2) would report, nobody is told of. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (--this.table.users === 0) {
      this.table.closeAll();
      this.tables.delete(this.table);
      this.locks.close();
    }
    for (const thread of [...(this.#places?.keys() ?? [])]) this.forgetThread(thread);
    this.#leavePlace(this.#place);
  }
}

/** Does what nobody is told of if it fails. */
function ignoreErrors(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
  }
}

function sameFile(a: HostInput | HostOutput, b: HostInput | HostOutput): boolean {
  if (a.terminal === undefined || b.terminal === undefined) return false;
  const [x, y] = [a.stat(), b.stat()];
  return x.dev === y.dev && x.ino === y.ino;
}
