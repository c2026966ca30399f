import { REG } from "../cpu/state.ts";
import { I32, type I32Expr, i32, i64, select, type V128Expr } from "../wasm/expr.ts";
import { i8x16, i16x8, i64x2, v128 } from "../wasm/simd.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";
import { lanes, lastImmediate, readPart, withVex, ZERO } from "./vector-operands.ts";

/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM Vol. 2B, 4.1: the fields of the immediate). */

/** Elements before the first zero one. */
function implicitLength(e: Translator, vector: V128Expr, count: number): I32Expr {
  const zeros = count === 16 ? i8x16.bitmask(i8x16.eq(vector, ZERO)) : i16x8.bitmask(i16x8.eq(vector, ZERO));
  return e.let(i32.ctz(i32.or(zeros, i32.const(1 << count))));
}

/** The magnitude of a register, at most `count`. */
function explicitLength(e: Translator, register: number, width: 32 | 64, count: number): I32Expr {
  const value = e.let(e.signExtend(e.gpr(register, width), width));
  const size = e.let(select(i64.ltS(value, i64.const(0)), i64.sub(i64.const(0), value), value));
  return e.let(i32.wrap(select(i64.gtU(size, i64.const(count)), i64.const(count), size)));
}

/** @param lengthWidth width of the lengths in RAX and RDX; undefined if a zero element ends a string */
function compareStrings(e: Translator, lengthWidth: 32 | 64 | undefined, toIndex: boolean): void {
  const immediate = lastImmediate(e);
  const count = immediate & 1 ? 8 : 16;
  const full = (1 << count) - 1;
  const b = readPart(e, 1, { unaligned: true });
  const a = readPart(e, 0);
  const lengthOf = (register: number, vector: V128Expr): I32Expr =>
    lengthWidth === undefined ? implicitLength(e, vector, count) : explicitLength(e, register, lengthWidth, count);
  const lengthA = lengthOf(REG.RAX, a);
  const lengthB = lengthOf(REG.RDX, b);
  const first = e.let(e.callHelper(`compareStrings${immediate & 15}`, I32, [a, b, lengthA, lengthB]));
  // Polarity: as it is, or negated, there all bits or only those of valid elements of b.
  let inverted: I32Expr = i32.const(0);
  if (immediate & 0x10) {
    inverted = immediate & 0x20 ? i32.sub(i32.shl(i32.const(1), lengthB), i32.const(1)) : i32.const(full);
  }
  const result = e.let(i32.xor(first, inverted));
  const any = e.let(i32.ne(result, i32.const(0)));
  if (toIndex) {
    const index = immediate & 0x40 ? i32.sub(i32.const(31), i32.clz(result)) : i32.ctz(result);
    e.setGpr(REG.RCX, i64.extendI32U(select(any, index, i32.const(count))), 32);
  } else {
    const mask = immediate & 0x40 ? elementMask(result, count) : i64x2.replace(ZERO, 0, i64.extendI32U(result));
    e.setVectorByNumber(0, 0, mask);
    if (e.instruction.vex) for (let part = 1; part < 4; part++) e.setVectorByNumber(0, part, ZERO);
  }
  e.flagsExplicit({
    cf: any,
    zf: i32.ltU(lengthB, i32.const(count)),
    sf: i32.ltU(lengthA, i32.const(count)),
    of: i32.and(result, i32.const(1)),
    af: i32.const(0),
    pf: i32.const(0),
  });
}

/** All ones in each element whose bit is set. */
function elementMask(bits: I32Expr, count: number): V128Expr {
  if (count === 8) {
    const powers = lanes(16, 1, 2, 4, 8, 16, 32, 64, 128);
    return i16x8.eq(v128.and(i16x8.splat(bits), powers), powers);
  }
  const powers = lanes(8, 1, 2, 4, 8, 16, 32, 64, 128);
  const spread = v128.shuffle(i16x8.splat(bits), ZERO, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
  return i8x16.eq(v128.and(spread, powers), powers);
}

for (const [suffix, toIndex] of [
  ["i", true],
  ["m", false],
] as const) {
  const sdm = `Vol. 2B, PCMPESTR${suffix.toUpperCase()}, PCMPISTR${suffix.toUpperCase()}`;
  const options = { immediateInForm: true } as const;
  define(withVex(`Pcmpistr${suffix}`), sdm, (e) => compareStrings(e, undefined, toIndex), options);
  define(withVex(`Pcmpestr${suffix}`), sdm, (e) => compareStrings(e, 32, toIndex), options);
  define(withVex(`Pcmpestr${suffix}64`), sdm, (e) => compareStrings(e, 64, toIndex), options);
}
