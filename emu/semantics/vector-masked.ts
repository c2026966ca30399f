import type { Mnemonic } from "iced-x86";
import { PROT_READ, PROT_WRITE } from "../layout.ts";
import { I32, type I32Expr, type I64Expr, i32, i64, type LocalRef, V128, type V128Expr } from "../wasm/expr.ts";
import { i32x4, i64x2 } from "../wasm/simd.ts";
import { define } from "./table.ts";
import { loadInt, type Translator } from "./translator.ts";
import { clearUpper, partsOf, readParts, writeParts, ZERO } from "./vector-operands.ts";

/** Loads and stores of single elements: VMASKMOV, VPMASKMOV and gathers (SDM Vol. 1, 14.6, 14.7). */

type Name = keyof typeof Mnemonic;

const extract = (bits: 32 | 64, vector: V128Expr, lane: number): I64Expr =>
  bits === 64 ? i64x2.extract(vector, lane) : i64.extendI32U(i32x4.extract(vector, lane));
const replace = (bits: 32 | 64, vector: V128Expr, lane: number, value: I64Expr): V128Expr =>
  bits === 64 ? i64x2.replace(vector, lane, value) : i32x4.replace(vector, lane, i32.wrap(value));
/** Is the sign bit of a lane set? */
const isSelected = (bits: 32 | 64, mask: V128Expr, lane: number): I32Expr =>
  bits === 64 ? i64.ltS(i64x2.extract(mask, lane), i64.const(0)) : i32.ltS(i32x4.extract(mask, lane), i32.const(0));

/** Elements that are not selected are not accessed, load as zero, and are not stored. */
function maskedLoad(e: Translator, bits: 32 | 64): void {
  const masks = readParts(e, 1);
  const start = e.let(e.linearAddress());
  const perPart = 128 / bits;
  const results = masks.map((mask, part) => {
    const result = e.local(V128);
    e.set(result, ZERO);
    for (let lane = 0; lane < perPart; lane++) {
      e.if(isSelected(bits, mask, lane), () => {
        const address = i64.add(start, i64.const(((part * perPart + lane) * bits) / 8));
        const host = e.access(address, bits / 8, PROT_READ);
        e.set(result, replace(bits, result, lane, loadInt(bits, host)));
      });
    }
    return result;
  });
  writeParts(e, 0, results);
}

function maskedStore(e: Translator, bits: 32 | 64): void {
  const masks = readParts(e, 1);
  const values = readParts(e, 2);
  const start = e.let(e.linearAddress());
  const perPart = 128 / bits;
  const hosts: LocalRef<typeof I32>[] = [];
  // All elements are checked before the first is stored.
  for (const stores of [false, true]) {
    for (let element = 0; element < perPart * masks.length; element++) {
      const part = Math.floor(element / perPart);
      const lane = element % perPart;
      e.if(isSelected(bits, masks[part], lane), () => {
        if (stores) {
          e.storeInt(bits, hosts[element], extract(bits, values[part], lane));
          e.commit(hosts[element]);
          return;
        }
        hosts[element] = e.local(I32);
        e.set(hosts[element], e.access(i64.add(start, i64.const((element * bits) / 8)), bits / 8, PROT_WRITE));
      });
    }
  }
}

for (const [names, bits] of [
  [["Vmaskmovps", "Vpmaskmovd"], 32],
  [["Vmaskmovpd", "Vpmaskmovq"], 64],
] as const) {
  define(names, "Vol. 2C, VMASKMOV, VPMASKMOV", (e) => (e.isMemory(0) ? maskedStore(e, bits) : maskedLoad(e, bits)));
}

/**
 * Gathers elements whose mask bit is set, the lowest first. Each one that is done is written at once and its mask
 * cleared, so that after a fault the instruction goes on where it was.
 */
function gather(e: Translator, indexBits: 32 | 64, bits: 32 | 64): void {
  const indexWidth = e.instruction.memory?.vectorIndex ?? 128;
  const count = Math.min(indexWidth / indexBits, e.operand(0).width / bits);
  const perPart = 128 / bits;
  const indices = Array.from({ length: Math.max(1, indexWidth >> 7) }, (_, part) => e.let(e.vectorIndex(part)));
  for (let element = 0; element < count; element++) {
    const part = Math.floor(element / perPart);
    const lane = element % perPart;
    e.if(isSelected(bits, e.readVectorPart(2, part), lane), () => {
      const place = element % (128 / indexBits);
      const vector = indices[Math.floor((element * indexBits) / 128)];
      const index = indexBits === 64 ? i64x2.extract(vector, place) : i64.extendI32S(i32x4.extract(vector, place));
      const host = e.access(e.elementAddress(index), bits / 8, PROT_READ);
      e.writeVectorPart(0, part, replace(bits, e.readVectorPart(0, part), lane, loadInt(bits, host)));
    });
    e.writeVectorPart(2, part, replace(bits, e.readVectorPart(2, part), lane, i64.const(0)));
  }
  for (let part = 0; part < partsOf(e, 2); part++) e.writeVectorPart(2, part, ZERO);
  if (count < perPart) e.writeVectorPart(0, 0, i64x2.replace(e.readVectorPart(0, 0), 1, i64.const(0)));
  clearUpper(e, 0, partsOf(e, 0));
  clearUpper(e, 2, partsOf(e, 2));
}

for (const [index, indexBits] of [
  ["d", 32],
  ["q", 64],
] as const) {
  for (const [integer, float, bits] of [
    ["d", "ps", 32],
    ["q", "pd", 64],
  ] as const) {
    const names = [`Vpgather${index}${integer}`, `Vgather${index}${float}`] as Name[];
    define(names, "Vol. 2C, VGATHERDPS, VPGATHERDD", (e) => gather(e, indexBits, bits));
  }
}
