import { STATE } from "../../cpu/state.ts";
import {
  type Expr,
  type F64Expr,
  f32,
  f64,
  I32,
  type I32Expr,
  I64,
  type I64Expr,
  i32,
  i64,
  select,
  V128,
  type ValType,
} from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { modeOf, roundBy } from "./float-convert.ts";
import {
  cpuOf,
  FORMAT,
  type Format,
  flushDenormal,
  hasMxcsr,
  isDenormal,
  isInfinite,
  isNaN64,
  isSignaling,
  isZero,
  MXCSR,
  magnitude,
  mxcsrOf,
  n,
  note,
  noteDenormal,
  signOf,
  unpack,
  variable,
} from "./float-format.ts";
import type { Helper, HelperCall } from "./helper.ts";
import { laneOf, packedName, setLane } from "./packed-float.ts";

/**
 * Floating-point operations that AVX-512 adds, on one number (SDM Vol. 2C, each). Parameters: the CPU state, the
 * operands as bit patterns, the immediate.
 */

type Width = 32 | 64;
type Build = (f: FunctionBuilder, call: HelperCall) => void;

const asF64 = (at: Format, bits: I64Expr): F64Expr =>
  at.width === 64 ? f64.reinterpretI64(bits) : f64.promoteF32(f32.reinterpretI32(i32.wrap(bits)));
const fromF64 = (at: Format, x: F64Expr): I64Expr =>
  at.width === 64 ? i64.reinterpretF64(x) : i64.extendI32U(i32.reinterpretF32(f32.demoteF64(x)));

const quieted = (f: FunctionBuilder, call: HelperCall, at: Format, x: I64Expr): void =>
  f.return(call(`nan${at.width}`, I64, [cpuOf(f), x, x]));

const invalid = (f: FunctionBuilder, at: Format): void => {
  note(f, MXCSR.IE);
  f.return(n(at.indefinite));
};

const oneOf = (at: Format): bigint => BigInt(at.bias) << BigInt(at.fraction);

/** VGETEXP: floor(log2(|x|)). */
function buildGetExponent(at: Format): Build {
  return (f, call) => {
    const x = variable(f, f.param(1, I64));
    f.if(isNaN64(at, x), () => quieted(f, call, at, x));
    flushDenormal(f, at, x);
    f.if(isInfinite(at, x), () => f.return(n(at.infinity)));
    f.if(isZero(at, x), () => f.return(n(at.sign | at.infinity)));
    noteDenormal(f, at, x);
    const { exponent } = unpack(f, at, x);
    f.return(fromF64(at, f64.convertI64S(i64.sub(exponent, n(at.bias)))));
  };
}

/** VGETMANT: the significand in an interval that the immediate names, with a sign that it names. */
function buildGetMantissa(at: Format): Build {
  return (f, call) => {
    const x = variable(f, f.param(1, I64));
    const control = f.param(2, I32);
    const has = (bit: number): I32Expr => i32.and(control, i32.const(bit));
    f.if(isNaN64(at, x), () => quieted(f, call, at, x));
    flushDenormal(f, at, x);
    const sign = f.let(select(has(4), n(0), signOf(at, x)));
    f.if(isZero(at, x), () => f.return(i64.or(sign, n(oneOf(at)))));
    f.if(i32.and(i32.shrU(has(8), i32.const(3)), i64.ne(signOf(at, x), n(0))), () => invalid(f, at));
    f.if(isInfinite(at, x), () => f.return(i64.or(sign, n(oneOf(at)))));
    noteDenormal(f, at, x);
    const { exponent, significand } = unpack(f, at, x);
    const fraction = f.let(i64.and(i64.shrU(significand, n(at.shift)), n(at.hidden - 1n)));
    const interval = (which: number): I32Expr => i32.eq(has(3), i32.const(which));
    // [1, 2) as it is; [1/2, 2) halved for an odd exponent; [1/2, 1) halved; [3/4, 3/2) halved from 3/2 on.
    const odd = i32.wrap(i64.and(i64.sub(exponent, n(at.bias)), n(1)));
    const upper = i64.ne(i64.and(fraction, n(at.quiet)), n(0));
    const halved = i32.or(i32.or(i32.and(interval(1), odd), interval(2)), i32.and(interval(3), upper));
    const field = i64.sub(n(at.bias), i64.extendI32U(halved));
    f.return(i64.or(sign, i64.or(i64.shl(field, n(at.fraction)), fraction)));
  };
}

