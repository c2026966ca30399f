import type { Mnemonic } from "iced-x86";
import { F32, type F32Expr, F64, type F64Expr, f32, f64, I64, i32, i64, V128, type V128Expr } from "../wasm/expr.ts";
import { f32x4, f64x2, i64x2, v128 } from "../wasm/simd.ts";
import {
  assumeOrdinary,
  bitsOf,
  both,
  fastOr,
  fastOrPacked,
  finishExceptions,
  floatOf,
  isArithmeticFast,
  ordinaryScalars,
  ordinaryVectors,
  type Precision,
} from "./float.ts";
import { letter, readScalar, setLowLane } from "./float-arithmetic.ts";
import { NEGATE } from "./helpers/fma.ts";
import { packedName } from "./helpers/packed-float.ts";
import { neutralized } from "./opmask.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";
import { lanes, readParts, shuffleLanes, writeParts } from "./vector-operands.ts";

/** FMA3 (SDM Vol. 2C, VFMADD132PD and following): exactly one rounding. Fast paths in helpers/fma.ts. */

type Name = keyof typeof Mnemonic;

/** Operand numbers of the factors and the addend, by the digits in the name. */
const ORDERS = { 132: [0, 2, 1], 213: [1, 0, 2], 231: [1, 2, 0] } as const;

/** What is negated, in even and odd lanes. */
interface Kind {
  readonly even: number;
  readonly odd: number;
}

const same = (negate: number): Kind => ({ even: negate, odd: negate });
const KINDS: Readonly<Record<string, Kind>> = {
  madd: same(0),
  msub: same(NEGATE.addend),
  nmadd: same(NEGATE.product),
  nmsub: same(NEGATE.product | NEGATE.addend),
  maddsub: { even: NEGATE.addend, odd: 0 },
  msubadd: { even: 0, odd: NEGATE.addend },
};

/**
 * Single precision: the product is exact in double precision, so that one sum remains. Rounding that again to single
 * is wrong only if the first rounding has hit a midpoint between two singles: the low 29 bits are then 1000….
 */
const LOW_BITS = (1n << 29n) - 1n;
const MIDPOINT = 1n << 28n;

function scalarFma(
  e: Translator,
  width: Precision,
  negate: number,
  operands: (F32Expr | F64Expr)[],
): F32Expr | F64Expr {
  const slow = (): F32Expr | F64Expr => {
    const bits = operands.map((x) => bitsOf(width, x));
    return floatOf(width, e.callHelper(`fma${width}`, I64, [e.stateAddress(), ...bits, i32.const(negate)]));
  };
  const mode = isArithmeticFast(e);
  if (e.fuses) {
    if (assumeOrdinary(e, mode, width, "narrow", operands)) return e.let(fused(width, negate, operands));
    const usual = both(mode, ordinaryScalars(width, "narrow", operands));
    const type = width === 64 ? F64 : F32;
    return fastOr<typeof F32 | typeof F64>(e, usual, type, () => fused(width, negate, operands), slow);
  }
  const usual = both(mode, ordinaryScalars(width, "narrow", operands));
  if (width === 64) {
    const [a, b, c] = operands as F64Expr[];
    return fastOr(
      e,
      usual,
      F64,
      () => {
        const args = [negate & NEGATE.product ? f64.neg(a) : a, b, negate & NEGATE.addend ? f64.neg(c) : c];
        return e.callHelper("fusedNearest64", F64, args);
      },
      slow as () => F64Expr,
    );
  }
  const [a, b, c] = operands.map((x) => f64.promoteF32(x as F32Expr));
  const product = f64.mul(a, b);
  const signed = negate & NEGATE.product ? f64.neg(product) : product;
  const sum = e.let(negate & NEGATE.addend ? f64.sub(signed, c) : f64.add(signed, c));
  const clear = i64.ne(i64.and(i64.reinterpretF64(sum), i64.const(LOW_BITS)), i64.const(MIDPOINT));
  return fastOr(e, both(usual, clear), F32, () => f32.demoteF64(sum), slow as () => F32Expr);
}

