import { SyscallError } from "../syscalls/abi/errno.ts";
import { MAXSYMLINKS, O_CREAT, O_NOFOLLOW } from "../syscalls/abi/fcntl.ts";
import type { FileStat, FileSystemStat } from "../syscalls/abi/stat.ts";
import type { HostDirectoryEntry, HostFile, HostFileSystem } from "./host.ts";

/**
 * A host's files with a folder put under them, as qemu's -L does: an absolute path that exists in the folder is looked up
 * there, so that a program finds the dynamic linker and the libraries that it was built for. What is made, changed by name or
 * removed is the host's own, and so is all that the folder does not have. Absolute symbolic links in the folder stay in it.
 */
export class SysrootFiles implements HostFileSystem {
  readonly #host: HostFileSystem;
  readonly #root: string;

  /** @param root path of the folder, as a byte string like all paths of HostFileSystem */
  constructor(host: HostFileSystem, root: string) {
    this.#host = host;
    this.#root = host.realPath(root);
  }

  /** Where a path leads: into the folder, if that has it. `follow`: does a symbolic link as the last name count? */
  #find(path: string, follow: boolean): string {
    if (!path.startsWith("/") || path === this.#root || path.startsWith(`${this.#root}/`)) return path;
    let names = path.split("/");
    const found: string[] = [];
    for (let links = 0; names.length > 0; ) {
      const name = names.shift() as string;
      if (name === "" || name === ".") continue;
      if (name === "..") {
        found.pop();
        continue;
      }
      const at = [this.#root, ...found, name].join("/");
      const target = names.length > 0 || follow ? this.#linkTarget(at) : undefined;
      if (target === undefined) {
        found.push(name);
        continue;
      }
      if (++links > MAXSYMLINKS) throw new SyscallError("ELOOP");
      if (target.startsWith("/")) found.length = 0;
      names = [...target.split("/"), ...names];
    }
    const inside = [this.#root, ...found].join("/");
    try {
      this.#host.stat(inside, false);
      return inside;
    } catch {
      return path;
    }
  }

  #linkTarget(path: string): string | undefined {
    try {
      return this.#host.readLink(path);
    } catch {
      return undefined;
    }
  }

  open(path: string, flags: number, mode: number): HostFile {
    const at = flags & O_CREAT ? path : this.#find(path, !(flags & O_NOFOLLOW));
    return this.#host.open(at, flags, mode);
  }

  stat(path: string, follow: boolean): FileStat {
    return this.#host.stat(this.#find(path, follow), follow);
  }

  readDirectory(path: string): HostDirectoryEntry[] {
    return this.#host.readDirectory(this.#find(path, true));
  }

  readLink(path: string): string {
    return this.#host.readLink(this.#find(path, false));
  }

  access(path: string, mode: number): void {
    this.#host.access(this.#find(path, true), mode);
  }

  fileSystem(path: string): FileSystemStat {
    return this.#host.fileSystem(this.#find(path, true));
  }

  realPath(path: string): string {
    return this.#host.realPath(this.#find(path, true));
  }

  mkdir(path: string, mode: number): void {
    this.#host.mkdir(path, mode);
  }

  rmdir(path: string): void {
    this.#host.rmdir(path);
  }

  unlink(path: string): void {
    this.#host.unlink(path);
  }

  rename(from: string, to: string): void {
    this.#host.rename(from, to);
  }

  link(from: string, to: string): void {
    this.#host.link(from, to);
  }

  symlink(target: string, path: string): void {
    this.#host.symlink(target, path);
  }

  truncate(path: string, size: number): void {
    this.#host.truncate(path, size);
  }

  chmod(path: string, mode: number): void {
    this.#host.chmod(path, mode);
  }

  chown(path: string, uid: number, gid: number, follow: boolean): void {
    this.#host.chown(path, uid, gid, follow);
  }

  setTimes(path: string, atimeNs: bigint | undefined, mtimeNs: bigint | undefined, follow: boolean): void {
    this.#host.setTimes(path, atimeNs, mtimeNs, follow);
  }

  currentDirectory(): string {
    return this.#host.currentDirectory();
  }
}
