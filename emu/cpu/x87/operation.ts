import { bitLength, classify, type Float80, INDEFINITE, infinity, pack, quieted } from "./float80.ts";

/** Exception flags of the status word, and their masks in the control word (SDM Vol. 1, 8.1.3.3 and 8.1.5). */
export const X87_FLAG = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 0x10, PE: 0x20, SF: 0x40, ES: 0x80 } as const;

/** Rounding control (SDM Vol. 1, table 4-8). */
export const ROUND = { nearest: 0, down: 1, up: 2, zero: 3 } as const;

/** A format that results are rounded to: bits of significand and the range of exponents, unbiased. */
export interface Format {
  readonly precision: number;
  readonly min: number;
  readonly max: number;
  /** Results that are too large or small go to a register when #O and #U are unmasked: exponent adjusted by this. */
  readonly adjust: number;
}

/** 24576: SDM Vol. 1, 8.5.4 and 8.5.5. */
export const EXTENDED: Format = { precision: 64, min: -16382, max: 16383, adjust: 24576 };
export const DOUBLE: Format = { precision: 53, min: -1022, max: 1023, adjust: 0 };
export const SINGLE: Format = { precision: 24, min: -126, max: 127, adjust: 0 };

/** A rounded magnitude: `m` × 2^`e`, or infinity. */
export interface Rounded {
  readonly infinite: boolean;
  readonly m: bigint;
  readonly e: number;
}

interface Cut {
  readonly m: bigint;
  readonly inexact: boolean;
  readonly up: boolean;
}

/** One floating-point operation under a control word: collects exceptions and rounds. */
export class Operation {
  readonly control: number;
  /** Exceptions so far (X87_FLAG). */
  flags = 0;
  /** The magnitude was rounded up: C1. */
  roundedUp = false;

  /** @param control x87 control word: exception masks, precision and rounding control */
  constructor(control: number) {
    this.control = control;
  }

  raise(flags: number): void {
    this.flags |= flags;
  }

  /** #I: the indefinite NaN. */
  invalid(): Float80 {
    this.raise(X87_FLAG.IE);
    return INDEFINITE;
  }

  isMasked(flag: number): boolean {
    return (this.control & flag) !== 0;
  }

  /** An unmasked #I, #D or #Z: no result is stored and no register changes (SDM Vol. 1, 8.5.1–8.5.3). */
  get aborted(): boolean {
    return (this.flags & ~this.control & (X87_FLAG.IE | X87_FLAG.DE | X87_FLAG.ZE)) !== 0;
  }

  /** An unmasked exception that keeps a result from being stored in memory, #O and #U too (SDM Vol. 1, 8.5.4). */
  get storeAborted(): boolean {
    return (this.flags & ~this.control & ~X87_FLAG.PE & 0x3f) !== 0;
  }

  get rounding(): number {
    return (this.control >> 10) & 3;
  }

  /** Bits of significand by the precision control field (SDM Vol. 1, table 8-2); the reserved value means 64. */
  get precision(): number {
    const field = (this.control >> 8) & 3;
    return field === 0 ? 24 : field === 2 ? 53 : 64;
  }

  /** Sign of an exact zero that is the sum of two numbers (SDM Vol. 1, 4.8.3.1). */
  get zeroSign(): 0 | 1 {
    return this.rounding === ROUND.down ? 1 : 0;
  }

  /**
   * The checks that come before every computation, in order: unsupported formats, NaNs, denormals.
   * @returns the NaN that is the result, if one is
   */
  checkOperands(...operands: readonly Float80[]): Float80 | undefined {
    const classes = operands.map(classify);
    if (classes.includes("unsupported")) return this.invalid();
    if (classes.includes("signaling") || classes.includes("quiet")) {
      if (classes.includes("signaling")) this.raise(X87_FLAG.IE);
      return operands.length === 1 ? quieted(operands[0]) : propagate(operands[0], operands[1]);
    }
    if (classes.includes("denormal") || operands.some((operand) => operand.wasDenormal)) this.raise(X87_FLAG.DE);
    return undefined;
  }

  /** Cuts `m` × 2^`e` to a multiple of 2^`unit`, by the rounding mode. */
  cut(sign: 0 | 1, m: bigint, e: number, unit: number, mode = this.rounding): Cut {
    const drop = unit - e;
    if (drop <= 0) return { m: m << BigInt(-drop), inexact: false, up: false };
    const kept = m >> BigInt(drop);
    const rest = m - (kept << BigInt(drop));
    if (rest === 0n) return { m: kept, inexact: false, up: false };
    let up = mode === ROUND.up ? sign === 0 : mode === ROUND.down ? sign === 1 : false;
    if (mode === ROUND.nearest) {
      const half = 1n << BigInt(drop - 1);
      up = rest > half || (rest === half && (kept & 1n) === 1n);
    }
    return { m: up ? kept + 1n : kept, inexact: true, up };
  }

