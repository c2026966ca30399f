import type { Host } from "../../host/host.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_PATH } from "../abi/fcntl.ts";
import * as abi from "../abi/inotify.ts";
import { type FileStat, S_IFDIR, S_IFMT } from "../abi/stat.ts";
import type { FileDescription } from "./description.ts";
import type { FdTable } from "./fd-table.ts";
import { Inotify, type Watch } from "./inotify.ts";

/** What of a file tells whether somebody has changed it. */
interface Seen {
  readonly ino: bigint;
  readonly size: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly isDirectory: boolean;
}

const keyOf = ({ dev, ino }: FileStat): string => `${dev}:${ino}`;
const isDirectory = ({ mode }: FileStat): boolean => (mode & S_IFMT) === S_IFDIR;
const seenOf = (stat: FileStat): Seen => ({
  ino: stat.ino,
  size: stat.size,
  mtimeNs: stat.mtimeNs,
  ctimeNs: stat.ctimeNs,
  isDirectory: isDirectory(stat),
});

/** A path's directory and last name. */
function split(path: string): [directory: string, name: string] {
  const end = path.replace(/\/+$/, "");
  const slash = end.lastIndexOf("/");
  return [end.slice(0, slash) || "/", end.slice(slash + 1)];
}

/**
 * Who watches what (inotify(7)). What the guest does itself it is told of at once, exactly and in order, by whoever
 * carries its system calls out. What other programs do the host tells of later, and only that something about a name has
 * changed: what that was is worked out from what the names were like before, which also tells the guest's own changes from
 * others'.
 */
export class Watches {
  readonly #host: Host;
  readonly #tables: Iterable<FdTable>;
  readonly #wakeUp: () => void;
  readonly #byInode = new Map<string, Set<Watch>>();
  /** Names of watched directories, and watched files under the name "", as they were last seen, by inode. */
  readonly #seen = new Map<string, Map<string, Seen>>();
  /** Names of which the host said something, by watch. */
  readonly #told = new Map<Watch, Set<string>>();
  #lastCookie = 0;

  /** @param tables of descriptors, of all processes */
  constructor(host: Host, tables: Iterable<FdTable>, wakeUp: () => void) {
    this.#host = host;
    this.#tables = tables;
    this.#wakeUp = wakeUp;
  }

  /** Is anything watched at all? */
  get isActive(): boolean {
    return this.#byInode.size > 0;
  }

  create(id: bigint, flags: number): Inotify {
    return new Inotify(id, flags, (watch) => this.#forget(watch));
  }

  #forget(watch: Watch): void {
    const watches = this.#byInode.get(watch.key);
    watches?.delete(watch);
    this.#told.delete(watch);
    if (watches?.size !== 0) return;
    this.#byInode.delete(watch.key);
    this.#seen.delete(watch.key);
  }

  /**
   * inotify_add_watch(2).
   * @param path of the host; undefined for what lies in our own trees, where nothing changes
   */
  add(owner: Inotify, path: string | undefined, stat: FileStat, mask: number): number {
    const key = keyOf(stat);
    const events = mask & (abi.IN_ALL_EVENTS | abi.IN_EXCL_UNLINK | abi.IN_ONESHOT);
    const existing = [...(this.#byInode.get(key) ?? [])].find((watch) => watch.owner === owner);
    if (existing !== undefined) {
      if (mask & abi.IN_MASK_CREATE) throw new SyscallError("EEXIST");
      existing.mask = mask & abi.IN_MASK_ADD ? existing.mask | events : events;
      return existing.wd;
    }
    if (owner.watches.size >= abi.MAX_USER_WATCHES) throw new SyscallError("ENOSPC");
    const file = path === undefined ? undefined : this.#host.files.open(path, O_PATH, 0);
    const watch = owner.add({ key, mask: events, isDirectory: isDirectory(stat), file, stop: undefined });
    const watches = this.#byInode.get(key);
    if (watches !== undefined) watches.add(watch);
    else this.#byInode.set(key, new Set([watch]));
    if (file !== undefined && this.#host.files.watch !== undefined) {
      if (watches === undefined) this.#seen.set(key, this.#look(file.prefix, stat));
      watch.stop = this.#host.files.watch(file.prefix, (name) => this.#hostTold(watch, name));
    }
    return watch.wd;
  }

  #statOf(path: string): FileStat | undefined {
    try {
      return this.#host.files.stat(path, false);
    } catch {
      return undefined;
    }
  }

  #look(path: string, stat: FileStat): Map<string, Seen> {
    const seen = new Map([["", seenOf(stat)]]);
    if (!isDirectory(stat)) return seen;
    for (const { name } of this.#host.files.readDirectory(path)) {
      const found = this.#statOf(`${path}/${name}`);
      if (found !== undefined) seen.set(name, seenOf(found));
    }
    return seen;
  }

