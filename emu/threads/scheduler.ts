import type { CpuState } from "../cpu/state.ts";
import type { Stop } from "../interpreter/interpreter.ts";
import { SeededRandom } from "./random.ts";
import { RunQueue } from "./run-queue.ts";
import { TimerQueue } from "./timer-queue.ts";

/** A guest thread as the scheduler sees it. */
export interface GuestThread {
  readonly tid: number;
  readonly cpu: CpuState;
  /** One that is `stopped` is nothing to the scheduler until whoever has stopped it puts it into the queue again. */
  state: "runnable" | "blocked" | "stopped" | "exited";
  /** Time spent running, in ns, and instructions run. */
  cpuTime: number;
  instructions: number;
  /** RIP of a stop (CodeCache.stops) that the kernel has been told of, before its instruction has run. */
  passedStop?: number;
  /** Held back by a debugger while the others may run. */
  readonly held?: boolean;
  /** What runs its code: the core of its address space. Like `cpu` it is another one after execve(2). */
  readonly processor: Processor;
}

/** The kernel personality: what happens when guest code stops. Threads may be those of several processes. */
export interface Kernel<T extends GuestThread> {
  /** Threads are about to run after a while in which the host could do something else. */
  beginSlice(): void;
  /** Before a thread runs: deliver what is pending. The thread may be no longer runnable afterwards. */
  prepare(thread: T): void;
  /** Guest code stopped for anything but the end of its time slice. */
  stopped(thread: T, stop: Stop): void;
  /** Runs a thread in its processor's place, within `cpu.fuel`; undefined leaves it to the processor. */
  execute?: ((thread: T) => Stop | undefined) | undefined;
  /** A thread gets the CPU, or gives it up (undefined): for those who watch. */
  onSwitch?: ((thread: T | undefined) => void) | undefined;
  /** A thread's time slice is over; `ns` of CPU time went by. */
  charge(thread: T, ns: number): void;
  /** Is all over? */
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

/** What runs the code of an address space: a core (emu/machine.ts). */
export interface Processor {
  readonly code: { readonly stops: ReadonlySet<number> };
  /** Runs a thread until something needs the kernel, or `cpu.fuel` instructions have run and the block is at its end. */
  run(cpu: CpuState, stops?: ReadonlySet<number>): Stop;
}

export interface SchedulerOptions {
  /** Seed of what is left to chance: the lengths of turns and their order. The same seed, the same choices. */
  readonly seed?: number | undefined;
}

const AT_STOP: Stop = { kind: "stop" };
/** Longest time between two visits to the host's event loop. */
const SLICE_NS = 8e6;
/** Instructions of an average turn: about a millisecond in the interpreter, a tenth of that in compiled code. */
export const QUANTUM = 100_000;
/** Instructions that a system call, or whatever else the kernel does for a thread, takes from its turn. */
const KERNEL_COST = 500;
/** One turn in so many is of any length from 200 instructions to a quantum. */
const ODD_TURNS = 16;
const SHORTEST = 200;
const ODD_DOUBLINGS = 9;
/** One wake-up in so many interrupts the thread that made it, 1 to 16,384 instructions later. */
const PREEMPTIONS = 4;
const PREEMPTION_DOUBLINGS = 14;

/**
 * Runs guest threads, of all address spaces there are, in turn on one host thread. A turn is so many instructions, the order that of `RunQueue`. Were both
 * fixed, threads that meet in a loop would meet in the same way each time: one that stops all others again and again, as
 * Go's garbage collector may, would do so before any of them has run an instruction of its own. Several processors, or
 * Linux's preemption by threads that are woken (kernel/sched/fair.c, check_preempt_wakeup_fair), make that a matter of
 * chance, so it is here: lengths and order are drawn from a seeded generator. All depends on nothing but the seed, on
 * instruction counts and on when the kernel wakes threads (docs/architecture.md).
 */
export class Scheduler<T extends GuestThread> {
  readonly timers = new TimerQueue();
  readonly #random: SeededRandom;
  readonly #queue: RunQueue<T>;
  readonly #loop: EventLoop;
  readonly #kernel: Kernel<T>;
  /** The thread whose code or system call runs now. */
  current: T | undefined;
  /** When its turn began, on the event loop's clock. */
  turnStart = 0;
  /** The current thread goes to the end of the queue after its system call. */
  #yielded = false;
  /** What is left of the current thread's turn, in instructions. */
  #budget = 0;
  /** The current thread's turn was cut short by a thread that it has woken. */
  #preempted = false;
  /** Switches from one thread to another. */
  switches = 0;
  #last: T | undefined;
  /** Runnable threads that are held. */
  readonly #parked = new Set<T>();
  #paused = false;

