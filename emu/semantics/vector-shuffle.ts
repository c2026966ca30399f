import type { Mnemonic } from "iced-x86";
import { PROT_WRITE } from "../layout.ts";
import { i32, i64, type V128Expr } from "../wasm/expr.ts";
import { i8x16, i16x8, i32x4, i64x2, v128 } from "../wasm/simd.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";
import {
  binaryParts,
  enterMmx,
  isMmx,
  lanes,
  lastImmediate,
  raisePending,
  readPart,
  readParts,
  shuffleLanes,
  sourcesOf,
  unaryParts,
  usesMmx,
  withVex,
  writeParts,
  ZERO,
} from "./vector-operands.ts";

/** Unpack, shuffle, blend, insert, extract and extend within 128-bit parts (SDM Vol. 1, 11.4.1.5, 11.4.2.2, 12.10). */

type Name = keyof typeof Mnemonic;

const IN_FORM = { immediateInForm: true } as const;

// Unpack.

/** The low or high halves of a and b, lane by lane in turn. */
function interleave(e: Translator, bits: 8 | 16 | 32 | 64, high: boolean): void {
  const half = 64 / bits;
  const count = 128 / bits;
  const picks = (first: number): number[] =>
    Array.from({ length: count }, (_, i) => first + (i >> 1) + (i & 1 ? count : 0));
  binaryParts(e, (a, b) => {
    if (!usesMmx(e)) return shuffleLanes(bits, a, b, picks(high ? half : 0));
    // Of MMX operands the low halves are all there is; the high lanes of the result are what comes out above 64 bits.
    const all = e.let(shuffleLanes(bits, a, b, picks(0)));
    return high ? shuffleLanes(64, all, all, [1, 1]) : all;
  });
}

for (const [name, bits] of [
  ["bw", 8],
  ["wd", 16],
  ["dq", 32],
  ["qdq", 64],
] as const) {
  define(withVex(`Punpckl${name}`), "Vol. 2B, PUNPCKLBW", (e) => interleave(e, bits, false));
  define(withVex(`Punpckh${name}`), "Vol. 2B, PUNPCKHBW", (e) => interleave(e, bits, true));
}
for (const [name, bits] of [
  ["ps", 32],
  ["pd", 64],
] as const) {
  define(withVex(`Unpckl${name}`), "Vol. 2C, UNPCKLPS", (e) => interleave(e, bits, false));
  define(withVex(`Unpckh${name}`), "Vol. 2C, UNPCKHPS", (e) => interleave(e, bits, true));
}

// Shuffle.

/** Four two-bit fields of an immediate. */
const fields = (immediate: number): number[] => [0, 2, 4, 6].map((shift) => (immediate >> shift) & 3);

define(withVex("Pshufb"), "Vol. 2B, PSHUFB", (e) => {
  // Bit 7 gives zero, as any index above 15 does to swizzle; the bits between don't count.
  const mask = lanes(8, usesMmx(e) ? 0x87 : 0x8f);
  binaryParts(e, (a, b) => i8x16.swizzle(a, v128.and(b, mask)));
});
define(
  withVex("Pshufd"),
  "Vol. 2B, PSHUFD",
  (e) => {
    const picks = fields(lastImmediate(e));
    unaryParts(e, (a) => shuffleLanes(32, a, a, picks));
  },
  IN_FORM,
);
define(
  withVex("Pshuflw"),
  "Vol. 2B, PSHUFLW",
  (e) => {
    const picks = [...fields(lastImmediate(e)), 4, 5, 6, 7];
    unaryParts(e, (a) => shuffleLanes(16, a, a, picks));
  },
  IN_FORM,
);
define(
  withVex("Pshufhw"),
  "Vol. 2B, PSHUFHW",
  (e) => {
    const picks = [0, 1, 2, 3, ...fields(lastImmediate(e)).map((field) => field + 4)];
    unaryParts(e, (a) => shuffleLanes(16, a, a, picks));
  },
  IN_FORM,
);
define(
  "Pshufw",
  "Vol. 2B, PSHUFW",
  (e) => {
    const picks = [...fields(lastImmediate(e)), 4, 5, 6, 7];
    unaryParts(e, (a) => shuffleLanes(16, a, a, picks));
  },
  IN_FORM,
);
define(
  withVex("Shufps"),
  "Vol. 2B, SHUFPS",
  (e) => {
    const [a0, a1, b0, b1] = fields(lastImmediate(e));
    binaryParts(e, (a, b) => shuffleLanes(32, a, b, [a0, a1, b0 + 4, b1 + 4]));
  },
  IN_FORM,
);
define(
  withVex("Shufpd"),
  "Vol. 2B, SHUFPD",
  (e) => {
    const immediate = lastImmediate(e);
    binaryParts(e, (a, b, part) => {
      const control = immediate >> (2 * part);
      return shuffleLanes(64, a, b, [control & 1, 2 + ((control >> 1) & 1)]);
    });
  },
  IN_FORM,
);

