import type { Mnemonic } from "iced-x86";
import { i32, i64, type V128Expr } from "../wasm/expr.ts";
import { i8x16, i16x8, i32x4, i64x2, v128 } from "../wasm/simd.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";
import {
  binaryParts,
  lanes,
  lastImmediate,
  readParts,
  shuffleLanes,
  unaryParts,
  usesMmx,
  withVex,
  writeParts,
  ZERO,
} from "./vector-operands.ts";

/** Packed integer and bitwise operations (SDM Vol. 1, 9.4, 11.4.2, 12.5 to 12.12). One row serves MMX, SSE and AVX2. */

type Name = keyof typeof Mnemonic;
type Binary = (a: V128Expr, b: V128Expr) => V128Expr;

const SHAPES = { b: i8x16, w: i16x8, d: i32x4, q: i64x2 } as const;

function each(sdm: string, rows: Partial<Record<Name, Binary>>): void {
  for (const [name, op] of Object.entries(rows)) {
    define(withVex(name as Name), sdm, (e) => binaryParts(e, (a, b) => op(e.let(a), e.let(b))));
  }
}

// Bitwise.

const andNot: Binary = (a, b) => v128.andnot(b, a);
each("Vol. 2B, PAND; Vol. 2A, ANDPS", { Pand: v128.and, Andps: v128.and, Andpd: v128.and });
each("Vol. 2B, PANDN; Vol. 2A, ANDNPS", { Pandn: andNot, Andnps: andNot, Andnpd: andNot });
each("Vol. 2B, POR; ORPS", { Por: v128.or, Orps: v128.or, Orpd: v128.or });
each("Vol. 2B, PXOR; Vol. 2D, XORPS", { Pxor: v128.xor, Xorps: v128.xor, Xorpd: v128.xor });

// Add, subtract, compare, minimum, maximum, average, absolute value, sign.

for (const lane of ["b", "w", "d", "q"] as const) {
  const shape = SHAPES[lane];
  define(withVex(`Padd${lane}`), "Vol. 2B, PADDB/PADDW/PADDD/PADDQ", (e) => binaryParts(e, shape.add));
  define(withVex(`Psub${lane}`), "Vol. 2B, PSUBB/PSUBW/PSUBD, PSUBQ", (e) => binaryParts(e, shape.sub));
  define(withVex(`Pcmpeq${lane}`), "Vol. 2B, PCMPEQB, PCMPEQQ", (e) => binaryParts(e, shape.eq));
  define(withVex(`Pcmpgt${lane}`), "Vol. 2B, PCMPGTB, PCMPGTQ", (e) => binaryParts(e, shape.gtS));
}
for (const lane of ["b", "w"] as const) {
  const shape = SHAPES[lane];
  define(withVex(`Padds${lane}`), "Vol. 2B, PADDSB/PADDSW", (e) => binaryParts(e, shape.addSatS));
  define(withVex(`Paddus${lane}`), "Vol. 2B, PADDUSB/PADDUSW", (e) => binaryParts(e, shape.addSatU));
  define(withVex(`Psubs${lane}`), "Vol. 2B, PSUBSB/PSUBSW", (e) => binaryParts(e, shape.subSatS));
  define(withVex(`Psubus${lane}`), "Vol. 2B, PSUBUSB/PSUBUSW", (e) => binaryParts(e, shape.subSatU));
  define(withVex(`Pavg${lane}`), "Vol. 2B, PAVGB/PAVGW", (e) => binaryParts(e, shape.avgrU));
}
for (const lane of ["b", "w", "d"] as const) {
  const shape = SHAPES[lane];
  define(withVex(`Pmins${lane}`), "Vol. 2B, PMINSB/PMINSW", (e) => binaryParts(e, shape.minS));
  define(withVex(`Pminu${lane}`), "Vol. 2B, PMINUB/PMINUW", (e) => binaryParts(e, shape.minU));
  define(withVex(`Pmaxs${lane}`), "Vol. 2B, PMAXSB/PMAXSW/PMAXSD", (e) => binaryParts(e, shape.maxS));
  define(withVex(`Pmaxu${lane}`), "Vol. 2B, PMAXUB/PMAXUW", (e) => binaryParts(e, shape.maxU));
  define(withVex(`Pabs${lane}`), "Vol. 2B, PABSB/PABSW/PABSD", (e) => unaryParts(e, shape.abs));
  define(withVex(`Psign${lane}`), "Vol. 2B, PSIGNB/PSIGNW/PSIGND", (e) =>
    binaryParts(e, (a, b) => {
      const negative = e.let(shape.ltS(b, ZERO));
      return v128.andnot(shape.sub(v128.xor(a, negative), negative), shape.eq(b, ZERO));
    }),
  );
}

// Multiply.

