import { EXIT } from "../cpu/exits.ts";
import { STATE, VECTOR_STRIDE } from "../cpu/state.ts";
import { ADDRESS_FORM, type Instruction, SEGMENT } from "../decode/instruction.ts";
import { LOOKUP_BITS, LOOKUP_TABLE, PAGE_SHIFT, PERM_MAP, PERM_READ_SPAN, PERM_WRITE_SPAN, PROT_READ, PROT_WRITE, BOUNCE } from "../layout.ts";
import { CC, type FlagValues, loadInt, maskOf, Translator, type Width } from "../semantics/translator.ts";
import { call, type Expr, type F32Expr, type F64Expr, f32, f64, I32, type I32Expr, type I64Expr, i32, i64, select, type V128Expr, type ValType } from "../wasm/expr.ts";
import { v128 } from "../wasm/simd.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";

/** Function indices that handlers call, as the module under construction numbers them. */
export interface HandlerImports {
  readonly slow: number;
  readonly commit: number;
  readonly helper: (name: string) => number;
}

/** Type index of a handler: (CPU state, record) → exit code. */
export const HANDLER_PARAMS = [I32, I32] as const;

/** Marks flagWidth as holding PF and AF themselves (bits 33 and 34). */
const EXPLICIT = 1n << 32n;

const n = (value: number | bigint): I64Expr => i64.const(value);
const asI64 = (truth: I32Expr): I64Expr => i64.extendI32U(truth);

/**
 * Tier 0: semantics become a handler that takes its operands from a record.
 *
 * Status flags are kept in three words: `flagResult` is the result shifted to the top of 64 bits (ZF: it is zero; SF:
 * it is negative); `flagCarry` is the vector of carries out of each bit, likewise shifted (CF: bit 63, OF: bit 63 xor
 * bit 62, AF: the carry out of the operand's bit 3); `flagWidth` is the shift (PF: from the result's low byte). Where
 * flags don't come from a result, flagWidth holds EXPLICIT with PF and AF, and in bit 63 whether SF is set beside ZF.
 */
export class RecordTranslator extends Translator {
  readonly instruction: Instruction;
  readonly #imports: HandlerImports;
  readonly #cpu = this.param(0, I32);
  readonly #record = this.param(1, I32);
  #ended = false;

  constructor(instruction: Instruction, imports: HandlerImports) {
    super(HANDLER_PARAMS);
    this.instruction = instruction;
    this.#imports = imports;
  }

