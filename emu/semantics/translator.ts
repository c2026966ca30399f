import { EXIT } from "../cpu/exits.ts";
import { STATE } from "../cpu/state.ts";
import type { Instruction, Operand } from "../decode/instruction.ts";
import { PAGE_SHIFT, PERM_MAP, PERM_READ_SPAN, PERM_WRITE_SPAN, PROT_READ, PROT_WRITE } from "../layout.ts";
import {
  type Expr,
  type F32Expr,
  type F64Expr,
  f32,
  f64,
  type I32Expr,
  type I64Expr,
  i32,
  i64,
  type V128Expr,
  type ValType,
} from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import { i64x2, v128 } from "../wasm/simd.ts";
import type { FloatExpr, Range } from "./float.ts";

/** Operand widths in bits that general registers have. */
export type Width = 8 | 16 | 32 | 64;

/** Status flags as a producer hands them over: each a truth value (i32 0 or 1), or `keep` by being left out. */
export interface FlagValues {
  cf?: I32Expr;
  pf?: I32Expr;
  af?: I32Expr;
  zf?: I32Expr;
  sf?: I32Expr;
  of?: I32Expr;
}

/** Condition codes: the low four bits of Jcc, SETcc and CMOVcc opcodes (SDM Vol. 2A, appendix B.1.4.7). */
export const CC = {
  O: 0,
  NO: 1,
  B: 2,
  AE: 3,
  E: 4,
  NE: 5,
  BE: 6,
  A: 7,
  S: 8,
  NS: 9,
  P: 10,
  NP: 11,
  L: 12,
  GE: 13,
  LE: 14,
  G: 15,
} as const;

/** Ones in the low `width` bits. */
export const maskOf = (width: number): bigint => (1n << BigInt(width)) - 1n;

/**
 * What an instruction's semantics are written against: operands, flags, memory and control flow of the machine, plus
 * the statements and expressions of WebAssembly. Each tier implements the abstract part: the interpreter reads operand
 * numbers from a record, the JIT knows them (docs/architecture.md, "One definition of every instruction").
 *
 * Rules for semantics: integer values are i64, zero-extended from their width; everything that may fault comes before
 * the first write to a register or flag; the memory operand is written before registers and flags.
 */
export abstract class Translator extends FunctionBuilder {
  abstract readonly instruction: Instruction;

  // The machine, as a tier provides it.

  /** General register operand `i`, zero-extended from `width`. */
  abstract readRegister(i: number, width: number): I64Expr;
  /** Writes register operand `i`: 8 and 16 bits keep the rest, 32 bits clear the upper half (SDM Vol. 1, 3.4.1.1). */
  abstract writeRegister(i: number, width: number, value: I64Expr): void;
  /** General register by number (REG), zero-extended from `width`. */
  abstract gpr(number: number, width?: Width): I64Expr;
  abstract setGpr(number: number, value: I64Expr, width?: Width): void;
  /** 128-bit part `part` of vector register operand `i`; part 0 is the XMM register. */
  abstract readVectorPart(i: number, part: number): V128Expr;
  abstract writeVectorPart(i: number, part: number, value: V128Expr): void;
  /** Low lane of vector register operand `i`. */
  abstract readLow64(i: number): F64Expr;
  abstract readLow32(i: number): F32Expr;
  /** Writes the low lane of vector register operand `i`, keeping the rest. */
  abstract writeLow64(i: number, value: F64Expr): void;
  abstract writeLow32(i: number, value: F32Expr): void;
  /** Vector register by number (XMM0 of BLENDV, SHA256RNDS2, …), part by part. */
  abstract vectorByNumber(number: number, part: number): V128Expr;
  abstract setVectorByNumber(number: number, part: number, value: V128Expr): void;
  /** The opmask register that EVEX.aaa names (1–7); all of its 64 bits. */
  abstract opmask(): I64Expr;
  abstract setOpmask(value: I64Expr): void;
  /** Writes the pair of opmask registers of which operand `i` names one: the one of even number, and the next. */
  abstract writeOpmaskPair(i: number, even: I64Expr, odd: I64Expr): void;
  /** Immediate operand `i`, sign-extended to 64 bits as the encoding says. */
  abstract immediate(i: number): I64Expr;
  /** Offset part of the memory operand: what LEA computes (cut to 32 bits under prefix 67). */
  abstract addressOffset(): I64Expr;
  /** Linear address of the memory operand: with its FS or GS base. */
  abstract linearAddress(): I64Expr;
  /** 128-bit part of the vector register that indexes the memory operand (VSIB). */
  abstract vectorIndex(part: number): V128Expr;
  /** Linear address of the memory operand with `index` in place of the vector index. */
  abstract elementAddress(index: I64Expr): I64Expr;
  /** Base of the segment that overrides DS for a string source or XLAT; zero without override. */
  abstract segmentBase(): I64Expr;
  /** Linear address of this and the next instruction. */
  abstract currentAddress(): I64Expr;
  abstract nextAddress(): I64Expr;
  /**
   * Checks that `bytes` bytes at `address` allow `need` (PROT_*) and gives their place in wasm memory. Leaves the
   * instruction with a page fault otherwise.
   */
  abstract access(address: I64Expr, bytes: number, need: number): I32Expr;
  /** Finishes a store through an address that `access` gave: an access across pages is written back now. */
  abstract commit(host: I32Expr): void;
  /** A field of the CPU state (STATE), for control registers and the like. */
  abstract state(offset: number, width: Width): I64Expr;
  abstract setState(offset: number, value: I64Expr, width: Width): void;
  /**
   * Leaves the instruction with a CPU exception (exits.ts, VECTOR); nothing may have been written.
   * @param error the error code that it pushes, if it does
   */
  abstract raise(vector: number, error?: number): void;
  /** Leaves the instruction, of which nothing has happened yet, with an exit code (EXIT.defer, EXIT.trace). */
  abstract abandon(exit: number): void;

