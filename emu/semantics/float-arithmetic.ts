import type { Mnemonic } from "iced-x86";
import { F32, type F32Expr, F64, type F64Expr, f32, f64, select, type V128Expr } from "../wasm/expr.ts";
import { f32x4, f64x2, v128 } from "../wasm/simd.ts";
import {
  type BinaryOperation,
  finishExceptions,
  floatBinaryParts,
  floatUnaryParts,
  type Precision,
  packedAddSub,
  packedBinary,
  packedSqrt,
  scalarBinary,
  scalarSqrt,
} from "./float.ts";
import { isFirstActive, isMasked } from "./opmask.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";
import {
  clearUpper,
  lanes,
  lastImmediate,
  readParts,
  shuffleLanes,
  sourcesOf,
  withVex,
  writeParts,
} from "./vector-operands.ts";

/** Add, subtract, multiply, divide, minimum, maximum and square root (SDM Vol. 1, 10.4.1.1, 11.4.1.1). */

type Name = keyof typeof Mnemonic;

const PRECISIONS: readonly Precision[] = [32, 64];
/** Letter at the end of a mnemonic: S single, D double. */
export const letter = (width: Precision): "s" | "d" => (width === 64 ? "d" : "s");

/** The low lane of operand `i`; under an opmask that leaves it out, a number that raises nothing. */
export function readScalar(e: Translator, width: Precision, i: number): F32Expr | F64Expr {
  const read = (): F32Expr | F64Expr => (width === 64 ? e.readF64(i) : e.readF32(i));
  if (!isMasked(e)) return read();
  const value = e.local<typeof F32 | typeof F64>(width === 64 ? F64 : F32);
  e.set(value, width === 64 ? f64.const(4) : f32.const(4));
  e.if(isFirstActive(e), () => e.set(value, read()));
  return e.let(value as F32Expr | F64Expr);
}

/** What the low lane of operand 0 becomes under the instruction's opmask. */
export function mergedScalar(e: Translator, width: Precision, value: F32Expr | F64Expr): F32Expr | F64Expr {
  if (!isMasked(e)) return value;
  const zero = width === 64 ? f64.const(0) : f32.const(0);
  const kept = e.instruction.zeroing ? zero : width === 64 ? e.readLow64(0) : e.readLow32(0);
  return e.let(select<typeof F32 | typeof F64>(isFirstActive(e), value, kept));
}

/** Writes the low lane of operand 0; the rest of its XMM is kept, or with VEX comes from operand 1. */
export function writeScalar(e: Translator, width: Precision, value: F32Expr | F64Expr): void {
  if (!e.instruction.vex) {
    if (width === 64) e.writeLow64(0, value as F64Expr);
    else e.writeLow32(0, value as F32Expr);
    return;
  }
  setLowLane(e, width, value, 1);
}

/** Writes the low lane of operand 0 of a VEX or EVEX instruction; the rest of its XMM comes from operand `rest`. */
export function setLowLane(e: Translator, width: Precision, value: F32Expr | F64Expr, rest: 0 | 1): void {
  if (rest === 0 && !isMasked(e)) {
    if (width === 64) e.writeLow64(0, value as F64Expr);
    else e.writeLow32(0, value as F32Expr);
    clearUpper(e, 0, 1);
    return;
  }
  const low = mergedScalar(e, width, value);
  const upper = e.readVectorPart(rest, 0);
  e.writeVectorPart(
    0,
    0,
    width === 64 ? f64x2.replace(upper, 0, low as F64Expr) : f32x4.replace(upper, 0, low as F32Expr),
  );
  clearUpper(e, 0, 1);
}

for (const op of ["add", "sub", "mul", "div", "min", "max"] as BinaryOperation[]) {
  for (const width of PRECISIONS) {
    const name = op[0].toUpperCase() + op.slice(1);
    const sdm = `Vol. 2, ${op.toUpperCase()}P${letter(width).toUpperCase()}`;
    define(withVex(`${name}s${letter(width)}` as Name), sdm, (e) => {
      const [first, second] = sourcesOf(e);
      const b = readScalar(e, width, second);
      const a = readScalar(e, width, first);
      writeScalar(e, width, scalarBinary(e, op, width, a, b));
    });
    define(withVex(`${name}p${letter(width)}` as Name), sdm, (e) =>
      floatBinaryParts(e, (a, b) => packedBinary(e, op, width, a, b)),
    );
  }
}

