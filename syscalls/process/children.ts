import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { ExitStatus, HostChild, Usage } from "../../host/processes.ts";
import { CLD_EXITED, CLD_KILLED, SA_NOCLDWAIT, SIG_IGN, SIGNAL } from "../abi/signals.ts";
import type { FileState } from "../files/file-state.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import type { Signals } from "../signals/state.ts";
import type { Bridge } from "./bridge.ts";
import type { Limits } from "./limits.ts";

/** A child process: one that runs on the host, one that has not called execve(2) yet, or one that nobody waited for. */
export class Child {
  /** The host's number once it runs there, before that one of our own. */
  pid: number;
  /** What the parent gets at its end, 0 for nothing (clone(2)). */
  readonly exitSignal: number;
  host: HostChild | undefined;
  status: ExitStatus | undefined;
  usage: Usage | undefined;
  /** Woken at its end; for pidfds. */
  readonly queue = new WaitQueue();
  /** What pumps its descriptors; let go when they are through. */
  bridges: readonly Bridge[] = [];

  constructor(pid: number, exitSignal: number) {
    this.pid = pid;
    this.exitSignal = exitSignal;
  }
}

/** What a child has for itself while it shares its parent's memory (vfork(2)): the rest is its parent's. */
export interface VforkState {
  readonly child: Child;
  readonly files: FileState;
  readonly signals: Signals;
  readonly limits: Limits;
  /** Woken when the parent may go on. */
  readonly released: WaitQueue;
  /** It asked for a process group or a session of its own. */
  detached: boolean;
  /** It asked for a session. */
  leadsSession?: boolean;
}

/** The children of a process. */
export class Children {
  readonly #process: LinuxProcess;
  /**
   * Not by their numbers: the host may give one that has started the number that another, which has not, has from goemu.
   */
  readonly #all = new Set<Child>();
  /** Woken when a child has ended. */
  readonly queue = new WaitQueue();

  constructor(process: LinuxProcess) {
    this.#process = process;
  }

  get all(): Iterable<Child> {
    return this.#all;
  }

  /** Is it still there to be waited for? */
  has(child: Child): boolean {
    return this.#all.has(child);
  }

  /** The child with a number; the one that runs on the host, if there are two. */
  find(pid: number): Child | undefined {
    let found: Child | undefined;
    for (const child of this.#all)
      if (child.pid === pid && (found === undefined || child.host !== undefined)) found = child;
    return found;
  }

  add(child: Child): void {
    this.#all.add(child);
  }

  /** It runs on the host now, under the host's number. */
  started(child: Child, host: HostChild): void {
    child.pid = host.pid;
    child.host = host;
  }

  /** Its status has been taken, or nobody wants it. */
  reap(child: Child): void {
    this.#all.delete(child);
  }

  /** A child has ended (kernel/signal.c, do_notify_parent). */
  ended(child: Child, status: ExitStatus, usage: Usage | undefined): void {
    child.status = status;
    child.usage = usage;
    const process = this.#process;
    if (process.finished) return;
    const { signals } = process;
    const { handler, flags } = signals.action(SIGNAL.SIGCHLD);
    if (child.exitSignal === SIGNAL.SIGCHLD && (handler === BigInt(SIG_IGN) || flags & SA_NOCLDWAIT)) this.reap(child);
    if (child.exitSignal !== 0) signals.send(endSignal(process, child, status));
    child.queue.wake();
    this.queue.wake();
    process.wakeUp();
  }

  /** At the end of the process: its pipes are gone, its children go on. */
  close(): void {
    for (const { bridges } of this.#all) for (const bridge of bridges) bridge.close();
  }
}

/** What a parent is told of a child's end. */
export function endSignal(
  process: LinuxProcess,
  child: Child,
  end: ExitStatus,
): { signal: number; code: number; pid: number; uid: number; status: number } {
  const [code, status] = end.kind === "exited" ? [CLD_EXITED, end.status] : [CLD_KILLED, end.signal];
  return { signal: child.exitSignal || SIGNAL.SIGCHLD, code, pid: child.pid, uid: process.uid, status };
}

/** May this thread call as a process of its own (it is a child before execve)? Its process id either way. */
export function pidOf(process: LinuxProcess, thread: LinuxThread): number {
  return thread.vfork?.child.pid ?? process.pid;
}
