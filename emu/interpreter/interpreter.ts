import { Mnemonic } from "iced-x86";
import type { TranslationCache } from "../cache/translation-cache.ts";
import { accessesOf } from "../cpu/alignment.ts";
import { ERROR_SHIFT, EXIT, FIRST_ADDRESS, VECTOR } from "../cpu/exits.ts";
import { type CpuState, REG, STATE } from "../cpu/state.ts";
import { BlockDecoder, decodeOne, MAX_INSTRUCTION } from "../decode/decoder.ts";
import { type Instruction, SEGMENT } from "../decode/instruction.ts";
import { BOUNCE, PAGE_SIZE, PERM_CODE, PROT_EXEC, PROT_WRITE, TASK_SIZE } from "../layout.ts";
import { GuestFault, type GuestMemory } from "../memory/guest-memory.ts";
import { OutOfFrames } from "../memory/pages.ts";
import { type BlockLog, LOGGED_HEAT } from "./block-log.ts";
import { CodeCache, type TranslateFailure } from "./code-cache.ts";
import { buildCoreModule } from "./core-module.ts";
import { Engine } from "./engine.ts";
import { type Form, type HandlerPack, Handlers } from "./handlers.ts";
import { helperTables } from "./helper-module.ts";
import { RECORD } from "./record.ts";
import type { RegionCounting } from "./region-counts.ts";

/** Why `run` returned. RIP is at the instruction concerned, or at the next for `syscall` and `yield`. */
export type Stop =
  | { kind: "fuel" }
  | { kind: "yield" }
  | { kind: "syscall" }
  /** A memory access that its page does not allow; `access` is PROT_READ, PROT_WRITE or PROT_EXEC. */
  | { kind: "fault"; address: bigint; access: number }
  /** A CPU exception by vector; `next` is the address behind the instruction, where a trap's RIP is. */
  | { kind: "exception"; vector: number; next: bigint; error?: number }
  /** RFLAGS.TF: an instruction is done, or one repetition of one, which is to be resumed; RIP is where to go on. */
  | { kind: "trace"; resume?: boolean }
  /** #UD for an instruction that goemu does not have, or that has no meaning. */
  | { kind: "undefined"; instruction: Instruction | undefined }
  /** An instruction that a TypeScript helper carries out (CPUID, RDRAND, …). */
  | { kind: "helper" }
  /** RIP is one of the addresses at which the caller wanted to stop. */
  | { kind: "stop" }
  /** The instruction accesses memory that `watch` wants to see; it has not run. */
  | { kind: "watch" }
  /** The host has no memory for a page that the instruction uses; it has not run. */
  | { kind: "memory" };

/**
 * Asked about each access to a page that was made slow for it (AddressSpace.guard): true stops before the instruction.
 * `access` is PROT_READ or PROT_WRITE.
 */
export type Watch = (address: number, bytes: number, access: number) => boolean;

/** Tier 1, as far as tier 0 knows of it (jit/tier.ts, Jit). */
export interface SecondTier {
  /** All code is to be compiled at first sight. */
  readonly eager: boolean;
  /** Takes into use what is ready; between two entries into guest code. */
  poll(): void;
  /** Execution comes to `address`, where all is to be compiled. */
  wanted(address: number): void;
  /** Can a region be entered here? */
  isEntry(address: number): boolean;
  /** Tier 0 has spent a while: its last instruction, and where it goes on. */
  sampled(last: number, next: number): void;
  /** A region asked tier 0 for help with an access. @param slot of the region */
  helped(slot: number): void;
  restore(cache: TranslationCache): void;
  save(cache: TranslationCache): void;
  /** Starts anew, with regions that count what they run. */
  countBy(counting: RegionCounting): void;
  /** All is tier 0's from now on. No region is on the stack. */
  turnOff(): void;
}

/** Beside the access in STATE.exitDetail: it failed because of `watch`, or there was no frame for a page. */
const WATCHED = 0x100;
const NO_FRAME = 0x200;

/** One past the highest canonical address of the lower half (SDM Vol. 1, 3.3.7.1). */
const CANONICAL_END = 2 ** 47;