  /** Flags of ADD/ADC: `result` = a + b (+ carry), all of `width`. */
  abstract flagsAdd(width: Width, a: I64Expr, b: I64Expr, result: I64Expr): void;
  /** Flags of SUB/SBB/CMP: `result` = a - b (- borrow). */
  abstract flagsSub(width: Width, a: I64Expr, b: I64Expr, result: I64Expr): void;
  /** Flags of AND/OR/XOR/TEST: CF, OF and AF 0. */
  abstract flagsLogic(width: Width, result: I64Expr): void;
  /** Flags of INC (`delta` 1) and DEC (-1): CF is kept. */
  abstract flagsIncDec(width: Width, result: I64Expr, delta: 1 | -1): void;
  /** SF, ZF, PF from a result; CF, OF, AF as given. */
  abstract flagsResult(width: Width, result: I64Expr, rest: { cf: I32Expr; of: I32Expr; af?: I32Expr }): void;
  /** Sets the flags that are given one by one and keeps the others. */
  abstract flagsExplicit(values: FlagValues): void;
  /** Truth (0 or 1) of condition code `cc`. */
  abstract condition(cc: number): I32Expr;
  /** AF, which no condition code reads. */
  abstract auxiliaryCarry(): I32Expr;

  // Ends of a block.

  /** To the branch operand. */
  abstract jumpDirect(): void;
  /** To the branch operand if `condition`, else to the next instruction. */
  abstract jumpIf(condition: I32Expr): void;
  /** To a computed address. */
  abstract jumpTo(target: I64Expr): void;
  /** The time stamp counter now, pinned: each call is another reading. */
  abstract timestamp(): I64Expr;
  /** Address in wasm memory of the CPU state, for helpers that read or change it. */
  abstract stateAddress(): I32Expr;
  /** Leaves with an exit code (exits.ts); RIP is the next instruction if `past`, else this one. */
  abstract leave(exit: number, past: boolean): void;
  /**
   * Pays for `count` more iterations of a repeated instruction and leaves at this same instruction when the thread's
   * time is up: registers must be as after a whole iteration (SDM Vol. 2B, REP: interruptible).
   */
  abstract spendFuel(count: I64Expr): void;
  /** What is left of the thread's time. */
  abstract fuelLeft(): I64Expr;

  /** Calls a shared helper function (helpers/) by name. */
  abstract callHelper<T extends ValType>(name: string, result: T, args: readonly Expr[]): Expr<T>;

  // What follows is common to the tiers.

  /** Place in wasm memory of register operand `i`; of ST(i) as if TOP were 0. */
  registerPlace(i: number): I32Expr {
    return i32.add(this.stateAddress(), i32.const(this.operand(i).offset));
  }

