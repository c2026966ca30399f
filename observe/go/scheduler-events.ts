import { REG } from "../../emu/cpu/state.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { Func, SourceLine } from "../../loader/symbols/table.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { type Probe, Probes } from "../probes.ts";
import { GoRuntime } from "./runtime.ts";

/** Where a runnable goroutine waits. */
export interface QueuePlace {
  readonly kind: "runnext" | "local" | "global";
  /** The P whose queue it is; undefined for the global queue. */
  readonly p: number | undefined;
}

/** A goroutine's life as the events tell it. */
export interface GoroutineRecord {
  readonly address: number;
  readonly id: number;
  /** Its first function; for a wrapper that the compiler made for a `go` statement, what it calls. */
  readonly startFunction: string;
  /** Where it starts. */
  readonly startPc: number;
  /** Who executed the `go` statement; undefined for the first one and those made by the runtime on g0. */
  readonly parent: GoroutineRecord | undefined;
  /** Function that holds the `go` statement, and where. */
  readonly creator: string | undefined;
  readonly created: SourceLine | undefined;
  /** The queue in which it waits to run; undefined when it is in none. */
  queue: QueuePlace | undefined;
  state: "runnable" | "running" | "waiting" | "exited";
  /** Why it waits, or waited last. */
  waitReason: string | undefined;
  /** When its present spell of running began: ns since start, and instructions of the process. */
  runTime: number;
  runInstructions: number;
  /** Who asked for its preemption, and when; undefined if nobody has in this spell. */
  preemptRequest: { readonly time: number; readonly by: string } | undefined;
  spells: number;
}

/** What all events have: where they happened, and when. */
export interface Place {
  /** ns of CLOCK_MONOTONIC since the events began. */
  readonly time: number;
  /** Instructions that the process had run. */
  readonly instructions: number;
  readonly thread: LinuxThread;
  /** Numbers of M and P, and the goroutine that the thread runs code for; undefined for none. */
  readonly m: number | undefined;
  readonly p: number | undefined;
  readonly g: GoroutineRecord | undefined;
}

/** How a goroutine gave up its thread without waiting for anything. */
export type YieldCause = "Gosched" | "preempted" | "goyield" | "GC guard" | "stopped for preemption";

export type SchedulerEvent =
  /** A `go` statement made `created`; its queue is known. */
  | { kind: "create"; created: GoroutineRecord }
  /** A goroutine that waited may run. `by` is what woke it: "goroutine", or the runtime on its own. */
  | { kind: "ready"; woken: GoroutineRecord; by: "goroutine" | "runtime" }
  /** A runnable goroutine was put into a queue. */
  | { kind: "queue"; queued: GoroutineRecord; place: QueuePlace }
  /** A thread is about to run a goroutine; `from` is the queue where it was put. */
  | { kind: "run"; run: GoroutineRecord; from: QueuePlace | undefined }
  | { kind: "park"; parked: GoroutineRecord; reason: string }
  | { kind: "yield"; yielded: GoroutineRecord; cause: YieldCause }
  | { kind: "exit"; exited: GoroutineRecord }
  /** Somebody (sysmon, the garbage collector) asks for the preemption of what a P runs. */
  | { kind: "preempt-request"; target: GoroutineRecord; by: string }
  /** A P is taken from a thread that is in a system call or blocks. */
  | { kind: "handoff"; processor: number }
  /** A system call has ended and there is no P to go on with. */
  | { kind: "syscall-no-p"; returned: GoroutineRecord }
  /** `number` is that of the M, if the thread is one of the runtime's. */
  | { kind: "thread-start"; parent: LinuxThread | undefined; number: number | undefined }
  | { kind: "thread-exit" }
  | { kind: "stop-the-world" }
  | { kind: "start-the-world" }
  | { kind: "gc"; phase: "start" | "mark termination" | "sweep" };

export type SchedulerListener = (event: SchedulerEvent, place: Place) => void;

/** The first release with arguments in registers (internal/abi, ABIInternal). */
const REGISTER_ABI = 17;
const ARGUMENTS = [REG.RAX, REG.RBX, REG.RCX, REG.RDI, REG.RSI, REG.R8, REG.R9, REG.R10, REG.R11];
const RUNQ_SIZE = 256;
/** Releases before 1.12 hand the head of a list to injectglist, later ones a pointer to it. */
const GLIST_POINTER = 12;

