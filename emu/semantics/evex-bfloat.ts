import { STATE } from "../cpu/state.ts";
import { i32, i64, V128, type V128Expr } from "../wasm/expr.ts";
import { i16x8, i32x4, v128 } from "../wasm/simd.ts";
import { MXCSR } from "./helpers/float-format.ts";
import { packedName } from "./helpers/packed-float.ts";
import { defineEvex } from "./table.ts";
import type { Translator } from "./translator.ts";
import { lanes, readParts, writeParts, ZERO } from "./vector-operands.ts";

/**
 * BFloat16, the upper half of a single (SDM Vol. 2C, VCVTNEPS2BF16, VCVTNE2PS2BF16, VDPBF16PS): round to nearest,
 * denormals are zeros and become them, no exceptions, whatever MXCSR says.
 */

/** The singles of a part as bfloats, in the low half of each double word. */
function toBfloats(e: Translator, x: V128Expr): V128Expr {
  const size = e.let(v128.and(x, lanes(32, 0x7fff_ffff)));
  const upper = e.let(i32x4.shrU(x, i32.const(16)));
  const half = i32x4.add(v128.and(upper, lanes(32, 1)), lanes(32, 0x7fff));
  const rounded = i32x4.shrU(i32x4.add(x, half), i32.const(16));
  const isUnordered = i32x4.gtS(size, lanes(32, 0x7f80_0000));
  const isSmall = i32x4.ltS(size, lanes(32, 0x0080_0000));
  const number = v128.bitselect(v128.and(upper, lanes(32, 0x8000)), rounded, isSmall);
  return e.let(v128.bitselect(v128.or(upper, lanes(32, 0x40)), number, isUnordered));
}

/** Two parts of double words as one of words. */
const joined = (e: Translator, low: V128Expr, high: V128Expr): V128Expr => e.let(i16x8.narrowI32x4U(low, high));

defineEvex("Vcvtneps2bf16", "Vol. 2C, VCVTNEPS2BF16", (e) => {
  const parts = readParts(e, 1).map((x) => toBfloats(e, x));
  const results: V128Expr[] = [];
  for (let i = 0; i < parts.length; i += 2) results.push(joined(e, parts[i], parts[i + 1] ?? ZERO));
  writeParts(e, 0, results);
});
defineEvex("Vcvtne2ps2bf16", "Vol. 2C, VCVTNE2PS2BF16", (e) => {
  const low = readParts(e, 2);
  const parts = [...low, ...readParts(e, 1)].map((x) => toBfloats(e, x));
  writeParts(
    e,
    0,
    low.map((_, i) => joined(e, parts[2 * i], parts[2 * i + 1])),
  );
});

/** Each single plus two products, one after the other and each sum rounded, the odd elements first. */
defineEvex("Vdpbf16ps", "Vol. 2C, VDPBF16PS", (e) => {
  const b = readParts(e, 2);
  const a = readParts(e, 1);
  const sums = readParts(e, 0);
  const own = e.let(e.state(STATE.mxcsr, 32));
  e.setState(STATE.mxcsr, i64.const(MXCSR.masks | MXCSR.DAZ | MXCSR.FTZ), 32);
  const odd = (x: V128Expr): V128Expr => v128.and(x, lanes(32, 0xffff_0000));
  const even = (x: V128Expr): V128Expr => i32x4.shl(x, i32.const(16));
  const none = i32.const(0);
  const results = sums.map((sum, part) => {
    const step = (half: (x: V128Expr) => V128Expr, to: V128Expr): V128Expr => {
      const args = [e.stateAddress(), half(a[part]), half(b[part]), to, none, none];
      return e.let(e.callHelper(packedName("fma", 32), V128, args));
    };
    return step(even, step(odd, sum));
  });
  e.setState(STATE.mxcsr, own, 32);
  e.setState(STATE.scratch, i64.const(0), 32);
  writeParts(e, 0, results);
});
