import type { CpuState } from "../cpu/state.ts";
import type { Interpreter, Stop } from "../interpreter/interpreter.ts";
import { TimerQueue } from "./timer-queue.ts";

/** A guest thread as the scheduler sees it. */
export interface GuestThread {
  readonly tid: number;
  readonly cpu: CpuState;
  state: "runnable" | "blocked" | "exited";
  /** Time spent running, in ns, and instructions run. */
  cpuTime: number;
  instructions: number;
  /** RIP of a stop (CodeCache.stops) that the kernel has been told of, before its instruction has run. */
  passedStop?: number;
  /** Held back by a debugger while the others may run. */
  readonly held?: boolean;
}

/** The kernel personality: what happens when guest code stops. */
export interface Kernel<T extends GuestThread> {
  /** Threads are about to run after a while in which the host could do something else. */
  beginSlice(): void;
  /** Before a thread runs: deliver what is pending. The thread may be no longer runnable afterwards. */
  prepare(thread: T): void;
  /** Guest code stopped for anything but the end of its time slice. */
  stopped(thread: T, stop: Stop): void;
  /** Runs a thread in the interpreter's place, within `cpu.fuel`; undefined leaves it to the interpreter. */
  execute?: ((thread: T) => Stop | undefined) | undefined;
  /** A thread gets the CPU, or gives it up (undefined): for those who watch. */
  onSwitch?: ((thread: T | undefined) => void) | undefined;
  /** A thread's time slice is over; `ns` of CPU time went by. */
  charge(thread: T, ns: number): void;
  /** Is the process over? */
  readonly finished: boolean;
}

/** The host's event loop, as far as the machine needs it. */
export interface EventLoop {
  /** CLOCK_MONOTONIC in ns. */
  now(): number;
  /** Lets the host's events through. */
  yield(): Promise<void>;
  /** Sleeps for at most `ns` (Infinity: until something happens), or until `wake`. */
  wait(ns: number): Promise<void>;
  /** Ends a `wait`; remembered if none is under way. */
  wake(): void;
}

const AT_STOP: Stop = { kind: "stop" };
/** Longest time between two visits to the host's event loop. */
const SLICE_NS = 8e6;
/** Instructions that a thread runs before the next one's turn: about a millisecond in the interpreter. */
export const QUANTUM = 100_000;

/**
 * Runs guest threads in turn on one host thread: a queue in order of wake-up, a quantum counted in instructions. The
 * order depends on nothing but instruction counts and on when the kernel wakes threads (docs/architecture.md).
 */
export class Scheduler<T extends GuestThread> {
  readonly timers = new TimerQueue();
  readonly #queue: T[] = [];
  #head = 0;
  readonly #interpreter: Interpreter;
  readonly #loop: EventLoop;
  readonly #kernel: Kernel<T>;
  /** The thread whose code or system call runs now. */
  current: T | undefined;
  /** When its turn began, on the event loop's clock. */
  turnStart = 0;
  /** The current thread goes to the end of the queue after its system call. */
  #yielded = false;
  /** Switches from one thread to another. */
  switches = 0;
  #last: T | undefined;
  /** Runnable threads that are held. */
  readonly #parked = new Set<T>();
  #paused = false;

  constructor(interpreter: Interpreter, loop: EventLoop, kernel: Kernel<T>) {
    this.#interpreter = interpreter;
    this.#loop = loop;
    this.#kernel = kernel;
  }

  get runnable(): number {
    return this.#queue.length - this.#head;
  }

  /** Puts a thread at the end of the queue. */
  enqueue(thread: T): void {
    thread.state = "runnable";
    if (thread !== this.current) this.#queue.push(thread);
  }

  /** The current thread gives up the rest of its quantum (sched_yield(2), PAUSE). */
  yieldCurrent(): void {
    this.#yielded = true;
  }

  /** Is the guest held up by `pause`? */
  get paused(): boolean {
    return this.#paused;
  }

