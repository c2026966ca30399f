import { GuestFault } from "../../emu/memory/guest-memory.ts";
import { SyscallError } from "../abi/errno.ts";
import { O_RDWR } from "../abi/fcntl.ts";
import {
  EPOLL_PRIVATE,
  EPOLLET,
  EPOLLEXCLUSIVE,
  EPOLLONESHOT,
  EPOLLWAKEUP,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLOUT,
  POLLRDNORM,
} from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import { anonymousStat } from "./anonymous.ts";
import { FileDescription } from "./description.ts";

/** How deep epoll sets may watch each other (fs/eventpoll.c, EP_MAX_NESTS). */
const MAX_NESTS = 4;
/** Bits that may stand beside EPOLLEXCLUSIVE (fs/eventpoll.c, EPOLLEXCLUSIVE_OK_BITS). */
const EXCLUSIVE_OK = (POLLIN | POLLOUT | POLLERR | POLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE) >>> 0;

interface Item {
  readonly fd: number;
  readonly description: FileDescription;
  events: number;
  data: bigint;
  /** Takes the item out of the description's queue. */
  detach(): void;
}

/** An epoll set (epoll(7); Linux: fs/eventpoll.c). */
export class Epoll extends FileDescription {
  readonly #items = new Map<FileDescription, Map<number, Item>>();
  /** Items that something happened to, in the order in which they are reported. */
  readonly #ready = new Set<Item>();
  readonly #id: bigint;

  constructor(id: bigint) {
    super(O_RDWR);
    this.#id = id;
  }

  override get path(): string {
    return "anon_inode:[eventpoll]";
  }

  override stat(): FileStat {
    return anonymousStat(this.#id, 0o600);
  }

  #find(fd: number, description: FileDescription): Item | undefined {
    return this.#items.get(description)?.get(fd);
  }

  /** EPOLL_CTL_ADD. @throws SyscallError EEXIST, EINVAL, ELOOP */
  add(fd: number, description: FileDescription, events: number, data: bigint): void {
    if (events & EPOLLEXCLUSIVE && (description instanceof Epoll || events & ~EXCLUSIVE_OK)) {
      throw new SyscallError("EINVAL");
    }
    if (description instanceof Epoll) description.#refuseLoop(this);
    if (this.#find(fd, description) !== undefined) throw new SyscallError("EEXIST");
    const wake = (): void => this.#happened(item);
    const forget = (): void => this.#forget(item);
    const item: Item = {
      fd,
      description,
      events: (events | POLLERR | POLLHUP) >>> 0,
      data,
      detach: () => {
        description.queue.remove(wake);
        description.onRelease.delete(forget);
      },
    };
    description.queue.add(wake);
    description.onRelease.add(forget);
    const items = this.#items.get(description) ?? new Map<number, Item>();
    this.#items.set(description, items.set(fd, item));
    this.#happened(item);
  }

  /** EPOLL_CTL_MOD; also arms a one-shot item again. @throws SyscallError ENOENT, EINVAL */
  modify(fd: number, description: FileDescription, events: number, data: bigint): void {
    if (events & EPOLLEXCLUSIVE) throw new SyscallError("EINVAL");
    const item = this.#find(fd, description);
    if (item === undefined) throw new SyscallError("ENOENT");
    if (item.events & EPOLLEXCLUSIVE) throw new SyscallError("EINVAL");
    item.events = (events | POLLERR | POLLHUP) >>> 0;
    item.data = data;
    this.#happened(item);
  }

  /** EPOLL_CTL_DEL. @throws SyscallError ENOENT */
  delete(fd: number, description: FileDescription): void {
    const item = this.#find(fd, description);
    if (item === undefined) throw new SyscallError("ENOENT");
    this.#forget(item);
  }

  #forget(item: Item): void {
    item.detach();
    this.#ready.delete(item);
    const items = this.#items.get(item.description);
    items?.delete(item.fd);
    if (items?.size === 0) this.#items.delete(item.description);
  }

  /** Would watching this set close a circle through `other`, or nest too deep (ep_loop_check)? */
  #refuseLoop(other: Epoll, depth = 0): void {
    if (this === other || depth > MAX_NESTS) throw new SyscallError("ELOOP");
    for (const description of this.#items.keys()) {
      if (description instanceof Epoll) description.#refuseLoop(other, depth + 1);
    }
  }

  /** What an item has to report now. A one-shot item that has fired has nothing until it is armed again. */
  #mask(item: Item): number {
    const wanted = item.events & ~EPOLL_PRIVATE;
    return wanted === 0 ? 0 : item.description.poll() & wanted;
  }

  #happened(item: Item): void {
    // Whoever waits has to see for himself what is there for him, as ep_poll_callback leaves it to ep_send_events.
    if (!item.description.pollDependsOnCaller && this.#mask(item) === 0) return;
    this.#ready.add(item);
    this.queue.wake();
  }

  /** POLLIN while something can be reported: sets can be watched themselves. */
  override poll(): number {
    for (const item of [...this.#ready]) {
      if (this.#mask(item) !== 0) return POLLIN | POLLRDNORM;
      this.#ready.delete(item);
    }
    return 0;
  }

  /**
   * Reports at most `max` items. Level-triggered ones stay, behind the others; edge-triggered ones leave until the next
   * event; one-shot ones are disarmed (ep_send_events).
   * @param store takes one report; may throw GuestFault, which counts only if nothing was stored before
   */
  collect(max: number, store: (index: number, events: number, data: bigint) => void): number {
    if (this.#ready.size === 0) return 0;
    let count = 0;
    for (const item of [...this.#ready]) {
      if (count === max) break;
      const mask = this.#mask(item);
      if (mask === 0) {
        this.#ready.delete(item);
        continue;
      }
      try {
        store(count, mask, item.data);
      } catch (error) {
        if (count > 0 && error instanceof GuestFault) return count;
        throw error;
      }
      count++;
      this.#ready.delete(item);
      if (item.events & EPOLLONESHOT) item.events = (item.events & EPOLL_PRIVATE) >>> 0;
      else if (!(item.events & EPOLLET)) this.#ready.add(item);
    }
    return count;
  }

  protected override destroy(): void {
    for (const items of [...this.#items.values()]) for (const item of [...items.values()]) this.#forget(item);
  }
}
