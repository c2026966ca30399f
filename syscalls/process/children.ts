import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { ExitStatus, HostChild, Usage } from "../../host/processes.ts";
import {
  CLD_CONTINUED,
  CLD_EXITED,
  CLD_KILLED,
  CLD_STOPPED,
  SA_NOCLDSTOP,
  SA_NOCLDWAIT,
  SIG_IGN,
  SIGNAL,
} from "../abi/signals.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { SignalInfo } from "../signals/info.ts";
import type { Bridge } from "./bridge.ts";

/** What can be told of a child, once it has happened: that it stands, or goes on again (wait(2)). */
export type ChildEvent = { readonly kind: "stopped"; readonly signal: number } | { readonly kind: "continued" };

/** A process as its parent, and whoever holds a descriptor of it, knows it; also one that has ended and was not waited for. */
export class Child {
  /** Its number; that of the host once it runs there, unless its parent has learned another. */
  pid: number;
  /** What the parent gets at its end, 0 for nothing (clone(2)); SIGCHLD once it has executed a program. */
  exitSignal: number;
  /** undefined for what was made otherwise: in tests. */
  readonly process: LinuxProcess | undefined;
  host: HostChild | undefined;
  status: ExitStatus | undefined;
  usage: Usage | undefined;
  /** What has happened to it that nobody has waited for. */
  event: ChildEvent | undefined;
  /** Woken at its end; for pidfds. */
  readonly queue = new WaitQueue();
  /** What pumps its descriptors; let go when they are through. */
  bridges: readonly Bridge[] = [];

  constructor(pid: number, exitSignal: number, process?: LinuxProcess) {
    this.pid = pid;
    this.exitSignal = exitSignal;
    this.process = process;
  }

  /** Its process group. */
  get group(): number {
    return this.process?.group ?? this.pid;
  }

  /** It has ended (kernel/signal.c, do_notify_parent). */
  ended(status: ExitStatus, usage: Usage | undefined): void {
    if (this.status !== undefined) return;
    this.status = status;
    this.usage = usage;
    this.event = undefined;
    const { process } = this;
    if (process === undefined) return;
    if (process.parent !== undefined) process.parent.children.tellEnd(this);
    else if (process !== process.kernel.first) process.kernel.remove(process);
    this.queue.wake();
    process.wakeUp();
  }

  /** What it has used until now, with those of its children that it has waited for. */
  usageNow(): Usage | undefined {
    const { process } = this;
    if (process === undefined) return undefined;
    const maxRssKib = Math.floor(process.memory.space.peakAccessibleBytes / 1024);
    const { userUs, systemUs } = process.children.usage;
    return { userUs: process.cpuTime / 1e3 + userUs, systemUs, maxRssKib };
  }

  /** It stands (kernel/signal.c, do_notify_parent_cldstop). */
  stopped(signal: number): void {
    this.event = { kind: "stopped", signal };
    this.#tell();
  }

  /** It goes on again. */
  continued(): void {
    this.event = { kind: "continued" };
    this.#tell();
  }

  #tell(): void {
    const parent = this.process?.parent;
    if (parent === undefined || parent.finished) return;
    const { handler, flags } = parent.signals.action(SIGNAL.SIGCHLD);
    const signal = childSignal(this);
    // Who waits is told before a handler runs (kernel/exit.c, do_wait()).
    parent.children.queue.wake();
    if (handler !== BigInt(SIG_IGN) && !(flags & SA_NOCLDSTOP)) parent.signals.send(signal);
    parent.wakeUp();
  }
}

/** The children of a process. */
export class Children {
  readonly #process: LinuxProcess;
  /**
   * Not by their numbers: the host may give one that has started the number that another, which has not, has from goemu.
   */
  readonly #all = new Set<Child>();
  /** Woken when a child has ended, stands or goes on. */
  readonly queue = new WaitQueue();
  /** What those that were waited for have used (getrusage(2), RUSAGE_CHILDREN). */
  readonly usage = { userUs: 0, systemUs: 0, maxRssKib: 0 };

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

  /** It is a child of this process no longer: its status has been taken, or nobody wants it, or it has another parent. */
  reap(child: Child): void {
    this.#all.delete(child);
  }

  /** A child's status has been taken: nothing is left of it. */
  waitedFor(child: Child): void {
    this.reap(child);
    const { userUs = 0, systemUs = 0, maxRssKib = 0 } = child.usage ?? {};
    this.usage.userUs += userUs;
    this.usage.systemUs += systemUs;
    this.usage.maxRssKib = Math.max(this.usage.maxRssKib, maxRssKib);
    if (child.process !== undefined) child.process.kernel.remove(child.process);
  }

  /** A child has ended: the process is told, and may wait for it. */
  tellEnd(child: Child): void {
    const process = this.#process;
    if (process.finished) return;
    const { signals } = process;
    const { handler, flags } = signals.action(SIGNAL.SIGCHLD);
    const isUnwanted = handler === BigInt(SIG_IGN) || (flags & SA_NOCLDWAIT) !== 0;
    if (child.exitSignal === SIGNAL.SIGCHLD && isUnwanted) {
      this.reap(child);
      if (child.process !== undefined) child.process.kernel.remove(child.process);
    }
    // Who waits is told before a handler runs (kernel/exit.c, do_wait()).
    this.queue.wake();
    if (child.exitSignal !== 0) signals.send({ ...childSignal(child), signal: child.exitSignal });
  }

  /** At the end of the process: its pipes to processes of the host are gone, its children go on. */
  close(): void {
    for (const { bridges } of this.#all) for (const bridge of bridges) bridge.close();
  }
}

/** What a parent is told of a child: SIGCHLD with how it ended, or that it stands or goes on. */
export function childSignal(child: Child): SignalInfo {
  const { status: end, event, pid } = child;
  const uid = child.process?.uid ?? 0;
  const about = (code: number, status: number): SignalInfo => ({ signal: SIGNAL.SIGCHLD, code, pid, uid, status });
  if (end?.kind === "exited") return about(CLD_EXITED, end.status);
  if (end?.kind === "signaled") return about(CLD_KILLED, end.signal);
  if (event?.kind === "stopped") return about(CLD_STOPPED, event.signal);
  return about(CLD_CONTINUED, SIGNAL.SIGCONT);
}
