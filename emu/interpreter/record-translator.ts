import { ERROR_SHIFT, EXIT } from "../cpu/exits.ts";
import { STATE, VECTOR_STRIDE } from "../cpu/state.ts";
import { ADDRESS_FORM, type Instruction, NO_INSTRUCTION, SEGMENT } from "../decode/instruction.ts";
import {
  BOUNCE,
  LOOKUP_BITS,
  LOOKUP_TABLE,
  PAGE_SHIFT,
  PERM_MAP,
  PERM_READ_SPAN,
  PERM_WRITE_SPAN,
  PROT_READ,
  PROT_WRITE,
} from "../layout.ts";
import { FLAG_WORD_OFFSETS, FlagTranslator, type FlagWord } from "../semantics/flag-words.ts";
import { loadInt, type Width } from "../semantics/translator.ts";
import {
  call,
  type Expr,
  type F32Expr,
  F64,
  type F64Expr,
  f32,
  f64,
  I32,
  type I32Expr,
  type I64Expr,
  i32,
  i64,
  Place,
  select,
  type V128Expr,
  type ValType,
} from "../wasm/expr.ts";
import type { Label } from "../wasm/function.ts";
import { v128 } from "../wasm/simd.ts";
import { afterBlock } from "./block-end.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";

/** Function indices that handlers call, as the module under construction numbers them. */
export interface HandlerImports {
  readonly slow: number;
  readonly commit: number;
  readonly timestamp: number;
  /** What ends a block where no link or lookup says where to go on, or not to (core-module.ts). */
  readonly follow: number;
  readonly followIndirect: number;
  readonly helper: (name: string) => number;
}

/** Type index of a handler: (CPU state, record) → exit code. */
export const HANDLER_PARAMS = [I32, I32] as const;

const n = (value: number | bigint): I64Expr => i64.const(value);

/**
 * Tier 0: semantics become a handler that takes its operands from a record, or from as many records in a row as it has
 * instructions.
 *
 * A form is translated twice, if it accesses memory: *in full*, and *quick*, which leaves for the full handler, to do all
 * of the instruction there, where an access is not plain. Calls that come back would keep what is needed after them on
 * the host's stack, from the beginning: the quick handler has none.
 */
export class RecordTranslator extends FlagTranslator {
  readonly #imports: HandlerImports;
  readonly #cpu = this.param(0, I32);
  readonly #first = this.param(1, I32);
  /** What of the handler is written now: an instruction and its record. */
  #instruction = NO_INSTRUCTION;
  #record: I32Expr = this.#first;
  #instructions = 0;
  #returns = false;
  #full: number | undefined;
  #ended = false;
  /** Could the instruction be done again from its beginning? */
  #isUntouched = true;
  /** Flags as an instruction before this one has left them. */
  readonly #flags = new Map<FlagWord, I64Expr>();
  /** Places in wasm memory that were found without help: there is nothing to finish behind a store. */
  readonly #plain = new Set<I32Expr>();
  /** Has it left anywhere for a full handler? */
  leaves = false;

  constructor(imports: HandlerImports) {
    super(HANDLER_PARAMS);
    this.#imports = imports;
  }

  override get instruction(): Instruction {
    return this.#instruction;
  }

