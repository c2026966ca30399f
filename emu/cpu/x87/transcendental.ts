import {
  add,
  atan,
  atanh,
  type BigFloat,
  big,
  divide,
  fromFloat80,
  LN2,
  multiply,
  negated,
  PI,
  scaled,
  series,
  subtract,
  topOf,
} from "./big-float.ts";
import { BIAS, classify, type Float80, INTEGER_BIT, infinity, magnitudeOf, negate, ONE, zero } from "./float80.ts";
import { type Operation, X87_FLAG } from "./operation.ts";

/**
 * The transcendental instructions (SDM Vol. 1, 8.3.10; Vol. 2A, each): the exact value, computed to some 190 bits, is
 * rounded to 64 by the rounding control; precision control does not matter.
 */

/** Rounds a number. #P is raised also where it happens to be exact, and then #U if it is denormal. */
function result(op: Operation, value: BigFloat, exact = false): Float80 {
  const sign = value.m < 0n ? 1 : 0;
  const rounded = op.round(sign, value.m < 0n ? -value.m : value.m, value.e, !exact);
  op.raise(X87_FLAG.PE | (rounded.exponent === 0 ? X87_FLAG.UE : 0));
  return rounded;
}

const isZero = (a: Float80): boolean => classify(a) === "zero";
const isInfinite = (a: Float80): boolean => classify(a) === "infinity";
const xor = (a: 0 | 1, b: 0 | 1): 0 | 1 => (a ^ b) as 0 | 1;
/** Is |a| = 1? */
const isUnit = (a: Float80): boolean => a.exponent === BIAS && a.significand === INTEGER_BIT;

/** F2XM1: 2^a - 1 for -1 ≤ a ≤ 1; beyond, where the SDM defines nothing, a itself. */
export function exponentialMinusOne(op: Operation, a: Float80): Float80 {
  const nan = op.checkOperands(a);
  if (nan !== undefined) return nan;
  if (isZero(a)) return a;
  if (isInfinite(a)) return a.sign ? negate(ONE) : a;
  if (isUnit(a)) return a.sign ? { sign: 1, exponent: BIAS - 1, significand: INTEGER_BIT } : ONE;
  if (a.exponent >= BIAS) {
    op.raise(X87_FLAG.PE);
    return a;
  }
  const y = multiply(fromFloat80(a), LN2);
  return result(
    op,
    multiply(
      y,
      series(y, (i) => [1, i + 1]),
    ),
  );
}

/** log2 of a positive number, and whether it is exact. */
function logarithm(x: BigFloat): { value: BigFloat; exact: boolean } {
  let exponent = topOf(x);
  let m = scaled(x, -exponent);
  // Above √2: from the other side, so that the series is short.
  if (subtract(multiply(m, m), big(2)).m > 0n) {
    exponent++;
    m = scaled(m, -1);
  }
  const ratio = divide(subtract(m, big(1)), add(m, big(1)));
  if (ratio.m === 0n) return { value: big(exponent), exact: true };
  return { value: add(big(exponent), divide(scaled(atanh(ratio), 1), LN2)), exact: false };
}

/** FYL2X: y × log2 x (SDM Vol. 2A, FYL2X, table 3-58). */
export function yLog2(op: Operation, y: Float80, x: Float80): Float80 {
  const nan = op.checkOperands(y, x);
  if (nan !== undefined) return nan;
  if (isZero(x)) {
    if (isZero(y)) return op.invalid();
    if (!isInfinite(y)) op.raise(X87_FLAG.ZE);
    return infinity(xor(y.sign, 1));
  }
  if (x.sign) return op.invalid();
  const aboveOne = x.exponent >= BIAS;
  const sign = aboveOne ? y.sign : xor(y.sign, 1);
  if (isUnit(x)) return isInfinite(y) ? op.invalid() : zero(y.sign);
  if (isInfinite(x)) return isZero(y) ? op.invalid() : infinity(sign);
  if (isInfinite(y)) return infinity(sign);
  if (isZero(y)) return zero(sign);
  const { value, exact } = logarithm(fromFloat80(x));
  return result(op, multiply(fromFloat80(y), value), exact);
}

/** FYL2XP1: y × log2(x + 1) for x around 0 (SDM Vol. 2A, FYL2XP1, table 3-59). */
export function yLog2Plus1(op: Operation, y: Float80, x: Float80): Float80 {
  const nan = op.checkOperands(y, x);
  if (nan !== undefined) return nan;
  const sign = xor(y.sign, x.sign);
  if (isZero(x)) return isInfinite(y) ? op.invalid() : zero(sign);
  if (isInfinite(x)) return x.sign || isZero(y) ? op.invalid() : infinity(y.sign);
  if (x.sign && x.exponent >= BIAS) return op.invalid();
  if (isInfinite(y)) return infinity(sign);
  if (isZero(y)) return zero(sign);
  const t = fromFloat80(x);
  if (x.exponent >= BIAS - 1) {
    const { value, exact } = logarithm(add(t, big(1)));
    return result(op, multiply(fromFloat80(y), value), exact);
  }
  const ratio = divide(t, add(t, big(2)));
  return result(op, multiply(fromFloat80(y), divide(scaled(atanh(ratio), 1), LN2)));
}

