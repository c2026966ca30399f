import { REG, STATE, VECTOR_STRIDE } from "../cpu/state.ts";
import { ADDRESS_FORM, type Instruction, type MemoryOperand, type Operand, SEGMENT } from "../decode/instruction.ts";
import { REGION_PARAMS } from "../interpreter/translated-module.ts";
import { FLAG_WORD_OFFSETS, type FlagWord } from "../semantics/flag-words.ts";
import type { FloatExpr, Range } from "../semantics/float.ts";
import { loadInt, maskOf, type Width } from "../semantics/translator.ts";
import {
  type Expr,
  F32,
  type F32Expr,
  F64,
  type F64Expr,
  I32,
  type I32Expr,
  I64,
  type I64Expr,
  i64,
  LocalRef,
  Sum,
  V128,
  type V128Expr,
  type ValType,
} from "../wasm/expr.ts";
import { f32x4, f64x2, v128 } from "../wasm/simd.ts";
import { type Checked, CONSTANTS, isWithin, type Knowledge, localsIn, nothingKnown, type Origin } from "./knowledge.ts";
import { LocalPool } from "./local-pool.ts";
import { localsOf, PendingFlagTranslator } from "./pending-flags.ts";
import {
  type BlockUse,
  gprBit,
  type LowLane,
  noUse,
  type RegisterMask,
  type VectorKind,
  type VectorUse,
  vectorBit,
} from "./register-use.ts";
import { SumRoots } from "./sum-roots.ts";

const RSP = REG.RSP;

const WORD_NAMES: readonly FlagWord[] = ["result", "carry", "width"];

const GPR_NAMES = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");

const n = (value: number | bigint): I64Expr => i64.const(value);

/**
 * Registers, flags and operands of a region: general registers and XMM registers are locals, operands are constants. The
 * low lane of an XMM register that is mostly used as a scalar is a local of its own; lane 0 of its v128 is out of date.
 */
export abstract class RegisterTranslator extends PendingFlagTranslator {
  #pooling = false;
  /** Locals that something was learnt about since the last `restore`. */
  readonly #learnt = new Set<number>();
  readonly #pool = new LocalPool();
  instruction: Instruction = undefined as unknown as Instruction;
  /** What the block under translation does to registers. */
  use: BlockUse = noUse();
  /** What the region does to XMM registers. */
  readonly vectorUse: VectorUse[] = Array.from({ length: 16 }, () => ({ whole: 0, f64: 0, f32: 0 }));
  /** Registers whose local is newer than the CPU state here, on some path at least. */
  dirty: RegisterMask = 0;
  knowledge: Knowledge = nothingKnown();
  /** REGION_PARAMS: fuel and RSP come in registers of the host. */
  readonly fuel: LocalRef<typeof I64> = this.param(2, I64);
  protected readonly cpu: LocalRef<typeof I32> = this.param(0, I32);
  readonly #gpr: LocalRef<typeof I64>[] = [];
  readonly #vector: LocalRef<typeof V128>[] = [];
  readonly #low: (LowLane | undefined)[] = [];
  readonly #words: Record<FlagWord, LocalRef<typeof I64>>;
  readonly #pinnedOrigins = new Map<Expr, Origin>();
  /** Addresses of this instruction with base and index. */
  readonly #indexed = new Map<Expr, Origin>();
  readonly #sums = new SumRoots();
  /** XMM registers whose low lane the current instruction has read into a local of its own. */
  readonly #pinnedLow = new Map<Expr, number>();
  /** Results of the current instruction that are ordinary. */
  readonly #results = new Map<Expr, Range>();
  /** Vectors that the current instruction has read or made, whose lanes are in locals. */
  readonly #laned = new Map<Expr, readonly I32Expr[]>();

  /**
   * @param known the registers that the region uses: others get no local
   * @param kinds of the XMM registers
   * @param isTrial the code is thrown away
   */
  constructor(known: RegisterMask, kinds: readonly VectorKind[], isTrial: boolean) {
    super(REGION_PARAMS, isTrial);
    for (let i = 0; i < 16; i++) if (known & gprBit(i)) this.#gpr[i] = i === RSP ? this.param(3, I64) : this.local(I64);
    for (let i = 0; i < 16; i++) {
      if (!(known & vectorBit(i))) continue;
      this.#vector[i] = this.local(V128);
      const kind = kinds[i];
      if (kind !== "whole") this.#low[i] = { kind, local: kind === "f64" ? this.local(F64) : this.local(F32) };
    }
    this.#words = { result: this.local(I64), carry: this.local(I64), width: this.local(I64) };
    this.#pooling = !isTrial;
  }

