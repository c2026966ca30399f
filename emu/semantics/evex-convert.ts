import type { Mnemonic } from "iced-x86";
import { F32, type F32Expr, F64, type F64Expr, f32, f64, I64, type I64Expr, i32, type V128Expr } from "../wasm/expr.ts";
import { f32x4, f64x2, i64x2 } from "../wasm/simd.ts";
import { bitsOf, fastOr, fastOrPacked, finishExceptions, floatOf, isArithmeticFast, type Precision } from "./float.ts";
import { letter, readScalar, writeScalar } from "./float-arithmetic.ts";
import { byLane, joinHalves, lane32, readDoubles, widenSource } from "./float-convert.ts";
import { neutralized } from "./opmask.ts";
import { defineEvex } from "./table.ts";
import type { Translator } from "./translator.ts";
import { readParts, writeParts } from "./vector-operands.ts";

/** Conversions that AVX-512 adds: to and from unsigned integers and quadwords (SDM Vol. 2C, VCVTPS2UDQ and following). */

type Name = keyof typeof Mnemonic;

const laneOf = (bits: 32 | 64, a: V128Expr, lane: number): I64Expr =>
  bits === 64 ? i64x2.extract(a, lane) : lane32(a, lane);

/** The results of a conversion lane by lane, each lane from `from` to `to` bits. */
function convert(
  e: Translator,
  from: 32 | 64,
  to: 32 | 64,
  lane: (value: I64Expr) => I64Expr,
  quick?: { readonly usual: (a: V128Expr) => V128Expr },
): void {
  const sources = from < to ? widenSource(e, 32) : from === 64 ? readDoubles(e) : neutralized(e, 32, readParts(e, 1));
  const count = Math.min(128 / from, 128 / to);
  const results = sources.map((a) => {
    const slow = (): V128Expr => byLane(e, count, to, (i) => lane(laneOf(from, a, i)));
    return quick === undefined ? e.let(slow()) : fastOrPacked(e, isArithmeticFast(e), () => quick.usual(a), slow);
  });
  finishExceptions(e);
  writeParts(e, 0, from > to ? joinHalves(e, results) : results);
}

const INTEGERS = [
  ["udq", 32, false],
  ["qq", 64, true],
  ["uqq", 64, false],
] as const;

for (const [integer, bits, signed] of INTEGERS) {
  for (const width of [32, 64] as const) {
    const float = `p${letter(width)}`;
    for (const truncate of [false, true]) {
      const name = `Vcvt${truncate ? "t" : ""}${float}2${integer}`;
      const helper = `to${signed ? "Int" : "Uint"}${bits}From${width}`;
      defineEvex(name as Name, `Vol. 2C, ${name.toUpperCase()}`, (e) =>
        convert(e, width, bits, (value) =>
          e.callHelper(helper, I64, [e.stateAddress(), value, i32.const(truncate ? 1 : 0)]),
        ),
      );
    }
    if (bits === 32 && width === 64) continue;
    const name = `Vcvt${integer}2${float}`;
    const helper = `from${signed ? "Int" : "Uint"}${width}`;
    defineEvex(name as Name, `Vol. 2C, ${name.toUpperCase()}`, (e) =>
      convert(
        e,
        bits,
        width,
        (value) => e.callHelper(helper, I64, [e.stateAddress(), value]),
        bits === 32 ? { usual: f32x4.convertI32x4U } : undefined,
      ),
    );
  }
}
defineEvex("Vcvtudq2pd", "Vol. 2C, VCVTUDQ2PD", (e) => {
  const sources = widenSource(e, 32);
  writeParts(
    e,
    0,
    sources.map((a) => e.let(f64x2.convertLowI32x4U(a))),
  );
});

for (const width of [32, 64] as const) {
  const s = letter(width);
  for (const truncate of [false, true]) {
    const name = `Vcvt${truncate ? "t" : ""}s${s}2usi`;
    defineEvex(name as Name, `Vol. 2C, ${name.toUpperCase()}`, (e) => {
      const source = readScalar(e, width, 1);
      const args = [e.stateAddress(), bitsOf(width, source), i32.const(truncate ? 1 : 0)];
      const result = e.let(e.callHelper(`toUint${e.width(0)}From${width}`, I64, args));
      finishExceptions(e);
      e.write(0, result);
    });
  }
  defineEvex(`Vcvtusi2s${s}` as Name, `Vol. 2C, VCVTUSI2S${s.toUpperCase()}`, (e) =>
    writeScalar(e, width, fromUnsigned(e, width, e.read(e.instruction.operands.length - 1))),
  );
}

/** An unsigned integer as a float; one of 32 bits is exact as a double. */
function fromUnsigned(e: Translator, width: Precision, source: I64Expr): F32Expr | F64Expr {
  if (width === 64 && e.width(e.instruction.operands.length - 1) === 32) return e.let(f64.convertI64U(source));
  return fastOr<typeof F32 | typeof F64>(
    e,
    isArithmeticFast(e),
    width === 64 ? F64 : F32,
    () => (width === 64 ? f64.convertI64U(source) : f32.convertI64U(source)),
    () => floatOf(width, e.callHelper(`fromUint${width}`, I64, [e.stateAddress(), source])),
  ) as F32Expr | F64Expr;
}
