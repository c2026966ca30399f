import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { GoroutineRecord, Place, SchedulerEvent, SchedulerEvents } from "../go/scheduler-events.ts";
import { GoTraceWriter } from "./go-trace-writer.ts";

/** Events of the format (Go internal/trace/tracev2/events.go). */
export const EVENT = {
  procStart: 10,
  procStop: 11,
  procSteal: 12,
  procStatus: 13,
  goCreate: 14,
  goStart: 16,
  goDestroy: 17,
  goStop: 19,
  goBlock: 20,
  goUnblock: 21,
  goSyscallBegin: 22,
  goSyscallEnd: 23,
  goSyscallEndBlocked: 24,
  goStatus: 25,
  stwBegin: 26,
  stwEnd: 27,
  gcBegin: 29,
  gcEnd: 30,
} as const;

const PROC_IDLE = 2;
const GO_RUNNABLE = 1;
/** Frames of a stack that are kept. */
const STACK_DEPTH = 64;

interface Goroutine {
  readonly id: number;
  state: "runnable" | "running" | "syscall" | "waiting";
  sequence: number;
}

interface Thread {
  readonly tid: number;
  processor: number | undefined;
  goroutine: Goroutine | undefined;
}

/**
 * Writes Go's own execution trace (format of Go 1.22, internal/trace), which `go tool trace` and gotraceui open, for a
 * program that takes no part in it. The reader checks each event against the scheduler's rules, so this keeps the same
 * state: who has which P and which goroutine, with the sequence numbers of each.
 */
export class GoTrace {
  readonly #scheduler: SchedulerEvents;
  readonly #writer: GoTraceWriter;
  readonly #threads = new Map<number, Thread>();
  readonly #goroutines = new Map<number, Goroutine>();
  /** Sequence numbers of the Ps, and who has them. */
  readonly #processors = new Map<number, { sequence: number; owner: Thread | undefined }>();
  #gcSequence = 0;
  /** The goroutine that has stopped the world. */
  #stopper: Goroutine | undefined;

  /** @param write takes pieces of the file in order */
  constructor(scheduler: SchedulerEvents, write: (bytes: Uint8Array) => void) {
    this.#scheduler = scheduler;
    this.#writer = new GoTraceWriter(write);
    scheduler.onEvent((event, place) => this.#event(event, place));
    for (const name of ["runtime.reentersyscall", "runtime.entersyscallblock"]) {
      scheduler.onEntry(name, (thread) => this.#enterSyscall(thread));
    }
    scheduler.onEntry("runtime.exitsyscall", (thread) => this.#exitSyscall(thread));
  }

  /** Writes what is left. */
  close(): void {
    this.#writer.close();
  }

  #emit(thread: Thread, time: number, event: number, ...args: number[]): void {
    this.#writer.event(thread.tid, time, event, args);
  }

  #thread(thread: LinuxThread): Thread {
    let known = this.#threads.get(thread.tid);
    if (known === undefined) {
      known = { tid: thread.tid, processor: undefined, goroutine: undefined };
      this.#threads.set(thread.tid, known);
    }
    return known;
  }

  #processor(thread: Thread, time: number, id: number): { sequence: number; owner: Thread | undefined } {
    let known = this.#processors.get(id);
    if (known === undefined) {
      known = { sequence: 0, owner: undefined };
      this.#processors.set(id, known);
      this.#emit(thread, time, EVENT.procStatus, id, PROC_IDLE);
    }
    return known;
  }