  operand(i: number): Operand {
    return this.instruction.operands[i];
  }

  isMemory(i: number): boolean {
    return this.operand(i).kind === "memory";
  }

  /** Width of operand `i`; an immediate has the width of operand 0. */
  width(i: number): Width {
    const operand = this.operand(i);
    return (operand.kind === "immediate" ? this.operand(0).width : operand.width) as Width;
  }

  /** Cuts an i64 to its low `width` bits. */
  cut(value: I64Expr, width: number): I64Expr {
    if (width === 64) return value;
    if (value.value !== undefined) return i64.const(BigInt.asUintN(width, value.value));
    if (width === 32) return i64.extendI32U(i32.wrap(value));
    return i64.and(value, i64.const(maskOf(width)));
  }

  /** Sign-extends the low `width` bits. */
  signExtend(value: I64Expr, width: number): I64Expr {
    if (value.value !== undefined) return i64.const(BigInt.asIntN(width, value.value));
    if (width === 64) return value;
    return width === 32 ? i64.extend32s(value) : width === 16 ? i64.extend16s(value) : i64.extend8s(value);
  }

  /** Is the top bit of a `width`-bit value set? */
  signBit(value: I64Expr, width: number): I32Expr {
    return i32.wrap(i64.and(i64.shrU(value, i64.const(width - 1)), i64.const(1)));
  }

  /** Integer operand `i`, zero-extended, pinned. An immediate is cut to `width`, by default that of operand 0. */
  read(i: number, width: Width = this.width(i)): I64Expr {
    const operand = this.operand(i);
    if (operand.kind === "register") return this.let(this.readRegister(i, width));
    if (operand.kind === "immediate") return this.let(this.cut(this.immediate(i), width));
    return this.load(this.linearAddress(), width);
  }

  /** Writes integer operand `i`; `value` may have bits above the width. */
  write(i: number, value: I64Expr, width: Width = this.width(i)): void {
    if (this.isMemory(i)) this.store(this.linearAddress(), width, value);
    else this.writeRegister(i, width, value);
  }

  /**
   * Reads operand `i` for changing it: its value, and a function that writes the new one. Memory is checked for writing
   * at the read, so that nothing can fault in between. The one place where LOCKed instructions touch memory.
   */
  update(i: number, width: Width = this.width(i)): { old: I64Expr; set: (value: I64Expr) => void } {
    if (!this.isMemory(i)) {
      return { old: this.let(this.readRegister(i, width)), set: (value) => this.writeRegister(i, width, value) };
    }
    return this.updateMemory(this.linearAddress(), width);
  }

  updateMemory(address: I64Expr, width: Width): { old: I64Expr; set: (value: I64Expr) => void } {
    const host = this.access(address, width / 8, PROT_WRITE);
    const old = this.let(loadInt(width, host));
    return {
      old,
      set: (value) => {
        this.storeInt(width, host, value);
        this.commit(host);
      },
    };
  }

  /** Loads a `width`-bit integer from a linear address, zero-extended, pinned. */
  load(address: I64Expr, width: Width): I64Expr {
    return this.let(loadInt(width, this.access(address, width / 8, PROT_READ)));
  }

  store(address: I64Expr, width: Width, value: I64Expr): void {
    const pinned = this.let(value);
    const host = this.access(address, width / 8, PROT_WRITE);
    this.storeInt(width, host, pinned);
    this.commit(host);
  }

  /**
   * Are all accesses of up to a page's length from `address` on certain not to fault? Asks the permission map alone: no
   * is no answer. `need` is PROT_READ or PROT_WRITE; an address for which it is true is one in wasm memory.
   */
  isOpen(address: I64Expr, need: number): I32Expr {
    const page = i32.shrU(i32.wrap(address), i32.const(PAGE_SHIFT));
    const span = need === PROT_WRITE ? PERM_WRITE_SPAN : PERM_READ_SPAN;
    const outside = i64.ne(i64.shrU(address, i64.const(32)), i64.const(0));
    return i32.and(i32.eqz(outside), i32.ne(i32.and(i32.load8u(page, PERM_MAP), i32.const(span)), i32.const(0)));
  }

  loadV128(address: I64Expr): V128Expr {
    return this.let(v128.load(this.access(address, 16, PROT_READ)));
  }

