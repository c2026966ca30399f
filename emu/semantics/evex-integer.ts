import type { Mnemonic } from "iced-x86";
import { type I32Expr, type I64Expr, i32, i64, select, V128, type V128Expr } from "../wasm/expr.ts";
import { i8x16, i16x8, i32x4, i64x2, v128 } from "../wasm/simd.ts";
import { bitsOfLanes, isMasked, type LaneBits, lanesOf, SHAPES, writeComparison } from "./opmask.ts";
import { defineEvex } from "./table.ts";
import type { Translator } from "./translator.ts";
import {
  binaryParts,
  lanes,
  lastImmediate,
  readParts,
  shuffleLanes,
  unaryParts,
  writeParts,
  ZERO,
} from "./vector-operands.ts";

/** Integer instructions that AVX-512 adds (SDM Vol. 2C; Vol. 1, 15.2 to 15.4). */

type Name = keyof typeof Mnemonic;
type Binary = (a: V128Expr, b: V128Expr) => V128Expr;

const IN_FORM = { immediateInForm: true } as const;
const LETTERS = { b: 8, w: 16, d: 32, q: 64 } as const;
const letters = Object.entries(LETTERS) as [keyof typeof LETTERS, LaneBits][];

function each(sdm: string, rows: Partial<Record<Name, Binary>>): void {
  for (const [name, op] of Object.entries(rows)) {
    defineEvex(name as Name, sdm, (e) => binaryParts(e, (a, b) => op(e.let(a), e.let(b))));
  }
}

// Moves and bitwise operations, which have an element width for the opmask's sake.

const moves = ["Vmovdqu8", "Vmovdqu16", "Vmovdqu32", "Vmovdqu64"] as const;
defineEvex(moves, "Vol. 2B, MOVDQU, VMOVDQU8/16/32/64", (e) => writeParts(e, 0, readParts(e, 1)));
defineEvex(["Vmovdqa32", "Vmovdqa64"], "Vol. 2B, MOVDQA, VMOVDQA32/64", (e) =>
  writeParts(e, 0, readParts(e, 1, { aligned: true }), { aligned: true }),
);

const andNot: Binary = (a, b) => v128.andnot(b, a);
for (const letter of ["d", "q"]) {
  each("Vol. 2B, PAND, PANDN, POR, PXOR", {
    [`Vpand${letter}`]: v128.and,
    [`Vpandn${letter}`]: andNot,
    [`Vpor${letter}`]: v128.or,
    [`Vpxor${letter}`]: v128.xor,
  });
}

/** A function of two bits as a truth table (bit 2x + y) on all bits of vectors. */
function ofTwo(table: number, x: V128Expr, y: V128Expr): V128Expr {
  const low = table < 8 ? table : 15 - table;
  const functions = [
    (): V128Expr => ZERO,
    (): V128Expr => v128.not(v128.or(x, y)),
    (): V128Expr => v128.andnot(y, x),
    (): V128Expr => v128.not(x),
    (): V128Expr => v128.andnot(x, y),
    (): V128Expr => v128.not(y),
    (): V128Expr => v128.xor(x, y),
    (): V128Expr => v128.not(v128.and(x, y)),
  ];
  return table < 8 ? functions[low]() : v128.not(functions[low]());
}

/** Bit by bit any function of three: the immediate is its truth table (SDM Vol. 2C, VPTERNLOGD, table 5-10). */
for (const name of ["Vpternlogd", "Vpternlogq"] as const) {
  defineEvex(
    name,
    "Vol. 2C, VPTERNLOGD/VPTERNLOGQ",
    (e) => {
      const table = lastImmediate(e);
      const c = readParts(e, 2);
      const b = readParts(e, 1);
      const results = readParts(e, 0).map((a, part) => {
        const [one, zero] = [table >> 4, table & 15].map((half) => e.let(ofTwo(half, b[part], c[part])));
        return e.let(v128.bitselect(one, zero, a));
      });
      writeParts(e, 0, results);
    },
    IN_FORM,
  );
}

// Arithmetic.

/** All ones where a > b, as unsigned quadwords. */
const greaterU64 = (a: V128Expr, b: V128Expr): V128Expr => {
  const sign = lanes(64, 1n << 63n);
  return i64x2.gtS(v128.xor(a, sign), v128.xor(b, sign));
};
each("Vol. 2B, PMINSD, PMINUD, PMAXSD, PMAXUD; PMULLD", {
  Vpminsq: (a, b) => v128.bitselect(b, a, i64x2.gtS(a, b)),
  Vpmaxsq: (a, b) => v128.bitselect(a, b, i64x2.gtS(a, b)),
  Vpminuq: (a, b) => v128.bitselect(b, a, greaterU64(a, b)),
  Vpmaxuq: (a, b) => v128.bitselect(a, b, greaterU64(a, b)),
  Vpmullq: i64x2.mul,
});
defineEvex("Vpabsq", "Vol. 2B, PABSB", (e) => unaryParts(e, i64x2.abs));

