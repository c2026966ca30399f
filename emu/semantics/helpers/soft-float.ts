import { STATE } from "../../cpu/state.ts";
import {
  type Expr,
  F32,
  F64,
  f32,
  f64,
  I32,
  type I32Expr,
  I64,
  type I64Expr,
  i32,
  i64,
  select,
} from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import {
  cpuOf,
  denormalOperand,
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
  ROUND,
  roundingMode,
  shiftRightJam,
  signOf,
  unpack,
  variable,
} from "./float-format.ts";
import type { Helper, HelperCall } from "./helper.ts";

/**
 * Floating-point arithmetic of SSE in integers: every rounding mode, DAZ and FTZ, NaNs and exception flags exactly as
 * SDM Vol. 1, 4.8, 4.9 and 11.5 have them. Slow, and complete: handlers come here when their fast path cannot vouch
 * for the result or its flags (semantics/float.ts). Values are bit patterns, zero-extended to 64 bits.
 */

/** The default state for which a native result can be right: masked, nearest, no DAZ and FTZ, PE set already. */
export const FAST_MASK = MXCSR.masks | MXCSR.RC | MXCSR.FTZ | MXCSR.DAZ | MXCSR.PE;
export const FAST_VALUE = MXCSR.masks | MXCSR.PE;

/** nan(cpu, a, b): the NaN that results from two operands of which one is a NaN (SDM Vol. 1, table 4-7). */
function buildNaN(at: Format): (f: FunctionBuilder) => void {
  return (f) => {
    const a = f.param(1, I64);
    const b = f.param(2, I64);
    f.if(i32.or(isSignaling(at, a), isSignaling(at, b)), () => note(f, MXCSR.IE));
    f.return(i64.or(select(isNaN64(at, a), a, b), n(at.quiet)));
  };
}

/**
 * roundPack(cpu, sign, exponent, significand): rounds to the format as MXCSR says and notes OE, UE and PE. The
 * significand has its leading one at bit 62 and bit 0 sticky; the exponent is biased and may be out of range.
 * Underflow is detected after rounding (SDM Vol. 1, 4.9.1.5). Half precision has the rounding mode as a fifth
 * parameter and is not subject to FTZ (SDM Vol. 2C, VCVTPS2PH).
 */
function buildRoundPack(at: Format): (f: FunctionBuilder) => void {
  const mask = (1n << BigInt(at.shift)) - 1n;
  const half = 1n << BigInt(at.shift - 1);
  return (f) => {
    const sign = f.param(1, I64);
    const exponent = f.local(I64);
    f.set(exponent, f.param(2, I64));
    const significand = variable(f, f.param(3, I64));
    const mode = at.width === 16 ? f.param(4, I32) : f.let(roundingMode(f));
    const isMode = (which: number): I32Expr => i32.eq(mode, i32.const(which));
    const away = select(i64.eqz(sign), isMode(ROUND.up), isMode(ROUND.down));
    const increment = f.let(select(i32.eqz(mode), n(half), select(away, n(mask), n(0))));
    const finish = (): void => {
      f.if(i64.ne(i64.and(significand, n(mask)), n(0)), () => note(f, MXCSR.PE));
      const tie = i32.and(i32.eqz(mode), i64.eq(i64.and(significand, n(mask)), n(half)));
      const even = f.let(i64.extendI32U(tie));
      const rounded = i64.shrU(i64.add(significand, increment), n(at.shift));
      // At a tie the sum has come out one too high or right: clearing its last bit makes it even.
      const digits = i64.and(rounded, i64.xor(even, n(-1)));
      f.return(i64.or(sign, i64.add(i64.shl(exponent, n(at.fraction)), digits)));
    };
    /** Unmasked overflow and underflow write no result; PE is as if the exponent had no bounds. */
    const outOfRange = (flag: number): void => {
      f.if(i64.ne(i64.and(significand, n(mask)), n(0)), () => note(f, MXCSR.PE));
      note(f, flag);
      f.return(sign);
    };
    f.if(i64.leS(exponent, n(0)), () => {
      const carries = i64.geU(i64.add(significand, increment), n(1n << 63n));
      const tiny = f.let(i32.or(i64.ltS(exponent, n(0)), i32.eqz(carries)));
      const flushes = i32.eq(hasMxcsr(f, MXCSR.FTZ | MXCSR.UM), i32.const(MXCSR.FTZ | MXCSR.UM));
      if (at.width !== 16) {
        f.if(i32.and(tiny, flushes), () => {
          note(f, MXCSR.UE | MXCSR.PE);
          f.return(sign);
        });
      }
      const unmasked = i32.eqz(hasMxcsr(f, MXCSR.UM));
      f.if(i32.and(tiny, unmasked), () => outOfRange(MXCSR.UE));
      shiftRightJam(f, significand, i64.sub(n(1), exponent));
      f.set(exponent, n(0));
      const inexact = i64.ne(i64.and(significand, n(mask)), n(0));
      f.if(i32.and(tiny, inexact), () => note(f, MXCSR.UE));
      finish();
    });
    const carries = i64.geU(i64.add(significand, increment), n(1n << 63n));
    const top = i64.add(exponent, i64.extendI32U(carries));
    f.if(i64.geS(top, n(at.special)), () => {
      f.if(i32.eqz(hasMxcsr(f, MXCSR.OM)), () => outOfRange(MXCSR.OE));
      note(f, MXCSR.OE | MXCSR.PE);
      const largest = n(at.infinity - 1n);
      f.return(i64.or(sign, select(i64.eqz(increment), largest, n(at.infinity))));
    });
    // The significand's leading one adds 1 to the exponent field.
    f.set(exponent, i64.sub(exponent, n(1)));
    finish();
  };
}