/**
 * Watches the Go scheduler by probes on the runtime's functions; what a release does not have is left out or found out
 * otherwise. Each event is told before it takes effect in the guest.
 */
export class SchedulerEvents {
  readonly machine: Machine;
  readonly go: GoRuntime;
  readonly probes: Probes;
  /** CLOCK_MONOTONIC in ns when the watching began: what `now` and the events count from. */
  start = 0;
  readonly #listeners: SchedulerListener[] = [];
  readonly #set: Probe[] = [];
  /** By the address of the runtime.g: a new one is made when it is used again. */
  readonly #goroutines = new Map<number, GoroutineRecord>();
  readonly #mids = new Map<number, number>();
  readonly #pids = new Map<number, number>();
  readonly #byName = new Map<string, Func>();
  /** Threads that go through gosched_m: the goschedImpl that follows is no preemption. */
  readonly #causes = new Map<LinuxThread, YieldCause>();

  /** @throws GoRuntimeError for a program that is not Go's, or of an unknown release */
  constructor(machine: Machine) {
    this.machine = machine;
    this.go = new GoRuntime(machine);
    this.probes = Probes.of(machine);
    for (const func of machine.symbols.functions) {
      // Of two with the same name one is a wrapper that translates the calling convention: the smaller one.
      const known = this.#byName.get(func.name);
      if (known === undefined || known.size < func.size) this.#byName.set(func.name, func);
    }
    this.#setProbes();
    this.start = machine.process.host.monotonicNs();
  }

  /** The function of that name that does the work, or undefined. */
  functionNamed(name: string): Func | undefined {
    return this.#byName.get(name);
  }

  /** Every function's name. */
  get functionNames(): Iterable<string> {
    return this.#byName.keys();
  }

  /**
   * Calls back at a function's entry, if the program has it; a callback that reads memory that is not there is left.
   * Returns whether the program has the function.
   */
  onEntry(name: string, callback: (thread: LinuxThread) => void): boolean {
    const func = this.#byName.get(name);
    if (func === undefined) return false;
    const guarded = (thread: LinuxThread): void => {
      try {
        callback(thread);
      } catch (error) {
        // The runtime's memory is not as it should be: the guest is broken, and what was to be told is lost.
        if (!(error instanceof GuestFault)) throw error;
      }
    };
    this.#set.push(this.probes.onAddress(func.address, guarded));
    return true;
  }

  /** Calls back with each event from now on. */
  onEvent(listener: SchedulerListener): void {
    this.#listeners.push(listener);
  }

  /** Takes every probe away. */
  close(): void {
    for (const probe of this.#set) probe.remove();
    this.#set.length = 0;
  }

  /** Argument `index` of the function that a thread is about to enter, all of one word each. */
  argument(thread: LinuxThread, index: number): number {
    if (this.go.layout.minor >= REGISTER_ABI) return Number(thread.cpu.gpr[ARGUMENTS[index]]);
    return this.machine.memory.readPointer(Number(thread.cpu.gpr[REG.RSP]) + 8 + 8 * index);
  }

  /** ns since the events began. */
  get now(): number {
    return this.machine.process.host.monotonicNs() - this.start;
  }

  place(thread: LinuxThread): Place {
    const { go } = this;
    const { m, p, g } = go.current(thread);
    return {
      time: this.now,
      instructions: this.machine.process.instructions,
      thread,
      m: m === 0 ? undefined : this.#number(this.#mids, m, (address) => go.mid(address)),
      p: p === 0 ? undefined : this.#number(this.#pids, p, (address) => go.pid(address)),
      g: g === 0 ? undefined : this.#goroutines.get(g),
    };
  }

  #number(known: Map<number, number>, address: number, read: (address: number) => number): number {
    let number = known.get(address);
    if (number === undefined) {
      number = read(address);
      // An M's number is given to it after its first code has run.
      if (known === this.#pids || number !== 0) known.set(address, number);
    }
    return number;
  }

  /** The record of the goroutine at `g`; made now if it was not seen before. */
  goroutine(g: number, parent?: GoroutineRecord): GoroutineRecord {
    const id = this.go.goid(g);
    const known = this.#goroutines.get(g);
    if (known !== undefined && known.id === id) return known;
    const { symbols } = this.machine;
    const creatorPc = this.go.creatorPc(g);
    const site = creatorPc === 0 ? undefined : symbols.inlineStack(creatorPc - 1)[0];
    const record: GoroutineRecord = {
      address: g,
      id,
      startFunction: this.go.startName(this.go.startPc(g)) ?? "?",
      startPc: this.go.startPc(g),
      parent,
      creator: site?.name,
      created: site?.file === undefined || site.line === undefined ? undefined : { file: site.file, line: site.line },
      queue: undefined,
      state: "waiting",
      waitReason: undefined,
      runTime: 0,
      runInstructions: 0,
      preemptRequest: undefined,
      spells: 0,
    };
    this.#goroutines.set(g, record);
    return record;
  }

  #isKnown(g: number): boolean {
    return this.#goroutines.get(g)?.id === this.go.goid(g);
  }

