import { REG, STATE } from "../cpu/state.ts";
import { PROT_WRITE } from "../layout.ts";
import {
  type F32,
  type F32Expr,
  type F64,
  type F64Expr,
  I32,
  type I64Expr,
  i32,
  i64,
  type V128Expr,
} from "../wasm/expr.ts";
import { f32x4, f64x2, i8x16, i32x4, i64x2 } from "../wasm/simd.ts";
import { mergedScalar, readScalar, writeScalar } from "./float-arithmetic.ts";
import { isFirstActive, isMasked } from "./opmask.ts";
import { define } from "./table.ts";
import type { Translator, Width } from "./translator.ts";
import {
  binaryParts,
  clearUpper,
  enterMmx,
  isMmx,
  raisePending,
  readPart,
  readParts,
  shuffleLanes,
  unaryParts,
  usesMmx,
  withVex,
  writeParts,
  ZERO,
} from "./vector-operands.ts";

/** Data movement between vector registers, general registers and memory (SDM Vol. 1, 10.4.1.1, 11.4.1). */

const ALIGNED = { aligned: true } as const;
const UNALIGNED = { unaligned: true } as const;

define(withVex("Movaps", "Movapd", "Movdqa", "Movntps", "Movntpd", "Movntdq", "Movntdqa"), "Vol. 2B, MOVAPS", (e) =>
  writeParts(e, 0, readParts(e, 1, ALIGNED), ALIGNED),
);
define(withVex("Movups", "Movupd", "Movdqu", "Lddqu"), "Vol. 2B, MOVUPS", (e) =>
  writeParts(e, 0, readParts(e, 1, UNALIGNED), UNALIGNED),
);
define("Movntq", "Vol. 2B, MOVNTQ", (e) => {
  const source = readPart(e, 1);
  raisePending(e);
  writeParts(e, 0, [source]);
  enterMmx(e);
});

const isVector = (e: Translator, i: number): boolean => e.operand(i).registerClass === "vector";

/** MOVD, MOVQ: between a vector or MMX register and a general register, memory or another such register. */
define(withVex("Movd", "Movq"), "Vol. 2B, MOVD/MOVQ; MOVQ", (e) => {
  const fromVector = isVector(e, 1) || isMmx(e, 1);
  if (isVector(e, 0) || isMmx(e, 0)) {
    // A pending x87 exception comes before the fault of a load.
    if (usesMmx(e)) raisePending(e);
    const value = fromVector ? e.let(i64x2.extract(e.readVectorPart(1, 0), 0)) : e.read(1);
    enterMmx(e);
    writeParts(e, 0, [i64x2.replace(ZERO, 0, value)]);
    return;
  }
  const value = e.let(i64x2.extract(e.readVectorPart(1, 0), 0));
  if (usesMmx(e)) raisePending(e);
  e.write(0, e.cut(value, e.width(0)));
  enterMmx(e);
});
define("Emms", "Vol. 2A, EMMS", (e) => {
  raisePending(e);
  e.setState(STATE.x87 + 2, i64.and(e.state(STATE.x87 + 2, 16), i64.const(0xc7ff)), 16);
  e.setState(STATE.x87 + 4, i64.const(0), 8);
});
define("Movq2dq", "Vol. 2B, MOVQ2DQ", (e) => {
  const value = e.let(i64x2.extract(e.readVectorPart(1, 0), 0));
  enterMmx(e);
  writeParts(e, 0, [i64x2.replace(ZERO, 0, value)]);
});
define("Movdq2q", "Vol. 2B, MOVDQ2Q", (e) => {
  const value = e.let(e.readVectorPart(1, 0));
  enterMmx(e);
  writeParts(e, 0, [value]);
});

/** MOVSS, MOVSD: a load clears the rest of the XMM register; between registers the rest is kept (or operand 1's). */
function moveScalar(e: Translator, bits: 32 | 64): void {
  if (isMasked(e)) {
    moveScalarMasked(e, bits);
    return;
  }
  if (e.isMemory(0)) {
    if (bits === 64) e.storeFloatAt(e.linearAddress(), 8, e.readLow64(1));
    else e.storeFloatAt(e.linearAddress(), 4, e.readLow32(1));
    return;
  }
  const last = e.instruction.operands.length - 1;
  if (e.isMemory(last)) writeParts(e, 0, [readPart(e, last, { bytes: bits / 8 })]);
  else writeScalar(e, bits, readScalar(e, bits, last));
}
/** The same under an opmask. */
function moveScalarMasked(e: Translator, bits: 32 | 64): void {
  const last = e.instruction.operands.length - 1;
  if (e.isMemory(0)) {
    const value = e.let<typeof F32 | typeof F64>(bits === 64 ? e.readLow64(1) : e.readLow32(1));
    e.if(isFirstActive(e), () => e.storeFloatAt(e.linearAddress(), bits === 64 ? 8 : 4, value));
  } else if (e.isMemory(last)) {
    const value = mergedScalar(e, bits, readScalar(e, bits, last));
    const low = bits === 64 ? f64x2.replace(ZERO, 0, value as F64Expr) : f32x4.replace(ZERO, 0, value as F32Expr);
    e.writeVectorPart(0, 0, e.let(low));
    clearUpper(e, 0, 1);
  } else writeScalar(e, bits, readScalar(e, bits, last));
}
define(withVex("Movss"), "Vol. 2B, MOVSS", (e) => moveScalar(e, 32));
define(withVex("Movsd"), "Vol. 2B, MOVSD", (e) => moveScalar(e, 64));