/** Native arithmetic on bit patterns, as long as the value is ordinary. */
const native = {
  32: {
    type: F32,
    from: (x: I64Expr): Expr<typeof F32> => f32.reinterpretI32(i32.wrap(x)),
    to: (x: Expr<typeof F32>): I64Expr => i64.extendI32U(i32.reinterpretF32(x)),
    ops: f32,
  },
  64: {
    type: F64,
    from: (x: I64Expr): Expr<typeof F64> => f64.reinterpretI64(x),
    to: (x: Expr<typeof F64>): I64Expr => i64.reinterpretF64(x),
    ops: f64,
  },
} as const;

type Operation = "add" | "sub" | "mul" | "div";

/** Returns the native result if it is right and raises no flag but PE, which is set: zeros and wide exponents. */
function tryNative(f: FunctionBuilder, at: Format, op: Operation, a: I64Expr, b: I64Expr): void {
  f.if(i32.eq(hasMxcsr(f, FAST_MASK), i32.const(FAST_VALUE)), () => {
    let bits: I64Expr;
    if (at.width === 32) {
      const { from, to, ops } = native[32];
      bits = to(ops[op](from(a), from(b)));
    } else {
      const { from, to, ops } = native[64];
      bits = to(ops[op](from(a), from(b)));
    }
    const result = f.let(bits);
    const size = f.let(magnitude(at, result));
    const normal = i64.ltU(i64.sub(size, n(at.hidden + 1n)), n(at.infinity - at.hidden - 1n));
    // A sum of numbers that are not denormal is zero only if that is exact; a product, if a factor is zero.
    const factor = op === "mul" ? i32.or(isZero(at, a), isZero(at, b)) : isZero(at, a);
    const exactZero = op === "add" || op === "sub" ? i64.eqz(size) : i32.and(i64.eqz(size), factor);
    const denormal = i32.or(isDenormal(at, a), isDenormal(at, b));
    f.if(i32.and(i32.or(normal, exactZero), i32.eqz(denormal)), () => f.return(result));
  });
}

/**
 * What comes before every two-operand operation: NaNs, then denormals. Returns the operands to go on with.
 * @param mayDivideByZero DE is not noted if the second operand is zero: ZE and IE come first
 */
function prologue(
  f: FunctionBuilder,
  call: HelperCall,
  at: Format,
  mayDivideByZero = false,
): { a: I64Expr; b: I64Expr } {
  const a = variable(f, f.param(1, I64));
  const b = variable(f, f.param(2, I64));
  f.if(i32.or(isNaN64(at, a), isNaN64(at, b)), () => f.return(call(`nan${at.width}`, I64, [cpuOf(f), a, b])));
  flushDenormal(f, at, a);
  flushDenormal(f, at, b);
  const note = (): void => {
    noteDenormal(f, at, a);
    noteDenormal(f, at, b);
  };
  if (mayDivideByZero) f.if(i32.eqz(isZero(at, b)), note);
  else note();
  return { a, b };
}

function invalid(f: FunctionBuilder, at: Format): void {
  note(f, MXCSR.IE);
  f.return(n(at.indefinite));
}

