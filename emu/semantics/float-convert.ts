import type { Mnemonic } from "iced-x86";
import { PROT_WRITE } from "../layout.ts";
import {
  F32,
  type F32Expr,
  F64,
  type F64Expr,
  f32,
  f64,
  type I32Expr,
  I64,
  type I64Expr,
  i32,
  i64,
  select,
  V128,
  type V128Expr,
} from "../wasm/expr.ts";
import { f32x4, f64x2, i16x8, i32x4, i64x2 } from "../wasm/simd.ts";
import {
  bitsOf,
  both,
  fastOr,
  fastOrPacked,
  finishExceptions,
  floatOf,
  floatUnaryParts,
  isArithmeticFast,
  isExactFast,
  ordinaryScalars,
  ordinaryVectors,
  type Precision,
} from "./float.ts";
import { letter, readScalar, writeScalar } from "./float-arithmetic.ts";
import { checkMaskedStore, isMasked, neutralized } from "./opmask.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";
import {
  enterMmx,
  isMmx,
  lastImmediate,
  partsOf,
  readPart,
  readParts,
  shuffleLanes,
  sourcesOf,
  usesMmx,
  vectorAccess,
  withVex,
  writeParts,
  ZERO,
} from "./vector-operands.ts";

/** Conversions and rounding (SDM Vol. 1, 10.4.3, 11.4.1.6; results that do not fit: table 11-1). */

type Name = keyof typeof Mnemonic;
const PRECISIONS: readonly Precision[] = [32, 64];

const flag = (value: boolean): I32Expr => i32.const(value ? 1 : 0);

/** Puts `count` lanes of `width` bits together from what helpers give; the rest is zero. Ends with the exceptions. */
export function byLane(e: Translator, count: number, width: 16 | 32 | 64, value: (lane: number) => I64Expr): V128Expr {
  const result = e.local(V128);
  e.set(result, ZERO);
  for (let lane = 0; lane < count; lane++) {
    const bits = value(lane);
    if (width === 64) e.set(result, i64x2.replace(result, lane, bits));
    else if (width === 32) e.set(result, i32x4.replace(result, lane, i32.wrap(bits)));
    else e.set(result, i16x8.replace(result, lane, i32.wrap(bits)));
  }
  return result;
}

export const lane32 = (vector: V128Expr, lane: number): I64Expr => i64.extendI32U(i32x4.extract(vector, lane));

// Scalar.

for (const width of PRECISIONS) {
  const s = letter(width);
  define(withVex(`Cvtsi2s${s}` as Name), `Vol. 2A, CVTSI2S${s.toUpperCase()}`, (e) => {
    const last = e.instruction.operands.length - 1;
    const bits = e.width(last);
    const source = e.let(e.signExtend(e.read(last), bits));
    if (width === 64 && bits === 32) {
      writeScalar(e, 64, e.let(f64.convertI64S(source)));
      return;
    }
    const result = fastOr<typeof F32 | typeof F64>(
      e,
      isArithmeticFast(e),
      width === 64 ? F64 : F32,
      () => (width === 64 ? f64.convertI64S(source) : f32.convertI64S(source)),
      () => floatOf(width, e.callHelper(`fromInt${width}`, I64, [e.stateAddress(), source])),
    );
    writeScalar(e, width, result as F32Expr | F64Expr);
  });
  for (const truncate of [false, true]) {
    const name = `Cvt${truncate ? "t" : ""}s${s}2si`;
    define(withVex(name as Name), `Vol. 2A, ${name.toUpperCase()}`, (e) => {
      const source = readScalar(e, width, 1);
      e.write(0, scalarToInt(e, width, e.width(0) as 32 | 64, truncate, source));
    });
  }
}

/** A scalar as an integer; in range and with PE set already, WebAssembly's conversion does it. */
function scalarToInt(
  e: Translator,
  width: Precision,
  to: 32 | 64,
  truncate: boolean,
  source: F32Expr | F64Expr,
): I64Expr {
  // One less than the limit for 32 bits, so that rounding cannot reach it; the spacing at 2^63 is larger than 1.
  const limit = to === 32 ? 2 ** 31 - (width === 64 ? 1 : 2 ** 8) : 2 ** 63;
  const inRange =
    width === 64
      ? f64.lt(f64.abs(source as F64Expr), f64.const(limit))
      : f32.lt(f32.abs(source as F32Expr), f32.const(limit));
  return fastOr(
    e,
    both(isArithmeticFast(e), inRange),
    I64,
    () => {
      if (width === 64) return i64.truncSatF64S(truncate ? (source as F64Expr) : f64.nearest(source as F64Expr));
      return i64.truncSatF32S(truncate ? (source as F32Expr) : f32.nearest(source as F32Expr));
    },
    () => e.callHelper(`toInt${to}From${width}`, I64, [e.stateAddress(), bitsOf(width, source), flag(truncate)]),
  );
}

