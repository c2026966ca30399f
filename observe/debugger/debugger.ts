import type { Stop } from "../../emu/interpreter/interpreter.ts";
import { SI_USER, SIGNAL } from "../../syscalls/abi/signals.ts";
import type { ExitStatus, LinuxProcess } from "../../syscalls/linux-process.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Machine } from "../../syscalls/machine.ts";
import type { SignalInfo } from "../../syscalls/signals/info.ts";
import type { Supervisor } from "../../syscalls/tracer.ts";
import { type Probe, Probes } from "../probes.ts";
import type { Action, AddressRange, StopEvent } from "./events.ts";
import { type Watchpoint, Watchpoints } from "./watchpoints.ts";

/** What the debugger keeps for a thread. */
interface Control {
  step: { readonly range: AddressRange | undefined } | undefined;
  /** The step's instruction has run; the kernel has still had to do with it. */
  stepped: boolean;
  /** RIP before signals were delivered to a thread that steps. */
  ripBeforeSignals: number | undefined;
  /** The signal that stopped it. */
  signal: SignalInfo | undefined;
  /** Signals that were looked at and are to be delivered. */
  readonly approved: Set<SignalInfo>;
  /** System call that it stands before, or has just come back from. */
  syscall: { readonly number: number; readonly entered: boolean } | undefined;
}

/** What a thread may do now: run, or go on step by step until it is asked again. */
export type Gate = "run" | "step";

const DONE: Stop = { kind: "fuel" };
const SYSCALL: Stop = { kind: "syscall" };
/** Every so many single steps the other threads go first, so that one can't step for ever in a spin lock. */
const STEPS_BEFORE_OTHERS = 16;

/**
 * A debugger's hold on a machine: it stops all threads at an event and tells the listener; `resume` lets them go on,
 * each in its own way. Breakpoints are the interpreter's stops, so guest memory is never patched. Without breakpoints,
 * watchpoints and steps the guest runs as if nobody looked.
 */
export class Debugger implements Supervisor {
  readonly machine: Machine;
  readonly process: LinuxProcess;
  readonly watchpoints: Watchpoints;
  /** Takes each event at which the guest has stopped; called from within the guest's turn. */
  listener: (event: StopEvent) => void = () => {};
  /** Signals that are delivered without a stop (gdb: nostop pass). Others stop. */
  passSignals: ReadonlySet<number> = new Set();
  /** System calls that stop the guest at entry and return: all, or these numbers. */
  catchSyscalls: "all" | ReadonlySet<number> = new Set();
  /** Asked each time before a thread runs. */
  gate: ((thread: LinuxThread) => Gate) | undefined;
  readonly #controls = new Map<LinuxThread, Control>();
  readonly #breakpoints = new Map<number, { readonly probe: Probe; count: number }>();
  readonly #waiting: StopEvent[] = [];
  #running = true;
  #attached = true;
  #steps = 0;
  /** The last event. */
  lastEvent: StopEvent | undefined;
  /** Has `resume` been called? */
  everResumed = false;

  /** Attaches; nothing stops until `interrupt`, a breakpoint, a signal, … */
  constructor(machine: Machine) {
    this.machine = machine;
    this.process = machine.process;
    this.watchpoints = new Watchpoints(this.process);
    this.process.supervisor = this;
    this.process.execute = (thread) => this.#execute(thread);
  }

  /** Does the guest run? */
  get running(): boolean {
    return this.#running;
  }

  get threads(): LinuxThread[] {
    return [...this.process.threads];
  }

  /** Number of the system call that a thread is in; undefined if it runs code of its own. */
  syscallOf(
    thread: LinuxThread,
  ): { readonly number: number; readonly phase: "entry" | "waiting" | "return" } | undefined {
    const control = this.#controls.get(thread);
    if (control?.syscall !== undefined) {
      return { number: control.syscall.number, phase: control.syscall.entered ? "return" : "entry" };
    }
    return thread.wait === undefined ? undefined : { number: thread.syscall, phase: "waiting" };
  }

  // Stopping and going on.