  /**
   * Rounds `m` × 2^`e` (m > 0) to a format, with #O, #U and #P as they come; tininess is seen after rounding (SDM
   * Vol. 1, 4.9.1.5).
   * @param sticky the exact value is a little above the one given
   * @param precision bits of significand, if fewer than the format's
   */
  roundTo(format: Format, sign: 0 | 1, m: bigint, e: number, sticky = false, precision = format.precision): Rounded {
    let value = m;
    let unit = e;
    if (sticky) {
      const more = Math.max(0, precision + 2 - bitLength(m)) + 1;
      value = (m << BigInt(more)) | 1n;
      unit = e - more;
    }
    const top = bitLength(value) - 1 + unit;
    const lowest = top - (precision - 1);
    const normal = this.cut(sign, value, unit, lowest);
    const exponent = bitLength(normal.m) > precision ? top + 1 : top;
    if (exponent > format.max) {
      const adjusted = this.#adjusted(normal, lowest, exponent, X87_FLAG.OE, format, -format.adjust);
      return adjusted ?? this.#overflow(format, sign, precision);
    }
    if (exponent < format.min) {
      const adjusted = this.#adjusted(normal, lowest, exponent, X87_FLAG.UE, format, format.adjust);
      if (adjusted !== undefined) return adjusted;
      const place = format.min - (precision - 1);
      const denormal = this.cut(sign, value, unit, place);
      if (denormal.inexact) this.raise(X87_FLAG.UE);
      return this.#done(denormal, place);
    }
    return this.#done(normal, lowest);
  }

  #done(cut: Cut, e: number): Rounded {
    if (cut.inexact) this.raise(X87_FLAG.PE);
    this.roundedUp = cut.up;
    return { infinite: false, m: cut.m, e };
  }

  /** The response to an unmasked #O or #U: the exponent adjusted (SDM Vol. 1, 8.5.4); undefined if it is masked. */
  #adjusted(cut: Cut, e: number, exponent: number, flag: number, format: Format, by: number): Rounded | undefined {
    if (this.isMasked(flag)) return undefined;
    this.raise(flag);
    if (by === 0) return { infinite: false, m: cut.m, e };
    if (exponent + by > format.max || exponent + by < format.min) {
      // Still out of range, which FSCALE alone can bring about (SDM Vol. 2A, FSCALE).
      this.raise(X87_FLAG.PE);
      this.roundedUp = flag === X87_FLAG.OE;
      return { infinite: this.roundedUp, m: 0n, e: 0 };
    }
    return this.#done(cut, e + by);
  }

  #overflow(format: Format, sign: 0 | 1, precision: number): Rounded {
    this.raise(X87_FLAG.OE | X87_FLAG.PE);
    const mode = this.rounding;
    const infinite = mode === ROUND.nearest || mode === (sign ? ROUND.down : ROUND.up);
    this.roundedUp = infinite;
    return { infinite, m: (1n << BigInt(precision)) - 1n, e: format.max - (precision - 1) };
  }

  /** Rounds `m` × 2^`e` to a register's format; zero keeps `sign`. */
  round(sign: 0 | 1, m: bigint, e: number, sticky = false, precision = 64): Float80 {
    if (m === 0n) return pack(sign, 0n, 0);
    const rounded = this.roundTo(EXTENDED, sign, m, e, sticky, precision);
    return rounded.infinite ? infinity(sign) : pack(sign, rounded.m, rounded.e);
  }
}

/** The NaN that two operands, one a NaN at least, give (SDM Vol. 1, table 4-7, x87 column). */
function propagate(a: Float80, b: Float80): Float80 {
  const [classA, classB] = [classify(a), classify(b)];
  const isNan = (name: string): boolean => name === "quiet" || name === "signaling";
  if (!isNan(classB)) return quieted(a);
  if (!isNan(classA)) return quieted(b);
  if (classA !== classB) return classA === "quiet" ? a : b;
  const [x, y] = [quieted(a), quieted(b)];
  if (x.significand !== y.significand) return x.significand > y.significand ? x : y;
  return x.sign < y.sign ? x : y;
}