for (const width of PRECISIONS) {
  const s = letter(width);
  define(withVex(`Sqrts${s}`), `Vol. 2B, SQRTS${s.toUpperCase()}`, (e) => {
    const source = readScalar(e, width, sourcesOf(e)[1]);
    writeScalar(e, width, scalarSqrt(e, width, source));
  });
  define(withVex(`Sqrtp${s}`), `Vol. 2B, SQRTP${s.toUpperCase()}`, (e) =>
    floatUnaryParts(e, (a) => packedSqrt(e, width, a)),
  );
  define(withVex(`Addsubp${s}`), `Vol. 2A, ADDSUBP${s.toUpperCase()}`, (e) =>
    floatBinaryParts(e, (a, b) => packedAddSub(e, width, a, b)),
  );
  for (const op of ["add", "sub"] as const) {
    define(withVex(`H${op}p${s}` as Name), `Vol. 2A, H${op.toUpperCase()}P${s.toUpperCase()}`, (e) =>
      floatBinaryParts(e, (a, b) => {
        const even = e.let(shuffleLanes(width, a, b, EVEN[width]));
        const odd = e.let(shuffleLanes(width, a, b, ODD[width]));
        return packedBinary(e, op, width, even, odd);
      }),
    );
  }
}

const EVEN = { 32: [0, 2, 4, 6], 64: [0, 2] } as const;
const ODD = { 32: [1, 3, 5, 7], 64: [1, 3] } as const;

/** All ones in the lanes whose bit is set. */
function laneMask(width: Precision, bits: number): V128Expr {
  return lanes(width, ...Array.from({ length: 128 / width }, (_, lane) => (bits & (1 << lane) ? -1 : 0)));
}

/**
 * DPPS, DPPD (SDM Vol. 2A): lanes chosen by the immediate's high half are multiplied, added pairwise, and stored where
 * its low half says. A lane that is not chosen takes part as +0. Each step raises its own exceptions: an unmasked one
 * leaves those of the steps before in MXCSR.
 */
function dotProduct(e: Translator, width: Precision): void {
  const immediate = lastImmediate(e);
  const chosen = laneMask(width, immediate >> 4);
  const stored = laneMask(width, immediate);
  const [first, second] = sourcesOf(e);
  const masked = (x: V128Expr): V128Expr => e.let(v128.and(x, chosen));
  const b = readParts(e, second).map(masked);
  const a = readParts(e, first).map(masked);
  const products = a.map((x, part) => e.let(v128.and(packedBinary(e, "mul", width, x, b[part]), chosen)));
  finishExceptions(e);
  const addPairs = (sums: readonly V128Expr[], even: readonly number[], odd: readonly number[]): V128Expr[] => {
    const pick = (x: V128Expr, picks: readonly number[]): V128Expr => e.let(shuffleLanes(width, x, x, picks));
    const results = sums.map((x) => e.let(packedBinary(e, "add", width, pick(x, even), pick(x, odd))));
    finishExceptions(e);
    return results;
  };
  const pairs = width === 64 ? products : addPairs(products, [0, 2, 0, 2], [1, 3, 1, 3]);
  const sums = width === 64 ? addPairs(pairs, [0, 0], [1, 1]) : addPairs(pairs, [0, 0, 0, 0], [1, 1, 1, 1]);
  writeParts(
    e,
    0,
    sums.map((sum) => v128.and(sum, stored)),
  );
}
define(withVex("Dpps"), "Vol. 2A, DPPS", (e) => dotProduct(e, 32), { immediateInForm: true });
define(withVex("Dppd"), "Vol. 2A, DPPD", (e) => dotProduct(e, 64), { immediateInForm: true });