  constructor(loop: EventLoop, kernel: Kernel<T>, { seed = 1 }: SchedulerOptions = {}) {
    this.#random = new SeededRandom(seed);
    this.#queue = new RunQueue(this.#random, 2 * QUANTUM);
    this.#loop = loop;
    this.#kernel = kernel;
  }

  get runnable(): number {
    return this.#queue.size;
  }

  /** A thread is new, or has been woken: it has a turn soon. */
  enqueue(thread: T): void {
    thread.state = "runnable";
    if (thread === this.current) return;
    this.#queue.pushFresh(thread);
    if (this.current === undefined || !this.#random.oneIn(PREEMPTIONS)) return;
    const left = this.#random.logarithmic(1, PREEMPTION_DOUBLINGS);
    if (left >= this.#budget) return;
    this.#budget = left;
    this.#preempted = true;
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
      this.#queue.pushFresh(thread);
    }
    this.#loop.wake();
  }

  /** Moves a thread that waits for its turn to the front of the queue. */
  prefer(thread: T): void {
    this.#queue.prefer(thread);
  }

  #dequeue(): T | undefined {
    for (let thread = this.#queue.take(); thread !== undefined; thread = this.#queue.take()) {
      if (thread.state !== "runnable") continue;
      if (!thread.held) return thread;
      this.#parked.add(thread);
    }
    return undefined;
  }

  /** Instructions of a turn: mostly about a quantum. */
  #drawTurn(): number {
    if (this.#random.oneIn(ODD_TURNS)) return this.#random.logarithmic(SHORTEST, ODD_DOUBLINGS);
    return QUANTUM / 2 + this.#random.below(QUANTUM);
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

  /** A thread's turn; returns the time after it. */
  #turn(thread: T, start: number): number {
    if (thread !== this.#last) {
      this.switches++;
      this.#last = thread;
    }
    this.current = thread;
    this.turnStart = start;
    this.#yielded = false;
    this.#preempted = false;
    this.#kernel.onSwitch?.(thread);
    let used = 0;
    this.#budget = this.#drawTurn();
    while (
      this.#budget > 0 &&
      thread.state === "runnable" &&
      !this.#yielded &&
      !this.#paused &&
      !this.#kernel.finished
    ) {
      this.#kernel.prepare(thread);
      if (thread.state !== "runnable" || this.#paused || this.#kernel.finished) break;
      // What the kernel does may have given it another program to run (execve(2)).
      const { cpu, processor } = thread;
      const { stops } = processor.code;
      if (stops.size > 0 && this.#atStop(thread, stops)) continue;
      const budget = this.#budget;
      cpu.fuel = budget;
      const stop = this.#kernel.execute?.(thread) ?? processor.run(cpu, stops.size > 0 ? stops : undefined);
      const ran = budget - cpu.fuel;
      thread.instructions += ran;
      const cost = stop.kind === "fuel" || stop.kind === "stop" ? Math.max(ran, 1) : ran + KERNEL_COST;
      this.#budget -= cost;
      used += cost;
      // Out of fuel at a stop: a string instruction there that is half done (at its start, `run` would say "stop").
      if (thread.passedStop !== undefined) thread.passedStop = stop.kind === "fuel" ? cpu.rip : undefined;
      if (stop.kind === "yield") this.#yielded = true;
      else if (stop.kind !== "fuel" && stop.kind !== "stop") this.#kernel.stopped(thread, stop);
    }
    this.current = undefined;
    this.#kernel.onSwitch?.(undefined);
    const now = this.#loop.now();
    thread.cpuTime += now - start;
    this.#kernel.charge(thread, now - start);
    this.#queue.ran(used);
    if (thread.state !== "runnable") return now;
    if (this.#yielded || (this.#budget <= 0 && !this.#preempted)) this.#queue.pushSpent(thread);
    else this.#queue.pushFresh(thread);
    return now;
  }
}
