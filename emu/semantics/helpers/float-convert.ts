import { type F64Expr, f32, f64, I32, type I32Expr, I64, type I64Expr, i32, i64, select } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import {
  cpuOf,
  FORMAT,
  flushDenormal,
  isInfinite,
  isNaN64,
  isSignaling,
  isZero,
  MXCSR,
  magnitude,
  n,
  note,
  noteDenormal,
  ROUND,
  roundingMode,
  signOf,
  unpack,
  variable,
} from "./float-format.ts";
import type { Helper, HelperCall } from "./helper.ts";

/**
 * Conversions between floating-point formats and integers, and rounding to an integral value, with the exceptions of
 * SDM Vol. 1, 11.5.2 and the results of table 11-1 where they are masked.
 */

type Width = 32 | 64;
const WIDTHS: readonly Width[] = [32, 64];

/** A number that is not a NaN, as f64; exact. */
const asF64 = (width: Width, bits: I64Expr): F64Expr =>
  width === 64 ? f64.reinterpretI64(bits) : f64.promoteF32(f32.reinterpretI32(i32.wrap(bits)));

/** Rounds to an integral value in a mode (ROUND) known at run time. Pinned. */
export function roundBy(f: FunctionBuilder, mode: I32Expr, x: F64Expr): F64Expr {
  const is = (which: number): I32Expr => i32.eq(mode, i32.const(which));
  const directed = select(is(ROUND.up), f64.ceil(x), f64.trunc(x));
  return f.let(select(is(ROUND.nearest), f64.nearest(x), select(is(ROUND.down), f64.floor(x), directed)));
}

/** toInt<to>From<from>(cpu, bits, truncate): a signed integer; the integer indefinite where it does not fit. */
function buildToInt(to: Width, from: Width): (f: FunctionBuilder) => void {
  const at = FORMAT[from];
  const limit = 2 ** (to - 1);
  return (f) => {
    const x = variable(f, f.param(1, I64));
    const indefinite = (): void => {
      note(f, MXCSR.IE);
      f.return(n(1n << BigInt(to - 1)));
    };
    f.if(isNaN64(at, x), indefinite);
    flushDenormal(f, at, x);
    const value = f.let(asF64(from, x));
    const mode = f.let(select(f.param(2, I32), i32.const(ROUND.truncate), roundingMode(f)));
    const rounded = roundBy(f, mode, value);
    f.if(i32.or(f64.lt(rounded, f64.const(-limit)), f64.ge(rounded, f64.const(limit))), indefinite);
    f.if(f64.ne(rounded, value), () => note(f, MXCSR.PE));
    const result = i64.truncSatF64S(rounded);
    f.return(to === 64 ? result : i64.and(result, n(0xffff_ffff)));
  };
}

/** toUint<to>From<from>(cpu, bits, truncate): an unsigned integer; all ones where it does not fit (SDM, VCVTPS2UDQ). */
function buildToUint(to: Width, from: Width): (f: FunctionBuilder) => void {
  const at = FORMAT[from];
  return (f) => {
    const x = variable(f, f.param(1, I64));
    const invalid = (): void => {
      note(f, MXCSR.IE);
      f.return(n(to === 64 ? -1n : 0xffff_ffffn));
    };
    f.if(isNaN64(at, x), invalid);
    flushDenormal(f, at, x);
    const value = f.let(asF64(from, x));
    const mode = f.let(select(f.param(2, I32), i32.const(ROUND.truncate), roundingMode(f)));
    const rounded = roundBy(f, mode, value);
    f.if(i32.or(f64.lt(rounded, f64.const(0)), f64.ge(rounded, f64.const(2 ** to))), invalid);
    f.if(f64.ne(rounded, value), () => note(f, MXCSR.PE));
    f.return(i64.truncSatF64U(rounded));
  };
}

