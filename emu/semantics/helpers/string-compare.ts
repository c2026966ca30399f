import { I32, type I32Expr, i32, V128, type V128Expr } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { i8x16, i16x8, v128 } from "../../wasm/simd.ts";
import type { Helper } from "./helper.ts";

/**
 * The comparison in PCMPxSTRx (SDM Vol. 1, 12.10 and Vol. 2B, 4.1): compare(a, b, lengthA, lengthB) gives
 * IntRes1, a bit for each element of b. Elements past a length are invalid, with the results of table 4-7.
 */

/** Aggregations: bits 3:2 of the immediate. */
const AGGREGATION = { equalAny: 0, ranges: 1, equalEach: 2, equalOrdered: 3 } as const;

interface Shape {
  readonly count: number;
  readonly ops: typeof i8x16 | typeof i16x8;
  /** Element `i` of a vector in every lane. */
  readonly element: (vector: V128Expr, i: I32Expr) => V128Expr;
  /** The lanes' own numbers. */
  readonly numbers: V128Expr;
  readonly splat: (value: I32Expr) => V128Expr;
}

const constant = (bytes: readonly number[]): V128Expr => v128.const(Uint8Array.from(bytes));

const BYTES: Shape = {
  count: 16,
  ops: i8x16,
  element: (vector, i) => i8x16.swizzle(vector, i8x16.splat(i)),
  numbers: constant(Array.from({ length: 16 }, (_, i) => i)),
  splat: i8x16.splat,
};
const WORDS: Shape = {
  count: 8,
  ops: i16x8,
  // Byte numbers 2i and 2i + 1 in each lane.
  element: (vector, i) => i8x16.swizzle(vector, i16x8.splat(i32.add(i32.mul(i, i32.const(0x202)), i32.const(0x100)))),
  numbers: constant(Array.from({ length: 16 }, (_, i) => (i & 1 ? 0 : i >> 1))),
  splat: i16x8.splat,
};

function buildCompare(format: number): (f: FunctionBuilder) => void {
  const shape = format & 1 ? WORDS : BYTES;
  const isSigned = (format & 2) !== 0;
  const { ops, count } = shape;
  const full = (1 << count) - 1;
  return (f) => {
    const a = f.param(0, V128);
    const b = f.param(1, V128);
    const lengthA = f.param(2, I32);
    const valid = (length: I32Expr): V128Expr => f.let(ops.ltS(shape.numbers, shape.splat(length)));
    const validA = valid(lengthA);
    const validB = valid(f.param(3, I32));
    const i = f.local(I32);
    /** Runs `body` for i from 0 in steps, as long as element i + step - 1 of a is valid. */
    const overA = (step: number, body: () => void): void => {
      f.block((done) => {
        f.loop((again) => {
          f.branchIf(done, i32.gtS(i32.add(i, i32.const(step)), lengthA));
          body();
          f.set(i, i32.add(i, i32.const(step)));
          f.branch(again);
        });
      });
    };
    const aggregation = format >> 2;
    if (aggregation === AGGREGATION.equalEach) {
      const equal = v128.and(ops.eq(a, b), v128.and(validA, validB));
      f.return(ops.bitmask(v128.or(equal, v128.not(v128.or(validA, validB)))));
    } else if (aggregation === AGGREGATION.equalOrdered) {
      const result = f.local(I32);
      f.set(result, i32.const(full));
      overA(1, () => {
        const equal = ops.bitmask(v128.and(ops.eq(b, shape.element(a, i)), validB));
        // Where the substring would reach past the vector's end, only what lies before it counts.
        const beyond = i32.xor(i32.shrU(i32.const(full), i), i32.const(-1));
        f.set(result, i32.and(result, i32.or(i32.shrU(equal, i), beyond)));
      });
      f.return(result);
    } else {
      const result = f.local(V128);
      overA(aggregation === AGGREGATION.ranges ? 2 : 1, () => {
        const first = shape.element(a, i);
        let found: V128Expr;
        if (aggregation === AGGREGATION.equalAny) found = ops.eq(b, first);
        else {
          const second = shape.element(a, i32.add(i, i32.const(1)));
          const [atLeast, atMost] = isSigned ? [ops.geS, ops.leS] : [ops.geU, ops.leU];
          found = v128.and(atLeast(b, first), atMost(b, second));
        }
        f.set(result, v128.or(result, found));
      });
      f.return(ops.bitmask(v128.and(result, validB)));
    }
  };
}

/** One helper for each value of the immediate's low four bits. */
export const STRING_COMPARE_HELPERS: readonly Helper[] = Array.from({ length: 16 }, (_, format) => ({
  name: `compareStrings${format}`,
  params: [V128, V128, I32, I32],
  result: I32,
  build: buildCompare(format),
}));