/** The upper halves of products of words. */
const highWords = (low: V128Expr, high: V128Expr): V128Expr => shuffleLanes(16, low, high, [1, 3, 5, 7, 9, 11, 13, 15]);
const evenDwords = (a: V128Expr): V128Expr => shuffleLanes(32, a, a, [0, 2, 0, 2]);
const MIN_WORD = lanes(16, -0x8000);

each("Vol. 2B, PMULLW, PMULLD, PMULHW, PMULHUW, PMULUDQ, PMULDQ, PMADDWD", {
  Pmullw: i16x8.mul,
  Pmulld: i32x4.mul,
  Pmulhw: (a, b) => highWords(i32x4.extmulLowI16x8S(a, b), i32x4.extmulHighI16x8S(a, b)),
  Pmulhuw: (a, b) => highWords(i32x4.extmulLowI16x8U(a, b), i32x4.extmulHighI16x8U(a, b)),
  Pmuludq: (a, b) => i64x2.extmulLowI32x4U(evenDwords(a), evenDwords(b)),
  Pmuldq: (a, b) => i64x2.extmulLowI32x4S(evenDwords(a), evenDwords(b)),
  Pmaddwd: i32x4.dotI16x8S,
  // WebAssembly saturates -1 × -1 to 0x7fff, where the processor gives 0x8000.
  Pmulhrsw: (a, b) => v128.xor(i16x8.q15mulrSatS(a, b), v128.and(i16x8.eq(a, MIN_WORD), i16x8.eq(b, MIN_WORD))),
  Pmaddubsw: (a, b) => {
    const low = i16x8.mul(v128.and(a, lanes(16, 0xff)), i16x8.shrS(i16x8.shl(b, i32.const(8)), i32.const(8)));
    const high = i16x8.mul(i16x8.shrU(a, i32.const(8)), i16x8.shrS(b, i32.const(8)));
    return i16x8.addSatS(low, high);
  },
});

each("Vol. 2B, PSADBW", {
  Psadbw: (a, b) => {
    const distance = v128.or(i8x16.subSatU(a, b), i8x16.subSatU(b, a));
    const pairs = i32x4.extaddPairwiseI16x8U(i16x8.extaddPairwiseI8x16U(distance));
    return i64x2.extendLowI32x4U(i32x4.add(evenDwords(pairs), shuffleLanes(32, pairs, pairs, [1, 3, 1, 3])));
  },
});

// Horizontal add and subtract. MMX operands side by side make one 128-bit vector of which the low half counts.

const sideBySide = (a: V128Expr, b: V128Expr): V128Expr => shuffleLanes(64, a, b, [0, 2]);

function horizontal(e: Translator, bits: 16 | 32, op: Binary): void {
  const count = 128 / bits;
  const picks = (first: number): number[] => Array.from({ length: count }, (_, i) => first + 2 * i);
  binaryParts(e, (left, right) => {
    const a = usesMmx(e) ? e.let(sideBySide(left, right)) : left;
    const b = usesMmx(e) ? a : right;
    return op(shuffleLanes(bits, a, b, picks(0)), shuffleLanes(bits, a, b, picks(1)));
  });
}
define(withVex("Phaddw"), "Vol. 2B, PHADDW/PHADDD", (e) => horizontal(e, 16, i16x8.add));
define(withVex("Phaddd"), "Vol. 2B, PHADDW/PHADDD", (e) => horizontal(e, 32, i32x4.add));
define(withVex("Phaddsw"), "Vol. 2B, PHADDSW", (e) => horizontal(e, 16, i16x8.addSatS));
define(withVex("Phsubw"), "Vol. 2B, PHSUBW/PHSUBD", (e) => horizontal(e, 16, i16x8.sub));
define(withVex("Phsubd"), "Vol. 2B, PHSUBW/PHSUBD", (e) => horizontal(e, 32, i32x4.sub));
define(withVex("Phsubsw"), "Vol. 2B, PHSUBSW", (e) => horizontal(e, 16, i16x8.subSatS));

// Pack.

function pack(e: Translator, op: Binary): void {
  binaryParts(e, (a, b) => {
    if (!usesMmx(e)) return op(a, b);
    const both = e.let(sideBySide(a, b));
    return op(both, both);
  });
}
define(withVex("Packsswb"), "Vol. 2B, PACKSSWB/PACKSSDW", (e) => pack(e, i8x16.narrowI16x8S));
define(withVex("Packssdw"), "Vol. 2B, PACKSSWB/PACKSSDW", (e) => pack(e, i16x8.narrowI32x4S));
define(withVex("Packuswb"), "Vol. 2B, PACKUSWB", (e) => pack(e, i8x16.narrowI16x8U));
define(withVex("Packusdw"), "Vol. 2B, PACKUSDW", (e) => pack(e, i16x8.narrowI32x4U));

// Sums of absolute differences, and the smallest word.

