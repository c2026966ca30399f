import { VECTOR } from "../emu/cpu/exits.ts";
import { BRAND, VENDOR } from "../emu/cpu/features.ts";
import { REG, STATE } from "../emu/cpu/state.ts";
import type { Interpreter, Stop } from "../emu/interpreter/interpreter.ts";
import type { GuestMemory } from "../emu/memory/guest-memory.ts";
import { MemoryError } from "../emu/memory/memory-error.ts";
import type { Scheduler } from "../emu/threads/scheduler.ts";
import type { Host } from "../host/host.ts";
import type { ExitStatus, HostChild, Usage } from "../host/processes.ts";
import type { HostJob } from "../host/terminal.ts";
import { errno } from "./abi/errno.ts";
import { SIGNAL } from "./abi/signals.ts";
import type { Args } from "./args.ts";
import { Block, type SyscallResult } from "./block.ts";
import { signalOfStop } from "./exceptions.ts";
import { errnoOf } from "./failure.ts";
import type { FileState } from "./files/file-state.ts";
import type { FileOwner } from "./files/signal-driven.ts";
import { endProcess, exitThread } from "./kernel/end.ts";
import { runHelperOf } from "./kernel/helper.ts";
import { JobControl, jobOf } from "./kernel/job-control.ts";
import type { Kernel } from "./kernel/kernel.ts";
import type { Mm } from "./kernel/mm.ts";
import { LinuxThread } from "./linux-thread.ts";
import type { FileBacking } from "./memory/file-backing.ts";
import type { MemoryNotes } from "./memory/notes.ts";
import type { Network } from "./net/network.ts";
import type { Bridge } from "./process/bridge.ts";
import { Child, Children } from "./process/children.ts";
import type { Credentials } from "./process/credentials.ts";
import { fileOwner } from "./process/file-owner.ts";
import { type Limits, mayGrow } from "./process/limits.ts";
import type { Process } from "./process.ts";
import { leaveTracees, type Traced } from "./ptrace/traced.ts";
import type { SignalInfo } from "./signals/info.ts";
import type { Signals } from "./signals/state.ts";
import { restoreMask } from "./signals/user-mask.ts";
import { SYSCALLS } from "./syscalls.ts";
import { IntervalTimers } from "./time/interval-timers.ts";
import type { Timekeeping } from "./time/timekeeping.ts";
import type { ProcessObserver, Supervisor, SyscallTracer } from "./tracer.ts";
import type { Ptys } from "./tty/ptys.ts";
import type { Waits } from "./waits.ts";

export type { ExitStatus } from "../host/processes.ts";

/** What a process begins with. */
export interface ProcessParts {
  readonly mm: Mm;
  readonly files: FileState;
  /** Makes its signal actions. */
  readonly signals: (process: LinuxProcess) => Signals;
  readonly limits: Limits;
  readonly parent: LinuxProcess | undefined;
  /** What its parent gets at its end, 0 for nothing (clone(2)). */
  readonly exitSignal: number;
  readonly credentials: Credentials;
  readonly group: number;
  readonly session: number;
}

/** A guest process (Linux: struct signal_struct, and what its threads share). */
export class LinuxProcess implements Process {
  readonly kernel: Kernel;
  pid: number;
  files: FileState;
  signals: Signals;
  limits: Limits;
  /** Who waits for it; undefined for the first process and those whose parent has gone: nobody in the machine. */
  parent: LinuxProcess | undefined;
  /** What its parent knows of it. */
  readonly self: Child;
  readonly children = new Children(this);
  /** Threads that it traces. */
  readonly tracees = new Set<Traced>();
  readonly credentials: Credentials;
  /** Process group and session (setpgid(2), setsid(2)). */
  group: number;
  session: number;
  /** Has it executed a program since its parent made it? Then that may not move it to another group (setpgid(2)). */
  hasExecuted = false;
  /** Gets the orphans among its descendants (prctl(2), PR_SET_CHILD_SUBREAPER). */
  isSubreaper = false;
  /** Sent to it when its parent ends (prctl(2), PR_SET_PDEATHSIG); 0 for nothing. */
  deathSignal = 0;
  /** The signal that has stopped it, as long as it stands. */
  stopSignal: number | undefined;
  /** Who sees system calls and signals; probes put themselves in front of it. */
  strace: SyscallTracer | undefined;
  /** Who sees threads come, go and take turns, and stops (CodeCache.stops); set by probes. */
  observer: ProcessObserver | undefined;
  supervisor: Supervisor | undefined;
  /** Set by whoever watches threads take turns. */
  onSwitch: ((thread: LinuxThread | undefined) => void) | undefined;
  /** Set by a debugger that steps threads (Kernel.execute). */
  execute: ((thread: LinuxThread) => Stop | undefined) | undefined;
  /** Tells the thread that waits for it (vfork(2)) that it needs the common memory no longer. */
  released: (() => void) | undefined;
  timers: IntervalTimers;
  /** How the process ended, once it has. */
  exitStatus: ExitStatus | undefined;
  /** When the process began: CLOCK_MONOTONIC in ns. */
  readonly startNs: number;
  readonly #threads = new Map<number, LinuxThread>();
  #mm: Mm | undefined;
  #replacement: { readonly host: HostChild; readonly bridges: readonly Bridge[] } | undefined;
  #finishedCpuTime = 0;
  #name = "";
  /** Instructions run by threads that are gone. */
  #finishedInstructions = 0;

