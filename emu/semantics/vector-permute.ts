import { i32, type V128Expr } from "../wasm/expr.ts";
import { i8x16, i16x8, i32x4, i64x2, v128 } from "../wasm/simd.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";
import {
  binaryParts,
  lanes,
  lastImmediate,
  partsOf,
  readPart,
  readParts,
  shuffleLanes,
  unaryParts,
  writeParts,
  ZERO,
} from "./vector-operands.ts";

/** AVX and AVX2 instructions that broadcast, and that move data across 128-bit parts (SDM Vol. 1, 14.2.2, 14.6). */

const IN_FORM = { immediateInForm: true } as const;

// Broadcast.

const SPLATS: Readonly<Record<8 | 16 | 32 | 64, (a: V128Expr) => V128Expr>> = {
  8: (a) => i8x16.splat(i8x16.extractU(a, 0)),
  16: (a) => i16x8.splat(i16x8.extractU(a, 0)),
  32: (a) => i32x4.splat(i32x4.extract(a, 0)),
  64: (a) => i64x2.splat(i64x2.extract(a, 0)),
};

function broadcast(e: Translator, bits: 8 | 16 | 32 | 64): void {
  const source =
    e.operand(1).registerClass === "gpr"
      ? e.let(SPLATS[bits](i64x2.splat(e.readRegister(1, bits))))
      : e.let(SPLATS[bits](readPart(e, 1, { bytes: bits / 8, suppression: "repeated" })));
  writeParts(
    e,
    0,
    Array.from({ length: partsOf(e, 0) }, () => source),
  );
}
for (const [name, bits] of [
  ["Vpbroadcastb", 8],
  ["Vpbroadcastw", 16],
  ["Vpbroadcastd", 32],
  ["Vpbroadcastq", 64],
] as const) {
  define(name, "Vol. 2C, VPBROADCAST", (e) => broadcast(e, bits));
}
define("Vbroadcastss", "Vol. 2C, VBROADCAST", (e) => broadcast(e, 32));
define("Vbroadcastsd", "Vol. 2C, VBROADCAST", (e) => broadcast(e, 64));
define(["Vbroadcastf128", "Vbroadcasti128"], "Vol. 2C, VBROADCAST", (e) => {
  const source = readPart(e, 1);
  writeParts(e, 0, [source, source]);
});

// Insert and extract 128 bits.

define(
  ["Vinsertf128", "Vinserti128"],
  "Vol. 2C, VINSERTF128, VINSERTI128",
  (e) => {
    const value = readPart(e, 2);
    const parts = readParts(e, 1);
    parts[lastImmediate(e) & 1] = value;
    writeParts(e, 0, parts);
  },
  IN_FORM,
);
define(
  ["Vextractf128", "Vextracti128"],
  "Vol. 2C, VEXTRACTF128, VEXTRACTI128",
  (e) => {
    writeParts(e, 0, [e.let(e.readVectorPart(1, lastImmediate(e) & 1))]);
  },
  IN_FORM,
);

// Permute.

define(
  ["Vperm2f128", "Vperm2i128"],
  "Vol. 2C, VPERM2F128, VPERM2I128",
  (e) => {
    const b = readParts(e, 2);
    const all = [...readParts(e, 1), ...b];
    const immediate = lastImmediate(e);
    const pick = (control: number): V128Expr => (control & 8 ? ZERO : all[control & 3]);
    writeParts(e, 0, [pick(immediate), pick(immediate >> 4)]);
  },
  IN_FORM,
);

define(
  ["Vpermq", "Vpermpd"],
  "Vol. 2C, VPERMQ, VPERMPD",
  (e) => {
    const [low, high] = readParts(e, 1);
    const immediate = lastImmediate(e);
    const pick = (shift: number): V128Expr => {
      const [first, second] = [(immediate >> shift) & 3, (immediate >> (shift + 2)) & 3];
      return e.let(shuffleLanes(64, low, high, [first, second]));
    };
    writeParts(e, 0, [pick(0), pick(4)]);
  },
  IN_FORM,
);

/** Byte indices for swizzle out of double word indices modulo 4. */
const byteIndices = (indices: V128Expr): V128Expr =>
  i32x4.add(i32x4.mul(v128.and(indices, lanes(32, 3)), lanes(32, 0x0404_0404)), lanes(32, 0x0302_0100));

define(["Vpermd", "Vpermps"], "Vol. 2C, VPERMD, VPERMPS", (e) => {
  const [low, high] = readParts(e, 2);
  const results = readParts(e, 1).map((indices) => {
    const bytes = e.let(byteIndices(indices));
    const isHigh = i32x4.shrS(i32x4.shl(indices, i32.const(29)), i32.const(31));
    return e.let(v128.bitselect(i8x16.swizzle(high, bytes), i8x16.swizzle(low, bytes), isHigh));
  });
  writeParts(e, 0, results);
});

/** VPERMILPS, VPERMILPD: within each part, by an immediate or by another register. */
define(
  "Vpermilps",
  "Vol. 2C, VPERMILPS",
  (e) => {
    if (e.operand(2).kind === "immediate") {
      const picks = [0, 2, 4, 6].map((shift) => (lastImmediate(e) >> shift) & 3);
      unaryParts(e, (a) => shuffleLanes(32, a, a, picks));
    } else binaryParts(e, (a, control) => i8x16.swizzle(a, byteIndices(control)));
  },
  IN_FORM,
);
define(
  "Vpermilpd",
  "Vol. 2C, VPERMILPD",
  (e) => {
    if (e.operand(2).kind === "immediate") {
      const immediate = lastImmediate(e);
      unaryParts(e, (a, part) => {
        const control = immediate >> (2 * part);
        return shuffleLanes(64, a, a, [control & 1, (control >> 1) & 1]);
      });
      return;
    }
    binaryParts(e, (a, control) => {
      const isHigh = i64x2.shrS(i64x2.shl(control, i32.const(62)), i32.const(63));
      return v128.bitselect(shuffleLanes(64, a, a, [1, 1]), shuffleLanes(64, a, a, [0, 0]), isHigh);
    });
  },
  IN_FORM,
);
