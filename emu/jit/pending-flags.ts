import { Mnemonic } from "iced-x86";
import { FlagTranslator } from "../semantics/flag-words.ts";
import { CC, type FlagValues, type Width } from "../semantics/translator.ts";
import { type I32Expr, type I64Expr, i32, i64, LocalRef } from "../wasm/expr.ts";

const n = (value: number | bigint): I64Expr => i64.const(value);

/** Status flags that no code has written out yet: what they come from. */
export type Pending =
  | { kind: "words" }
  | { kind: "add" | "sub"; width: Width; a: I64Expr; b: I64Expr; result: I64Expr }
  | { kind: "logic"; width: Width; result: I64Expr }
  | { kind: "incdec"; width: Width; result: I64Expr; delta: 1 | -1; cf: I32Expr }
  | { kind: "result"; width: Width; result: I64Expr; cf: I32Expr; of: I32Expr; af: I32Expr | undefined }
  | { kind: "explicit"; values: Required<FlagValues> };

export const WORDS: Pending = { kind: "words" };

/**
 * Flags that are made only where they are read: an instruction's flags stay what they come from (operands and result in
 * locals) until a condition reads them, mostly as one comparison, or until they have to be in their words.
 */
export abstract class PendingFlagTranslator extends FlagTranslator {
  /** What is known at this point of the code. */
  abstract readonly knowledge: { pending: Pending };
  /** Flags alive behind the current instruction. */
  protected liveAfter = 0;
  /** Depth of control structures inside the current instruction: what is in them is not certain to happen. */
  protected nesting = 0;

  /** Puts flags that are still pending into their words. */
  settleFlags(): void {
    const { pending } = this.knowledge;
    this.writeFlags(pending);
    this.knowledge.pending = WORDS;
  }

  /** Writes flags to their words, without forgetting what they come from. */
  protected writeFlags(pending: Pending): void {
    switch (pending.kind) {
      case "words":
        return;
      case "add":
        super.flagsAdd(pending.width, pending.a, pending.b, pending.result);
        return;
      case "sub":
        super.flagsSub(pending.width, pending.a, pending.b, pending.result);
        return;
      case "logic":
        super.flagsLogic(pending.width, pending.result);
        return;
      case "incdec":
        super.flagsIncDec(pending.width, pending.result, pending.delta, pending.cf);
        return;
      case "result":
        super.flagsResult(pending.width, pending.result, pending);
        return;
      case "explicit":
        super.flagsExplicit(pending.values);
    }
  }

