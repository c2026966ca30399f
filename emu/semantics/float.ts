import { VECTOR } from "../cpu/exits.ts";
import { STATE } from "../cpu/state.ts";
import {
  type Expr,
  F32,
  type F32Expr,
  F64,
  type F64Expr,
  f32,
  f64,
  I32,
  type I32Expr,
  I64,
  type I64Expr,
  i32,
  i64,
  select,
  V128,
  type V128Expr,
  type ValType,
} from "../wasm/expr.ts";
import { f32x4, f64x2, i32x4, i64x2, v128 } from "../wasm/simd.ts";
import { suppressesExceptions } from "./embedded-rounding.ts";
import { MXCSR } from "./helpers/float-format.ts";
import { packedName } from "./helpers/packed-float.ts";
import { FAST_MASK, FAST_VALUE } from "./helpers/soft-float.ts";
import { elementBits, isMasked } from "./opmask.ts";
import type { Translator } from "./translator.ts";
import { binaryParts, lanes, unaryParts } from "./vector-operands.ts";

/**
 * Where floating-point instructions decide between WebAssembly's arithmetic and exact emulation.
 *
 * WebAssembly computes with round-to-nearest, has no exception flags and leaves a NaN's bits open. Its result is the
 * processor's, flags and all, if (1) MXCSR is in its usual state, with all exceptions masked, PE already set, no DAZ
 * and FTZ; and (2) every operand is *ordinary*: a normal number of such an exponent that no result can be a NaN, an
 * infinity, denormal or even near that. Both tests are a few integer operations. Whatever fails them goes to a helper
 * (helpers/soft-float.ts), which is right for every state and operand. MXCSR: SDM Vol. 1, 10.2.3; exceptions: 11.5.
 */

export type Precision = 32 | 64;
export type FloatExpr = F32Expr | F64Expr;

/** Are both of these truths true? `first` may be known. */
export function both(first: I32Expr, second: I32Expr): I32Expr {
  return first.value === 1 ? second : i32.and(first, second);
}

/** MXCSR is in the state in which (inexact) arithmetic needs no flag. */
export function isArithmeticFast(e: Translator): I32Expr {
  return modeIs(e, FAST_MASK, FAST_VALUE);
}

/** The same for operations that are never inexact: compares, minimum and maximum. */
export function isExactFast(e: Translator): I32Expr {
  const mask = MXCSR.masks | MXCSR.DAZ;
  return modeIs(e, mask, MXCSR.masks);
}

/** With embedded rounding MXCSR is not the program's: nothing may be learnt from it, or leave because of it. */
function modeIs(e: Translator, mask: number, value: number): I32Expr {
  if (suppressesExceptions(e.instruction)) return i32.eq(i32.and(mxcsr(e), i32.const(mask)), i32.const(value));
  return e.mxcsrIs(mask, value);
}

export const mxcsr = (e: Translator): I32Expr => i32.wrap(e.state(STATE.mxcsr, 32));

/**
 * Ranges of exponents as a subtrahend and a mask of bit patterns: in range if pattern − start has no bit of the mask.
 * `narrow` (2^-256 to 2^256, 2^-32 to 2^32) keeps quotients ordinary, and products within `wide` (2^-512 to 2^512, 2^-64
 * to 2^64), which keeps sums ordinary; `single` (2^±63) conversions to single precision.
 */
export type Range = "narrow" | "wide" | "single";
const RANGES = {
  narrow: { 64: { start: 767n << 52n, mask: 3n << 61n }, 32: { start: 95n << 23n, mask: 3n << 29n } },
  wide: { 64: { start: 511n << 52n, mask: 1n << 62n }, 32: { start: 63n << 23n, mask: 1n << 30n } },
  single: { 64: { start: 960n << 52n, mask: 15n << 59n }, 32: { start: 64n << 23n, mask: 1n << 30n } },
} as const;

const sign = { 64: 1n << 63n, 32: 1n << 31n } as const;

/** Are all of these scalars ordinary? With `positive`, their sign bit has to be clear too. */
export function ordinaryScalars(
  width: Precision,
  range: Range,
  values: readonly FloatExpr[],
  positive = false,
): I32Expr {
  const { start, mask: bits } = RANGES[range][width];
  const mask = positive ? bits | sign[width] : bits;
  if (width === 64) {
    const shifted = values.map((value) => i64.sub(i64.reinterpretF64(value as F64Expr), i64.const(start)));
    return i64.eqz(i64.and(shifted.reduce(i64.or), i64.const(mask)));
  }
  const shifted = values.map((value) => i32.sub(i32.reinterpretF32(value as F32Expr), i32.const(Number(start))));
  return i32.eqz(i32.and(shifted.reduce(i32.or), i32.const(Number(BigInt.asIntN(32, mask)))));
}