/** Operands 1 and 2 combined with operand 0. */
function accumulateParts(e: Translator, op: (sum: V128Expr, a: V128Expr, b: V128Expr) => V128Expr): void {
  const b = readParts(e, 2);
  const a = readParts(e, 1);
  const results = readParts(e, 0).map((sum, part) => e.let(op(sum, a[part], b[part])));
  writeParts(e, 0, results);
}

/** The low or high 52 bits of the product of 52-bit numbers, from halves of 26 bits. */
function product52(e: Translator, a: V128Expr, b: V128Expr, high: boolean): V128Expr {
  const half = lanes(64, (1n << 26n) - 1n);
  const shift = (x: V128Expr, by: number): V128Expr => i64x2.shrU(x, i32.const(by));
  const lowOf = (x: V128Expr): V128Expr => e.let(v128.and(x, half));
  const highOf = (x: V128Expr): V128Expr => e.let(v128.and(shift(x, 26), half));
  const [a0, a1, b0, b1] = [lowOf(a), highOf(a), lowOf(b), highOf(b)];
  const middle = e.let(i64x2.add(i64x2.mul(a0, b1), i64x2.mul(a1, b0)));
  const bottom = i64x2.mul(a0, b0);
  if (!high) {
    const sum = i64x2.add(i64x2.shl(middle, i32.const(26)), bottom);
    return v128.and(sum, lanes(64, (1n << 52n) - 1n));
  }
  const carry = shift(i64x2.add(i64x2.shl(lowOf(middle), i32.const(26)), bottom), 52);
  return i64x2.add(i64x2.add(i64x2.mul(a1, b1), shift(middle, 26)), carry);
}
for (const high of [false, true]) {
  defineEvex(`Vpmadd52${high ? "h" : "l"}uq` as Name, "Vol. 2C, VPMADD52LUQ, VPMADD52HUQ", (e) =>
    accumulateParts(e, (sum, a, b) => i64x2.add(sum, product52(e, a, b, high))),
  );
}

/** Sums of absolute differences of four bytes, of two ranges of b for each four of a (SDM Vol. 2C, VDBPSADBW). */
defineEvex(
  "Vdbpsadbw",
  "Vol. 2C, VDBPSADBW",
  (e) => {
    const immediate = lastImmediate(e);
    const picks = [0, 2, 4, 6].map((shift) => (immediate >> shift) & 3);
    binaryParts(e, (a, b) => {
      const shuffled = e.let(shuffleLanes(32, b, b, picks));
      const from = (starts: readonly number[], step: number): number[] =>
        starts.flatMap((start) => [start + step, start + step]);
      let sums: V128Expr | undefined;
      for (let step = 0; step < 4; step++) {
        // Words of which the low byte counts: its place in the operand, doubled for want of a zero to pick.
        const of = (x: V128Expr, starts: readonly number[]): V128Expr =>
          v128.and(v128.shuffle(x, x, from(starts, step)), lanes(16, 0xff));
        const one = of(a, [0, 0, 4, 4, 8, 8, 12, 12]);
        const other = of(shuffled, [0, 1, 2, 3, 8, 9, 10, 11]);
        const distance = i16x8.abs(i16x8.sub(one, other));
        sums = sums === undefined ? distance : i16x8.add(sums, distance);
      }
      return sums as V128Expr;
    });
  },
  IN_FORM,
);

// Counts of bits.

/** Sums of neighbouring unsigned double words. */
const pairSums = (x: V128Expr): V128Expr =>
  i64x2.add(v128.and(x, lanes(64, 0xffff_ffff)), i64x2.shrU(x, i32.const(32)));
const POPULATION: Readonly<Record<LaneBits, (e: Translator, a: V128Expr) => V128Expr>> = {
  8: (_, a) => i8x16.popcnt(a),
  16: (_, a) => i16x8.extaddPairwiseI8x16U(i8x16.popcnt(a)),
  32: (_, a) => i32x4.extaddPairwiseI16x8U(i16x8.extaddPairwiseI8x16U(i8x16.popcnt(a))),
  64: (e, a) => pairSums(e.let(i32x4.extaddPairwiseI16x8U(i16x8.extaddPairwiseI8x16U(i8x16.popcnt(a))))),
};
for (const [letter, bits] of letters) {
  defineEvex(`Vpopcnt${letter}` as Name, "Vol. 2C, VPOPCNT", (e) => unaryParts(e, (a) => POPULATION[bits](e, a)));
}

