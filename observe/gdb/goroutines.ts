import { REG } from "../../emu/cpu/state.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Debugger } from "../debugger/debugger.ts";
import type { Action } from "../debugger/events.ts";
import { Freezer } from "../debugger/freezer.ts";
import { describeGoroutine, describeThread, unlessDamaged } from "../debugger/go-view.ts";
import { REGISTERS, registerNumber } from "../debugger/registers.ts";
import type { GoRuntime, Goroutine } from "../go/runtime.ts";
import { type Probe, Probes } from "../probes.ts";
import { type DebugThread, MachineThread, type ThreadModel } from "./threads.ts";

/** Guest threads that run no goroutine have their tid plus this as id, so that goroutines can have their own. */
export const THREAD_ID_BASE = 1_000_000_000;

const RIP = registerNumber("rip");
const RSP = registerNumber("rsp");
const RBP = registerNumber("rbp");
const R14 = REG.R14;

/** A goroutine that no thread runs: the registers are those of its gobuf. */
class ParkedGoroutine implements DebugThread {
  readonly id: number;
  readonly name: string;
  readonly #goroutine: Goroutine;
  readonly #runtime: GoRuntime;

  constructor(runtime: GoRuntime, goroutine: Goroutine) {
    this.#runtime = runtime;
    this.#goroutine = goroutine;
    this.id = goroutine.id;
    this.name = `goroutine ${goroutine.id}`;
  }