function buildAdd(at: Format, subtract: boolean): (f: FunctionBuilder, call: HelperCall) => void {
  return (f, call) => {
    tryNative(f, at, subtract ? "sub" : "add", f.param(1, I64), f.param(2, I64));
    const { a, b: second } = prologue(f, call, at);
    const b = subtract ? f.let(i64.xor(second, n(at.sign))) : second;
    f.if(isInfinite(at, a), () => {
      f.if(i64.eq(b, i64.xor(a, n(at.sign))), () => invalid(f, at));
      f.return(a);
    });
    f.if(isInfinite(at, b), () => f.return(b));
    const x = unpack(f, at, a);
    const y = unpack(f, at, b);
    const sign = variable(f, signOf(at, a));
    const sameSign = f.let(i64.eq(sign, signOf(at, b)));
    const distance = f.let(i64.sub(x.exponent, y.exponent));
    const exponent = variable(f, x.exponent);
    f.if(i64.ne(y.significand, n(0)), () => {
      f.if(
        i64.eqz(x.significand),
        () => f.set(exponent, y.exponent),
        () => {
          f.if(
            i64.ltS(distance, n(0)),
            () => {
              f.set(exponent, y.exponent);
              shiftRightJam(f, x.significand, i64.sub(n(0), distance));
            },
            () => shiftRightJam(f, y.significand, distance),
          );
        },
      );
    });
    const sum = f.local(I64);
    f.if(
      sameSign,
      () => {
        f.set(sum, i64.add(x.significand, y.significand));
        f.if(i64.ltS(sum, n(0)), () => {
          f.set(sum, i64.or(i64.shrU(sum, n(1)), i64.and(sum, n(1))));
          f.set(exponent, i64.add(exponent, n(1)));
        });
      },
      () => {
        f.set(sum, i64.sub(x.significand, y.significand));
        f.if(i64.ltS(sum, n(0)), () => {
          f.set(sum, i64.sub(n(0), sum));
          f.set(sign, i64.xor(sign, n(at.sign)));
        });
      },
    );
    f.if(i64.eqz(sum), () => {
      // A sum of zero: -0 only for two of them, or when rounding down (SDM Vol. 1, 4.8.3.1).
      const down = i32.eq(hasMxcsr(f, MXCSR.RC), i32.const(ROUND.down << MXCSR.roundShift));
      f.return(select(sameSign, sign, select(down, n(at.sign), n(0))));
    });
    const shift = f.let(i64.sub(i64.clz(sum), n(1)));
    const args = [cpuOf(f), sign, i64.sub(exponent, shift), i64.shl(sum, shift)];
    f.return(call(`roundPack${at.width}`, I64, args));
  };
}

/** The upper 64 bits of a product, with bit 0 set if any lower bit is. */
function productHighJam(f: FunctionBuilder, a: I64Expr, b: I64Expr): I64Expr {
  const low = (x: I64Expr): I64Expr => f.let(i64.and(x, n(0xffff_ffff)));
  const high = (x: I64Expr): I64Expr => f.let(i64.shrU(x, n(32)));
  const [a0, a1, b0, b1] = [low(a), high(a), low(b), high(b)];
  const p00 = f.let(i64.mul(a0, b0));
  const middle = f.let(i64.add(i64.mul(a0, b1), i64.shrU(p00, n(32))));
  const other = f.let(i64.add(i64.mul(a1, b0), i64.and(middle, n(0xffff_ffff))));
  const top = i64.add(i64.add(i64.mul(a1, b1), i64.shrU(middle, n(32))), i64.shrU(other, n(32)));
  const rest = i64.or(i64.shl(other, n(32)), i64.and(p00, n(0xffff_ffff)));
  return i64.or(top, i64.extendI32U(i64.ne(rest, n(0))));
}

function buildMul(at: Format): (f: FunctionBuilder, call: HelperCall) => void {
  return (f, call) => {
    tryNative(f, at, "mul", f.param(1, I64), f.param(2, I64));
    const { a, b } = prologue(f, call, at);
    const sign = f.let(signOf(at, i64.xor(a, b)));
    const anyInfinite = i32.or(isInfinite(at, a), isInfinite(at, b));
    const anyZero = f.let(i32.or(isZero(at, a), isZero(at, b)));
    f.if(anyInfinite, () => {
      f.if(anyZero, () => invalid(f, at));
      f.return(i64.or(sign, n(at.infinity)));
    });
    f.if(anyZero, () => f.return(sign));
    const x = unpack(f, at, a);
    const y = unpack(f, at, b);
    const exponent = variable(f, i64.sub(i64.add(x.exponent, y.exponent), n(at.bias - 1)));
    // Leading ones at bits 63 and 62: the product's is at bit 62 or 61 of its upper half.
    const product = variable(f, productHighJam(f, i64.shl(x.significand, n(1)), y.significand));
    f.if(i64.ltU(product, n(1n << 62n)), () => {
      f.set(product, i64.shl(product, n(1)));
      f.set(exponent, i64.sub(exponent, n(1)));
    });
    f.return(call(`roundPack${at.width}`, I64, [cpuOf(f), sign, exponent, product]));
  };
}

