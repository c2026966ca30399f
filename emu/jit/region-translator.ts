import { EXIT } from "../cpu/exits.ts";
import { STATE, VECTOR_STRIDE } from "../cpu/state.ts";
import { ADDRESS_FORM, type Instruction, type Operand, SEGMENT } from "../decode/instruction.ts";
import { HANDLER_PARAMS } from "../interpreter/record-translator.ts";
import { PAGE_SHIFT, PAGE_SIZE, PERM_MAP, PERM_READ_SPAN, PERM_WRITE_SPAN, PROT_READ, PROT_WRITE } from "../layout.ts";
import { FLAG_WORD_OFFSETS, type FlagWord } from "../semantics/flag-words.ts";
import { loadInt, maskOf, type Width } from "../semantics/translator.ts";
import {
  call,
  type Expr,
  type F32Expr,
  type F64Expr,
  I32,
  type I32Expr,
  I64,
  type I64Expr,
  i32,
  i64,
  type LocalRef,
  Sum,
  V128,
  type V128Expr,
  type ValType,
} from "../wasm/expr.ts";
import type { Label } from "../wasm/function.ts";
import { f32x4, f64x2, v128 } from "../wasm/simd.ts";
import { localsOf, type Pending, PendingFlagTranslator, WORDS } from "./pending-flags.ts";
import { flagsBefore } from "./region.ts";

const WORD_NAMES: readonly FlagWord[] = ["result", "carry", "width"];

const n = (value: number | bigint): I64Expr => i64.const(value);

/** Registers as bits of a mask: general registers 0–15, XMM registers 16–31. */
export type RegisterMask = number;
const gprBit = (number: number): RegisterMask => 1 << number;
const vectorBit = (number: number): RegisterMask => 1 << (16 + number);

/** What a block does to registers; found in a first pass over the region, used by the second. */
export interface BlockUse {
  /** Read before the block itself has certainly written them. */
  reads: RegisterMask;
  /** Certainly written. */
  defines: RegisterMask;
  /** Possibly written, and not yet stored to the CPU state. */
  dirties: RegisterMask;
}

/** A value known as another plus a constant: accesses off one base share their checks. */
interface Origin {
  readonly root: object;
  readonly offset: bigint;
}

/** Accesses at root + [low, low + page) are known to be allowed. */
interface Checked {
  readonly low: bigint;
  readonly need: number;
}

/** How an instruction ends the block it is the last of. */
export type Terminator =
  | { kind: "direct" }
  | { kind: "conditional"; condition: I32Expr }
  | { kind: "indirect"; target: I64Expr }
  | { kind: "leave"; exit: number; past: boolean };

/** Why a region is left: for a place to look up, or with an exit code of its own. */
export const WAY = { branch: 0, exit: 1 } as const;

/** Function indices that regions call. */
export interface RegionImports {
  readonly slow: number;
  /** Accesses that the fast check refuses go through `slow` instead of leaving the region. */
  readonly patient: boolean;
  readonly helper: (name: string) => number;
}

/** What is known at a point of the code; a block that follows its only predecessor starts with what that one knew. */
export interface Knowledge {
  pending: Pending;
  origins: Map<number, Origin>;
  checked: Map<object, Checked[]>;
}

/**
 * Tier 1: semantics become part of a region's function. General registers and XMM registers are locals, operands are
 * constants, flags are made only where they are read (docs/architecture.md, "Regions").
 */
