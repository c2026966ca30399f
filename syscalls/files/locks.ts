import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { HeldLock, HostLocks } from "../../host/locks.ts";
import { MemoryLocks } from "../../host/memory/memory-locks.ts";
import { SyscallError } from "../abi/errno.ts";
import { Block, type SyscallResult } from "../block.ts";
import type { FileDescription } from "./description.ts";

/** The last byte that a lock can reach to (include/linux/fs.h, OFFSET_MAX). */
export const OFFSET_MAX = 0x7fff_ffff_ffff_ffffn;
/** How often locks that other machines hold are looked at again, in ms. */
const RETRY_MS = 10;

/** What is asked for: a lock, or that none is left there. */
export interface LockRequest {
  readonly kind: HeldLock["kind"];
  readonly type: "shared" | "exclusive" | "none";
  readonly start: bigint;
  readonly end: bigint;
  /** Does it belong to the open file description (flock(2), F_OFD_SETLK), or to the process? */
  readonly byDescription: boolean;
}

/**
 * The locks that a process takes (Linux: fs/locks.c). They are kept where all machines of a user see them; what has no
 * file of the host's behind it, only this process can lock.
 */
export class FileLocks {
  readonly #host: { readonly locks?: HostLocks | undefined };
  /** Where locks were taken that others see. */
  #used: HostLocks | undefined;
  readonly #own = new MemoryLocks();
  /** Woken when this process gives locks back. */
  readonly #released = new WaitQueue();
  readonly #wakeUp: () => void;
  /** What names descriptions that have locks. */
  readonly #names = new Map<FileDescription, string>();
  /** Files on which the process itself, not a description of it, has or had locks. */
  readonly #locked = new Set<string>();
  /** Machines that calls under way wait for. */
  readonly #waits = new Map<object, readonly string[]>();
  #nextName = 1;

  constructor(host: { readonly locks?: HostLocks | undefined }, wakeUp: () => void) {
    this.#host = host;
    this.#wakeUp = wakeUp;
  }

  #storeOf(description: FileDescription): HostLocks {
    if (description.host === undefined) return this.#own;
    this.#used ??= this.#host.locks;
    return this.#used ?? this.#own;
  }

  #ownerOf(description: FileDescription, store: HostLocks, byDescription: boolean): string {
    if (!byDescription) return store.self;
    let name = this.#names.get(description);
    if (name === undefined) {
      name = String(this.#nextName++);
      this.#names.set(description, name);
      description.onRelease.add(() => this.#forget(description));
    }
    return `${store.self} ${name}`;
  }

  /** The last descriptor of a description is gone, and its locks with it. */
  #forget(description: FileDescription): void {
    const store = this.#storeOf(description);
    const owner = this.#ownerOf(description, store, true);
    this.#names.delete(description);
    store.update(fileOf(description), (locks) => locks.filter((lock) => lock.owner !== owner));
    this.#released.wake();
  }

  /** The process has closed a descriptor of the file: all of its own record locks there are gone (fcntl(2)). */
  closed(description: FileDescription): void {
    if (this.#locked.size === 0 || !this.#locked.delete(fileOf(description))) return;
    const store = this.#storeOf(description);
    store.update(fileOf(description), (locks) => locks.filter(({ owner }) => owner !== store.self));
    this.#released.wake();
  }

  /** The first lock that keeps a request from being granted; undefined if there is none. */
  conflict(description: FileDescription, request: LockRequest): HeldLock | undefined {
    const store = this.#storeOf(description);
    const owner = this.#ownerOf(description, store, request.byDescription);
    let found: HeldLock | undefined;
    store.update(fileOf(description), (locks) => {
      found = conflicting(locks, request, owner);
      return undefined;
    });
    return found;
  }

  /** Takes or gives back a lock; the one that is in the way if that can't be done now. */
  #attempt(description: FileDescription, request: LockRequest, pid: number): HeldLock | undefined {
    const store = this.#storeOf(description);
    const owner = this.#ownerOf(description, store, request.byDescription);
    let found: HeldLock | undefined;
    let hadSome = false;
    store.update(fileOf(description), (locks) => {
      hadSome = locks.some((lock) => isIn(lock, request, owner));
      found = request.type === "none" ? undefined : conflicting(locks, request, owner);
      // A flock that is to become another kind is given up before, whether it can be had or not (flock(2)).
      if (found !== undefined) return request.kind === "flock" ? without(locks, request, owner, pid) : undefined;
      return changed(locks, request, owner, pid);
    });
    if (found === undefined && !request.byDescription) this.#locked.add(fileOf(description));
    // What he had may have been more than what he has now.
    if (hadSome && (found === undefined || request.kind === "flock")) this.#released.wake();
    return found;
  }

  /**
   * Sets a lock, at once or as soon as nobody else's is in the way.
   * @param pid what others are told of its owner
   */
  set(description: FileDescription, request: LockRequest, wait: boolean, pid: number): SyscallResult {
    const first = this.#attempt(description, request, pid);
    if (first === undefined) return 0;
    if (!wait) throw new SyscallError("EAGAIN");
    this.#refuseDeadlock(description, request, first);
    description.acquire();
    const call = {};
    const timer = this.#used === undefined ? undefined : setInterval(() => this.#lookAgain(), RETRY_MS);
    this.#setWaits(call, request.byDescription ? [] : [machineOf(first)]);
    return new Block({
      on: [this.#released],
      retry: () => (this.#attempt(description, request, pid) === undefined ? 0 : null),
      cleanup: () => {
        clearInterval(timer);
        this.#setWaits(call, []);
        description.release();
      },
    });
  }

  #lookAgain(): void {
    this.#released.wake();
    this.#wakeUp();
  }

  #setWaits(call: object, machines: readonly string[]): void {
    if (machines.length > 0) this.#waits.set(call, machines);
    else if (!this.#waits.delete(call)) return;
    this.#used?.setWaits([...this.#waits.values()].flat());
  }

  /** Would the wait close a circle of processes that wait for each other (fs/locks.c, posix_locks_deadlock)? */
  #refuseDeadlock(description: FileDescription, request: LockRequest, first: HeldLock): void {
    const store = this.#storeOf(description);
    if (request.byDescription || first.pid === -1) return;
    const seen = new Set<string>();
    const next = [machineOf(first)];
    for (let machine = next.pop(); machine !== undefined; machine = next.pop()) {
      if (machine === store.self) throw new SyscallError("EDEADLK");
      if (seen.has(machine)) continue;
      seen.add(machine);
      next.push(...store.waitsOf(machine));
    }
  }

  /** Gives everything back at the end of the process. */
  close(): void {
    this.#used?.close();
    this.#own.close();
  }
}