/** VSCALEF: a × 2^floor(b). */
function buildScale(at: Format): Build {
  return (f, call) => {
    const a = variable(f, f.param(1, I64));
    const b = variable(f, f.param(2, I64));
    f.if(isNaN64(at, a), () => {
      const ordinary = i32.or(isSignaling(at, a), i32.eqz(isInfinite(at, b)));
      f.if(ordinary, () => f.return(call(`nan${at.width}`, I64, [cpuOf(f), a, b])));
      f.return(select(i64.ne(signOf(at, b), n(0)), n(0), n(at.infinity)));
    });
    f.if(isNaN64(at, b), () => quieted(f, call, at, b));
    flushDenormal(f, at, a);
    flushDenormal(f, at, b);
    noteDenormal(f, at, a);
    f.if(isInfinite(at, b), () => {
      f.if(
        i64.eqz(signOf(at, b)),
        () => {
          f.if(isZero(at, a), () => invalid(f, at));
          f.return(i64.or(signOf(at, a), n(at.infinity)));
        },
        () => {
          f.if(isInfinite(at, a), () => invalid(f, at));
          f.return(signOf(at, a));
        },
      );
    });
    f.if(i32.or(isInfinite(at, a), isZero(at, a)), () => f.return(a));
    const floor = f64.floor(asF64(at, b));
    const limit = 2 ** 14;
    const low = f.let(select(f64.lt(floor, f64.const(-limit)), f64.const(-limit), floor));
    const power = i64.truncSatF64S(select(f64.gt(low, f64.const(limit)), f64.const(limit), low));
    const { exponent, significand } = unpack(f, at, a);
    const args = [cpuOf(f), signOf(at, a), i64.add(exponent, f.let(power)), significand];
    f.return(call(`roundPack${at.width}`, I64, args));
  };
}

/** VRANGE: the smaller or larger of two, or of their magnitudes; the sign is chosen apart. */
function buildRange(at: Format): Build {
  return (f, call) => {
    const a = variable(f, f.param(1, I64));
    const b = variable(f, f.param(2, I64));
    const control = f.param(3, I32);
    f.if(isSignaling(at, a), () => quieted(f, call, at, a));
    f.if(isSignaling(at, b), () => quieted(f, call, at, b));
    for (const x of [a, b]) flushDenormal(f, at, x);
    const result = f.local(I64);
    const signControl = f.let(i32.and(i32.shrU(control, i32.const(2)), i32.const(3)));
    f.if(
      i32.or(isNaN64(at, a), isNaN64(at, b)),
      () => {
        // A number rather than a NaN; of two NaNs the first.
        f.set(result, select(i32.and(isNaN64(at, a), i32.eqz(isNaN64(at, b))), b, a));
      },
      () => {
        for (const x of [a, b]) noteDenormal(f, at, x);
        const signed = (x: I64Expr): I64Expr => (at.width === 64 ? x : i64.extend32s(x));
        // In order as integers: negative numbers have the magnitude's bits flipped.
        const order = (x: I64Expr): I64Expr => {
          const wide = signed(x);
          return i64.xor(wide, i64.and(i64.shrS(wide, n(63)), n(at.magnitude)));
        };
        const less = f.let(i64.ltS(order(a), order(b)));
        const [sizeA, sizeB] = [f.let(magnitude(at, a)), f.let(magnitude(at, b))];
        const smaller = f.let(select(i64.eq(sizeA, sizeB), less, i64.ltU(sizeA, sizeB)));
        const first = f.let(select(i32.and(control, i32.const(2)), smaller, less));
        const isMax = i32.and(control, i32.const(1));
        f.set(result, select(i32.xor(first, isMax), a, b));
      },
    );
    const own = f.let(result);
    const sign = select(
      i32.eq(signControl, i32.const(0)),
      signOf(at, a),
      select(
        i32.eq(signControl, i32.const(1)),
        signOf(at, own),
        select(i32.eq(signControl, i32.const(2)), n(0), n(at.sign)),
      ),
    );
    f.return(i64.or(magnitude(at, own), sign));
  };
}