define(withVex("Cvtss2sd"), "Vol. 2A, CVTSS2SD", (e) => {
  const source = readScalar(e, 32, sourcesOf(e)[1]) as F32Expr;
  const result = fastOr(
    e,
    both(isExactFast(e), ordinaryScalars(32, "wide", [source])),
    F64,
    () => f64.promoteF32(source),
    () => floatOf(64, e.callHelper("widen32", I64, [e.stateAddress(), bitsOf(32, source)])),
  );
  writeScalar(e, 64, result);
});
define(withVex("Cvtsd2ss"), "Vol. 2A, CVTSD2SS", (e) => {
  const source = readScalar(e, 64, sourcesOf(e)[1]) as F64Expr;
  const result = fastOr(
    e,
    both(isArithmeticFast(e), ordinaryScalars(64, "single", [source])),
    F32,
    () => f32.demoteF64(source),
    () => floatOf(32, e.callHelper("narrow64", I64, [e.stateAddress(), bitsOf(64, source)])),
  );
  writeScalar(e, 32, result);
});

// Packed, between integers and floats.

const high64 = (a: V128Expr): V128Expr => shuffleLanes(64, a, a, [1, 1]);

/**
 * The parts of operand 1 of an instruction whose destination lanes are twice as wide: each half of a register on its
 * own. An opmask's bit stands for an element, whatever its width: inactive ones raise nothing.
 */
export function widenSource(e: Translator, bits: 16 | 32): V128Expr[] {
  const parts = readParts(e, 1);
  const sources = bits === 32 ? neutralized(e, 32, parts) : parts;
  return Array.from({ length: partsOf(e, 0) }, (_, i) => {
    const source = sources[i >> 1];
    return i & 1 ? e.let(high64(source)) : source;
  });
}

/** Joins the low halves of parts: the destination of an instruction whose lanes get half as wide. */
export function joinHalves(e: Translator, parts: readonly V128Expr[]): V128Expr[] {
  if (parts.length === 1) return [parts[0]];
  return Array.from({ length: parts.length / 2 }, (_, i) =>
    e.let(shuffleLanes(64, parts[2 * i], parts[2 * i + 1], [0, 2])),
  );
}

/** Operand 1 of an instruction on doubles. */
export const readDoubles = (e: Translator): V128Expr[] => neutralized(e, 64, readParts(e, 1));

const dwordsToSingles = (e: Translator, a: V128Expr, count = 4): V128Expr =>
  fastOrPacked(
    e,
    isArithmeticFast(e),
    () => f32x4.convertI32x4S(a),
    () =>
      byLane(e, count, 32, (lane) =>
        e.callHelper("fromInt32", I64, [e.stateAddress(), i64.extendI32S(i32x4.extract(a, lane))]),
      ),
  );

function singlesToDwords(e: Translator, truncate: boolean, a: V128Expr, count = 4): V128Expr {
  const inRange = f32x4.lt(f32x4.abs(a), f32x4.splat(f32.const(2 ** 31 - 2 ** 8)));
  return fastOrPacked(
    e,
    both(isArithmeticFast(e), i32x4.allTrue(inRange)),
    () => i32x4.truncSatF32x4S(truncate ? a : f32x4.nearest(a)),
    () =>
      byLane(e, count, 32, (lane) =>
        e.callHelper("toInt32From32", I64, [e.stateAddress(), lane32(a, lane), flag(truncate)]),
      ),
  );
}

function doublesToDwords(e: Translator, truncate: boolean, a: V128Expr): V128Expr {
  const inRange = f64x2.lt(f64x2.abs(a), f64x2.splat(f64.const(2 ** 31 - 1)));
  return fastOrPacked(
    e,
    both(isArithmeticFast(e), i64x2.allTrue(inRange)),
    () => i32x4.truncSatF64x2SZero(truncate ? a : f64x2.nearest(a)),
    () =>
      byLane(e, 2, 32, (lane) =>
        e.callHelper("toInt32From64", I64, [e.stateAddress(), i64x2.extract(a, lane), flag(truncate)]),
      ),
  );
}

