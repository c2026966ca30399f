import { REG } from "../cpu/state.ts";
import { type I32Expr, I64, type I64Expr, i32, i64, select } from "../wasm/expr.ts";
import { define } from "./table.ts";
import type { Translator, Width } from "./translator.ts";

const n = (value: number): I64Expr => i64.const(value);

/**
 * BT, BTS, BTR, BTC. A register offset into memory reaches beyond the operand: the address moves by the offset's
 * operand-sized units, signed (SDM Vol. 2A, BT).
 */
function bitTest(e: Translator, change: ((value: I64Expr, mask: I64Expr) => I64Expr) | undefined): void {
  const width = e.width(0);
  const offset = e.read(1, e.operand(1).kind === "immediate" ? 8 : width);
  const place = e.let(i64.and(offset, n(width - 1)));
  const reaches = e.isMemory(0) && e.operand(1).kind === "register";
  let old: I64Expr;
  let set = (_value: I64Expr): void => {};
  if (reaches) {
    const units = i64.shrS(e.signExtend(offset, width), n(Math.log2(width)));
    const moved = i64.add(e.addressOffset(), i64.shl(units, n(Math.log2(width / 8))));
    const address = i64.add(e.segmentBase(), e.cut(moved, e.instruction.memory?.address32 ? 32 : 64));
    if (change === undefined) old = e.load(address, width);
    else ({ old, set } = e.updateMemory(address, width));
  } else if (change === undefined) old = e.read(0);
  else ({ old, set } = e.update(0));
  const tested = e.let(i32.wrap(i64.and(i64.shrU(old, place), n(1))));
  if (change !== undefined) set(change(old, i64.shl(n(1), place)));
  e.flagsExplicit({ cf: tested });
}

define("Bt", "Vol. 2A, BT", (e) => bitTest(e, undefined));
define("Bts", "Vol. 2A, BTS", (e) => bitTest(e, i64.or), { lockable: true });
define("Btr", "Vol. 2A, BTR", (e) => bitTest(e, (value, mask) => i64.and(value, i64.xor(mask, n(-1)))), {
  lockable: true,
});
define("Btc", "Vol. 2A, BTC", (e) => bitTest(e, i64.xor), { lockable: true });

/** BSF and BSR leave the destination as it is for a source of zero, as processors do; even its upper half. */
function bitScan(e: Translator, scan: (value: I64Expr) => I64Expr): void {
  const value = e.read(1);
  const zero = e.let(i64.eqz(value));
  e.if(i32.eqz(zero), () => e.write(0, scan(value)));
  e.flagsExplicit({ zf: zero });
}
define("Bsf", "Vol. 2A, BSF", (e) => bitScan(e, i64.ctz));
define("Bsr", "Vol. 2A, BSR", (e) => bitScan(e, (value) => i64.sub(n(63), i64.clz(value))));

function countZeros(e: Translator, count: (value: I64Expr, width: Width) => I64Expr): void {
  const width = e.width(0);
  const value = e.read(1);
  const result = e.let(count(value, width));
  e.write(0, result);
  e.flagsExplicit({ cf: i64.eqz(value), zf: i64.eqz(result) });
}
define("Lzcnt", "Vol. 2A, LZCNT", (e) => countZeros(e, (value, width) => i64.sub(i64.clz(value), n(64 - width))));
define("Tzcnt", "Vol. 2B, TZCNT", (e) =>
  countZeros(e, (value, width) =>
    width === 64 ? i64.ctz(value) : i64.ctz(i64.or(value, i64.const(1n << BigInt(width)))),
  ),
);

define("Popcnt", "Vol. 2B, POPCNT", (e) => {
  const value = e.read(1);
  e.write(0, i64.popcnt(value));
  const no = i32.const(0);
  e.flagsExplicit({ cf: no, pf: no, af: no, zf: i64.eqz(value), sf: no, of: no });
});

/** Swaps the bytes of a 16-, 32- or 64-bit value. */
function swapBytes(e: Translator, value: I64Expr, width: Width): I64Expr {
  if (width === 16) return i64.or(i64.and(i64.shl(value, n(8)), n(0xff00)), i64.shrU(value, n(8)));
  const bytes = i64.const(0x00ff_00ff_00ff_00ffn);
  const words = i64.const(0x0000_ffff_0000_ffffn);
  const a = e.let(i64.or(i64.shl(i64.and(value, bytes), n(8)), i64.and(i64.shrU(value, n(8)), bytes)));
  const b = e.let(i64.or(i64.shl(i64.and(a, words), n(16)), i64.and(i64.shrU(a, n(16)), words)));
  return width === 64 ? i64.rotl(b, n(32)) : e.cut(b, 32);
}

