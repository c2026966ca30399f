import type { Mnemonic } from "iced-x86";
import type { V128Expr } from "../wasm/expr.ts";
import { i8x16, i32x4, v128 } from "../wasm/simd.ts";
import { type LaneBits, SHAPES } from "./opmask.ts";
import { defineEvex } from "./table.ts";
import type { Translator } from "./translator.ts";
import { lanes, lastImmediate, partsOf, readPart, readParts, shuffleLanes, writeParts } from "./vector-operands.ts";

/** Permutations across whole registers, broadcasts, insertion and extraction of AVX-512 (SDM Vol. 2C, VPERMB ff.). */

type Name = keyof typeof Mnemonic;
const IN_FORM = { immediateInForm: true } as const;

// Table look-ups.

/** What lane indices become as indices of bytes: each times the lane's bytes, and the place within the lane. */
const BYTES: Readonly<Record<LaneBits, { factor: number; places: V128Expr }>> = {
  8: { factor: 1, places: lanes(8, 0) },
  16: { factor: 0x0202, places: lanes(16, 0x0100) },
  32: { factor: 0x0404_0404, places: lanes(32, 0x0302_0100) },
  64: { factor: 0x0808_0808, places: lanes(64, 0x0706_0504_0302_0100n) },
};

/** Indices of bytes in the table, from lane indices of which the low bits count. */
function byteIndices(e: Translator, bits: LaneBits, entries: number, indices: V128Expr): V128Expr {
  const { factor, places } = BYTES[bits];
  const own = v128.and(indices, lanes(bits, entries - 1));
  if (bits === 8) return e.let(own);
  if (bits === 16) return e.let(SHAPES[16].add(SHAPES[16].mul(own, lanes(16, factor)), places));
  if (bits === 32) return e.let(i32x4.add(i32x4.mul(own, lanes(32, factor)), places));
  // The low double word of each quadword stands for both.
  const low = e.let(own);
  const twice = shuffleLanes(32, low, low, [0, 0, 2, 2]);
  return e.let(v128.or(i32x4.mul(twice, lanes(32, factor)), places));
}

/** The lanes of a table of 128-bit parts that `indices` number. */
function lookUp(e: Translator, bits: LaneBits, table: readonly V128Expr[], indices: V128Expr): V128Expr {
  const bytes = byteIndices(e, bits, (table.length * 128) / bits, indices);
  // An index outside a part gives zero, from that part.
  return e.let(
    table
      .map((part, i) => i8x16.swizzle(part, i === 0 ? bytes : i8x16.sub(bytes, lanes(8, 16 * i))))
      .reduce((a, b) => v128.or(a, b)),
  );
}

/** dst = table[indices], the table in operand 2. */
function permute(e: Translator, bits: LaneBits): void {
  const table = readParts(e, 2);
  const results = readParts(e, 1).map((indices) => lookUp(e, bits, table, indices));
  writeParts(e, 0, results);
}

/** Quadwords of each half of 256 bits by the immediate. */
function permuteByImmediate(e: Translator): void {
  const immediate = lastImmediate(e);
  const parts = readParts(e, 1);
  const results = parts.map((_, part) => {
    const first = (immediate >> (part & 1 ? 4 : 0)) & 3;
    const second = (immediate >> (part & 1 ? 6 : 2)) & 3;
    return e.let(shuffleLanes(64, parts[part & ~1], parts[part | 1], [first, second]));
  });
  writeParts(e, 0, results);
}

for (const [names, bits] of [
  [["Vpermb"], 8],
  [["Vpermw"], 16],
  [["Vpermd", "Vpermps"], 32],
] as const) {
  defineEvex(names, "Vol. 2C, VPERMB, VPERMD/VPERMW, VPERMPS", (e) => permute(e, bits));
}
defineEvex(
  ["Vpermq", "Vpermpd"],
  "Vol. 2C, VPERMQ, VPERMPD",
  (e) => {
    if (e.operand(2).kind === "immediate") permuteByImmediate(e);
    else permute(e, 64);
  },
  IN_FORM,
);