  #tellAll(key: string | undefined, mask: number, name = "", cookie = 0): void {
    if (key === undefined) return;
    for (const watch of [...(this.#byInode.get(key) ?? [])]) watch.owner.tell(watch, mask, name, cookie);
  }

  /** Takes note of what a name is like now that the guest itself has changed it. */
  #remember(key: string | undefined, directory: string, name: string): void {
    const seen = key === undefined ? undefined : this.#seen.get(key);
    if (seen === undefined) return;
    const stat = this.#statOf(`${directory}/${name}`);
    if (stat === undefined) seen.delete(name);
    else seen.set(name, seenOf(stat));
  }

  /** The same for what is watched itself. */
  #rememberSelf(key: string): void {
    const [watch] = this.#byInode.get(key) ?? [];
    if (watch?.file !== undefined) this.#seen.get(key)?.set("", seenOf(watch.file.stat()));
  }

  #directoryKey(directory: string): string | undefined {
    try {
      const key = keyOf(this.#host.files.stat(directory, true));
      return this.#byInode.has(key) ? key : undefined;
    } catch {
      return undefined;
    }
  }

  /** Something happened to a name in its directory: it was made, removed, moved. */
  atName(path: string, mask: number, cookie = 0): void {
    const [directory, name] = split(path);
    const key = this.#directoryKey(directory);
    this.#tellAll(key, mask, name, cookie);
    this.#remember(key, directory, name);
  }

  /** Something happened to a file: its directory is told with its name, then the file's own watchers. */
  atFile(path: string | undefined, stat: FileStat, mask: number): void {
    const bits = isDirectory(stat) ? mask | abi.IN_ISDIR : mask;
    if (path !== undefined) this.atName(path, bits);
    const key = keyOf(stat);
    this.#tellAll(key, bits);
    const seen = this.#seen.get(key);
    if (seen !== undefined) seen.set("", seenOf(stat));
  }