define(
  withVex("Palignr"),
  "Vol. 2B, PALIGNR",
  (e) => {
    const shift = lastImmediate(e);
    const picks = (from: number): number[] => Array.from({ length: 16 }, (_, i) => i + from);
    binaryParts(e, (a, b) => {
      if (usesMmx(e))
        return shift < 16 ? v128.shuffle(e.let(shuffleLanes(64, b, a, [0, 2])), ZERO, picks(shift)) : ZERO;
      if (shift <= 16) return v128.shuffle(b, a, picks(shift));
      return shift < 32 ? v128.shuffle(a, ZERO, picks(shift - 16)) : ZERO;
    });
  },
  IN_FORM,
);

// Blend.

function blendByImmediate(
  e: Translator,
  bits: 16 | 32 | 64,
  perPart: (immediate: number, part: number) => number,
): void {
  const immediate = lastImmediate(e);
  const count = 128 / bits;
  binaryParts(e, (a, b, part) => {
    const control = perPart(immediate, part);
    return shuffleLanes(
      bits,
      a,
      b,
      Array.from({ length: count }, (_, i) => i + ((control >> i) & 1 ? count : 0)),
    );
  });
}
define(withVex("Pblendw"), "Vol. 2B, PBLENDW", (e) => blendByImmediate(e, 16, (immediate) => immediate), IN_FORM);
define(withVex("Blendps"), "Vol. 2A, BLENDPS", (e) => blendByImmediate(e, 32, (x, part) => x >> (4 * part)), IN_FORM);
define("Vpblendd", "Vol. 2C, VPBLENDD", (e) => blendByImmediate(e, 32, (x, part) => x >> (4 * part)), IN_FORM);
define(withVex("Blendpd"), "Vol. 2A, BLENDPD", (e) => blendByImmediate(e, 64, (x, part) => x >> (2 * part)), IN_FORM);

/** BLENDVxx: b where the mask's lane has its sign bit set. The mask is XMM0, or with VEX operand 3. */
function blendByMask(e: Translator, shape: typeof i8x16 | typeof i32x4 | typeof i64x2): void {
  const [first, second] = sourcesOf(e);
  const b = readParts(e, second);
  const a = readParts(e, first);
  const masks = e.instruction.vex ? readParts(e, 3) : [e.let(e.vectorByNumber(0, 0))];
  writeParts(
    e,
    0,
    a.map((value, part) => e.let(v128.bitselect(b[part], value, shape.ltS(masks[part], ZERO)))),
  );
}
define(withVex("Pblendvb"), "Vol. 2B, PBLENDVB", (e) => blendByMask(e, i8x16));
define(withVex("Blendvps"), "Vol. 2A, BLENDVPS", (e) => blendByMask(e, i32x4));
define(withVex("Blendvpd"), "Vol. 2A, BLENDVPD", (e) => blendByMask(e, i64x2));

// Insert and extract.

const ELEMENTS = { b: [8, i8x16], w: [16, i16x8], d: [32, i32x4], q: [64, i64x2] } as const;
/** Lane number from the immediate, of as many lanes as the register has. */
const laneOf = (e: Translator, i: number, bits: number): number =>
  lastImmediate(e) & ((isMmx(e, i) ? 64 : 128) / bits - 1);

