import { SyscallError } from "../../syscalls/abi/errno.ts";
import * as abi from "../../syscalls/abi/fcntl.ts";
import {
  directoryType,
  type FileStat,
  type FileSystemStat,
  makeDevice,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  TMPFS_MAGIC,
} from "../../syscalls/abi/stat.ts";
import { MemoryBytes } from "../../syscalls/files/memory-file.ts";
import { textToPath } from "../../syscalls/files/path.ts";
import type { Host, HostDirectoryEntry, HostFile, HostFileSystem, HostInput, HostOutput } from "../host.ts";

const DEVICE = makeDevice(0, 0xe000);

/** A file, directory or symbolic link in memory. */
class Node {
  readonly ino: bigint;
  mode: number;
  uid = 0;
  gid = 0;
  nlink = 1;
  atimeNs: bigint;
  mtimeNs: bigint;
  ctimeNs: bigint;
  readonly bytes = new MemoryBytes();
  readonly entries = new Map<string, Node>();
  target = "";

  constructor(ino: bigint, mode: number, now: bigint) {
    this.ino = ino;
    this.mode = mode;
    this.atimeNs = now;
    this.mtimeNs = now;
    this.ctimeNs = now;
  }

  get kind(): number {
    return this.mode & S_IFMT;
  }

  stat(): FileStat {
    const size = this.kind === S_IFLNK ? this.target.length : this.bytes.size;
    return {
      dev: DEVICE,
      ino: this.ino,
      mode: this.mode,
      nlink: this.nlink,
      uid: this.uid,
      gid: this.gid,
      rdev: 0n,
      size,
      blockSize: 4096,
      blocks: Math.ceil(size / 4096) * 8,
      atimeNs: this.atimeNs,
      mtimeNs: this.mtimeNs,
      ctimeNs: this.ctimeNs,
      birthtimeNs: 0n,
    };
  }
}

/** An open file of a MemoryFileSystem. */
class MemoryHostFile implements HostFile {
  readonly inheritedOffset = undefined;
  readonly input = undefined;
  readonly #node: Node;
  readonly #path: string;
  readonly #now: () => bigint;

  constructor(node: Node, path: string, now: () => bigint) {
    this.#node = node;
    this.#path = path;
    this.#now = now;
  }

  get prefix(): string {
    return this.#path;
  }

  path(): string {
    if (this.#node.nlink === 0) throw new SyscallError("ENOENT");
    return this.#path;
  }

  read(into: Uint8Array, position: number | null, at = 0, length = into.length - at): number {
    const view = this.#node.bytes.view(position ?? 0, (position ?? 0) + length);
    into.set(view, at);
    return view.length;
  }

  /** A position of null appends: files opened here have no offset of their own. */
  write(from: Uint8Array, position: number | null, at = 0, length = from.length - at): number {
    this.#node.bytes.write(from.subarray(at, at + length), position ?? this.#node.bytes.size);
    this.#node.mtimeNs = this.#now();
    return length;
  }

  stat(): FileStat {
    return this.#node.stat();
  }

  truncate(size: number): void {
    this.#node.bytes.resize(size);
    this.#node.mtimeNs = this.#now();
  }

  sync(): void {}

  chmod(mode: number): void {
    this.#node.mode = this.#node.kind | mode;
  }

  chown(uid: number, gid: number): void {
    this.#node.uid = uid;
    this.#node.gid = gid;
  }

  setTimes(atimeNs: bigint | undefined, mtimeNs: bigint | undefined): void {
    this.#node.atimeNs = atimeNs ?? this.#node.atimeNs;
    this.#node.mtimeNs = mtimeNs ?? this.#node.mtimeNs;
  }

  setAppend(): void {}

  close(): void {}
}

interface Found {
  readonly parent: Node;
  readonly name: string;
  readonly node: Node | undefined;
  readonly path: string;
}

/** A file system in memory, without permissions: whoever may see it may do everything (Linux: tmpfs as root). */
export class MemoryFileSystem implements HostFileSystem {
  readonly #root: Node;
  readonly #now: () => bigint;
  #nextIno = 1n;
  umask = 0o22;

  /** @param now CLOCK_REALTIME in ns, for time stamps */
  constructor(now: () => bigint) {
    this.#now = now;
    this.#root = this.#make(S_IFDIR | 0o755);
  }