const FUEL: Stop = { kind: "fuel" };
const YIELD: Stop = { kind: "yield" };
const SYSCALL: Stop = { kind: "syscall" };
const HELPER: Stop = { kind: "helper" };
const STOP: Stop = { kind: "stop" };
const WATCH: Stop = { kind: "watch" };
const MEMORY: Stop = { kind: "memory" };
const TRACE: Stop = { kind: "trace" };
/** Out of fuel, or stepped, in the middle of a repeated instruction. */
const REPEATING: Stop = { kind: "fuel" };
const TRACE_REPEATING: Stop = { kind: "trace", resume: true };

/** Instructions that push or pop beside what their operands say. */
const IMPLICIT_STACK: ReadonlySet<Mnemonic> = new Set([
  Mnemonic.Push,
  Mnemonic.Pop,
  Mnemonic.Pushf,
  Mnemonic.Pushfq,
  Mnemonic.Popf,
  Mnemonic.Popfq,
  Mnemonic.Call,
  Mnemonic.Ret,
  Mnemonic.Enter,
  Mnemonic.Leave,
]);

function stopOfFailure(failure: TranslateFailure): Stop {
  if (failure.kind === "fault") return { kind: "fault", address: BigInt(failure.address), access: PROT_EXEC };
  if (failure.kind === "long") {
    return { kind: "exception", vector: VECTOR.GP, next: BigInt(failure.address), error: 0 };
  }
  return { kind: "undefined", instruction: failure.kind === "unimplemented" ? failure.instruction : undefined };
}

/** There was no frame for a page of code. */
function withoutFrame(error: unknown): Stop {
  if (error instanceof OutOfFrames) return MEMORY;
  throw error;
}

/** Sections of the translation cache: handlers and templates beyond the pack, the records of blocks. */
const SECTION = { handlers: "handlers", templates: "templates", records: "records" } as const;

/** Instructions that the interpreter runs between two looks at which code is hot. */
const HEAT = 10_000;
/** The same where it logs each block: it takes so much longer that compiling is worth it sooner. */
const LOGGED_LOOK = 2000;
/** More than a thread runs at a time. */
const FOREVER = 0x4000_0000;

/** Tier 0: runs guest code through records and handlers (docs/architecture.md). */
export class Interpreter {
  readonly memory: GuestMemory;
  readonly code: CodeCache;
  readonly handlers: Handlers;
  /** The time stamp counter, a whole number that never falls; without a clock it stands still. */
  tsc: () => number = () => 0;
  /** Who wants to see accesses to guarded pages. */
  watch: Watch | undefined;
  /** Instructions that tier 0 has run beside tier 1. */
  interpreted = 0;
  #heat = 0;
  /** Who wants to know each block that runs. Tier 1 only if its regions count (Jit.countBy). */
  log: BlockLog | undefined;
  /** Tier 1, if there is to be one. */
  jit: SecondTier | undefined;
  readonly #engine: Engine;
  /** Nothing was known of handlers and templates beyond the pack: their numbers can be those of an earlier run. */
  readonly #isFirst: boolean;
  readonly #enter: (cpu: number, record: number) => number;
  readonly #view: DataView;
  /** A write to pages that are not neighbours in wasm memory, waiting in the bounce buffer. */
  #pending: { address: number; length: number } | undefined;

  /**
   * @param pack what was made ahead of time, for a faster start; nothing else depends on it
   * @param engine for the same memory; nobody else has it
   */
  constructor(memory: GuestMemory, pack?: HandlerPack, engine = new Engine(memory.space.memory, pack)) {
    this.memory = memory;
    this.#view = memory.view;
    this.#engine = engine;
    engine.owner = {
      timestamp: () => this.tsc(),
      access: (cpu, low, high, bytes, need) =>
        this.#access(cpu >>> 0, (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0), bytes, need),
      reach: (_cpu, low, high, bytes, need) => this.#reach((high >>> 0) * 2 ** 32 + (low >>> 0), bytes, need),
      commit: () => this.#commit(),
      countEnter: (cpu, at, slot) => this.log?.counting?.enter(cpu >>> 0, at >>> 0, slot) ?? 0,
      countLeft: (cpu, at) => this.log?.counting?.left(cpu >>> 0, at >>> 0),
      countCall: (node, site, target) => this.log?.counting?.call(node >>> 0, site, target >>> 0) ?? 0,
      countReplace: (node, layout) => this.log?.counting?.replace(node >>> 0, layout) ?? 0,
      countResumed: (cpu, back, node) => this.log?.counting?.resumed(cpu >>> 0, back >>> 0, node >>> 0) ?? 0,
    };
    this.#enter = engine.exports.enter;
    this.handlers = engine.handlers;
    this.#isFirst = engine.handlers.known.isFresh;
    this.code = new CodeCache(memory, engine);
    memory.space.onCodeChange = (page, address, bytes) => this.code.invalidate(page, address, bytes);
  }