for (const [letter, bits] of [
  ["b", 8],
  ["w", 16],
  ["d", 32],
  ["q", 64],
  ["ps", 32],
  ["pd", 64],
] as const) {
  defineEvex(`Vpermi2${letter}` as Name, "Vol. 2C, VPERMI2W/D/Q/PS/PD, VPERMI2B", (e) => {
    const table = [...readParts(e, 2)];
    table.unshift(...readParts(e, 1));
    const results = readParts(e, 0).map((indices) => lookUp(e, bits, table, indices));
    writeParts(e, 0, results);
  });
  defineEvex(`Vpermt2${letter}` as Name, "Vol. 2C, VPERMT2W/D/Q/PS/PD, VPERMT2B", (e) => {
    const table = [...readParts(e, 2)];
    table.unshift(...readParts(e, 0));
    const results = readParts(e, 1).map((indices) => lookUp(e, bits, table, indices));
    writeParts(e, 0, results);
  });
}

/** Operand 1 above operand 2, shifted right by elements. */
for (const [name, bits] of [
  ["Valignd", 32],
  ["Valignq", 64],
] as const) {
  defineEvex(
    name,
    "Vol. 2C, VALIGND/VALIGNQ",
    (e) => {
      const low = readParts(e, 2);
      const all = [...low, ...readParts(e, 1)];
      const perPart = 128 / bits;
      const shift = lastImmediate(e) & (low.length * perPart - 1);
      const [skipped, offset] = [Math.floor(shift / perPart), shift % perPart];
      const picks = Array.from({ length: perPart }, (_, lane) => lane + offset);
      const results = low.map((_, part) => {
        const [first, second] = [all[part + skipped], all[part + skipped + 1]];
        return offset === 0 ? first : e.let(shuffleLanes(bits, first, second, picks));
      });
      writeParts(e, 0, results);
    },
    IN_FORM,
  );
}

/** 128-bit parts by the immediate, half of them from operand 1, half from operand 2. */
defineEvex(
  ["Vshuff32x4", "Vshuff64x2", "Vshufi32x4", "Vshufi64x2"],
  "Vol. 2C, VSHUFF32x4/VSHUFF64x2/VSHUFI32x4/VSHUFI64x2",
  (e) => {
    const b = readParts(e, 2);
    const a = readParts(e, 1);
    const immediate = lastImmediate(e);
    const field = a.length === 4 ? 2 : 1;
    const results = a.map((_, part) => {
      const pick = (immediate >> (part * field)) & (a.length - 1);
      return (part < a.length / 2 ? a : b)[pick];
    });
    writeParts(e, 0, results);
  },
  IN_FORM,
);

// Broadcast, insertion, extraction of several elements.