  /** Stops the guest, if it runs. */
  interrupt(): void {
    const threads = this.threads;
    const thread = threads.find(({ state, held }) => state === "runnable" && !held) ?? threads[0];
    if (!this.#running || thread === undefined) return;
    this.report({ kind: "interrupt", thread });
  }

  /** Lets the guest go on, each thread as `choose` says. */
  resume(choose: (thread: LinuxThread) => Action): void {
    const { scheduler } = this.process;
    if (this.process.finished) return;
    this.everResumed = true;
    const stepping: LinuxThread[] = [];
    for (const thread of this.threads) {
      const action = choose(thread);
      thread.held = action.kind === "stop";
      if (action.kind === "stop") continue;
      const control = this.#control(thread);
      control.step = action.kind === "step" ? { range: action.range } : undefined;
      control.stepped = false;
      control.ripBeforeSignals = undefined;
      if (control.syscall?.entered) control.syscall = undefined;
      this.#deliver(thread, control, action.signal ?? 0);
      if (action.kind === "step") stepping.push(thread);
    }
    const next = this.#waiting.findIndex((event) => !("thread" in event) || !event.thread.held);
    if (next >= 0) {
      const [event] = this.#waiting.splice(next, 1);
      queueMicrotask(() => this.#tell(event));
      return;
    }
    this.#running = true;
    scheduler.unpark();
    const first = ++this.#steps % STEPS_BEFORE_OTHERS !== 0;
    if (first) for (const thread of stepping) scheduler.prefer(thread);
    scheduler.resume();
  }

  #deliver(thread: LinuxThread, control: Control, signal: number): void {
    const held = control.signal;
    control.signal = undefined;
    if (signal === 0) return;
    const { pid, uid } = this.process;
    // `forced` so that it comes next, whatever else is pending or blocked meanwhile.
    const info = { ...(held?.signal === signal ? held : { signal, code: SI_USER, pid, uid }), forced: true };
    control.approved.add(info);
    thread.pending.unshift(info);
    if (thread.wait !== undefined) this.process.waits.interrupt(thread);
  }

  /** Lets go of the machine: what was set is taken away and the guest runs. */
  detach(): void {
    if (!this.#attached) return;
    this.#attached = false;
    this.clear();
    this.process.supervisor = undefined;
    this.process.execute = undefined;
    for (const thread of this.threads) {
      thread.held = false;
      const control = this.#controls.get(thread);
      if (control?.signal !== undefined) thread.pending.unshift(control.signal);
      // It stands behind SYSCALL, and nobody has carried it out: it is made again.
      if (control?.syscall !== undefined && !control.syscall.entered) thread.cpu.rip64 -= 2n;
    }
    this.#controls.clear();
    this.#waiting.length = 0;
    this.#running = true;
    this.process.scheduler.unpark();
    this.process.scheduler.resume();
  }

  /** Takes breakpoints, watchpoints and catchpoints away. */
  clear(): void {
    for (const { probe } of this.#breakpoints.values()) probe.remove();
    this.#breakpoints.clear();
    this.watchpoints.clear();
    this.catchSyscalls = new Set();
    this.passSignals = new Set();
    this.gate = undefined;
  }

  /** To be called when the machine's run has ended. */
  exited(status: ExitStatus): void {
    this.#running = false;
    this.#tell({ kind: "exited", status });
  }

  /** Makes a thread that is about to run take a single step. */
  stepNow(thread: LinuxThread): void {
    const control = this.#control(thread);
    control.step = { range: undefined };
    control.stepped = false;
  }

  // Breakpoints and watchpoints.

  /** @throws ProbeError if no code is mapped there */
  setBreakpoint(address: number): void {
    const known = this.#breakpoints.get(address);
    if (known !== undefined) {
      known.count++;
      return;
    }
    const probe = Probes.of(this.machine).onAddress(address, (thread) => {
      if (this.#running) this.report({ kind: "breakpoint", thread, address });
    });
    this.#breakpoints.set(address, { probe, count: 1 });
  }

  /** Takes back one setBreakpoint; false if there was none. */
  removeBreakpoint(address: number): boolean {
    const known = this.#breakpoints.get(address);
    if (known === undefined) return false;
    if (--known.count === 0) {
      this.#breakpoints.delete(address);
      known.probe.remove();
    }
    return true;
  }

  hasBreakpoint(address: number): boolean {
    return this.#breakpoints.has(address);
  }

  setWatchpoint(watchpoint: Watchpoint): void {
    this.watchpoints.add(watchpoint);
  }

  // Events.

  #control(thread: LinuxThread): Control {
    let control = this.#controls.get(thread);
    if (control === undefined) {
      control = {
        step: undefined,
        stepped: false,
        ripBeforeSignals: undefined,
        signal: undefined,
        approved: new Set(),
        syscall: undefined,
      };
      this.#controls.set(thread, control);
    }
    return control;
  }

  /** Stops the guest for an event; one that comes while it stands already is told at the next `resume`. */
  report(event: StopEvent): void {
    if (!this.#running) {
      this.#waiting.push(event);
      return;
    }
    this.#running = false;
    this.process.scheduler.pause();
    this.#tell(event);
  }

  #tell(event: StopEvent): void {
    this.lastEvent = event;
    this.listener(event);
  }

  /** Runs a thread (Kernel.execute): steps it, or minds its watchpoints. */
  #execute(thread: LinuxThread): Stop | undefined {
    const control = this.#controls.get(thread);
    if (control?.syscall !== undefined && !control.syscall.entered) {
      control.stepped = control.step !== undefined;
      return SYSCALL;
    }
    if (control?.step !== undefined && this.#stepIsDone(thread, control)) {
      this.report({ kind: "step", thread });
      return DONE;
    }
    const { active } = this.watchpoints;
    if (active) this.watchpoints.arm();
    if (control?.step !== undefined) return this.#step(thread, control);
    if (this.gate?.(thread) === "step") return active ? this.#stepWatched(thread) : this.#stepPlain(thread);
    if (!active) return undefined;
    const { interpreter } = this.process;
    const stop = interpreter.run(thread.cpu, interpreter.code.stops);
    return stop.kind === "watch" ? this.#stepWatched(thread) : stop;
  }

  #stepIsDone(thread: LinuxThread, control: Control): boolean {
    const { rip } = thread.cpu;
    const handler = control.ripBeforeSignals !== undefined && control.ripBeforeSignals !== rip;
    control.ripBeforeSignals = undefined;
    // A handler's first instruction ends the step, as under ptrace (Linux: signal_delivered).
    if (handler) return true;
    if (!control.stepped) return false;
    control.stepped = false;
    const range = control.step?.range;
    return range === undefined || rip < range.start || rip >= range.end;
  }