/** round(x × 2^M) × 2^-M, with M and the rounding in the immediate; M is in bits 7:4. */
function roundScaled(f: FunctionBuilder, value: F64Expr, control: I32Expr): F64Expr {
  const power = i64.extendI32U(i32.shrU(control, i32.const(4)));
  const factor = (exponent: I64Expr): F64Expr => f.let(f64.reinterpretI64(i64.shl(i64.add(exponent, n(1023)), n(52))));
  const scaled = f.let(f64.mul(value, factor(power)));
  const back = f.let(f64.mul(roundBy(f, modeOf(f, control), scaled), factor(i64.sub(n(0), power))));
  // From 2^52 on every number is an integer, and the product may overflow.
  return f.let(select(f64.lt(f64.abs(value), f64.const(2 ** 53)), back, value));
}

const reportsInexact = (control: I32Expr): I32Expr => i32.eqz(i32.and(control, i32.const(8)));

/** VRNDSCALE: rounds to a number of fraction bits. */
function buildRoundScale(at: Format): Build {
  return (f, call) => {
    const x = variable(f, f.param(1, I64));
    const control = f.param(2, I32);
    f.if(isNaN64(at, x), () => quieted(f, call, at, x));
    flushDenormal(f, at, x);
    f.if(i32.or(isInfinite(at, x), isZero(at, x)), () => f.return(x));
    const value = f.let(asF64(at, x));
    const rounded = roundScaled(f, value, control);
    f.if(i32.and(f64.ne(rounded, value), reportsInexact(control)), () => note(f, MXCSR.PE));
    f.return(fromF64(at, rounded));
  };
}

/**
 * VREDUCE: what rounding to a number of fraction bits takes away. The difference is rounded as the immediate says, and
 * its being inexact is what PE reports; denormals do not count, neither as operand nor as result.
 */
function buildReduce(at: Format): Build {
  return (f, call) => {
    const x = variable(f, f.param(1, I64));
    const control = f.param(2, I32);
    f.if(isNaN64(at, x), () => quieted(f, call, at, x));
    flushDenormal(f, at, x);
    f.if(isInfinite(at, x), () => f.return(n(0)));
    const value = f.let(asF64(at, x));
    const rounded = roundScaled(f, value, control);
    const cpu = cpuOf(f);
    const own = f.let(mxcsrOf(f));
    const noted = f.let(i32.load(cpu, STATE.scratch));
    const mode = i32.shl(modeOf(f, control), i32.const(MXCSR.roundShift));
    // No underflow is raised: where it is not masked, the result is still written, and not flushed (as FTZ needs UM).
    const unmasked = i32.or(i32.and(own, i32.const(~MXCSR.FTZ)), i32.const(MXCSR.UM));
    const base = select(i32.and(own, i32.const(MXCSR.UM)), own, unmasked);
    f.storeI32(cpu, i32.or(i32.and(base, i32.const(~MXCSR.RC)), mode), STATE.mxcsr);
    f.storeI32(cpu, i32.const(0), STATE.scratch);
    const result = f.let(call(`sub${at.width}`, I64, [cpu, x, fromF64(at, rounded)]));
    const reported = select(reportsInexact(control), i32.const(MXCSR.IE | MXCSR.PE), i32.const(MXCSR.IE));
    f.storeI32(cpu, i32.or(noted, i32.and(i32.load(cpu, STATE.scratch), reported)), STATE.scratch);
    f.storeI32(cpu, own, STATE.mxcsr);
    f.return(result);
  };
}

