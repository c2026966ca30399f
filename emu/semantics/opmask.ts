import { Mnemonic } from "iced-x86";
import { STATE } from "../cpu/state.ts";
import type { Instruction } from "../decode/instruction.ts";
import { PROT_READ, PROT_WRITE } from "../layout.ts";
import { I32, type I32Expr, type I64Expr, i32, i64, type V128Expr } from "../wasm/expr.ts";
import { i8x16, i16x8, i32x4, i64x2, v128 } from "../wasm/simd.ts";
import { loadInt, maskOf, type Translator } from "./translator.ts";

/**
 * Opmasks (SDM Vol. 1, 15.6; Vol. 2A, 2.7.4): bit i of the register that EVEX.aaa names decides about element i of the
 * destination. An element whose bit is clear is kept, or with zeroing becomes zero; it raises no floating-point
 * exception, and its memory is not accessed.
 *
 * Rows need not know. Their operands are read and written through vector-operands.ts, which comes here for instructions
 * with an opmask; of a floating-point operand the elements that do not count are replaced by a number that raises
 * nothing.
 */

export type LaneBits = 8 | 16 | 32 | 64;

export const SHAPES = { 8: i8x16, 16: i16x8, 32: i32x4, 64: i64x2 } as const;

const LETTERS: Readonly<Record<string, LaneBits>> = { b: 8, w: 16, d: 32, q: 64 };

/** Destination elements where the name does not end with their letter. */
const ELEMENTS: readonly (readonly [RegExp, LaneBits])[] = [
  [/^Vpcmpd$/, 32],
  [/^Vpunpck[lh]bw$|^Vpalignr$/, 8],
  [/^Vpunpck[lh]wd$|^Vcvt.*(2ph|2bf16)$/, 16],
  [/^Vpunpck[lh]dq$|^Vpdp|^Vcvt.*2u?dq$|^Vmovs[lh]dup$/, 32],
  [/^Vpunpck[lh]qdq$|^Vcvt.*2u?qq$|^Vmovddup$/, 64],
  [/^Vmov[a-z]+8$/, 8],
  [/^Vmov[a-z]+16$/, 16],
  [/^Vmov[a-z]+32$|32x[248]$|ps$|^V(?!p).*ss$/, 32],
  [/^Vmov[a-z]+64$|64x[24]$|pd$|^V(?!p).*sd$/, 64],
];

const widths: (LaneBits | undefined)[] = [];

/** Width in bits of the elements that an opmask decides about. */
export function elementBits({ mnemonic }: Instruction): LaneBits {
  let bits = widths[mnemonic];
  if (bits === undefined) {
    const name = Mnemonic[mnemonic];
    bits = ELEMENTS.find(([pattern]) => pattern.test(name))?.[1] ?? LETTERS[name[name.length - 1]];
    if (bits === undefined) throw new Error(`no element width known of ${name}`);
    widths[mnemonic] = bits;
  }
  return bits;
}

const isScalarName = /^V(?!p|broadcast).*(ss|sd)$/;
const scalars: (boolean | undefined)[] = [];
/** Does the instruction work on the lowest element alone (VADDSS, VMOVSD, …)? Bit 0 of the opmask then decides. */
const isScalar = ({ mnemonic }: Instruction): boolean => (scalars[mnemonic] ??= isScalarName.test(Mnemonic[mnemonic]));

/** Source elements of instructions whose destination has room for more of them than there are. */
const NARROWING: readonly (readonly [RegExp, LaneBits])[] = [
  [/^Vpmov(s|us)?w/, 16],
  [/^Vpmov(s|us)?d/, 32],
  [/^Vpmov(s|us)?q|^Vcvtt?(pd|u?qq)2/, 64],
  [/^Vcvtneps2bf16$|^Vcvtps2ph$/, 32],
];
const sources: (LaneBits | 0 | undefined)[] = [];
const narrowedFrom = ({ mnemonic }: Instruction): LaneBits | 0 =>
  (sources[mnemonic] ??= NARROWING.find(([pattern]) => pattern.test(Mnemonic[mnemonic]))?.[1] ?? 0);

/** Number of elements that the opmask decides about. */
export function elementCount(e: Translator): number {
  const { instruction } = e;
  if (isScalar(instruction)) return 1;
  const [first, second] = instruction.operands;
  const narrowed = narrowedFrom(instruction);
  if (narrowed !== 0) return second.width / narrowed;
  const operand = first.registerClass === "opmask" ? second : first;
  return Math.max(1, operand.width / elementBits(instruction));
}

/**
 * Instructions that access the whole of a memory operand whatever the opmask (SDM Vol. 2A, 2.8: exception types E4NF and
 * E6NF).
 */
