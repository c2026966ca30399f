import { VECTOR } from "../emu/cpu/exits.ts";
import { BRAND, VENDOR } from "../emu/cpu/features.ts";
import { type CpuEnvironment, runHelper } from "../emu/cpu/helpers.ts";
import { REG, STATE } from "../emu/cpu/state.ts";
import { decodeOne } from "../emu/decode/decoder.ts";
import { plainInstruction } from "../emu/decode/plain.ts";
import type { Interpreter, Stop } from "../emu/interpreter/interpreter.ts";
import type { Core } from "../emu/machine.ts";
import { GuestFault, type GuestMemory } from "../emu/memory/guest-memory.ts";
import { MemoryError } from "../emu/memory/memory-error.ts";
import { OutOfFrames } from "../emu/memory/pages.ts";
import { type EventLoop, type Kernel, Scheduler } from "../emu/threads/scheduler.ts";
import type { Host } from "../host/host.ts";
import type { ExitStatus, HostChild } from "../host/processes.ts";
import { errno, SyscallError } from "./abi/errno.ts";
import { LINUX_GDT } from "./abi/gdt.ts";
import { SIGNAL } from "./abi/signals.ts";
import type { Args } from "./args.ts";
import { Block, type SyscallResult } from "./block.ts";
import { signalOfStop } from "./exceptions.ts";
import { FileState } from "./files/file-state.ts";
import { LinuxThread } from "./linux-thread.ts";
import type { FileBacking } from "./memory/file-backing.ts";
import { storeShared } from "./memory/file-backing.ts";
import { MemoryNotes } from "./memory/notes.ts";
import { Network } from "./net/network.ts";
import type { Bridge } from "./process/bridge.ts";
import { Children } from "./process/children.ts";
import { Limits, RLIMIT } from "./process/limits.ts";
import type { Process } from "./process.ts";
import { Signals } from "./signals/state.ts";
import { restoreMask } from "./signals/user-mask.ts";
import { SYSCALLS } from "./syscalls.ts";
import { FutexTable } from "./threads/futex.ts";
import { walkRobustList } from "./threads/robust-list.ts";
import { IntervalTimers } from "./time/interval-timers.ts";
import { Timekeeping } from "./time/timekeeping.ts";
import type { ProcessObserver, Supervisor, SyscallTracer } from "./tracer.ts";
import { Waits } from "./waits.ts";

export type { ExitStatus } from "../host/processes.ts";

export interface ProcessOptions {
  readonly core: Core;
  readonly loop: EventLoop;
  readonly host: Host;
  readonly cpus: number;
  readonly features: ReadonlySet<string>;
  readonly pid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly gid: number;
  readonly euid: number;
  readonly egid: number;
  readonly exePath: string;
  readonly name: string;
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  /** Where the heap that brk(2) moves begins. */
  readonly brk: number;
  readonly strace: SyscallTracer | undefined;
  /** Takes a line about something goemu could not do for the guest. */
  readonly report: (message: string) => void;
  /** Stops the emulator itself, as a stop signal asks (SIGSTOP, SIGTSTP); undefined where that can't be. */
  readonly stopHost: ((signal: number) => void) | undefined;
  /** Sends a stop signal to the process group that the host has put the emulator in; undefined where that can't be. */
  readonly stopJob: ((signal: number) => void) | undefined;
  /** SchedulerOptions.seed */
  readonly schedulerSeed: number | undefined;
}