for (const [letter, [bits]] of Object.entries(ELEMENTS)) {
  define(
    withVex(`Pinsr${letter}` as Name),
    "Vol. 2B, PINSRB/PINSRD/PINSRQ; PINSRW",
    (e) => {
      const [first, second] = sourcesOf(e);
      // A pending x87 exception comes before the fault of a load.
      if (isMmx(e, 0)) raisePending(e);
      const value = e.read(second);
      const vector = readPart(e, first);
      const lane = laneOf(e, 0, bits);
      const narrow = i32.wrap(value);
      const result =
        bits === 64
          ? i64x2.replace(vector, lane, value)
          : (bits === 32 ? i32x4 : bits === 16 ? i16x8 : i8x16).replace(vector, lane, narrow);
      enterMmx(e);
      writeParts(e, 0, [result]);
    },
    IN_FORM,
  );
  define(
    withVex(`Pextr${letter}` as Name),
    "Vol. 2B, PEXTRB/PEXTRD/PEXTRQ; PEXTRW",
    (e) => {
      const vector = e.readVectorPart(1, 0);
      const lane = laneOf(e, 1, bits);
      const value =
        bits === 64
          ? i64x2.extract(vector, lane)
          : i64.extendI32U(
              bits === 32
                ? i32x4.extract(vector, lane)
                : bits === 16
                  ? i16x8.extractU(vector, lane)
                  : i8x16.extractU(vector, lane),
            );
      const pinned = e.let(value);
      enterMmx(e);
      e.write(0, pinned);
    },
    IN_FORM,
  );
}
define(
  withVex("Extractps"),
  "Vol. 2A, EXTRACTPS",
  (e) => {
    e.write(0, e.let(i64.extendI32U(i32x4.extract(e.readVectorPart(1, 0), lastImmediate(e) & 3))));
  },
  IN_FORM,
);
define(
  withVex("Insertps"),
  "Vol. 2A, INSERTPS",
  (e) => {
    const immediate = lastImmediate(e);
    const [first, second] = sourcesOf(e);
    const source = readPart(e, second, { bytes: 4 });
    const vector = readPart(e, first);
    const from = e.isMemory(second) ? 0 : immediate >> 6;
    const inserted = i32x4.replace(vector, (immediate >> 4) & 3, i32x4.extract(source, from));
    const kept = lanes(32, ...[0, 1, 2, 3].map((lane) => ((immediate >> lane) & 1 ? 0 : -1)));
    writeParts(e, 0, [v128.and(inserted, kept)]);
  },
  IN_FORM,
);

// Extend.

const EXTEND = {
  8: [i16x8.extendLowI8x16S, i16x8.extendLowI8x16U],
  16: [i32x4.extendLowI16x8S, i32x4.extendLowI16x8U],
  32: [i64x2.extendLowI32x4S, i64x2.extendLowI32x4U],
} as const;

for (const [names, from, to] of [
  ["bw", 8, 16],
  ["bd", 8, 32],
  ["bq", 8, 64],
  ["wd", 16, 32],
  ["wq", 16, 64],
  ["dq", 32, 64],
] as const) {
  for (const signed of [true, false]) {
    define(withVex(`Pmov${signed ? "s" : "z"}x${names}`), "Vol. 2B, PMOVSX; PMOVZX", (e) => {
      const sources = readParts(e, 1);
      const parts = Math.max(1, e.operand(0).width >> 7);
      const results = Array.from({ length: parts }, (_, part) => {
        // The bytes that this part is made of, at the low end.
        const place = part * ((16 * from) / to);
        const source = sources[place >> 4];
        const start = place & 15;
        let value = source;
        if (start > 0)
          value = v128.shuffle(
            source,
            source,
            Array.from({ length: 16 }, (_, i) => (start + i) & 15),
          );
        for (let width: number = from; width < to; width *= 2) value = EXTEND[width as 8][signed ? 0 : 1](value);
        return e.let(value);
      });
      writeParts(e, 0, results);
    });
  }
}

// Tests.

/** ZF: a and b have no bit in common; CF: b has no bit outside a. Only bits of `mask` count. */
function test(e: Translator, mask?: V128Expr): void {
  const b = readParts(e, 1);
  const a = readParts(e, 0);
  const any = (pick: (x: V128Expr, y: V128Expr) => V128Expr): V128Expr => {
    const parts = a.map((value, part) => pick(value, b[part]));
    const all = parts.reduce(v128.or);
    return mask === undefined ? all : v128.and(all, mask);
  };
  const zero = i32.const(0);
  e.flagsExplicit({
    zf: i32.eqz(v128.anyTrue(any(v128.and))),
    cf: i32.eqz(v128.anyTrue(any((x, y) => v128.andnot(y, x)))),
    of: zero,
    sf: zero,
    af: zero,
    pf: zero,
  });
}
define(withVex("Ptest"), "Vol. 2B, PTEST", (e) => test(e));
define("Vtestps", "Vol. 2C, VTESTPD/VTESTPS", (e) => test(e, lanes(32, 1n << 31n)));
define("Vtestpd", "Vol. 2C, VTESTPD/VTESTPS", (e) => test(e, lanes(64, 1n << 63n)));

define("Movnti", "Vol. 2B, MOVNTI", (e) => {
  const bytes = e.operand(0).width / 8;
  const value = e.read(1);
  const host = e.access(e.linearAddress(), bytes, PROT_WRITE);
  e.storeInt(bytes * 8, host, value);
  e.commit(host);
});