define("Bswap", "Vol. 2A, BSWAP", (e) => {
  const width = e.width(0);
  // With a 16-bit operand the result is undefined; processors give zero.
  e.write(0, width === 16 ? n(0) : swapBytes(e, e.read(0), width));
});
define("Movbe", "Vol. 2B, MOVBE", (e) => e.write(0, e.let(swapBytes(e, e.read(1), e.width(0)))));

define("Andn", "Vol. 2A, ANDN", (e) => {
  const width = e.width(0);
  const result = e.let(i64.and(e.cut(i64.xor(e.read(1), n(-1)), width), e.read(2)));
  e.write(0, result);
  e.flagsLogic(width, result);
});

/** BLSI, BLSMSK, BLSR: CF tells whether the source was (or was not) zero. */
function lowestSet(e: Translator, compute: (value: I64Expr) => I64Expr, carry: (value: I64Expr) => I32Expr): void {
  const width = e.width(0);
  const value = e.read(1);
  const result = e.let(e.cut(compute(value), width));
  e.write(0, result);
  e.flagsResult(width, result, { cf: e.let(carry(value)), of: i32.const(0) });
}
const isZero = (value: I64Expr): I32Expr => i64.eqz(value);
define("Blsi", "Vol. 2A, BLSI", (e) =>
  lowestSet(
    e,
    (v) => i64.and(v, i64.sub(n(0), v)),
    (v) => i64.ne(v, n(0)),
  ),
);
define("Blsmsk", "Vol. 2A, BLSMSK", (e) => lowestSet(e, (v) => i64.xor(v, i64.sub(v, n(1))), isZero));
define("Blsr", "Vol. 2A, BLSR", (e) => lowestSet(e, (v) => i64.and(v, i64.sub(v, n(1))), isZero));

define("Bextr", "Vol. 2A, BEXTR", (e) => {
  const width = e.width(0);
  const value = e.read(1);
  const control = e.read(2);
  const start = e.let(i64.and(control, n(0xff)));
  const length = e.let(i64.and(i64.shrU(control, n(8)), n(0xff)));
  const shifted = select(i64.ltU(start, n(64)), i64.shrU(value, start), n(0));
  const mask = select(i64.ltU(length, n(64)), i64.sub(i64.shl(n(1), length), n(1)), n(-1));
  const result = e.let(i64.and(shifted, mask));
  e.write(0, result);
  const no = i32.const(0);
  e.flagsResult(width, result, { cf: no, of: no });
});

define("Bzhi", "Vol. 2A, BZHI", (e) => {
  const width = e.width(0);
  const value = e.read(1);
  const index = e.let(i64.and(e.read(2), n(0xff)));
  const beyond = e.let(i64.gtU(index, n(width - 1)));
  const result = e.let(select(beyond, value, i64.and(value, i64.sub(i64.shl(n(1), index), n(1)))));
  e.write(0, result);
  e.flagsResult(width, result, { cf: beyond, of: i32.const(0) });
});

/** PDEP and PEXT visit the mask's set bits from the lowest. */
function eachMaskBit(e: Translator, mask: I64Expr, visit: (bit: I64Expr, index: I64Expr) => void): void {
  const rest = e.local(I64);
  const index = e.local(I64);
  e.set(rest, mask);
  e.set(index, n(0));
  e.block((done) => {
    e.loop((again) => {
      e.branchIf(done, i64.eqz(rest));
      const lowest = e.local(I64);
      e.set(lowest, i64.and(rest, i64.sub(n(0), rest)));
      visit(lowest, index);
      e.set(rest, i64.xor(rest, lowest));
      e.set(index, i64.add(index, n(1)));
      e.branch(again);
    });
  });
}

define("Pdep", "Vol. 2B, PDEP", (e) => {
  const source = e.read(1);
  const result = e.local(I64);
  e.set(result, n(0));
  eachMaskBit(e, e.read(2), (bit, index) => {
    const chosen = i64.sub(n(0), i64.and(i64.shrU(source, index), n(1)));
    e.set(result, i64.or(result, i64.and(bit, chosen)));
  });
  e.write(0, result);
});

define("Pext", "Vol. 2B, PEXT", (e) => {
  const source = e.read(1);
  const result = e.local(I64);
  e.set(result, n(0));
  eachMaskBit(e, e.read(2), (bit, index) => {
    const chosen = i64.extendI32U(i64.ne(i64.and(source, bit), n(0)));
    e.set(result, i64.or(result, i64.shl(chosen, index)));
  });
  e.write(0, result);
});

/** Accumulator-only byte translation through a table at RBX (or EBX). */
define("Xlatb", "Vol. 2C, XLAT/XLATB", (e) => {
  const index = e.gpr(REG.RAX, 8);
  const offset = e.cut(i64.add(e.gpr(REG.RBX), index), e.instruction.memory?.address32 ? 32 : 64);
  e.setGpr(REG.RAX, e.load(i64.add(e.segmentBase(), offset), 8), 8);
});
