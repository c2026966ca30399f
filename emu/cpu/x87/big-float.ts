import { squareRootOf } from "./arithmetic.ts";
import { bitLength, type Float80, magnitudeOf } from "./float80.ts";

/** A number m × 2^e with some 200 bits: what transcendental functions are computed in before they are rounded. */
export interface BigFloat {
  readonly m: bigint;
  readonly e: number;
}

const PRECISION = 200;

const magnitude = (m: bigint): bigint => (m < 0n ? -m : m);
export const bitsOf = (value: BigFloat): number => bitLength(magnitude(value.m));
/** Exponent of the highest bit. */
export const topOf = (value: BigFloat): number => bitsOf(value) - 1 + value.e;

function trim(m: bigint, e: number): BigFloat {
  const drop = bitLength(magnitude(m)) - PRECISION;
  return drop > 0 ? { m: m >> BigInt(drop), e: e + drop } : { m, e };
}

export const big = (value: number): BigFloat => ({ m: BigInt(value), e: 0 });

export function fromFloat80(value: Float80): BigFloat {
  const { m, e } = magnitudeOf(value);
  return { m: value.sign ? -m : m, e };
}

export function add(a: BigFloat, b: BigFloat): BigFloat {
  if (a.m === 0n) return b;
  if (b.m === 0n) return a;
  // What lies wholly below the other's last bit does not count.
  if (topOf(a) - topOf(b) > 2 * PRECISION) return a;
  if (topOf(b) - topOf(a) > 2 * PRECISION) return b;
  const e = Math.min(a.e, b.e);
  return trim((a.m << BigInt(a.e - e)) + (b.m << BigInt(b.e - e)), e);
}

export const negated = (a: BigFloat): BigFloat => ({ m: -a.m, e: a.e });
export const subtract = (a: BigFloat, b: BigFloat): BigFloat => add(a, negated(b));
export const multiply = (a: BigFloat, b: BigFloat): BigFloat => trim(a.m * b.m, a.e + b.e);
export const scaled = (a: BigFloat, by: number): BigFloat => ({ m: a.m, e: a.e + by });

export function divide(a: BigFloat, b: BigFloat): BigFloat {
  const shift = Math.max(0, PRECISION + bitsOf(b) - bitsOf(a));
  return trim((a.m << BigInt(shift)) / b.m, a.e - b.e - shift);
}

export function squareRoot(a: BigFloat): BigFloat {
  let shift = Math.max(0, 2 * PRECISION - bitsOf(a));
  if ((a.e - shift) % 2 !== 0) shift++;
  return { m: squareRootOf(a.m << BigInt(shift)), e: (a.e - shift) / 2 };
}

/**
 * Sums 1 + c₁z + c₂z² + …
 * @param term the factor from one term to the next, z apart, as a fraction
 */
export function series(z: BigFloat, term: (i: number) => readonly [number, number]): BigFloat {
  let power = big(1);
  let sum = power;
  for (let i = 1; ; i++) {
    const [numerator, denominator] = term(i);
    power = divide(multiply(multiply(power, z), big(numerator)), big(denominator));
    if (power.m === 0n || topOf(power) < -PRECISION) break;
    sum = add(sum, power);
  }
  return sum;
}

/** Inverse hyperbolic tangent of t, |t| < 0.2. */
export function atanh(t: BigFloat): BigFloat {
  return multiply(t, oddReciprocals(multiply(t, t)));
}

/** 1 + z/3 + z²/5 + … */
function oddReciprocals(z: BigFloat): BigFloat {
  let power = big(1);
  let sum = power;
  for (let i = 1; ; i++) {
    power = multiply(power, z);
    const term = divide(power, big(2 * i + 1));
    if (term.m === 0n || topOf(term) < -PRECISION) break;
    sum = add(sum, term);
  }
  return sum;
}

/** Inverse tangent of t, 0 ≤ t ≤ 1. */
export function atan(t: BigFloat): BigFloat {
  // atan t = 2 atan (t / (1 + √(1 + t²))): three times brings t below 0.1.
  let value = t;
  let doublings = 0;
  for (; doublings < 3; doublings++) {
    value = divide(value, add(big(1), squareRoot(add(big(1), multiply(value, value)))));
  }
  return scaled(multiply(value, oddReciprocals(negated(multiply(value, value)))), doublings);
}

/** π and its first 256 bits behind the point. */
export const PI: BigFloat = {
  m: 0x3_243f6a88_85a308d3_13198a2e_03707344_a4093822_299f31d0_082efa98_ec4e6c89n,
  e: -256,
};
export const LN2: BigFloat = scaled(atanh(divide(big(1), big(3))), 1);