function buildDiv(at: Format): (f: FunctionBuilder, call: HelperCall) => void {
  return (f, call) => {
    tryNative(f, at, "div", f.param(1, I64), f.param(2, I64));
    const { a, b } = prologue(f, call, at, true);
    const sign = f.let(signOf(at, i64.xor(a, b)));
    f.if(isInfinite(at, a), () => {
      f.if(isInfinite(at, b), () => invalid(f, at));
      f.return(i64.or(sign, n(at.infinity)));
    });
    f.if(isInfinite(at, b), () => f.return(sign));
    f.if(isZero(at, b), () => {
      f.if(isZero(at, a), () => invalid(f, at));
      note(f, MXCSR.ZE);
      f.return(i64.or(sign, n(at.infinity)));
    });
    f.if(isZero(at, a), () => f.return(sign));
    const x = unpack(f, at, a);
    const y = unpack(f, at, b);
    const exponent = i64.add(i64.sub(x.exponent, y.exponent), n(at.bias));
    const below = f.let(i64.extendI32U(i64.ltU(x.significand, y.significand)));
    // The dividend is shifted left by 63 if it is below the divisor, else by 62: a quotient of 63 bits.
    const high = i64.shrU(x.significand, i64.sub(n(2), below));
    const low = f.let(i64.shl(x.significand, i64.add(n(62), below)));
    const quotient = f.let(call("divide128", I64, [high, low, y.significand]));
    const rest = i64.sub(low, i64.mul(quotient, y.significand));
    const jammed = i64.or(quotient, i64.extendI32U(i64.ne(rest, n(0))));
    f.return(call(`roundPack${at.width}`, I64, [cpuOf(f), sign, i64.sub(exponent, below), jammed]));
  };
}

/** sqrt(cpu, a): a correctly rounded 53-bit root from the hardware, and the sign of what it is off by. */
function buildSqrt(at: Format): (f: FunctionBuilder, call: HelperCall) => void {
  return (f, call) => {
    const a = variable(f, f.param(1, I64));
    f.if(isNaN64(at, a), () => f.return(call(`nan${at.width}`, I64, [cpuOf(f), a, a])));
    flushDenormal(f, at, a);
    f.if(isZero(at, a), () => f.return(a));
    f.if(i64.ne(signOf(at, a), n(0)), () => invalid(f, at));
    f.if(isInfinite(at, a), () => f.return(a));
    noteDenormal(f, at, a);
    const x = unpack(f, at, a);
    // value = significand × 2^(exponent - bias - 62): the significand becomes 1.f, or 2 × 1.f for an odd exponent.
    const power = f.let(i64.sub(x.exponent, n(at.bias)));
    const odd = f.let(i64.and(power, n(1)));
    const fraction = f.let(i64.shrU(x.significand, n(10)));
    const field = i64.or(i64.shl(i64.add(n(1023), odd), n(52)), i64.and(fraction, n((1n << 52n) - 1n)));
    const root = i64.reinterpretF64(f64.sqrt(f64.reinterpretI64(field)));
    const digits = f.let(i64.or(i64.and(root, n((1n << 52n) - 1n)), n(1n << 52n)));
    // fraction × 2^(52 + odd) - digits², modulo 2^64, which is wide enough for the difference.
    const rest = f.let(i64.sub(i64.shl(fraction, i64.add(n(52), odd)), i64.mul(digits, digits)));
    const direction = i64.sub(i64.extendI32U(i64.gtS(rest, n(0))), i64.extendI32U(i64.ltS(rest, n(0))));
    const significand = i64.add(i64.shl(digits, n(10)), direction);
    const exponent = i64.add(i64.shrS(power, n(1)), n(at.bias));
    f.return(call(`roundPack${at.width}`, I64, [cpuOf(f), n(0), exponent, significand]));
  };
}

