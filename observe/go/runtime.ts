import { REG, STATE } from "../../emu/cpu/state.ts";
import { PROT_READ } from "../../emu/layout.ts";
import { GuestFault, type GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { SourceLine, SymbolTable } from "../../loader/symbols/table.ts";
import type { LinuxProcess } from "../../syscalls/linux-process.ts";
import type { LinuxThread } from "../../syscalls/linux-thread.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { findAddresses, findTlsSlot, type RuntimeAddresses } from "./addresses.ts";
import { type Field, type GoLayout, GoRuntimeError, layoutOf } from "./layout.ts";
import { type Frame, type StackStart, walkStack } from "./stack.ts";
import { wrapped } from "./wrapper.ts";

/** g.atomicstatus without the scan bit (Go runtime/runtime2.go, _Gidle …). */
export const G_STATUS = [
  ...["idle", "runnable", "running", "syscall", "waiting", "moribund", "dead", "enqueue", "copystack", "preempted"],
  ...["leaked", "deadextra"],
] as const;
/** p.status (_Pidle …). */
export const P_STATUS = ["idle", "running", "syscall", "gcstop", "dead"] as const;
const G_WAITING = 4;
const G_DEAD = 6;
const G_DEAD_EXTRA = 11;
const SCAN_BIT = 0x1000;
/** Entries of p.runq (a ring). */
const RUNQ_SIZE = 256;
/** Longest text and most labels that are read. */
const TEXT_LIMIT = 4096;
const LABEL_LIMIT = 1000;
const BUCKET_ENTRIES = 8;
/** More than a guest's memory can hold. */
const LIST_LIMIT = 10_000_000;

export interface Goroutine {
  /** Address of its runtime.g. */
  readonly address: number;
  /** goid; 0 for a g0 or gsignal. */
  readonly id: number;
  /** One of G_STATUS, or its number. */
  readonly status: string;
  /** The garbage collector is looking at its stack. */
  readonly scanned: boolean;
  /** Why it waits, as a traceback says it; undefined unless it waits. */
  readonly waitReason: string | undefined;
  /** Its first function. */
  readonly startPc: number;
  readonly startFunction: string | undefined;
  /** The `go` statement that made it: pc of the call, the function that holds it, file and line. */
  readonly creatorPc: number;
  readonly creator: string | undefined;
  readonly created: SourceLine | undefined;
  /** goid of the goroutine that made it; undefined before Go 1.21. */
  readonly parentId: number | undefined;
  readonly stack: { readonly lo: number; readonly hi: number };
  /** Where it goes on when it runs next, for one that does not run. */
  readonly sched: StackStart;
  /** Address of its M, 0 if it has none, and of the M that it is locked to. */
  readonly m: number;
  readonly lockedM: number;
  readonly preempt: boolean;
}

/** An M: a thread of the operating system as the runtime sees it. */
export interface GoThread {
  /** Address of its runtime.m. */
  readonly address: number;
  readonly id: number;
  /** Thread id; 0 before the thread has started. */
  readonly tid: number;
  /** Addresses of its g0, its signal g, the goroutine that it runs and its P; 0 for none. */
  readonly g0: number;
  readonly gsignal: number;
  readonly curg: number;
  readonly p: number;
  readonly spinning: boolean;
  readonly blocked: boolean;
  readonly lockedG: number;
  readonly locks: number;
  readonly startFunction: string | undefined;
}

/** A P: the right to run Go code. */
export interface GoProcessor {
  readonly address: number;
  readonly id: number;
  /** One of P_STATUS, or its number. */
  readonly status: string;
  readonly schedTick: number;
  readonly syscallTick: number;
  /** Address of its M; 0 for none. */
  readonly m: number;
  /** Addresses of the goroutines that wait for it: first the one that goes next, then the queue. */
  readonly runNext: number;
  readonly runQueue: readonly number[];
}

export interface GoScheduler {
  /** Addresses of goroutines in the global queue. */
  readonly runQueue: readonly number[];
  readonly idleMs: number;
  readonly idlePs: number;
  readonly spinningMs: number;
  readonly gcWaiting: boolean;
}

/**
 * The Go runtime of a guest, read from outside: nothing in the guest takes part or notices. What is read holds for the
 * instant; within a probe's callback the guest stands still. Addresses of structures never change in a run.
 */
export class GoRuntime {
  readonly layout: GoLayout;
  readonly process: LinuxProcess;
  readonly symbols: SymbolTable;
  readonly #memory: GuestMemory;
  readonly #addresses: RuntimeAddresses;
  readonly #tlsSlot: ReturnType<typeof findTlsSlot>;
  #allp: number | undefined;
  readonly #startNames = new Map<number, string | undefined>();

  /** @throws GoRuntimeError for a program that is not Go's, or of an unknown release */
  constructor(machine: Machine) {
    this.symbols = machine.symbols;
    this.process = machine.process;
    this.#memory = machine.memory;
    this.layout = layoutOf(machine.executable, machine.symbols.goVersion);
    this.#addresses = findAddresses(machine, this.layout);
    this.#tlsSlot = findTlsSlot(machine);
  }

  #offset(field: Field): number {
    const offset = this.layout.offsets[field];
    if (offset === undefined) throw new GoRuntimeError(`Go 1.${this.layout.minor} has no ${field}`);
    return offset;
  }

  #pointer(base: number, field: Field): number {
    return this.#word(base + this.#offset(field));
  }

  /** An aligned word, without the detour over a bigint. */
  #word(address: number): number {
    const { view } = this.#memory;
    if (address % 8 !== 0) return this.#memory.readPointer(address);
    const at = this.#memory.physical(address, PROT_READ);
    return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  }

  /** What a thread runs: addresses of its M, its P and the goroutine that it runs code for; 0 for none. */
  current(thread: LinuxThread): { m: number; p: number; g: number } {
    try {
      const g = this.currentG(thread);
      const m = g === 0 ? 0 : this.#pointer(g, "g.m");
      if (m !== 0) return { m, p: this.#pointer(m, "m.p"), g: this.#pointer(m, "m.curg") };
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
    }
    return { m: 0, p: 0, g: 0 };
  }

  #u32(base: number, field: Field): number {
    return this.#memory.readU32(base + this.#offset(field));
  }

  #flag(base: number, field: Field): boolean {
    return this.#memory.readU8(base + this.#offset(field)) !== 0;
  }

  /** What `read` returns, or `otherwise` where it touches memory that is not there. */
  #try<T>(read: () => T, otherwise: T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof GuestFault) return otherwise;
      throw error;
    }
  }

  /** Where g lies from FS's base on: -8, or elsewhere if the program was linked by another linker than Go's. */
  get tlsOffset(): number {
    const slot = this.#tlsSlot;
    if ("offset" in slot) return slot.offset;
    return Number(
      BigInt.asIntN(
        64,
        this.#try(() => this.#memory.readU64(slot.word), 0n),
      ),
    );
  }

  // Quick questions.

  /** Address of the g that a thread runs on, its g0 or gsignal included. 0 before there is one. */
  currentG(thread: LinuxThread): number {
    const { view } = thread.cpu;
    const base = view.getUint32(STATE.fsBase, true) + view.getUint32(STATE.fsBase + 4, true) * 2 ** 32;
    if (base === 0) return 0;
    try {
      return this.#word(base + this.tlsOffset);
    } catch (error) {
      if (error instanceof GuestFault) return 0;
      throw error;
    }
  }

  /** Address of a thread's M; 0 before there is one. */
  currentM(thread: LinuxThread): number {
    const g = this.currentG(thread);
    return g === 0 ? 0 : this.#try(() => this.#pointer(g, "g.m"), 0);
  }

  /** Address of the goroutine that a thread runs code for, also while it is on g0; 0 for none. */
  userG(thread: LinuxThread): number {
    const m = this.currentM(thread);
    return m === 0 ? 0 : this.#try(() => this.#pointer(m, "m.curg"), 0);
  }

  /** Address of a thread's P; 0 for none. */
  currentP(thread: LinuxThread): number {
    const m = this.currentM(thread);
    return m === 0 ? 0 : this.#try(() => this.#pointer(m, "m.p"), 0);
  }

  goid(g: number): number {
    return this.#pointer(g, "g.goid");
  }

  pid(p: number): number {
    return this.#u32(p, "p.id");
  }

  mid(m: number): number {
    return this.#pointer(m, "m.id");
  }

  /** Is a g some M's g0 or gsignal? */
  isSystemG(g: number): boolean {
    const m = this.#pointer(g, "g.m");
    return m !== 0 && (this.#pointer(m, "m.g0") === g || this.#pointer(m, "m.gsignal") === g);
  }

  /** Address of a g's M; 0 for none. */
  threadOf(g: number): number {
    return this.#pointer(g, "g.m");
  }

  /** Address of the goroutine for which the M of a g0 or gsignal runs code; 0 for none. */
  userOf(g: number): number {
    const m = this.#pointer(g, "g.m");
    return m === 0 ? 0 : this.#pointer(m, "m.curg");
  }

  startPc(g: number): number {
    return this.#pointer(g, "g.startpc");
  }

  /**
   * Name of the function that a goroutine starts in. For a wrapper that the compiler makes for a `go` statement with
   * arguments (main.main.gowrap1, main.main·dwrap·1) it is the function that the wrapper calls.
   */
  startName(startPc: number): string | undefined {
    if (!this.#startNames.has(startPc)) {
      const func = this.symbols.lookup(startPc);
      const target = func === undefined ? undefined : wrapped(this.#memory, this.symbols, func, this.layout.minor);
      this.#startNames.set(startPc, target ?? func?.name);
    }
    return this.#startNames.get(startPc);
  }

  creatorPc(g: number): number {
    return this.#pointer(g, "g.gopc");
  }

  /** The goroutine behind `g` in a list of the scheduler's (g.schedlink); 0 for none. */
  scheduledNext(g: number): number {
    return this.#pointer(g, "g.schedlink");
  }

  /** The goroutine that a P runs next (p.runnext); 0 for none. */
  runNext(p: number): number {
    return this.#pointer(p, "p.runnext");
  }

  /** How many goroutines wait in a P's queue, beside the one that goes next. */
  runQueueLength(p: number): number {
    return (this.#u32(p, "p.runqtail") - this.#u32(p, "p.runqhead")) >>> 0;
  }

  waitReason(g: number): string {
    const at = g + this.#offset("g.waitreason");
    // Text before Go 1.11 (Go runtime/runtime2.go).
    if (this.layout.minor < 11) {
      const bytes = this.#memory.readBytes(
        this.#memory.readPointer(at),
        Math.min(this.#memory.readPointer(at + 8), 200),
      );
      return new TextDecoder().decode(bytes);
    }
    return this.waitReasonName(this.#memory.readU8(at));
  }

  waitReasonName(reason: number): string {
    return this.layout.waitReasons[reason] ?? `wait reason ${reason}`;
  }

  // Everything.

  /** The goroutine whose runtime.g is at `g`. @throws GuestFault if nothing is mapped there */
  goroutine(g: number): Goroutine {
    const raw = this.#u32(g, "g.atomicstatus");
    const status = raw & ~SCAN_BIT;
    const startPc = this.startPc(g);
    const creatorPc = this.creatorPc(g);
    const stack = g + this.#offset("g.stack");
    // The gopc is the return address of the call to newproc.
    const site = creatorPc === 0 ? undefined : this.symbols.inlineStack(creatorPc - 1)[0];
    return {
      address: g,
      id: this.goid(g),
      status: G_STATUS[status] ?? String(status),
      scanned: (raw & SCAN_BIT) !== 0,
      waitReason: status === G_WAITING ? this.#try(() => this.waitReason(g), undefined) : undefined,
      startPc,
      startFunction: this.symbols.lookup(startPc)?.name,
      creatorPc,
      creator: site?.name,
      created: site?.file === undefined || site.line === undefined ? undefined : { file: site.file, line: site.line },
      parentId: this.layout.offsets["g.parentGoid"] === undefined ? undefined : this.#pointer(g, "g.parentGoid"),
      stack: { lo: this.#pointer(stack, "stack.lo"), hi: this.#pointer(stack, "stack.hi") },
      sched: this.#gobuf(g),
      m: this.#pointer(g, "g.m"),
      lockedM: this.#pointer(g, "g.lockedm"),
      preempt: this.#flag(g, "g.preempt"),
    };
  }

  #gobuf(g: number): StackStart {
    const gobuf = g + this.#offset("g.sched");
    return {
      pc: this.#pointer(gobuf, "gobuf.pc"),
      sp: this.#pointer(gobuf, "gobuf.sp"),
      bp: this.#pointer(gobuf, "gobuf.bp"),
    };
  }

  /**
   * All goroutines, by id; without those that have ended.
   * @throws GoRuntimeError if the list is not to be found in the executable
   */
  goroutines(): Goroutine[] {
    const { allgs } = this.#addresses;
    if (allgs === undefined)
      throw new GoRuntimeError("runtime.allgs is not to be found (no symbols, no runtime.allgadd)");
    const found = this.#try(() => this.#slice(allgs), [])
      .map((g) => this.#try(() => this.goroutine(g), undefined))
      .filter((goroutine) => goroutine !== undefined);
    const ended: readonly string[] = [G_STATUS[G_DEAD], G_STATUS[G_DEAD_EXTRA]];
    return found.filter(({ status }) => !ended.includes(status)).sort((a, b) => a.id - b.id);
  }

  #slice(header: number): number[] {
    const length = this.#memory.readPointer(header + 8);
    if (length > LIST_LIMIT) return [];
    return this.#pointers(this.#memory.readPointer(header), length);
  }

  #pointers(address: number, length: number): number[] {
    const bytes = this.#memory.readBytes(address, length * 8);
    return Array.from(new BigUint64Array(bytes.buffer), Number);
  }

  /**
   * The pprof labels of a goroutine (runtime/pprof, SetGoroutineLabels): a list since Go 1.24, a map before.
   * @throws GuestFault if nothing is mapped at `g`
   */
  labels(g: number): ReadonlyMap<string, string> {
    const pointer = this.#pointer(g, "g.labels");
    if (pointer === 0) return new Map();
    return this.#try(
      () => new Map(this.layout.minor >= 24 ? this.#labelList(pointer) : this.#labelMap(pointer)),
      new Map(),
    );
  }

  *#labelList(slice: number): Generator<[string, string]> {
    const list = this.#word(slice);
    const length = Math.min(this.#word(slice + 8), LABEL_LIMIT);
    for (let i = 0; i < length; i++) yield [this.#string(list + i * 32), this.#string(list + i * 32 + 16)];
  }

  /** A map[string]string of up to eight entries has one bucket (Go runtime/map.go, hmap and bmap); more are left out. */
  *#labelMap(pointer: number): Generator<[string, string]> {
    const map = this.#word(pointer);
    if (map === 0 || this.#word(map) > BUCKET_ENTRIES) return;
    const bucket = this.#word(map + 16);
    // Of a bucket: eight bytes of hashes, eight keys, eight values. Low hashes mark empty slots (minTopHash).
    const lowest = this.layout.minor < 12 ? 4 : 5;
    for (let i = 0; bucket !== 0 && i < BUCKET_ENTRIES; i++) {
      if (this.#memory.readU8(bucket + i) < lowest) continue;
      const key = bucket + BUCKET_ENTRIES + i * 16;
      yield [this.#string(key), this.#string(key + BUCKET_ENTRIES * 16)];
    }
  }

  /** The text of a Go string (pointer and length) at `address`, shortened. */
  #string(address: number): string {
    const length = Math.min(this.#word(address + 8), TEXT_LIMIT);
    return length === 0 ? "" : new TextDecoder().decode(this.#memory.readBytes(this.#word(address), length));
  }

  /** The M whose runtime.m is at `m`. */
  thread(m: number): GoThread {
    const start = this.#pointer(m, "m.mstartfn");
    return {
      address: m,
      id: this.mid(m),
      tid: this.#pointer(m, "m.procid"),
      g0: this.#pointer(m, "m.g0"),
      gsignal: this.#pointer(m, "m.gsignal"),
      curg: this.#pointer(m, "m.curg"),
      p: this.#pointer(m, "m.p"),
      spinning: this.#flag(m, "m.spinning"),
      blocked: this.#flag(m, "m.blocked"),
      lockedG: this.#pointer(m, "m.lockedg"),
      locks: this.#u32(m, "m.locks") | 0,
      // A func value: a pointer to a pointer to the code.
      startFunction:
        start === 0
          ? undefined
          : this.#try(() => this.symbols.lookup(this.#memory.readPointer(start))?.name, undefined),
    };
  }

  /** The Ms whose threads run, by id. */
  threads(): GoThread[] {
    const ms = new Set([...this.process.threads].map((thread) => this.currentM(thread)));
    ms.delete(0);
    return [...ms]
      .map((m) => this.#try(() => this.thread(m), undefined))
      .filter((thread) => thread !== undefined)
      .sort((a, b) => a.id - b.id);
  }

  /** The P whose runtime.p is at `p`. */
  processor(p: number): GoProcessor {
    const status = this.#u32(p, "p.status");
    const head = this.#u32(p, "p.runqhead");
    const length = Math.min(RUNQ_SIZE, (this.#u32(p, "p.runqtail") - head) >>> 0);
    const queue = p + this.#offset("p.runq");
    const runQueue = Array.from({ length }, (_, i) =>
      this.#memory.readPointer(queue + (((head + i) >>> 0) % RUNQ_SIZE) * 8),
    );
    return {
      address: p,
      id: this.pid(p),
      status: P_STATUS[status] ?? String(status),
      schedTick: this.#u32(p, "p.schedtick"),
      syscallTick: this.#u32(p, "p.syscalltick"),
      m: this.#pointer(p, "p.m"),
      runNext: this.#pointer(p, "p.runnext"),
      runQueue,
    };
  }

  /** All Ps, by id; empty before schedinit has made them. */
  processors(): GoProcessor[] {
    this.#allp ??= this.#addresses.allp.find((candidate) => this.#try(() => this.#isAllp(candidate), false));
    if (this.#allp === undefined) return [];
    return this.#listPs(this.#allp)
      .map((p) => this.#try(() => this.processor(p), undefined))
      .filter((processor) => processor !== undefined);
  }

  #listPs(allp: number): number[] {
    if (this.layout.minor >= 10) return this.#slice(allp);
    // An array of pointers that ends with null (Go 1.9: [_MaxGomaxprocs + 1]*p).
    const ps: number[] = [];
    for (let p = this.#memory.readPointer(allp); p !== 0 && ps.length <= 1024; ) {
      ps.push(p);
      p = this.#memory.readPointer(allp + ps.length * 8);
    }
    return ps;
  }

  /** Does the list hold Ps in the order of their numbers, among them those that threads have? */
  #isAllp(candidate: number): boolean {
    const ps = this.#listPs(candidate);
    const held = [...this.process.threads].map((thread) => this.currentP(thread)).filter((p) => p !== 0);
    return (
      ps.length > 0 && held.length > 0 && held.every((p) => ps.includes(p)) && ps.every((p, i) => this.pid(p) === i)
    );
  }

  /** The scheduler's own state. @throws GoRuntimeError if runtime.sched is not to be found */
  scheduler(): GoScheduler {
    const { sched } = this.#addresses;
    if (sched === undefined)
      throw new GoRuntimeError("runtime.sched is not to be found (no symbols, no runtime.schedinit)");
    const { offsets } = this.layout;
    const runQueue: number[] = [];
    let g = this.#memory.readPointer(sched + (offsets["sched.runq"] ?? this.#offset("sched.runqhead")));
    for (; g !== 0 && runQueue.length < LIST_LIMIT; g = this.#pointer(g, "g.schedlink")) runQueue.push(g);
    return {
      runQueue,
      idleMs: this.#u32(sched, "sched.nmidle"),
      idlePs: this.#u32(sched, "sched.npidle"),
      spinningMs: this.#u32(sched, "sched.nmspinning"),
      gcWaiting: this.#u32(sched, "sched.gcwaiting") !== 0,
    };
  }

  // Stacks.

  /** Where a goroutine stands: in a thread's registers if it runs, else where it was switched away from. */
  position(g: number): StackStart {
    for (const thread of this.process.threads) {
      if (this.currentG(thread) === g) return this.registers(thread);
    }
    const pc = this.#pointer(g, "g.syscallpc");
    const sp = this.#pointer(g, "g.syscallsp");
    return sp !== 0 ? { pc, sp, bp: 0 } : this.#gobuf(g);
  }

  registers(thread: LinuxThread): StackStart {
    const { gpr, rip } = thread.cpu;
    return { pc: rip, sp: Number(gpr[REG.RSP]), bp: Number(gpr[REG.RBP]) };
  }

  /** The stack trace of a goroutine, innermost frame first. @param limit most frames */
  stack(g: number, limit?: number): Frame[] {
    return walkStack(this.#memory, this.symbols, this.position(g), limit);
  }

  /** The one frame of a function that starts at `pc`; for a wrapper of a `go` statement that of what it calls. */
  frameAt(pc: number): Frame[] {
    const name = this.startName(pc);
    const address = name === undefined ? pc : (this.symbols.byName(name)?.address ?? pc);
    const line = this.symbols.lineOf(address);
    return [{ pc: address, sp: 0, name, file: line?.file, line: line?.line, inlined: false }];
  }

  /** The stack trace of what a thread runs now, g0 and signal handlers included. */
  threadStack(thread: LinuxThread, limit?: number): Frame[] {
    return walkStack(this.#memory, this.symbols, this.registers(thread), limit);
  }
}