  get description(): string {
    return describeGoroutine(this.#runtime, this.#goroutine);
  }

  read(register: number): Uint8Array | undefined {
    const { sched, address } = this.#goroutine;
    const known = new Map([
      [RIP, sched.pc],
      [RSP, sched.sp],
      [RBP, sched.bp],
      // The register of the current g in Go's calling convention.
      [R14, address],
    ]);
    const value = known.get(register);
    if (value === undefined) return undefined;
    const bytes = new Uint8Array(REGISTERS[register].bits / 8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
    return bytes;
  }

  write(): boolean {
    return false;
  }
}

/** A goroutine on a thread: the registers are the thread's. */
class RunningGoroutine extends MachineThread {
  override readonly id: number;
  readonly #goid: number;

  constructor(debug: Debugger, thread: LinuxThread, goid: number) {
    super(debug, thread, (running) => `running, ${describeThread(debug.machine, running)}`);
    this.id = goid;
    this.#goid = goid;
  }

  override get name(): string {
    return `goroutine ${this.#goid}`;
  }
}

/** A thread without a goroutine. */
class BareThread extends MachineThread {
  override readonly id: number;

  constructor(debug: Debugger, thread: LinuxThread) {
    super(debug, thread, (bare) => describeThread(debug.machine, bare));
    this.id = THREAD_ID_BASE + thread.tid;
  }
}

/**
 * Goroutines in the place of threads: each has its goid as thread id, whether it runs or not. Threads that run none are
 * listed behind them. A goroutine that is not to go on is frozen, the runtime's own work is not.
 */
export class GoroutineThreads implements ThreadModel {
  readonly #debug: Debugger;
  readonly #runtime: GoRuntime;
  readonly #freezer: Freezer;
  /** Ids of goroutines that `monitor freeze` holds. */
  readonly frozen = new Set<number>();
  /** Goroutines that take a step as soon as they run. */
  #arrivals: Probe[] = [];
  /** Where threads look for another goroutine, while some are kept back. */
  #ends: Probe | undefined;

  constructor(debug: Debugger, runtime: GoRuntime) {
    this.#debug = debug;
    this.#runtime = runtime;
    this.#freezer = new Freezer(debug, runtime);
  }

  get canFreeze(): boolean {
    return this.#freezer.possible;
  }

  list(): readonly DebugThread[] {
    const running = this.#running();
    const goroutines = this.#goroutines().map((goroutine) => {
      const thread = running.get(goroutine.address);
      if (thread === undefined) return new ParkedGoroutine(this.#runtime, goroutine);
      return new RunningGoroutine(this.#debug, thread, goroutine.id);
    });
    const bare = this.#debug.threads.filter((thread) => !this.#isGoroutine(thread));
    return [...goroutines, ...bare.map((thread) => new BareThread(this.#debug, thread))];
  }

  #goroutines(): readonly Goroutine[] {
    return unlessDamaged(() => this.#runtime.goroutines(), []);
  }

  #isGoroutine(thread: LinuxThread): boolean {
    return this.#goid(thread) !== 0;
  }

  /** goid of the goroutine that a thread runs; 0 for none, also before the runtime has given it one. */
  #goid(thread: LinuxThread): number {
    const g = this.#runtime.userG(thread);
    return g === 0 ? 0 : unlessDamaged(() => this.#runtime.goid(g), 0);
  }

  /** Threads by the address of the g that they run. */
  #running(): Map<number, LinuxThread> {
    const running = new Map<number, LinuxThread>();
    for (const thread of this.#debug.threads) {
      const g = this.#runtime.userG(thread);
      if (g !== 0) running.set(g, thread);
    }
    return running;
  }

  find(id: number): DebugThread | undefined {
    if (id >= THREAD_ID_BASE) {
      const thread = this.#debug.process.threadById(id - THREAD_ID_BASE);
      return thread === undefined || this.#isGoroutine(thread) ? undefined : new BareThread(this.#debug, thread);
    }
    return this.list().find((thread) => thread.id === id);
  }

  of(thread: LinuxThread): DebugThread {
    const goid = this.#goid(thread);
    return goid === 0 ? new BareThread(this.#debug, thread) : new RunningGoroutine(this.#debug, thread, goid);
  }

  resume(choose: (id: number) => Action): void {
    for (const probe of this.#arrivals.splice(0)) probe.remove();
    this.#ends?.remove();
    this.#ends = undefined;
    const goroutines = this.#goroutines();
    const stopped = new Set(goroutines.filter(({ id }) => choose(id).kind === "stop").map(({ address }) => address));
    const isFrozen = (g: number): boolean => stopped.has(g) || this.frozen.has(this.#runtime.goid(g));
    this.#freezer.set(stopped.size > 0 || this.frozen.size > 0 ? isFrozen : undefined);
    if (stopped.size > 0) this.#watchEnds(isFrozen);
    const running = this.#running();
    for (const goroutine of goroutines) {
      if (choose(goroutine.id).kind === "step" && !running.has(goroutine.address)) this.#stepOnArrival(goroutine);
    }
    this.#debug.resume((thread) => {
      const action = choose(this.of(thread).id);
      // Its goroutine is kept back; the thread may have others to run, or work of the runtime's.
      return action.kind === "stop" ? { kind: "continue" } : action;
    });
  }

  /** Tells the client when the last goroutine that may run has ended: it would wait for ever. */
  #watchEnds(isFrozen: (g: number) => boolean): void {
    // A goroutine that ends, or waits, leaves its thread to schedule; one that has ended is no longer listed then.
    const schedule = this.#runtime.symbols.byName("runtime.schedule");
    if (schedule === undefined) return;
    this.#ends = Probes.of(this.#debug.machine).onAddress(schedule.address, () => {
      const left = this.#goroutines().some(({ address }) => !isFrozen(address));
      if (!left && this.#debug.running) this.#debug.report({ kind: "noResumed" });
    });
  }

  /** A goroutine that does not run makes its step when it gets to run, from where it was switched away. */
  #stepOnArrival({ address, sched }: Goroutine): void {
    const probe = Probes.of(this.#debug.machine).onAddress(sched.pc, (thread) => {
      if (this.#runtime.currentG(thread) !== address) return;
      probe.remove();
      this.#debug.stepNow(thread);
    });
    this.#arrivals.push(probe);
  }
}