  /**
   * Holds the whole guest before its next instruction (from within a callback at a stop: before the instruction there);
   * the host's event loop goes on. Timers that come due fire after `resume`.
   */
  pause(): void {
    this.#paused = true;
  }

  /** Lets the guest go on after `pause`. */
  resume(): void {
    this.#paused = false;
    this.#loop.wake();
  }

  /** Puts threads that are no longer held back into the queue. */
  unpark(): void {
    for (const thread of this.#parked) {
      if (thread.held) continue;
      this.#parked.delete(thread);
      this.#queue.push(thread);
    }
    this.#loop.wake();
  }

  /** Moves a thread that waits for its turn to the front of the queue. */
  prefer(thread: T): void {
    const at = this.#queue.indexOf(thread, this.#head);
    if (at < 0) return;
    this.#queue.splice(at, 1);
    this.#queue.splice(this.#head, 0, thread);
  }

  #dequeue(): T | undefined {
    while (this.#head < this.#queue.length) {
      const thread = this.#queue[this.#head++];
      if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
        this.#queue.splice(0, this.#head);
        this.#head = 0;
      }
      if (thread.state !== "runnable") continue;
      if (!thread.held) return thread;
      this.#parked.add(thread);
    }
    return undefined;
  }

  /** Runs the guest until its end. */
  async run(): Promise<void> {
    while (!this.#kernel.finished) {
      if (this.#paused) {
        await this.#loop.wait(Number.POSITIVE_INFINITY);
        continue;
      }
      const end = this.#loop.now() + SLICE_NS;
      let now = end - SLICE_NS;
      this.#kernel.beginSlice();
      while (now < end && !this.#kernel.finished && !this.#paused) {
        this.timers.expire(now);
        const thread = this.#dequeue();
        if (thread === undefined) break;
        now = this.#turn(thread, now);
      }
      if (this.#kernel.finished) return;
      if (this.#paused) continue;
      if (this.runnable > 0) await this.#loop.yield();
      else await this.#loop.wait(Math.max(0, this.timers.next - this.#loop.now()));
    }
  }

  /** Tells the kernel, once, that a thread is about to run the instruction at a stop. */
  #atStop(thread: T, stops: ReadonlySet<number>): boolean {
    const { rip } = thread.cpu;
    if (!stops.has(rip) || thread.passedStop === rip) return false;
    thread.passedStop = rip;
    this.#kernel.stopped(thread, AT_STOP);
    return true;
  }

  /** One quantum of a thread; returns the time after it. */
  #turn(thread: T, start: number): number {
    if (thread !== this.#last) {
      this.switches++;
      this.#last = thread;
    }
    this.current = thread;
    this.turnStart = start;
    this.#yielded = false;
    this.#kernel.onSwitch?.(thread);
    const { cpu } = thread;
    const { stops } = this.#interpreter.code;
    let budget = QUANTUM;
    while (budget > 0 && thread.state === "runnable" && !this.#yielded && !this.#paused && !this.#kernel.finished) {
      this.#kernel.prepare(thread);
      if (thread.state !== "runnable" || this.#paused || this.#kernel.finished) break;
      if (stops.size > 0 && this.#atStop(thread, stops)) continue;
      cpu.fuel = budget;
      const stop = this.#kernel.execute?.(thread) ?? this.#interpreter.run(cpu, stops.size > 0 ? stops : undefined);
      const ran = budget - cpu.fuel;
      thread.instructions += ran;
      budget -= Math.max(ran, 1);
      // Out of fuel at a stop: a string instruction there that is half done (at its start, `run` would say "stop").
      if (thread.passedStop !== undefined) thread.passedStop = stop.kind === "fuel" ? cpu.rip : undefined;
      if (stop.kind === "yield") break;
      if (stop.kind !== "fuel" && stop.kind !== "stop") this.#kernel.stopped(thread, stop);
    }
    this.current = undefined;
    this.#kernel.onSwitch?.(undefined);
    const now = this.#loop.now();
    thread.cpuTime += now - start;
    this.#kernel.charge(thread, now - start);
    if (thread.state === "runnable") this.#queue.push(thread);
    return now;
  }
}
