import { STATE } from "../../cpu/state.ts";
import { I32, type I32Expr, I64, type I64Expr, i32, i64, type LocalRef } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";

/** Exception flags of MXCSR, and its controls (SDM Vol. 1, 10.2.3). */
export const MXCSR = {
  IE: 1 << 0,
  DE: 1 << 1,
  ZE: 1 << 2,
  OE: 1 << 3,
  UE: 1 << 4,
  PE: 1 << 5,
  DAZ: 1 << 6,
  /** The mask of each flag is this many bits above it. */
  maskShift: 7,
  OM: 1 << 10,
  UM: 1 << 11,
  masks: 0x3f << 7,
  roundShift: 13,
  RC: 3 << 13,
  FTZ: 1 << 15,
} as const;

/** Rounding control (SDM Vol. 1, table 4-8). */
export const ROUND = { nearest: 0, down: 1, up: 2, truncate: 3 } as const;

export type Precision = 16 | 32 | 64;

/** An IEEE 754 binary format, with its constants as 64-bit integers. */
export interface Format {
  readonly width: Precision;
  /** Bits of the fraction field. */
  readonly fraction: number;
  readonly bias: number;
  /** The exponent field of infinities and NaNs. */
  readonly special: number;
  readonly sign: bigint;
  /** All but the sign. */
  readonly magnitude: bigint;
  readonly infinity: bigint;
  /** Set in a quiet NaN. */
  readonly quiet: bigint;
  /** The smallest normal number; the hidden bit of a significand. */
  readonly hidden: bigint;
  /** What the processor gives for an invalid operation (SDM Vol. 1, 4.2.2, "real indefinite"). */
  readonly indefinite: bigint;
  /** The shift that brings the hidden bit to bit 62, where unpacked significands have it. */
  readonly shift: number;
}

function format(width: Precision, fraction: number, exponentBits: number): Format {
  const special = (1 << exponentBits) - 1;
  const sign = 1n << BigInt(width - 1);
  const infinity = BigInt(special) << BigInt(fraction);
  const quiet = 1n << BigInt(fraction - 1);
  return {
    width,
    fraction,
    bias: special >> 1,
    special,
    sign,
    magnitude: sign - 1n,
    infinity,
    quiet,
    hidden: 1n << BigInt(fraction),
    indefinite: sign | infinity | quiet,
    shift: 62 - fraction,
  };
}

export const FORMAT: Readonly<Record<Precision, Format>> = {
  16: format(16, 10, 5),
  32: format(32, 23, 8),
  64: format(64, 52, 11),
};

export const n = (value: number | bigint): I64Expr => i64.const(value);

export const magnitude = (at: Format, x: I64Expr): I64Expr => i64.and(x, n(at.magnitude));
export const signOf = (at: Format, x: I64Expr): I64Expr => i64.and(x, n(at.sign));
export const isNaN64 = (at: Format, x: I64Expr): I32Expr => i64.gtU(magnitude(at, x), n(at.infinity));
export const isInfinite = (at: Format, x: I64Expr): I32Expr => i64.eq(magnitude(at, x), n(at.infinity));
export const isZero = (at: Format, x: I64Expr): I32Expr => i64.eqz(magnitude(at, x));
/** Not zero, and below the smallest normal number. */
export const isDenormal = (at: Format, x: I64Expr): I32Expr =>
  i64.ltU(i64.sub(magnitude(at, x), n(1)), n(at.hidden - 1n));
export const isSignaling = (at: Format, x: I64Expr): I32Expr =>
  i32.and(isNaN64(at, x), i64.eqz(i64.and(x, n(at.quiet))));

/** Parameter 0 of every floating-point helper: the address of the CPU state. */
export const cpuOf = (f: FunctionBuilder): I32Expr => f.param(0, I32);
export const mxcsrOf = (f: FunctionBuilder): I32Expr => i32.load(cpuOf(f), STATE.mxcsr);
export const hasMxcsr = (f: FunctionBuilder, bits: number): I32Expr => i32.and(mxcsrOf(f), i32.const(bits));

/** MXCSR.RC, one of ROUND. */
export const roundingMode = (f: FunctionBuilder): I32Expr =>
  i32.and(i32.shrU(mxcsrOf(f), i32.const(MXCSR.roundShift)), i32.const(3));

/** Notes exceptions of this instruction; the instruction's end moves them to MXCSR ("commitFloat"). */
export function note(f: FunctionBuilder, flags: number | I32Expr): void {
  const value = typeof flags === "number" ? i32.const(flags) : flags;
  f.storeI32(cpuOf(f), i32.or(i32.load(cpuOf(f), STATE.scratch), value), STATE.scratch);
}

/** A mutable copy of a value. */
export function variable(f: FunctionBuilder, value: I64Expr): LocalRef<typeof I64> {
  const local = f.local(I64);
  f.set(local, value);
  return local;
}

const hasDaz = (f: FunctionBuilder): I32Expr => i32.ne(hasMxcsr(f, MXCSR.DAZ), i32.const(0));

/** DAZ: a denormal operand counts as a zero of its sign, and does not set DE (SDM Vol. 1, 10.2.3.4). */
export function flushDenormal(f: FunctionBuilder, at: Format, x: LocalRef<typeof I64>): void {
  f.if(i32.and(isDenormal(at, x), hasDaz(f)), () => f.set(x, signOf(at, x)));
}

/** Notes DE for a denormal operand (SDM Vol. 1, 11.5.2.2). */
export function noteDenormal(f: FunctionBuilder, at: Format, x: I64Expr): void {
  f.if(isDenormal(at, x), () => note(f, MXCSR.DE));
}

/** Both of these. */
export function denormalOperand(f: FunctionBuilder, at: Format, x: LocalRef<typeof I64>): void {
  flushDenormal(f, at, x);
  noteDenormal(f, at, x);
}

/** A finite number taken apart: magnitude = significand × 2^(exponent − bias − 62), its leading one at bit 62, or 0. */
export interface Unpacked {
  readonly exponent: LocalRef<typeof I64>;
  readonly significand: LocalRef<typeof I64>;
}

/** Takes a finite number apart. */
export function unpack(f: FunctionBuilder, at: Format, x: I64Expr): Unpacked {
  const exponent = variable(f, i64.shrU(magnitude(at, x), n(at.fraction)));
  const significand = variable(f, i64.shl(i64.and(x, n(at.hidden - 1n)), n(at.shift)));
  f.if(
    i64.eqz(exponent),
    () => {
      f.if(i64.ne(significand, n(0)), () => {
        const shift = f.let(i64.sub(i64.clz(significand), n(1)));
        f.set(significand, i64.shl(significand, shift));
        f.set(exponent, i64.sub(n(1), shift));
      });
    },
    () => f.set(significand, i64.or(significand, n(1n << 62n))),
  );
  return { exponent, significand };
}

/** Shifts right by a count that is not negative; lost ones are kept as bit 0 ("jamming"). */
export function shiftRightJam(f: FunctionBuilder, x: LocalRef<typeof I64>, count: I64Expr): void {
  const by = f.let(count);
  f.if(
    i64.gtU(by, n(62)),
    () => f.set(x, i64.extendI32U(i64.ne(x, n(0)))),
    () => {
      const shifted = f.let(i64.shrU(x, by));
      f.set(x, i64.or(shifted, i64.extendI32U(i64.ne(i64.shl(shifted, by), x))));
    },
  );
}