  /** Goes to the next record, unless the instruction has gone elsewhere. */
  end(): void {
    if (!this.#ended) this.#goTo(i32.add(this.#record, i32.const(RECORD_SIZE)));
  }

  #goTo(record: I32Expr): void {
    const target = this.let(record);
    this.returnCallIndirect(0, [this.#cpu, target], i32.load(target, RECORD.handler));
  }

  #field(offset: number): I64Expr {
    return i64.load(this.#record, offset);
  }

  /** Place of the register whose state offset the record's u16 at `offset` gives. */
  #place(offset: number): I32Expr {
    return i32.add(this.#cpu, i32.load16u(this.#record, offset));
  }

  #operandPlace(i: number): I32Expr {
    return this.#place(RECORD.operand + i * 2);
  }

  override readRegister(i: number, width: number): I64Expr {
    return loadInt(width, this.#operandPlace(i));
  }

  override writeRegister(i: number, width: number, value: I64Expr): void {
    const place = this.#operandPlace(i);
    if (width === 32) this.storeInt(64, place, this.cut(value, 32));
    else this.storeInt(width, place, value);
  }

  override gpr(number: number, width: Width = 64): I64Expr {
    return loadInt(width, this.#cpu, STATE.gpr + number * 8);
  }

  override setGpr(number: number, value: I64Expr, width: Width = 64): void {
    const stored = width === 32 ? this.cut(value, 32) : value;
    this.storeInt(width === 32 ? 64 : width, this.#cpu, stored, STATE.gpr + number * 8);
  }

  override readVectorPart(i: number, part: number): V128Expr {
    return v128.load(this.#operandPlace(i), part * 16);
  }

  override writeVectorPart(i: number, part: number, value: V128Expr): void {
    this.storeV128(this.#operandPlace(i), value, part * 16);
  }

  override readLow64(i: number): F64Expr {
    return f64.load(this.#operandPlace(i));
  }

  override readLow32(i: number): F32Expr {
    return f32.load(this.#operandPlace(i));
  }

  override writeLow64(i: number, value: F64Expr): void {
    this.storeFloat(this.#operandPlace(i), value);
  }

  override writeLow32(i: number, value: F32Expr): void {
    this.storeFloat(this.#operandPlace(i), value);
  }

  override vectorByNumber(number: number, part: number): V128Expr {
    return v128.load(this.#cpu, STATE.vector + number * VECTOR_STRIDE + part * 16);
  }

  override setVectorByNumber(number: number, part: number, value: V128Expr): void {
    this.storeV128(this.#cpu, value, STATE.vector + number * VECTOR_STRIDE + part * 16);
  }

  override immediate(i: number): I64Expr {
    const first = this.instruction.operands.findIndex((operand) => operand.kind === "immediate");
    return i === first ? this.#field(RECORD.immediate) : i64.load32s(this.#record, RECORD.immediate2);
  }

  override addressOffset(): I64Expr {
    const { memory } = this.instruction;
    if (memory === undefined || memory.vectorIndex !== 0) throw new Error("no scalar address");
    let address = this.#field(RECORD.displacement);
    if (memory.form !== ADDRESS_FORM.absolute) address = i64.add(i64.load(this.#place(RECORD.base)), address);
    if (memory.form === ADDRESS_FORM.indexed) {
      const shift = i64.load8u(this.#record, RECORD.shift);
      address = i64.add(address, i64.shl(i64.load(this.#place(RECORD.index)), shift));
    }
    return memory.address32 ? this.cut(address, 32) : address;
  }

  override linearAddress(): I64Expr {
    return i64.add(this.addressOffset(), this.#segment(this.instruction.memory?.segment ?? SEGMENT.none));
  }

  override vectorIndex(part: number): V128Expr {
    return v128.load(this.#place(RECORD.index), part * 16);
  }

  override elementAddress(index: I64Expr): I64Expr {
    const { memory } = this.instruction;
    if (memory === undefined || memory.vectorIndex === 0) throw new Error("no vector of addresses");
    const scaled = i64.shl(index, i64.load8u(this.#record, RECORD.shift));
    // Without a base the record's is the register that is always zero.
    const sum = i64.add(i64.add(i64.load(this.#place(RECORD.base)), this.#field(RECORD.displacement)), scaled);
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
    return this.#field(RECORD.address);
  }

  override nextAddress(): I64Expr {
    return this.#field(RECORD.next);
  }

  override access(address: I64Expr, bytes: number, need: number): I32Expr {
    const linear = this.let(address);
    const host = this.local(I32);
    this.set(host, i32.wrap(linear));
    const mask = need & PROT_WRITE ? PERM_WRITE_SPAN : bytes === 1 ? PROT_READ : PERM_READ_SPAN;
    const permission = i32.load8u(i32.shrU(host, i32.const(PAGE_SHIFT)), PERM_MAP);
    const outside = i64.ne(i64.shrU(linear, n(32)), n(0));
    this.if(i32.or(outside, i32.eqz(i32.and(permission, i32.const(mask)))), () => {
      this.set(host, call(I32, this.#imports.slow, [this.#cpu, linear, i32.const(bytes), i32.const(need)]));
      this.if(i32.eqz(host), () => this.#exit(EXIT.fault));
    });
    return this.let(host);
  }

  override commit(host: I32Expr): void {
    this.if(i32.geU(host, i32.const(BOUNCE)), () => this.callVoid(this.#imports.commit, []));
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

  override raise(vector: number): void {
    this.storeI32(this.#cpu, i32.const(vector), STATE.exitDetail);
    this.#exit(EXIT.exception);
  }

  /** Returns to the dispatcher, which finds everything by the record. */
  #exit(code: number): void {
    this.storeI32(this.#cpu, this.#record, STATE.exitRecord);
    this.return(i32.const(code));
  }

  override callHelper<T extends ValType>(name: string, result: T, args: readonly Expr[]): Expr<T> {
    return call(result, this.#imports.helper(name), args);
  }

  // Flags.

  #top(value: I64Expr, width: Width): I64Expr {
    return i64.shl(value, n(64 - width));
  }

  #setFlags(result: I64Expr, carry: I64Expr, width: I64Expr): void {
    this.storeInt(64, this.#cpu, result, STATE.flagResult);
    this.storeInt(64, this.#cpu, carry, STATE.flagCarry);
    this.storeInt(64, this.#cpu, width, STATE.flagWidth);
  }

  override flagsAdd(width: Width, a: I64Expr, b: I64Expr, result: I64Expr): void {
    const carries = i64.or(i64.and(a, b), i64.and(i64.or(a, b), i64.xor(result, n(-1))));
    this.#setFlags(this.#top(result, width), this.#top(carries, width), n(64 - width));
  }

  override flagsSub(width: Width, a: I64Expr, b: I64Expr, result: I64Expr): void {
    const notA = i64.xor(a, n(-1));
    const borrows = i64.or(i64.and(notA, b), i64.and(i64.or(notA, b), result));
    this.#setFlags(this.#top(result, width), this.#top(borrows, width), n(64 - width));
  }

  override flagsLogic(width: Width, result: I64Expr): void {
    this.#setFlags(this.#top(result, width), n(0), n(64 - width));
  }

  override flagsIncDec(width: Width, result: I64Expr, delta: 1 | -1): void {
    const top = this.let(this.#top(result, width));
    // INC overflows to the lowest value and carries out of bit 3 into a low digit of 0; DEC the other way round.
    const edge = delta === 1 ? 1n << 63n : maskOf(width - 1) << BigInt(64 - width);
    const digit = delta === 1 ? 0 : 15;
    const of = asI64(i64.eq(top, i64.const(edge)));
    const af = asI64(i64.eq(i64.and(result, n(15)), n(digit)));
    this.#setFlags(top, this.#carryWord(asI64(this.condition(CC.B)), of, af, width), n(64 - width));
  }

  /** flagCarry from CF, OF and AF given as 0 or 1. */
  #carryWord(cf: I64Expr, of: I64Expr, af: I64Expr | undefined, width: Width): I64Expr {
    const carry = this.let(cf);
    const word = i64.or(i64.shl(carry, n(63)), i64.shl(i64.xor(carry, of), n(62)));
    return this.let(af === undefined ? word : i64.or(word, i64.shl(af, n(64 - width + 3))));
  }

  override flagsResult(width: Width, result: I64Expr, rest: { cf: I32Expr; of: I32Expr; af?: I32Expr }): void {
    const af = rest.af === undefined ? undefined : asI64(rest.af);
    const carry = this.#carryWord(asI64(rest.cf), asI64(rest.of), af, width);
    this.#setFlags(this.#top(result, width), carry, n(64 - width));
  }

  override flagsExplicit(values: FlagValues): void {
    const names = Object.keys(values);
    // BT, CLC, … change CF (and the rotates OF) alone: result and width may stay as they are, with AF's carry bit.
    if (names.every((name) => name === "cf" || name === "of")) {
      const cf = this.let(asI64(values.cf ?? this.condition(CC.B)));
      const of = this.let(asI64(values.of ?? this.condition(CC.O)));
      const kept = i64.and(i64.load(this.#cpu, STATE.flagCarry), i64.const(maskOf(62)));
      const word = i64.or(i64.shl(cf, n(63)), i64.shl(i64.xor(cf, of), n(62)));
      this.storeInt(64, this.#cpu, i64.or(kept, word), STATE.flagCarry);
      return;
    }
    const pinned = (given: I32Expr | undefined, current: () => I32Expr): I32Expr => this.let(given ?? current());
    const cf = pinned(values.cf, () => this.condition(CC.B));
    const pf = pinned(values.pf, () => this.condition(CC.P));
    const af = pinned(values.af, () => this.auxiliaryCarry());
    const zf = pinned(values.zf, () => this.condition(CC.E));
    const sf = pinned(values.sf, () => this.condition(CC.S));
    const of = pinned(values.of, () => this.condition(CC.O));
    const result = select(zf, n(0), select(sf, n(-1), n(1)));
    const both = i64.shl(asI64(i32.and(zf, sf)), n(63));
    const parities = i64.or(i64.shl(asI64(pf), n(33)), i64.shl(asI64(af), n(34)));
    const word = i64.or(i64.or(both, parities), i64.const(EXPLICIT));
    this.#setFlags(result, this.#carryWord(asI64(cf), asI64(of), undefined, 64), word);
  }

  override condition(cc: number): I32Expr {
    const truth = this.#positive(cc >> 1);
    return cc & 1 ? i32.eqz(truth) : truth;
  }

  #positive(kind: number): I32Expr {
    const result = i64.load(this.#cpu, STATE.flagResult);
    const carry = i64.load(this.#cpu, STATE.flagCarry);
    const width = i64.load(this.#cpu, STATE.flagWidth);
    const overflow = i64.xor(carry, i64.shl(carry, n(1)));
    const negative = (value: I64Expr): I32Expr => i64.ltS(value, n(0));
    switch (kind) {
      case 0:
        return negative(overflow);
      case 1:
        return negative(carry);
      case 2:
        return i64.eqz(result);
      case 3:
        return i32.or(negative(carry), i64.eqz(result));
      case 4:
        return negative(i64.xor(result, width));
      case 5: {
        const low = i32.wrap(i64.and(i64.shrU(result, width), n(0xff)));
        const even = i32.eqz(i32.and(i32.popcnt(low), i32.const(1)));
        return select(this.#explicit(width), i32.wrap(i64.and(i64.shrU(width, n(33)), n(1))), even);
      }
      case 6:
        return negative(i64.xor(i64.xor(result, width), overflow));
      default:
        return i32.or(negative(i64.xor(i64.xor(result, width), overflow)), i64.eqz(result));
    }
  }

  #explicit(width: I64Expr): I32Expr {
    return i64.ne(i64.and(width, i64.const(EXPLICIT)), n(0));
  }

  override auxiliaryCarry(): I32Expr {
    const carry = i64.load(this.#cpu, STATE.flagCarry);
    const width = i64.load(this.#cpu, STATE.flagWidth);
    const place = select(this.#explicit(width), n(34), i64.add(width, n(3)));
    return i32.wrap(i64.and(i64.shrU(select(this.#explicit(width), width, carry), place), n(1)));
  }

  // Ends of a block.

  /** Pays for the block's instructions up to this one; true when the thread has no fuel left. */
  #payBlock(): I32Expr {
    const fuel = this.let(i64.sub(i64.load(this.#cpu, STATE.fuel), i64.load16u(this.#record, RECORD.count)));
    this.storeInt(64, this.#cpu, fuel, STATE.fuel);
    return i64.ltS(fuel, n(0));
  }

  #setRip(address: I64Expr): void {
    this.storeInt(64, this.#cpu, address, STATE.rip);
  }

  override jumpDirect(): void {
    this.#follow(i32.load(this.#record, RECORD.linkTaken), () => this.#field(RECORD.immediate), i32.const(RECORD.linkTaken));
  }

  /** To the next instruction, as a block that was cut does. */
  jumpNext(): void {
    this.#follow(i32.load(this.#record, RECORD.linkNext), () => this.nextAddress(), i32.const(RECORD.linkNext));
  }

  override jumpIf(condition: I32Expr): void {
    const taken = this.let(condition);
    const links = select(taken, i32.load(this.#record, RECORD.linkTaken), i32.load(this.#record, RECORD.linkNext));
    this.#follow(
      links,
      () => select(taken, this.#field(RECORD.immediate), this.nextAddress()),
      select(taken, i32.const(RECORD.linkTaken), i32.const(RECORD.linkNext)),
    );
  }

  #follow(link: I32Expr, target: () => I64Expr, linkField: I32Expr): void {
    const noFuel = this.#payBlock();
    const record = this.let(link);
    this.if(i32.or(noFuel, i32.eqz(record)), () => {
      this.#setRip(target());
      this.storeI32(this.#cpu, linkField, STATE.exitDetail);
      this.#exit(EXIT.branch);
    });
    this.#goTo(record);
    this.#ended = true;
  }

  override jumpTo(target: I64Expr): void {
    const address = this.let(target);
    const noFuel = this.#payBlock();
    const slot = this.let(i32.shl(i32.and(i32.wrap(address), i32.const((1 << LOOKUP_BITS) - 1)), i32.const(4)));
    const record = this.let(i32.load(slot, LOOKUP_TABLE + 8));
    const miss = i32.or(i64.ne(i64.load(slot, LOOKUP_TABLE), address), i32.eqz(record));
    this.if(i32.or(noFuel, miss), () => {
      this.#setRip(address);
      this.storeI32(this.#cpu, i32.const(0), STATE.exitDetail);
      this.#exit(EXIT.branch);
    });
    this.#goTo(record);
    this.#ended = true;
  }

  override leave(exit: number, past: boolean): void {
    this.#payBlock();
    this.#setRip(past ? this.nextAddress() : this.currentAddress());
    this.#exit(exit);
    this.#ended = true;
  }

  override spendFuel(count: I64Expr): void {
    const fuel = this.let(i64.sub(i64.load(this.#cpu, STATE.fuel), count));
    this.storeInt(64, this.#cpu, fuel, STATE.fuel);
    this.if(i64.ltS(fuel, n(0)), () => this.#exit(EXIT.stale));
  }
}