const isWholeName =
  /^V(pack|pu?npck|unpck|pshuf([bd]|hw|lw)$|shuf|perm|pmadd(wd|ubsw)|p?align|pconflict|insert|extract|mov(d|s[lh])dup|dbpsadbw|pmultishift|gf2p8affine|cvtne2ps2bf16)/;
const whole: (boolean | undefined)[] = [];
export const accessesWhole = ({ mnemonic }: Instruction): boolean =>
  (whole[mnemonic] ??= isWholeName.test(Mnemonic[mnemonic]));

export const isMasked = (e: Translator): boolean => e.instruction.opmask !== 0;

/** The opmask's bits that count, pinned. */
export function activeBits(e: Translator): I64Expr {
  const count = elementCount(e);
  return e.let(count === 64 ? e.opmask() : i64.and(e.opmask(), i64.const(maskOf(count))));
}

/** Is element 0 active? */
export const isFirstActive = (e: Translator): I32Expr => i32.wrap(i64.and(e.opmask(), i64.const(1)));

const constant = (make: (i: number) => number): V128Expr =>
  v128.const(Uint8Array.from({ length: 16 }, (_, i) => make(i)));
/** Bit i of a lane's own place, in each lane. */
const PLACES: Readonly<Record<LaneBits, V128Expr>> = {
  8: constant((i) => 1 << (i & 7)),
  16: constant((i) => (i & 1 ? 0 : 1 << (i >> 1))),
  32: constant((i) => (i & 3 ? 0 : 1 << (i >> 2))),
  64: constant((i) => (i & 7 ? 0 : 1 << (i >> 3))),
};