/** fromUint<to>(cpu, integer): an unsigned 64-bit integer rounded to a float. */
function buildFromUint(to: Width): (f: FunctionBuilder, call: HelperCall) => void {
  const at = FORMAT[to];
  return (f, call) => {
    const x = f.param(1, I64);
    f.if(i64.eqz(x), () => f.return(n(0)));
    const zeros = f.let(i64.clz(x));
    const halved = i64.or(i64.shrU(x, n(1)), i64.and(x, n(1)));
    const significand = select(i64.eqz(zeros), halved, i64.shl(x, i64.sub(zeros, n(1))));
    const exponent = i64.sub(n(at.bias + 63), zeros);
    f.return(call(`roundPack${to}`, I64, [cpuOf(f), n(0), exponent, significand]));
  };
}

/** fromInt<to>(cpu, integer): a signed 64-bit integer rounded to a float. */
function buildFromInt(to: Width): (f: FunctionBuilder, call: HelperCall) => void {
  const at = FORMAT[to];
  return (f, call) => {
    const x = f.param(1, I64);
    f.if(i64.eqz(x), () => f.return(n(0)));
    const negative = f.let(i64.ltS(x, n(0)));
    const size = f.let(select(negative, i64.sub(n(0), x), x));
    const zeros = f.let(i64.clz(size));
    // Only 2^63 has no leading zero: it is shifted right, and loses nothing.
    const significand = select(i64.eqz(zeros), i64.shrU(size, n(1)), i64.shl(size, i64.sub(zeros, n(1))));
    const exponent = i64.sub(n(at.bias + 63), zeros);
    f.return(call(`roundPack${to}`, I64, [cpuOf(f), select(negative, n(at.sign), n(0)), exponent, significand]));
  };
}

/** The quiet NaN of another format with the same sign and leading bits of the payload; IE for a signaling one. */
function convertNaN(f: FunctionBuilder, from: 16 | 32 | 64, to: 16 | 32 | 64, x: I64Expr): I64Expr {
  const [a, b] = [FORMAT[from], FORMAT[to]];
  f.if(isSignaling(a, x), () => note(f, MXCSR.IE));
  const payload = i64.and(x, n(a.hidden - 1n));
  const moved =
    from < to ? i64.shl(payload, n(b.fraction - a.fraction)) : i64.shrU(payload, n(a.fraction - b.fraction));
  const sign = signOf(a, x);
  const movedSign = from < to ? i64.shl(sign, n(to - from)) : i64.shrU(sign, n(from - to));
  return i64.or(i64.or(moved, movedSign), n(b.infinity | b.quiet));
}

/** narrow64(cpu, bits): double to single precision. */
function buildNarrow(f: FunctionBuilder, call: HelperCall): void {
  const at = FORMAT[64];
  const x = variable(f, f.param(1, I64));
  f.if(isNaN64(at, x), () => f.return(convertNaN(f, 64, 32, x)));
  flushDenormal(f, at, x);
  noteDenormal(f, at, x);
  const sign = f.let(i64.shrU(signOf(at, x), n(32)));
  f.if(isInfinite(at, x), () => f.return(i64.or(sign, n(FORMAT[32].infinity))));
  f.if(isZero(at, x), () => f.return(sign));
  const { exponent, significand } = unpack(f, at, x);
  const rebiased = i64.sub(exponent, n(at.bias - FORMAT[32].bias));
  f.return(call("roundPack32", I64, [cpuOf(f), sign, rebiased, significand]));
}

/** widen32(cpu, bits): single to double precision. */
function buildWiden(f: FunctionBuilder): void {
  const at = FORMAT[32];
  const x = variable(f, f.param(1, I64));
  f.if(isNaN64(at, x), () => f.return(convertNaN(f, 32, 64, x)));
  flushDenormal(f, at, x);
  noteDenormal(f, at, x);
  f.return(i64.reinterpretF64(asF64(32, x)));
}

/** widen16(cpu, bits): half to single precision; denormals are numbers like others, whatever DAZ (SDM, VCVTPH2PS). */
function buildWidenHalf(f: FunctionBuilder): void {
  const at = FORMAT[16];
  const x = f.param(1, I64);
  f.if(isNaN64(at, x), () => f.return(convertNaN(f, 16, 32, x)));
  const sign = f.let(i64.shl(signOf(at, x), n(16)));
  f.if(isInfinite(at, x), () => f.return(i64.or(sign, n(FORMAT[32].infinity))));
  // A half's fields in a single's places are the number times 2^(15 - 127); the multiplication is exact.
  const scaled = f32.reinterpretI32(i32.shl(i32.wrap(magnitude(at, x)), i32.const(13)));
  const value = f32.mul(scaled, f32.const(2 ** 112));
  f.return(i64.or(sign, i64.extendI32U(i32.reinterpretF32(value))));
}

