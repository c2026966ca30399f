import { STATE } from "../cpu/state.ts";
import { type I32Expr, type I64Expr, i32, i64, select } from "../wasm/expr.ts";
import { CC, type FlagValues, maskOf, Translator, type Width } from "./translator.ts";

/** Marks the width word as holding PF and AF themselves (bits 33 and 34). */
const EXPLICIT = 1n << 32n;

const n = (value: number | bigint): I64Expr => i64.const(value);
const asI64 = (truth: I32Expr): I64Expr => i64.extendI32U(truth);

export type FlagWord = "result" | "carry" | "width";

/** Where the words are in the CPU state. */
export const FLAG_WORD_OFFSETS: Readonly<Record<FlagWord, number>> = {
  result: STATE.flagResult,
  carry: STATE.flagCarry,
  width: STATE.flagWidth,
};

/**
 * Status flags kept in three words, in the CPU state by the interpreter, in locals by the JIT.
 *
 * `result` is the result shifted to the top of 64 bits (ZF: it is zero; SF: it is negative); `carry` is the vector of
 * carries out of each bit, likewise shifted (CF: bit 63, OF: bit 63 xor bit 62, AF: the carry out of the operand's bit
 * 3); `width` is the shift (PF: from the result's low byte). Where flags don't come from a result, `width` holds
 * EXPLICIT with PF and AF, and in bit 63 whether SF is set beside ZF.
 */
export abstract class FlagTranslator extends Translator {
  abstract flagWord(word: FlagWord): I64Expr;
  abstract setFlagWord(word: FlagWord, value: I64Expr): void;

  #top(value: I64Expr, width: Width): I64Expr {
    return i64.shl(value, n(64 - width));
  }

  #setFlags(result: I64Expr, carry: I64Expr, width: I64Expr): void {
    this.setFlagWord("result", result);
    this.setFlagWord("carry", carry);
    this.setFlagWord("width", width);
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

  /** @param cf CF as it was, which is kept */
  override flagsIncDec(width: Width, result: I64Expr, delta: 1 | -1, cf: I32Expr = this.condition(CC.B)): void {
    const top = this.let(this.#top(result, width));
    // INC overflows to the lowest value and carries out of bit 3 into a low digit of 0; DEC the other way round.
    const edge = delta === 1 ? 1n << 63n : maskOf(width - 1) << BigInt(64 - width);
    const digit = delta === 1 ? 0 : 15;
    const of = asI64(i64.eq(top, i64.const(edge)));
    const af = asI64(i64.eq(i64.and(result, n(15)), n(digit)));
    this.#setFlags(top, this.#carryWord(asI64(cf), of, af, width), n(64 - width));
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
      const kept = i64.and(this.flagWord("carry"), i64.const(maskOf(62)));
      const word = i64.or(i64.shl(cf, n(63)), i64.shl(i64.xor(cf, of), n(62)));
      this.setFlagWord("carry", i64.or(kept, word));
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
    const result = this.flagWord("result");
    const carry = this.flagWord("carry");
    const width = this.flagWord("width");
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
    const carry = this.flagWord("carry");
    const width = this.flagWord("width");
    const place = select(this.#explicit(width), n(34), i64.add(width, n(3)));
    return i32.wrap(i64.and(i64.shrU(select(this.#explicit(width), width, carry), place), n(1)));
  }
}