/** With the host's own instruction. */
function fused(width: Precision, negate: number, operands: readonly (F32Expr | F64Expr)[]): F32Expr | F64Expr {
  const signs = [NEGATE.product, 0, NEGATE.addend];
  if (width === 64) {
    const [a, b, c] = operands.map((x, i) => f64x2.splat(negate & signs[i] ? f64.neg(x as F64Expr) : (x as F64Expr)));
    return f64x2.extract(f64x2.relaxedMadd(a, b, c), 0);
  }
  const [a, b, c] = operands.map((x, i) => f32x4.splat(negate & signs[i] ? f32.neg(x as F32Expr) : (x as F32Expr)));
  return f32x4.extract(f32x4.relaxedMadd(a, b, c), 0);
}

/** XORs the signs of the lanes that `which` is negated in. */
function negated(width: Precision, kind: Kind, which: number, a: V128Expr): V128Expr {
  const sign = 1n << BigInt(width - 1);
  if (((kind.even | kind.odd) & which) === 0) return a;
  return v128.xor(a, lanes(width, kind.even & which ? sign : 0n, kind.odd & which ? sign : 0n));
}

function packedFma(e: Translator, width: Precision, kind: Kind, a: V128Expr, b: V128Expr, c: V128Expr): V128Expr {
  const slow = (): V128Expr => {
    const args = [e.stateAddress(), a, b, c, i32.const(kind.even), i32.const(kind.odd)];
    return e.callHelper(packedName("fma", width), V128, args);
  };
  const usual = both(isArithmeticFast(e), ordinaryVectors(width, "narrow", [a, b, c]));
  const factor = e.let(negated(width, kind, NEGATE.product, a));
  const addend = e.let(negated(width, kind, NEGATE.addend, c));
  if (e.fuses) {
    const madd = width === 64 ? f64x2.relaxedMadd : f32x4.relaxedMadd;
    return fastOrPacked(e, usual, () => madd(factor, b, addend), slow);
  }
  if (width === 64) {
    return fastOrPacked(e, usual, () => e.callHelper("fusedNearest64x2", V128, [factor, b, addend]), slow);
  }
  const high = (x: V128Expr): V128Expr => shuffleLanes(32, x, x, [2, 3, 2, 3]);
  const sumOf = (half: (x: V128Expr) => V128Expr): V128Expr => {
    const [x, y, z] = [factor, b, addend].map((v) => f64x2.promoteLowF32x4(half(v)));
    return e.let(f64x2.add(f64x2.mul(x, y), z));
  };
  const [low, top] = [sumOf((x) => x), sumOf(high)];
  const tie = (x: V128Expr): V128Expr => i64x2.eq(v128.and(x, lanes(64, LOW_BITS)), lanes(64, MIDPOINT));
  const clear = i32.eqz(v128.anyTrue(v128.or(tie(low), tie(top))));
  return fastOrPacked(
    e,
    both(usual, clear),
    () => shuffleLanes(64, f32x4.demoteF64x2Zero(low), f32x4.demoteF64x2Zero(top), [0, 2]),
    slow,
  );
}

for (const [kindName, kind] of Object.entries(KINDS)) {
  for (const [digits, order] of Object.entries(ORDERS)) {
    for (const width of [32, 64] as const) {
      const name = `Vf${kindName}${digits}`;
      const sdm = `Vol. 2C, VF${kindName.toUpperCase()}${digits}P${letter(width).toUpperCase()}`;
      define(`${name}p${letter(width)}` as Name, sdm, (e) => {
        const memory = readParts(e, 2);
        const all = [readParts(e, 0), readParts(e, 1), memory].map((parts) => neutralized(e, width, parts));
        const [a, b, c] = order.map((i) => all[i]);
        const results = a.map((value, part) => packedFma(e, width, kind, value, b[part], c[part]));
        finishExceptions(e);
        writeParts(e, 0, results);
      });
      if (kind.even !== kind.odd) continue;
      define(`${name}s${letter(width)}` as Name, sdm, (e) => {
        const memory = readScalar(e, width, 2);
        const all = [readScalar(e, width, 0), readScalar(e, width, 1), memory];
        const result = scalarFma(
          e,
          width,
          kind.even,
          order.map((i) => all[i]),
        );
        // Unlike other VEX scalars the destination keeps the rest of its own XMM register.
        setLowLane(e, width, result, 0);
      });
    }
  }
}