define(withVex("Cvtdq2ps"), "Vol. 2A, CVTDQ2PS", (e) => floatUnaryParts(e, (a) => dwordsToSingles(e, a)));
define(withVex("Cvtdq2pd"), "Vol. 2A, CVTDQ2PD", (e) => {
  const sources = widenSource(e, 32);
  writeParts(
    e,
    0,
    sources.map((a) => e.let(f64x2.convertLowI32x4S(a))),
  );
});
for (const truncate of [false, true]) {
  const t = truncate ? "t" : "";
  const sdm = `Vol. 2A, CVT${t.toUpperCase()}`;
  define(withVex(`Cvt${t}ps2dq` as Name), `${sdm}PS2DQ`, (e) =>
    floatUnaryParts(e, (a) => singlesToDwords(e, truncate, a)),
  );
  define(withVex(`Cvt${t}pd2dq` as Name), `${sdm}PD2DQ`, (e) => {
    const parts = readDoubles(e).map((a) => doublesToDwords(e, truncate, a));
    finishExceptions(e);
    writeParts(e, 0, joinHalves(e, parts));
  });
  define(`Cvt${t}ps2pi` as Name, `${sdm}PS2PI`, (e) => {
    const result = singlesToDwords(e, truncate, e.let(lowHalf(readPart(e, 1))), 2);
    // The change to MMX state comes before the exceptions of the conversion.
    enterMmx(e);
    finishExceptions(e);
    writeParts(e, 0, [result]);
  });
  define(`Cvt${t}pd2pi` as Name, `${sdm}PD2PI`, (e) => {
    const result = doublesToDwords(e, truncate, readPart(e, 1));
    // The change to MMX state comes before the exceptions of the conversion.
    enterMmx(e);
    finishExceptions(e);
    writeParts(e, 0, [result]);
  });
}

/** The low half twice, so that what the upper holds has no say. */
const lowHalf = (a: V128Expr): V128Expr => shuffleLanes(64, a, a, [0, 0]);

define("Cvtpi2ps", "Vol. 2A, CVTPI2PS", (e) => {
  const source = readPart(e, 1);
  // The memory form does not touch the x87 state; of the other, the change to MMX state comes before the exceptions.
  if (isMmx(e, 1)) enterMmx(e);
  const result = dwordsToSingles(e, source, 2);
  finishExceptions(e);
  writeParts(e, 0, [shuffleLanes(64, result, e.readVectorPart(0, 0), [0, 3])]);
});
define("Cvtpi2pd", "Vol. 2A, CVTPI2PD", (e) => {
  const source = readPart(e, 1);
  // The memory form does not touch the x87 state.
  if (usesMmx(e)) enterMmx(e);
  writeParts(e, 0, [f64x2.convertLowI32x4S(source)]);
});

// Packed, between formats.

define(withVex("Cvtps2pd"), "Vol. 2A, CVTPS2PD", (e) => {
  const sources = widenSource(e, 32);
  const results = sources.map((a) =>
    fastOrPacked(
      e,
      both(isExactFast(e), ordinaryVectors(32, "wide", [e.let(lowHalf(a))])),
      () => f64x2.promoteLowF32x4(a),
      () => byLane(e, 2, 64, (lane) => e.callHelper("widen32", I64, [e.stateAddress(), lane32(a, lane)])),
    ),
  );
  finishExceptions(e);
  writeParts(e, 0, results);
});
define(withVex("Cvtpd2ps"), "Vol. 2A, CVTPD2PS", (e) => {
  const parts = readDoubles(e).map((a) =>
    fastOrPacked(
      e,
      both(isArithmeticFast(e), ordinaryVectors(64, "single", [a])),
      () => f32x4.demoteF64x2Zero(a),
      () => byLane(e, 2, 32, (lane) => e.callHelper("narrow64", I64, [e.stateAddress(), i64x2.extract(a, lane)])),
    ),
  );
  finishExceptions(e);
  writeParts(e, 0, joinHalves(e, parts));
});

