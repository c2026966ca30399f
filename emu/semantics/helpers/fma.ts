import {
  F64,
  type F64Expr,
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
} from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { f64x2, i64x2, v128 } from "../../wasm/simd.ts";
import {
  cpuOf,
  FORMAT,
  type Format,
  flushDenormal,
  isInfinite,
  isNaN64,
  isSignaling,
  isZero,
  MXCSR,
  n,
  note,
  noteDenormal,
  ROUND,
  roundingMode,
  signOf,
  unpack,
  variable,
} from "./float-format.ts";
import type { Helper, HelperCall } from "./helper.ts";
import { laneOf, packedName, setLane } from "./packed-float.ts";

/**
 * Fused multiply-add (SDM Vol. 1, 14.5): a × b + c rounded once. The exact product is kept in 128 bits, or, where
 * nothing can overflow, as a sum of two doubles.
 */

/** Bits of the parameter `negate`. */
export const NEGATE = { product: 1, addend: 2 } as const;

/** A 128-bit number in two variables. */
interface Wide {
  readonly high: ReturnType<typeof variable>;
  readonly low: ReturnType<typeof variable>;
}

/** The full product of two 64-bit numbers. */
function product128(f: FunctionBuilder, a: I64Expr, b: I64Expr): Wide {
  const low = (x: I64Expr): I64Expr => f.let(i64.and(x, n(0xffff_ffff)));
  const high = (x: I64Expr): I64Expr => f.let(i64.shrU(x, n(32)));
  const [a0, a1, b0, b1] = [low(a), high(a), low(b), high(b)];
  const middle = f.let(i64.add(i64.mul(a0, b1), i64.shrU(i64.mul(a0, b0), n(32))));
  const other = i64.add(i64.mul(a1, b0), i64.and(middle, n(0xffff_ffff)));
  const top = i64.add(i64.add(i64.mul(a1, b1), i64.shrU(middle, n(32))), i64.shrU(other, n(32)));
  return { high: variable(f, top), low: variable(f, i64.mul(a, b)) };
}

const bit = (condition: I32Expr): I64Expr => i64.extendI32U(condition);

/** Shifts right by a count that is not negative; ones that are lost set bit 0. */
function shiftRightJam128(f: FunctionBuilder, x: Wide, count: I64Expr): void {
  const by = f.let(count);
  f.if(
    i64.gtU(by, n(127)),
    () => {
      f.set(x.low, bit(i64.ne(i64.or(x.high, x.low), n(0))));
      f.set(x.high, n(0));
    },
    () => {
      f.if(i64.gtU(by, n(63)), () => {
        f.set(x.low, i64.or(x.high, bit(i64.ne(x.low, n(0)))));
        f.set(x.high, n(0));
      });
      const rest = f.let(i64.and(by, n(63)));
      f.if(i64.ne(rest, n(0)), () => {
        const up = f.let(i64.sub(n(64), rest));
        const lost = bit(i64.ne(i64.shl(x.low, up), n(0)));
        f.set(x.low, i64.or(i64.or(i64.shrU(x.low, rest), i64.shl(x.high, up)), lost));
        f.set(x.high, i64.shrU(x.high, rest));
      });
    },
  );
}

