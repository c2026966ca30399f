import { describe, expect, it } from "vitest";
import * as arithmetic from "./arithmetic.ts";
import { fromDecimal, fromNarrow, toDecimal, toInteger, toNarrow } from "./convert.ts";
import { classify, type Float80, INDEFINITE, ONE, pack, readFloat80, writeFloat80 } from "./float80.ts";
import { Operation, ROUND, X87_FLAG } from "./operation.ts";
import * as transcendental from "./transcendental.ts";

/** All exceptions masked, 64 bits of precision. */
const MASKED = 0x37f;
const operation = (rounding: number = ROUND.nearest, control = MASKED): Operation =>
  new Operation(control | (rounding << 10));

/** A double as a register's number. */
function number(value: number): Float80 {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return fromNarrow(view.getBigUint64(0), 64);
}

/** A register's number, rounded to a double. */
function double(value: Float80): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, toNarrow(operation(), value, 64));
  return view.getFloat64(0);
}

describe("rounding", () => {
  const third = (rounding: number): bigint => arithmetic.divide(operation(rounding), ONE, number(3)).significand;

  it("goes where the control word says", () => {
    expect([ROUND.nearest, ROUND.down, ROUND.up, ROUND.zero].map(third)).toEqual([
      0xaaaa_aaaa_aaaa_aaabn,
      0xaaaa_aaaa_aaaa_aaaan,
      0xaaaa_aaaa_aaaa_aaabn,
      0xaaaa_aaaa_aaaa_aaaan,
    ]);
  });

  it("keeps as many bits as precision control allows", () => {
    const single = arithmetic.divide(operation(ROUND.nearest, 0x07f), ONE, number(3));
    const twice = arithmetic.divide(operation(ROUND.nearest, 0x27f), ONE, number(3));
    expect(single.significand).toBe(0xaaaa_ab00_0000_0000n);
    expect(twice.significand).toBe(0xaaaa_aaaa_aaaa_a800n);
    expect(double(twice)).toBe(1 / 3);
  });

  it("says when it was upwards, and that it was inexact", () => {
    const op = operation();
    arithmetic.divide(op, ONE, number(3));
    expect([op.flags, op.roundedUp]).toEqual([X87_FLAG.PE, true]);
  });

  it("overflows to infinity or to the largest number", () => {
    const huge: Float80 = { sign: 0, exponent: 0x7ffe, significand: (1n << 64n) - 1n };
    for (const [rounding, infinite] of [
      [ROUND.nearest, true],
      [ROUND.up, true],
      [ROUND.down, false],
      [ROUND.zero, false],
    ] as const) {
      const op = operation(rounding);
      const sum = arithmetic.add(op, huge, huge);
      expect(classify(sum) === "infinity").toBe(infinite);
      expect(op.flags).toBe(X87_FLAG.OE | X87_FLAG.PE);
      if (!infinite) expect(sum).toEqual(huge);
    }
  });

  it("adjusts the exponent for an unmasked overflow", () => {
    const op = operation(ROUND.nearest, MASKED & ~X87_FLAG.OE);
    const half: Float80 = { sign: 0, exponent: 0x7ffe, significand: 1n << 63n };
    const product = arithmetic.multiply(op, half, half);
    expect(product.exponent).toBe(0x7ffe * 2 - 16383 - 24576);
    expect(op.flags).toBe(X87_FLAG.OE);
  });

  it("underflows to denormals, exactly or not", () => {
    const tiny: Float80 = { sign: 0, exponent: 1, significand: 1n << 63n };
    const exact = operation();
    expect(arithmetic.multiply(exact, tiny, number(0.5))).toEqual({ sign: 0, exponent: 0, significand: 1n << 62n });
    expect(exact.flags).toBe(0);
    const inexact = operation();
    arithmetic.multiply(inexact, { ...tiny, significand: tiny.significand | 1n }, number(0.5));
    expect(inexact.flags).toBe(X87_FLAG.UE | X87_FLAG.PE);
  });
});

describe("arithmetic", () => {
  it("agrees with doubles where the precision is theirs", () => {
    const values = [1, -2.5, 1e300, 3e-300, 0.1, -7, 123456789.125];
    for (const a of values) {
      for (const b of values) {
        const op = (): Operation => operation(ROUND.nearest, 0x27f);
        expect(double(arithmetic.add(op(), number(a), number(b)))).toBe(a + b);
        expect(double(arithmetic.subtract(op(), number(a), number(b)))).toBe(a - b);
        // Beyond a double's range registers have more.
        const product = a * b;
        const plain = Math.abs(product) > 1e-290 && Math.abs(product) < 1e300;
        if (plain) expect(double(arithmetic.multiply(op(), number(a), number(b)))).toBe(product);
        if (a > 0) expect(double(arithmetic.squareRoot(op(), number(a)))).toBe(Math.sqrt(a));
        expect(wholeRemainder(a, b)).toBe(a % b);
      }
    }
  });

  /** FPREM reduces by less than 64 powers of two at a time: C2 says to go on. */
  function wholeRemainder(a: number, b: number): number {
    for (let value = number(a); ; ) {
      const step = arithmetic.remainder(operation(), value, number(b), false);
      value = step.value;
      if (step.complete) return double(value);
    }
  }

  it("refuses what has no answer", () => {
    const infinity = number(Infinity);
    const DENORMAL: Float80 = { sign: 0, exponent: 0, significand: 1n };
    for (const compute of [
      (op: Operation) => arithmetic.subtract(op, infinity, infinity),
      (op: Operation) => arithmetic.multiply(op, infinity, number(0)),
      (op: Operation) => arithmetic.divide(op, number(0), number(0)),
      (op: Operation) => arithmetic.squareRoot(op, number(-1)),
      (op: Operation) => arithmetic.add(op, { sign: 0, exponent: 5, significand: 1n }, ONE),
      // Without #D, though there is a denormal.
      (op: Operation) => arithmetic.remainder(op, infinity, DENORMAL, false).value,
      (op: Operation) => arithmetic.remainder(op, DENORMAL, number(0), true).value,
    ]) {
      const op = operation();
      expect(compute(op)).toEqual(INDEFINITE);
      expect(op.flags).toBe(X87_FLAG.IE);
    }
  });

  it("divides by zero with #Z alone", () => {
    const op = operation();
    expect(double(arithmetic.divide(op, number(-1), number(0)))).toBe(-Infinity);
    expect(op.flags).toBe(X87_FLAG.ZE);
  });

  it("prefers the NaN with the larger significand, made quiet", () => {
    const quiet: Float80 = { sign: 0, exponent: 0x7fff, significand: 0xc000_0000_0000_0001n };
    const larger: Float80 = { sign: 1, exponent: 0x7fff, significand: 0xc000_0000_0000_0002n };
    const signaling: Float80 = { sign: 0, exponent: 0x7fff, significand: 0x8000_0000_0000_0003n };
    const op = operation();
    expect(arithmetic.add(op, quiet, larger)).toEqual(larger);
    expect(op.flags).toBe(0);
    expect(arithmetic.add(op, signaling, quiet)).toEqual(quiet);
    expect(op.flags).toBe(X87_FLAG.IE);
    expect(arithmetic.add(operation(), signaling, ONE).significand).toBe(0xc000_0000_0000_0003n);
  });
});