  /** Takes note of new flags, or writes them at once where they are not certain to be set. */
  #note(pending: () => Pending, write: () => void): void {
    if ((this.instruction.flagsWritten & this.liveAfter) === 0 && this.nesting === 0) {
      // Nobody reads them; what was pending before is overwritten on hardware, and nobody reads that either.
      return;
    }
    if (this.nesting > 0) write();
    else this.knowledge.pending = pending();
  }

  /** ADC and SBB have a carry in, which the shorter formulas leave out. */
  get #hasCarryIn(): boolean {
    const { mnemonic } = this.instruction;
    return mnemonic === Mnemonic.Adc || mnemonic === Mnemonic.Sbb;
  }

  override flagsAdd(width: Width, a: I64Expr, b: I64Expr, result: I64Expr): void {
    this.#note(
      () => {
        if (!this.#hasCarryIn) return { kind: "add", width, a: this.let(a), b: this.let(b), result: this.let(result) };
        super.flagsAdd(width, a, b, result);
        return WORDS;
      },
      () => super.flagsAdd(width, a, b, result),
    );
  }

  override flagsSub(width: Width, a: I64Expr, b: I64Expr, result: I64Expr): void {
    this.#note(
      () => {
        if (!this.#hasCarryIn) return { kind: "sub", width, a: this.let(a), b: this.let(b), result: this.let(result) };
        super.flagsSub(width, a, b, result);
        return WORDS;
      },
      () => super.flagsSub(width, a, b, result),
    );
  }

  override flagsLogic(width: Width, result: I64Expr): void {
    this.#note(
      () => ({ kind: "logic", width, result: this.let(result) }),
      () => super.flagsLogic(width, result),
    );
  }

  override flagsIncDec(width: Width, result: I64Expr, delta: 1 | -1): void {
    const carryAlive = (this.liveAfter & 16) !== 0;
    this.#note(
      () => {
        const cf = carryAlive ? this.let(this.condition(CC.B)) : i32.const(0);
        return { kind: "incdec", width, result: this.let(result), delta, cf };
      },
      () => super.flagsIncDec(width, result, delta),
    );
  }

  override flagsResult(width: Width, result: I64Expr, rest: { cf: I32Expr; of: I32Expr; af?: I32Expr }): void {
    this.#note(
      () => {
        const af = rest.af === undefined ? undefined : this.let(rest.af);
        return { kind: "result", width, result: this.let(result), cf: this.let(rest.cf), of: this.let(rest.of), af };
      },
      () => super.flagsResult(width, result, rest),
    );
  }

  override flagsExplicit(values: FlagValues): void {
    this.#note(
      () => {
        const kept = (given: I32Expr | undefined, alive: number, current: () => I32Expr): I32Expr =>
          this.let(given ?? ((this.liveAfter & alive) !== 0 ? current() : i32.const(0)));
        return {
          kind: "explicit",
          values: {
            cf: kept(values.cf, 16, () => this.condition(CC.B)),
            pf: kept(values.pf, 32, () => this.condition(CC.P)),
            af: kept(values.af, 8, () => this.auxiliaryCarry()),
            zf: kept(values.zf, 4, () => this.condition(CC.E)),
            sf: kept(values.sf, 2, () => this.condition(CC.S)),
            of: kept(values.of, 1, () => this.condition(CC.O)),
          },
        };
      },
      () => super.flagsExplicit(values),
    );
  }

  override auxiliaryCarry(): I32Expr {
    if (this.knowledge.pending.kind !== "words") this.settleFlags();
    return super.auxiliaryCarry();
  }

  override condition(cc: number): I32Expr {
    const { pending } = this.knowledge;
    if (pending.kind === "words") return super.condition(cc);
    const truth = this.#short(pending, cc >> 1);
    if (truth === undefined) {
      this.settleFlags();
      return super.condition(cc);
    }
    return cc & 1 ? i32.eqz(truth) : truth;
  }

  #negative(value: I64Expr, width: number): I32Expr {
    return width === 64 ? i64.ltS(value, n(0)) : this.signBit(value, width);
  }

  #evenParity(result: I64Expr): I32Expr {
    const low = i32.wrap(i64.and(result, n(0xff)));
    return i32.eqz(i32.and(i32.popcnt(low), i32.const(1)));
  }

  /** A condition straight from what the flags come from; undefined if the words serve as well. */
  #short(pending: Exclude<Pending, { kind: "words" }>, kind: number): I32Expr | undefined {
    if (pending.kind === "explicit") return explicitCondition(pending.values, kind);
    const { width, result } = pending;
    const zero = i64.eqz(result);
    const sign = this.#negative(result, width);
    if (kind === 2) return pending.kind === "sub" ? i64.eq(pending.a, pending.b) : zero;
    if (kind === 4) return sign;
    if (kind === 5) return this.#evenParity(result);
    switch (pending.kind) {
      case "logic":
        if (kind === 0 || kind === 1) return i32.const(0);
        if (kind === 3) return zero;
        return kind === 6 ? sign : i32.or(zero, sign);
      case "sub": {
        const { a, b } = pending;
        if (kind === 1) return i64.ltU(a, b);
        if (kind === 3) return i64.leU(a, b);
        if (kind === 0) return this.#negative(i64.and(i64.xor(a, b), i64.xor(a, result)), width);
        const [left, right] = [this.signExtend(a, width), this.signExtend(b, width)];
        return kind === 6 ? i64.ltS(left, right) : i64.leS(left, right);
      }
      case "add": {
        const { a, b } = pending;
        if (kind === 1) return i64.ltU(result, a);
        if (kind === 3) return i32.or(i64.ltU(result, a), zero);
        const overflow = this.#negative(i64.and(i64.xor(a, result), i64.xor(b, result)), width);
        if (kind === 0) return overflow;
        const less = i32.xor(sign, overflow);
        return kind === 6 ? less : i32.or(less, zero);
      }
      case "result": {
        const { cf, of } = pending;
        if (kind === 0) return of;
        if (kind === 1) return cf;
        if (kind === 3) return i32.or(cf, zero);
        return kind === 6 ? i32.xor(sign, of) : i32.or(i32.xor(sign, of), zero);
      }
      default:
        if (kind === 1) return pending.cf;
        return kind === 3 ? i32.or(pending.cf, zero) : undefined;
    }
  }
}

const NONE: readonly number[] = [];

/** Locals that pending flags are made from, some of them more than once. */
export function localsOf(pending: Pending): readonly number[] {
  if (pending.kind === "words") return NONE;
  const locals: number[] = [];
  for (const value of Object.values(pending.kind === "explicit" ? pending.values : pending))
    if (value instanceof LocalRef) locals.push(value.index);
  return locals;
}

function explicitCondition(values: Required<FlagValues>, kind: number): I32Expr {
  const { cf, pf, zf, sf, of } = values as Record<keyof FlagValues, I32Expr>;
  const less = i32.xor(sf, of);
  return [of, cf, zf, i32.or(cf, zf), sf, pf, less, i32.or(less, zf)][kind];
}