/** min(cpu, a, b), max: the second operand if either is a NaN or both are zeros (SDM Vol. 2B, MINPD, MAXPD). */
function buildMinMax(at: Format, isMax: boolean): (f: FunctionBuilder) => void {
  return (f) => {
    const a = variable(f, f.param(1, I64));
    const b = variable(f, f.param(2, I64));
    f.if(i32.or(isNaN64(at, a), isNaN64(at, b)), () => {
      note(f, MXCSR.IE);
      flushDenormal(f, at, b);
      f.return(b);
    });
    denormalOperand(f, at, a);
    denormalOperand(f, at, b);
    let takesFirst: I32Expr;
    if (at.width === 32) {
      const { from, ops } = native[32];
      takesFirst = (isMax ? ops.gt : ops.lt)(from(a), from(b));
    } else {
      const { from, ops } = native[64];
      takesFirst = (isMax ? ops.gt : ops.lt)(from(a), from(b));
    }
    f.return(select(takesFirst, a, b));
  };
}

/** How two numbers compare; `compare` gives one of these. */
export const OUTCOME = { greater: 0, less: 1, equal: 2, unordered: 3 } as const;

/** compare(cpu, a, b, signaling): an OUTCOME. IE for a signaling NaN, or for any NaN if `signaling`. */
function buildCompare(at: Format): (f: FunctionBuilder) => void {
  return (f) => {
    const a = variable(f, f.param(1, I64));
    const b = variable(f, f.param(2, I64));
    f.if(i32.or(isNaN64(at, a), isNaN64(at, b)), () => {
      const isInvalid = i32.or(i32.or(isSignaling(at, a), isSignaling(at, b)), f.param(3, I32));
      f.if(isInvalid, () => note(f, MXCSR.IE));
      f.return(i32.const(OUTCOME.unordered));
    });
    denormalOperand(f, at, a);
    denormalOperand(f, at, b);
    let less: I32Expr;
    let equal: I32Expr;
    if (at.width === 32) {
      const { from, ops } = native[32];
      [less, equal] = [ops.lt(from(a), from(b)), ops.eq(from(a), from(b))];
    } else {
      const { from, ops } = native[64];
      [less, equal] = [ops.lt(from(a), from(b)), ops.eq(from(a), from(b))];
    }
    f.return(select(less, i32.const(OUTCOME.less), i32.shl(equal, i32.const(1))));
  };
}

/**
 * commitFloat(cpu): moves the instruction's exceptions to MXCSR's sticky flags; 1 if one of them is not masked. With
 * an unmasked one among IE, DE and ZE, which are found before the computation, the others are not set
 * (SDM Vol. 1, 4.9.2, 11.5.1).
 */
function buildCommit(f: FunctionBuilder): void {
  const flags = f.local(I32);
  f.set(flags, i32.load(cpuOf(f), STATE.scratch));
  f.storeI32(cpuOf(f), i32.const(0), STATE.scratch);
  const unmasked = (which: number): I32Expr => {
    const masks = i32.shrU(mxcsrOf(f), i32.const(MXCSR.maskShift));
    return i32.and(i32.and(flags, i32.const(which)), i32.xor(masks, i32.const(-1)));
  };
  const before = MXCSR.IE | MXCSR.DE | MXCSR.ZE;
  f.if(unmasked(before), () => f.set(flags, i32.and(flags, i32.const(before))));
  f.storeI32(cpuOf(f), i32.or(mxcsrOf(f), flags), STATE.mxcsr);
  f.return(i32.ne(unmasked(0x3f), i32.const(0)));
}

const two = [I32, I64, I64] as const;

function helpersOf(at: Format): Helper[] {
  const w = at.width;
  return [
    { name: `nan${w}`, params: two, result: I64, build: buildNaN(at) },
    { name: `roundPack${w}`, params: [I32, I64, I64, I64], result: I64, build: buildRoundPack(at) },
    { name: `add${w}`, params: two, result: I64, build: buildAdd(at, false) },
    { name: `sub${w}`, params: two, result: I64, build: buildAdd(at, true) },
    { name: `mul${w}`, params: two, result: I64, build: buildMul(at) },
    { name: `div${w}`, params: two, result: I64, build: buildDiv(at) },
    { name: `sqrt${w}`, params: [I32, I64], result: I64, build: buildSqrt(at) },
    { name: `min${w}`, params: two, result: I64, build: buildMinMax(at, false) },
    { name: `max${w}`, params: two, result: I64, build: buildMinMax(at, true) },
    { name: `compare${w}`, params: [I32, I64, I64, I32], result: I32, build: buildCompare(at) },
  ];
}

export const SOFT_FLOAT_HELPERS: readonly Helper[] = [
  {
    name: "roundPack16",
    params: [I32, I64, I64, I64, I32],
    result: I64,
    build: buildRoundPack(FORMAT[16]),
  },
  { name: "commitFloat", params: [I32], result: I32, build: buildCommit },
  ...helpersOf(FORMAT[32]),
  ...helpersOf(FORMAT[64]),
];