/** Half `half` of a register from or to memory; the other half is kept, or with VEX comes from operand 1. */
function moveHalf(e: Translator, half: 0 | 1): void {
  if (e.isMemory(0)) {
    const value = e.let(i64x2.extract(e.readVectorPart(1, 0), half));
    e.store(e.linearAddress(), 64, value);
    return;
  }
  const last = e.instruction.operands.length - 1;
  const value = e.load(e.linearAddress(), 64);
  const rest = e.readVectorPart(last === 2 ? 1 : 0, 0);
  writeParts(e, 0, [i64x2.replace(rest, half, value)]);
}
define(withVex("Movlps", "Movlpd"), "Vol. 2B, MOVLPS", (e) => moveHalf(e, 0));
define(withVex("Movhps", "Movhpd"), "Vol. 2B, MOVHPS", (e) => moveHalf(e, 1));
define(withVex("Movlhps"), "Vol. 2B, MOVLHPS", (e) => binaryParts(e, (a, b) => shuffleLanes(64, a, b, [0, 2])));
define(withVex("Movhlps"), "Vol. 2B, MOVHLPS", (e) => binaryParts(e, (a, b) => shuffleLanes(64, a, b, [3, 1])));

define(withVex("Movsldup"), "Vol. 2B, MOVSLDUP", (e) => unaryParts(e, (a) => shuffleLanes(32, a, a, [0, 0, 2, 2])));
define(withVex("Movshdup"), "Vol. 2B, MOVSHDUP", (e) => unaryParts(e, (a) => shuffleLanes(32, a, a, [1, 1, 3, 3])));
define(withVex("Movddup"), "Vol. 2B, MOVDDUP", (e) => unaryParts(e, (a) => shuffleLanes(64, a, a, [0, 0])));

/** The sign bits of all lanes of operand 1 in a general register. */
function moveMask(e: Translator, bitmask: (part: V128Expr) => I64Expr, lanes: number): void {
  const parts = readParts(e, 1);
  let mask = bitmask(parts[0]);
  if (isMmx(e, 1)) mask = i64.and(mask, i64.const(0xff));
  if (parts.length > 1) mask = i64.or(mask, i64.shl(bitmask(parts[1]), i64.const(lanes)));
  const value = e.let(mask);
  enterMmx(e);
  e.write(0, value);
}
define(withVex("Movmskps"), "Vol. 2B, MOVMSKPS", (e) => moveMask(e, (a) => i64.extendI32U(i32x4.bitmask(a)), 4));
define(withVex("Movmskpd"), "Vol. 2B, MOVMSKPD", (e) => moveMask(e, (a) => i64.extendI32U(i64x2.bitmask(a)), 2));
define(withVex("Pmovmskb"), "Vol. 2B, PMOVMSKB", (e) => moveMask(e, (a) => i64.extendI32U(i8x16.bitmask(a)), 16));

/** MASKMOVDQU, MASKMOVQ: stores the bytes whose mask byte has its top bit set to DS:[RDI]. */
define([...withVex("Maskmovdqu"), "Maskmovq"], "Vol. 2B, MASKMOVDQU", (e) => {
  const values = e.let(e.readVectorPart(1, 0));
  const selected = e.let(i8x16.bitmask(e.readVectorPart(2, 0)));
  const width: Width = e.instruction.stringAddress === 32 ? 32 : 64;
  const start = e.let(i64.add(e.segmentBase(), e.gpr(REG.RDI, width)));
  const count = isMmx(e, 1) ? 8 : 16;
  // As on AMD's processors, also if the store then faults.
  enterMmx(e);
  // Faults as a store of all bytes, whichever are selected: the SDM leaves open what no selected byte at all does.
  const host = e.access(start, count, PROT_WRITE);
  const index = e.local(I32);
  e.set(index, i32.const(0));
  e.loop((again) => {
    e.if(i32.and(i32.shrU(selected, index), i32.const(1)), () => {
      const value = i8x16.extractU(i8x16.swizzle(values, i8x16.splat(index)), 0);
      e.storeInt(8, i32.add(host, index), i64.extendI32U(value));
    });
    e.set(index, i32.add(index, i32.const(1)));
    e.branchIf(again, i32.ltU(index, i32.const(count)));
  });
  e.commit(host);
});

/** Bits of MXCSR that exist (SDM Vol. 1, 10.2.3); setting another is #GP. */
const MXCSR_MASK = 0xffff;
define(withVex("Ldmxcsr"), "Vol. 2A, LDMXCSR", (e) => {
  const value = e.read(0, 32);
  e.raiseIf(i64.gtU(value, i64.const(MXCSR_MASK)), 13);
  e.setState(STATE.mxcsr, value, 32);
});
define(withVex("Stmxcsr"), "Vol. 2B, STMXCSR", (e) => e.write(0, e.state(STATE.mxcsr, 32), 32));

const VECTOR_REGISTERS = 16;
define("Vzeroupper", "Vol. 2C, VZEROUPPER", (e) => {
  for (let i = 0; i < VECTOR_REGISTERS; i++) {
    for (let part = 1; part < 4; part++) e.setVectorByNumber(i, part, ZERO);
  }
});
define("Vzeroall", "Vol. 2C, VZEROALL", (e) => {
  for (let i = 0; i < VECTOR_REGISTERS; i++) {
    for (let part = 0; part < 4; part++) e.setVectorByNumber(i, part, ZERO);
  }
});
