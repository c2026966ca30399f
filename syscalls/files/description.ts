import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { HostFile } from "../../host/host.ts";
import type { Inheritance } from "../../host/processes.ts";
import { errno, SyscallError } from "../abi/errno.ts";
import { O_ACCMODE, O_NONBLOCK, O_PATH, O_RDONLY, O_WRONLY } from "../abi/fcntl.ts";
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import type { Process } from "../process.ts";
import type { Thread } from "../thread.ts";
import type { IoVector } from "./io-vector.ts";
import type { FileIdentity } from "./shared-files.ts";
import { SignalDriven } from "./signal-driven.ts";

/** What read and write return when they would have to wait. */
export const WOULD_BLOCK = -errno.EAGAIN;

/** The bytes of a file as mmap(2) sees them: independent of any offset. */
export interface Mappable {
  readonly path: string;
  /** The same for all that are this file. */
  readonly identity: FileIdentity;
  stat(): FileStat;
  /** Reads at `position`; returns how many bytes there were. */
  readAt(into: Uint8Array, position: number): number;
  writeAt(from: Uint8Array, position: number): number;
}

/**
 * An open file description (open(2), "Open file descriptions"; Linux: struct file): what descriptors made by dup(2)
 * share. One subclass a kind; methods that a kind does not have fail as Linux's do.
 */
export abstract class FileDescription {
  /** Access mode and status flags, as F_GETFL shows them. */
  flags: number;
  /** Where read and write go on, for kinds that can seek. */
  offset = 0;
  /** Woken whenever poll() may tell something new. */
  readonly queue: WaitQueue;
  /** Runs when the last descriptor is gone; epoll sets take the description out. */
  readonly onRelease = new Set<() => void>();
  #references = 0;
  #signalDriven: SignalDriven | undefined;

  /** @param queue given if several descriptions are woken by the same events */
  constructor(flags: number, queue = new WaitQueue()) {
    this.flags = flags;
    this.queue = queue;
  }

  /** What the link in /proc/self/fd shows: a path or "kind:[inode]". A byte string. */
  abstract get path(): string;
  abstract stat(): FileStat;

  /** Lines of its own in /proc/self/fdinfo, behind those that all files have. */
  get info(): string {
    return "";
  }

  get readable(): boolean {
    return (this.flags & O_ACCMODE) !== O_WRONLY && !(this.flags & O_PATH);
  }

  get writable(): boolean {
    return (this.flags & O_ACCMODE) !== O_RDONLY && !(this.flags & O_PATH);
  }

  get nonblocking(): boolean {
    return (this.flags & O_NONBLOCK) !== 0;
  }

  /** Can epoll watch it? Regular files and directories cannot be watched (epoll_ctl(2), EPERM). */
  get pollable(): boolean {
    return true;
  }

  /** Is there an offset (pread, lseek), or is it a stream? */
  get seekable(): boolean {
    return false;
  }

  /** Can it tell its owner by signals (O_ASYNC; Linux: file_operations.fasync)? */
  get canSignal(): boolean {
    return false;
  }

  /** Its owner, and the signals that it is sent. */
  get signalDriven(): SignalDriven {
    return (this.#signalDriven ??= new SignalDriven(this));
  }

  /** Does a write that may wait go on until everything is written (pipes, streams)? */
  get writesAll(): boolean {
    return false;
  }

  /** Reads on from the offset; returns a byte count, 0 at the end, or WOULD_BLOCK. */
  read(_to: IoVector): number {
    throw new SyscallError("EINVAL");
  }

  /** A read that has waited is over, however it ended. */
  endRead(_to: IoVector): void {}

  write(_from: IoVector): number {
    throw new SyscallError("EINVAL");
  }

  /** CLOCK_MONOTONIC time until which a read, a write may wait (sockets: SO_RCVTIMEO, SO_SNDTIMEO). */
  readDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  writeDeadline(): number {
    return Number.POSITIVE_INFINITY;
  }

  readAt(_to: IoVector, _position: number): number {
    throw new SyscallError("ESPIPE");
  }

  writeAt(_from: IoVector, _position: number): number {
    throw new SyscallError("ESPIPE");
  }

  /** lseek(2). */
  seek(_offset: number, _whence: number): number {
    throw new SyscallError("ESPIPE");
  }

  /** Where read and write go on now. */
  get position(): number {
    return this.offset;
  }

  /** Read and write go on at `offset`. */
  moveTo(offset: number): void {
    this.offset = offset;
  }

  /** POLL* bits that are true now (poll(2)). */
  poll(): number {
    return POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM;
  }

  /** Does the answer of poll() depend on which thread asks (signalfd(2))? */
  get pollDependsOnCaller(): boolean {
    return false;
  }

  /** A request that only this kind knows; undefined if it does not know it either. `argument` is an address. */
  ioctl(_process: Process, _request: number, _argument: number, _thread: Thread): number | undefined {
    return undefined;
  }

  /** Must the caller wait before it may make such a request? It has been sent a signal then. @throws SyscallError EIO */
  waitsToChange(_process: Process, _request: number): boolean {
    return false;
  }

  truncate(_size: number): void {
    throw new SyscallError("EINVAL");
  }

  sync(_dataOnly: boolean): void {
    throw new SyscallError("EINVAL");
  }

  /**
   * A new description of the same thing, as opening /proc/self/fd/N gives; what has no name cannot be opened again
   * (Linux: fs/open.c, no_open: ENXIO).
   */
  reopen(_flags: number): FileDescription {
    throw new SyscallError("ENXIO");
  }

  /** Takes over changed status flags (F_SETFL). */
  setStatus(flags: number): void {
    this.flags = flags;
  }

  /** The host's file behind it, for operations on metadata. */
  get host(): HostFile | undefined {
    return undefined;
  }

  /** What mmap(2) maps; undefined if the kind cannot be mapped (ENODEV). */
  get mappable(): Mappable | undefined {
    return undefined;
  }

  /** What a child process gets for it; undefined if it can't be handed on: then the child starts without. */
  inherit(): Inheritance | undefined {
    return undefined;
  }

  /** One more descriptor, or one more call in flight, uses it. */
  acquire(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references > 0) return;
    for (const forget of [...this.onRelease]) forget();
    this.onRelease.clear();
    this.destroy();
  }

  /** Gives back what the description holds. */
  protected destroy(): void {}
}