/** fma(cpu, a, b, c, negate): exact in every state of MXCSR. A NaN comes from a, else from b, else from c. */
function buildSoft(at: Format): (f: FunctionBuilder, call: HelperCall) => void {
  return (f, call) => {
    const [a, b, c] = [1, 2, 3].map((i) => variable(f, f.param(i, I64)));
    const negate = f.param(4, I32);
    f.if(i32.or(i32.or(isNaN64(at, a), isNaN64(at, b)), isNaN64(at, c)), () => {
      const signaling = i32.or(i32.or(isSignaling(at, a), isSignaling(at, b)), isSignaling(at, c));
      f.if(signaling, () => note(f, MXCSR.IE));
      f.return(i64.or(select(isNaN64(at, a), a, select(isNaN64(at, b), b, c)), n(at.quiet)));
    });
    const all = [a, b, c];
    for (const x of all) flushDenormal(f, at, x);
    const flipped = (x: I64Expr, which: number): I64Expr => {
      const flips = i32.and(negate, i32.const(which));
      return f.let(i64.xor(signOf(at, x), select(flips, n(at.sign), n(0))));
    };
    const sign = variable(f, flipped(i64.xor(a, b), NEGATE.product));
    const addendSign = flipped(c, NEGATE.addend);
    const sameSign = f.let(i64.eq(sign, addendSign));
    const isInvalid = (condition: I32Expr): void =>
      f.if(condition, () => {
        note(f, MXCSR.IE);
        f.return(n(at.indefinite));
      });
    const productInfinite = f.let(i32.or(isInfinite(at, a), isInfinite(at, b)));
    const productZero = f.let(i32.or(isZero(at, a), isZero(at, b)));
    isInvalid(i32.and(productInfinite, productZero));
    isInvalid(i32.and(i32.and(productInfinite, isInfinite(at, c)), i32.eqz(sameSign)));
    for (const x of all) noteDenormal(f, at, x);
    f.if(productInfinite, () => f.return(i64.or(sign, n(at.infinity))));
    f.if(isInfinite(at, c), () => f.return(i64.or(addendSign, n(at.infinity))));
    const exactZero = (): void => {
      const down = i32.eq(roundingMode(f), i32.const(ROUND.down));
      f.return(select(sameSign, sign, select(down, n(at.sign), n(0))));
    };
    const z = unpack(f, at, c);
    const pack = (which: I64Expr, exponent: I64Expr, significand: I64Expr): void =>
      f.return(call(`roundPack${at.width}`, I64, [cpuOf(f), which, exponent, significand]));
    f.if(productZero, () => {
      f.if(isZero(at, c), exactZero);
      pack(addendSign, z.exponent, z.significand);
    });
    const x = unpack(f, at, a);
    const y = unpack(f, at, b);
    // Leading ones at bits 63 and 62: the product's is at bit 126 or 125.
    const product = product128(f, f.let(i64.shl(x.significand, n(1))), y.significand);
    const exponent = variable(f, i64.sub(i64.add(x.exponent, y.exponent), n(at.bias - 1)));
    f.if(i64.ltU(product.high, n(1n << 62n)), () => {
      f.set(product.high, i64.or(i64.shl(product.high, n(1)), i64.shrU(product.low, n(63))));
      f.set(product.low, i64.shl(product.low, n(1)));
      f.set(exponent, i64.sub(exponent, n(1)));
    });
    const sticky = (wide: Wide): I64Expr => i64.or(wide.high, bit(i64.ne(wide.low, n(0))));
    f.if(i64.eqz(z.significand), () => pack(sign, exponent, sticky(product)));
    const addend: Wide = { high: z.significand, low: variable(f, n(0)) };
    const distance = f.let(i64.sub(exponent, z.exponent));
    f.if(
      i64.geS(distance, n(0)),
      () => shiftRightJam128(f, addend, distance),
      () => {
        shiftRightJam128(f, product, i64.sub(n(0), distance));
        f.set(exponent, z.exponent);
      },
    );
    f.if(
      sameSign,
      () => {
        f.set(product.low, i64.add(product.low, addend.low));
        f.set(product.high, i64.add(i64.add(product.high, addend.high), bit(i64.ltU(product.low, addend.low))));
        f.if(i64.ltS(product.high, n(0)), () => {
          shiftRightJam128(f, product, n(1));
          f.set(exponent, i64.add(exponent, n(1)));
        });
      },
      () => {
        const borrow = f.let(bit(i64.ltU(product.low, addend.low)));
        f.set(product.low, i64.sub(product.low, addend.low));
        f.set(product.high, i64.sub(i64.sub(product.high, addend.high), borrow));
        f.if(i64.ltS(product.high, n(0)), () => {
          f.set(product.high, i64.sub(i64.sub(n(0), product.high), bit(i64.ne(product.low, n(0)))));
          f.set(product.low, i64.sub(n(0), product.low));
          f.set(sign, i64.xor(sign, n(at.sign)));
        });
        f.if(i64.eqz(i64.or(product.high, product.low)), exactZero);
      },
    );
    f.if(i64.eqz(product.high), () => {
      f.set(product.high, i64.shrU(product.low, n(1)));
      f.set(product.low, i64.shl(product.low, n(63)));
      f.set(exponent, i64.sub(exponent, n(63)));
    });
    const shift = f.let(i64.sub(i64.clz(product.high), n(1)));
    f.if(i64.ne(shift, n(0)), () => {
      f.set(product.high, i64.or(i64.shl(product.high, shift), i64.shrU(product.low, i64.sub(n(64), shift))));
      f.set(product.low, i64.shl(product.low, shift));
    });
    pack(sign, i64.sub(exponent, shift), sticky(product));
  };
}

/** The arithmetic that the exact sums need, on f64 or on both lanes of f64x2. */
interface Arithmetic<T> {
  readonly add: (a: T, b: T) => T;
  readonly sub: (a: T, b: T) => T;
  readonly mul: (a: T, b: T) => T;
  readonly constant: (value: number) => T;
  /** Moves `sum` to an odd last bit towards `error`, if `error` is not zero and it is even. */
  readonly toOdd: (sum: T, error: T) => T;
}

