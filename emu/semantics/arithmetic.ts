import { VECTOR } from "../cpu/exits.ts";
import { REG } from "../cpu/state.ts";
import { PROT_WRITE } from "../layout.ts";
import { type I64Expr, i32, i64, select } from "../wasm/expr.ts";
import { define } from "./table.ts";
import { CC, loadInt, type Translator, type Width } from "./translator.ts";

/** CF as an i64 0 or 1. */
const carry = (e: Translator): I64Expr => i64.extendI32U(e.condition(CC.B));

define(
  "Add",
  "Vol. 2A, ADD",
  (e) => {
    const width = e.width(0);
    const b = e.read(1);
    const { old, set } = e.update(0);
    const result = e.let(e.cut(i64.add(old, b), width));
    set(result);
    e.flagsAdd(width, old, b, result);
  },
  { lockable: true },
);

define(
  "Adc",
  "Vol. 2A, ADC",
  (e) => {
    const width = e.width(0);
    const b = e.read(1);
    const { old, set } = e.update(0);
    const result = e.let(e.cut(i64.add(i64.add(old, b), carry(e)), width));
    set(result);
    e.flagsAdd(width, old, b, result);
  },
  { lockable: true },
);

define(
  "Sub",
  "Vol. 2B, SUB",
  (e) => {
    const width = e.width(0);
    const b = e.read(1);
    const { old, set } = e.update(0);
    const result = e.let(e.cut(i64.sub(old, b), width));
    set(result);
    e.flagsSub(width, old, b, result);
  },
  { lockable: true },
);

define(
  "Sbb",
  "Vol. 2B, SBB",
  (e) => {
    const width = e.width(0);
    const b = e.read(1);
    const { old, set } = e.update(0);
    const result = e.let(e.cut(i64.sub(i64.sub(old, b), carry(e)), width));
    set(result);
    e.flagsSub(width, old, b, result);
  },
  { lockable: true },
);

define("Cmp", "Vol. 2A, CMP", (e) => {
  const width = e.width(0);
  const a = e.read(0);
  const b = e.read(1);
  e.flagsSub(width, a, b, e.let(e.cut(i64.sub(a, b), width)));
});

define(
  "Neg",
  "Vol. 2B, NEG",
  (e) => {
    const width = e.width(0);
    const { old, set } = e.update(0);
    const result = e.let(e.cut(i64.sub(i64.const(0), old), width));
    set(result);
    e.flagsSub(width, i64.const(0), old, result);
  },
  { lockable: true },
);

define("Inc", "Vol. 2A, INC", (e) => incDec(e, 1), { lockable: true });
define("Dec", "Vol. 2A, DEC", (e) => incDec(e, -1), { lockable: true });

function incDec(e: Translator, delta: 1 | -1): void {
  const width = e.width(0);
  const { old, set } = e.update(0);
  const result = e.let(e.cut(i64.add(old, i64.const(delta)), width));
  set(result);
  e.flagsIncDec(width, result, delta);
}

define(
  "Xadd",
  "Vol. 2C, XADD",
  (e) => {
    const width = e.width(0);
    const b = e.read(1);
    const { old, set } = e.update(0);
    const result = e.let(e.cut(i64.add(old, b), width));
    // With one register as both operands the sum wins, so that it is written last; memory must come first.
    if (e.isMemory(0)) set(result);
    e.write(1, old);
    if (!e.isMemory(0)) set(result);
    e.flagsAdd(width, old, b, result);
  },
  { lockable: true },
);

define(
  "Cmpxchg",
  "Vol. 2A, CMPXCHG",
  (e) => {
    const width = e.width(0);
    const replacement = e.read(1);
    const expected = e.let(e.gpr(REG.RAX, width));
    const { old, set } = e.update(0);
    const equal = e.let(i64.eq(old, expected));
    if (e.isMemory(0)) set(select(equal, replacement, old));
    else e.if(equal, () => set(replacement));
    // The accumulator is written only on a mismatch: a 32-bit write would clear its upper half.
    e.if(i32.eqz(equal), () => e.setGpr(REG.RAX, old, width));
    e.flagsSub(width, expected, old, e.let(e.cut(i64.sub(expected, old), width)));
  },
  { lockable: true },
);