  /** The same for an open file. */
  atDescription(description: FileDescription, mask: number): void {
    if (!this.isActive || description.host === undefined) return;
    const stat = description.stat();
    try {
      this.atFile(description.host.path(), stat, mask);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      // It has no name any more: its directory is told under the last one, unless it does not want to be.
      const [directory, name] = split(description.path.replace(/ \(deleted\)$/, ""));
      for (const watch of [...(this.#byInode.get(this.#directoryKey(directory) ?? "") ?? [])]) {
        if (!(watch.mask & abi.IN_EXCL_UNLINK)) watch.owner.tell(watch, mask, name);
      }
      this.#tellAll(keyOf(stat), mask);
    }
  }

  /** The last descriptor of an open file goes. */
  closed(description: FileDescription): void {
    if (!this.isActive) return;
    this.atDescription(description, description.writable ? abi.IN_CLOSE_WRITE : abi.IN_CLOSE_NOWRITE);
    const stat = description.stat();
    if (stat.nlink === 0) this.gone(keyOf(stat), description);
  }

  /** What a file is before a call that may take it away; undefined if nobody watches. */
  before(path: string): FileStat | undefined {
    return this.isActive ? this.#statOf(path) : undefined;
  }

  /** A name of a file was removed (fs/namei.c, vfs_unlink and vfs_rmdir). */
  removed(path: string, stat: FileStat): void {
    const directory = isDirectory(stat);
    if (!directory) this.#tellAll(keyOf(stat), abi.IN_ATTRIB);
    this.#rememberSelf(keyOf(stat));
    if (directory || stat.nlink <= 1) this.gone(keyOf(stat));
    this.atName(path, directory ? abi.IN_DELETE | abi.IN_ISDIR : abi.IN_DELETE);
  }

  /** An inode without names ends when nobody has it open. @param except a description that is about to go */
  gone(key: string, except?: FileDescription): void {
    if (!this.#byInode.has(key)) return;
    for (const table of this.#tables) {
      for (const [, { description }] of table.entries()) {
        if (description !== except && description.host !== undefined && keyOf(description.stat()) === key) return;
      }
    }
    for (const watch of [...(this.#byInode.get(key) ?? [])]) {
      watch.owner.tell(watch, abi.IN_DELETE_SELF);
      watch.owner.remove(watch);
    }
  }

  /** A rename (fsnotify_move). @param replaced what had the new name before */
  moved(from: string, to: string, stat: FileStat, replaced: FileStat | undefined): void {
    const cookie = ++this.#lastCookie;
    const kind = isDirectory(stat) ? abi.IN_ISDIR : 0;
    this.atName(from, abi.IN_MOVED_FROM | kind, cookie);
    this.atName(to, abi.IN_MOVED_TO | kind, cookie);
    if (replaced !== undefined) this.#tellAll(keyOf(replaced), abi.IN_ATTRIB);
    this.#tellAll(keyOf(stat), abi.IN_MOVE_SELF);
    const now = this.#statOf(to);
    if (now !== undefined) this.#seen.get(keyOf(stat))?.set("", seenOf(now));
    if (replaced !== undefined && (isDirectory(replaced) || replaced.nlink <= 1)) this.gone(keyOf(replaced));
  }

  // What the host tells.

  #hostTold(watch: Watch, name: string): void {
    const told = this.#told.get(watch);
    if (told !== undefined) {
      told.add(name);
      return;
    }
    if (this.#told.size === 0) setTimeout(() => this.#workOut(), 0);
    this.#told.set(watch, new Set([name]));
  }

  #workOut(): void {
    const all = [...this.#told];
    this.#told.clear();
    const done = new Set<string>();
    for (const [watch, names] of all) {
      // Several watch the same directory: it is looked at once.
      if (done.has(watch.key) || watch.file === undefined || !this.#byInode.has(watch.key)) continue;
      done.add(watch.key);
      for (const [other, more] of all) if (other.key === watch.key) for (const name of more) names.add(name);
      if (watch.isDirectory) this.#compareNames(watch, names);
      this.#compareSelf(watch);
    }
    this.#wakeUp();
  }

  #compareNames({ key, file }: Watch, names: ReadonlySet<string>): void {
    const seen = this.#seen.get(key);
    if (seen === undefined || file === undefined) return;
    const gone = new Map<bigint, string>();
    const changes: [name: string, old: Seen | undefined, now: Seen | undefined][] = [];
    for (const name of names) {
      if (name === "") continue;
      const stat = this.#statOf(`${file.prefix}/${name}`);
      const [old, now] = [seen.get(name), stat && seenOf(stat)];
      if (now === undefined) seen.delete(name);
      else seen.set(name, now);
      if (old !== undefined && now?.ino !== old.ino) gone.set(old.ino, name);
      changes.push([name, old, now]);
    }
    for (const [name, old, now] of changes) {
      if (now === undefined || now.ino === old?.ino) continue;
      const from = gone.get(now.ino);
      const kind = now.isDirectory ? abi.IN_ISDIR : 0;
      if (from === undefined) continue;
      gone.delete(now.ino);
      const cookie = ++this.#lastCookie;
      this.#tellAll(key, abi.IN_MOVED_FROM | kind, from, cookie);
      this.#tellAll(key, abi.IN_MOVED_TO | kind, name, cookie);
    }
    const moved = new Set(
      changes.filter(([, old]) => old !== undefined && !gone.has(old.ino)).map(([, old]) => old?.ino),
    );
    for (const [name, old, now] of changes) {
      if (old !== undefined && now?.ino !== old.ino && gone.has(old.ino)) {
        this.#tellAll(key, abi.IN_DELETE | (old.isDirectory ? abi.IN_ISDIR : 0), name);
      }
      if (now === undefined) continue;
      const kind = now.isDirectory ? abi.IN_ISDIR : 0;
      if (now.ino !== old?.ino) {
        if (moved.has(now.ino)) continue;
        this.#tellAll(key, abi.IN_CREATE | kind, name);
        if (!now.isDirectory && now.size > 0) this.#tellWritten(key, name);
      } else this.#tellChange(key, name, old, now);
    }
  }

  #tellChange(key: string, name: string, old: Seen, now: Seen): void {
    const kind = now.isDirectory ? abi.IN_ISDIR : 0;
    if (!now.isDirectory && (now.size !== old.size || now.mtimeNs !== old.mtimeNs)) this.#tellWritten(key, name);
    else if (now.ctimeNs !== old.ctimeNs && !now.isDirectory) this.#tellAll(key, abi.IN_ATTRIB | kind, name);
  }

  /** Whoever has written may write on: the host does not tell when he closes the file, so that each time counts as one. */
  #tellWritten(key: string, name = ""): void {
    this.#tellAll(key, abi.IN_MODIFY, name);
    this.#tellAll(key, abi.IN_CLOSE_WRITE, name);
  }

  /** Has something happened to the watched file or directory itself? */
  #compareSelf(watch: Watch): void {
    const seen = this.#seen.get(watch.key);
    const old = seen?.get("");
    if (watch.file === undefined || seen === undefined || old === undefined) return;
    const stat = watch.file.stat();
    seen.set("", seenOf(stat));
    if (stat.nlink === 0) {
      // The guest itself may have removed the name while somebody has the file open.
      if (!watch.isDirectory && stat.ctimeNs !== old.ctimeNs) this.#tellAll(watch.key, abi.IN_ATTRIB);
      this.gone(watch.key);
    } else if (!watch.isDirectory) this.#tellChange(watch.key, "", old, seenOf(stat));
  }
}