/** A guest process: Linux's side of the machine. */
export class LinuxProcess implements Process, Kernel<LinuxThread>, CpuEnvironment {
  readonly memory: GuestMemory;
  readonly interpreter: Interpreter;
  readonly scheduler: Scheduler<LinuxThread>;
  /** Like `signals` and `limits`, those of a child while something is done on its behalf. */
  files: FileState;
  readonly host: Host;
  readonly cpus: number;
  readonly descriptors = LINUX_GDT;
  readonly features: ReadonlySet<string>;
  readonly pid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly gid: number;
  readonly euid: number;
  readonly egid: number;
  readonly exePath: string;
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  auxv: Uint8Array = new Uint8Array();
  /** Who sees system calls and signals; probes put themselves in front of it. */
  strace: SyscallTracer | undefined;
  /** Who sees threads come, go and take turns, and stops (CodeCache.stops); set by probes. */
  observer: ProcessObserver | undefined;
  supervisor: Supervisor | undefined;
  signals = new Signals(this);
  readonly children = new Children(this);
  readonly waits = new Waits(this);
  readonly futexes = new FutexTable();
  readonly timers: IntervalTimers;
  readonly timekeeping: Timekeeping;
  limits = new Limits();
  readonly network: Network;
  /** Says what became of requests for memory that goemu can't fulfil. */
  readonly memoryNotes: MemoryNotes;
  readonly heap: { readonly start: number; end: number };
  /** Files behind mappings, to be let go at the end. */
  readonly backings = new Set<FileBacking>();
  /** System calls made so far, by number. */
  readonly syscallCounts = new Map<number, number>();
  /** The thread for which a system call is carried out, or tried again. */
  caller: LinuxThread | undefined;
  /** How the process ended, once it has. */
  exitStatus: ExitStatus | undefined;
  readonly #options: ProcessOptions;
  readonly #threads = new Map<number, LinuxThread>();
  /** The process's own, whatever is done on a child's behalf. */
  readonly #files: FileState;
  readonly #signals = this.signals;
  readonly #limits = this.limits;
  #replacement: { readonly host: HostChild; readonly bridges: readonly Bridge[] } | undefined;
  #nextTid: number;
  #finishedCpuTime = 0;
  /** Instructions run by threads that are gone. */
  #finishedInstructions = 0;
  threadsStarted = 0;
  peakThreads = 0;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.memory = options.core.memory;
    this.interpreter = options.core.interpreter;
    this.host = options.host;
    this.cpus = options.cpus;
    this.features = options.features;
    this.pid = options.pid;
    this.ppid = options.ppid;
    this.uid = options.uid;
    this.gid = options.gid;
    this.euid = options.euid;
    this.egid = options.egid;
    this.exePath = options.exePath;
    this.argv = options.argv;
    this.envp = options.envp;
    this.strace = options.strace;
    this.timekeeping = new Timekeeping(options.host, this.memory);
    this.interpreter.tsc = () => this.timekeeping.tsc();
    this.heap = { start: options.brk, end: options.brk };
    this.memoryNotes = new MemoryNotes(this.memory.space, options.report);
    this.memory.space.mayGrow = (mapped, promised) => this.#mayGrow(mapped, promised);
    this.#nextTid = options.pid;
    this.files = new FileState(options.host, Number(this.limits.get(7).soft));
    this.files.wakeUp = () => this.wakeUp();
    this.#files = this.files;
    this.network = new Network(this);
    this.scheduler = new Scheduler(options.loop, this, { seed: options.schedulerSeed });
    this.timers = new IntervalTimers(this);
    this.startNs = this.host.monotonicNs();
  }

  // What system calls ask about the process.

  get finished(): boolean {
    return this.exitStatus !== undefined;
  }

  get threads(): Iterable<LinuxThread> {
    return this.#threads.values();
  }

  get clock(): Timekeeping {
    return this.timekeeping;
  }

  get cpuDescription(): { vendor: string; brand: string; flags: readonly string[] } {
    return { vendor: VENDOR, brand: BRAND, flags: [...this.features] };
  }

  /** When the process began: CLOCK_MONOTONIC in ns. */
  readonly startNs: number;

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

  /** RLIMIT_AS and RLIMIT_DATA, which the guest has set itself (getrlimit(2)). */
  #mayGrow(mapped: number, promised: number): boolean {
    const { mappedBytes, promisedBytes } = this.memory.space;
    const exceeds = (resource: number, bytes: number): boolean => BigInt(bytes) > this.limits.get(resource).soft;
    if (mapped > 0 && exceeds(RLIMIT.AS, mappedBytes + mapped)) return false;
    return promised <= 0 || !exceeds(RLIMIT.DATA, promisedBytes + promised);
  }

  /** The host's clock has something to say: let the machine's loop run. */
  wakeUp(): void {
    this.#options.loop.wake();
  }

  randomBytes(bytes: Uint8Array): void {
    this.host.randomBytes(bytes);
  }

  // Threads.

  /**
   * A new thread with a CPU state of its own, not running yet.
   * @throws SyscallError EAGAIN when there are too many
   */
  createThread(name: string): LinuxThread {
    const { core } = this.#options;
    const cpu = core.takeCpu();
    if (cpu === undefined) throw new SyscallError("EAGAIN");
    while (this.children.find(this.#nextTid) !== undefined) this.#nextTid++;
    const thread = new LinuxThread(this.#nextTid++, cpu, core, name);
    this.#threads.set(thread.tid, thread);
    this.threadsStarted++;
    this.peakThreads = Math.max(this.peakThreads, this.#threads.size);
    return thread;
  }

  startThread(thread: LinuxThread): void {
    this.observer?.threadStart(thread, this.scheduler.current);
    this.scheduler.enqueue(thread);
  }

  /** Takes a thread out of the process. */
  forgetThread(thread: LinuxThread): void {
    if (!this.#threads.delete(thread.tid)) return;
    this.observer?.threadExit(thread);
    this.supervisor?.threadExit(thread);
    this.#finishedCpuTime += thread.cpuTime;
    this.#finishedInstructions += thread.instructions;
    this.#options.core.giveCpu(thread.cpu);
    this.waits.abandon(thread);
  }

  /** Runs something for a thread: a child before its execve(2) has files, signal actions and limits of its own. */
  onBehalfOf<T>(thread: LinuxThread, run: () => T): T {
    const { vfork } = thread;
    const { files, signals, limits, caller } = this;
    this.caller = thread;
    // What a child does may wake a thread of its parent, whose call is then finished within the child's.
    if (vfork === undefined && files === this.#files) {
      try {
        return run();
      } finally {
        this.caller = caller;
      }
    }
    this.files = vfork?.files ?? this.#files;
    this.signals = this.signalsOf(thread);
    this.limits = vfork?.limits ?? this.#limits;
    try {
      return run();
    } finally {
      this.files = files;
      this.signals = signals;
      this.limits = limits;
      this.caller = caller;
    }
  }

  /** The signal actions that hold for a thread, whoever's behalf something is done on. */
  signalsOf(thread: LinuxThread): Signals {
    return thread.vfork?.signals ?? this.#signals;
  }

  /** A child no longer needs this process's memory: the thread that started it goes on. */
  releaseParent(thread: LinuxThread): void {
    const { vfork } = thread;
    if (vfork === undefined) return;
    vfork.files.close();
    this.host.umask(this.#files.umask);
    thread.state = "exited";
    this.forgetThread(thread);
    vfork.released.wake();
  }

  #endChild(thread: LinuxThread, status: ExitStatus): boolean {
    const { vfork } = thread;
    if (vfork === undefined) return false;
    const { signals } = this;
    this.signals = this.#signals;
    this.children.ended(vfork.child, status, undefined);
    this.signals = signals;
    this.releaseParent(thread);
    return true;
  }

  /** A program on the host has taken this process's place (execve(2)): nothing runs here until it ends. */
  replacedBy(host: HostChild, bridges: readonly Bridge[]): void {
    this.#replacement = { host, bridges };
    for (const thread of [...this.#threads.values()]) {
      thread.state = "exited";
      this.forgetThread(thread);
    }
    this.files.close();
    this.network.close();
  }

  /** A signal from outside. */
  signalFromHost(signal: number): void {
    if (this.finished) return;
    if (this.#replacement !== undefined) this.host.processes?.kill(this.#replacement.host.pid, signal);
    else this.signals.send({ signal, code: 0, pid: 0, uid: this.uid });
    this.wakeUp();
  }

  /** exit(2): ends one thread; with the last one the process ends. */
  exitThread(thread: LinuxThread, status: number): void {
    if (this.#endChild(thread, { kind: "exited", status })) return;
    if (thread.robustList !== 0) walkRobustList(this.memory, this.futexes, thread.robustList, thread.tid);
    if (thread.clearChildTid !== 0) {
      try {
        this.memory.writeU32(thread.clearChildTid, 0);
        this.futexes.wake(thread.clearChildTid, 1);
      } catch (error) {
        if (!(error instanceof GuestFault)) throw error;
      }
    }
    if (this.#threads.size === 1) {
      this.exit(status);
      return;
    }
    thread.state = "exited";
    this.forgetThread(thread);
  }

  // The end.

  /** exit_group(2). @param thread whose process it is, the one that shares memory with this one or this one */
  exit(status: number, thread?: LinuxThread): void {
    if (thread !== undefined && this.#endChild(thread, { kind: "exited", status })) return;
    this.#finish({ kind: "exited", status });
  }

  /** A signal kills the process. */
  die(thread: LinuxThread, signal: number): void {
    if (this.#endChild(thread, { kind: "signaled", signal })) return;
    this.#finish({ kind: "signaled", signal });
  }

  /** The program that took this process's place has ended. */
  endAs(status: ExitStatus): void {
    for (const bridge of this.#replacement?.bridges ?? []) bridge.close();
    this.#finish(status);
  }

  #finish(status: ExitStatus): void {
    if (this.exitStatus !== undefined) return;
    this.exitStatus = status;
    this.#atEnd("write mapped files back", () => storeShared(this.memory, 0, 2 ** 47));
    for (const backing of this.backings) this.#atEnd("close a mapped file", () => backing.close());
    this.#atEnd("close sockets", () => this.network.close());
    this.#atEnd("close pipes to child processes", () => this.children.close());
    this.#atEnd("trace the end", () => this.strace?.processExit(this, status));
    this.#atEnd("close files", () => this.#files.close());
    this.wakeUp();
  }

  /** Does a part of what the end of a process brings: nothing of it changes the status, or keeps the rest from being done. */
  #atEnd(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#options.report(`cannot ${what}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** A stop signal stops the emulator as a whole; it goes on when the host continues it. */
  stop(signal: number): void {
    this.#options.stopHost?.(signal);
  }

  /** Sends a stop signal to all of the host's process group; false where there is none. */
  stopJob(signal: number): boolean {
    this.#options.stopJob?.(signal);
    return this.#options.stopJob !== undefined;
  }

  sendSignalToThread(thread: LinuxThread, signal: number, info: { code: number }): void {
    this.signals.sendToThread(thread, { signal, code: info.code, pid: this.pid, uid: this.uid });
  }

  // What the scheduler asks of a kernel.

  /** Set by whoever watches threads take turns. */
  onSwitch: ((thread: LinuxThread | undefined) => void) | undefined;
  /** Set by a debugger that steps threads (Kernel.execute). */
  execute: ((thread: LinuxThread) => Stop | undefined) | undefined;

  beginSlice(): void {
    this.timekeeping.refresh();
  }

  prepare(thread: LinuxThread): void {
    const signals = this.signalsOf(thread);
    if (thread.interrupted !== undefined || thread.savedMask !== undefined || signals.deliverable(thread)) {
      this.onBehalfOf(thread, () => signals.deliver(thread));
    }
  }

  charge(_thread: LinuxThread, _ns: number): void {
    this.timers.checkCpuTimers();
  }

  stopped(thread: LinuxThread, stop: Stop): void {
    if (stop.kind === "syscall") this.#syscall(thread);
    else if (stop.kind === "stop") this.observer?.stopped(thread);
    else if (stop.kind === "helper") this.#helper(thread);
    else if (stop.kind === "memory") {
      // As when Linux has no page left: mm/oom_kill.c.
      this.memoryNotes.outOfMemory();
      this.die(thread, SIGNAL.SIGKILL);
    } else {
      this.#fault(thread, stop);
    }
  }

  #fault(thread: LinuxThread, stop: Stop): void {
    const info = signalOfStop(this, thread, stop, this.#options.report);
    if (info === undefined) return;
    thread.lastTrap = { trap: info.trap, error: info.error };
    if (info.trap === VECTOR.PF) thread.cr2 = info.address ?? 0n;
    this.signals.force(thread, info);
  }

  #helper(thread: LinuxThread): void {
    const { cpu } = thread;
    const bytes = this.memory.readBytes(cpu.rip, this.memory.accessible(cpu.rip, 15, 4));
    const instruction = plainInstruction(bytes, cpu.rip) ?? decodeOne(bytes, cpu.rip);
    if (typeof instruction === "string") throw new Error(`cannot decode a helper instruction at ${cpu.rip}`);
    const { traps } = cpu;
    const fault = runHelper(cpu, this, this.memory, instruction);
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
    this.callSystem(thread, number, args);
  }

  /** Carries out a system call for a thread. */
  callSystem(thread: LinuxThread, number: number, args: Args): void {
    const row = SYSCALLS[number];
    thread.syscall = number;
    this.caller = thread;
    this.syscallCounts.set(number, (this.syscallCounts.get(number) ?? 0) + 1);
    this.memory.space.makeRoom();
    this.strace?.enter(this, thread, row, number, args);
    let result: SyscallResult;
    if (row === undefined) result = -errno.ENOSYS;
    else {
      try {
        result =
          thread.vfork === undefined
            ? row.handler(this, thread, args)
            : this.onBehalfOf(thread, () => row.handler(this, thread, args));
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
    this.supervisor?.syscallReturn(thread, thread.syscall);
  }
}

/** RDI, RSI, RDX, R10, R8, R9. */
const ARGUMENTS = [REG.RDI, REG.RSI, REG.RDX, REG.R10, REG.R8, REG.R9];

/** The errno behind an error that a handler threw; anything else is a bug of ours and goes on. */
function errnoOf(error: unknown): number {
  if (error instanceof SyscallError) return error.value;
  if (error instanceof GuestFault) return errno.EFAULT;
  if (error instanceof MemoryError) return errno[error.code];
  if (error instanceof OutOfFrames) return errno.ENOMEM;
  throw error;
}

/** Signals that the host may pass on (cli.md, "Running"). */
export const FORWARDED = [
  SIGNAL.SIGINT,
  SIGNAL.SIGTERM,
  SIGNAL.SIGHUP,
  SIGNAL.SIGQUIT,
  SIGNAL.SIGUSR1,
  SIGNAL.SIGUSR2,
  SIGNAL.SIGWINCH,
  SIGNAL.SIGCONT,
];