define("Cmpxchg8b", "Vol. 2A, CMPXCHG8B/CMPXCHG16B", (e) => cmpxchgPair(e, 32), { lockable: true });
define(
  "Cmpxchg16b",
  "Vol. 2A, CMPXCHG8B/CMPXCHG16B",
  (e) => {
    e.requireAligned(e.let(e.linearAddress()), 16);
    cmpxchgPair(e, 64);
  },
  { lockable: true },
);

function cmpxchgPair(e: Translator, half: Width): void {
  const host = e.access(e.linearAddress(), half / 4, PROT_WRITE);
  const low = e.let(loadInt(half, host));
  const high = e.let(loadInt(half, host, half / 8));
  const equal = e.let(i32.and(i64.eq(low, e.gpr(REG.RAX, half)), i64.eq(high, e.gpr(REG.RDX, half))));
  e.if(
    equal,
    () => {
      e.storeInt(half, host, e.gpr(REG.RBX, half));
      e.storeInt(half, host, e.gpr(REG.RCX, half), half / 8);
      e.commit(host);
    },
    () => {
      e.setGpr(REG.RAX, low, half);
      e.setGpr(REG.RDX, high, half);
    },
  );
  e.flagsExplicit({ zf: equal });
}

/** ADCX and ADOX: an add that reads and writes only CF or only OF. */
function addCarryChain(e: Translator, cc: number, flag: "cf" | "of"): void {
  const width = e.width(0);
  const a = e.read(0);
  const b = e.read(1);
  const carryIn = e.let(i64.extendI32U(e.condition(cc)));
  const sum = e.let(e.cut(i64.add(a, b), width));
  const result = e.let(e.cut(i64.add(sum, carryIn), width));
  e.write(0, result);
  e.flagsExplicit({ [flag]: e.let(i32.or(i64.ltU(sum, a), i64.ltU(result, sum))) });
}
define("Adcx", "Vol. 2A, ADCX", (e) => addCarryChain(e, CC.B, "cf"));
define("Adox", "Vol. 2A, ADOX", (e) => addCarryChain(e, CC.O, "of"));

/** The 128-bit product of two 64-bit values as [low, high], from four 32 × 32 products. */
export function wideProduct(e: Translator, a: I64Expr, b: I64Expr, signed: boolean): [I64Expr, I64Expr] {
  const low32 = (x: I64Expr): I64Expr => e.let(i64.extendI32U(i32.wrap(x)));
  const high32 = (x: I64Expr): I64Expr => e.let(i64.shrU(x, i64.const(32)));
  const [a0, a1, b0, b1] = [low32(a), high32(a), low32(b), high32(b)];
  const p00 = e.let(i64.mul(a0, b0));
  const p01 = e.let(i64.add(i64.mul(a0, b1), i64.shrU(p00, i64.const(32))));
  const p10 = e.let(i64.add(i64.mul(a1, b0), i64.extendI32U(i32.wrap(p01))));
  let high = i64.add(i64.add(i64.mul(a1, b1), i64.shrU(p01, i64.const(32))), i64.shrU(p10, i64.const(32)));
  if (signed) {
    high = i64.sub(high, i64.and(i64.shrS(a, i64.const(63)), b));
    high = i64.sub(high, i64.and(i64.shrS(b, i64.const(63)), a));
  }
  return [e.let(i64.mul(a, b)), e.let(high)];
}

