import type { Mnemonic } from "iced-x86";
import {
  type F32Expr,
  type F64Expr,
  f32,
  f64,
  I32,
  type I32Expr,
  i32,
  i64,
  select,
  V128,
  type V128Expr,
} from "../wasm/expr.ts";
import { f32x4, f64x2, v128 } from "../wasm/simd.ts";
import {
  assumeOrdinary,
  bitsOf,
  both,
  fastOr,
  fastOrPacked,
  finishExceptions,
  floatBinaryParts,
  floatOf,
  isExactFast,
  ordinaryScalars,
  ordinaryVectors,
  type Precision,
} from "./float.ts";
import { letter, readScalar, writeScalar } from "./float-arithmetic.ts";
import { packedName } from "./helpers/packed-float.ts";
import { OUTCOME } from "./helpers/soft-float.ts";
import { activeBits, isMasked, neutralized, writeComparison } from "./opmask.ts";
import { define, defineEvex } from "./table.ts";
import type { Translator } from "./translator.ts";
import { lastImmediate, readParts, sourcesOf, withVex, ZERO } from "./vector-operands.ts";

/** CMPccxx, COMISx and UCOMISx (SDM Vol. 2A, CMPPD, COMISD; Vol. 2C, UCOMISD). */

type Name = keyof typeof Mnemonic;

const LESS = 1 << OUTCOME.less;
const EQUAL = 1 << OUTCOME.equal;
const GREATER = 1 << OUTCOME.greater;
const UNORDERED = 1 << OUTCOME.unordered;

interface Predicate {
  /** Outcomes for which it is true. */
  readonly truth: number;
  /** A quiet NaN is an invalid operation. */
  readonly signaling: boolean;
}

/** EQ, LT, LE, UNORD, NEQ, NLT, NLE, ORD, EQ_UQ, NGE, NGT, FALSE, NEQ_OQ, GE, GT, TRUE (SDM Vol. 2A, table 3-1). */
const TRUTHS = [
  EQUAL,
  LESS,
  LESS | EQUAL,
  UNORDERED,
  LESS | GREATER | UNORDERED,
  EQUAL | GREATER | UNORDERED,
  GREATER | UNORDERED,
  LESS | EQUAL | GREATER,
  EQUAL | UNORDERED,
  LESS | UNORDERED,
  LESS | EQUAL | UNORDERED,
  0,
  LESS | GREATER,
  EQUAL | GREATER,
  GREATER,
  LESS | EQUAL | GREATER | UNORDERED,
];
/** Which of those signal in the first 16 encodings; in the second 16 it is the others. */
const SIGNALING = [
  false,
  true,
  true,
  false,
  false,
  true,
  true,
  false,
  false,
  true,
  true,
  false,
  false,
  true,
  true,
  false,
];

/** The predicate of an immediate: 5 bits with VEX, 3 without. */
function predicateOf(e: Translator): Predicate {
  const immediate = lastImmediate(e) & (e.instruction.vex ? 31 : 7);
  const low = immediate & 15;
  return { truth: TRUTHS[low], signaling: SIGNALING[low] !== immediate > 15 };
}

/** The predicate for operands that are not NaN, on lanes of `width` bits. */
function orderedCompare(width: Precision, truth: number, a: V128Expr, b: V128Expr): V128Expr {
  const shape = width === 64 ? f64x2 : f32x4;
  switch (truth & (LESS | EQUAL | GREATER)) {
    case 0:
      return ZERO;
    case LESS:
      return shape.lt(a, b);
    case EQUAL:
      return shape.eq(a, b);
    case GREATER:
      return shape.gt(a, b);
    case LESS | EQUAL:
      return shape.le(a, b);
    case GREATER | EQUAL:
      return shape.ge(a, b);
    case LESS | GREATER:
      return shape.ne(a, b);
    default:
      return v128.not(ZERO);
  }
}

function packedCompare(e: Translator, width: Precision, predicate: Predicate, a: V128Expr, b: V128Expr): V128Expr {
  const { truth, signaling } = predicate;
  return fastOrPacked(
    e,
    both(isExactFast(e), ordinaryVectors(width, "wide", [a, b])),
    () => orderedCompare(width, truth, a, b),
    () => {
      const args = [e.stateAddress(), a, b, i32.const(signaling ? 1 : 0), i32.const(truth)];
      return e.callHelper(packedName("compare", width), V128, args);
    },
  );
}