/** Values of the responses 3 to 15 in VFIXUPIMM's table (SDM Vol. 2C, table 5-22), but for those that name operands. */
function fixedResponses(at: Format): Map<number, bigint> {
  const number = (value: number): bigint => {
    const view = new DataView(new ArrayBuffer(8));
    if (at.width === 64) {
      view.setFloat64(0, value);
      return view.getBigUint64(0);
    }
    view.setFloat32(0, value);
    return BigInt(view.getUint32(0));
  };
  return new Map([
    [3, at.indefinite],
    [4, at.sign | at.infinity],
    [5, at.infinity],
    [7, at.sign],
    [8, 0n],
    [9, number(-1)],
    [10, number(1)],
    [11, number(0.5)],
    [12, number(90)],
    [13, number(Math.PI / 2)],
    [14, at.infinity - 1n],
    [15, at.sign | (at.infinity - 1n)],
  ]);
}

/** Classes of numbers in VFIXUPIMM (SDM Vol. 2C, VFIXUPIMMPD). */
const TOKEN = { quiet: 0, signaling: 1, zero: 2, one: 3, negativeInfinity: 4, infinity: 5, negative: 6, positive: 7 };

/** VFIXUPIMM: the class of operand 1 picks four bits of operand 2, and they what the result is. */
function buildFixUp(at: Format): Build {
  return (f) => {
    const destination = f.param(1, I64);
    const x = variable(f, f.param(2, I64));
    const table = f.param(3, I64);
    const control = f.param(4, I32);
    flushDenormal(f, at, x);
    const token = f.local(I32);
    const negative = i64.ne(signOf(at, x), n(0));
    f.set(token, select(negative, i32.const(TOKEN.negative), i32.const(TOKEN.positive)));
    const classify = (condition: I32Expr, value: I32Expr, flags: I32Expr = i32.const(0)): void =>
      f.if(condition, () => {
        f.set(token, value);
        note(f, flags);
      });
    /** A flag, if a bit of the immediate asks for it. */
    const report = (bit: number, flag: number): I32Expr =>
      select(i32.and(control, i32.const(1 << bit)), i32.const(flag), i32.const(0));
    const constant = (value: number): I32Expr => i32.const(value);
    f.if(i32.and(negative, i32.eqz(i32.or(isZero(at, x), i64.geU(magnitude(at, x), n(at.infinity))))), () =>
      note(f, report(6, MXCSR.IE)),
    );
    classify(isZero(at, x), constant(TOKEN.zero), i32.or(report(0, MXCSR.ZE), report(1, MXCSR.IE)));
    classify(i64.eq(x, n(oneOf(at))), constant(TOKEN.one), i32.or(report(2, MXCSR.ZE), report(3, MXCSR.IE)));
    classify(i64.eq(x, n(at.infinity)), constant(TOKEN.infinity), report(7, MXCSR.IE));
    classify(i64.eq(x, n(at.sign | at.infinity)), constant(TOKEN.negativeInfinity), report(5, MXCSR.IE));
    classify(isNaN64(at, x), constant(TOKEN.quiet));
    classify(isSignaling(at, x), constant(TOKEN.signaling), report(4, MXCSR.IE));
    const response = f.let(
      i32.and(i32.wrap(i64.shrU(table, i64.extendI32U(i32.shl(token, i32.const(2))))), i32.const(15)),
    );
    const is = (value: number): I32Expr => i32.eq(response, i32.const(value));
    f.if(is(0), () => f.return(destination));
    f.if(is(1), () => f.return(x));
    f.if(is(2), () => f.return(i64.or(x, n(at.quiet | at.infinity))));
    f.if(is(6), () => f.return(i64.or(signOf(at, x), n(at.infinity))));
    for (const [value, bits] of fixedResponses(at)) f.if(is(value), () => f.return(n(bits)));
    f.return(n(0));
  };
}