/**
 * Takes scalars for zero or ordinary, if the translator does that: for operations that are as they should be with zeros.
 * @param usual MXCSR is as it has to be
 */
export function assumeOrdinary(
  e: Translator,
  usual: I32Expr,
  width: Precision,
  range: Range,
  values: readonly FloatExpr[],
): boolean {
  const allowed = ({ value }: I32Expr): boolean => value === 1;
  return allowed(usual) && e.assumeOrdinary(values, range, (unknown) => ordinaryScalars(width, range, unknown));
}

/** Are all lanes of these vectors ordinary? */
export function ordinaryVectors(
  width: Precision,
  range: Range,
  values: readonly V128Expr[],
  positive = false,
): I32Expr {
  const { start, mask: bits } = RANGES[range][width];
  const mask = positive ? bits | sign[width] : bits;
  const sub = width === 64 ? i64x2.sub : i32x4.sub;
  const shifted = values.map((value) => sub(value, lanes(width, start)));
  return i32.eqz(v128.anyTrue(v128.and(shifted.reduce(v128.or), lanes(width, mask))));
}

/** A local that gets `quick` if `condition` holds, else `slow` with what its exceptions ask for. Pinned. */
export function fastOr<T extends ValType>(
  e: Translator,
  condition: I32Expr,
  type: T,
  quick: () => Expr<T>,
  slow: () => Expr<T>,
): Expr<T> {
  return decide(e, condition, type, quick, () => {
    const value = e.let(slow());
    finishExceptions(e);
    return value;
  });
}

/** The same for vectors: the instruction ends with `finishExceptions` when all of its parts are computed. */
export function fastOrPacked(e: Translator, condition: I32Expr, quick: () => V128Expr, slow: () => V128Expr): V128Expr {
  return decide(e, condition, V128, quick, slow);
}

function decide<T extends ValType>(
  e: Translator,
  condition: I32Expr,
  type: T,
  quick: () => Expr<T>,
  slow: () => Expr<T>,
): Expr<T> {
  const result = e.local(type);
  e.if(
    condition,
    () => e.set(result, quick()),
    () => e.set(result, slow()),
    true,
  );
  return e.let(result as Expr<T>);
}

/**
 * Ends a computation in which helpers may have noted exceptions: sets MXCSR's flags, and #XM if one is not masked.
 * Those of all lanes count together (SDM Vol. 1, 11.5.1).
 */
export function finishExceptions(e: Translator): void {
  if (suppressesExceptions(e.instruction)) return;
  e.if(i32.wrap(e.state(STATE.scratch, 32)), () => {
    e.if(e.callHelper("commitFloat", I32, [e.stateAddress()]), () => e.raise(VECTOR.XM));
  });
}

/** dst = op(a, b) on whole parts, for floating-point operations. */
export function floatBinaryParts(e: Translator, op: (a: V128Expr, b: V128Expr) => V128Expr): void {
  binaryParts(e, op, { float: floatWidth(e) }, () => finishExceptions(e));
}

/** dst = op(source) on whole parts, for floating-point operations. */
export function floatUnaryParts(e: Translator, op: (a: V128Expr) => V128Expr): void {
  unaryParts(e, op, { float: floatWidth(e) }, () => finishExceptions(e));
}

/** Width of the elements, where an opmask makes it matter. */
const floatWidth = (e: Translator): 32 | 64 | undefined =>
  isMasked(e) ? (elementBits(e.instruction) as 32 | 64) : undefined;

/** A scalar as helpers take it: its bits, zero-extended. */
export const bitsOf = (width: Precision, value: FloatExpr): I64Expr =>
  width === 64 ? i64.reinterpretF64(value as F64Expr) : i64.extendI32U(i32.reinterpretF32(value as F32Expr));

export function floatOf(width: 64, bits: I64Expr): F64Expr;
export function floatOf(width: 32, bits: I64Expr): F32Expr;
export function floatOf(width: Precision, bits: I64Expr): FloatExpr;
export function floatOf(width: Precision, bits: I64Expr): FloatExpr {
  return width === 64 ? f64.reinterpretI64(bits) : f32.reinterpretI32(i32.wrap(bits));
}

export type BinaryOperation = "add" | "sub" | "mul" | "div" | "min" | "max";

interface Row {
  readonly range: Range;
  readonly exact: boolean;
  readonly scalar: Readonly<Record<Precision, (a: FloatExpr, b: FloatExpr) => FloatExpr>>;
  readonly packed: Readonly<Record<Precision, (a: V128Expr, b: V128Expr) => V128Expr>>;
}