/** How two scalars compare: an OUTCOME, pinned. */
function outcomeOf(
  e: Translator,
  width: Precision,
  signaling: boolean,
  a: F32Expr | F64Expr,
  b: F32Expr | F64Expr,
): I32Expr {
  const less = width === 64 ? f64.lt(a as F64Expr, b as F64Expr) : f32.lt(a as F32Expr, b as F32Expr);
  const equal = width === 64 ? f64.eq(a as F64Expr, b as F64Expr) : f32.eq(a as F32Expr, b as F32Expr);
  const usual = isExactFast(e);
  const outcome = i32.or(less, i32.shl(equal, i32.const(1)));
  if (assumeOrdinary(e, usual, width, "wide", [a, b])) return e.let(outcome);
  return fastOr(
    e,
    both(usual, ordinaryScalars(width, "wide", [a, b])),
    I32,
    () => outcome,
    () => {
      const args = [e.stateAddress(), bitsOf(width, a), bitsOf(width, b), i32.const(signaling ? 1 : 0)];
      return e.callHelper(`compare${width}`, I32, args);
    },
  );
}

for (const width of [32, 64] as const) {
  const s = letter(width);
  const sdm = `Vol. 2A, CMPP${s.toUpperCase()}, CMPS${s.toUpperCase()}`;
  define(
    withVex(`Cmpp${s}` as Name),
    sdm,
    (e) => floatBinaryParts(e, (a, b) => packedCompare(e, width, predicateOf(e), a, b)),
    { immediateInForm: true },
  );
  define(
    withVex(`Cmps${s}` as Name),
    sdm,
    (e) => {
      const [first, second] = sourcesOf(e);
      const b = readScalar(e, width, second);
      const a = readScalar(e, width, first);
      const { truth, signaling } = predicateOf(e);
      const outcome = outcomeOf(e, width, signaling, a, b);
      const isTrue = i32.and(i32.shrU(i32.const(truth), outcome), i32.const(1));
      writeScalar(e, width, floatOf(width, select(isTrue, i64.const(-1), i64.const(0))));
    },
    { immediateInForm: true },
  );
  defineEvex(
    `Vcmpp${s}` as Name,
    sdm,
    (e) => {
      const b = neutralized(e, width, readParts(e, 2));
      const a = neutralized(e, width, readParts(e, 1));
      const results = a.map((value, part) => e.let(packedCompare(e, width, predicateOf(e), value, b[part])));
      finishExceptions(e);
      writeComparison(e, width, results);
    },
    { immediateInForm: true },
  );
  defineEvex(
    `Vcmps${s}` as Name,
    sdm,
    (e) => {
      const b = readScalar(e, width, 2);
      const a = readScalar(e, width, 1);
      const { truth, signaling } = predicateOf(e);
      const outcome = outcomeOf(e, width, signaling, a, b);
      const isTrue = i64.and(i64.extendI32U(i32.shrU(i32.const(truth), outcome)), i64.const(1));
      e.writeRegister(0, 64, isMasked(e) ? i64.and(isTrue, activeBits(e)) : isTrue);
    },
    { immediateInForm: true },
  );
  // ZF, PF and CF say how the operands compare, OF, SF and AF are cleared.
  for (const signaling of [true, false]) {
    define(withVex(`${signaling ? "C" : "Uc"}omis${s}` as Name), `Vol. 2, COMIS${s.toUpperCase()}`, (e) => {
      const b = readScalar(e, width, 1);
      const a = readScalar(e, width, 0);
      const outcome = outcomeOf(e, width, signaling, a, b);
      const zero = i32.const(0);
      e.flagsExplicit({
        zf: i32.shrU(outcome, i32.const(1)),
        cf: i32.and(outcome, i32.const(1)),
        pf: i32.eq(outcome, i32.const(OUTCOME.unordered)),
        of: zero,
        sf: zero,
        af: zero,
      });
    });
  }
}