for (const [suffix, bytes] of [
  ["32x2", 8],
  ["32x4", 16],
  ["64x2", 16],
  ["32x8", 32],
  ["64x4", 32],
] as const) {
  for (const kind of ["f", "i"]) {
    if (bytes > 8 || kind === "f" || suffix === "32x2") {
      defineEvex(`Vbroadcast${kind}${suffix}` as Name, "Vol. 2C, VBROADCAST, VPBROADCAST", (e) => {
        let source =
          bytes === 32
            ? readParts(e, 1, { suppression: "repeated" })
            : [readPart(e, 1, { bytes, suppression: "repeated" })];
        if (bytes === 8) source = source.map((a) => e.let(shuffleLanes(64, a, a, [0, 0])));
        writeParts(
          e,
          0,
          Array.from({ length: partsOf(e, 0) }, (_, part) => source[part % source.length]),
        );
      });
    }
    if (bytes === 8) continue;
    const count = bytes / 16;
    /** Number of the first part that the immediate names, of a register of `parts` parts. */
    const firstPart = (e: Translator, parts: number): number => (lastImmediate(e) & (parts / count - 1)) * count;
    defineEvex(
      `Vinsert${kind}${suffix}` as Name,
      "Vol. 2C, VINSERTF128/VINSERTF32x4/VINSERTF64x2/VINSERTF32x8/VINSERTF64x4",
      (e) => {
        const values = readParts(e, 2);
        const parts = readParts(e, 1);
        parts.splice(firstPart(e, parts.length), count, ...values);
        writeParts(e, 0, parts);
      },
      IN_FORM,
    );
    defineEvex(
      `Vextract${kind}${suffix}` as Name,
      "Vol. 2C, VEXTRACTF128/VEXTRACTF32x4/VEXTRACTF64x2/VEXTRACTF32x8/VEXTRACTF64x4",
      (e) => {
        const first = firstPart(e, partsOf(e, 1));
        writeParts(
          e,
          0,
          Array.from({ length: count }, (_, i) => e.let(e.readVectorPart(1, first + i))),
        );
      },
      IN_FORM,
    );
  }
}

// Narrowing moves.

const LETTERS = { b: 8, w: 16, d: 32, q: 64 } as const;

/** A part with the lanes saturated to what `to` bits hold, or as they are. */
function saturated(bits: 16 | 32 | 64, to: number, kind: "" | "s" | "us", a: V128Expr): V128Expr {
  if (kind === "") return a;
  const limit = (value: bigint): V128Expr => lanes(bits, value);
  if (kind === "us") {
    const most = limit((1n << BigInt(to)) - 1n);
    if (bits !== 64) return SHAPES[bits].minU(a, most);
    const sign = lanes(64, 1n << 63n);
    const above = SHAPES[64].gtS(v128.xor(a, sign), v128.xor(most, sign));
    return v128.bitselect(most, a, above);
  }
  const [most, least] = [limit((1n << BigInt(to - 1)) - 1n), limit(-(1n << BigInt(to - 1)))];
  if (bits !== 64) return SHAPES[bits].maxS(SHAPES[bits].minS(a, most), least);
  const capped = v128.bitselect(most, a, SHAPES[64].gtS(a, most));
  return v128.bitselect(least, capped, SHAPES[64].ltS(a, least));
}

/** VPMOVxy: the low `to` bits of each lane, side by side. */
function narrow(e: Translator, bits: 16 | 32 | 64, to: 8 | 16 | 32, kind: "" | "s" | "us"): void {
  const piece = (16 * to) / bits;
  const pieces = readParts(e, 1).map((a) => e.let(saturated(bits, to, kind, e.let(a))));
  const total = pieces.length * piece;
  const results = Array.from({ length: Math.max(1, total >> 4) }, (_, part) => {
    const inside = pieces.slice((part * 16) / piece, ((part + 1) * 16) / piece);
    const placed = inside.map((a, i) =>
      v128.shuffle(
        a,
        lanes(8, 0),
        Array.from({ length: 16 }, (_, byte) => {
          const from = byte - i * piece;
          if (from < 0 || from >= piece) return 16;
          return Math.floor(from / (to / 8)) * (bits / 8) + (from % (to / 8));
        }),
      ),
    );
    return e.let(placed.reduce((a, b) => v128.or(a, b)));
  });
  writeParts(e, 0, results);
}

for (const [from, to] of ["wb", "db", "dw", "qb", "qw", "qd"].map((pair) => [...pair]) as [
  "w" | "d" | "q",
  "b" | "w" | "d",
][]) {
  for (const kind of ["", "s", "us"] as const) {
    defineEvex(`Vpmov${kind}${from}${to}` as Name, "Vol. 2C, VPMOVDB/VPMOVSDB/VPMOVUSDB and following", (e) =>
      narrow(e, LETTERS[from], LETTERS[to], kind),
    );
  }
}