/** VFPCLASS: all ones if the number is of a class that the immediate names. */
function buildClassify(at: Format): Build {
  return (f) => {
    const x = variable(f, f.param(1, I64));
    const control = f.param(2, I32);
    flushDenormal(f, at, x);
    const negative = i64.ne(signOf(at, x), n(0));
    const positive = i64.eqz(signOf(at, x));
    const finite = i32.and(i64.ltU(magnitude(at, x), n(at.infinity)), i32.eqz(isZero(at, x)));
    const quiet = i32.and(isNaN64(at, x), i32.eqz(isSignaling(at, x)));
    const classes = [
      quiet,
      i32.and(isZero(at, x), positive),
      i32.and(isZero(at, x), negative),
      i32.and(isInfinite(at, x), positive),
      i32.and(isInfinite(at, x), negative),
      isDenormal(at, x),
      i32.and(finite, negative),
      isSignaling(at, x),
    ];
    const found = classes
      .map((is, bit) => i32.and(i32.shrU(control, i32.const(bit)), is))
      .reduce((a, b) => i32.or(a, b));
    f.return(select(i32.and(found, i32.const(1)), n(-1), n(0)));
  };
}

/** 2^14 times less than the last digit that has to be right: any result within that is as good (SDM, VRCP14PS). */
function approximation(f: FunctionBuilder, at: Format, bits: F64Expr): void {
  const result = f.let(fromF64(at, bits));
  // FTZ.
  f.if(i32.and(isDenormal(at, result), i32.ne(hasMxcsr(f, MXCSR.FTZ), i32.const(0))), () =>
    f.return(signOf(at, result)),
  );
  f.return(result);
}

/** VRCP14: 1 / x. */
function buildReciprocal(at: Format): Build {
  return (f) => {
    const x = variable(f, f.param(1, I64));
    f.if(isNaN64(at, x), () => f.return(i64.or(x, n(at.quiet))));
    flushDenormal(f, at, x);
    f.if(isInfinite(at, x), () => f.return(signOf(at, x)));
    approximation(f, at, f64.div(f64.const(1), asF64(at, x)));
  };
}

/** VRSQRT14: 1 / sqrt(x). */
function buildReciprocalRoot(at: Format): Build {
  return (f) => {
    const x = variable(f, f.param(1, I64));
    f.if(isNaN64(at, x), () => f.return(i64.or(x, n(at.quiet))));
    flushDenormal(f, at, x);
    f.if(isZero(at, x), () => f.return(i64.or(signOf(at, x), n(at.infinity))));
    f.if(i64.ne(signOf(at, x), n(0)), () => f.return(n(at.indefinite)));
    f.if(isInfinite(at, x), () => f.return(n(0)));
    approximation(f, at, f64.div(f64.const(1), f64.sqrt(asF64(at, x))));
  };
}

/** Operations: how many operands they take, and what they do. */
export const EVEX_OPERATIONS = {
  getexp: { operands: 1, build: buildGetExponent },
  getmant: { operands: 1, build: buildGetMantissa },
  scalef: { operands: 2, build: buildScale },
  range: { operands: 2, build: buildRange },
  rndscale: { operands: 1, build: buildRoundScale },
  reduce: { operands: 1, build: buildReduce },
  fixupimm: { operands: 3, build: buildFixUp },
  fpclass: { operands: 1, build: buildClassify },
  rcp14: { operands: 1, build: buildReciprocal },
  rsqrt14: { operands: 1, build: buildReciprocalRoot },
} as const;
export type EvexOperation = keyof typeof EVEX_OPERATIONS;

const helpersOf = (name: string, operands: number, width: Width, build: Build): Helper[] => [
  {
    name: `${name}${width}`,
    params: [I32, ...Array.from({ length: operands }, (): ValType => I64), I32],
    result: I64,
    build,
  },
  {
    name: packedName(name, width),
    params: [I32, ...Array.from({ length: operands }, (): ValType => V128), I32],
    result: V128,
    build: (f, call) => {
      const result = f.local(V128);
      for (let lane = 0; lane < 128 / width; lane++) {
        const args: Expr[] = [cpuOf(f)];
        for (let i = 1; i <= operands; i++) args.push(laneOf(width, f.param(i, V128), lane));
        args.push(f.param(operands + 1, I32));
        setLane(f, width, result, lane, call(`${name}${width}`, I64, args));
      }
      f.return(result);
    },
  },
];

export const EVEX_FLOAT_HELPERS: readonly Helper[] = Object.entries(EVEX_OPERATIONS).flatMap(
  ([name, { operands, build }]) =>
    ([32, 64] as const).flatMap((width) => helpersOf(name, operands, width, build(FORMAT[width]))),
);