const SCALAR: Arithmetic<F64Expr> = {
  ...f64,
  constant: f64.const,
  toOdd: (sum, error) => {
    const bits = i64.reinterpretF64(sum);
    const opposite = i64.shrS(i64.xor(bits, i64.reinterpretF64(error)), n(63));
    const step = i64.or(opposite, n(1));
    const isEven = i64.eqz(i64.and(bits, n(1)));
    const moves = i32.and(isEven, f64.ne(error, f64.const(0)));
    return f64.reinterpretI64(select(moves, i64.add(bits, step), bits));
  },
};

const ONES = i64x2.splat(n(1));
const PACKED: Arithmetic<V128Expr> = {
  ...f64x2,
  constant: (value) => f64x2.splat(f64.const(value)),
  toOdd: (sum, error) => {
    const opposite = i64x2.shrS(v128.xor(sum, error), i32.const(63));
    const isEven = i64x2.ne(v128.and(sum, ONES), ONES);
    const moves = v128.and(isEven, f64x2.ne(error, f64x2.splat(f64.const(0))));
    return i64x2.add(sum, v128.and(moves, v128.or(opposite, ONES)));
  },
};

/**
 * a × b + c for ordinary operands, rounded to nearest (S. Boldo and G. Melquiond, "Emulation of FMA and correctly
 * rounded sums", 2008): product and sums with their errors, the errors added with rounding to odd, and one last sum.
 */
function fusedNearest<T>(pin: (x: T) => T, { add, sub, mul, constant, toOdd }: Arithmetic<T>, a: T, b: T, c: T): T {
  const twoSum = (x: T, y: T): [T, T] => {
    const sum = pin(add(x, y));
    const back = pin(sub(sum, x));
    return [sum, pin(add(sub(x, sub(sum, back)), sub(y, back)))];
  };
  // Dekker's product: halves of 26 bits.
  const split = (x: T): [T, T] => {
    const scaled = pin(mul(x, constant(2 ** 27 + 1)));
    const high = pin(sub(scaled, sub(scaled, x)));
    return [high, pin(sub(x, high))];
  };
  const product = pin(mul(a, b));
  const [aHigh, aLow] = split(a);
  const [bHigh, bLow] = split(b);
  const crossed = add(add(sub(mul(aHigh, bHigh), product), mul(aHigh, bLow)), mul(aLow, bHigh));
  const productError = pin(add(crossed, mul(aLow, bLow)));
  const [low, lowError] = twoSum(c, productError);
  const [high, highError] = twoSum(product, low);
  const [errors, lost] = twoSum(lowError, highError);
  return add(high, toOdd(errors, lost));
}

/** Fast paths; the caller has made sure that operands are ordinary and that no flag is wanted. */
const FAST: readonly Helper[] = [
  {
    name: "fusedNearest64",
    params: [F64, F64, F64],
    result: F64,
    build: (f) => {
      const pin = (x: F64Expr): F64Expr => f.let(x);
      f.return(fusedNearest(pin, SCALAR, f.param(0, F64), f.param(1, F64), f.param(2, F64)));
    },
  },
  {
    name: "fusedNearest64x2",
    params: [V128, V128, V128],
    result: V128,
    build: (f) => {
      const pin = (x: V128Expr): V128Expr => f.let(x);
      f.return(fusedNearest(pin, PACKED, f.param(0, V128), f.param(1, V128), f.param(2, V128)));
    },
  },
];

/** Packed: the negations of even and of odd lanes differ in VFMADDSUB and VFMSUBADD. */
function packed(width: 32 | 64): Helper {
  return {
    name: packedName("fma", width),
    params: [I32, V128, V128, V128, I32, I32],
    result: V128,
    build: (f, call) => {
      const result = f.local(V128);
      for (let lane = 0; lane < 128 / width; lane++) {
        const operands = [1, 2, 3].map((i) => laneOf(width, f.param(i, V128), lane));
        const args = [cpuOf(f), ...operands, f.param(lane & 1 ? 5 : 4, I32)];
        setLane(f, width, result, lane, call(`fma${width}`, I64, args));
      }
      f.return(result);
    },
  };
}

const SOFT = ([32, 64] as const).map(
  (width): Helper => ({
    name: `fma${width}`,
    params: [I32, I64, I64, I64, I32],
    result: I64,
    build: buildSoft(FORMAT[width]),
  }),
);

export const FMA_HELPERS: readonly Helper[] = [...SOFT, ...FAST, packed(32), packed(64)];
