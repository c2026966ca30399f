import {
  BIAS,
  bitLength,
  classify,
  compareMagnitudes,
  type Float80,
  infinity,
  magnitudeOf,
  negate,
  pack,
  zero,
} from "./float80.ts";
import { type Operation, X87_FLAG } from "./operation.ts";

const xor = (a: 0 | 1, b: 0 | 1): 0 | 1 => (a ^ b) as 0 | 1;

/** FADD: a + b (SDM Vol. 2A, FADD, table 3-18). */
export function add(op: Operation, a: Float80, b: Float80): Float80 {
  const nan = op.checkOperands(a, b);
  if (nan !== undefined) return nan;
  const infiniteA = classify(a) === "infinity";
  const infiniteB = classify(b) === "infinity";
  if (infiniteA && infiniteB && a.sign !== b.sign) return op.invalid();
  if (infiniteA) return a;
  if (infiniteB) return infinity(b.sign);
  const x = magnitudeOf(a);
  const y = magnitudeOf(b);
  if (x.m === 0n && y.m === 0n) return zero(a.sign === b.sign ? a.sign : op.zeroSign);
  const e = Math.min(x.e, y.e);
  const left = x.m << BigInt(x.e - e);
  const right = y.m << BigInt(y.e - e);
  const sum = (a.sign ? -left : left) + (b.sign ? -right : right);
  if (sum === 0n) return zero(op.zeroSign);
  return op.round(sum < 0n ? 1 : 0, sum < 0n ? -sum : sum, e, false, op.precision);
}

/** FSUB: a - b. A NaN keeps its sign. */
export function subtract(op: Operation, a: Float80, b: Float80): Float80 {
  const nan = op.checkOperands(a, b);
  return nan ?? add(op, a, negate(b));
}

/** FMUL (SDM Vol. 2A, FMUL, table 3-29). */
export function multiply(op: Operation, a: Float80, b: Float80): Float80 {
  const nan = op.checkOperands(a, b);
  if (nan !== undefined) return nan;
  const classes = [classify(a), classify(b)];
  const sign = xor(a.sign, b.sign);
  if (classes.includes("infinity")) return classes.includes("zero") ? op.invalid() : infinity(sign);
  const x = magnitudeOf(a);
  const y = magnitudeOf(b);
  return op.round(sign, x.m * y.m, x.e + y.e, false, op.precision);
}

/** FDIV (SDM Vol. 2A, FDIV, table 3-24). */
export function divide(op: Operation, a: Float80, b: Float80): Float80 {
  const [classA, classB] = [classify(a), classify(b)];
  const sign = xor(a.sign, b.sign);
  // #Z comes before #D.
  if (classB === "zero" && (classA === "normal" || classA === "denormal")) {
    op.raise(X87_FLAG.ZE);
    return infinity(sign);
  }
  const nan = op.checkOperands(a, b);
  if (nan !== undefined) return nan;
  if (classA === classB && (classA === "infinity" || classA === "zero")) return op.invalid();
  if (classA === "infinity") return infinity(sign);
  if (classB === "infinity" || classA === "zero") return zero(sign);
  const x = magnitudeOf(a);
  const y = magnitudeOf(b);
  const shift = Math.max(0, 68 + bitLength(y.m) - bitLength(x.m));
  const dividend = x.m << BigInt(shift);
  const quotient = dividend / y.m;
  return op.round(sign, quotient, x.e - y.e - shift, quotient * y.m !== dividend, op.precision);
}

