import type { Mnemonic } from "iced-x86";
import { PROT_READ, PROT_WRITE } from "../layout.ts";
import { I64, type I64Expr, i64, type LocalRef, type V128Expr } from "../wasm/expr.ts";
import {
  activeBits,
  elementCount,
  forEachActive,
  isMasked,
  type LaneBits,
  reload,
  scratchElement,
  spill,
} from "./opmask.ts";
import { defineEvex } from "./table.ts";
import { loadInt, maskOf, type Translator } from "./translator.ts";
import { partsOf, readParts, writeParts, ZERO } from "./vector-operands.ts";

/** VPCOMPRESS and VPEXPAND: active elements side by side, or set apart (SDM Vol. 2C, VCOMPRESSPD, VEXPANDPD). */

type Name = keyof typeof Mnemonic;

/** The opmask, or all ones without one. */
const maskOrAll = (e: Translator): I64Expr => (isMasked(e) ? activeBits(e) : i64.const(maskOf(elementCount(e))));

/** A counter of the elements that are done. */
function counter(e: Translator): { readonly value: LocalRef<typeof I64>; readonly step: () => void } {
  const value = e.local(I64);
  e.set(value, i64.const(0));
  return { value, step: () => e.set(value, i64.add(value, i64.const(1))) };
}

const at = (start: I64Expr, bits: LaneBits, index: I64Expr): I64Expr =>
  i64.add(start, i64.shl(index, i64.const(Math.log2(bits / 8))));

/** What elements that no active one goes to hold: zero, or the destination's own. */
const rest = (e: Translator): V128Expr[] =>
  e.instruction.zeroing ? Array.from({ length: partsOf(e, 0) }, () => ZERO) : readParts(e, 0);

function compress(e: Translator, bits: LaneBits): void {
  const mask = maskOrAll(e);
  const count = e.operand(1).width / bits;
  spill(e, 0, readParts(e, 1));
  const element = (index: I64Expr): I64Expr => loadInt(bits, scratchElement(e, 0, bits, index));
  if (!e.isMemory(0)) {
    spill(e, 1, rest(e));
    const { value, step } = counter(e);
    forEachActive(e, mask, count, (index) => {
      e.storeInt(bits, scratchElement(e, 1, bits, value), element(index));
      step();
    });
    writeParts(e, 0, reload(e, 1, partsOf(e, 0)), { isBlended: true });
    return;
  }
  const start = e.let(e.linearAddress());
  // All elements are checked before the first is stored.
  for (const stores of [false, true]) {
    const { value, step } = counter(e);
    forEachActive(e, mask, count, (index) => {
      const host = e.access(at(start, bits, value), bits / 8, PROT_WRITE);
      if (stores) {
        e.storeInt(bits, host, element(index));
        e.commit(host);
      }
      step();
    });
  }
}

function expand(e: Translator, bits: LaneBits): void {
  const mask = maskOrAll(e);
  const count = e.operand(0).width / bits;
  spill(e, 1, rest(e));
  const { value, step } = counter(e);
  let element: () => I64Expr;
  if (e.isMemory(1)) {
    const start = e.let(e.linearAddress());
    element = () => loadInt(bits, e.access(at(start, bits, value), bits / 8, PROT_READ));
  } else {
    spill(e, 0, readParts(e, 1));
    element = () => loadInt(bits, scratchElement(e, 0, bits, value));
  }
  forEachActive(e, mask, count, (index) => {
    e.storeInt(bits, scratchElement(e, 1, bits, index), element());
    step();
  });
  writeParts(e, 0, reload(e, 1, partsOf(e, 0)), { isBlended: true });
}

for (const [prefix, letter, bits] of [
  ["Vp", "b", 8],
  ["Vp", "w", 16],
  ["Vp", "d", 32],
  ["Vp", "q", 64],
  ["V", "ps", 32],
  ["V", "pd", 64],
] as const) {
  defineEvex(`${prefix}compress${letter}` as Name, "Vol. 2C, VCOMPRESSPD, VPCOMPRESSB", (e) => compress(e, bits));
  defineEvex(`${prefix}expand${letter}` as Name, "Vol. 2C, VEXPANDPD, VPEXPANDB", (e) => expand(e, bits));
}