/** One integer for each lane of 32 or 64 bits. */
export function mapLanes(
  e: Translator,
  bits: 32 | 64,
  op32: (lane: (x: V128Expr) => I32Expr, index: number) => I32Expr,
  op64: (lane: (x: V128Expr) => I64Expr, index: number) => I64Expr,
): V128Expr {
  const result = e.local(V128);
  e.set(result, ZERO);
  for (let lane = 0; lane < 128 / bits; lane++) {
    if (bits === 32) {
      e.set(
        result,
        i32x4.replace(
          result,
          lane,
          op32((x) => e.let(i32x4.extract(x, lane)), lane),
        ),
      );
    } else {
      e.set(
        result,
        i64x2.replace(
          result,
          lane,
          op64((x) => e.let(i64x2.extract(x, lane)), lane),
        ),
      );
    }
  }
  return e.let(result as V128Expr);
}

for (const bits of [32, 64] as const) {
  const letter = bits === 64 ? "q" : "d";
  defineEvex(`Vplzcnt${letter}` as Name, "Vol. 2C, VPLZCNTD/Q", (e) =>
    unaryParts(e, (a) =>
      mapLanes(
        e,
        bits,
        (lane) => i32.clz(lane(a)),
        (lane) => i64.clz(lane(a)),
      ),
    ),
  );
  /** Each element becomes the set of lower ones that equal it. */
  defineEvex(`Vpconflict${letter}` as Name, "Vol. 2C, VPCONFLICTD/Q", (e) => {
    const parts = readParts(e, 1);
    const equals = (part: number, splat: V128Expr, index: number): I64Expr => {
      const same = bitsOfLanes(
        bits,
        parts.slice(0, part + 1).map((other) => SHAPES[bits].eq(other, splat)),
      );
      return i64.and(same, i64.const((1n << BigInt(index)) - 1n));
    };
    const results = parts.map((value, part) => {
      const first = (part * 128) / bits;
      return mapLanes(
        e,
        bits,
        (lane, i) => i32.wrap(equals(part, e.let(i32x4.splat(lane(value))), first + i)),
        (lane, i) => equals(part, e.let(i64x2.splat(lane(value))), first + i),
      );
    });
    writeParts(e, 0, results);
  });
}

// Comparisons into opmask registers.

function compareParts(e: Translator, bits: LaneBits, op: Binary): void {
  const b = readParts(e, 2);
  const a = readParts(e, 1);
  writeComparison(
    e,
    bits,
    a.map((value, part) => e.let(op(value, b[part]))),
  );
}

/** EQ, LT, LE, FALSE, NE, GE, GT, TRUE (SDM Vol. 2C, VPCMPD). */
function comparison(bits: LaneBits, signed: boolean, predicate: number): Binary {
  const shape = SHAPES[bits];
  const greater: Binary = signed ? shape.gtS : bits === 64 ? greaterU64 : (a, b) => (shape as typeof i32x4).gtU(a, b);
  const flip = predicate >= 4;
  const op: Binary[] = [shape.eq, (a, b) => greater(b, a), (a, b) => v128.not(greater(a, b)), () => ZERO];
  return (a, b) => (flip ? v128.not(op[predicate & 3](a, b)) : op[predicate & 3](a, b));
}

for (const [letter, bits] of letters) {
  defineEvex(`Vpcmpeq${letter}` as Name, "Vol. 2B, PCMPEQB", (e) => compareParts(e, bits, SHAPES[bits].eq));
  defineEvex(`Vpcmpgt${letter}` as Name, "Vol. 2B, PCMPGTB", (e) => compareParts(e, bits, SHAPES[bits].gtS));
  for (const signed of [true, false]) {
    defineEvex(
      `Vpcmp${signed ? "" : "u"}${letter}` as Name,
      "Vol. 2C, VPCMPB/VPCMPUB",
      (e) => compareParts(e, bits, comparison(bits, signed, lastImmediate(e) & 7)),
      IN_FORM,
    );
  }
  defineEvex(`Vptestm${letter}` as Name, "Vol. 2C, VPTESTMB", (e) =>
    compareParts(e, bits, (a, b) => SHAPES[bits].ne(v128.and(a, b), ZERO)),
  );
  defineEvex(`Vptestnm${letter}` as Name, "Vol. 2C, VPTESTNMB", (e) =>
    compareParts(e, bits, (a, b) => SHAPES[bits].eq(v128.and(a, b), ZERO)),
  );
}