  #goroutine(thread: Thread, time: number, record: GoroutineRecord): Goroutine {
    let known = this.#goroutines.get(record.id);
    if (known === undefined) {
      // Made where nobody saw it.
      known = { id: record.id, state: "runnable", sequence: 0 };
      this.#goroutines.set(record.id, known);
      this.#writer.event(thread.tid, time, EVENT.goStatus, [record.id, NO_THREAD, GO_RUNNABLE]);
    }
    return known;
  }

  /** A stack's number, innermost frame first; 0 for none. */
  #stack(g: GoroutineRecord | undefined): number {
    return g === undefined ? 0 : this.#writer.stack(this.#scheduler.go.stack(g.address, STACK_DEPTH));
  }

  /** Takes a thread's P away, by itself. */
  #stop(thread: Thread, time: number): void {
    if (thread.processor === undefined) return;
    const processor = this.#processors.get(thread.processor);
    if (processor !== undefined) processor.owner = undefined;
    thread.processor = undefined;
    this.#emit(thread, time, EVENT.procStop);
  }

  /** Gives a thread the P that it has now, taking it from whoever had it. */
  #bind(thread: Thread, time: number, id: number | undefined): void {
    if (thread.processor === id) return;
    this.#stop(thread, time);
    if (id === undefined) return;
    const processor = this.#processor(thread, time, id);
    if (processor.owner !== undefined) this.#take(thread, time, id);
    processor.owner = thread;
    thread.processor = id;
    this.#emit(thread, time, EVENT.procStart, id, ++processor.sequence);
  }

  /** A P is taken from the thread that has it: in a system call, or about to sleep. */
  #take(thief: Thread, time: number, id: number): void {
    const processor = this.#processors.get(id);
    const owner = processor?.owner;
    if (processor === undefined || owner === undefined) return;
    if (owner.goroutine?.state === "running") this.#beginSyscall(owner, time, 0);
    if (owner.goroutine?.state !== "syscall" || owner === thief) {
      this.#stop(owner, time);
      return;
    }
    processor.owner = undefined;
    owner.processor = undefined;
    this.#emit(thief, time, EVENT.procSteal, id, ++processor.sequence, owner.tid);
  }

  #beginSyscall(thread: Thread, time: number, stack: number): void {
    const { goroutine, processor } = thread;
    const state = processor === undefined ? undefined : this.#processors.get(processor);
    if (goroutine?.state !== "running" || state === undefined) return;
    goroutine.state = "syscall";
    this.#emit(thread, time, EVENT.goSyscallBegin, ++state.sequence, stack);
  }

  #start(thread: Thread, time: number, goroutine: Goroutine): void {
    if (goroutine.state === "waiting") this.#emit(thread, time, EVENT.goUnblock, goroutine.id, ++goroutine.sequence, 0);
    goroutine.state = "running";
    thread.goroutine = goroutine;
    this.#emit(thread, time, EVENT.goStart, goroutine.id, ++goroutine.sequence);
  }

  /** Brings a thread to where the runtime says it is: its P, and back from a system call. */
  #sync(place: Place): Thread {
    const thread = this.#thread(place.thread);
    const { time, p } = place;
    const { goroutine } = thread;
    if (goroutine?.state === "syscall" && thread.processor === undefined && p !== undefined) {
      // The system call is over, and a P was found.
      goroutine.state = "runnable";
      thread.goroutine = undefined;
      this.#emit(thread, time, EVENT.goSyscallEndBlocked);
      this.#bind(thread, time, p);
      this.#start(thread, time, goroutine);
    } else if (goroutine?.state !== "syscall") this.#bind(thread, time, p);
    return thread;
  }

  #enterSyscall(thread: LinuxThread): void {
    const place = this.#scheduler.place(thread);
    this.#beginSyscall(this.#sync(place), place.time, this.#stack(place.g));
  }

  #exitSyscall(thread: LinuxThread): void {
    const state = this.#thread(thread);
    const { goroutine } = state;
    // Without its P, it is known only later how the goroutine goes on.
    if (goroutine?.state !== "syscall" || state.processor === undefined) return;
    goroutine.state = "running";
    this.#emit(state, this.#scheduler.now, EVENT.goSyscallEnd);
  }

  /** Ends a goroutine's running on a thread. */
  #leave(place: Place, record: GoroutineRecord, event: number, state: Goroutine["state"], ...args: number[]): void {
    const thread = this.#sync(place);
    const { goroutine } = thread;
    if (goroutine === undefined || goroutine.id !== record.id || goroutine.state !== "running") return;
    goroutine.state = state;
    thread.goroutine = undefined;
    this.#emit(thread, place.time, event, ...args);
  }

  #event(event: SchedulerEvent, place: Place): void {
    const { time } = place;
    switch (event.kind) {
      case "create": {
        const thread = this.#sync(place);
        if (thread.processor === undefined || this.#goroutines.has(event.created.id)) break;
        const { id, startPc } = event.created;
        this.#goroutines.set(id, { id, state: "runnable", sequence: 0 });
        const first = this.#writer.stack(this.#scheduler.go.frameAt(startPc));
        this.#emit(thread, time, EVENT.goCreate, id, first, this.#stack(place.g));
        break;
      }
      case "ready": {
        const thread = this.#sync(place);
        const goroutine = this.#goroutine(thread, time, event.woken);
        if (goroutine.state !== "waiting") break;
        goroutine.state = "runnable";
        this.#emit(thread, time, EVENT.goUnblock, goroutine.id, ++goroutine.sequence, this.#stack(place.g));
        break;
      }
      case "run": {
        const thread = this.#sync(place);
        const goroutine = this.#goroutine(thread, time, event.run);
        const isFree =
          thread.goroutine === undefined && (goroutine.state === "runnable" || goroutine.state === "waiting");
        if (isFree && thread.processor !== undefined) this.#start(thread, time, goroutine);
        break;
      }
      case "park": {
        const stack = this.#stack(event.parked);
        this.#leave(place, event.parked, EVENT.goBlock, "waiting", this.#writer.string(event.reason), stack);
        break;
      }
      case "yield": {
        const stack = this.#stack(event.yielded);
        const isBlocked = event.cause === "stopped for preemption";
        const reason = this.#writer.string(event.cause);
        const [type, state] = isBlocked ? [EVENT.goBlock, "waiting" as const] : [EVENT.goStop, "runnable" as const];
        this.#leave(place, event.yielded, type, state, reason, stack);
        break;
      }
      case "exit":
        this.#leave(place, event.exited, EVENT.goDestroy, "waiting");
        this.#goroutines.delete(event.exited.id);
        break;
      case "handoff": {
        const thread = this.#thread(place.thread);
        this.#take(thread, time, event.processor);
        break;
      }
      case "syscall-no-p": {
        const thread = this.#thread(place.thread);
        const { goroutine } = thread;
        if (goroutine === undefined) break;
        const isSyscall = goroutine.state === "syscall";
        if (isSyscall) this.#stop(thread, time);
        goroutine.state = "runnable";
        thread.goroutine = undefined;
        if (isSyscall) this.#emit(thread, time, EVENT.goSyscallEndBlocked);
        else this.#emit(thread, time, EVENT.goStop, this.#writer.string("no P"), 0);
        break;
      }
      case "stop-the-world": {
        const thread = this.#sync(place);
        if (thread.goroutine?.state !== "running" || thread.processor === undefined || this.#stopper !== undefined)
          break;
        this.#stopper = thread.goroutine;
        this.#emit(thread, time, EVENT.stwBegin, this.#writer.string("stop the world"), this.#stack(place.g));
        break;
      }
      case "start-the-world": {
        const thread = this.#sync(place);
        if (thread.goroutine === undefined || thread.goroutine !== this.#stopper || thread.processor === undefined)
          break;
        this.#stopper = undefined;
        this.#emit(thread, time, EVENT.stwEnd);
        break;
      }
      case "gc":
        this.#gc(event.phase, place);
        break;
      default:
    }
  }

  /** Collections have odd numbers where they begin, even ones where they end. */
  #gc(phase: "start" | "mark termination" | "sweep", place: Place): void {
    const isRunning = this.#gcSequence % 2 === 1;
    if (phase === "mark termination" || isRunning === (phase === "start")) return;
    const thread = this.#sync(place);
    if (thread.goroutine?.state !== "running" || thread.processor === undefined) return;
    const sequence = ++this.#gcSequence;
    if (phase === "start") this.#emit(thread, place.time, EVENT.gcBegin, sequence, this.#stack(place.g));
    else this.#emit(thread, place.time, EVENT.gcEnd, sequence);
  }
}

/** NoThread: -1 as 64 bits. */
export const NO_THREAD = -1;
