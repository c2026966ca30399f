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
}

/** What a process's threads share about files: descriptors, working directory, umask (Linux: files_struct, fs_struct). */
export class FileState {
  readonly table: FdTable;
  readonly host: Host;
  /** File mode creation mask (umask(2)). */
  umask: number;
  cwd: WorkingDirectory;
  /** Makes the machine's loop run again; the process sets it. */
  wakeUp: () => void = () => {};
  /** Locks; a new process shares those of descriptions. */
  readonly locks: FileLocks;
  /** Files that are mapped shared. */
  readonly shared: SharedFiles;
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
  #nextAnonymousInode = 1n;
  #isClosed = false;

  /**
   * Opens the three standard streams and the host's working directory.
   * @param limit RLIMIT_NOFILE
   * @param parent whose descriptors, directory and mask a new process has, in place of the host's
   */
  constructor(host: Host, limit = 1024, parent?: FileState) {
    this.host = host;
    this.table = new FdTable(limit);
    this.locks = parent?.locks ?? new FileLocks(host, () => this.wakeUp());
    this.shared = parent?.shared ?? new SharedFiles();
    this.watches = parent?.watches ?? new Watches(host, this.table, () => this.wakeUp());
    this.fifoOpened = parent?.fifoOpened ?? new WaitQueue();
    this.umask = parent?.umask ?? host.umask(0o22);
    host.umask(this.umask);
    this.terminals = parent?.terminals ?? new Terminals(() => this.wakeUp());
    if (parent === undefined) {
      this.table.onClose = (description) => this.locks.closed(description);
      this.cwd = this.openWorkingDirectory(host.files.currentDirectory());
      this.hiddenDevices = this.#findHiddenDevices();
      this.#openStandardStreams();
      this.#openInherited();
      return;
    }
    const { path, prefix, file } = parent.cwd;
    this.cwd = file === undefined ? parent.cwd : this.openWorkingDirectory(prefix, path);
    this.hiddenDevices = parent.hiddenDevices;
    this.wakeUp = parent.wakeUp;
    this.table.hardLimit = parent.table.hardLimit;
    for (const [fd, { description, closeOnExec }] of parent.table.entries()) {
      this.table.replace(fd, description, closeOnExec);
    }
  }

  /** A copy for a new process: open file descriptions are shared (fork(2)). */
  fork(): FileState {
    return new FileState(this.host, this.table.limit, this);
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
    return { path: actual, prefix: file.prefix, file };
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
    return this.#nextAnonymousInode++;
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
    this.table.closeAll();
    if (this.table.onClose !== undefined) this.locks.close();
    try {
      this.cwd.file?.close();
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
    }
  }
}

function sameFile(a: HostInput | HostOutput, b: HostInput | HostOutput): boolean {
  if (a.terminal === undefined || b.terminal === undefined) return false;
  const [x, y] = [a.stat(), b.stat()];
  return x.dev === y.dev && x.ino === y.ino;
}