  /** A pack of forms and of sequences of them (Handlers.makePack) for later runs, as yet without templates. */
  packForms(forms: readonly Form[], sequences: readonly (readonly number[])[] = []): HandlerPack {
    const made = Handlers.makePack(forms, sequences, this.#engine.helpers);
    return { ...made, core: buildCoreModule(), tables: helperTables(), templates: new Uint8Array(0) };
  }

  /** What regions are put into: the tables of wasm, of translated blocks, and of calls' cells in memory. */
  get places() {
    return {
      code: this.code,
      view: this.#view,
      table: this.#engine.exports.regions,
      imports: this.#engine.imports,
      helpers: this.#engine.helpers,
    };
  }

  /** Takes over what an earlier run left; the program is mapped, nothing has run. */
  restore(cache: TranslationCache): void {
    const section = (name: string, use: (bytes: Uint8Array) => boolean): boolean => {
      const bytes = cache.section(name);
      return bytes === undefined || use(bytes);
    };
    // Templates and records name handlers by their slots.
    if (this.#isFirst && section(SECTION.handlers, (bytes) => this.handlers.restore(bytes))) {
      section(SECTION.templates, (bytes) => this.code.templates.restore(bytes));
      section(SECTION.records, (bytes) => this.code.restore(bytes));
    }
    this.jit?.restore(cache);
  }

  /** Has later runs do without what `restore` takes over. */
  static forget(cache: TranslationCache): void {
    for (const name of Object.values(SECTION)) cache.delete(name);
  }

  /**
   * Leaves what this run translated to the next.
   * @param isPristine does a page hold what the program file has for it?
   */
  save(cache: TranslationCache, isPristine: (page: number) => boolean): void {
    if (this.#isFirst) this.#saveRecords(cache, isPristine);
    this.jit?.save(cache);
  }

  #saveRecords(cache: TranslationCache, isPristine: (page: number) => boolean): void {
    const records = this.code.snapshot(isPristine);
    if (records !== undefined) cache.put(SECTION.records, records);
    const { changed } = this.code.templates;
    if (this.handlers.changed || changed) cache.put(SECTION.handlers, this.handlers.save());
    if (changed) cache.put(SECTION.templates, this.code.templates.save());
  }

  /** Last resort of an access: pages to bring in, code to drop, pages to join; or a fault. */
  #access(cpu: number, linear: bigint, bytes: number, need: number): number {
    const address = Number(linear);
    try {
      const pieces = this.memory.pieces(address, bytes, need);
      if (this.watch?.(address, bytes, need)) {
        this.#view.setUint32(cpu + STATE.exitDetail, need | WATCHED, true);
        return 0;
      }
      if (pieces.length === 1) return pieces[0].byteOffset;
      this.memory.u8.set(this.memory.readBytes(address, bytes), BOUNCE);
      if (need & PROT_WRITE) this.#pending = { address, length: bytes };
      return BOUNCE;
    } catch (error) {
      if (error instanceof OutOfFrames) {
        this.#view.setUint32(cpu + STATE.exitDetail, need | NO_FRAME, true);
        return 0;
      }
      if (!(error instanceof GuestFault)) throw error;
      // Above 2^53 a number is not exact; such an access fails at its first byte. One that reaches behind the canonical
      // addresses fails there, before any page is looked up.
      const leaves = address < CANONICAL_END && address + bytes > CANONICAL_END;
      const faultAddress = leaves ? BigInt(CANONICAL_END) : address < TASK_SIZE ? BigInt(error.address) : linear;
      this.#view.setBigUint64(cpu + STATE.faultAddress, faultAddress, true);
      this.#view.setUint32(cpu + STATE.exitDetail, need, true);
      return 0;
    }
  }