  /**
   * Goes on with the next instruction, which the next record has.
   * @param returns it returns from a call: a region may be waiting for where it goes
   * @param full index of the full handler, for a quick one
   */
  begin(instruction: Instruction, returns: boolean, full?: number): void {
    if (this.#ended) throw new Error("nothing follows a jump");
    this.#record = new Place(this.#first, this.#instructions * RECORD_SIZE);
    this.#instructions++;
    this.#instruction = instruction;
    this.#returns = returns;
    this.#full = full;
    this.#isUntouched = true;
  }

  /** Goes to the next record, unless the instruction has gone elsewhere. */
  end(): void {
    if (!this.#ended) this.#goTo(new Place(this.#first, this.#instructions * RECORD_SIZE));
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

  override registerPlace(i: number): I32Expr {
    return this.#operandPlace(i);
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

  #opmaskPlace(): I32Expr {
    return i32.add(this.#cpu, i32.shl(i32.load8u(this.#record, RECORD.opmask), i32.const(3)));
  }

  override opmask(): I64Expr {
    return i64.load(this.#opmaskPlace(), STATE.opmask);
  }

  override setOpmask(value: I64Expr): void {
    this.storeInt(64, this.#opmaskPlace(), value, STATE.opmask);
  }

  override writeOpmaskPair(i: number, even: I64Expr, odd: I64Expr): void {
    const place = this.let(i32.and(this.#operandPlace(i), i32.const(-16)));
    this.storeInt(64, place, even);
    this.storeInt(64, place, odd, 8);
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
    const isOther = i32.or(outside, i32.eqz(i32.and(permission, i32.const(mask))));
    if (this.#full !== undefined && this.#isUntouched) {
      const full = this.#full;
      this.leaves = true;
      this.if(isOther, () => this.returnCall(full, [this.#cpu, this.#record]), undefined, false);
      const place = this.let(host);
      this.#plain.add(place);
      return place;
    }
    this.if(isOther, () => {
      this.set(host, call(I32, this.#imports.slow, [this.#cpu, linear, i32.const(bytes), i32.const(need)]));
      this.if(i32.eqz(host), () => this.#exit(EXIT.fault));
    });
    return this.let(host);
  }

  override commit(host: I32Expr): void {
    if (this.#plain.has(host)) return;
    this.if(i32.geU(host, i32.const(BOUNCE)), () => this.callVoid(this.#imports.commit, []));
  }

  override state(offset: number, width: Width): I64Expr {
    return loadInt(width, this.#cpu, offset);
  }

  override setState(offset: number, value: I64Expr, width: Width): void {
    this.#flags.clear();
    this.storeInt(width, this.#cpu, value, offset);
  }

  override stateAddress(): I32Expr {
    return this.#cpu;
  }

  override timestamp(): I64Expr {
    return this.let(i64.truncSatF64U(call(F64, this.#imports.timestamp, [])));
  }

  override raise(vector: number, error = 0): void {
    this.storeI32(this.#cpu, i32.const(vector | (error << ERROR_SHIFT)), STATE.exitDetail);
    this.#exit(EXIT.exception);
  }

  override abandon(exit: number): void {
    this.#exit(exit);
  }

  /** Returns to the dispatcher, which finds everything by the record. */
  #exit(code: number): void {
    this.storeI32(this.#cpu, this.#record, STATE.exitRecord);
    this.return(i32.const(code));
  }

  override callHelper<T extends ValType>(name: string, result: T, args: readonly Expr[]): Expr<T> {
    this.#isUntouched = false;
    this.#flags.clear();
    return call(result, this.#imports.helper(name), args);
  }

  override flagWord(word: FlagWord): I64Expr {
    return this.#flags.get(word) ?? i64.load(this.#cpu, FLAG_WORD_OFFSETS[word]);
  }

  override setFlagWord(word: FlagWord, value: I64Expr): void {
    if (this.isOutermost) this.#flags.set(word, this.let(value));
    else this.#flags.delete(word);
    this.storeInt(64, this.#cpu, this.#flags.get(word) ?? value, FLAG_WORD_OFFSETS[word]);
  }

  // What changes something, or may: the instruction cannot begin anew behind it.

  override storeInt(bits: number, address: I32Expr, value: I64Expr, offset = 0): void {
    this.#isUntouched = false;
    super.storeInt(bits, address, value, offset);
  }

  override storeI32(address: I32Expr, value: I32Expr, offset = 0): void {
    this.#isUntouched = false;
    super.storeI32(address, value, offset);
  }

  override storeFloat(address: I32Expr, value: Expr, offset = 0): void {
    this.#isUntouched = false;
    super.storeFloat(address, value, offset);
  }

  override storeV128(address: I32Expr, value: V128Expr, offset = 0): void {
    this.#isUntouched = false;
    super.storeV128(address, value, offset);
  }

  override copyMemory(to: I32Expr, from: I32Expr, length: I32Expr): void {
    this.#isUntouched = false;
    super.copyMemory(to, from, length);
  }

  override fillMemory(to: I32Expr, value: I32Expr, length: I32Expr): void {
    this.#isUntouched = false;
    super.fillMemory(to, value, length);
  }

  override callVoid(functionIndex: number, args: readonly Expr[]): void {
    this.#isUntouched = false;
    this.#flags.clear();
    super.callVoid(functionIndex, args);
  }

  override loop(body: (again: Label) => void): void {
    this.#isUntouched = false;
    this.#flags.clear();
    super.loop(body);
  }

  // Ends of a block.

  #setRip(address: I64Expr): void {
    this.storeInt(64, this.#cpu, address, STATE.rip);
  }

  override jumpDirect(): void {
    this.#follow(
      i32.load(this.#record, RECORD.linkTaken),
      () => this.#field(RECORD.immediate),
      i32.const(RECORD.linkTaken),
    );
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
    const { isOut, pay } = afterBlock(this, this.#cpu, this.#record);
    const record = this.let(link);
    const help = (): void => this.returnCall(this.#imports.follow, [this.#cpu, this.#record, target(), linkField]);
    this.if(i32.or(isOut, i32.eqz(record)), help, undefined, false);
    pay();
    this.#goTo(record);
    this.#ended = true;
  }

  override jumpTo(target: I64Expr): void {
    const address = this.let(target);
    const after = afterBlock(this, this.#cpu, this.#record);
    const isOut = this.let(after.isOut);
    if (this.#returns) {
      const expected = i64.load32u(this.#cpu, STATE.expected);
      // What is hot is told here, not by whoever waits.
      const isExpected = i32.and(i64.eq(address, expected), i32.eqz(isOut));
      this.if(isExpected, () => {
        after.pay();
        this.return(i32.wrap(address));
      });
    }
    const slot = this.let(i32.shl(i32.and(i32.wrap(address), i32.const((1 << LOOKUP_BITS) - 1)), i32.const(4)));
    const record = this.let(i32.load(slot, LOOKUP_TABLE + 8));
    const miss = i32.or(i64.ne(i64.load(slot, LOOKUP_TABLE), address), i32.eqz(record));
    const help = (): void => this.returnCall(this.#imports.followIndirect, [this.#cpu, this.#record, address]);
    this.if(i32.or(isOut, miss), help, undefined, false);
    after.pay();
    this.#goTo(record);
    this.#ended = true;
  }

  override leave(exit: number, past: boolean): void {
    afterBlock(this, this.#cpu, this.#record).pay();
    this.#setRip(past ? this.nextAddress() : this.currentAddress());
    this.#exit(exit);
    this.#ended = true;
  }

  override fuelLeft(): I64Expr {
    return i64.load(this.#cpu, STATE.fuel);
  }

  override spendFuel(count: I64Expr): void {
    const fuel = this.let(i64.sub(i64.load(this.#cpu, STATE.fuel), count));
    this.storeInt(64, this.#cpu, fuel, STATE.fuel);
    this.if(i64.ltS(fuel, n(0)), () => this.#exit(EXIT.stale));
  }
}
