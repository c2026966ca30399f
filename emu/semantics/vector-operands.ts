import { Mnemonic } from "iced-x86";
import { VECTOR } from "../cpu/exits.ts";
import { STATE } from "../cpu/state.ts";
import { PROT_READ, PROT_WRITE } from "../layout.ts";
import { type I32Expr, type I64Expr, i32, i64, V128, type V128Expr } from "../wasm/expr.ts";
import { i16x8, i64x2, v128 } from "../wasm/simd.ts";
import {
  accessesWhole,
  activeBits,
  checkMaskedStore,
  elementBits,
  elementCount,
  isMasked,
  type LaneBits,
  maskedSource,
  merged,
  neutralized,
  storeMasked,
} from "./opmask.ts";
import { loadInt, type Translator } from "./translator.ts";

/**
 * Operands of vector instructions as lists of 128-bit parts. An XMM register has one part, a YMM register two. An MMX
 * register is the low half of one part whose upper half means nothing.
 *
 * Legacy SSE instructions keep what lies above their destination, VEX-encoded ones clear it (SDM Vol. 1, 14.1.3 and
 * 14.4.1). A 16-byte memory operand of a legacy instruction has to be aligned, with exceptions (SDM Vol. 1, 14.9).
 */

/** 128-bit parts of a full vector register (ZMM). */
const REGISTER_PARTS = 4;

export const ZERO = v128.const(new Uint8Array(16));

type Name = keyof typeof Mnemonic;

/** The names, and each with V in front where the decoder knows such an instruction: the VEX form. */
export function withVex(...names: Name[]): Name[] {
  return names.flatMap((name) => {
    const vex = `V${name.toLowerCase()}` as Name;
    return Mnemonic[vex] === undefined ? [name] : [name, vex];
  });
}

/** A 16-byte constant from lanes of `bits` bits, the lowest first; repeated to fill. */
export function lanes(bits: 8 | 16 | 32 | 64, ...values: (number | bigint)[]): V128Expr {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 128 / bits; i++) {
    const value = BigInt.asUintN(bits, BigInt(values[i % values.length]));
    for (let byte = 0; byte < bits / 8; byte++) {
      view.setUint8((i * bits) / 8 + byte, Number((value >> BigInt(8 * byte)) & 0xffn));
    }
  }
  return v128.const(bytes);
}

/** Picks lanes of a (0…) and b (128 / width…). */
export function shuffleLanes(width: number, a: V128Expr, b: V128Expr, picks: readonly number[]): V128Expr {
  const bytes = width / 8;
  return v128.shuffle(
    a,
    b,
    picks.flatMap((lane) => Array.from({ length: bytes }, (_, i) => lane * bytes + i)),
  );
}

export const isMmx = (e: Translator, i: number): boolean => e.operand(i).registerClass === "mmx";

/** Does any operand name an MMX register? Decides what the 64-bit memory operand of the instruction is. */
export const usesMmx = (e: Translator): boolean =>
  e.instruction.operands.some(({ registerClass }) => registerClass === "mmx");

/** Number of 128-bit parts of operand `i`; at least 1. */
export const partsOf = (e: Translator, i: number): number => Math.max(1, e.operand(i).width >> 7);

/** How a memory operand is read. */
export interface ReadOptions {
  /** Bytes to read; by default the operand's width. */
  readonly bytes?: number;
  /** The legacy 16-byte form needs no alignment (MOVUPS, LDDQU, …). */
  readonly unaligned?: boolean;
  /** Alignment is needed with VEX too (VMOVAPS, …). */
  readonly aligned?: boolean;
  /**
   * How inactive elements keep a memory operand from being accessed: each its own (by default), each the one that it is
   * a copy of (`repeated`), or not at all (`none`; SDM Vol. 2A, 2.8, exception types E4NF, E6NF).
   */
  readonly suppression?: "elements" | "repeated" | "none";
  /** Floating-point operands: width of the elements, of which inactive ones must raise nothing. */
  readonly float?: 32 | 64;
  /** The values to write have the opmask in them already. */
  readonly isBlended?: boolean;
}