  constructor(kernel: Kernel, pid: number, parts: ProcessParts) {
    this.kernel = kernel;
    this.pid = pid;
    this.#mm = parts.mm;
    this.mm.users++;
    this.files = parts.files;
    this.signals = parts.signals(this);
    this.limits = parts.limits;
    this.parent = parts.parent;
    this.self = new Child(pid, parts.exitSignal, this);
    this.credentials = parts.credentials;
    this.group = parts.group;
    this.session = parts.session;
    this.strace = kernel.tracer;
    this.timers = new IntervalTimers(this);
    this.startNs = kernel.host.monotonicNs();
    this.limitMemory();
    kernel.add(this);
  }

  /** RLIMIT_AS and RLIMIT_DATA hold for its address space, which is its own from now on. */
  limitMemory(): void {
    this.memory.space.mayGrow = (mapped, promised) => mayGrow(this, mapped, promised);
  }

  // What system calls ask about the process.

  /** Its address space, until its end. */
  get mm(): Mm {
    if (this.#mm === undefined) throw new Error(`process ${this.pid} has ended and has no memory`);
    return this.#mm;
  }

  set mm(mm: Mm) {
    this.#mm = mm;
  }

  /** It has ended: what it had in memory is of no use to anybody but those who look at the first program. */
  dropMm(): void {
    if (this.#mm !== this.kernel.firstMm) this.#mm = undefined;
  }

  get memory(): GuestMemory {
    return this.mm.memory;
  }

  get interpreter(): Interpreter {
    return this.mm.interpreter;
  }

  get heap(): Mm["heap"] {
    return this.mm.heap;
  }

  get backings(): Set<FileBacking> {
    return this.mm.backings;
  }

  get memoryNotes(): MemoryNotes {
    return this.mm.notes;
  }

  get exePath(): string {
    return this.mm.program.exePath;
  }

  get argv(): readonly Uint8Array[] {
    return this.mm.program.argv;
  }

  get envp(): readonly Uint8Array[] {
    return this.mm.program.envp;
  }

  get auxv(): Uint8Array {
    return this.mm.program.auxv;
  }

  get uid(): number {
    return this.credentials.user.real;
  }

  get euid(): number {
    return this.credentials.user.effective;
  }

  get gid(): number {
    return this.credentials.group.real;
  }

  get egid(): number {
    return this.credentials.group.effective;
  }

  get host(): Host {
    return this.kernel.host;
  }

  get cpus(): number {
    return this.kernel.cpus;
  }

  get features(): ReadonlySet<string> {
    return this.kernel.features;
  }

  get scheduler(): Scheduler<LinuxThread> {
    return this.kernel.scheduler;
  }

  get network(): Network {
    return this.kernel.network;
  }

  get waits(): Waits {
    return this.kernel.waits;
  }

  get timekeeping(): Timekeeping {
    return this.kernel.timekeeping;
  }

  get clock(): Timekeeping {
    return this.kernel.timekeeping;
  }

  /** The thread for which a system call is carried out, or tried again. */
  get caller(): LinuxThread | undefined {
    return this.kernel.caller;
  }

  /** Number of the parent: 1 once it has gone (getppid(2)). */
  get ppid(): number {
    if (this === this.kernel.first) return this.kernel.ppid;
    return this.parent?.pid ?? 1;
  }

  get finished(): boolean {
    return this.exitStatus !== undefined;
  }

  get threads(): Iterable<LinuxThread> {
    return this.#threads.values();
  }

  /** Name of its first thread (/proc/pid/comm). */
  get comm(): string {
    return this.#threads.get(this.pid)?.name ?? this.#name;
  }

  get threadCount(): number {
    return this.#threads.size;
  }

  get cpuDescription(): { vendor: string; brand: string; flags: readonly string[] } {
    return { vendor: VENDOR, brand: BRAND, flags: [...this.features] };
  }

  /** CPU time of all threads in ns. */
  get cpuTime(): number {
    let total = this.#finishedCpuTime;
    for (const thread of this.#threads.values()) total += this.threadCpuTime(thread);
    return total;
  }

  /** CPU time of a thread in ns, with what its turn has taken so far. */
  threadCpuTime(thread: LinuxThread): number {
    const running = this.scheduler.current === thread ? this.host.monotonicNs() - this.scheduler.turnStart : 0;
    return thread.cpuTime + running;
  }

  /** Instructions run by all threads. */
  get instructions(): number {
    let total = this.#finishedInstructions;
    for (const thread of this.#threads.values()) total += thread.instructions;
    return total;
  }

  threadById(tid: number): LinuxThread | undefined {
    return this.#threads.get(tid);
  }

  /** The host's clock has something to say: let the machine's loop run. */
  wakeUp(): void {
    this.kernel.wakeUp();
  }

  useMask(umask: number): void {
    this.kernel.useMask(umask);
  }

  /** fs/proc/array.c, task_state_array: R, S, T or Z. */
  get state(): string {
    if (this.finished) return "Z";
    if (this.stopSignal !== undefined) return "T";
    for (const { state } of this.#threads.values()) if (state === "runnable") return "R";
    return "S";
  }

  /** All processes of the machine. */
  get others(): Iterable<LinuxProcess> {
    return this.kernel.processes.values();
  }

  /** Where it stands: in the machine's groups and sessions, of which the first one's are the host's. */
  get job(): HostJob {
    return jobOf(this);
  }

  /** What it may do to terminals. */
  readonly jobControl = new JobControl(this);

  get ptys(): Ptys {
    return this.kernel.ptys;
  }

  // Threads.

  /**
   * A new thread with a CPU state of its own, not running yet.
   * @throws SyscallError EAGAIN when there are too many
   */
  createThread(name: string): LinuxThread {
    const { kernel, mm } = this;
    const cpu = mm.takeCpu();
    const tid = this.#threads.size === 0 ? this.pid : kernel.newPid();
    const thread = new LinuxThread(this, tid, cpu, name);
    this.#threads.set(tid, thread);
    kernel.threads.set(tid, thread);
    kernel.threadsStarted++;
    kernel.peakThreads = Math.max(kernel.peakThreads, kernel.threads.size);
    return thread;
  }

  startThread(thread: LinuxThread): void {
    this.files.threadStarts(thread);
    this.observer?.threadStart(thread, this.scheduler.current);
    this.scheduler.enqueue(thread);
  }

  /** Takes a thread out of the process. */
  forgetThread(thread: LinuxThread): void {
    if (!this.#threads.delete(thread.tid)) return;
    this.files.forgetThread(thread);
    thread.traced?.end({ kind: "exited", status: 0 });
    this.observer?.threadExit(thread);
    this.supervisor?.threadExit(thread);
    this.#finishedCpuTime += thread.cpuTime;
    this.#finishedInstructions += thread.instructions;
    this.kernel.threads.delete(thread.tid);
    this.mm.giveCpu(thread.cpu);
    this.waits.abandon(thread);
  }

  /** The thread that executes a program becomes the process's only one, and gets its number (fs/exec.c, de_thread). */
  becomeLeader(thread: LinuxThread): void {
    this.files.onlyThread(thread);
    for (const other of [...this.#threads.values()]) if (other !== thread) this.forgetThread(other);
    if (thread.tid === this.pid) return;
    this.#threads.delete(thread.tid);
    this.kernel.threads.delete(thread.tid);
    thread.tid = this.pid;
    this.#threads.set(thread.tid, thread);
    this.kernel.threads.set(thread.tid, thread);
  }

  /** A program on the host has taken this process's place (execve(2)): nothing runs here until it ends. */
  replacedBy(host: HostChild, bridges: readonly Bridge[]): void {
    this.#replacement = { host, bridges };
    this.self.bridges = bridges;
    for (const thread of [...this.#threads.values()]) {
      thread.state = "exited";
      this.forgetThread(thread);
    }
    this.released?.();
    this.files.close();
  }

  /** A signal from outside. */
  signalFromHost(signal: number): void {
    this.receive({ signal, code: 0, pid: 0, uid: this.uid });
  }

  /** A signal is sent to it (kill(2)); false if too many are queued already. */
  receive(info: SignalInfo): boolean {
    if (this.finished) return true;
    if (this.#replacement === undefined) return this.signals.send(info);
    this.host.processes?.kill(this.#replacement.host.pid, info.signal);
    return true;
  }

  /** Ends it whatever it thinks of that. */
  killFromHost(): void {
    if (!this.finished) this.signalFromHost(SIGNAL.SIGKILL);
  }

  /** exit(2): ends one thread; with the last one the process ends. */
  exitThread(thread: LinuxThread, status: number): void {
    exitThread(thread);
    if (this.#threads.size === 1) {
      this.exit(status);
      return;
    }
    thread.state = "exited";
    this.forgetThread(thread);
  }

  // The end.

  /** exit_group(2). */
  exit(status: number): void {
    this.#finish({ kind: "exited", status });
  }

  /** A signal kills the process. */
  die(signal: number): void {
    this.#finish({ kind: "signaled", signal });
  }

  /** The program that took this process's place has ended. */
  endAs(status: ExitStatus, usage: Usage | undefined): void {
    // With the first process the machine may end; the pipes of others end when all that was written has gone through.
    if (this === this.kernel.first) for (const bridge of this.#replacement?.bridges ?? []) bridge.close();
    this.#finish(status, usage);
  }

  #finish(status: ExitStatus, usage?: Usage): void {
    if (this.exitStatus !== undefined) return;
    this.exitStatus = status;
    leaveTracees(this);
    for (const thread of this.#threads.values()) {
      thread.traced?.end(status);
      thread.state = "exited";
      this.kernel.threads.delete(thread.tid);
      this.mm.giveCpu(thread.cpu);
      this.waits.abandon(thread);
    }
    endProcess(this, status, usage);
    if (this === this.kernel.first) return;
    // Nobody looks at its threads any more; they would keep its memory.
    this.#name = this.comm;
    for (const thread of this.#threads.values()) {
      this.#finishedCpuTime += thread.cpuTime;
      this.#finishedInstructions += thread.instructions;
      thread.letGo();
    }
    this.#threads.clear();
  }

  sendSignalToThread(thread: LinuxThread, signal: number, info: { code: number }): void {
    this.signals.sendToThread(thread, { signal, code: info.code, pid: this.pid, uid: this.uid });
  }

  fileOwner(kind: FileOwner["kind"], id: number): FileOwner | undefined {
    return fileOwner(this, kind, id);
  }

  // What the kernel does for its threads.

  /** Before a thread runs: delivers what is pending. */
  prepare(thread: LinuxThread): void {
    const { signals, kernel } = this;
    const { traced } = thread;
    if (traced !== undefined && !traced.mayRun()) return;
    if (
      traced?.hasInjected ||
      thread.interrupted !== undefined ||
      thread.savedMask !== undefined ||
      signals.deliverable(thread)
    ) {
      kernel.onBehalfOf(thread, () => signals.deliver(thread));
    }
    if (this.stopSignal !== undefined && thread.state === "runnable") thread.state = "stopped";
    if (traced !== undefined && thread.state === "runnable") traced.runs();
  }

  stopped(thread: LinuxThread, stop: Stop): void {
    if (stop.kind === "syscall") this.#syscall(thread);
    else if (stop.kind === "stop") this.observer?.stopped(thread);
    else if (stop.kind === "helper") this.#helper(thread);
    else if (stop.kind === "memory") {
      // As when Linux has no page left: mm/oom_kill.c.
      this.memoryNotes.outOfMemory();
      this.die(SIGNAL.SIGKILL);
    } else {
      this.#fault(thread, stop);
    }
  }

  #fault(thread: LinuxThread, stop: Stop): void {
    const info = signalOfStop(this, thread, stop, this.kernel.report);
    if (info === undefined) return;
    thread.lastTrap = { trap: info.trap, error: info.error };
    if (info.trap === VECTOR.PF) thread.cr2 = info.address ?? 0n;
    this.signals.force(thread, info);
  }

  #helper(thread: LinuxThread): void {
    const { traps } = thread.cpu;
    const fault = runHelperOf(thread);
    if (fault !== undefined) this.#fault(thread, fault);
    else if (traps) this.#fault(thread, { kind: "trace" });
  }

  #syscall(thread: LinuxThread): void {
    const { cpu } = thread;
    const { words } = cpu;
    const number = words[REG.RAX * 2] | 0;
    if (this.supervisor?.syscallEntry(thread, number) === false) return;
    // SYSCALL saves RIP and RFLAGS in RCX and R11 (SDM Vol. 2B, SYSCALL).
    words[REG.RCX * 2] = words[STATE.rip / 4];
    words[REG.RCX * 2 + 1] = words[STATE.rip / 4 + 1];
    cpu.setGprNumber(REG.R11, cpu.rflags32);
    const { args } = thread;
    for (let i = 0; i < ARGUMENTS.length; i++) args.set(i, words[ARGUMENTS[i] * 2], words[ARGUMENTS[i] * 2 + 1]);
    if (thread.traced?.entersCall(number)) return;
    this.callSystem(thread, number, args);
  }

  /** Carries out a system call for a thread. */
  callSystem(thread: LinuxThread, number: number, args: Args): void {
    const row = SYSCALLS[number];
    const { kernel } = this;
    thread.syscall = number;
    kernel.caller = thread;
    kernel.useMask(this.files.umask);
    kernel.syscallCounts.set(number, (kernel.syscallCounts.get(number) ?? 0) + 1);
    this.memory.space.makeRoom();
    this.strace?.enter(this, thread, row, number, args);
    let result: SyscallResult;
    if (row === undefined) result = -errno.ENOSYS;
    else {
      try {
        result = row.handler(this, thread, args);
      } catch (error) {
        if (error instanceof MemoryError) this.memoryNotes.refused(error, row.name);
        result = -errnoOf(error);
      }
    }
    if (result instanceof Block) this.waits.begin(thread, result);
    else this.finishSyscall(thread, result);
  }

  /** Stores a system call's result. */
  finishSyscall(thread: LinuxThread, result: number | bigint): void {
    if (thread.state === "exited" || this.finished) return;
    restoreMask(thread);
    if (typeof result === "number") thread.cpu.setGprNumber(REG.RAX, result);
    else thread.cpu.gpr[REG.RAX] = BigInt.asUintN(64, result);
    this.strace?.leave(this, thread, result);
    thread.traced?.leavesCall();
    this.supervisor?.syscallReturn(thread, thread.syscall);
  }

  // Stopping (kernel/signal.c, do_signal_stop and prepare_signal).

  /** A stop signal's default action: all threads stand until SIGCONT comes. */
  stop(signal: number): void {
    if (this.finished) return;
    if (this.stopSignal === undefined) {
      this.stopSignal = signal;
      this.self.stopped(signal);
    }
    // Whoever started the machine is to see that its first process stands; all others stand with it then.
    if (this === this.kernel.first) {
      this.stopSignal = undefined;
      this.kernel.stopHost?.(signal);
    }
  }

  /** SIGCONT or SIGKILL has been sent: threads that stand go on. */
  resume(signal: number): void {
    if (this.stopSignal === undefined) return;
    this.stopSignal = undefined;
    if (signal === SIGNAL.SIGCONT) this.self.continued();
    for (const thread of this.#threads.values()) if (thread.state === "stopped") this.scheduler.enqueue(thread);
    this.wakeUp();
  }

  /** Sends a stop signal to all of the host's process group; false where there is none. */
  stopJob(signal: number): boolean {
    this.kernel.stopJob?.(signal);
    return this.kernel.stopJob !== undefined;
  }
}

/** RDI, RSI, RDX, R10, R8, R9. */
export const ARGUMENTS = [REG.RDI, REG.RSI, REG.RDX, REG.R10, REG.R8, REG.R9];