/** All ones in each lane of 128-bit part `part` whose bit in `mask` is set. */
export function lanesOf(e: Translator, mask: I64Expr, bits: LaneBits, part: number): V128Expr {
  const shifted = i64.shrU(mask, i64.const((part * 128) / bits));
  const places = PLACES[bits];
  let splat: V128Expr;
  if (bits === 64) splat = i64x2.splat(shifted);
  else if (bits === 32) splat = i32x4.splat(i32.wrap(shifted));
  else if (bits === 16) splat = i16x8.splat(i32.wrap(shifted));
  else {
    const low = e.let(i16x8.splat(i32.wrap(shifted)));
    splat = v128.shuffle(low, low, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
  }
  return e.let(SHAPES[bits].eq(v128.and(splat, places), places));
}

/** The top bits of all lanes of vectors, part after part. */
export function bitsOfLanes(bits: LaneBits, parts: readonly V128Expr[]): I64Expr {
  return parts
    .map((part, i) => {
      const mask = i64.extendI32U(SHAPES[bits].bitmask(part));
      return i === 0 ? mask : i64.shl(mask, i64.const((i * 128) / bits));
    })
    .reduce(i64.or);
}

/** Writes the bits of lanes to opmask register operand 0; of inactive elements they are zero. */
export function writeComparison(e: Translator, bits: LaneBits, parts: readonly V128Expr[]): void {
  const all = bitsOfLanes(bits, parts);
  e.writeRegister(0, 64, isMasked(e) ? i64.and(all, activeBits(e)) : all);
}

/** What operand 0's register holds after the instruction, given what it computed: inactive elements kept or zero. */
export function merged(e: Translator, values: readonly V128Expr[]): V128Expr[] {
  const { zeroing } = e.instruction;
  const bits = elementBits(e.instruction);
  const count = elementCount(e);
  // What lies above the last element is not the opmask's.
  const above = ~maskOf(count) & maskOf((values.length * 128) / bits);
  const mask = e.let(above === 0n ? e.opmask() : i64.or(e.opmask(), i64.const(above)));
  return values.map((value, part) => {
    const lanes = lanesOf(e, mask, bits, part);
    return e.let(zeroing ? v128.and(value, lanes) : v128.bitselect(value, e.readVectorPart(0, part), lanes));
  });
}

/** 4 as a float, and as an integer a power of two: no operation on it, or on it alone, raises an exception. */
const NEUTRAL: Readonly<Record<32 | 64, V128Expr>> = {
  32: constant((i) => [0, 0, 0x80, 0x40][i & 3]),
  64: constant((i) => [0, 0, 0, 0, 0, 0, 0x10, 0x40][i & 7]),
};

/** A floating-point operand of `bits`-bit elements in which inactive ones are such that they raise nothing. */
export function neutralized(e: Translator, bits: 32 | 64, values: readonly V128Expr[]): V128Expr[] {
  if (!isMasked(e)) return [...values];
  const mask = e.let(e.opmask());
  return values.map((value, part) => e.let(v128.bitselect(value, NEUTRAL[bits], lanesOf(e, mask, bits, part))));
}

/** Runs `body` with the number of each active element, in order. */
export function forEachActive(e: Translator, mask: I64Expr, count: number, body: (index: I64Expr) => void): void {
  const index = e.local(I32);
  e.set(index, i32.const(0));
  e.loop((again) => {
    const wide = e.let(i64.extendI32U(index));
    e.if(i32.wrap(i64.and(i64.shrU(mask, wide), i64.const(1))), () => body(wide));
    e.set(index, i32.add(index, i32.const(1)));
    e.branchIf(again, i32.ltU(index, i32.const(count)));
  });
}

/** Place in wasm memory of element `index` of one of the two vectors of scratch. */
export function scratchElement(e: Translator, which: 0 | 1, bits: LaneBits, index: I64Expr): I32Expr {
  const offset = i32.shl(i32.wrap(index), i32.const(Math.log2(bits / 8)));
  return i32.add(i32.add(e.stateAddress(), i32.const(STATE.vectorScratch + which * 64)), offset);
}

export function spill(e: Translator, which: 0 | 1, parts: readonly V128Expr[]): void {
  for (const [part, value] of parts.entries())
    e.storeV128(e.stateAddress(), value, STATE.vectorScratch + which * 64 + part * 16);
}

export function reload(e: Translator, which: 0 | 1, parts: number): V128Expr[] {
  return Array.from({ length: parts }, (_, part) =>
    e.let(v128.load(e.stateAddress(), STATE.vectorScratch + which * 64 + part * 16)),
  );
}

const ZERO = constant(() => 0);
const elementAt = (start: I64Expr, bits: LaneBits, index: I64Expr): I64Expr =>
  i64.add(start, i64.shl(index, i64.const(Math.log2(bits / 8))));

/**
 * Place in wasm memory from which `bytes` bytes of memory at a pinned address can be loaded of which only the active
 * elements count: no other is accessed in the guest's eyes.
 */
export function maskedSource(e: Translator, address: I64Expr, bytes: number, bits: LaneBits, mask: I64Expr): I32Expr {
  const host = e.local(I32);
  e.if(
    e.isOpen(address, PROT_READ),
    () => e.set(host, i32.wrap(address)),
    () => {
      spill(
        e,
        0,
        Array.from({ length: Math.max(1, bytes >> 4) }, () => ZERO),
      );
      forEachActive(e, mask, (bytes * 8) / bits, (index) => {
        const from = e.access(elementAt(address, bits, index), bits / 8, PROT_READ);
        e.storeInt(bits, scratchElement(e, 0, bits, index), loadInt(bits, from));
      });
      e.set(host, i32.add(e.stateAddress(), i32.const(STATE.vectorScratch)));
    },
  );
  return e.let(host);
}

/** Leaves with a page fault if an active element of a destination in memory can't be written. */
export function checkMaskedStore(e: Translator, address: I64Expr, bytes: number): void {
  const bits = elementBits(e.instruction);
  e.if(i32.eqz(e.isOpen(address, PROT_WRITE)), () => {
    forEachActive(e, e.let(e.opmask()), (bytes * 8) / bits, (index) => {
      e.let(e.access(elementAt(address, bits, index), bits / 8, PROT_WRITE));
    });
  });
}

/** Stores the active elements to memory that `checkMaskedStore` has found good. */
export function storeMasked(e: Translator, address: I64Expr, bytes: number, values: readonly V128Expr[]): void {
  if (bytes < 16) {
    storeElements(e, address, bytes, values);
    return;
  }
  // Where nothing can fault, the others are stored as they are.
  e.if(
    e.isOpen(address, PROT_WRITE),
    () => {
      const host = e.let(i32.wrap(address));
      const mask = e.let(e.opmask());
      for (const [part, value] of values.entries()) {
        const lanes = lanesOf(e, mask, elementBits(e.instruction), part);
        e.storeV128(host, v128.bitselect(value, v128.load(host, part * 16), lanes), part * 16);
      }
    },
    () => storeElements(e, address, bytes, values),
  );
}

function storeElements(e: Translator, address: I64Expr, bytes: number, values: readonly V128Expr[]): void {
  const bits = elementBits(e.instruction);
  spill(e, 0, values);
  forEachActive(e, e.let(e.opmask()), (bytes * 8) / bits, (index) => {
    const host = e.access(elementAt(address, bits, index), bits / 8, PROT_WRITE);
    e.storeInt(bits, host, loadInt(bits, scratchElement(e, 0, bits, index)));
    e.commit(host);
  });
}