  storeV128At(address: I64Expr, value: V128Expr): void {
    const pinned = this.let(value);
    const host = this.access(address, 16, PROT_WRITE);
    this.storeV128(host, pinned);
    this.commit(host);
  }

  /** Float operand `i` as f64: the low lane of a register, or 8 bytes of memory. Pinned. */
  readF64(i: number): F64Expr {
    if (this.isMemory(i)) return this.let(f64.load(this.access(this.linearAddress(), 8, PROT_READ)));
    return this.let(this.readLow64(i));
  }

  readF32(i: number): F32Expr {
    if (this.isMemory(i)) return this.let(f32.load(this.access(this.linearAddress(), 4, PROT_READ)));
    return this.let(this.readLow32(i));
  }

  /** Stores a float to a linear address. */
  storeFloatAt(address: I64Expr, bytes: 4 | 8, value: F32Expr | F64Expr): void {
    const pinned = this.let(value as Expr);
    const host = this.access(address, bytes, PROT_WRITE);
    this.storeFloat(host, pinned);
    this.commit(host);
  }

  /** #GP unless `address` is a multiple of `bytes` (a power of two): aligned SSE accesses. */
  requireAligned(address: I64Expr, bytes: number): void {
    this.raiseIf(i64.ne(i64.and(address, i64.const(bytes - 1)), i64.const(0)), 13);
  }

  /** Leaves the instruction to TypeScript (cpu/helpers.ts), nothing having been written. */
  defer(): void {
    this.abandon(EXIT.defer);
  }

  raiseIf(condition: I32Expr, vector: number): void {
    this.if(condition, () => this.raise(vector), undefined, false);
  }

  /**
   * #GP, before anything changes, for a branch target or base address that is not canonical (SDM Vol. 1, 3.3.7.1).
   */
  requireCanonical(address: I64Expr): void {
    const extended = i64.shrS(i64.shl(address, i64.const(16)), i64.const(16));
    this.raiseIf(i64.ne(extended, address), 13);
  }

  /** Has MXCSR, under `mask`, this value? Truth as an i32. */
  mxcsrIs(mask: number, value: number): I32Expr {
    return i32.eq(i32.and(i32.wrap(this.state(STATE.mxcsr, 32)), i32.const(mask)), i32.const(value));
  }

  /** Does the host's relaxed_madd round once? Asked where that is used, and only there. */
  get fuses(): boolean {
    return false;
  }

  /**
   * May these scalars be taken for zero or ordinary (float.ts) from here on? Then whatever else they are has left.
   * @param test makes the test of some of them
   */
  assumeOrdinary(
    _values: readonly FloatExpr[],
    _range: Range,
    _test: (values: readonly FloatExpr[]) => I32Expr,
  ): boolean {
    return false;
  }

  /** The 32-bit lanes of a vector that was read (`let`), lane 0 first. */
  lanes(vector: V128Expr): readonly I32Expr[] {
    return [0, 1].flatMap((half) => {
      const both = this.let(i64x2.extract(vector, half));
      return [this.let(i32.wrap(both)), this.let(i32.wrap(i64.shrU(both, i64.const(32))))];
    });
  }

  /** A vector of four 32-bit lanes, lane 0 first. */
  fromLanes([a, b, c, d]: readonly I32Expr[]): V128Expr {
    const both = (low: I32Expr, high: I32Expr): I64Expr =>
      i64.or(i64.extendI32U(low), i64.shl(i64.extendI32U(high), i64.const(32)));
    return this.let(i64x2.replace(i64x2.splat(both(a, b)), 1, both(c, d)));
  }

  /** A scalar is zero or ordinary, by how it came about. */
  noteOrdinary(_value: FloatExpr, _range: Range): void {}

  /** Pushes a `width`-bit value; RSP changes after the store has succeeded. */
  push(value: I64Expr, width: 16 | 64): void {
    const top = this.let(i64.sub(this.gpr(4), i64.const(width / 8)));
    this.store(top, width, value);
    this.setGpr(4, top);
  }

  get directionDown(): I32Expr {
    return i32.wrap(this.state(STATE.direction, 32));
  }
}

/** A zero-extending integer load from wasm memory. */
export function loadInt(width: number, host: I32Expr, offset = 0): I64Expr {
  if (width === 64) return i64.load(host, offset);
  if (width === 32) return i64.load32u(host, offset);
  return width === 16 ? i64.load16u(host, offset) : i64.load8u(host, offset);
}
