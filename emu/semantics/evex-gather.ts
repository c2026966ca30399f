import type { Mnemonic } from "iced-x86";
import { PROT_READ, PROT_WRITE } from "../layout.ts";
import { type I64Expr, i32, i64, type V128Expr } from "../wasm/expr.ts";
import { i32x4, i64x2 } from "../wasm/simd.ts";
import { defineEvex } from "./table.ts";
import { loadInt, type Translator } from "./translator.ts";
import { clearUpper, partsOf, ZERO } from "./vector-operands.ts";

/**
 * Gathers and scatters under an opmask (SDM Vol. 2C, VGATHERDPS/VGATHERDPD, VSCATTERDPS): the lowest element first. Each
 * that is done clears its bit, so that after a fault the instruction goes on where it was.
 */

type Name = keyof typeof Mnemonic;

const extract = (bits: 32 | 64, vector: V128Expr, lane: number): I64Expr =>
  bits === 64 ? i64x2.extract(vector, lane) : i64.extendI32U(i32x4.extract(vector, lane));
const replace = (bits: 32 | 64, vector: V128Expr, lane: number, value: I64Expr): V128Expr =>
  bits === 64 ? i64x2.replace(vector, lane, value) : i32x4.replace(vector, lane, i32.wrap(value));

/** Runs `body` for each active element with its address; its bit is cleared behind it, and in the end all of them. */
function forEachElement(
  e: Translator,
  indexBits: 32 | 64,
  bits: 32 | 64,
  vector: number,
  body: (part: number, lane: number, address: I64Expr) => void,
): number {
  const indexWidth = e.instruction.memory?.vectorIndex ?? 128;
  const count = Math.min(indexWidth / indexBits, e.operand(vector).width / bits);
  const perPart = 128 / bits;
  const perIndexPart = 128 / indexBits;
  const indices = Array.from({ length: Math.max(1, indexWidth >> 7) }, (_, part) => e.let(e.vectorIndex(part)));
  for (let element = 0; element < count; element++) {
    const mask = e.let(e.opmask());
    const bit = 1n << BigInt(element);
    e.if(i64.ne(i64.and(mask, i64.const(bit)), i64.const(0)), () => {
      const place = element % perIndexPart;
      const all = indices[Math.floor(element / perIndexPart)];
      const index = indexBits === 64 ? i64x2.extract(all, place) : i64.extendI32S(i32x4.extract(all, place));
      body(Math.floor(element / perPart), element % perPart, e.elementAddress(index));
      e.setOpmask(i64.and(mask, i64.const(~bit)));
    });
  }
  e.setOpmask(i64.const(0));
  return count;
}

function gather(e: Translator, indexBits: 32 | 64, bits: 32 | 64): void {
  const count = forEachElement(e, indexBits, bits, 0, (part, lane, address) => {
    const host = e.access(address, bits / 8, PROT_READ);
    e.writeVectorPart(0, part, replace(bits, e.readVectorPart(0, part), lane, loadInt(bits, host)));
  });
  // Half a part, where there are fewer indices than the destination has room for.
  if (count * bits < 128) e.writeVectorPart(0, 0, i64x2.replace(e.readVectorPart(0, 0), 1, i64.const(0)));
  for (let part = Math.max(1, (count * bits) >> 7); part < partsOf(e, 0); part++) e.writeVectorPart(0, part, ZERO);
  clearUpper(e, 0, partsOf(e, 0));
}

function scatter(e: Translator, indexBits: 32 | 64, bits: 32 | 64): void {
  forEachElement(e, indexBits, bits, 1, (part, lane, address) => {
    const value = e.let(extract(bits, e.readVectorPart(1, part), lane));
    const host = e.access(address, bits / 8, PROT_WRITE);
    e.storeInt(bits, host, value);
    e.commit(host);
  });
}

for (const [index, indexBits] of [
  ["d", 32],
  ["q", 64],
] as const) {
  for (const [integer, float, bits] of [
    ["d", "ps", 32],
    ["q", "pd", 64],
  ] as const) {
    const names = (stem: string): Name[] => [`Vp${stem}${index}${integer}`, `V${stem}${index}${float}`] as Name[];
    defineEvex(names("gather"), "Vol. 2C, VGATHERDPS, VPGATHERDD", (e) => gather(e, indexBits, bits));
    defineEvex(names("scatter"), "Vol. 2C, VSCATTERDPS, VPSCATTERDD", (e) => scatter(e, indexBits, bits));
  }
}