/** CF = OF = "the upper half matters"; SF, ZF and PF, which the SDM leaves undefined, follow the low half. */
function multiplyFlags(e: Translator, width: Width, low: I64Expr, overflow: ReturnType<typeof i64.ne>): void {
  const lost = e.let(overflow);
  e.flagsResult(width, low, { cf: lost, of: lost });
}

define("Mul", "Vol. 2B, MUL", (e) => {
  const width = e.width(0);
  const a = e.let(e.gpr(REG.RAX, width));
  const b = e.read(0);
  if (width === 64) {
    const [low, high] = wideProduct(e, a, b, false);
    e.setGpr(REG.RAX, low);
    e.setGpr(REG.RDX, high);
    multiplyFlags(e, width, low, i64.ne(high, i64.const(0)));
    return;
  }
  storeWide(e, width, e.let(i64.mul(a, b)), (product) => i64.ne(i64.shrU(product, i64.const(width)), i64.const(0)));
});

define("Imul", "Vol. 2A, IMUL", (e) => {
  const width = e.width(0);
  const count = e.instruction.operands.length;
  if (count === 1) {
    const a = e.let(e.signExtend(e.gpr(REG.RAX, width), width));
    const b = e.let(e.signExtend(e.read(0), width));
    if (width === 64) {
      const [low, high] = wideProduct(e, a, b, true);
      e.setGpr(REG.RAX, low);
      e.setGpr(REG.RDX, high);
      multiplyFlags(e, width, low, i64.ne(high, i64.shrS(low, i64.const(63))));
    } else storeWide(e, width, e.let(i64.mul(a, b)), (product) => i64.ne(product, e.signExtend(product, width)));
    return;
  }
  const a = e.let(e.signExtend(count === 2 ? e.read(0) : e.read(1), width));
  const b = e.let(e.signExtend(count === 2 ? e.read(1) : e.read(2), width));
  if (width === 64) {
    const [low, high] = wideProduct(e, a, b, true);
    e.write(0, low);
    multiplyFlags(e, width, low, i64.ne(high, i64.shrS(low, i64.const(63))));
    return;
  }
  const product = e.let(i64.mul(a, b));
  const low = e.let(e.cut(product, width));
  e.write(0, low);
  multiplyFlags(e, width, low, i64.ne(product, e.signExtend(product, width)));
});

/** Stores a product of at most 64 bits to AX or to the (E)DX:(E)AX pair. */
function storeWide(
  e: Translator,
  width: Width,
  product: I64Expr,
  overflows: (product: I64Expr) => ReturnType<typeof i64.ne>,
): void {
  if (width === 8) e.setGpr(REG.RAX, product, 16);
  else {
    e.setGpr(REG.RAX, e.cut(product, width), width);
    e.setGpr(REG.RDX, e.cut(i64.shrU(product, i64.const(width)), width), width);
  }
  multiplyFlags(e, width, e.let(e.cut(product, width)), overflows(product));
}

define("Mulx", "Vol. 2B, MULX", (e) => {
  const width = e.width(0);
  const a = e.let(e.gpr(REG.RDX, width));
  const b = e.read(2);
  if (width === 64) {
    const [low, high] = wideProduct(e, a, b, false);
    e.write(1, low);
    e.write(0, high);
    return;
  }
  const product = e.let(i64.mul(a, b));
  e.write(1, e.cut(product, 32));
  e.write(0, i64.shrU(product, i64.const(32)));
});

define("Div", "Vol. 2A, DIV", (e) => {
  const width = e.width(0);
  const divisor = e.read(0);
  e.raiseIf(i64.eqz(divisor), VECTOR.DE);
  if (width === 64) {
    const high = e.let(e.gpr(REG.RDX));
    const low = e.let(e.gpr(REG.RAX));
    e.raiseIf(i64.geU(high, divisor), VECTOR.DE);
    const quotient = divide128(e, high, low, divisor);
    e.setGpr(REG.RAX, quotient);
    e.setGpr(REG.RDX, i64.sub(low, i64.mul(quotient, divisor)));
    return;
  }
  const dividend = e.let(narrowDividend(e, width));
  const quotient = e.let(i64.divU(dividend, divisor));
  e.raiseIf(i64.ne(quotient, e.cut(quotient, width)), VECTOR.DE);
  storeDivision(e, width, quotient, e.let(i64.remU(dividend, divisor)));
});

