import type { CpuEnvironment } from "../../emu/cpu/helpers.ts";
import type { Stop } from "../../emu/interpreter/interpreter.ts";
import type { Cores } from "../../emu/machine.ts";
import { type EventLoop, Scheduler, type Kernel as SchedulerKernel } from "../../emu/threads/scheduler.ts";
import { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { Host } from "../../host/host.ts";
import { SyscallError } from "../abi/errno.ts";
import { LINUX_GDT } from "../abi/gdt.ts";
import { SIGNAL } from "../abi/signals.ts";
import type { FdTable } from "../files/fd-table.ts";
import type { FileIdentity } from "../files/shared-files.ts";
import { MessageQueues } from "../ipc/message-queues.ts";
import { Semaphores } from "../ipc/semaphores.ts";
import { SharedMemory } from "../ipc/shared-memory.ts";
import { KnownLibraries } from "../library-symbols.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { Network, type NetworkOwner } from "../net/network.ts";
import { checkCpuLimit } from "../process/cpu-limit.ts";
import { FutexTable } from "../threads/futex.ts";
import { Timekeeping } from "../time/timekeeping.ts";
import type { SyscallTracer } from "../tracer.ts";
import { Ptys } from "../tty/ptys.ts";
import { Waits } from "../waits.ts";
import { ptyKernel } from "./job-control.ts";
import { ForegroundJob } from "./jobs.ts";
import type { Mm } from "./mm.ts";
import type { ProgramFinder } from "./programs.ts";

export type AddressSpaceLayout = "compact" | "linux";

/** Most processes at a time, unless the user says otherwise (`--max-processes`). */
export const MAX_PROCESSES = 4096;
/** The highest number that a process or thread gets (include/linux/threads.h, PID_MAX_LIMIT). */
const MOST_PID = 4_194_304;
/** Where numbers go on after the highest one (kernel/pid.c, RESERVED_PIDS). */
const FIRST_AGAIN = 300;

export interface KernelOptions {
  readonly host: Host;
  readonly loop: EventLoop;
  readonly cores: Cores;
  readonly layout: AddressSpaceLayout;
  readonly cpus: number;
  /** Number of the first process; those of others follow. */
  readonly pid: number;
  /** Of the process on the host that has started the machine. */
  readonly ppid: number;
  readonly tracer: SyscallTracer | undefined;
  /** Takes a line about something goemu could not do for the guest. */
  readonly report: (message: string) => void;
  /** Stops the emulator itself, as a stop signal asks (SIGSTOP, SIGTSTP); undefined where that can't be. */
  readonly stopHost: ((signal: number) => void) | undefined;
  /** Sends a stop signal to the process group that the host has put the emulator in; undefined where that can't be. */
  readonly stopJob: ((signal: number) => void) | undefined;
  /** SchedulerOptions.seed */
  readonly schedulerSeed: number | undefined;
  readonly maxProcesses: number | undefined;
  /** Do programs that a process executes run on the host, each in a process of its own there? */
  readonly hostExec: boolean;
  /** What is known of the programs that processes execute. */
  readonly programs: ProgramFinder;
}

/**
 * What the processes of a machine have in common (Linux: everything above task_struct): their numbers, the run queue,
 * clocks, the network, files that are mapped or locked or watched. One host thread runs all of them
 * (docs/architecture.md, "The kernel").
 */
export class Kernel implements SchedulerKernel<LinuxThread>, CpuEnvironment {
  readonly host: Host;
  readonly cores: Cores;
  readonly layout: AddressSpaceLayout;
  readonly cpus: number;
  readonly features: ReadonlySet<string>;
  readonly descriptors = LINUX_GDT;
  readonly ppid: number;
  readonly programs: ProgramFinder;
  /** Symbols of libraries that were mapped. */
  readonly libraries = new KnownLibraries();
  readonly maxProcesses: number;
  readonly hostExec: boolean;
  readonly report: (message: string) => void;
  readonly stopHost: ((signal: number) => void) | undefined;
  readonly stopJob: ((signal: number) => void) | undefined;
  /** `--strace`. */
  readonly tracer: SyscallTracer | undefined;
  readonly loop: EventLoop;
  readonly scheduler: Scheduler<LinuxThread>;
  readonly timekeeping: Timekeeping;
  readonly waits = new Waits(this);
  readonly network: Network;
  readonly foreground: ForegroundJob;
  readonly sharedMemory = new SharedMemory();
  readonly semaphores = new Semaphores();
  readonly messageQueues = new MessageQueues();
  readonly ptys: Ptys;
  /** Processes by number, those that nobody has waited for among them. */
  readonly processes = new Map<number, LinuxProcess>();
  /** The threads of all of them. */
  readonly threads = new Map<number, LinuxThread>();
  /** System calls made so far, by number. */
  readonly syscallCounts = new Map<number, number>();
  /** The thread for which a system call is carried out, or tried again. */
  caller: LinuxThread | undefined;
  /** The process that the machine was started with; it decides about the exit status. */
  first!: LinuxProcess;
  /** Its session, which is one of the host's. */
  hostSession = 0;
  /** The address space that it was started with, which those look at who have started it. */
  firstMm: Mm | undefined;
  /** Threads started and instructions run by processes that are gone. */
  threadsStarted = 0;
  peakThreads = 0;
  goneInstructions = 0;
  /** Woken when a process is gone that others may wait for (children of nobody). */
  readonly ended = new WaitQueue();
  readonly #sharedFutexes = new Map<FileIdentity, FutexTable>();
  #nextPid: number;
  /** The mask that the host has now (umask(2)). */
  #umask: number | undefined;
  #switched: LinuxProcess | undefined;

  constructor(options: KernelOptions) {
    this.host = options.host;
    this.cores = options.cores;
    this.layout = options.layout;
    this.cpus = options.cpus;
    this.features = options.cores.options.features;
    this.ppid = options.ppid;
    this.tracer = options.tracer;
    this.report = options.report;
    this.stopHost = options.stopHost;
    this.stopJob = options.stopJob;
    this.maxProcesses = options.maxProcesses ?? MAX_PROCESSES;
    this.hostExec = options.hostExec;
    this.programs = options.programs;
    this.loop = options.loop;
    this.#nextPid = options.pid;
    this.timekeeping = new Timekeeping(options.host);
    this.foreground = new ForegroundJob(options.host);
    this.ptys = new Ptys(ptyKernel(this), (index) => isHostTerminal(options.host, index));
    this.network = new Network(this.#networkOwner());
    this.scheduler = new Scheduler(options.loop, this, { seed: options.schedulerSeed });
  }

  /** Who asks for what the network does: the process that makes the system call. */
  #networkOwner(): NetworkOwner {
    const asking = (): LinuxProcess => this.caller?.process ?? this.first;
    const { host, timekeeping } = this;
    return {
      host,
      clock: timekeeping,
      get files() {
        return asking().files;
      },
      get pid() {
        return asking().pid;
      },
      get uid() {
        return asking().uid;
      },
      get euid() {
        return asking().euid;
      },
      get gid() {
        return asking().gid;
      },
      wakeUp: () => this.wakeUp(),
    };
  }

  /** Have all processes ended? */
  get finished(): boolean {
    return this.#running === 0;
  }

  #running = 0;

  /** Processes that have not ended. */
  get running(): number {
    return this.#running;
  }

  /** A number for a process or a thread (kernel/pid.c, alloc_pid). */
  newPid(): number {
    for (;;) {
      const pid = this.#nextPid++;
      if (this.#nextPid > MOST_PID) this.#nextPid = FIRST_AGAIN;
      if (!this.processes.has(pid) && !this.threads.has(pid) && !this.#isGroup(pid)) return pid;
    }
  }

  /** A group or session keeps its number after its leader has gone. */
  #isGroup(pid: number): boolean {
    for (const { group, session } of this.processes.values()) if (group === pid || session === pid) return true;
    return false;
  }

  /** A process begins. */
  add(process: LinuxProcess): void {
    this.processes.set(process.pid, process);
    this.#running++;
  }

  /** A process has ended; it is there until somebody waits for it. */
  processEnded(): void {
    this.#running--;
    this.wakeUp();
  }

  /** A process has the number that the host has given the program which runs in its place there. */
  renumber(process: LinuxProcess, pid: number): void {
    if (this.processes.has(pid) || this.threads.has(pid)) return;
    this.processes.delete(process.pid);
    process.pid = pid;
    process.self.pid = pid;
    this.processes.set(pid, process);
  }

  /** Takes a process out that has been waited for. */
  remove(process: LinuxProcess): void {
    this.processes.delete(process.pid);
    if (process !== this.first) this.goneInstructions += process.instructions;
  }

  /** The process that a number of one of its threads names. */
  processOf(tid: number): LinuxProcess | undefined {
    return this.processes.get(tid) ?? this.threads.get(tid)?.process;
  }

  /** The processes of a group that have not ended. */
  *group(group: number): Iterable<LinuxProcess> {
    for (const process of this.processes.values()) if (process.group === group && !process.finished) yield process;
  }

  /** @throws SyscallError EAGAIN if there are as many processes as may be */
  checkRoom(): void {
    if (this.#running >= this.maxProcesses || this.host.hasRoom?.() === false) throw new SyscallError("EAGAIN");
  }

  /** The futexes of a file that is mapped shared, by offset. */
  futexesOf(file: FileIdentity): FutexTable {
    let table = this.#sharedFutexes.get(file);
    if (table === undefined) {
      table = new FutexTable(() => this.#sharedFutexes.delete(file));
      this.#sharedFutexes.set(file, table);
    }
    return table;
  }

  /** Instructions run by all threads of all processes. */
  get instructions(): number {
    let total = this.goneInstructions;
    for (const process of this.processes.values()) total += process.instructions;
    return total;
  }

  /** The host's clock has something to say: let the machine's loop run. */
  wakeUp(): void {
    this.loop.wake();
  }

  randomBytes(bytes: Uint8Array): void {
    this.host.randomBytes(bytes);
  }

  /** Does something for a thread: a system call, or another attempt at one. */
  onBehalfOf<T>(thread: LinuxThread, run: () => T): T {
    const { caller } = this;
    this.caller = thread;
    this.useMask(thread.process.files.umask);
    try {
      return run();
    } finally {
      this.caller = caller;
      if (caller !== undefined) this.useMask(caller.process.files.umask);
    }
  }

  /** New files of the host get a process's mask. */
  useMask(umask: number): void {
    if (umask === this.#umask) return;
    this.#umask = umask;
    this.host.umask(umask);
  }

  /** All tables of descriptors. */
  *tables(): Iterable<FdTable> {
    const seen = new Set<FdTable>();
    for (const { files } of this.processes.values()) seen.add(files.table);
    yield* seen;
  }

  /** A signal from outside. */
  signalFromHost(signal: number): void {
    if (this.finished) return;
    if (signal === SIGNAL.SIGKILL) for (const process of [...this.processes.values()]) process.killFromHost();
    else if (this.first.finished) {
      // Whoever started the machine waits for those that are left: he can end that.
      if (ENDS.has(signal)) for (const process of [...this.processes.values()]) process.killFromHost();
    } else if (signal === SIGNAL.SIGCONT) {
      // The host had stopped all of them.
      for (const process of [...this.processes.values()]) process.signalFromHost(signal);
    } else if (FROM_TERMINAL.has(signal) && this.foreground.isOurs) {
      for (const process of [...this.group(this.foreground.group)]) process.signalFromHost(signal);
    } else this.first.signalFromHost(signal);
    this.wakeUp();
  }

  // What the scheduler asks of a kernel.

  onSwitch = (thread: LinuxThread | undefined): void => {
    this.#switched?.onSwitch?.(thread?.process === this.#switched ? thread : undefined);
    if (thread !== undefined && thread.process !== this.#switched) thread.process.onSwitch?.(thread);
    this.#switched = thread?.process;
  };

  execute = (thread: LinuxThread): Stop | undefined => thread.process.execute?.(thread);

  beginSlice(): void {
    this.timekeeping.refresh();
  }

  prepare(thread: LinuxThread): void {
    thread.process.prepare(thread);
  }

  charge(thread: LinuxThread, _ns: number): void {
    thread.process.timers.checkCpuTimers();
    checkCpuLimit(thread.process);
  }

  stopped(thread: LinuxThread, stop: Stop): void {
    thread.process.stopped(thread, stop);
  }
}

/** Is /dev/pts/`index` a terminal of the host's? It keeps its name. */
function isHostTerminal(host: Host, index: number): boolean {
  try {
    host.files.stat(`/dev/pts/${index}`, true);
    return true;
  } catch {
    return false;
  }
}

/** Signals that a terminal sends to the group in its foreground. */
const FROM_TERMINAL: ReadonlySet<number> = new Set([SIGNAL.SIGINT, SIGNAL.SIGQUIT, SIGNAL.SIGTSTP, SIGNAL.SIGWINCH]);
const ENDS: ReadonlySet<number> = new Set([SIGNAL.SIGINT, SIGNAL.SIGQUIT, SIGNAL.SIGTERM, SIGNAL.SIGHUP]);
