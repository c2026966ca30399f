import { REG } from "../../emu/cpu/state.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Debugger } from "../debugger/debugger.ts";
import type { Action, StopEvent } from "../debugger/events.ts";
import { goRuntimeOf, unlessDamaged } from "../debugger/go-view.ts";
import { type Probe, Probes } from "../probes.ts";
import { type SourceView, sameLine } from "./source.ts";

/** Stretches of a line that are stepped through before a step is given up, for code that never leaves its line. */
const MAX_STRETCHES = 100_000;
/** Functions of the runtime that calls of others lead to: a step goes over them. */
const HELPER = /^(runtime[./]|gogo$|internal\/(runtime|abi|bytealg)[./])/;

/** Steps by source line and out of functions, on top of the debugger's single steps. Each waits for its end. */
export class Stepper {
  readonly #debug: Debugger;
  readonly #source: SourceView;
  #waiting: ((event: StopEvent) => void) | undefined;
  /** A run to an address that is under way. */
  #target: { readonly reached: (thread: LinuxThread) => boolean } | undefined;
  #reached: LinuxThread | undefined;

  constructor(debug: Debugger, source: SourceView) {
    this.#debug = debug;
    this.#source = source;
    debug.listener = (event) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.(event);
    };
  }

  /** Lets the guest go on and waits for the next event. */
  resume(choose: (thread: LinuxThread) => Action): Promise<StopEvent> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#debug.resume((thread) => {
        const action = choose(thread);
        // A breakpoint at which the thread stands already is not to stop it again.
        const { lastEvent } = this.#debug;
        const stopped = lastEvent !== undefined && "thread" in lastEvent && lastEvent.thread === thread;
        if (stopped && action.kind !== "stop") thread.passedStop = thread.cpu.rip;
        return action;
      });
    });
  }

  /** One instruction of a thread; the others may run. */
  instruction(thread: LinuxThread, signal: number): Promise<StopEvent> {
    return this.#step(thread, { kind: "step", signal });
  }

  #step(thread: LinuxThread, action: Action): Promise<StopEvent> {
    return this.resume((other) => (other === thread ? action : { kind: "continue" }));
  }

  /** To the next line, into calls or over them. */
  async line(thread: LinuxThread, into: boolean): Promise<StopEvent> {
    let current = thread;
    const from = this.#source.lineOf(current.cpu.rip);
    const start = this.#source.function(current.cpu.rip);
    let frame = current.cpu.gpr[REG.RSP];
    for (let i = 0; i < MAX_STRETCHES; i++) {
      const range = this.#source.lineRange(current.cpu.rip);
      const event = await this.#step(current, { kind: "step", range });
      if (event.kind !== "step" || event.thread !== current) return event;
      const { rip, gpr } = current.cpu;
      const func = this.#source.function(rip);
      const called =
        func !== undefined && rip === func.address && gpr[REG.RSP] < frame && func.address !== start?.address;
      const recursive = func !== undefined && rip === func.address && func.address === start?.address;
      if (called || recursive) {
        const enter =
          into &&
          this.#source.lineOf(rip) !== undefined &&
          (start === undefined || !this.#isHelper(func.name, start.name));
        if (enter) return event;
        const back = await this.toReturn(current);
        if (back === undefined) return event;
        if ("event" in back) return back.event;
        current = back.thread;
      } else if (func?.address !== start?.address) {
        if (func === undefined || !this.#isHelper(func.name, start?.name ?? "")) return event;
      } else if (!sameLine(this.#source.lineOf(rip), from)) return event;
      frame = current.cpu.gpr[REG.RSP];
    }
    return { kind: "step", thread: current };
  }

  #isHelper(name: string, from: string): boolean {
    return HELPER.test(name) && !HELPER.test(from);
  }

  /** From a function's first instruction to where it returns. */
  toReturn(thread: LinuxThread): Promise<{ thread: LinuxThread } | { event: StopEvent } | undefined> {
    const sp = Number(thread.cpu.gpr[REG.RSP]);
    try {
      return this.runTo(thread, this.#debug.process.memory.readPointer(sp), sp + 8);
    } catch (error) {
      if (error instanceof GuestFault) return Promise.resolve(undefined);
      throw error;
    }
  }

  /**
   * Runs until the thread, or the thread that has its goroutine by then, is at an address in a frame that lies no lower
   * on the stack than `sp` of now. Stacks may move meanwhile: what counts is the distance to their upper end.
   */
  async runTo(
    thread: LinuxThread,
    address: number,
    sp: number,
  ): Promise<{ thread: LinuxThread } | { event: StopEvent }> {
    const runtime = goRuntimeOf(this.#debug.machine);
    const own = typeof runtime === "string" ? 0 : runtime.userG(thread);
    const top = (g: number): number =>
      typeof runtime === "string" || g === 0 ? 0 : unlessDamaged(() => runtime.goroutine(g).stack.hi, 0);
    const depth = top(own) - sp;
    this.#reached = undefined;
    this.#target = {
      reached: (other) => {
        const g = typeof runtime === "string" ? 0 : runtime.userG(other);
        if (g !== own || (own === 0 && other !== thread)) return false;
        return top(g) - Number(other.cpu.gpr[REG.RSP]) <= depth;
      },
    };
    const probe: Probe = Probes.of(this.#debug.machine).onAddress(address, (other) => {
      if (this.#target?.reached(other) !== true) return;
      this.#reached = other;
      this.#debug.report({ kind: "step", thread: other });
    });
    try {
      const event = await this.resume(() => ({ kind: "continue" }));
      return this.#reached === undefined ? { event } : { thread: this.#reached };
    } finally {
      probe.remove();
      this.#target = undefined;
    }
  }
}
