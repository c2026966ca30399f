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

/** What the locks of all processes of a machine have in common. */
class MachineLocks {
  readonly host: { readonly locks?: HostLocks | undefined };
  readonly wakeUp: () => void;
  /** Where locks were taken that other machines see. */
  #used: HostLocks | undefined;
  readonly #own = new MemoryLocks();
  /** Woken when a process gives locks back. */
  readonly released = new WaitQueue();
  /** What names descriptions that have locks. */
  readonly #names = new Map<FileDescription, string>();
  /** Who waits for whom in calls under way. */
  readonly #waits = new Map<object, { readonly from: string; readonly to: string }>();
  #nextName = 1;
  #nextProcess = 0;
  #processes = 0;

  constructor(host: { readonly locks?: HostLocks | undefined }, wakeUp: () => void) {
    this.host = host;
    this.wakeUp = wakeUp;
  }

  /** What is added to the machine's name to name a process of it. */
  newProcess(): string {
    this.#processes++;
    const number = this.#nextProcess++;
    return number === 0 ? "" : ` p${number}`;
  }

  processEnded(): void {
    if (--this.#processes > 0) return;
    this.#used?.close();
    this.#own.close();
  }

  get isShared(): boolean {
    return this.#used !== undefined;
  }

  storeOf(description: FileDescription): HostLocks {
    if (description.host === undefined) return this.#own;
    this.#used ??= this.host.locks;
    return this.#used ?? this.#own;
  }

  nameOf(description: FileDescription): string {
    let name = this.#names.get(description);
    if (name === undefined) {
      name = String(this.#nextName++);
      this.#names.set(description, name);
      description.onRelease.add(() => this.#forget(description));
    }
    return name;
  }

  /** The last descriptor of a description is gone, and its locks with it. */
  #forget(description: FileDescription): void {
    const store = this.storeOf(description);
    const owner = `${store.self} ${this.nameOf(description)}`;
    this.#names.delete(description);
    store.update(fileOf(description), (locks) => locks.filter((lock) => lock.owner !== owner));
    this.released.wake();
  }

  lookAgain(): void {
    this.released.wake();
    this.wakeUp();
  }

  setWait(call: object, wait: { readonly from: string; readonly to: string } | undefined): void {
    if (wait !== undefined) this.#waits.set(call, wait);
    else if (!this.#waits.delete(call)) return;
    this.#used?.setWaits([...this.#waits.values()].map(({ to }) => machineOf(to)));
  }

  /**
   * Would the wait of a process close a circle of processes that wait for each other (fs/locks.c, posix_locks_deadlock)? Of
   * other machines it is known only for which machines they wait.
   */
  refuseDeadlock(description: FileDescription, from: string, first: HeldLock): void {
    const store = this.storeOf(description);
    if (first.pid === -1) return;
    const seen = new Set<string>();
    const next = [first.owner];
    for (let owner = next.pop(); owner !== undefined; owner = next.pop()) {
      if (owner === from) throw new SyscallError("EDEADLK");
      if (seen.has(owner)) continue;
      seen.add(owner);
      const machine = machineOf(owner);
      if (machine !== store.self) next.push(...store.waitsOf(machine));
      else for (const wait of this.#waits.values()) if (wait.from === owner) next.push(wait.to);
    }
  }
}

/**
 * The locks that a process takes (Linux: fs/locks.c). They are kept where all machines of a user see them; what has no
 * file of the host's behind it, only this process can lock.
 */
export class FileLocks {
  readonly #machine: MachineLocks;
  /** What tells this process from others of the machine. */
  readonly #process: string;
  /** Files on which the process itself, not a description of it, has or had locks. */
  readonly #locked = new Set<string>();

  constructor(host: { readonly locks?: HostLocks | undefined }, wakeUp: () => void, machine?: MachineLocks) {
    this.#machine = machine ?? new MachineLocks(host, wakeUp);
    this.#process = this.#machine.newProcess();
  }

  /** The locks of another process of the machine. */
  fork(): FileLocks {
    const { host, wakeUp } = this.#machine;
    return new FileLocks(host, wakeUp, this.#machine);
  }

  #ownerOf(description: FileDescription, store: HostLocks, byDescription: boolean): string {
    if (!byDescription) return `${store.self}${this.#process}`;
    return `${store.self} ${this.#machine.nameOf(description)}`;
  }

  /** The process has closed a descriptor of the file: all of its own record locks there are gone (fcntl(2)). */
  closed(description: FileDescription): void {
    if (this.#locked.size === 0 || !this.#locked.delete(fileOf(description))) return;
    const store = this.#machine.storeOf(description);
    const own = this.#ownerOf(description, store, false);
    store.update(fileOf(description), (locks) => locks.filter(({ owner }) => owner !== own));
    this.#machine.released.wake();
  }

  /** The first lock that keeps a request from being granted; undefined if there is none. */
  conflict(description: FileDescription, request: LockRequest): HeldLock | undefined {
    const store = this.#machine.storeOf(description);
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
    const store = this.#machine.storeOf(description);
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
    if (hadSome && (found === undefined || request.kind === "flock")) this.#machine.released.wake();
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
    const own = this.#ownerOf(description, this.#machine.storeOf(description), false);
    if (!request.byDescription) this.#machine.refuseDeadlock(description, own, first);
    description.acquire();
    const call = {};
    const timer = this.#machine.isShared ? setInterval(() => this.#machine.lookAgain(), RETRY_MS) : undefined;
    this.#machine.setWait(call, request.byDescription ? undefined : { from: own, to: first.owner });
    return new Block({
      on: [this.#machine.released],
      retry: () => (this.#attempt(description, request, pid) === undefined ? 0 : null),
      cleanup: () => {
        clearInterval(timer);
        this.#machine.setWait(call, undefined);
        description.release();
      },
    });
  }

  /** Gives everything back at the end of the process; what descriptions have goes with them. */
  close(): void {
    this.#machine.processEnded();
  }
}

/** What names a file among all: device and inode. */
function fileOf(description: FileDescription): string {
  const { dev, ino } = description.stat();
  return `${dev}-${ino}`;
}

const machineOf = (owner: string): string => owner.split(" ")[0];

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