  #tell(event: SchedulerEvent, place: Place): void {
    for (const listener of this.#listeners) listener(event, place);
  }

  #emit(thread: LinuxThread, event: SchedulerEvent): void {
    this.#tell(event, this.place(thread));
  }

  #setProbes(): void {
    const { go } = this;
    this.#set.push(
      this.probes.onThread({
        start: (thread, parent) => {
          this.#emit(thread, { kind: "thread-start", parent, number: this.#numberOfNew(thread) });
        },
        exit: (thread) => this.#emit(thread, { kind: "thread-exit" }),
      }),
    );
    this.onEntry("runtime.runqput", (thread) => this.#runqput(thread));
    this.onEntry("runtime.ready", (thread) => this.#ready(thread, this.argument(thread, 0), "goroutine"));
    this.onEntry("runtime.injectglist", (thread) => {
      const list = this.argument(thread, 0);
      let g = go.layout.minor < GLIST_POINTER || list === 0 ? list : this.machine.memory.readPointer(list);
      for (; g !== 0; g = go.scheduledNext(g)) this.#ready(thread, g, "runtime");
    });
    this.onEntry("runtime.execute", (thread) => this.#execute(thread));
    this.onEntry("runtime.park_m", (thread) => {
      const parked = this.goroutine(this.argument(thread, 0));
      const reason = go.waitReason(parked.address);
      parked.waitReason = reason;
      this.#emit(thread, { kind: "park", parked, reason });
      parked.state = "waiting";
    });
    this.onEntry("runtime.gosched_m", (thread) => this.#causes.set(thread, "Gosched"));
    this.onEntry("runtime.goschedguarded_m", (thread) => this.#causes.set(thread, "GC guard"));
    this.onEntry("runtime.goschedImpl", (thread) => {
      this.#yield(thread, this.#causes.get(thread) ?? "preempted");
      const yielded = this.goroutine(this.argument(thread, 0));
      yielded.queue = { kind: "global", p: undefined };
    });
    this.onEntry("runtime.goyield_m", (thread) => this.#yield(thread, "goyield"));
    this.onEntry("runtime.preemptPark", (thread) => this.#yield(thread, "stopped for preemption"));
    this.onEntry("runtime.goexit0", (thread) => {
      const exited = this.goroutine(this.argument(thread, 0));
      this.#emit(thread, { kind: "exit", exited });
      exited.state = "exited";
      this.#goroutines.delete(exited.address);
    });
    this.onEntry("runtime.preemptone", (thread) => this.#preemptRequest(thread));
    this.onEntry("runtime.handoffp", (thread) => {
      this.#emit(thread, { kind: "handoff", processor: go.pid(this.argument(thread, 0)) });
    });
    for (const name of ["runtime.exitsyscall0", "runtime.exitsyscallNoP"]) {
      this.onEntry(name, (thread) => {
        const returned = this.goroutine(this.argument(thread, 0));
        this.#emit(thread, { kind: "syscall-no-p", returned });
        returned.queue = { kind: "global", p: undefined };
        returned.state = "runnable";
      });
    }
    this.onEntry("runtime.stopTheWorldWithSema", (thread) => this.#emit(thread, { kind: "stop-the-world" }));
    this.onEntry("runtime.startTheWorldWithSema", (thread) => this.#emit(thread, { kind: "start-the-world" }));
    this.onEntry("runtime.gcStart", (thread) => this.#emit(thread, { kind: "gc", phase: "start" }));
    this.onEntry("runtime.gcMarkTermination", (thread) =>
      this.#emit(thread, { kind: "gc", phase: "mark termination" }),
    );
    this.onEntry("runtime.gcSweep", (thread) => this.#emit(thread, { kind: "gc", phase: "sweep" }));
  }

  /** The number of a new thread's M: runtime.clone leaves its g0 in R9 (Go runtime/sys_linux_amd64.s). */
  #numberOfNew(thread: LinuxThread): number | undefined {
    const g0 = Number(thread.cpu.gpr[REG.R9]);
    try {
      const m = g0 === 0 ? 0 : this.go.threadOf(g0);
      return m !== 0 && this.go.thread(m).g0 === g0 ? this.go.mid(m) : undefined;
    } catch (error) {
      if (error instanceof GuestFault) return undefined;
      throw error;
    }
  }

  /** runqput(pp *p, gp *g, next bool): a new goroutine, or one that may run again. */
  #runqput(thread: LinuxThread): void {
    const { go } = this;
    const [p, g, next] = [0, 1, 2].map((index) => this.argument(thread, index));
    const isNext = (next & 0xff) !== 0;
    const isFull = !isNext && go.runQueueLength(p) >= RUNQ_SIZE;
    const place: QueuePlace = isFull
      ? { kind: "global", p: undefined }
      : { kind: isNext ? "runnext" : "local", p: this.#number(this.#pids, p, (address) => go.pid(address)) };
    const isNew = !this.#isKnown(g);
    // What was next goes to the end of the queue.
    const kicked = isNext ? this.#goroutines.get(go.runNext(p)) : undefined;
    if (kicked !== undefined) kicked.queue = { kind: "local", p: place.p };
    const record = this.goroutine(g, isNew ? this.place(thread).g : undefined);
    record.queue = place;
    record.state = "runnable";
    if (isNew) this.#emit(thread, { kind: "create", created: record });
    else this.#emit(thread, { kind: "queue", queued: record, place });
  }

  #ready(thread: LinuxThread, g: number, by: "goroutine" | "runtime"): void {
    const woken = this.goroutine(g);
    this.#emit(thread, { kind: "ready", woken, by });
    woken.state = "runnable";
    if (by === "runtime") woken.queue = { kind: "global", p: undefined };
  }

  #execute(thread: LinuxThread): void {
    const run = this.goroutine(this.argument(thread, 0));
    // Straight from the network poller, without a queue.
    if (run.state === "waiting" && run.spells > 0) this.#ready(thread, run.address, "runtime");
    const from = run.queue;
    const place = this.place(thread);
    run.queue = undefined;
    run.state = "running";
    run.spells++;
    run.runTime = place.time;
    run.runInstructions = place.instructions;
    run.preemptRequest = undefined;
    this.#tell({ kind: "run", run, from }, place);
  }

  #yield(thread: LinuxThread, cause: YieldCause): void {
    this.#causes.delete(thread);
    const yielded = this.goroutine(this.argument(thread, 0));
    this.#emit(thread, { kind: "yield", yielded, cause });
    yielded.state = cause === "stopped for preemption" ? "waiting" : "runnable";
  }

  /** preemptone(pp *p) */
  #preemptRequest(thread: LinuxThread): void {
    const { go } = this;
    const m = go.processor(this.argument(thread, 0)).m;
    const g = m === 0 ? 0 : go.thread(m).curg;
    if (g === 0) return;
    const target = this.goroutine(g);
    const by = go.currentG(thread) === 0 ? "?" : this.#requester(thread);
    target.preemptRequest = { time: this.now, by };
    this.#emit(thread, { kind: "preempt-request", target, by });
  }

  /** sysmon, or what asks for a stop of the world. */
  #requester(thread: LinuxThread): string {
    const names = this.go.threadStack(thread, 12).map(({ name }) => name ?? "");
    const known = ["runtime.sysmon", "runtime.stopTheWorldWithSema", "runtime.forEachP", "runtime.forEachPInternal"];
    const found = known.find((name) => names.includes(name)) ?? names[1] ?? "?";
    return found.replace(/^runtime\./, "");
  }
}
