import type { Code } from "iced-x86";
import type { TranslationCache } from "./cache/translation-cache.ts";
import { instructionsWith } from "./cpu/instruction-features.ts";
import { CpuState } from "./cpu/state.ts";
import type { CodeCache } from "./interpreter/code-cache.ts";
import { Engine } from "./interpreter/engine.ts";
import type { HandlerPack } from "./interpreter/handlers.ts";
import { Interpreter, type Stop } from "./interpreter/interpreter.ts";
import { KnownForms } from "./interpreter/known-forms.ts";
import { wipeTranslations } from "./interpreter/wipe.ts";
import type { CompilerThread } from "./jit/compile-protocol.ts";
import type { FunctionBounds } from "./jit/region-compiler.ts";
import { SharedThread } from "./jit/shared-thread.ts";
import { enableJit, type Jit } from "./jit/tier.ts";
import { CPU_STATE_SIZE, CPU_STATES, MAX_THREADS, WASM_PAGES, WINDOW_END } from "./layout.ts";
import { AddressSpace, type AddressSpaceOptions, COMPACT, type Placement } from "./memory/address-space.ts";
import { GuestMemory } from "./memory/guest-memory.ts";
import { MemoryError } from "./memory/memory-error.ts";
import type { Backing } from "./memory/vma.ts";
import type { Processor } from "./threads/scheduler.ts";

/**
 * How code is run: by the `interpreter` alone; with hot code compiled to regions, which is best on the whole (`auto`);
 * with all code compiled when it is first executed (`jit`), so that tests of a few instructions run in the second tier.
 */
export type Tier = "auto" | "interpreter" | "jit";

/** What all cores of a machine have in common. */
export interface CoreOptions extends AddressSpaceOptions {
  /** Where mappings go that may lie anywhere. */
  readonly placement?: Placement;
  /** What the processor has, as in /proc/cpuinfo (cpu/features.ts). */
  readonly features: ReadonlySet<string>;
  /** By default `auto`. */
  readonly tier?: Tier;
  /** Handlers made ahead of time, for a faster start; and are there any among them that the processor has not? */
  readonly handlerPack?: HandlerPack | undefined;
  readonly isPackFiltered?: boolean;
  /** Starts a thread that compiles hot code, for all cores (Jit.startThread). */
  readonly compilerThread?: (() => CompilerThread) | undefined;
  /** Receives a line about what goemu can't do for the guest. */
  readonly report?: (message: string) => void;
  /** A clock in ms, for statistics. */
  readonly now?: () => number;
  /** The time stamp counter, a whole number that never falls; without a clock it stands still. */
  readonly tsc?: () => number;
}

/** Cores that are closed whose memory the next ones get, and bytes that such a one may have in use: clearing takes time. */
const MOST_IDLE = 4;
const MOST_IDLE_BYTES = 0x400_0000;

/** The cores of a machine: makes them, and has what they share. */
export class Cores {
  readonly options: CoreOptions;
  /** Which instructions the processor has. */
  readonly allows: (code: Code) => boolean;
  /**
   * V8 collects garbage whenever a memory is made, which takes much longer than all else that a core needs, of which
   * instances of the handlers are most: the engine of a process that has ended is used again.
   */
  readonly #idle: Core[] = [];
  /** Compiles for all of them, if there is to be one. */
  readonly #compiler: SharedThread | undefined;
  /** What they know of handlers together; another one when there are so many that one of them has forgotten all. */
  #known = new KnownForms();

  constructor(options: CoreOptions) {
    this.options = options;
    this.allows = instructionsWith(options.features);
    this.#compiler = options.compilerThread && new SharedThread(options.compilerThread);
  }

  /** Starts what compiles for one more core, or joins it; undefined where there is nothing that does. */
  get startCompiler(): (() => CompilerThread) | undefined {
    const compiler = this.#compiler;
    return compiler === undefined || compiler.hasFailed ? undefined : () => compiler.connect();
  }

  /** The machine has come to its end. */
  close(): void {
    this.#compiler?.close();
    this.#idle.length = 0;
  }

