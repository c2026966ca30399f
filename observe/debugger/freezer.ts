import { REG } from "../../emu/cpu/state.ts";
import { GuestFault } from "../../emu/memory/guest-memory.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { GoRuntime } from "../go/runtime.ts";
import { type Probe, Probes } from "../probes.ts";
import type { Debugger, Gate } from "./debugger.ts";
import { unlessDamaged } from "./go-view.ts";

/** Packages whose code may hold the runtime's locks or be in the middle of a change (runtime/preempt.go). */
const CRITICAL = /^((runtime|reflect|syscall|internal\/(runtime|abi|bytealg|syscall|cpu|reflectlite|poll))[./]|[^.]*$)/;
/** Stack that asyncPreempt takes at most (runtime/preempt.go, asyncPreemptStack), with room to spare. */
const PREEMPT_STACK = 1024;

/**
 * Keeps goroutines from running while others do. A frozen goroutine that would run is made to call asyncPreempt, as if
 * the runtime had preempted it: it goes to the end of the global queue, and its M and P are free for others. Code of the
 * runtime, on g0 or with locks held, always goes on: it is followed step by step until it is done.
 */
export class Freezer {
  readonly #debug: Debugger;
  readonly #runtime: GoRuntime;
  readonly #preempt: number | undefined;
  readonly #gogo: number | undefined;
  #frozen: (g: number) => boolean = () => false;
  #probe: Probe | undefined;

  constructor(debug: Debugger, runtime: GoRuntime) {
    this.#debug = debug;
    this.#runtime = runtime;
    const find = (...names: string[]): number | undefined =>
      names.map((name) => runtime.symbols.byName(name)?.address).find((address) => address !== undefined);
    this.#preempt = find("runtime.asyncPreempt", "runtime.asyncPreempt.abi0");
    this.#gogo = find("gogo", "runtime.gogo", "runtime.gogo.abi0");
  }

  /** Can goroutines of this program be frozen? Asynchronous preemption came with Go 1.14. */
  get possible(): boolean {
    return this.#preempt !== undefined && this.#gogo !== undefined;
  }

  /** Freezes those goroutines, given by the address of their g, for which the function says so; undefined: none. */
  set(frozen: ((g: number) => boolean) | undefined): void {
    this.#frozen = frozen ?? (() => false);
    if (frozen === undefined || this.#gogo === undefined) {
      this.#probe?.remove();
      this.#probe = undefined;
      this.#debug.gate = undefined;
      return;
    }
    // gogo is the way by which a goroutine gets onto a thread: guest code is left there, and the gate asked anew.
    this.#probe ??= Probes.of(this.#debug.machine).onAddress(this.#gogo, () => {});
    this.#debug.gate = (thread) => unlessDamaged<Gate>(() => this.#gate(thread), "run");
  }

  #gate(thread: LinuxThread): Gate {
    const g = this.#runtime.userG(thread);
    if (g === 0 || !this.#frozen(g)) return "run";
    if (this.#isSafe(thread, g)) this.#callPreempt(thread);
    return "step";
  }

  #isSafe(thread: LinuxThread, g: number): boolean {
    const { rip, gpr } = thread.cpu;
    if (this.#runtime.currentG(thread) !== g) return false;
    if (this.#runtime.thread(this.#runtime.currentM(thread)).locks !== 0) return false;
    const sp = Number(gpr[REG.RSP]);
    const { stack } = this.#runtime.goroutine(g);
    // Within gogo and mcall the current g is not yet that of the stack.
    if (sp < stack.lo + PREEMPT_STACK || sp >= stack.hi) return false;
    const frames = this.#runtime.symbols.inlineStack(rip);
    return frames.length > 0 && !frames.some(({ name }) => CRITICAL.test(name));
  }

  /** Makes the thread call asyncPreempt, which keeps all registers (runtime/signal_amd64.go, sigctxt.pushCall). */
  #callPreempt({ cpu }: LinuxThread): void {
    const sp = cpu.gpr[REG.RSP] - 8n;
    try {
      this.#debug.process.memory.writeU64(Number(sp), cpu.rip64);
    } catch (error) {
      if (error instanceof GuestFault) return;
      throw error;
    }
    cpu.gpr[REG.RSP] = sp;
    cpu.rip = this.#preempt as number;
  }
}