/** What names a file among all: device and inode. */
function fileOf(description: FileDescription): string {
  const { dev, ino } = description.stat();
  return `${dev}-${ino}`;
}

const machineOf = ({ owner }: HeldLock): string => owner.split(" ")[0];

function conflicting(locks: readonly HeldLock[], request: LockRequest, owner: string): HeldLock | undefined {
  return locks.find(
    (lock) =>
      lock.kind === request.kind &&
      lock.owner !== owner &&
      (lock.exclusive || request.type === "exclusive") &&
      lock.start <= request.end &&
      request.start <= lock.end,
  );
}

/** Has the owner this lock in the range of a request? */
function isIn(lock: HeldLock, request: LockRequest, owner: string): boolean {
  const { kind, start, end } = request;
  return lock.kind === kind && lock.owner === owner && lock.start <= end && start <= lock.end;
}

/** The locks without what the owner has in the range of a request: others of his are cut or split. */
function without(locks: readonly HeldLock[], request: LockRequest, owner: string, pid: number): HeldLock[] {
  const { start, end } = request;
  return locks.flatMap((lock) => {
    if (!isIn(lock, request, owner)) return [lock];
    const rest: HeldLock[] = [];
    if (lock.start < start) rest.push({ ...lock, pid, end: start - 1n });
    if (lock.end > end) rest.push({ ...lock, pid, start: end + 1n });
    return rest;
  });
}

/** The locks after a request was granted; neighbours of one kind become one (posix_lock_inode). */
function changed(locks: readonly HeldLock[], request: LockRequest, owner: string, pid: number): HeldLock[] {
  const rest = without(locks, request, owner, pid);
  if (request.type === "none") return rest;
  const exclusive = request.type === "exclusive";
  let { start, end } = request;
  const others = rest.filter((lock) => {
    const isHis = lock.kind === request.kind && lock.owner === owner && lock.exclusive === exclusive;
    if (!isHis || lock.end + 1n < start || end + 1n < lock.start) return true;
    if (lock.start < start) start = lock.start;
    if (lock.end > end) end = lock.end;
    return false;
  });
  const his = (lock: HeldLock): boolean => lock.kind === request.kind && lock.owner === owner;
  const all = [...others.filter(his), { kind: request.kind, owner, pid, exclusive, start, end }];
  return [...others.filter((lock) => !his(lock)), ...all.sort((a, b) => (a.start < b.start ? -1 : 1))];
}