function row(op: "add" | "sub" | "mul" | "div", range: Range): Row {
  return {
    range,
    exact: false,
    scalar: {
      32: (a, b) => f32[op](a as F32Expr, b as F32Expr),
      64: (a, b) => f64[op](a as F64Expr, b as F64Expr),
    },
    packed: { 32: f32x4[op], 64: f64x2[op] },
  };
}

/** MINxx is a < b ? a : b, which is WebAssembly's pmin(b, a). */
function extremum(compare: "lt" | "gt", packed: "pmin" | "pmax"): Row {
  return {
    range: "wide",
    exact: true,
    scalar: {
      32: (a, b) => select(f32[compare](a as F32Expr, b as F32Expr), a as F32Expr, b as F32Expr),
      64: (a, b) => select(f64[compare](a as F64Expr, b as F64Expr), a as F64Expr, b as F64Expr),
    },
    packed: { 32: (a, b) => f32x4[packed](b, a), 64: (a, b) => f64x2[packed](b, a) },
  };
}

const OPERATIONS: Readonly<Record<BinaryOperation, Row>> = {
  add: row("add", "wide"),
  sub: row("sub", "wide"),
  mul: row("mul", "narrow"),
  div: row("div", "narrow"),
  min: extremum("lt", "pmin"),
  max: extremum("gt", "pmax"),
};

/** a op b as the processor computes it; operands pinned, result pinned. */
export function scalarBinary(
  e: Translator,
  op: BinaryOperation,
  width: Precision,
  a: FloatExpr,
  b: FloatExpr,
): FloatExpr {
  const { range, exact, scalar } = OPERATIONS[op];
  const usual = exact ? isExactFast(e) : isArithmeticFast(e);
  // Nothing may be divided by zero.
  const free = op === "div" ? [a] : [a, b];
  const isAssumed = assumeOrdinary(e, usual, width, range, free);
  if (isAssumed && op !== "div") {
    const result = e.let(scalar[width](a, b));
    if (op === "mul") e.noteOrdinary(result, "wide");
    return result;
  }
  return fastOr<typeof F32 | typeof F64>(
    e,
    both(usual, ordinaryScalars(width, range, isAssumed ? [b] : [a, b])),
    width === 64 ? F64 : F32,
    () => scalar[width](a, b),
    () => floatOf(width, e.callHelper(`${op}${width}`, I64, [e.stateAddress(), bitsOf(width, a), bitsOf(width, b)])),
  );
}

/** The same for each lane of two vectors. */
export function packedBinary(e: Translator, op: BinaryOperation, width: Precision, a: V128Expr, b: V128Expr): V128Expr {
  const { range, exact, packed } = OPERATIONS[op];
  const usual = exact ? isExactFast(e) : isArithmeticFast(e);
  return fastOrPacked(
    e,
    both(usual, ordinaryVectors(width, range, [a, b])),
    () => packed[width](a, b),
    () => e.callHelper(packedName(op, width), V128, [e.stateAddress(), a, b]),
  );
}

/** ADDSUBPS, ADDSUBPD: the even lanes are subtracted. */
export function packedAddSub(e: Translator, width: Precision, a: V128Expr, b: V128Expr): V128Expr {
  const add = width === 64 ? f64x2.add : f32x4.add;
  return fastOrPacked(
    e,
    both(isArithmeticFast(e), ordinaryVectors(width, "wide", [a, b])),
    () => add(a, v128.xor(b, lanes(width, sign[width], 0n))),
    () => e.callHelper(packedName("addsub", width), V128, [e.stateAddress(), a, b]),
  );
}

/** The square root of a pinned scalar. */
export function scalarSqrt(e: Translator, width: Precision, a: FloatExpr): FloatExpr {
  return fastOr<typeof F32 | typeof F64>(
    e,
    both(isArithmeticFast(e), ordinaryScalars(width, "wide", [a], true)),
    width === 64 ? F64 : F32,
    () => (width === 64 ? f64.sqrt(a as F64Expr) : f32.sqrt(a as F32Expr)),
    () => floatOf(width, e.callHelper(`sqrt${width}`, I64, [e.stateAddress(), bitsOf(width, a)])),
  );
}

export function packedSqrt(e: Translator, width: Precision, a: V128Expr): V128Expr {
  return fastOrPacked(
    e,
    both(isArithmeticFast(e), ordinaryVectors(width, "wide", [a], true)),
    () => (width === 64 ? f64x2.sqrt(a) : f32x4.sqrt(a)),
    () => e.callHelper(packedName("sqrt", width), V128, [e.stateAddress(), a]),
  );
}