  #make(mode: number): Node {
    return new Node(this.#nextIno++, mode, this.#now());
  }

  /** Walks a path (path_resolution(7)). `node` is missing if only the last name is. */
  #walk(path: string, follow: boolean, links = 0): Found {
    if (links > abi.MAXSYMLINKS) throw new SyscallError("ELOOP");
    const names = path.split("/").filter((name) => name !== "" && name !== ".");
    const trail: { node: Node; name: string }[] = [{ node: this.#root, name: "" }];
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      const { node } = trail[trail.length - 1];
      if (node.kind !== S_IFDIR) throw new SyscallError("ENOTDIR");
      if (name.length > abi.NAME_MAX) throw new SyscallError("ENAMETOOLONG");
      if (name === "..") {
        if (trail.length > 1) trail.pop();
        continue;
      }
      const child = node.entries.get(name);
      const last = i === names.length - 1;
      const at = trail.map((step) => step.name).join("/");
      if (child === undefined) {
        if (!last) throw new SyscallError("ENOENT");
        return { parent: node, name, node: undefined, path: `${at}/${name}` };
      }
      if (child.kind === S_IFLNK && (!last || follow || path.endsWith("/"))) {
        const rest = names.slice(i + 1).join("/");
        const start = child.target.startsWith("/") ? child.target : `${at}/${child.target}`;
        return this.#walk(rest === "" ? start : `${start}/${rest}`, follow, links + 1);
      }
      trail.push({ node: child, name });
    }
    const { node, name } = trail[trail.length - 1];
    if (path.endsWith("/") && node.kind !== S_IFDIR) throw new SyscallError("ENOTDIR");
    const parent = trail[Math.max(0, trail.length - 2)].node;
    return { parent, name, node, path: trail.map((step) => step.name).join("/") || "/" };
  }

  #get(path: string, follow: boolean): Node {
    const { node } = this.#walk(path, follow);
    if (node === undefined) throw new SyscallError("ENOENT");
    return node;
  }

