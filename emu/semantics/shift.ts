import { type I32Expr, I64, type I64Expr, i32, i64, select } from "../wasm/expr.ts";
import { define } from "./table.ts";
import { CC, type Translator, type Width } from "./translator.ts";

const bit = (value: I64Expr, at: I64Expr): I32Expr => i32.wrap(i64.and(i64.shrU(value, at), i64.const(1)));
const n = (value: number): I64Expr => i64.const(value);

/** The count operand, cut to 5 bits, or 6 with a 64-bit operand (SDM Vol. 2B, SAL/SAR/SHL/SHR). */
function maskedCount(e: Translator, width: Width, i: number): I64Expr {
  return e.let(i64.and(e.read(i, 8), n(width === 64 ? 63 : 31)));
}

/**
 * A shift: flags change only for a count other than zero. OF is defined for a count of 1 alone; the same formula is
 * used for every count, as processors do.
 */
function shift(
  e: Translator,
  compute: (value: I64Expr, count: I64Expr, width: Width) => { result: I64Expr; cf: I32Expr; of: I32Expr },
): void {
  const width = e.width(0);
  const count = maskedCount(e, width, 1);
  const { old, set } = e.update(0);
  const { result, cf, of } = compute(old, count, width);
  set(result);
  e.if(i64.ne(count, n(0)), () => e.flagsResult(width, result, { cf: e.let(cf), of: e.let(of) }));
}

define(["Shl", "Sal"], "Vol. 2B, SAL/SAR/SHL/SHR", (e) =>
  shift(e, (value, count, width) => {
    const result = e.let(e.cut(i64.shl(value, count), width));
    // For counts above the width of 8- and 16-bit operands CF is 0: nothing is left to shift out.
    const cf = e.let(width === 64 ? bit(value, i64.sub(n(64), count)) : bit(i64.shl(value, count), n(width)));
    return { result, cf, of: i32.xor(cf, e.signBit(result, width)) };
  }),
);

define("Shr", "Vol. 2B, SAL/SAR/SHL/SHR", (e) =>
  shift(e, (value, count, width) => {
    const result = e.let(i64.shrU(value, count));
    return { result, cf: bit(value, i64.sub(count, n(1))), of: e.signBit(value, width) };
  }),
);

define("Sar", "Vol. 2B, SAL/SAR/SHL/SHR", (e) =>
  shift(e, (value, count, width) => {
    const wide = e.let(e.signExtend(value, width));
    const result = e.let(e.cut(i64.shrS(wide, count), width));
    return { result, cf: bit(i64.shrS(wide, i64.sub(count, n(1))), n(0)), of: i32.const(0) };
  }),
);

/** Rotates `value` left by `count` (below its width). */
function rotateLeft(e: Translator, value: I64Expr, count: I64Expr, width: Width): I64Expr {
  if (width === 64) return i64.rotl(value, count);
  return e.cut(i64.or(i64.shl(value, count), i64.shrU(value, i64.sub(n(width), count))), width);
}

/** ROL and ROR change CF and OF alone, and only for a masked count other than zero. */
function rotate(e: Translator, left: boolean): void {
  const width = e.width(0);
  const count = maskedCount(e, width, 1);
  const { old, set } = e.update(0);
  const turns = e.let(i64.and(left ? count : i64.sub(n(0), count), n(width - 1)));
  const result = e.let(rotateLeft(e, old, turns, width));
  set(result);
  e.if(i64.ne(count, n(0)), () => {
    const top = e.let(e.signBit(result, width));
    if (left) {
      const cf = e.let(bit(result, n(0)));
      e.flagsExplicit({ cf, of: e.let(i32.xor(cf, top)) });
    } else e.flagsExplicit({ cf: top, of: e.let(i32.xor(top, bit(result, n(width - 2)))) });
  });
}
define("Rol", "Vol. 2B, RCL/RCR/ROL/ROR", (e) => rotate(e, true));
define("Ror", "Vol. 2B, RCL/RCR/ROL/ROR", (e) => rotate(e, false));