define("Idiv", "Vol. 2A, IDIV", (e) => {
  const width = e.width(0);
  const divisor = e.let(e.signExtend(e.read(0), width));
  e.raiseIf(i64.eqz(divisor), VECTOR.DE);
  if (width === 64) {
    signedDivide128(e, divisor);
    return;
  }
  const dividend = e.let(e.signExtend(narrowDividend(e, width), width * 2));
  // The one case that WebAssembly itself would trap on.
  const lowest = i64.eq(dividend, i64.const(-(2n ** 63n)));
  e.raiseIf(i32.and(lowest, i64.eq(divisor, i64.const(-1))), VECTOR.DE);
  const quotient = e.let(i64.divS(dividend, divisor));
  e.raiseIf(i64.ne(quotient, e.signExtend(quotient, width)), VECTOR.DE);
  storeDivision(e, width, quotient, e.let(i64.remS(dividend, divisor)));
});

/** AX, DX:AX or EDX:EAX as one value. */
function narrowDividend(e: Translator, width: Width): I64Expr {
  if (width === 8) return e.gpr(REG.RAX, 16);
  return i64.or(i64.shl(e.gpr(REG.RDX, width), i64.const(width)), e.gpr(REG.RAX, width));
}

function storeDivision(e: Translator, width: Width, quotient: I64Expr, remainder: I64Expr): void {
  if (width === 8) {
    e.setGpr(REG.RAX, i64.or(e.cut(quotient, 8), i64.shl(e.cut(remainder, 8), i64.const(8))), 16);
    return;
  }
  e.setGpr(REG.RAX, e.cut(quotient, width), width);
  e.setGpr(REG.RDX, e.cut(remainder, width), width);
}

/** Quotient of high:low by divisor, unsigned, where it is known to fit. */
function divide128(e: Translator, high: I64Expr, low: I64Expr, divisor: I64Expr): I64Expr {
  const quotient = e.local(0x7e);
  e.if(
    i64.eqz(high),
    () => e.set(quotient, i64.divU(low, divisor)),
    () => e.set(quotient, e.callHelper("divide128", 0x7e, [high, low, divisor])),
  );
  return e.let(quotient);
}

function signedDivide128(e: Translator, divisor: I64Expr): void {
  const low = e.let(e.gpr(REG.RAX));
  const high = e.let(e.gpr(REG.RDX));
  const zero = i64.const(0);
  const negative = e.let(i64.ltS(high, zero));
  const magnitudeLow = e.let(select(negative, i64.sub(zero, low), low));
  const borrow = i64.extendI32U(i64.ne(low, zero));
  const magnitudeHigh = e.let(select(negative, i64.sub(i64.sub(zero, high), borrow), high));
  const magnitude = e.let(select(i64.ltS(divisor, zero), i64.sub(zero, divisor), divisor));
  e.raiseIf(i64.geU(magnitudeHigh, magnitude), VECTOR.DE);
  const quotient = divide128(e, magnitudeHigh, magnitudeLow, magnitude);
  const negate = e.let(i32.xor(negative, i64.ltS(divisor, zero)));
  // 2^63 fits only as a negative quotient.
  const limit = i64.add(i64.const(2n ** 63n - 1n), i64.extendI32U(negate));
  e.raiseIf(i64.gtU(quotient, limit), VECTOR.DE);
  const signed = e.let(select(negate, i64.sub(zero, quotient), quotient));
  e.setGpr(REG.RAX, signed);
  e.setGpr(REG.RDX, i64.sub(low, i64.mul(signed, divisor)));
}