/** Place in wasm memory of the memory operand, after the checks that `options` and the encoding ask for. */
export function vectorAccess(e: Translator, bytes: number, need: number, options: ReadOptions = {}): I32Expr {
  if (usesMmx(e)) raisePending(e);
  const address = e.let(e.linearAddress());
  const aligned = options.aligned ?? (!e.instruction.vex && bytes === 16 && !options.unaligned);
  if (aligned) e.requireAligned(address, bytes);
  return e.access(address, bytes, need);
}

/** Loads 1, 2, 4, 8 or 16 bytes into the low end of a part, the rest zero. */
function loadPart(host: I32Expr, bytes: number, offset = 0): V128Expr {
  if (bytes >= 16) return v128.load(host, offset);
  if (bytes === 8) return v128.load64Zero(host, offset);
  if (bytes === 4) return v128.load32Zero(host, offset);
  return i64x2.replace(ZERO, 0, loadInt(bytes * 8, host, offset));
}

/** The parts of vector operand `i`, pinned. */
export function readParts(e: Translator, i: number, options: ReadOptions = {}): V128Expr[] {
  if (!e.isMemory(i)) {
    return Array.from({ length: partsOf(e, i) }, (_, part) => e.let(e.readVectorPart(i, part)));
  }
  if (e.instruction.broadcast !== 0) return broadcastParts(e, i);
  const bytes = options.bytes ?? e.operand(i).width / 8;
  const load = (host: I32Expr): V128Expr[] =>
    Array.from({ length: Math.max(1, bytes >> 4) }, (_, part) => e.let(loadPart(host, bytes, part * 16)));
  const { suppression = accessesWhole(e.instruction) ? "none" : "elements" } = options;
  if (!isMasked(e) || suppression === "none") return load(vectorAccess(e, bytes, PROT_READ, options));
  const address = e.let(e.linearAddress());
  if (options.aligned) requireActiveAligned(e, address, bytes);
  if (suppression === "elements") {
    return load(maskedSource(e, address, bytes, ((bytes * 8) / elementCount(e)) as LaneBits, e.let(e.opmask())));
  }
  const bits = elementBits(e.instruction);
  let mask = activeBits(e);
  for (let half = elementCount(e) / 2; half >= (bytes * 8) / bits; half /= 2) {
    mask = e.let(i64.or(mask, i64.shrU(mask, i64.const(half))));
  }
  return load(maskedSource(e, address, bytes, bits, mask));
}

/** One element of memory in each lane; it is not accessed if no element of the destination is active. */
function broadcastParts(e: Translator, i: number): V128Expr[] {
  const bits = e.instruction.broadcast;
  const parts = partsOf(e, i);
  const splat = (): V128Expr => {
    const host = e.access(e.linearAddress(), bits / 8, PROT_READ);
    if (bits === 64) return v128.load64Splat(host);
    return bits === 32 ? v128.load32Splat(host) : i16x8.splat(i32.load16u(host));
  };
  const value = isMasked(e) && !accessesWhole(e.instruction) ? ifActive(e, splat) : e.let(splat());
  return Array.from({ length: parts }, () => value);
}

/** #GP for an address that is not aligned, unless no element is active. */
function requireActiveAligned(e: Translator, address: I64Expr, bytes: number): void {
  e.if(i64.ne(activeBits(e), i64.const(0)), () => e.requireAligned(address, bytes));
}

/** A value that is computed only if an element is active, else zero. */
function ifActive(e: Translator, value: () => V128Expr): V128Expr {
  const result = e.local(V128);
  e.set(result, ZERO);
  e.if(i64.ne(activeBits(e), i64.const(0)), () => e.set(result, value()));
  return e.let(result as V128Expr);
}

/** Operand `i` for floating-point operations. */
function readSource(e: Translator, i: number, options: ReadOptions = {}): V128Expr[] {
  const parts = readParts(e, i, options);
  return options.float === undefined ? parts : neutralized(e, options.float, parts);
}

/** The one part of an XMM or MMX operand. */
export const readPart = (e: Translator, i: number, options?: ReadOptions): V128Expr => readParts(e, i, options)[0];

/** Clears operand `i`'s register from 128-bit part `from` on, if the encoding is VEX. */
export function clearUpper(e: Translator, i: number, from: number): void {
  if (!e.instruction.vex) return;
  for (let part = from; part < REGISTER_PARTS; part++) e.writeVectorPart(i, part, ZERO);
}