/** RCL and RCR: a rotation of width + 1 bits through CF, done bit by bit in closed form. */
function rotateThroughCarry(e: Translator, left: boolean): void {
  const width = e.width(0);
  const masked = maskedCount(e, width, 1);
  const count = width < 32 ? e.let(i64.remU(masked, n(width + 1))) : masked;
  const { old, set } = e.update(0);
  const carryIn = e.let(i64.extendI32U(e.condition(CC.B)));
  // Shifts by `width` and more must give 0, which an i64 shift by 64 does not: one step is taken apart.
  const less = i64.sub(count, n(1));
  const away = left
    ? i64.shrU(i64.shrU(old, n(1)), i64.sub(n(width - 1), less))
    : i64.shl(i64.shl(old, n(1)), i64.sub(n(width - 1), less));
  const kept = left ? i64.shl(old, count) : i64.shrU(old, count);
  const carryPlace = left ? i64.shl(carryIn, less) : i64.shl(carryIn, i64.sub(n(width), count));
  const turned = e.cut(i64.or(i64.or(kept, carryPlace), away), width);
  // The bit that leaves last becomes CF; the part rotated in from the far side is one place short of it.
  const result = e.let(select(i64.eqz(count), old, turned));
  set(result);
  e.if(i64.ne(count, n(0)), () => {
    const cf = e.let(left ? bit(old, i64.sub(n(width), count)) : bit(old, less));
    const of = left
      ? i32.xor(cf, e.signBit(result, width))
      : i32.xor(e.signBit(result, width), bit(result, n(width - 2)));
    e.flagsExplicit({ cf, of: e.let(of) });
  });
}
define("Rcl", "Vol. 2B, RCL/RCR/ROL/ROR", (e) => rotateThroughCarry(e, true));
define("Rcr", "Vol. 2B, RCL/RCR/ROL/ROR", (e) => rotateThroughCarry(e, false));

/** SHLD and SHRD. For 16 bits a count above 16 is undefined; the concatenation is rotated on, as processors do. */
function doubleShift(e: Translator, left: boolean): void {
  const width = e.width(0);
  const count = maskedCount(e, width, 2);
  const fill = e.read(1);
  const { old, set } = e.update(0);
  const result = e.local(I64);
  const cf = e.local(I64);
  if (width === 16) {
    // old:fill:old, so that counts up to 31 find bits to shift in.
    const wide = e.let(i64.or(old, i64.or(i64.shl(fill, n(16)), i64.shl(old, n(32)))));
    e.set(result, e.cut(left ? i64.shrU(i64.shl(wide, count), n(32)) : i64.shrU(wide, count), 16));
    e.set(cf, left ? i64.shrU(i64.shl(wide, count), n(48)) : i64.shrU(wide, i64.sub(count, n(1))));
  } else {
    const rest = i64.sub(n(width - 1), count);
    const incoming = left ? i64.shrU(i64.shrU(fill, n(1)), rest) : i64.shl(i64.shl(fill, n(1)), rest);
    e.set(result, e.cut(i64.or(left ? i64.shl(old, count) : i64.shrU(old, count), incoming), width));
    e.set(cf, i64.shrU(old, left ? i64.sub(n(width), count) : i64.sub(count, n(1))));
  }
  e.if(i64.eqz(count), () => e.set(result, old));
  const final = e.let(result);
  set(final);
  e.if(i64.ne(count, n(0)), () => {
    const carry = e.let(bit(cf, n(0)));
    e.flagsResult(width, final, { cf: carry, of: e.let(e.signBit(e.let(i64.xor(final, old)), width)) });
  });
}
define("Shld", "Vol. 2B, SHLD", (e) => doubleShift(e, true));
define("Shrd", "Vol. 2B, SHRD", (e) => doubleShift(e, false));

/** BMI2 shifts: no flags, three operands. */
function flaglessShift(e: Translator, apply: (value: I64Expr, count: I64Expr, width: Width) => I64Expr): void {
  const width = e.width(0);
  const value = e.read(1);
  const count = e.let(i64.and(e.read(2, e.operand(2).kind === "immediate" ? 8 : width), n(width - 1)));
  e.write(0, e.cut(apply(value, count, width), width));
}
define("Shlx", "Vol. 2B, SARX/SHLX/SHRX", (e) => flaglessShift(e, (value, count) => i64.shl(value, count)));
define("Shrx", "Vol. 2B, SARX/SHLX/SHRX", (e) => flaglessShift(e, (value, count) => i64.shrU(value, count)));
define("Sarx", "Vol. 2B, SARX/SHLX/SHRX", (e) =>
  flaglessShift(e, (value, count, width) => i64.shrS(e.signExtend(value, width), count)),
);
define("Rorx", "Vol. 2B, RORX", (e) =>
  flaglessShift(e, (value, count, width) =>
    rotateLeft(e, value, e.let(i64.and(i64.sub(n(0), count), n(width - 1))), width),
  ),
);