/** Bits of quadwords of operand 1 that the bytes of operand 2 number. */
defineEvex("Vpshufbitqmb", "Vol. 2C, VPSHUFBITQMB", (e) =>
  compareParts(e, 8, (a, b) => e.callHelper("bitsByNumber", V128, [a, b])),
);
defineEvex("Vpmultishiftqb", "Vol. 2C, VPMULTISHIFTQB", (e) =>
  binaryParts(e, (a, b) => e.callHelper("multishift", V128, [a, b])),
);

/** Two opmask registers: which elements of each source are anywhere in the other. */
for (const bits of [32, 64] as const) {
  defineEvex(`Vp2intersect${bits === 64 ? "q" : "d"}` as Name, "Vol. 2C, VP2INTERSECTD/Q", (e) => {
    const b = readParts(e, 2);
    const a = readParts(e, 1);
    const perPart = 128 / bits;
    let inA: I64Expr = i64.const(0);
    const inB = b.map((): V128Expr => ZERO);
    for (const [part, value] of a.entries()) {
      for (let lane = 0; lane < perPart; lane++) {
        const splat = e.let(
          bits === 64 ? i64x2.splat(i64x2.extract(value, lane)) : i32x4.splat(i32x4.extract(value, lane)),
        );
        const equal = b.map((other) => e.let(SHAPES[bits].eq(other, splat)));
        for (const [i, lanesEqual] of equal.entries()) inB[i] = e.let(v128.or(inB[i], lanesEqual));
        const found = i64.extendI32U(v128.anyTrue(equal.reduce(v128.or)));
        inA = e.let(i64.or(inA, i64.shl(found, i64.const(part * perPart + lane))));
      }
    }
    e.writeOpmaskPair(0, inA, bitsOfLanes(bits, inB));
  });
}

// Blends.

for (const [names, bits] of [
  [["Vpblendmb"], 8],
  [["Vpblendmw"], 16],
  [["Vpblendmd", "Vblendmps"], 32],
  [["Vpblendmq", "Vblendmpd"], 64],
] as const) {
  defineEvex(names, "Vol. 2C, VPBLENDMB, VBLENDMPD", (e) => {
    const b = readParts(e, 2);
    const a = readParts(e, 1);
    const mask = isMasked(e) ? e.let(e.opmask()) : undefined;
    const results = b.map((value, part) => {
      if (mask === undefined) return value;
      const other = e.instruction.zeroing ? ZERO : a[part];
      return e.let(v128.bitselect(value, other, lanesOf(e, mask, bits, part)));
    });
    writeParts(e, 0, results, { isBlended: true });
  });
}

// Shifts and rotates.

type Kind = "shl" | "shrU" | "shrS";

/** Each word by its own count. */
function shiftWords(e: Translator, kind: Kind): void {
  binaryParts(e, (values, counts) => {
    const result = e.local(V128);
    e.set(result, ZERO);
    for (let lane = 0; lane < 8; lane++) {
      const count = e.let(i16x8.extractU(counts, lane));
      const value = kind === "shrS" ? i16x8.extractS(values, lane) : i16x8.extractU(values, lane);
      const large = i32.gtU(count, i32.const(15));
      const shifted =
        kind === "shrS"
          ? i32.shrS(value, select(large, i32.const(15), count))
          : select(large, i32.const(0), i32[kind](value, count));
      e.set(result, i16x8.replace(result, lane, shifted));
    }
    return result;
  });
}
defineEvex("Vpsllvw", "Vol. 2C, VPSLLVW/VPSLLVD/VPSLLVQ", (e) => shiftWords(e, "shl"));
defineEvex("Vpsrlvw", "Vol. 2C, VPSRLVW/VPSRLVD/VPSRLVQ", (e) => shiftWords(e, "shrU"));
defineEvex("Vpsravw", "Vol. 2C, VPSRAVW/VPSRAVD/VPSRAVQ", (e) => shiftWords(e, "shrS"));
defineEvex("Vpsravq", "Vol. 2C, VPSRAVW/VPSRAVD/VPSRAVQ", (e) =>
  binaryParts(e, (values, counts) =>
    mapLanes(
      e,
      64,
      () => i32.const(0),
      (lane) => {
        const count = lane(counts);
        return i64.shrS(lane(values), select(i64.gtU(count, i64.const(63)), i64.const(63), count));
      },
    ),
  ),
);