  // Locals.

  protected override allocate(type: ValType): number {
    return this.#pooling ? this.#pool.take(type, (t) => super.allocate(t)) : super.allocate(type);
  }

  /** A local that nothing else uses. */
  fixedLocal<T extends ValType>(type: T): LocalRef<T> {
    this.#pooling = false;
    const local = this.local(type);
    this.#pooling = true;
    return local;
  }

  /** Names of the locals that hold registers and flags, for whoever reads the code. */
  registerNames(): Map<number, string> {
    const names = new Map([
      [this.cpu.index, "cpu"],
      [this.fuel.index, "fuel"],
    ]);
    for (const [i, local] of this.#gpr.entries()) if (local !== undefined) names.set(local.index, GPR_NAMES[i]);
    for (const [i, local] of this.#vector.entries()) if (local !== undefined) names.set(local.index, `xmm${i}`);
    for (const [i, low] of this.#low.entries())
      if (low !== undefined) names.set(low.local.index, `xmm${i}.${low.kind}`);
    for (const word of WORD_NAMES) names.set(this.#words[word].index, `flags.${word}`);
    return names;
  }

  /** The value of a general register. */
  protected register(number: number): I64Expr {
    return this.#read(number);
  }

  /** Starts an instruction: what the one before has used is free, but for what is still known of it. */
  protected startInstruction(instruction: Instruction): void {
    if (this.#pooling && this.#pool.hasFresh) {
      const pending = localsOf(this.knowledge.pending);
      this.#pool.reclaim((index) => pending.includes(index) || this.#learnt.has(index));
    }
    this.#forgetPinned();
    this.instruction = instruction;
    this.nesting = 0;
  }

  /** Goes on at a point of the code with what is known there. */
  restore(knowledge: Knowledge, dirty: RegisterMask): void {
    this.knowledge = knowledge;
    this.dirty = dirty;
    if (this.#pooling) this.#pool.reserve(localsIn(knowledge));
    this.#learnt.clear();
    this.#forgetPinned();
  }

  #forgetPinned(): void {
    clear(this.#indexed);
    clear(this.#pinnedOrigins);
    clear(this.#pinnedLow);
    clear(this.#results);
    clear(this.#laned);
  }

  /** Accesses off `root` are checked, from now on. */
  protected learn(root: object, known: Checked): void {
    this.knowledge.checked.set(root, [...(this.knowledge.checked.get(root) ?? []), known]);
    if (known.host instanceof LocalRef) this.#learnt.add(known.host.index);
  }

  /** Writes code in which what is known here may be relied on throughout. */
  holding(knowledge: Knowledge, write: () => void): void {
    const locals = localsIn(knowledge);
    this.#pool.reserve(locals);
    this.#pool.hold(locals);
    write();
    this.#pool.release(locals);
  }

  // Registers.

  #noteRead(bit: RegisterMask): void {
    this.use.reads |= bit & ~this.use.defines;
  }

  #noteWrite(bit: RegisterMask): void {
    // Inside a control structure the old value may have to stay.
    if (this.nesting === 0) this.use.defines |= bit;
    else this.#noteRead(bit);
    this.use.dirties |= bit;
    this.dirty |= bit;
    if (bit & 0xffff) return;
    const vector = 31 - Math.clz32(bit) - 16;
    this.knowledge.ordinary.delete(vector);
    this.knowledge.lanes.delete(vector);
  }

  #read(number: number): LocalRef<typeof I64> {
    this.#noteRead(gprBit(number));
    return this.#gpr[number];
  }

  override gpr(number: number, width: Width = 64): I64Expr {
    return width === 64 ? this.#read(number) : this.cut(this.#read(number), width);
  }

  override setGpr(number: number, value: I64Expr, width: Width = 64): void {
    const origin = width === 64 && this.nesting === 0 ? this.originOf(value) : undefined;
    if (width === 64) this.set(this.#gpr[number], value);
    else if (width === 32) this.set(this.#gpr[number], this.cut(value, 32));
    else {
      const kept = i64.and(this.#read(number), i64.const(~maskOf(width)));
      this.set(this.#gpr[number], i64.or(kept, this.cut(value, width)));
    }
    this.#noteWrite(gprBit(number));
    this.knowledge.origins.set(number, origin ?? { root: {}, offset: 0n });
  }

  #isHighByte(operand: Operand): boolean {
    return (operand.offset & 1) === 1;
  }

  override readRegister(i: number, width: number): I64Expr {
    const operand = this.operand(i);
    if (operand.registerClass !== "gpr") return loadInt(width, this.cpu, operand.offset);
    if (this.#isHighByte(operand)) return this.cut(i64.shrU(this.#read(operand.index), n(8)), width);
    return this.gpr(operand.index, width as Width);
  }

  override writeRegister(i: number, width: number, value: I64Expr): void {
    const operand = this.operand(i);
    if (operand.registerClass !== "gpr") {
      this.storeInt(width, this.cpu, value, operand.offset);
      return;
    }
    if (!this.#isHighByte(operand)) {
      this.setGpr(operand.index, value, width as Width);
      return;
    }
    const kept = i64.and(this.#read(operand.index), i64.const(~0xff00n));
    this.setGpr(operand.index, i64.or(kept, i64.shl(this.cut(value, 8), n(8))));
  }

  // XMM0–15 are locals; their upper parts, and every other register, stay in the CPU state.

  #inLocal(operand: Operand, part: number): boolean {
    return operand.registerClass === "vector" && operand.index < 16 && part === 0;
  }

  #whole(number: number): V128Expr {
    this.#noteRead(vectorBit(number));
    const low = this.#low[number];
    const vector = this.#vector[number];
    if (low === undefined) return vector;
    if (low.kind === "f64") return f64x2.replace(vector, 0, low.local as F64Expr);
    return f32x4.replace(vector, 0, low.local as F32Expr);
  }

  #setWhole(number: number, value: V128Expr): void {
    this.set(this.#vector[number], value);
    this.#splitLow(number);
    this.#noteWrite(vectorBit(number));
    const lanes = this.#laned.get(value);
    if (lanes === undefined || this.nesting > 0) return;
    this.knowledge.lanes.set(number, lanes);
    for (const lane of lanes) if (lane instanceof LocalRef) this.#learnt.add(lane.index);
  }

  /** What is made of lanes and taken apart again is never put together, if nobody wants it whole. */
  override fromLanes(lanes: readonly I32Expr[]): V128Expr {
    const pinned = lanes.map((lane) => this.let(lane));
    const vector = super.fromLanes(pinned);
    this.#laned.set(vector, pinned);
    return vector;
  }

  override lanes(vector: V128Expr): readonly I32Expr[] {
    return this.#laned.get(vector) ?? super.lanes(vector);
  }

  /** Sets the low lane's local from the v128. */
  #splitLow(number: number): void {
    const low = this.#low[number];
    const vector = this.#vector[number];
    if (low?.kind === "f64") this.set(low.local as LocalRef<typeof F64>, f64x2.extract(vector, 0));
    else if (low !== undefined) this.set(low.local as LocalRef<typeof F32>, f32x4.extract(vector, 0));
  }

  override readVectorPart(i: number, part: number): V128Expr {
    const operand = this.operand(i);
    if (!this.#inLocal(operand, part)) return v128.load(this.cpu, operand.offset + part * 16);
    this.vectorUse[operand.index].whole++;
    return this.#whole(operand.index);
  }

  override writeVectorPart(i: number, part: number, value: V128Expr): void {
    const operand = this.operand(i);
    if (!this.#inLocal(operand, part)) {
      this.storeV128(this.cpu, value, operand.offset + part * 16);
      return;
    }
    // A move that is not counted: it costs the same either way.
    this.#setWhole(operand.index, value);
  }

  override readLow64(i: number): F64Expr {
    const operand = this.operand(i);
    if (!this.#inLocal(operand, 0)) return f64x2.extract(this.readVectorPart(i, 0), 0);
    this.vectorUse[operand.index].f64++;
    const low = this.#low[operand.index];
    if (low?.kind !== "f64") return f64x2.extract(this.#whole(operand.index), 0);
    this.#noteRead(vectorBit(operand.index));
    return low.local as F64Expr;
  }

  override readLow32(i: number): F32Expr {
    const operand = this.operand(i);
    if (!this.#inLocal(operand, 0)) return f32x4.extract(this.readVectorPart(i, 0), 0);
    this.vectorUse[operand.index].f32++;
    const low = this.#low[operand.index];
    if (low?.kind !== "f32") return f32x4.extract(this.#whole(operand.index), 0);
    this.#noteRead(vectorBit(operand.index));
    return low.local as F32Expr;
  }

  override writeLow64(i: number, value: F64Expr): void {
    const operand = this.operand(i);
    if (!this.#inLocal(operand, 0)) {
      this.storeFloat(this.cpu, value, operand.offset);
      return;
    }
    const { index } = operand;
    this.vectorUse[index].f64++;
    const low = this.#low[index];
    if (low?.kind !== "f64") {
      this.#setWhole(index, f64x2.replace(this.#whole(index), 0, value));
      return;
    }
    this.#noteRead(vectorBit(index));
    this.set(low.local as LocalRef<typeof F64>, value);
    this.#noteWrite(vectorBit(index));
    this.#noteResult(index, value);
  }

  override writeLow32(i: number, value: F32Expr): void {
    const operand = this.operand(i);
    if (!this.#inLocal(operand, 0)) {
      this.storeFloat(this.cpu, value, operand.offset);
      return;
    }
    const { index } = operand;
    this.vectorUse[index].f32++;
    const low = this.#low[index];
    if (low?.kind !== "f32") {
      this.#setWhole(index, f32x4.replace(this.#whole(index), 0, value));
      return;
    }
    this.#noteRead(vectorBit(index));
    this.set(low.local as LocalRef<typeof F32>, value);
    this.#noteWrite(vectorBit(index));
    this.#noteResult(index, value);
  }

  #noteResult(number: number, value: FloatExpr): void {
    const range = this.nesting === 0 ? this.#results.get(value) : undefined;
    if (range !== undefined) this.knowledge.ordinary.set(number, range);
  }

  override noteOrdinary(value: FloatExpr, range: Range): void {
    this.#results.set(value, range);
  }

  /** Number of the XMM register whose low lane a value is. */
  #lowOf(value: Expr): number | undefined {
    const number = this.#low.findIndex((low) => low !== undefined && low.local === value);
    return number >= 0 ? number : this.#pinnedLow.get(value);
  }

  /** Is a scalar known to be zero or ordinary? */
  protected isOrdinary(value: FloatExpr, range: Range): boolean {
    const number = this.#lowOf(value);
    return number !== undefined && isWithin(this.knowledge.ordinary.get(number), range);
  }

  protected learnOrdinary(value: FloatExpr, range: Range): void {
    const number = this.#lowOf(value);
    if (number === undefined || isWithin(this.knowledge.ordinary.get(number), range)) return;
    this.knowledge.ordinary.set(number, range);
  }

  override opmask(): I64Expr {
    return i64.load(this.cpu, STATE.opmask + this.instruction.opmask * 8);
  }

  override setOpmask(value: I64Expr): void {
    this.storeInt(64, this.cpu, value, STATE.opmask + this.instruction.opmask * 8);
  }

  override writeOpmaskPair(i: number, even: I64Expr, odd: I64Expr): void {
    const offset = this.operand(i).offset & -16;
    this.storeInt(64, this.cpu, even, offset);
    this.storeInt(64, this.cpu, odd, offset + 8);
  }

  override vectorByNumber(number: number, part: number): V128Expr {
    if (part > 0 || number > 15) return v128.load(this.cpu, STATE.vector + number * VECTOR_STRIDE + part * 16);
    this.vectorUse[number].whole++;
    return this.#whole(number);
  }

  override setVectorByNumber(number: number, part: number, value: V128Expr): void {
    if (part > 0 || number > 15) this.storeV128(this.cpu, value, STATE.vector + number * VECTOR_STRIDE + part * 16);
    else this.#setWhole(number, value);
  }

  /** Loads registers from the CPU state. @param flags whether somebody reads the flags there */
  loadRegisters(mask: RegisterMask): void {
    for (let i = 0; i < 16; i++) {
      if (mask & gprBit(i)) this.set(this.#gpr[i], i64.load(this.cpu, STATE.gpr + i * 8));
      if (!(mask & vectorBit(i))) continue;
      this.set(this.#vector[i], v128.load(this.cpu, STATE.vector + i * VECTOR_STRIDE));
      this.#splitLow(i);
    }
  }

  /** Loads the thread's fuel. */
  loadFuel(): void {
    this.set(this.fuel, i64.load(this.cpu, STATE.fuel));
  }

  /** Loads the words of the status flags. */
  loadFlags(): void {
    for (const word of WORD_NAMES) this.set(this.#words[word], i64.load(this.cpu, FLAG_WORD_OFFSETS[word]));
  }

  /** Stores the thread's fuel. */
  storeFuel(): void {
    this.storeInt(64, this.cpu, this.fuel, STATE.fuel);
  }

  /** Stores registers to the CPU state, and the flag words if somebody may read them. */
  storeRegisters(mask: RegisterMask, flags: boolean): void {
    for (let i = 0; i < 16; i++) {
      if (mask & gprBit(i)) this.storeInt(64, this.cpu, this.#gpr[i], STATE.gpr + i * 8);
      if (mask & vectorBit(i)) this.storeV128(this.cpu, this.#whole(i), STATE.vector + i * VECTOR_STRIDE);
    }
    for (const word of flags ? WORD_NAMES : []) this.storeInt(64, this.cpu, this.#words[word], FLAG_WORD_OFFSETS[word]);
  }

  get stackPointer(): LocalRef<typeof I64> {
    return this.#read(RSP) as LocalRef<typeof I64>;
  }

  /** Behind a call: RSP is what it would be if the callee has only taken the return address, or what memory has. */
  stackPointerReturns(): void {
    const rsp = this.#gpr[RSP];
    const inState = i64.load(this.cpu, STATE.gpr + RSP * 8);
    this.set(rsp, i64.add(rsp, n(8)));
    super.if(i64.ne(inState, rsp), () => this.set(rsp, inState), undefined, false);
  }

  // Operands.

  override immediate(i: number): I64Expr {
    return i64.const(this.operand(i).value);
  }

  override addressOffset(): I64Expr {
    const { memory } = this.instruction;
    if (memory === undefined || memory.vectorIndex !== 0) throw new Error("no scalar address");
    let address: I64Expr = i64.const(memory.displacement);
    if (memory.form === ADDRESS_FORM.indexed) {
      const index = this.#read(memory.index >>> 3);
      address = i64.shl(index, n(memory.shift));
      const base = memory.base === STATE.zero ? undefined : this.#read(memory.base >>> 3);
      if (base !== undefined) address = i64.add(base, address);
      address = i64.add(address, i64.const(memory.displacement));
      if (base !== undefined && this.nesting === 0 && !memory.address32)
        this.#indexed.set(address, this.#originOfElement(base, index, memory));
    } else if (memory.form === ADDRESS_FORM.base) address = i64.add(this.#read(memory.base >>> 3), address);
    return memory.address32 ? this.cut(address, 32) : address;
  }

  #originOfElement(base: I64Expr, index: I64Expr, memory: MemoryOperand): Origin {
    const from = this.originOf(base) as Origin;
    const { root, offset } = this.originOf(index) as Origin;
    const shift = BigInt(memory.shift);
    const distance = from.offset + (offset << shift) + BigInt(memory.displacement);
    return { root: this.#sums.rootOf(from.root, root, memory.shift), offset: BigInt.asIntN(64, distance) };
  }

  /** What the address of an element, by base and index, is a constant away from. */
  protected originOfIndexed(address: I64Expr): Origin | undefined {
    if (!(address instanceof Sum)) return this.#indexed.get(address);
    const base = this.#indexed.get(address) ?? this.#indexed.get(address.base);
    if (base === undefined || this.#indexed.has(address)) return base;
    return { root: base.root, offset: BigInt.asIntN(64, base.offset + address.offset) };
  }

  override linearAddress(): I64Expr {
    return i64.add(this.addressOffset(), this.#segment(this.instruction.memory?.segment ?? SEGMENT.none));
  }

  override vectorIndex(part: number): V128Expr {
    const index = ((this.instruction.memory?.index ?? 0) - STATE.vector) / VECTOR_STRIDE;
    return this.vectorByNumber(index, part);
  }

  override elementAddress(index: I64Expr): I64Expr {
    const { memory } = this.instruction;
    if (memory === undefined || memory.vectorIndex === 0) throw new Error("no vector of addresses");
    const base = memory.base === STATE.zero ? n(0) : this.#read(memory.base >>> 3);
    const sum = i64.add(i64.add(base, i64.shl(index, n(memory.shift))), i64.const(memory.displacement));
    return i64.add(memory.address32 ? this.cut(sum, 32) : sum, this.#segment(memory.segment));
  }

  override segmentBase(): I64Expr {
    return this.#segment(this.instruction.segment);
  }

  #segment(segment: number): I64Expr {
    if (segment === SEGMENT.none) return n(0);
    return i64.load(this.cpu, segment === SEGMENT.fs ? STATE.fsBase : STATE.gsBase);
  }

  override currentAddress(): I64Expr {
    return i64.const(BigInt(this.instruction.address));
  }

  override nextAddress(): I64Expr {
    return i64.const(BigInt(this.instruction.address + this.instruction.length));
  }

  override state(offset: number, width: Width): I64Expr {
    return loadInt(width, this.cpu, offset);
  }

  override setState(offset: number, value: I64Expr, width: Width): void {
    this.storeInt(width, this.cpu, value, offset);
  }

  override stateAddress(): I32Expr {
    return this.cpu;
  }

  // Values.

  override let<T extends ValType>(value: Expr<T>): Expr<T> {
    const origin = value.type === I64 && this.nesting === 0 ? this.originOf(value as unknown as I64Expr) : undefined;
    const pinned = super.let(value);
    if (origin !== undefined) this.#pinnedOrigins.set(pinned, origin);
    const indexed = value.type === I64 ? this.originOfIndexed(value as unknown as I64Expr) : undefined;
    if (indexed !== undefined) this.#indexed.set(pinned, indexed);
    if (value.type === F64 || value.type === F32) {
      const number = this.#lowOf(value);
      if (number !== undefined) this.#pinnedLow.set(pinned, number);
    }
    if (value.type === V128) {
      const lanes = this.knowledge.lanes.get(this.#vector.indexOf(value as unknown as LocalRef<typeof V128>));
      if (lanes !== undefined) this.#laned.set(pinned, lanes);
    }
    return pinned;
  }

  /** What a value is known to be a constant away from. */
  protected originOf(value: I64Expr): Origin | undefined {
    if (value.value !== undefined) return { root: CONSTANTS, offset: BigInt.asUintN(64, BigInt(value.value)) };
    if (value instanceof Sum) {
      const base = this.originOf(value.base);
      return base && { root: base.root, offset: BigInt.asIntN(64, base.offset + value.offset) };
    }
    const pinned = this.#pinnedOrigins.get(value);
    if (pinned !== undefined) return pinned;
    const number = this.#gpr.indexOf(value as LocalRef<typeof I64>);
    if (number < 0) return undefined;
    let origin = this.knowledge.origins.get(number);
    if (origin === undefined) {
      origin = { root: {}, offset: 0n };
      this.knowledge.origins.set(number, origin);
    }
    return origin;
  }

  /** Is this address a constant away from RSP? */
  protected isStackAddress({ root }: Origin): boolean {
    return this.knowledge.origins.get(RSP)?.root === root;
  }

  // Flags: pending-flags.ts.

  override flagWord(word: FlagWord): I64Expr {
    return this.#words[word];
  }

  override setFlagWord(word: FlagWord, value: I64Expr): void {
    this.set(this.#words[word], value);
  }
}

/** V8 makes a new table for a map that is cleared, for an empty one, too. */
function clear(map: Map<unknown, unknown>): void {
  if (map.size > 0) map.clear();
}