define("Vcvtph2ps", "Vol. 2C, VCVTPH2PS", (e) => {
  const sources = widenSource(e, 16);
  const active = isMasked(e) ? e.let(e.opmask()) : undefined;
  const results = sources.map((a, part) => {
    const half = (lane: number): I64Expr => {
      const bits = i64.extendI32U(i16x8.extractU(a, lane));
      if (active === undefined) return bits;
      return select(i32.wrap(i64.and(i64.shrU(active, i64.const(4 * part + lane)), i64.const(1))), bits, i64.const(0));
    };
    return e.let(byLane(e, 4, 32, (lane) => e.callHelper("widen16", I64, [e.stateAddress(), half(lane)])));
  });
  finishExceptions(e);
  writeParts(e, 0, results);
});
define(
  "Vcvtps2ph",
  "Vol. 2C, VCVTPS2PH",
  (e) => {
    const control = i32.const(lastImmediate(e));
    const sources = neutralized(e, 32, readParts(e, 1));
    // The destination is checked first: a fault leaves MXCSR alone.
    const bytes = e.operand(0).width / 8;
    const isMaskedStore = e.isMemory(0) && isMasked(e);
    if (isMaskedStore) checkMaskedStore(e, e.let(e.linearAddress()), bytes);
    const host = e.isMemory(0) && !isMaskedStore ? vectorAccess(e, bytes, PROT_WRITE) : undefined;
    const results = sources.map((a) =>
      e.let(byLane(e, 4, 16, (lane) => e.callHelper("narrow32", I64, [e.stateAddress(), lane32(a, lane), control]))),
    );
    finishExceptions(e);
    const joined = joinHalves(e, results);
    if (host === undefined) {
      writeParts(e, 0, joined);
      return;
    }
    if (bytes === 8) e.storeInt(64, host, i64x2.extract(joined[0], 0));
    else for (const [part, value] of joined.entries()) e.storeV128(host, value, part * 16);
    e.commit(host);
  },
  { immediateInForm: true },
);

// ROUNDxx.

const ROUNDING_32 = [f32.nearest, f32.floor, f32.ceil, f32.trunc] as const;
const ROUNDING_64 = [f64.nearest, f64.floor, f64.ceil, f64.trunc] as const;
const ROUNDING_32X4 = [f32x4.nearest, f32x4.floor, f32x4.ceil, f32x4.trunc] as const;
const ROUNDING_64X2 = [f64x2.nearest, f64x2.floor, f64x2.ceil, f64x2.trunc] as const;

/** Operation of the immediate, where the fast path holds: MXCSR's mode is then "nearest". */
const modeOf = (immediate: number): number => (immediate & 4 ? 0 : immediate & 3);
/** Nothing to note: PE is set already, or left alone. */
const isRoundFast = (e: Translator, immediate: number): I32Expr =>
  immediate & 8 && !(immediate & 4) ? isExactFast(e) : isArithmeticFast(e);

for (const width of PRECISIONS) {
  const s = letter(width);
  define(
    withVex(`Rounds${s}` as Name),
    `Vol. 2B, ROUNDS${s.toUpperCase()}`,
    (e) => {
      const immediate = lastImmediate(e);
      const source = readScalar(e, width, sourcesOf(e)[1]);
      const result = fastOr<typeof F32 | typeof F64>(
        e,
        i32.and(isRoundFast(e, immediate), ordinaryScalars(width, "wide", [source])),
        width === 64 ? F64 : F32,
        () =>
          width === 64
            ? ROUNDING_64[modeOf(immediate)](source as F64Expr)
            : ROUNDING_32[modeOf(immediate)](source as F32Expr),
        () => {
          const args = [e.stateAddress(), bitsOf(width, source), i32.const(immediate)];
          return floatOf(width, e.callHelper(`round${width}`, I64, args));
        },
      );
      writeScalar(e, width, result as F32Expr | F64Expr);
    },
    { immediateInForm: true },
  );
  define(
    withVex(`Roundp${s}` as Name),
    `Vol. 2B, ROUNDP${s.toUpperCase()}`,
    (e) => {
      const immediate = lastImmediate(e);
      floatUnaryParts(e, (a) =>
        fastOrPacked(
          e,
          i32.and(isRoundFast(e, immediate), ordinaryVectors(width, "wide", [a])),
          () => (width === 64 ? ROUNDING_64X2 : ROUNDING_32X4)[modeOf(immediate)](a),
          () =>
            byLane(e, 128 / width, width, (lane) => {
              const bits = width === 64 ? i64x2.extract(a, lane) : lane32(a, lane);
              return e.callHelper(`round${width}`, I64, [e.stateAddress(), bits, i32.const(immediate)]);
            }),
        ),
      );
    },
    { immediateInForm: true },
  );
}
