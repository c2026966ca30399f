import {
  BIAS,
  classify,
  type Float80,
  INTEGER_BIT,
  MAX_EXPONENT,
  magnitudeOf,
  pack,
  quieted,
  zero,
} from "./float80.ts";
import { DOUBLE, type Operation, ROUND, SINGLE, X87_FLAG } from "./operation.ts";

interface Narrow {
  readonly fraction: number;
  readonly exponent: number;
}

const LAYOUT: Readonly<Record<32 | 64, Narrow>> = {
  32: { fraction: 23, exponent: 8 },
  64: { fraction: 52, exponent: 11 },
};

/** A single- or double-precision number as a register's; exact, NaNs stay signaling. */
export function fromNarrow(bits: bigint, width: 32 | 64): Float80 {
  const { fraction, exponent } = LAYOUT[width];
  const sign = Number(bits >> BigInt(width - 1)) as 0 | 1;
  const all = (1 << exponent) - 1;
  const field = Number(bits >> BigInt(fraction)) & all;
  const low = bits & ((1n << BigInt(fraction)) - 1n);
  if (field === all) {
    return { sign, exponent: MAX_EXPONENT, significand: INTEGER_BIT | (low << BigInt(63 - fraction)) };
  }
  const bias = all >> 1;
  if (field !== 0) {
    return { sign, exponent: field - bias + BIAS, significand: INTEGER_BIT | (low << BigInt(63 - fraction)) };
  }
  if (low === 0n) return zero(sign);
  return { ...pack(sign, low, 1 - bias - fraction), wasDenormal: true };
}

/** FLD m32fp, m64fp: a NaN becomes quiet, with #I; a denormal raises #D (SDM Vol. 2A, FLD). */
export function loadNarrow(op: Operation, bits: bigint, width: 32 | 64): Float80 {
  const value = fromNarrow(bits, width);
  return op.checkOperands(value) ?? value;
}

/** FST m32fp, m64fp: rounds to the format (SDM Vol. 2A, FST). */
export function toNarrow(op: Operation, value: Float80, width: 32 | 64): bigint {
  const { fraction, exponent } = LAYOUT[width];
  const all = BigInt((1 << exponent) - 1) << BigInt(fraction);
  let source = value;
  const kind = classify(value);
  if (kind === "unsupported") source = op.invalid();
  else if (kind === "signaling") {
    op.raise(X87_FLAG.IE);
    source = quieted(value);
  }
  const sign = BigInt(source.sign) << BigInt(width - 1);
  if (kind === "infinity") return sign | all;
  if (source.exponent === MAX_EXPONENT) {
    return sign | all | ((source.significand & ~INTEGER_BIT) >> BigInt(63 - fraction));
  }
  const { m, e } = magnitudeOf(source);
  if (m === 0n) return sign;
  const format = width === 32 ? SINGLE : DOUBLE;
  const rounded = op.roundTo(format, source.sign, m, e);
  if (rounded.infinite) return sign | all;
  if (op.storeAborted) return 0n;
  // In these formats' encoding a carry out of the fraction goes into the exponent by itself.
  const place = format.min - fraction;
  const high = rounded.m >> BigInt(fraction);
  if (high === 0n) return sign | rounded.m;
  return sign | (rounded.m + (BigInt(rounded.e - place) << BigInt(fraction)));
}

/** A signed integer as a register's number; exact. */
export function fromInteger(value: bigint): Float80 {
  return pack(value < 0n ? 1 : 0, value < 0n ? -value : value, 0);
}

/**
 * FIST, FISTP and, with `truncate`, FISTTP: the integer as an unsigned word of `width` bits. What does not fit is #I
 * and the integer indefinite, the most negative number (SDM Vol. 1, 8.2.1 and 8.5.1.2).
 */
export function toInteger(op: Operation, value: Float80, width: 16 | 32 | 64, truncate: boolean): bigint {
  const limit = 1n << BigInt(width - 1);
  const rounded = wholeNumber(op, value, truncate, (m) => m < limit || (m === limit && value.sign === 1));
  if (rounded === undefined) return limit;
  return BigInt.asUintN(width, value.sign ? -rounded : rounded);
}

/** Rounds to a whole magnitude; undefined and #I if there is none or it does not fit. */
function wholeNumber(
  op: Operation,
  value: Float80,
  truncate: boolean,
  fits: (m: bigint) => boolean,
): bigint | undefined {
  const kind = classify(value);
  if ((kind !== "normal" && kind !== "denormal" && kind !== "zero") || value.exponent > BIAS + 64) {
    op.raise(X87_FLAG.IE);
    return undefined;
  }
  const { m, e } = magnitudeOf(value);
  const cut = op.cut(value.sign, m, e, 0, truncate ? ROUND.zero : op.rounding);
  if (!fits(cut.m)) {
    op.raise(X87_FLAG.IE);
    return undefined;
  }
  if (cut.inexact) op.raise(X87_FLAG.PE);
  op.roundedUp = cut.up;
  return cut.m;
}

const BCD_LIMIT = 10n ** 18n;
/** The packed BCD indefinite (SDM Vol. 1, table 4-4). */
const BCD_INDEFINITE = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff);

/** FBLD: eighteen packed decimal digits and a sign; digits above 9 are taken as they are. */
export function fromDecimal(bytes: Uint8Array): Float80 {
  let value = 0n;
  for (let i = 8; i >= 0; i--) value = value * 100n + BigInt((bytes[i] >> 4) * 10 + (bytes[i] & 15));
  return pack((bytes[9] >> 7) as 0 | 1, value, 0);
}

/** FBSTP (SDM Vol. 2A, FBSTP). */
export function toDecimal(op: Operation, value: Float80): Uint8Array {
  let rest = wholeNumber(op, value, false, (m) => m < BCD_LIMIT);
  if (rest === undefined) return BCD_INDEFINITE;
  const bytes = new Uint8Array(10);
  for (let i = 0; i < 9; i++) {
    const pair = Number(rest % 100n);
    bytes[i] = (Math.floor(pair / 10) << 4) | (pair % 10);
    rest /= 100n;
  }
  bytes[9] = value.sign << 7;
  return bytes;
}
