/**
 * The double extended-precision format: sign, 15-bit exponent with bias 16383, 64-bit significand whose integer bit is
 * explicit (SDM Vol. 1, 4.2.2 and 8.2).
 */
export interface Float80 {
  readonly sign: 0 | 1;
  /** Biased, 0–0x7fff. */
  readonly exponent: number;
  /** 64 bits. */
  readonly significand: bigint;
  /** It came from a denormal of a narrower format: normal here, but #D nevertheless (SDM Vol. 1, 8.5.2). */
  readonly wasDenormal?: boolean;
}

export const BIAS = 16383;
export const MAX_EXPONENT = 0x7fff;
export const INTEGER_BIT = 1n << 63n;
export const QUIET_BIT = 1n << 62n;
const ALL_ONES = (1n << 64n) - 1n;

/** What a bit pattern stands for (SDM Vol. 1, tables 4-3 and 8-3). Pseudo-denormals count as denormals. */
export type FloatClass = "zero" | "denormal" | "normal" | "infinity" | "quiet" | "signaling" | "unsupported";

export function classify({ exponent, significand }: Float80): FloatClass {
  if (exponent === 0) return significand === 0n ? "zero" : "denormal";
  if ((significand & INTEGER_BIT) === 0n) return "unsupported";
  if (exponent !== MAX_EXPONENT) return "normal";
  if (significand === INTEGER_BIT) return "infinity";
  return significand & QUIET_BIT ? "quiet" : "signaling";
}

/** The real indefinite QNaN: the masked response to #I (SDM Vol. 1, 4.8.3.7). */
export const INDEFINITE: Float80 = { sign: 1, exponent: MAX_EXPONENT, significand: INTEGER_BIT | QUIET_BIT };
export const ONE: Float80 = { sign: 0, exponent: BIAS, significand: INTEGER_BIT };

export const zero = (sign: 0 | 1): Float80 => ({ sign, exponent: 0, significand: 0n });
export const infinity = (sign: 0 | 1): Float80 => ({ sign, exponent: MAX_EXPONENT, significand: INTEGER_BIT });
export const negate = (value: Float80): Float80 => ({ ...value, sign: (value.sign ^ 1) as 0 | 1 });
export const quieted = (value: Float80): Float80 => ({
  sign: value.sign,
  exponent: value.exponent,
  significand: value.significand | QUIET_BIT,
});

/** A finite magnitude: `m` × 2^`e`, m not negative. */
export interface Magnitude {
  readonly m: bigint;
  readonly e: number;
}

/** The exact magnitude of a finite number. */
export function magnitudeOf({ exponent, significand }: Float80): Magnitude {
  return { m: significand, e: Math.max(exponent, 1) - BIAS - 63 };
}

/** Number of bits up to the highest one; 0 for 0. `value` must not be negative. */
export function bitLength(value: bigint): number {
  if (value === 0n) return 0;
  const digits = value.toString(16);
  return (digits.length - 1) * 4 + 32 - Math.clz32(Number.parseInt(digits[0], 16));
}

/** The number `m` × 2^`e`, which must be representable: no rounding takes place. */
export function pack(sign: 0 | 1, m: bigint, e: number): Float80 {
  if (m === 0n) return zero(sign);
  const bits = bitLength(m);
  const exponent = bits - 1 + e + BIAS;
  if (exponent > 0) return { sign, exponent, significand: shift(m, 64 - bits) };
  return { sign, exponent: 0, significand: shift(m, e + BIAS - 1 + 63) };
}

const shift = (value: bigint, by: number): bigint => (by >= 0 ? value << BigInt(by) : value >> BigInt(-by));

/** Is |a| less than, equal to, or greater than |b|? Both finite. */
export function compareMagnitudes(a: Magnitude, b: Magnitude): -1 | 0 | 1 {
  const e = Math.min(a.e, b.e);
  const difference = (a.m << BigInt(a.e - e)) - (b.m << BigInt(b.e - e));
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** Reads the ten bytes of a register or of an m80fp operand. */
export function readFloat80(view: DataView, offset: number): Float80 {
  const high = view.getUint16(offset + 8, true);
  const significand = view.getBigUint64(offset, true);
  return { sign: (high >> 15) as 0 | 1, exponent: high & MAX_EXPONENT, significand };
}

export function writeFloat80(view: DataView, offset: number, value: Float80): void {
  view.setBigUint64(offset, value.significand & ALL_ONES, true);
  view.setUint16(offset + 8, (value.sign << 15) | value.exponent, true);
}