  #add(path: string, mode: number): Node {
    const { parent, name, node } = this.#walk(path.replace(/\/+$/, ""), false);
    if (node !== undefined) throw new SyscallError("EEXIST");
    const made = this.#make(mode);
    parent.entries.set(name, made);
    parent.mtimeNs = this.#now();
    return made;
  }

  open(path: string, flags: number, mode: number): HostFile {
    const exclusive = (flags & (abi.O_CREAT | abi.O_EXCL)) === (abi.O_CREAT | abi.O_EXCL);
    const found = this.#walk(path, !(flags & abi.O_NOFOLLOW) && !exclusive);
    let { node } = found;
    if (node === undefined) {
      if (!(flags & abi.O_CREAT)) throw new SyscallError("ENOENT");
      node = this.#make(S_IFREG | (mode & ~this.umask));
      found.parent.entries.set(found.name, node);
    } else if (exclusive) throw new SyscallError("EEXIST");
    if (node.kind === S_IFLNK && !(flags & abi.O_PATH)) throw new SyscallError("ELOOP");
    if (flags & abi.O_DIRECTORY && node.kind !== S_IFDIR) throw new SyscallError("ENOTDIR");
    const writes = (flags & abi.O_ACCMODE) !== abi.O_RDONLY || (flags & abi.O_CREAT) !== 0;
    if (node.kind === S_IFDIR && writes) throw new SyscallError("EISDIR");
    const file = new MemoryHostFile(node, found.path, this.#now);
    if (flags & abi.O_TRUNC && node.kind === S_IFREG) file.truncate(0);
    return file;
  }

  stat(path: string, follow: boolean): FileStat {
    return this.#get(path, follow).stat();
  }

  readDirectory(path: string): HostDirectoryEntry[] {
    const node = this.#get(path, true);
    if (node.kind !== S_IFDIR) throw new SyscallError("ENOTDIR");
    return [...node.entries].map(([name, { ino, mode }]) => ({ name, ino, type: directoryType(mode) }));
  }

  mkdir(path: string, mode: number): void {
    this.#add(path, S_IFDIR | (mode & ~this.umask)).nlink = 2;
  }

  rmdir(path: string): void {
    const { parent, name, node } = this.#walk(path, false);
    if (node === undefined) throw new SyscallError("ENOENT");
    if (node.kind !== S_IFDIR) throw new SyscallError("ENOTDIR");
    if (node === this.#root) throw new SyscallError("EBUSY");
    if (node.entries.size > 0) throw new SyscallError("ENOTEMPTY");
    parent.entries.delete(name);
    node.nlink = 0;
  }

  unlink(path: string): void {
    const { parent, name, node } = this.#walk(path, false);
    if (node === undefined) throw new SyscallError("ENOENT");
    if (node.kind === S_IFDIR) throw new SyscallError("EISDIR");
    parent.entries.delete(name);
    node.nlink--;
  }

  rename(from: string, to: string): void {
    const source = this.#walk(from, false);
    const target = this.#walk(to.replace(/\/+$/, ""), false);
    if (source.node === undefined) throw new SyscallError("ENOENT");
    if (source.node === target.node) return;
    if (target.path.startsWith(`${source.path}/`)) throw new SyscallError("EINVAL");
    if (target.node !== undefined) {
      if (source.node.kind === S_IFDIR && target.node.kind !== S_IFDIR) throw new SyscallError("ENOTDIR");
      if (source.node.kind !== S_IFDIR && target.node.kind === S_IFDIR) throw new SyscallError("EISDIR");
      if (target.node.entries.size > 0) throw new SyscallError("ENOTEMPTY");
      target.node.nlink--;
    }
    source.parent.entries.delete(source.name);
    target.parent.entries.set(target.name, source.node);
  }

  link(from: string, to: string): void {
    const node = this.#get(from, false);
    if (node.kind === S_IFDIR) throw new SyscallError("EPERM");
    const target = this.#walk(to, false);
    if (target.node !== undefined) throw new SyscallError("EEXIST");
    target.parent.entries.set(target.name, node);
    node.nlink++;
  }

  symlink(target: string, path: string): void {
    this.#add(path, S_IFLNK | 0o777).target = target;
  }

  readLink(path: string): string {
    const node = this.#get(path, false);
    if (node.kind !== S_IFLNK) throw new SyscallError("EINVAL");
    return node.target;
  }

  truncate(path: string, size: number): void {
    this.#get(path, true).bytes.resize(size);
  }

  chmod(path: string, mode: number): void {
    const node = this.#get(path, true);
    node.mode = node.kind | mode;
  }

  chown(path: string, uid: number, gid: number, follow: boolean): void {
    const node = this.#get(path, follow);
    node.uid = uid;
    node.gid = gid;
  }

  setTimes(path: string, atimeNs: bigint | undefined, mtimeNs: bigint | undefined, follow: boolean): void {
    const node = this.#get(path, follow);
    node.atimeNs = atimeNs ?? node.atimeNs;
    node.mtimeNs = mtimeNs ?? node.mtimeNs;
  }

  /** As for root: everything is allowed but running a file that nobody may run. */
  access(path: string, mode: number): void {
    const node = this.#get(path, true);
    if (mode & abi.X_OK && node.kind === S_IFREG && !(node.mode & 0o111)) throw new SyscallError("EACCES");
  }

  fileSystem(path: string): FileSystemStat {
    this.#get(path, true);
    const blocks = 0x4_0000n;
    return {
      type: TMPFS_MAGIC,
      blockSize: 4096,
      blocks,
      blocksFree: blocks,
      blocksAvailable: blocks,
      files: blocks,
      filesFree: blocks,
    };
  }

  realPath(path: string): string {
    const found = this.#walk(path, true);
    if (found.node === undefined) throw new SyscallError("ENOENT");
    return found.path;
  }

  currentDirectory(): string {
    return "/";
  }
}

/** A stream in memory: what is written is collected, what is read was given. */
class MemoryStream implements HostInput, HostOutput {
  readonly flags: number;
  readonly file = undefined;
  readonly path: string;
  readonly #onWrite: (bytes: Uint8Array) => void;
  #input: Uint8Array;

  constructor(path: string, flags: number, input: Uint8Array, onWrite: (bytes: Uint8Array) => void) {
    this.path = path;
    this.flags = flags;
    this.#input = input;
    this.#onWrite = onWrite;
  }

  stat(): FileStat {
    const node = new Node(1n, (this.flags === abi.O_RDONLY ? S_IFIFO : S_IFCHR) | 0o600, 0n);
    return node.stat();
  }

  read(max: number): Uint8Array {
    const bytes = this.#input.slice(0, max);
    this.#input = this.#input.subarray(bytes.length);
    return bytes;
  }

  write(bytes: Uint8Array): void {
    this.#onWrite(bytes.slice());
  }
}

/** What a MemoryHost starts with. All parts are optional. */
export interface MemoryHostOptions {
  readonly stdin?: Uint8Array | string;
  /** Files to begin with, by absolute path; directories above them are made. */
  readonly files?: Readonly<Record<string, Uint8Array | string>>;
  readonly stdout?: (bytes: Uint8Array) => void;
  readonly stderr?: (bytes: Uint8Array) => void;
  readonly hostName?: string;
  /** Clocks; by default those of the JavaScript engine. */
  readonly monotonicNs?: () => number;
  readonly realtimeNs?: () => bigint;
  readonly randomBytes?: (bytes: Uint8Array) => void;
}

const encode = (value: Uint8Array | string): Uint8Array =>
  typeof value === "string" ? new TextEncoder().encode(value) : value;

/** A world of its own, without any API of Node: for tests, library users and browsers. */
export class MemoryHost implements Host {
  readonly stdin: HostInput;
  readonly stdout: HostOutput;
  readonly stderr: HostOutput;
  readonly files: MemoryFileSystem;
  /** Everything written to the two streams that no callback took. */
  readonly written: { stdout: Uint8Array[]; stderr: Uint8Array[] } = { stdout: [], stderr: [] };
  readonly #options: MemoryHostOptions;

  constructor(options: MemoryHostOptions = {}) {
    this.#options = options;
    const { written } = this;
    this.stdin = new MemoryStream("pipe:[1]", abi.O_RDONLY, encode(options.stdin ?? ""), () => {});
    const output = (name: "stdout" | "stderr"): MemoryStream => {
      const take = options[name] ?? ((bytes: Uint8Array) => written[name].push(bytes));
      return new MemoryStream(`/dev/${name}`, abi.O_WRONLY, new Uint8Array(0), take);
    };
    this.stdout = output("stdout");
    this.stderr = output("stderr");
    this.files = new MemoryFileSystem(() => this.realtimeNs());
    for (const [path, content] of Object.entries(options.files ?? {})) this.addFile(path, content);
  }

  /** Puts a file into the file system, with the directories above it. */
  addFile(path: string, content: Uint8Array | string, mode = 0o755): void {
    const names = textToPath(path).split("/");
    for (let i = 2; i < names.length; i++) {
      try {
        this.files.mkdir(names.slice(0, i).join("/"), 0o755);
      } catch (error) {
        if (!(error instanceof SyscallError) || error.message !== "EEXIST") throw error;
      }
    }
    this.files.open(textToPath(path), abi.O_CREAT | abi.O_TRUNC | abi.O_WRONLY, mode).write(encode(content), 0);
  }

  /** What the guest wrote to a stream, as text. */
  text(stream: "stdout" | "stderr"): string {
    const decoder = new TextDecoder();
    return this.written[stream].map((bytes) => decoder.decode(bytes, { stream: true })).join("") + decoder.decode();
  }

  monotonicNs(): number {
    return this.#options.monotonicNs?.() ?? performance.now() * 1e6;
  }

  realtimeNs(): bigint {
    return this.#options.realtimeNs?.() ?? BigInt(Date.now()) * 1_000_000n;
  }

  randomBytes(bytes: Uint8Array): void {
    if (this.#options.randomBytes !== undefined) {
      this.#options.randomBytes(bytes);
      return;
    }
    const chunk = new Uint8Array(Math.min(bytes.length, 0x1_0000));
    for (let at = 0; at < bytes.length; at += chunk.length) {
      crypto.getRandomValues(chunk);
      bytes.set(chunk.subarray(0, bytes.length - at), at);
    }
  }

  hostName(): string {
    return this.#options.hostName ?? "goemu";
  }

  umask(mask: number): number {
    const old = this.files.umask;
    this.files.umask = mask;
    return old;
  }

  close(): void {}
}