  #step(thread: LinuxThread, control: Control): Stop {
    const stop = this.watchpoints.active ? this.#stepWatched(thread) : this.#stepPlain(thread);
    control.stepped = true;
    if (!this.#running) return stop;
    const complete = stop.kind === "fuel" || stop.kind === "stop" || stop.kind === "yield";
    if (complete && this.#stepIsDone(thread, control)) this.report({ kind: "step", thread });
    return stop;
  }

  #stepPlain(thread: LinuxThread): Stop {
    const { interpreter } = this.process;
    return interpreter.step(thread.cpu, interpreter.code.stops);
  }

  #stepWatched(thread: LinuxThread): Stop {
    const { result: stop, hit } = this.watchpoints.record(thread.cpu.rip, () => this.#stepPlain(thread));
    if (hit !== undefined && (stop.kind === "fuel" || stop.kind === "stop")) {
      this.report({ kind: "watchpoint", thread, ...hit });
    }
    return stop;
  }

  // What the process asks (Supervisor).

  signal(thread: LinuxThread, info: SignalInfo): boolean {
    const control = this.#control(thread);
    control.ripBeforeSignals ??= thread.cpu.rip;
    if (control.approved.delete(info) || info.signal === SIGNAL.SIGKILL) return true;
    // A thread that steps shows every signal: its handler is not part of the step.
    if (this.passSignals.has(info.signal) && control.step === undefined) return true;
    control.signal = info;
    this.report({ kind: "signal", thread, info });
    return false;
  }

  #catches(number: number): boolean {
    return this.catchSyscalls === "all" || this.catchSyscalls.has(number);
  }

  syscallEntry(thread: LinuxThread, number: number): boolean {
    const control = this.#controls.get(thread);
    if (control?.syscall !== undefined) {
      control.syscall = undefined;
      return true;
    }
    if (!this.#catches(number)) return true;
    this.#control(thread).syscall = { number, entered: false };
    this.report({ kind: "syscallEntry", thread, number });
    return false;
  }

  syscallReturn(thread: LinuxThread, number: number): void {
    if (!this.#catches(number)) return;
    this.#control(thread).syscall = { number, entered: true };
    this.report({ kind: "syscallReturn", thread, number });
  }

  threadExit(thread: LinuxThread): void {
    this.#controls.delete(thread);
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      const event = this.#waiting[i];
      if ("thread" in event && event.thread === thread) this.#waiting.splice(i, 1);
    }
    const left = this.threads;
    if (left.length > 0 && left.every(({ held }) => held)) this.report({ kind: "noResumed" });
  }
}