/** MPSADBW: four bytes of b against eight places in a; each 128-bit part has three bits of the immediate. */
function sumsOfDifferences(e: Translator): void {
  const immediate = lastImmediate(e);
  binaryParts(e, (a, b, part) => {
    const control = immediate >> (3 * part);
    const start = control & 4;
    const block = (control & 3) * 4;
    let sums: V128Expr | undefined;
    for (let i = 0; i < 4; i++) {
      const places = Array.from({ length: 16 }, (_, k) => (start + i + k) & 15);
      const many = i16x8.extendLowI8x16U(v128.shuffle(a, a, places));
      const one = i16x8.extendLowI8x16U(v128.shuffle(b, b, new Uint8Array(16).fill(block + i)));
      const distance = i16x8.abs(i16x8.sub(many, one));
      sums = sums === undefined ? distance : i16x8.add(sums, distance);
    }
    return sums as V128Expr;
  });
}
define(withVex("Mpsadbw"), "Vol. 2B, MPSADBW", sumsOfDifferences, { immediateInForm: true });

define(withVex("Phminposuw"), "Vol. 2B, PHMINPOSUW", (e) =>
  unaryParts(e, (a) => {
    // Each word above its index, as a double word: the smallest of them has both answers.
    const tag = (words: V128Expr, first: number): V128Expr =>
      v128.or(i32x4.shl(words, i32.const(16)), lanes(32, first, first + 1, first + 2, first + 3));
    const four = e.let(i32x4.minU(tag(i32x4.extendLowI16x8U(a), 0), tag(i32x4.extendHighI16x8U(a), 4)));
    const two = e.let(i32x4.minU(four, shuffleLanes(32, four, four, [2, 3, 2, 3])));
    const one = e.let(i32x4.extract(i32x4.minU(two, shuffleLanes(32, two, two, [1, 1, 1, 1])), 0));
    return i64x2.replace(ZERO, 0, i64.extendI32U(i32.rotl(one, i32.const(16))));
  }),
);

// Dot products onto an accumulator (AVX-VNNI; SDM Vol. 2C, VPDPBUSD and following).

/** Sums of four products of an unsigned byte of a and a signed byte of b. */
function byteDots(a: V128Expr, b: V128Expr): V128Expr {
  const low = i16x8.mul(v128.and(a, lanes(16, 0xff)), i16x8.shrS(i16x8.shl(b, i32.const(8)), i32.const(8)));
  const high = i16x8.mul(i16x8.shrU(a, i32.const(8)), i16x8.shrS(b, i32.const(8)));
  return i32x4.add(i32x4.extaddPairwiseI16x8S(low), i32x4.extaddPairwiseI16x8S(high));
}

/** The word sum of -2^15 × -2^15 twice, 2^31, is the one that does not fit 32 bits: as an i32x4 it looks like -2^31. */
const MIN_DWORD = lanes(32, -(2n ** 31n));

/** a + b, saturated to signed double words. */
function addSaturated(e: Translator, a: V128Expr, b: V128Expr): V128Expr {
  const sum = e.let(i32x4.add(a, b));
  const overflows = i32x4.shrS(v128.and(v128.xor(a, sum), v128.xor(b, sum)), i32.const(31));
  const limit = v128.xor(i32x4.shrS(a, i32.const(31)), lanes(32, 0x7fff_ffff));
  return v128.bitselect(limit, sum, overflows);
}

/** dst = dst + the dot products of the words, or of the bytes, in each double word of operands 1 and 2. */
function accumulate(e: Translator, isSaturated: boolean, ofWords: boolean): void {
  const second = readParts(e, 2);
  const first = readParts(e, 1);
  const results = readParts(e, 0).map((accumulator, part) => {
    const [a, b] = [first[part], second[part]];
    const dots = e.let(ofWords ? i32x4.dotI16x8S(a, b) : byteDots(a, b));
    if (!isSaturated) return e.let(i32x4.add(accumulator, dots));
    const sum = e.let(addSaturated(e, accumulator, dots));
    if (!ofWords) return sum;
    // 2^31 is one more than the largest double word: what is below zero goes up to 2^31 above itself.
    const negative = i32x4.shrS(accumulator, i32.const(31));
    const wrapped = v128.bitselect(i32x4.add(accumulator, MIN_DWORD), lanes(32, 0x7fff_ffff), negative);
    return e.let(v128.bitselect(wrapped, sum, i32x4.eq(dots, MIN_DWORD)));
  });
  writeParts(e, 0, results);
}
define("Vpdpbusd", "Vol. 2C, VPDPBUSD", (e) => accumulate(e, false, false));
define("Vpdpbusds", "Vol. 2C, VPDPBUSDS", (e) => accumulate(e, true, false));
define("Vpdpwssd", "Vol. 2C, VPDPWSSD", (e) => accumulate(e, false, true));
define("Vpdpwssds", "Vol. 2C, VPDPWSSDS", (e) => accumulate(e, true, true));
