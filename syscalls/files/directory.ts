import type { HostDirectoryEntry, HostFile, HostFileSystem } from "../../host/host.ts";
import type { Inheritance } from "../../host/processes.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_PATH, SEEK_CUR, SEEK_SET } from "../abi/fcntl.ts";
import { directoryType, type FileStat } from "../abi/stat.ts";
import type { Process } from "../process.ts";
import { FileDescription } from "./description.ts";
import type { IoVector } from "./io-vector.ts";
import { type VirtualDirectory, virtualStat } from "./virtual.ts";

/** An open directory. Its entries are listed once and keep their offsets until it is rewound. */
export abstract class DirectoryDescription extends FileDescription {
  #entries: HostDirectoryEntry[] | undefined;

  /** Entries without "." and "..". */
  protected abstract list(): HostDirectoryEntry[];

  /** Stands for the directory in paths given to the host, or in paths of our own trees. */
  abstract get prefix(): string;

  /** All entries; the offset of one (d_off) is the number of the next. */
  entries(): readonly HostDirectoryEntry[] {
    if (this.#entries === undefined) {
      const { ino } = this.stat();
      const type = 4; // DT_DIR
      this.#entries = [{ name: ".", ino, type }, { name: "..", ino, type }, ...this.list()];
    }
    return this.#entries;
  }

  override get pollable(): boolean {
    return false;
  }

  override get seekable(): boolean {
    return true;
  }

  override read(_to: IoVector): number {
    throw new SyscallError("EISDIR");
  }

  override readAt(_to: IoVector, _position: number): number {
    throw new SyscallError("EISDIR");
  }

  override seek(offset: number, whence: number): number {
    if (whence !== SEEK_SET && whence !== SEEK_CUR) throw new SyscallError("EINVAL");
    const target = whence === SEEK_CUR ? this.offset + offset : offset;
    if (target < 0) throw new SyscallError("EINVAL");
    if (target === 0) this.#entries = undefined;
    this.offset = target;
    return target;
  }
}

/** A directory of the host. */
export class HostDirectory extends DirectoryDescription {
  readonly #host: HostFile;
  readonly #files: HostFileSystem;
  readonly #openedAs: string;

  constructor(host: HostFile, files: HostFileSystem, flags: number, openedAs: string) {
    super(flags);
    this.#host = host;
    this.#files = files;
    this.#openedAs = openedAs;
  }

  override get host(): HostFile {
    return this.#host;
  }

  override get prefix(): string {
    return this.#host.prefix;
  }

  override inherit(): Inheritance | undefined {
    const { descriptor } = this.#host;
    return descriptor === undefined ? undefined : { kind: "host", descriptor };
  }

  override get path(): string {
    try {
      return this.#host.path();
    } catch {
      return `${this.#openedAs} (deleted)`;
    }
  }

  override stat(): FileStat {
    return this.#host.stat();
  }

  protected override list(): HostDirectoryEntry[] {
    const names = this.#files.readDirectory(this.#host.prefix);
    return names;
  }

  override sync(dataOnly: boolean): void {
    this.#host.sync(dataOnly);
  }

  protected override destroy(): void {
    this.#host.close();
  }
}

/** A directory of /proc or /sys. */
export class VirtualDirectoryDescription extends DirectoryDescription {
  readonly path: string;
  readonly #process: Process;
  readonly #node: VirtualDirectory;

  constructor(process: Process, node: VirtualDirectory, path: string, flags: number) {
    super(flags);
    this.path = path;
    this.#process = process;
    this.#node = node;
  }

  override get prefix(): string {
    return this.path;
  }

  override stat(): FileStat {
    return virtualStat(this.#process, this.#node, this.path);
  }

  protected override list(): HostDirectoryEntry[] {
    return this.#node.entries().map(([name, node]) => {
      const stat = virtualStat(this.#process, node, `${this.path}/${name}`);
      return { name, ino: stat.ino, type: directoryType(stat.mode) };
    });
  }
}

/** Something opened with O_PATH: a place, not a file to read (open(2)). */
export class PathDescription extends FileDescription {
  readonly #host: HostFile | undefined;
  readonly #path: string;
  readonly #stat: () => FileStat;

  constructor(host: HostFile | undefined, path: string, stat: () => FileStat, flags: number) {
    super(flags | O_PATH);
    this.#host = host;
    this.#path = path;
    this.#stat = stat;
  }

  override get host(): HostFile | undefined {
    return this.#host;
  }

  override get path(): string {
    try {
      return this.#host?.path() ?? this.#path;
    } catch {
      return `${this.#path} (deleted)`;
    }
  }

  override stat(): FileStat {
    return this.#host?.stat() ?? this.#stat();
  }

  protected override destroy(): void {
    this.#host?.close();
  }
}