/** Whole part of the square root of a number that is not negative. */
export function squareRootOf(value: bigint): bigint {
  if (value < 2n) return value;
  let root = 1n << BigInt((bitLength(value) + 1) >> 1);
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

/** FSQRT (SDM Vol. 2A, FSQRT, table 3-35). */
export function squareRoot(op: Operation, a: Float80): Float80 {
  const kind = classify(a);
  if (a.sign === 1 && (kind === "normal" || kind === "denormal" || kind === "infinity")) return op.invalid();
  const nan = op.checkOperands(a);
  if (nan !== undefined) return nan;
  if (kind === "zero" || kind === "infinity") return a;
  const { m, e } = magnitudeOf(a);
  let shift = 2 * 70 - bitLength(m);
  if ((e - shift) % 2 !== 0) shift++;
  const radicand = m << BigInt(shift);
  const root = squareRootOf(radicand);
  return op.round(0, root, (e - shift) / 2, root * root !== radicand, op.precision);
}

/** How two numbers compare; unordered if one is a NaN. */
export type Ordering = "less" | "equal" | "greater" | "unordered";

/**
 * FCOM and, with `quiet`, FUCOM, which takes no offence at a QNaN (SDM Vol. 2A, FCOM and FUCOM).
 */
export function compare(op: Operation, a: Float80, b: Float80, quiet: boolean): Ordering {
  if (op.checkOperands(a, b) !== undefined) {
    if (!quiet) op.raise(X87_FLAG.IE);
    return "unordered";
  }
  if (classify(a) === "zero" && classify(b) === "zero") return "equal";
  if (a.sign !== b.sign) return a.sign ? "less" : "greater";
  const order = compareMagnitudes(magnitudeOf(a), magnitudeOf(b)) * (a.sign ? -1 : 1);
  return order < 0 ? "less" : order > 0 ? "greater" : "equal";
}

/** A remainder, the low three bits of the quotient, and whether the reduction is complete. */
export interface Remainder {
  readonly value: Float80;
  /** Undefined where there is none: NaNs and invalid operations. */
  readonly quotient: number | undefined;
  readonly complete: boolean;
}

/**
 * FPREM and, with `nearest`, FPREM1 (SDM Vol. 2A): reduces the exponent by less than 64, or by 32 to 63 if that is not
 * enough.
 */
export function remainder(op: Operation, a: Float80, b: Float80, nearest: boolean): Remainder {
  const whole = (value: Float80): Remainder => ({ value, quotient: 0, complete: true });
  const none = (value: Float80): Remainder => ({ value, quotient: undefined, complete: true });
  const [classA, classB] = [classify(a), classify(b)];
  // By zero, or of an infinity: #I comes before #D.
  if (classA === "denormal" && classB === "zero") return none(op.invalid());
  if (classA === "infinity" && classB === "denormal") return none(op.invalid());
  const nan = op.checkOperands(a, b);
  if (nan !== undefined) return none(nan);
  if (classA === "infinity" || classB === "zero") return none(op.invalid());
  if (classA === "zero" || classB === "infinity") {
    return whole(classA === "denormal" ? op.round(a.sign, magnitudeOf(a).m, magnitudeOf(a).e) : a);
  }
  const x = magnitudeOf(a);
  const y = magnitudeOf(b);
  const distance = bitLength(x.m) + x.e - bitLength(y.m) - y.e;
  const complete = distance < 64;
  const skipped = complete ? 0 : distance - ((distance & 31) | 32);
  const divisorExponent = y.e + skipped;
  const e = Math.min(x.e, divisorExponent);
  const dividend = x.m << BigInt(x.e - e);
  const divisor = y.m << BigInt(divisorExponent - e);
  let quotient = dividend / divisor;
  let rest = dividend - quotient * divisor;
  let { sign } = a;
  if (nearest && complete && (2n * rest > divisor || (2n * rest === divisor && (quotient & 1n) === 1n))) {
    quotient += 1n;
    rest = divisor - rest;
    sign = xor(sign, 1);
  }
  if (rest === 0n) return { value: zero(a.sign), quotient: complete ? Number(quotient & 7n) : 0, complete };
  return { value: op.round(sign, rest, e), quotient: complete ? Number(quotient & 7n) : 0, complete };
}

/** FRNDINT: to a whole number by the rounding control; precision control does not matter. */
export function roundToInteger(op: Operation, a: Float80): Float80 {
  const nan = op.checkOperands(a);
  if (nan !== undefined) return nan;
  const { m, e } = magnitudeOf(a);
  if (classify(a) === "infinity" || m === 0n || e >= 0) return a;
  const cut = op.cut(a.sign, m, e, 0);
  if (cut.inexact) op.raise(X87_FLAG.PE);
  op.roundedUp = cut.up;
  return pack(a.sign, cut.m, 0);
}

/** Beyond this any finite number over- or underflows. */
const SCALE_LIMIT = 0x10000;

/** FSCALE: a × 2^trunc(b) (SDM Vol. 2A, FSCALE, table 3-34). */
export function scale(op: Operation, a: Float80, b: Float80): Float80 {
  const nan = op.checkOperands(a, b);
  if (nan !== undefined) return nan;
  const [classA, classB] = [classify(a), classify(b)];
  if (classB === "infinity") {
    if (classA === (b.sign ? "infinity" : "zero")) return op.invalid();
    return b.sign ? zero(a.sign) : infinity(a.sign);
  }
  if (classA === "infinity" || classA === "zero") return a;
  const by = magnitudeOf(b);
  const whole = b.exponent > BIAS + 20 ? SCALE_LIMIT : Number(by.m >> BigInt(Math.min(64, -by.e)));
  const { m, e } = magnitudeOf(a);
  return op.round(a.sign, m, e + (b.sign ? -whole : whole));
}

/** FXTRACT: exponent and significand of a (SDM Vol. 2A, FXTRACT). */
export function extract(op: Operation, a: Float80): { exponent: Float80; significand: Float80 } {
  const nan = op.checkOperands(a);
  if (nan !== undefined) return { exponent: nan, significand: nan };
  const kind = classify(a);
  if (kind === "infinity") return { exponent: infinity(0), significand: a };
  if (kind === "zero") {
    op.raise(X87_FLAG.ZE);
    return { exponent: infinity(1), significand: a };
  }
  const { m, e } = magnitudeOf(a);
  const bits = bitLength(m);
  const exponent = bits - 1 + e;
  return {
    exponent: pack(exponent < 0 ? 1 : 0, BigInt(Math.abs(exponent)), 0),
    significand: pack(a.sign, m, 1 - bits),
  };
}