  /**
   * An empty address space.
   * @param wasm 4 GiB of untouched memory for it, if there is some
   * @throws MemoryError ENOMEM where the host has none
   */
  make(wasm?: WebAssembly.Memory): Core {
    const idle = wasm === undefined ? this.#idleEngine() : undefined;
    return new Core(this, idle ?? new Engine(wasm ?? newWasmMemory(), this.options.handlerPack, this.#known));
  }

  #idleEngine(): Engine | undefined {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      const engine = idle.wipe();
      if (engine?.handlers.known === this.#known) return engine;
    }
    return undefined;
  }

  /** A core could not have more handlers, and has begun anew: others shall begin as it has. */
  set known(known: KnownForms) {
    this.#known = known;
  }

  /** A core is closed, and nobody needs its memory any more. */
  retire(core: Core): void {
    if (core.space.residentBytes > MOST_IDLE_BYTES || this.#idle.length >= MOST_IDLE) return;
    this.#idle.push(core);
  }
}

/** Addresses whose function is remembered. */
const MOST_BOUNDS = 10_000;

/**
 * An address space with what runs code in it, both tiers, and the CPU states of its threads: what a process has of the
 * machine. There may be several, in one thread of the host; nothing but what never changes is shared between them.
 *
 * Who runs it is a kernel. What goes back and forth between the two is data (docs/architecture.md, "The seam"): CPU states
 * and budgets in, a Stop out.
 */
export class Core implements Processor {
  readonly space: AddressSpace;
  readonly memory: GuestMemory;
  readonly interpreter: Interpreter;
  readonly #cores: Cores;
  readonly #engine: Engine;
  #jit: Jit | undefined;
  readonly #freeSlots: number[] = [];
  #nextSlot = 0;

  /** See Cores.make. @param engine new, or as `wipe` gives it */
  constructor(cores: Cores, engine: Engine) {
    const { options } = cores;
    const { handlerPack } = options;
    this.#cores = cores;
    this.#engine = engine;
    this.space = new AddressSpace(engine.memory, options.placement ?? COMPACT, options);
    this.memory = new GuestMemory(this.space);
    this.interpreter = new Interpreter(this.memory, handlerPack, engine);
    this.code.allows = cores.allows;
    if (handlerPack !== undefined) this.code.loadPack(handlerPack, options.isPackFiltered ?? false);
    engine.catchUp();
    this.code.onForget = () => {
      cores.known = engine.handlers.known;
    };
    this.interpreter.tsc = options.tsc ?? (() => 0);
    if (options.tier !== "interpreter") this.#enableJit(options);
    this.space.sharing.onFree = () => cores.retire(this);
  }

  /**
   * What a core that is closed ran code with, as if it had never been used; undefined if that can't be: where somebody wanted
   * to know each block, there is more to clear.
   */
  wipe(): Engine | undefined {
    const { memory } = this.space;
    const isCounted = this.interpreter.log !== undefined || this.#jit?.counting !== undefined;
    if (this.code.generation > 0 || isCounted || !this.space.wipe()) return undefined;
    this.#jit?.dropRegions();
    wipeTranslations(memory.buffer as ArrayBuffer);
    new Uint8Array(memory.buffer).fill(0, CPU_STATES, CPU_STATES + this.#nextSlot * CPU_STATE_SIZE);
    return this.#engine;
  }

  #enableJit(options: CoreOptions): void {
    const jit = enableJit(this.interpreter);
    this.#jit = jit;
    jit.eager = options.tier === "jit";
    jit.startThread = this.#cores.startCompiler;
    jit.features = [...options.features];
    jit.report = options.report ?? (() => {});
    jit.now = options.now ?? (() => 0);
    jit.patientFromStart = (options.placement ?? COMPACT).high > WINDOW_END;
  }

  /**
   * A core whose memory is what this one's is now, as fork(2) makes it; neither sees what the other stores from now on, but
   * to shared mappings. A page is copied when it is first stored to here, or used there. What has been translated for the
   * first tier is known there, too; there are no CPU states in use.
   * @param backingOf what is behind its mappings, in its memory, that have this behind them here
   * @throws MemoryError ENOMEM
   */
  fork(backingOf: (backing: Backing, memory: GuestMemory) => Backing = (backing) => backing): Core {
    const child = this.#cores.make();
    this.space.fork(child.space, (backing) => backingOf(backing, child.memory));
    child.code.inherit(this.code);
    return child;
  }

  /** The second tier, if there is one, and nobody has turned it off. */
  get jit(): Jit | undefined {
    return this.interpreter.jit === undefined ? undefined : this.#jit;
  }

  get code(): CodeCache {
    return this.interpreter.code;
  }

  /** Tells the second tier where functions begin and end. Of an address it is asked once, as long as code does not move. */
  set functionRange(range: (address: number) => FunctionBounds | undefined) {
    const { jit } = this;
    if (jit === undefined) return;
    // Asked for at each sample, of the same addresses again and again; before Go 1.20 it means reading the name of a file.
    const known = new Map<number, FunctionBounds | undefined>();
    jit.functionRange = (address) => {
      if (known.has(address)) return known.get(address);
      if (known.size === MOST_BOUNDS) known.clear();
      const bounds = range(address);
      known.set(address, bounds);
      return bounds;
    };
  }

  /**
   * A CPU state for one more thread, as execve(2) leaves it.
   * @returns undefined where there are too many
   */
  takeCpu(): CpuState | undefined {
    const slot = this.#freeSlots.pop() ?? (this.#nextSlot < MAX_THREADS ? this.#nextSlot++ : undefined);
    if (slot === undefined) return undefined;
    const cpu = new CpuState(this.space.memory.buffer as ArrayBuffer, slot);
    cpu.reset();
    return cpu;
  }

  /** A thread is gone: its CPU state is free for another one. */
  giveCpu(cpu: CpuState): void {
    this.#freeSlots.push(cpu.slot);
  }

  /**
   * Runs a thread from its RIP until something needs the kernel, or `cpu.fuel` instructions have run and the block is at
   * its end.
   * @param stops addresses to stop at, before their instruction; the first instruction runs in any case
   */
  run(cpu: CpuState, stops?: ReadonlySet<number>): Stop {
    return this.interpreter.run(cpu, stops);
  }

  /** Runs one instruction (Interpreter.step). */
  step(cpu: CpuState, stops?: ReadonlySet<number>): Stop {
    return this.interpreter.step(cpu, stops);
  }

  /** Takes over what an earlier run of the program left; it is mapped, nothing has run. */
  restore(cache: TranslationCache): void {
    this.interpreter.restore(cache);
  }

  /**
   * Nothing runs here any more: what compiles for it is given up, and what is in its memory, unless a child still looks at
   * it. It may be read until the next core is made, which may get it.
   */
  close(): void {
    this.#jit?.close();
    this.space.sharing.close();
  }
}

/** Memory for an address space. @throws MemoryError ENOMEM where the host gives no more */
function newWasmMemory(): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });
  } catch (error) {
    if (error instanceof RangeError) throw new MemoryError("ENOMEM");
    throw error;
  }
}