export class RegionTranslator extends PendingFlagTranslator {
  #pooling = false;
  readonly #free = new Map<ValType, number[]>();
  #taken: { type: ValType; index: number }[] = [];
  instruction: Instruction = undefined as unknown as Instruction;
  /** What the block under translation does to registers. */
  use: BlockUse = { reads: 0, defines: 0, dirties: 0 };
  /** Registers whose local is newer than the CPU state here, on some path at least. */
  dirty: RegisterMask = 0;
  /** How the instruction just translated ends its block. */
  terminator: Terminator | undefined;
  knowledge: Knowledge = { pending: WORDS, origins: new Map(), checked: new Map() };
  readonly fuel = this.local(I64);
  readonly rip = this.local(I64);
  readonly way = this.local(I32);
  readonly status = this.local(I32);
  exitLabel: Label = { depth: 0 };
  readonly #imports: RegionImports;
  readonly #cpu = this.param(0, I32);
  readonly #gpr: LocalRef<typeof I64>[] = [];
  readonly #vector: LocalRef<typeof V128>[] = [];
  readonly #words: Record<FlagWord, LocalRef<typeof I64>>;
  readonly #pinnedOrigins = new Map<Expr, Origin>();
  /** Instructions of the block that have not run when the current one starts. */
  #unspent = 0;

  /** @param known the registers that the region uses: others get no local */
  constructor(imports: RegionImports, known: RegisterMask) {
    super(HANDLER_PARAMS);
    this.#imports = imports;
    for (let i = 0; i < 16; i++) if (known & gprBit(i)) this.#gpr[i] = this.local(I64);
    for (let i = 0; i < 16; i++) if (known & vectorBit(i)) this.#vector[i] = this.local(V128);
    this.#words = { result: this.local(I64), carry: this.local(I64), width: this.local(I64) };
    this.#pooling = true;
  }

  // Locals are used again by later instructions: V8's baseline compiler clears each one at entry.

  protected override allocate(type: ValType): number {
    if (!this.#pooling) return super.allocate(type);
    const index = this.#free.get(type)?.pop() ?? super.allocate(type);
    this.#taken.push({ type, index });
    return index;
  }

  /** Takes back the locals of earlier instructions, but for those that pending flags still need. */
  #reclaim(): void {
    const needed = localsOf(this.knowledge.pending);
    const kept: { type: ValType; index: number }[] = [];
    for (const local of this.#taken) {
      if (needed.has(local.index)) kept.push(local);
      else {
        const list = this.#free.get(local.type);
        if (list === undefined) this.#free.set(local.type, [local.index]);
        else list.push(local.index);
      }
    }
    this.#taken = kept;
  }

  /** Starts a block with what is known there. */
  begin(knowledge: Knowledge, dirty: RegisterMask): void {
    this.use = { reads: 0, defines: 0, dirties: 0 };
    this.restore(knowledge, dirty);
  }