for (const bits of [32, 64] as const) {
  const letter = bits === 64 ? "q" : "d";
  for (const left of [true, false]) {
    const stem = `Vpro${left ? "l" : "r"}`;
    const sdm = left ? "Vol. 2C, VPROLD" : "Vol. 2C, VPRORD";
    defineEvex(
      `${stem}${letter}` as Name,
      sdm,
      (e) => {
        const count = (left ? lastImmediate(e) : -lastImmediate(e)) & (bits - 1);
        const shape = SHAPES[bits];
        unaryParts(e, (a) =>
          count === 0 ? a : v128.or(shape.shl(a, i32.const(count)), shape.shrU(a, i32.const(bits - count))),
        );
      },
      IN_FORM,
    );
    defineEvex(`${stem}v${letter}` as Name, sdm, (e) =>
      binaryParts(e, (values, counts) =>
        mapLanes(
          e,
          bits,
          (lane) => (left ? i32.rotl : i32.rotr)(lane(values), lane(counts)),
          (lane) => (left ? i64.rotl : i64.rotr)(lane(values), lane(counts)),
        ),
      ),
    );
  }
}

/** The upper (left) or lower half of a lane and another, side by side, shifted by a count below the lane's width. */
function doubleShift(bits: 16 | 32 | 64, left: boolean, high: I64Expr, low: I64Expr, count: I64Expr): I64Expr {
  if (bits === 64) {
    // In two steps, as a shift by 64 - 0 would be none at all.
    const rest = i64.sub(i64.const(63), count);
    if (left) return i64.or(i64.shl(high, count), i64.shrU(i64.shrU(low, i64.const(1)), rest));
    return i64.or(i64.shrU(low, count), i64.shl(i64.shl(high, i64.const(1)), rest));
  }
  const both = i64.or(i64.shl(high, i64.const(bits)), low);
  return left ? i64.shrU(i64.shl(both, count), i64.const(bits)) : i64.shrU(both, count);
}

/** VPSHLD and VPSHRD on the lanes of vectors; counts are taken modulo the lane's width. */
function doubleShiftParts(
  e: Translator,
  bits: 16 | 32 | 64,
  left: boolean,
  first: V128Expr,
  second: V128Expr,
  countOf: (lane: number) => I64Expr,
): V128Expr {
  const result = e.local(V128);
  e.set(result, ZERO);
  const laneOf = (x: V128Expr, lane: number): I64Expr => {
    if (bits === 64) return e.let(i64x2.extract(x, lane));
    return e.let(i64.extendI32U(bits === 32 ? i32x4.extract(x, lane) : i16x8.extractU(x, lane)));
  };
  for (let lane = 0; lane < 128 / bits; lane++) {
    const [a, b] = [laneOf(first, lane), laneOf(second, lane)];
    // To the left the first operand is the upper half, to the right the lower.
    const value = doubleShift(bits, left, left ? a : b, left ? b : a, countOf(lane));
    if (bits === 64) e.set(result, i64x2.replace(result, lane, value));
    else e.set(result, (bits === 32 ? i32x4 : i16x8).replace(result, lane, i32.wrap(value)));
  }
  return e.let(result as V128Expr);
}

for (const [letter, bits] of [
  ["w", 16],
  ["d", 32],
  ["q", 64],
] as const) {
  for (const left of [true, false]) {
    const stem = `Vpsh${left ? "l" : "r"}d`;
    const sdm = left ? "Vol. 2C, VPSHLD" : "Vol. 2C, VPSHRD";
    defineEvex(
      `${stem}${letter}` as Name,
      sdm,
      (e) => {
        const count = i64.const(lastImmediate(e) & (bits - 1));
        binaryParts(e, (a, b) => doubleShiftParts(e, bits, left, a, b, () => count));
      },
      IN_FORM,
    );
    defineEvex(`${stem}v${letter}` as Name, sdm, (e) =>
      accumulateParts(e, (sum, a, b) =>
        doubleShiftParts(e, bits, left, sum, a, (lane) => {
          const count =
            bits === 64
              ? i64x2.extract(b, lane)
              : i64.extendI32U(bits === 32 ? i32x4.extract(b, lane) : i16x8.extractU(b, lane));
          return e.let(i64.and(count, i64.const(bits - 1)));
        }),
      ),
    );
  }
}