describe("transcendental functions", () => {
  const close = (actual: Float80, expected: number): void => {
    const value = double(actual);
    expect(Math.abs(value - expected)).toBeLessThanOrEqual(Math.abs(expected) * 2 ** -51);
  };
  const arguments_ = [1e-30, 1e-8, 0.1, 0.5, 0.785, 1, 1.5, 2, 3, 10, 100, 1000.25];

  it("are those of Math, for small arguments of either sign", () => {
    for (const x of arguments_.flatMap((value) => [value, -value])) {
      close(transcendental.sine(operation(), number(x)), Math.sin(x));
      close(transcendental.cosine(operation(), number(x)), Math.cos(x));
      close(transcendental.tangent(operation(), number(x)), Math.tan(x));
      close(transcendental.arcTangent(operation(), number(x), number(0.7)), Math.atan2(x, 0.7));
      close(transcendental.arcTangent(operation(), number(0.3), number(x)), Math.atan2(0.3, x));
      if (x > 0) close(transcendental.yLog2(operation(), number(Math.LN2), number(x)), Math.log(x));
      if (Math.abs(x) < 0.29) close(transcendental.yLog2Plus1(operation(), number(Math.LN2), number(x)), Math.log1p(x));
      if (Math.abs(x) <= 1) {
        const power = double(transcendental.exponentialMinusOne(operation(), number(x)));
        expect(power).toBeCloseTo(Math.expm1(x * Math.LN2), 15);
      }
    }
  });

  it("know the exact ones", () => {
    expect(transcendental.yLog2(operation(), ONE, number(8))).toEqual(number(3));
    expect(transcendental.exponentialMinusOne(operation(), ONE)).toEqual(ONE);
    expect(transcendental.cosine(operation(), number(0))).toEqual(ONE);
  });

  it("give π by the rounding control", () => {
    const pi = (rounding: number): bigint => transcendental.constant(operation(rounding), "pi").significand;
    expect([ROUND.nearest, ROUND.down, ROUND.up].map(pi)).toEqual([
      0xc90f_daa2_2168_c235n,
      0xc90f_daa2_2168_c234n,
      0xc90f_daa2_2168_c235n,
    ]);
  });
});

describe("conversions", () => {
  it("round integers by the control word, or truncate", () => {
    const convert = (value: number, rounding: number, truncate = false): bigint =>
      BigInt.asIntN(32, toInteger(operation(rounding), number(value), 32, truncate));
    expect([2.5, 3.5, -2.5].map((value) => convert(value, ROUND.nearest))).toEqual([2n, 4n, -2n]);
    expect([2.5, -2.5].map((value) => convert(value, ROUND.down))).toEqual([2n, -3n]);
    expect([2.9, -2.9].map((value) => convert(value, ROUND.nearest, true))).toEqual([2n, -2n]);
  });

  it("give the integer indefinite for what does not fit", () => {
    for (const value of [2 ** 31, -(2 ** 31) - 1, Infinity, NaN]) {
      const op = operation();
      expect(toInteger(op, number(value), 32, false)).toBe(0x8000_0000n);
      expect(op.flags).toBe(X87_FLAG.IE);
    }
    expect(toInteger(operation(), number(-(2 ** 31)), 32, false)).toBe(0x8000_0000n);
  });

  it("bring decimal digits back and forth", () => {
    const digits = Uint8Array.of(0x21, 0x43, 0x65, 0x87, 0x09, 0x21, 0x43, 0x65, 0x87, 0x80);
    const value = fromDecimal(digits);
    expect(value).toEqual(pack(1, 876_543_210_987_654_321n, 0));
    expect(toDecimal(operation(), value)).toEqual(digits);
    expect(toDecimal(operation(), number(1e18))).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff));
  });

  it("keep all bits of a register", () => {
    const view = new DataView(new ArrayBuffer(16));
    const odd: Float80 = { sign: 1, exponent: 0x1234, significand: 0x0123_4567_89ab_cdefn };
    writeFloat80(view, 3, odd);
    expect(readFloat80(view, 3)).toEqual(odd);
  });
});