/** FPATAN: the angle of the point (x, y) (SDM Vol. 2A, FPATAN, table 3-30). */
export function arcTangent(op: Operation, y: Float80, x: Float80): Float80 {
  const nan = op.checkOperands(y, x);
  if (nan !== undefined) return nan;
  const signed = (angle: BigFloat): Float80 => result(op, y.sign ? negated(angle) : angle);
  const halfPi = scaled(PI, -1);
  if (isInfinite(y)) {
    if (!isInfinite(x)) return signed(halfPi);
    return signed(x.sign ? multiply(scaled(PI, -2), big(3)) : scaled(PI, -2));
  }
  if (isZero(y) || isInfinite(x)) return x.sign ? signed(PI) : zero(y.sign);
  if (isZero(x)) return signed(halfPi);
  const [a, b] = [magnitudeOf(y), magnitudeOf(x)];
  const steep = topOf(a) > topOf(b) || (topOf(a) === topOf(b) && subtract(a, b).m > 0n);
  const ratio = steep ? divide(b, a) : divide(a, b);
  const acute = steep ? subtract(halfPi, atan(ratio)) : atan(ratio);
  return signed(x.sign ? subtract(PI, acute) : acute);
}

/** The processor's π for argument reduction has 66 bits (SDM Vol. 1, 8.3.8). */
const REDUCTION_PI: BigFloat = { m: 0xc90f_daa2_2168_c234_cn, e: -66 };

interface SineCosine {
  readonly sin: BigFloat;
  readonly cos: BigFloat;
}

/** Sine and cosine of a finite number below 2^63. */
function sineCosine(a: Float80): SineCosine {
  const x = fromFloat80(a);
  // The multiple of π/2 next to x.
  const halves = divide(x, scaled(REDUCTION_PI, -1));
  const place = BigInt(-halves.e);
  const n = halves.m === 0n || topOf(halves) < -1 ? 0n : ((halves.m >> (place - 1n)) + 1n) >> 1n;
  const r = n === 0n ? x : subtract(x, { m: n * REDUCTION_PI.m, e: REDUCTION_PI.e - 1 });
  const z = negated(multiply(r, r));
  const sin = multiply(
    r,
    series(z, (i) => [1, 2 * i * (2 * i + 1)]),
  );
  const cos = series(z, (i) => [1, 2 * i * (2 * i - 1)]);
  switch (Number(n & 3n)) {
    case 0:
      return { sin, cos };
    case 1:
      return { sin: cos, cos: negated(sin) };
    case 2:
      return { sin: negated(sin), cos: negated(cos) };
    default:
      return { sin: negated(cos), cos: sin };
  }
}

/** Is |a| 2^63 or more, so that FSIN and its kin set C2 and leave it as it is? */
export const isOutOfRange = (a: Float80): boolean => classify(a) === "normal" && a.exponent >= BIAS + 63;

/** The answer where no sine has to be computed: a NaN, or the sine of zero. */
function special(op: Operation, a: Float80, atZero: Float80): Float80 | undefined {
  const nan = op.checkOperands(a);
  if (nan !== undefined) return nan;
  if (isInfinite(a)) return op.invalid();
  return isZero(a) ? atZero : undefined;
}

/** FSIN. */
export function sine(op: Operation, a: Float80): Float80 {
  return special(op, a, a) ?? result(op, sineCosine(a).sin);
}

/** FCOS. */
export function cosine(op: Operation, a: Float80): Float80 {
  return special(op, a, ONE) ?? result(op, sineCosine(a).cos);
}

/** FPTAN without the 1.0 that it pushes. */
export function tangent(op: Operation, a: Float80): Float80 {
  const known = special(op, a, a);
  if (known !== undefined) return known;
  const { sin, cos } = sineCosine(a);
  return result(op, divide(sin, cos));
}

/** 1 + log2 and the like, by name: truncated to 64 bits, and whether the rest is more than a half. */
interface Constant {
  readonly exponent: number;
  readonly truncated: bigint;
  readonly nearestUp: boolean;
}

/** FLD1 and its kin (SDM Vol. 2A, FLD1/FLDL2T/FLDL2E/FLDPI/FLDLG2/FLDLN2/FLDZ). */
const CONSTANTS = {
  l2t: { exponent: BIAS + 1, truncated: 0xd49a_784b_cd1b_8afen, nearestUp: false },
  l2e: { exponent: BIAS, truncated: 0xb8aa_3b29_5c17_f0bbn, nearestUp: true },
  pi: { exponent: BIAS + 1, truncated: 0xc90f_daa2_2168_c234n, nearestUp: true },
  lg2: { exponent: BIAS - 2, truncated: 0x9a20_9a84_fbcf_f798n, nearestUp: true },
  ln2: { exponent: BIAS - 1, truncated: 0xb172_17f7_d1cf_79abn, nearestUp: true },
} as const satisfies Record<string, Constant>;

/** A constant, rounded by the rounding control; no exception is raised. */
export function constant(op: Operation, name: keyof typeof CONSTANTS): Float80 {
  const { exponent, truncated, nearestUp } = CONSTANTS[name];
  const up = op.rounding === 2 || (op.rounding === 0 && nearestUp);
  return { sign: 0, exponent, significand: up ? truncated + 1n : truncated };
}