/** narrow32(cpu, bits, control): single to half precision; control is VCVTPS2PH's immediate. */
function buildNarrowHalf(f: FunctionBuilder, call: HelperCall): void {
  const at = FORMAT[32];
  const x = variable(f, f.param(1, I64));
  f.if(isNaN64(at, x), () => f.return(convertNaN(f, 32, 16, x)));
  flushDenormal(f, at, x);
  noteDenormal(f, at, x);
  const sign = f.let(i64.shrU(signOf(at, x), n(16)));
  f.if(isInfinite(at, x), () => f.return(i64.or(sign, n(FORMAT[16].infinity))));
  f.if(isZero(at, x), () => f.return(sign));
  const { exponent, significand } = unpack(f, at, x);
  const rebiased = i64.sub(exponent, n(at.bias - FORMAT[16].bias));
  const mode = modeOf(f, f.param(2, I32));
  f.return(call("roundPack16", I64, [cpuOf(f), sign, rebiased, significand, mode]));
}

/** Rounding mode of an immediate: its low two bits, or MXCSR's if bit 2 is set (SDM Vol. 2B, figure 4-24). */
export function modeOf(f: FunctionBuilder, control: I32Expr): I32Expr {
  const fromMxcsr = i32.and(control, i32.const(4));
  return f.let(select(fromMxcsr, roundingMode(f), i32.and(control, i32.const(3))));
}

/** round<width>(cpu, bits, control): to an integral value; bit 3 of control leaves PE alone (SDM Vol. 2B, ROUNDPD). */
function buildRound(width: Width): (f: FunctionBuilder, call: HelperCall) => void {
  const at = FORMAT[width];
  return (f, call) => {
    const x = variable(f, f.param(1, I64));
    const control = f.param(2, I32);
    f.if(isNaN64(at, x), () => f.return(call(`nan${width}`, I64, [cpuOf(f), x, x])));
    flushDenormal(f, at, x);
    const value = f.let(asF64(width, x));
    const rounded = roundBy(f, modeOf(f, control), value);
    const reports = i32.eqz(i32.and(control, i32.const(8)));
    f.if(i32.and(f64.ne(rounded, value), reports), () => note(f, MXCSR.PE));
    // An integral value of a single is a single.
    if (width === 64) f.return(i64.reinterpretF64(rounded));
    f.return(i64.extendI32U(i32.reinterpretF32(f32.demoteF64(rounded))));
  };
}

export const FLOAT_CONVERT_HELPERS: readonly Helper[] = [
  ...WIDTHS.flatMap((to) =>
    WIDTHS.map(
      (from): Helper => ({
        name: `toInt${to}From${from}`,
        params: [I32, I64, I32],
        result: I64,
        build: buildToInt(to, from),
      }),
    ),
  ),
  ...WIDTHS.flatMap((to) =>
    WIDTHS.map(
      (from): Helper => ({
        name: `toUint${to}From${from}`,
        params: [I32, I64, I32],
        result: I64,
        build: buildToUint(to, from),
      }),
    ),
  ),
  ...WIDTHS.map((to): Helper => ({ name: `fromUint${to}`, params: [I32, I64], result: I64, build: buildFromUint(to) })),
  ...WIDTHS.map((to): Helper => ({ name: `fromInt${to}`, params: [I32, I64], result: I64, build: buildFromInt(to) })),
  ...WIDTHS.map(
    (width): Helper => ({ name: `round${width}`, params: [I32, I64, I32], result: I64, build: buildRound(width) }),
  ),
  { name: "narrow64", params: [I32, I64], result: I64, build: buildNarrow },
  { name: "widen32", params: [I32, I64], result: I64, build: buildWiden },
  { name: "widen16", params: [I32, I64], result: I64, build: buildWidenHalf },
  { name: "narrow32", params: [I32, I64, I32], result: I64, build: buildNarrowHalf },
];
