import { type F32Expr, f32, type V128Expr } from "../wasm/expr.ts";
import { f32x4, i32x4, v128 } from "../wasm/simd.ts";
import { readScalar, writeScalar } from "./float-arithmetic.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";
import { lanes, sourcesOf, unaryParts, withVex, ZERO } from "./vector-operands.ts";

/**
 * RCPPS and RSQRTPS (SDM Vol. 2B). The manual bounds the relative error by 1.5 × 2^-12, and processors differ within
 * it: they look up a table by the leading 12 bits of the fraction. Ours is the function at the middle of the interval
 * that those bits name, rounded to 12 bits. No exception is raised; rounding control, DAZ and FTZ have no effect:
 * denormals count as zeros and become them.
 */

const SIGN = lanes(32, 1n << 31n);
const INFINITY = lanes(32, 0x7f80_0000);
const MIN_NORMAL = lanes(32, 0x0080_0000);
/** The leading 12 bits of a fraction with sign and exponent, and the middle of the interval below them. */
const LEADING = lanes(32, 0xffff_f800);
const MIDDLE = lanes(32, 0x0000_0400);
const QUIET = lanes(32, 0x0040_0000);
const INDEFINITE = lanes(32, 0xffc0_0000);

function approximate(e: Translator, x: V128Expr, ofSquareRoot: boolean): V128Expr {
  const size = e.let(v128.andnot(x, SIGN));
  const sign = e.let(v128.and(x, SIGN));
  const middle = v128.or(v128.and(x, LEADING), MIDDLE);
  const quotient = e.let(f32x4.div(f32x4.splat(f32.const(1)), ofSquareRoot ? f32x4.sqrt(middle) : middle));
  const rounded = v128.and(i32x4.add(quotient, MIDDLE), LEADING);
  const isSmall = (value: V128Expr): V128Expr => i32x4.ltS(value, MIN_NORMAL);
  const pick = (condition: V128Expr, yes: V128Expr, no: V128Expr): V128Expr =>
    e.let(v128.bitselect(yes, no, condition));
  let result = pick(isSmall(v128.andnot(quotient, SIGN)), sign, rounded);
  result = pick(i32x4.eq(size, INFINITY), sign, result);
  if (ofSquareRoot) result = pick(i32x4.ltS(x, ZERO), INDEFINITE, result);
  result = pick(isSmall(size), v128.or(sign, INFINITY), result);
  return pick(i32x4.gtS(size, INFINITY), v128.or(x, QUIET), result);
}

for (const ofSquareRoot of [false, true]) {
  const stem = ofSquareRoot ? "Rsqrt" : "Rcp";
  define(withVex(`${stem}ps`), `Vol. 2B, ${stem.toUpperCase()}PS`, (e) =>
    unaryParts(e, (a) => approximate(e, a, ofSquareRoot)),
  );
  define(withVex(`${stem}ss`), `Vol. 2B, ${stem.toUpperCase()}SS`, (e) => {
    const source = e.let(f32x4.splat(readScalar(e, 32, sourcesOf(e)[1]) as F32Expr));
    writeScalar(e, 32, f32x4.extract(approximate(e, source, ofSquareRoot), 0));
  });
}