  /** Goes back to a point of the code from which another path has been written meanwhile. */
  restore(knowledge: Knowledge, dirty: RegisterMask): void {
    this.knowledge = knowledge;
    this.dirty = dirty;
    // The other path may have given back locals that this one still needs.
    const needed = localsOf(knowledge.pending);
    for (const [type, list] of this.#free) {
      for (const index of list) if (needed.has(index)) this.#taken.push({ type, index });
      this.#free.set(
        type,
        list.filter((index) => !needed.has(index)),
      );
    }
    this.#pinnedOrigins.clear();
  }

  /** Translates one instruction. @param unspent instructions from it to the end of its block */
  translate(instruction: Instruction, emit: (e: RegionTranslator) => void, liveAfter: number, unspent: number): void {
    this.#reclaim();
    this.#pinnedOrigins.clear();
    this.instruction = instruction;
    this.liveAfter = liveAfter;
    this.#unspent = unspent;
    this.nesting = 0;
    this.terminator = undefined;
    emit(this);
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
  }

  #read(number: number): LocalRef<typeof I64> {
    this.#noteRead(gprBit(number));
    return this.#gpr[number];
  }

  override gpr(number: number, width: Width = 64): I64Expr {
    return width === 64 ? this.#read(number) : this.cut(this.#read(number), width);
  }

  override setGpr(number: number, value: I64Expr, width: Width = 64): void {
    const origin = width === 64 && this.nesting === 0 ? this.#originOf(value) : undefined;
    if (width === 64) this.set(this.#gpr[number], value);
    else if (width === 32) this.set(this.#gpr[number], this.cut(value, 32));
    else {
      const kept = i64.and(this.#read(number), i64.const(~maskOf(width)));
      this.set(this.#gpr[number], i64.or(kept, this.cut(value, width)));
    }
    this.#noteWrite(gprBit(number));
    if (origin === undefined) this.knowledge.origins.set(number, { root: {}, offset: 0n });
    else this.knowledge.origins.set(number, origin);
  }

  #isHighByte(operand: Operand): boolean {
    return (operand.offset & 1) === 1;
  }

  override readRegister(i: number, width: number): I64Expr {
    const operand = this.operand(i);
    if (operand.registerClass !== "gpr") return loadInt(width, this.#cpu, operand.offset);
    if (this.#isHighByte(operand)) return this.cut(i64.shrU(this.#read(operand.index), n(8)), width);
    return this.gpr(operand.index, width as Width);
  }

  override writeRegister(i: number, width: number, value: I64Expr): void {
    const operand = this.operand(i);
    if (operand.registerClass !== "gpr") {
      this.storeInt(width, this.#cpu, value, operand.offset);
      return;
    }
    if (!this.#isHighByte(operand)) {
      this.setGpr(operand.index, value, width as Width);
      return;
    }
    const kept = i64.and(this.#read(operand.index), i64.const(~0xff00n));
    this.setGpr(operand.index, i64.or(kept, i64.shl(this.cut(value, 8), n(8))));
  }

  /** XMM0–15 are locals; their upper parts, and every other register, stay in the CPU state. */
  #inLocal(operand: Operand, part: number): boolean {
    return operand.registerClass === "vector" && operand.index < 16 && part === 0;
  }

  override readVectorPart(i: number, part: number): V128Expr {
    const operand = this.operand(i);
    if (!this.#inLocal(operand, part)) return v128.load(this.#cpu, operand.offset + part * 16);
    this.#noteRead(vectorBit(operand.index));
    return this.#vector[operand.index];
  }

  override writeVectorPart(i: number, part: number, value: V128Expr): void {
    const operand = this.operand(i);
    if (!this.#inLocal(operand, part)) {
      this.storeV128(this.#cpu, value, operand.offset + part * 16);
      return;
    }
    this.set(this.#vector[operand.index], value);
    this.#noteWrite(vectorBit(operand.index));
  }

  override readLow64(i: number): F64Expr {
    return f64x2.extract(this.readVectorPart(i, 0), 0);
  }

  override readLow32(i: number): F32Expr {
    return f32x4.extract(this.readVectorPart(i, 0), 0);
  }

  override writeLow64(i: number, value: F64Expr): void {
    this.writeVectorPart(i, 0, f64x2.replace(this.readVectorPart(i, 0), 0, value));
  }

  override writeLow32(i: number, value: F32Expr): void {
    this.writeVectorPart(i, 0, f32x4.replace(this.readVectorPart(i, 0), 0, value));
  }

  override vectorByNumber(number: number, part: number): V128Expr {
    if (part > 0) return v128.load(this.#cpu, STATE.vector + number * VECTOR_STRIDE + part * 16);
    this.#noteRead(vectorBit(number));
    return this.#vector[number];
  }

  override setVectorByNumber(number: number, part: number, value: V128Expr): void {
    if (part > 0) this.storeV128(this.#cpu, value, STATE.vector + number * VECTOR_STRIDE + part * 16);
    else {
      this.set(this.#vector[number], value);
      this.#noteWrite(vectorBit(number));
    }
  }

  /** Loads registers from the CPU state. @param flags whether somebody reads the flags there */
  loadRegisters(mask: RegisterMask, flags: boolean): void {
    for (let i = 0; i < 16; i++) {
      if (mask & gprBit(i)) this.set(this.#gpr[i], i64.load(this.#cpu, STATE.gpr + i * 8));
      const vector = STATE.vector + i * VECTOR_STRIDE;
      if (mask & vectorBit(i)) this.set(this.#vector[i], v128.load(this.#cpu, vector));
    }
    for (const word of flags ? WORD_NAMES : [])
      this.set(this.#words[word], i64.load(this.#cpu, FLAG_WORD_OFFSETS[word]));
    this.set(this.fuel, i64.load(this.#cpu, STATE.fuel));
  }

  /** Stores the registers that are newer than the CPU state, and the flag words if somebody may read them. */
  storeRegisters(flags: boolean): void {
    for (let i = 0; i < 16; i++) {
      if (this.dirty & gprBit(i)) this.storeInt(64, this.#cpu, this.#gpr[i], STATE.gpr + i * 8);
      if (this.dirty & vectorBit(i)) this.storeV128(this.#cpu, this.#vector[i], STATE.vector + i * VECTOR_STRIDE);
    }
    for (const word of flags ? WORD_NAMES : [])
      this.storeInt(64, this.#cpu, this.#words[word], FLAG_WORD_OFFSETS[word]);
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
      address = i64.shl(this.#read(memory.index >>> 3), n(memory.shift));
      if (memory.base !== STATE.zero) address = i64.add(this.#read(memory.base >>> 3), address);
      address = i64.add(address, i64.const(memory.displacement));
    } else if (memory.form === ADDRESS_FORM.base) address = i64.add(this.#read(memory.base >>> 3), address);
    return memory.address32 ? this.cut(address, 32) : address;
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
    return i64.load(this.#cpu, segment === SEGMENT.fs ? STATE.fsBase : STATE.gsBase);
  }

  override currentAddress(): I64Expr {
    return i64.const(BigInt(this.instruction.address));
  }

  override nextAddress(): I64Expr {
    return i64.const(BigInt(this.instruction.address + this.instruction.length));
  }

  override state(offset: number, width: Width): I64Expr {
    return loadInt(width, this.#cpu, offset);
  }

  override setState(offset: number, value: I64Expr, width: Width): void {
    this.storeInt(width, this.#cpu, value, offset);
  }

  override stateAddress(): I32Expr {
    return this.#cpu;
  }

  override callHelper<T extends ValType>(name: string, result: T, args: readonly Expr[]): Expr<T> {
    return call(result, this.#imports.helper(name), args);
  }

  // Memory.

  override let<T extends ValType>(value: Expr<T>): Expr<T> {
    const origin = value.type === I64 && this.nesting === 0 ? this.#originOf(value as unknown as I64Expr) : undefined;
    const pinned = super.let(value);
    if (origin !== undefined) this.#pinnedOrigins.set(pinned, origin);
    return pinned;
  }

  /** What a value is known to be a constant away from. */
  #originOf(value: I64Expr): Origin | undefined {
    if (value instanceof Sum) {
      const base = this.#originOf(value.base);
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

  override access(address: I64Expr, bytes: number, need: number): I32Expr {
    const origin = this.#originOf(address);
    const linear = this.let(address);
    const host = this.let(i32.wrap(linear));
    if (origin !== undefined && this.#isChecked(origin, bytes, need)) return host;
    const mask = need & PROT_WRITE ? PERM_WRITE_SPAN : bytes === 1 ? PROT_READ : PERM_READ_SPAN;
    const permission = i32.load8u(i32.shrU(host, i32.const(PAGE_SHIFT)), PERM_MAP);
    const outside = i64.ne(i64.shrU(linear, n(32)), n(0));
    const denied = i32.or(outside, i32.eqz(i32.and(permission, i32.const(mask))));
    if (origin !== undefined && bytes > 1 && this.nesting === 0 && !this.#imports.patient) {
      // A failing check leaves, so that behind it the whole span is known to be good.
      super.if(denied, () => this.sideExit());
      this.#remember(origin, need);
      return host;
    }
    const place = this.local(I32);
    this.set(place, host);
    super.if(denied, () => {
      this.set(place, call(I32, this.#imports.slow, [this.#cpu, linear, i32.const(bytes), i32.const(need)]));
      super.if(i32.eqz(place), () => this.sideExit());
    });
    return place;
  }

  #isChecked({ root, offset }: Origin, bytes: number, need: number): boolean {
    const list = this.knowledge.checked.get(root) ?? [];
    return list.some(
      (known) =>
        (known.need & need) === need && offset >= known.low && offset + BigInt(bytes) <= known.low + BigInt(PAGE_SIZE),
    );
  }

  #remember({ root, offset }: Origin, need: number): void {
    // The interpreter gives every writable page the right to be read.
    const known = { low: offset, need: need & PROT_WRITE ? need | PROT_READ : need };
    const list = this.knowledge.checked.get(root);
    if (list === undefined) this.knowledge.checked.set(root, [known]);
    else this.knowledge.checked.set(root, [...list, known]);
  }

  /** A region stores only where a plain store will do: there is nothing to finish. */
  override commit(): void {}

  override raise(): void {
    this.sideExit();
  }

  /** Leaves before the current instruction: the interpreter repeats it, and finds what is wrong. */
  sideExit(): void {
    const { pending } = this.knowledge;
    const flags = flagsBefore(this.instruction, this.liveAfter) !== 0;
    if (flags) this.writeFlags(pending);
    this.set(this.fuel, i64.add(this.fuel, n(this.#unspent)));
    this.exit(this.currentAddress(), WAY.exit, EXIT.resume, flags);
  }

  /** Stores what is newer than the CPU state and goes to the region's common end. */
  exit(rip: I64Expr, way: number, status: number, flags: boolean): void {
    this.storeRegisters(flags);
    this.set(this.rip, rip);
    if (way !== WAY.branch) this.set(this.way, i32.const(way));
    if (status !== EXIT.branch) this.set(this.status, i32.const(status));
    this.branch(this.exitLabel);
  }

  override spendFuel(count: I64Expr): void {
    this.set(this.fuel, i64.sub(this.fuel, count));
    super.if(i64.ltS(this.fuel, n(0)), () => this.sideExit());
  }

  // Control structures inside an instruction: what they do is not certain to happen.

  override if(condition: I32Expr, then: () => void, otherwise?: () => void): void {
    if (condition.value !== undefined) super.if(condition, then, otherwise);
    else this.#nested(() => super.if(condition, then, otherwise));
  }

  override block(body: (exit: Label) => void): void {
    this.#nested(() => super.block(body));
  }

  override loop(body: (again: Label) => void): void {
    this.#nested(() => super.loop(body));
  }

  #nested(emit: () => void): void {
    if (this.nesting === 0) {
      const { flagsRead, flagsWritten } = this.instruction;
      if ((this.liveAfter | flagsRead) !== 0 && (flagsWritten | flagsRead) !== 0) this.settleFlags();
      // Registers that are written inside are no longer a known distance from others.
      this.knowledge.origins = new Map();
    }
    this.nesting++;
    emit();
    this.nesting--;
    if (this.nesting === 0) this.knowledge.origins = new Map();
  }

  /** Control flow between blocks, which is no part of an instruction. */
  plainIf(condition: I32Expr, then: () => void, otherwise?: () => void): void {
    super.if(condition, then, otherwise);
  }

  plainBlock(body: (exit: Label) => void): void {
    super.block(body);
  }

  plainLoop(body: (again: Label) => void): void {
    super.loop(body);
  }

  // Flags: pending-flags.ts.

  override flagWord(word: FlagWord): I64Expr {
    return this.#words[word];
  }

  override setFlagWord(word: FlagWord, value: I64Expr): void {
    this.set(this.#words[word], value);
  }

  // Ends of a block: the region's builder makes control flow of them.

  override jumpDirect(): void {
    this.terminator = { kind: "direct" };
  }

  override jumpIf(condition: I32Expr): void {
    this.terminator = { kind: "conditional", condition: this.let(condition) };
  }

  override jumpTo(target: I64Expr): void {
    this.terminator = { kind: "indirect", target: this.let(target) };
  }

  override leave(exit: number, past: boolean): void {
    this.terminator = { kind: "leave", exit, past };
  }
}