/** Writes vector operand `i`: register or memory of as many parts; MMX the low half. */
export function writeParts(e: Translator, i: number, values: readonly V128Expr[], options: ReadOptions = {}): void {
  if (e.isMemory(i)) {
    const bytes = e.operand(i).width / 8;
    const pinned = values.map((value) => e.let(value));
    if (isMasked(e)) {
      const address = e.let(e.linearAddress());
      if (options.aligned) requireActiveAligned(e, address, bytes);
      if (accessesWhole(e.instruction)) e.let(e.access(address, bytes, PROT_WRITE));
      else checkMaskedStore(e, address, bytes);
      storeMasked(e, address, bytes, pinned);
      return;
    }
    const host = vectorAccess(e, bytes, PROT_WRITE, options);
    if (bytes < 16) e.storeInt(bytes * 8, host, i64x2.extract(pinned[0], 0));
    else for (const [part, value] of pinned.entries()) e.storeV128(host, value, part * 16);
    e.commit(host);
    return;
  }
  if (isMmx(e, i)) {
    writeMmx(e, i, values[0]);
    return;
  }
  const all = isMasked(e) && i === 0 && !options.isBlended ? merged(e, values) : values;
  for (const [part, value] of all.entries()) e.writeVectorPart(i, part, value);
  clearUpper(e, i, values.length);
}

/** Writes the low half of `value` to an MMX register, whose exponent field becomes all ones (SDM Vol. 1, 9.2.2). */
function writeMmx(e: Translator, i: number, value: V128Expr): void {
  e.writeVectorPart(i, 0, i64x2.replace(value, 1, i64.const(0xffff)));
}

/**
 * Enters MMX state: TOP 0 and every register valid (SDM Vol. 1, 9.5.1); #MF first if an x87 exception is pending
 * (9.6.3). The x87 registers lie in physical order in the CPU state, so that MMi needs no look at TOP.
 */
export function enterMmx(e: Translator): void {
  if (!usesMmx(e)) return;
  raisePending(e);
  e.setState(STATE.x87 + 2, i64.and(e.state(STATE.x87 + 2, 16), i64.const(0xc7ff)), 16);
  e.setState(STATE.x87 + 4, i64.const(0xff), 8);
}

/** #MF if an x87 exception is pending: ES is set in the status word (SDM Vol. 1, 8.7.1). */
export function raisePending(e: Translator): void {
  e.raiseIf(i64.ne(i64.and(e.state(STATE.x87 + 2, 16), i64.const(0x80)), i64.const(0)), VECTOR.MF);
}

/** Operand numbers of the sources of a two-source instruction: legacy ones read their destination. */
export function sourcesOf(e: Translator): [number, number] {
  return e.instruction.vex ? [1, 2] : [0, 1];
}

/**
 * dst = op(a, b) on whole parts; the usual shape.
 * @param beforeWriting runs when everything is computed: exceptions of the computation
 */
export function binaryParts(
  e: Translator,
  op: (a: V128Expr, b: V128Expr, part: number) => V128Expr,
  options?: ReadOptions,
  beforeWriting?: () => void,
): void {
  const [first, second] = sourcesOf(e);
  const b = readSource(e, second, options);
  const a = readSource(e, first, { float: options?.float });
  const results = a.map((value, part) => e.let(op(value, b[part], part)));
  beforeWriting?.();
  enterMmx(e);
  writeParts(e, 0, results);
}

/** dst = op(source) on whole parts. */
export function unaryParts(
  e: Translator,
  op: (a: V128Expr, part: number) => V128Expr,
  options?: ReadOptions,
  beforeWriting?: () => void,
): void {
  const results = readSource(e, 1, options).map((value, part) => e.let(op(value, part)));
  beforeWriting?.();
  enterMmx(e);
  writeParts(e, 0, results);
}

/** The last immediate, where the row has `immediateInForm`. */
export function lastImmediate(e: Translator): number {
  const { operands } = e.instruction;
  for (let i = operands.length - 1; i >= 0; i--) {
    if (operands[i].kind === "immediate") return Number(operands[i].value & 0xffn);
  }
  throw new Error("the instruction has no immediate");
}
