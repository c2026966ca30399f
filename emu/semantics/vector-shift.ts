import type { Mnemonic } from "iced-x86";
import { type I32Expr, i32, i64, select, type V128Expr } from "../wasm/expr.ts";
import { i16x8, i32x4, i64x2, v128 } from "../wasm/simd.ts";
import { define, defineEvex } from "./table.ts";
import type { Translator } from "./translator.ts";
import {
  binaryParts,
  enterMmx,
  lastImmediate,
  readPart,
  readParts,
  sourcesOf,
  withVex,
  writeParts,
  ZERO,
} from "./vector-operands.ts";

/** Shifts of packed integers (SDM Vol. 2B, PSLLW, PSRLW, PSRAW, PSLLDQ; Vol. 2C, VPSLLVD). */

type Name = keyof typeof Mnemonic;
type Kind = "shl" | "shrU" | "shrS";
type Bits = 16 | 32 | 64;

const SHAPES = { 16: i16x8, 32: i32x4, 64: i64x2 } as const;

/** A shift by a count known now; counts of the lane width and more shift everything out. */
function shiftBy(kind: Kind, bits: Bits, value: V128Expr, count: number): V128Expr {
  if (count < bits) return SHAPES[bits][kind](value, i32.const(count));
  return kind === "shrS" ? SHAPES[bits].shrS(value, i32.const(bits - 1)) : ZERO;
}

/** A shift of all lanes by the low 64 bits of operand `i`. */
function shiftByVector(e: Translator, kind: Kind, bits: Bits): void {
  const [first, second] = sourcesOf(e);
  const count = e.let(i64x2.extract(readPart(e, second, { bytes: countBytes(e, second), suppression: "none" }), 0));
  const values = readParts(e, first);
  const large = e.let(i64.gtU(count, i64.const(bits - 1)));
  const amount = e.let(i32.wrap(count));
  const results = values.map((value) => {
    if (kind === "shrS") return e.let(SHAPES[bits].shrS(value, select(large, i32.const(bits - 1), amount)));
    return e.let(select(large, ZERO, SHAPES[bits][kind](value, amount)));
  });
  enterMmx(e);
  writeParts(e, 0, results);
}

/** The count operand is an XMM register or 16 bytes also for a YMM destination; with MMX 8 bytes. */
const countBytes = (e: Translator, i: number): number => Math.min(16, e.operand(i).width / 8);

function shiftByImmediate(e: Translator, kind: Kind, bits: Bits): void {
  const count = lastImmediate(e);
  const results = readParts(e, e.instruction.operands.length - 2).map((value) =>
    e.let(shiftBy(kind, bits, value, count)),
  );
  enterMmx(e);
  writeParts(e, 0, results);
}

const LETTERS = { w: 16, d: 32, q: 64 } as const;
const KINDS: readonly (readonly [string, Kind])[] = [
  ["Psll", "shl"],
  ["Psrl", "shrU"],
  ["Psra", "shrS"],
];
for (const [stem, kind] of KINDS) {
  for (const [letter, bits] of Object.entries(LETTERS)) {
    // A right shift of signed quadwords exists from AVX-512 on only.
    const isNew = kind === "shrS" && bits === 64;
    (isNew ? defineEvex : define)(
      isNew ? "Vpsraq" : withVex(`${stem}${letter}` as Name),
      `Vol. 2B, ${stem.toUpperCase()}W`,
      (e) => {
        const last = e.instruction.operands.length - 1;
        if (e.operand(last).kind === "immediate") shiftByImmediate(e, kind, bits);
        else shiftByVector(e, kind, bits);
      },
      { immediateInForm: true },
    );
  }
}

/** PSLLDQ, PSRLDQ: whole parts by bytes. */
function shiftBytes(e: Translator, left: boolean): void {
  const count = Math.min(16, lastImmediate(e));
  const picks = Array.from({ length: 16 }, (_, i) => (left ? 16 + i - count : i + count));
  const results = readParts(e, e.instruction.operands.length - 2).map((value) =>
    e.let(left ? v128.shuffle(ZERO, value, picks) : v128.shuffle(value, ZERO, picks)),
  );
  writeParts(e, 0, results);
}
define(withVex("Pslldq"), "Vol. 2B, PSLLDQ", (e) => shiftBytes(e, true), { immediateInForm: true });
define(withVex("Psrldq"), "Vol. 2B, PSRLDQ", (e) => shiftBytes(e, false), { immediateInForm: true });

/** Each lane by its own count. */
function shiftVariable(e: Translator, kind: Kind, bits: 32 | 64): void {
  binaryParts(e, (value, counts) => {
    let result: V128Expr = ZERO;
    for (let lane = 0; lane < 128 / bits; lane++) {
      if (bits === 32) {
        const count = e.let(i32x4.extract(counts, lane));
        const large: I32Expr = i32.gtU(count, i32.const(31));
        const x = i32x4.extract(value, lane);
        const shifted =
          kind === "shrS"
            ? i32.shrS(x, select(large, i32.const(31), count))
            : select(large, i32.const(0), i32[kind](x, count));
        result = i32x4.replace(result, lane, shifted);
      } else {
        const count = e.let(i64x2.extract(counts, lane));
        const large = i64.gtU(count, i64.const(63));
        const shifted =
          kind === "shl" ? i64.shl(i64x2.extract(value, lane), count) : i64.shrU(i64x2.extract(value, lane), count);
        result = i64x2.replace(result, lane, select(large, i64.const(0), shifted));
      }
    }
    return result;
  });
}
define("Vpsllvd", "Vol. 2C, VPSLLVW/VPSLLVD/VPSLLVQ", (e) => shiftVariable(e, "shl", 32));
define("Vpsllvq", "Vol. 2C, VPSLLVW/VPSLLVD/VPSLLVQ", (e) => shiftVariable(e, "shl", 64));
define("Vpsrlvd", "Vol. 2C, VPSRLVW/VPSRLVD/VPSRLVQ", (e) => shiftVariable(e, "shrU", 32));
define("Vpsrlvq", "Vol. 2C, VPSRLVW/VPSRLVD/VPSRLVQ", (e) => shiftVariable(e, "shrU", 64));
define("Vpsravd", "Vol. 2C, VPSRAVW/VPSRAVD/VPSRAVQ", (e) => shiftVariable(e, "shrS", 32));