  /**
   * The last resort of an access in a region: pages to bring in. What is more than that (a fault, code to drop, pages to
   * join, a watch) is the interpreter's, which repeats the instruction: then the result is 0.
   */
  #reach(address: number, bytes: number, need: number): number {
    const { pages, guards, sharing } = this.memory.space;
    const last = address + bytes - 1;
    if (this.watch !== undefined || last >= TASK_SIZE) return 0;
    const [first, behind] = [pages.permissions(address), pages.permissions(last)];
    if (need & PROT_WRITE && (first | behind) & PERM_CODE) return 0;
    // A fault costs much, and a page of a shared mapping may be about to be written to again and again.
    const isRefused = first !== 0 && (first & need) !== need;
    if (isRefused && !guards.allows(address, need) && !sharing.frozen.has(Math.floor(address / PAGE_SIZE))) return 0;
    try {
      // A region asks about more bytes than it stores to, and only real stores to a shared file's pages are to be noticed.
      const pieces = this.memory.pieces(address, bytes, need, false);
      return pieces.length > 1 ? 0 : pieces[0].byteOffset;
    } catch (error) {
      if (error instanceof GuestFault || error instanceof OutOfFrames) return 0;
      throw error;
    }
  }

  #commit(): void {
    if (this.#pending === undefined) return;
    const { address, length } = this.#pending;
    this.#pending = undefined;
    this.memory.writeBytes(address, this.memory.u8.subarray(BOUNCE, BOUNCE + length));
  }

  /**
   * Runs a thread from its RIP until something needs the caller. `cpu.fuel` bounds the instructions, within a block.
   * @param stops addresses to stop at, before their instruction; the first instruction runs in any case
   */
  run(cpu: CpuState, stops?: ReadonlySet<number>): Stop {
    const { jit } = this;
    if (cpu.isTraced) return this.#trace(cpu, stops);
    if (jit === undefined) this.#heat = FOREVER;
    else jit.poll();
    this.#setHeat(cpu, this.#heat);
    this.memory.space.makeRoom();
    let stop: Stop;
    try {
      stop = this.#run(cpu, stops);
    } catch (error) {
      stop = withoutFrame(error);
    }
    if (stop.kind === "memory") stop = this.#again(cpu, () => this.#run(cpu, stops));
    this.#spend(cpu);
    this.log?.drain();
    return stop;
  }

  /** Instructions that may run until it is noted where; a log has them by itself, as handlers are to leave each block. */
  #setHeat(cpu: CpuState, heat: number): void {
    this.#heat = heat;
    if (this.log !== undefined) this.log.heat = heat;
    cpu.view.setInt32(STATE.heat, this.log === undefined ? heat : LOGGED_HEAT, true);
  }

  #heatOf(cpu: CpuState): number {
    return this.log?.heat ?? cpu.view.getInt32(STATE.heat, true);
  }

  /**
   * Goes on where there was no frame for a page, now that others can go into swap: between two instructions nobody holds
   * on to places in frames.
   */
  #again(cpu: CpuState, run: () => Stop): Stop {
    for (;;) {
      const { rip64, fuel } = cpu;
      this.memory.space.makeRoom();
      let stop: Stop;
      try {
        stop = run();
      } catch (error) {
        stop = withoutFrame(error);
      }
      if (stop.kind !== "memory" || (cpu.rip64 === rip64 && cpu.fuel === fuel)) return stop;
    }
  }

  /** Notes what the interpreter has run. */
  #spend(cpu: CpuState): void {
    const heat = this.#heatOf(cpu);
    this.interpreted += this.#heat - heat;
    this.#heat = heat;
  }

  #run(cpu: CpuState, stops: ReadonlySet<number> | undefined): Stop {
    const { jit, code } = this;
    const { view } = cpu;
    let linkRecord = 0;
    let linkField = 0;
    let staleRecord = 0;
    let resume = false;
    let generation = code.generation;
    code.resolves = !jit?.eager;
    for (let first = true; ; first = false) {
      const rip = cpu.rip;
      if (!first && stops?.has(rip)) return STOP;
      if (rip >= TASK_SIZE) return { kind: "fault", address: cpu.rip64, access: PROT_EXEC };
      if (jit?.eager && !resume) jit.wanted(rip);
      // Where a region starts with what it left to the interpreter, the record would lead to the region again.
      const record = resume && jit?.isEntry(rip) ? code.single(rip) : code.recordAt(rip);
      resume = false;
      if (typeof record !== "number") return stopOfFailure(record);
      if (linkRecord !== 0 && generation === code.generation) {
        if (linkField !== 0 && !code.stops.has(rip)) this.#view.setUint32(linkRecord + linkField, record, true);
      }
      if (staleRecord !== 0 && generation === code.generation) code.forward(staleRecord, rip, record);
      linkRecord = 0;
      staleRecord = 0;
      generation = code.generation;
      const exit = this.#enter(cpu.address, record) >>> 0;
      const at = view.getUint32(STATE.exitRecord, true);
      if (exit >= FIRST_ADDRESS || exit === EXIT.branch) {
        if (exit === EXIT.branch) linkField = view.getUint32(STATE.exitDetail, true);
        else {
          cpu.rip = exit;
          linkField = 0;
        }
        if (cpu.fuel < 0) return stops?.has(cpu.rip) ? STOP : FUEL;
        this.log?.unwound();
        if (linkField !== 0) linkRecord = at;
        else this.#learn(cpu);
        // Regions do not heat anything: the block that has ended here is the interpreter's.
        if (jit !== undefined && exit === EXIT.branch && this.#heatOf(cpu) < 0) {
          this.#spend(cpu);
          this.#setHeat(cpu, this.log === undefined ? HEAT : LOGGED_LOOK);
          jit.sampled(Number(this.#view.getBigUint64(at + RECORD.address, true)), cpu.rip);
        }
        continue;
      }
      if (exit === EXIT.resume) {
        jit?.helped(at);
        resume = true;
        continue;
      }
      const stop = this.#stopOfExit(cpu, exit, at);
      if (exit === EXIT.trace) return this.#trace(cpu);
      if (exit !== EXIT.stale) return stop;
      if (cpu.fuel < 0) {
        // A record that was dropped has not run. A repeated instruction has, in part: it was stopped at before.
        return code.isDropped(at) && stops?.has(cpu.rip) ? STOP : stop;
      }
      staleRecord = at;
    }
  }

  /** Runs one instruction while TF or AC is set, or while it is about to be (POPF). */
  #trace(cpu: CpuState, stops?: ReadonlySet<number>): Stop {
    const traps = cpu.traps;
    const misaligned = cpu.checksAlignment ? this.#misaligned(cpu) : undefined;
    if (misaligned !== undefined) return misaligned;
    const stop = this.step(cpu, stops);
    const done = stop.kind === "fuel" || stop.kind === "yield" || stop.kind === "stop";
    if (!traps || !done) return stop;
    return stop === REPEATING ? TRACE_REPEATING : TRACE;
  }

  /**
   * #AC for what the instruction at RIP accesses, if it is not aligned as AC asks (SDM Vol. 3A, 6.15, "Interrupt 17"); a
   * vector of 16 bytes and more has rules of its own, and need not be.
   */
  #misaligned(cpu: CpuState): Stop | undefined {
    const available = this.memory.accessible(cpu.rip, MAX_INSTRUCTION, PROT_EXEC);
    const instruction = decodeOne(this.memory.readBytes(cpu.rip, available), cpu.rip);
    if (typeof instruction === "string") return undefined;
    const next = BigInt(instruction.address + instruction.length);
    const isMisaligned = accessesOf(cpu, instruction).some(({ address, bytes }) => address % BigInt(bytes) !== 0n);
    return isMisaligned ? { kind: "exception", vector: VECTOR.AC, next, error: 0 } : undefined;
  }

  /**
   * Runs one instruction, or one element of a repeated string instruction, as RFLAGS.TF would have it (SDM Vol. 3B,
   * "Single-Step Exception Condition"). Takes one from `cpu.fuel`.
   * @param stops as for `run`: "stop" is returned where RIP has become one of them, "fuel" elsewhere
   */
  step(cpu: CpuState, stops?: ReadonlySet<number>): Stop {
    this.memory.space.makeRoom();
    const stop = this.#step(cpu, stops);
    return stop.kind === "memory" ? this.#again(cpu, () => this.#step(cpu, stops)) : stop;
  }

  #step(cpu: CpuState, stops: ReadonlySet<number> | undefined): Stop {
    const { rip, fuel } = cpu;
    if (rip >= TASK_SIZE) return { kind: "fault", address: cpu.rip64, access: PROT_EXEC };
    const record = this.code.single(rip);
    if (typeof record !== "number") return stopOfFailure(record);
    // Without fuel it leaves at the end of the block, which is one instruction long.
    cpu.fuel = 0;
    cpu.view.setInt32(STATE.tracing, 1, true);
    const exit = this.#enter(cpu.address, record) >>> 0;
    cpu.view.setInt32(STATE.tracing, 0, true);
    const stop = exit === EXIT.branch ? FUEL : this.#stopOfExit(cpu, exit, cpu.view.getUint32(STATE.exitRecord, true));
    cpu.fuel += fuel;
    return exit === EXIT.branch && stops?.has(cpu.rip) ? STOP : stop;
  }

  /** What an exit other than a branch means; RIP and fuel are set right. */
  #stopOfExit(cpu: CpuState, exit: number, record: number): Stop {
    if (exit === EXIT.syscall) return SYSCALL;
    if (exit === EXIT.yield) return YIELD;
    if (exit === EXIT.helper) return HELPER;
    this.#rewind(cpu, record);
    if (exit === EXIT.stale) return REPEATING;
    if (exit === EXIT.defer) return HELPER;
    if (exit === EXIT.trace) return FUEL;
    const detail = cpu.view.getUint32(STATE.exitDetail, true);
    if (exit === EXIT.exception) {
      const next = this.#view.getBigUint64(record + RECORD.next, true);
      return { kind: "exception", vector: detail & 0xff, next, error: detail >>> ERROR_SHIFT };
    }
    if (detail & WATCHED) return WATCH;
    if (detail & NO_FRAME) return MEMORY;
    const address = cpu.view.getBigUint64(STATE.faultAddress, true);
    if (BigInt.asUintN(64, BigInt.asIntN(48, address)) === address) return { kind: "fault", address, access: detail };
    const vector = this.#isStackAccess(cpu, address) ? VECTOR.SS : VECTOR.GP;
    return { kind: "exception", vector, next: cpu.rip64 };
  }

  /**
   * Did the instruction at RIP go through SS at `address`? An address that is not canonical is then #SS, not #GP: with
   * RSP or RBP as the base register, and in pushes and pops (SDM Vol. 3A, 6.15, "Interrupt 12").
   */
  #isStackAccess(cpu: CpuState, address: bigint): boolean {
    const available = this.memory.accessible(cpu.rip, MAX_INSTRUCTION, PROT_EXEC);
    const decoder = new BlockDecoder(this.memory.readBytes(cpu.rip, available), cpu.rip);
    const instruction = decoder.next();
    decoder.free();
    if (typeof instruction === "string" || instruction.stringAddress !== 0) return false;
    const { memory } = instruction;
    if (memory?.stackSegment && memory.segment === SEGMENT.none) return true;
    const top = cpu.gpr[REG.RSP];
    if (!IMPLICIT_STACK.has(instruction.mnemonic)) return false;
    // Beside a memory operand it may have been either access.
    return memory === undefined || address === top || BigInt.asUintN(64, top - address) <= 8n;
  }

  /** Lets the next indirect jump to RIP find its block. */
  #learn(cpu: CpuState): void {
    const rip = cpu.rip;
    if (rip >= TASK_SIZE || this.code.stops.has(rip)) return;
    const record = this.code.recordAt(rip);
    if (typeof record === "number") this.code.enterLookup(rip, record);
  }

  /** Sets RIP to a record's instruction and pays for the instructions of its block before it. */
  #rewind(cpu: CpuState, record: number): void {
    cpu.rip64 = this.#view.getBigUint64(record + RECORD.address, true);
    cpu.fuel -= this.#view.getUint16(record + RECORD.count, true) - 1;
  }
}
