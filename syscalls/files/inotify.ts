import type { HostFile } from "../../host/host.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_NONBLOCK, O_RDONLY } from "../abi/fcntl.ts";
import * as abi from "../abi/inotify.ts";
import { POLLIN, POLLRDNORM } from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import { anonymousStat } from "./anonymous.ts";
import { FileDescription, WOULD_BLOCK } from "./description.ts";
import type { IoVector } from "./io-vector.ts";
import { pathToBytes } from "./path.ts";

interface Event {
  readonly wd: number;
  readonly mask: number;
  readonly cookie: number;
  readonly name: string;
}

/** What an inode is watched for, by one inotify instance. */
export interface Watch {
  readonly owner: Inotify;
  readonly wd: number;
  /** Device and inode. */
  readonly key: string;
  mask: number;
  readonly isDirectory: boolean;
  /** Holds on to the inode, and knows its path. */
  readonly file: HostFile | undefined;
  /** Ends the host's telling of changes. */
  stop: (() => void) | undefined;
}

/** Size of a struct inotify_event without its name; names are filled up to a multiple of it. */
const HEAD = 16;
const sizeOf = (name: string): number => HEAD + (name === "" ? 0 : Math.ceil((name.length + 1) / HEAD) * HEAD);

/** An inotify instance (inotify_init(2); Linux: fs/notify/inotify): events of what it watches, in order. */
export class Inotify extends FileDescription {
  readonly #id: bigint;
  readonly #forget: (watch: Watch) => void;
  readonly #events: Event[] = [];
  readonly watches = new Map<number, Watch>();
  #lastWd = 0;

  /** @param forget takes a watch out of the table by inode */
  constructor(id: bigint, flags: number, forget: (watch: Watch) => void) {
    super(O_RDONLY | (flags & O_NONBLOCK));
    this.#id = id;
    this.#forget = forget;
  }

  override get canSignal(): boolean {
    return true;
  }

  override get path(): string {
    return "anon_inode:inotify";
  }

  override stat(): FileStat {
    return anonymousStat(this.#id, 0o600);
  }

  /** A line for each watch (fs/notify/fdinfo.c, inotify_fdinfo). */
  override get info(): string {
    const line = ({ wd, key, mask }: Watch): string => {
      const [dev, ino] = key.split(":").map(BigInt);
      const events = (mask & abi.IN_ALL_EVENTS).toString(16);
      return `inotify wd:${wd.toString(16)} ino:${ino.toString(16)} sdev:${dev.toString(16)} mask:${events} ignored_mask:0\n`;
    };
    return [...this.watches.values()].map(line).join("");
  }

  /** Bytes that a read would give (ioctl FIONREAD). */
  get buffered(): number {
    return this.#events.reduce((sum, { name }) => sum + sizeOf(name), 0);
  }

  override seek(): number {
    return 0;
  }

  add(watch: Omit<Watch, "wd" | "owner">): Watch {
    const added: Watch = { ...watch, owner: this, wd: ++this.#lastWd };
    this.watches.set(added.wd, added);
    return added;
  }

  /** Tells of an event, if the watch is for it. */
  tell(watch: Watch, mask: number, name = "", cookie = 0): void {
    if (!(watch.mask & mask & abi.IN_ALL_EVENTS) || this.watches.get(watch.wd) !== watch) return;
    this.#push({ wd: watch.wd, mask, cookie, name });
    if (watch.mask & abi.IN_ONESHOT) this.remove(watch);
  }

  /** The watch is over, and the guest is told. */
  remove(watch: Watch): void {
    if (!this.watches.delete(watch.wd)) return;
    this.#end(watch);
    this.#push({ wd: watch.wd, mask: abi.IN_IGNORED, cookie: 0, name: "" });
  }

  #end(watch: Watch): void {
    watch.stop?.();
    watch.file?.close();
    this.#forget(watch);
  }

  #push(event: Event): void {
    const last = this.#events.at(-1);
    const isSame =
      last?.wd === event.wd && last.mask === event.mask && last.cookie === event.cookie && last.name === event.name;
    if (isSame && event.mask !== abi.IN_IGNORED) return;
    if (this.#events.length > abi.MAX_QUEUED_EVENTS) return;
    const isFull = this.#events.length === abi.MAX_QUEUED_EVENTS;
    this.#events.push(isFull ? { wd: -1, mask: abi.IN_Q_OVERFLOW, cookie: 0, name: "" } : event);
    this.queue.wake();
  }

  override read(to: IoVector): number {
    const before = to.done;
    while (this.#events.length > 0) {
      const { wd, mask, cookie, name } = this.#events[0];
      const size = sizeOf(name);
      if (to.remaining < size) {
        if (to.done === before) throw new SyscallError("EINVAL");
        break;
      }
      const bytes = new Uint8Array(size);
      const view = new DataView(bytes.buffer);
      view.setInt32(0, wd, true);
      view.setUint32(4, mask, true);
      view.setUint32(8, cookie, true);
      view.setUint32(12, size - HEAD, true);
      bytes.set(pathToBytes(name), HEAD);
      this.#events.shift();
      if (to.put(bytes) < size) to.fault();
    }
    return to.done > before ? to.done - before : WOULD_BLOCK;
  }

  override poll(): number {
    return this.#events.length > 0 ? POLLIN | POLLRDNORM : 0;
  }

  protected override destroy(): void {
    for (const watch of this.watches.values()) this.#end(watch);
    this.watches.clear();
  }
}
