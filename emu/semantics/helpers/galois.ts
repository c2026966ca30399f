import { I64, type I64Expr, i32, i64, V128, type V128Expr } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { i8x16, i64x2, v128 } from "../../wasm/simd.ts";
import type { Helper } from "./helper.ts";
import { TABLE } from "./tables.ts";

/** Products of polynomials over GF(2), and GF(2^8) (SDM Vol. 2B, PCLMULQDQ; Vol. 2A, GF2P8MULB). */

const bytes = (value: number): V128Expr => v128.const(new Uint8Array(16).fill(value));
const zero = bytes(0);

/**
 * The carry-less product of two 32-bit values. Of each, every fourth bit is taken: in the product of two such the sums
 * of at most eight ones have room in the three bits between, and their lowest bits are the exclusive or wanted
 * (T. Pornin, "BearSSL, constant-time GHASH").
 */
function product32(f: FunctionBuilder, a: I64Expr, b: I64Expr): I64Expr {
  const part = (x: I64Expr, k: number): I64Expr => f.let(i64.and(x, i64.const(0x1111_1111n << BigInt(k))));
  const [xs, ys] = [a, b].map((x) => [0, 1, 2, 3].map((k) => part(x, k)));
  const sums = [0, 1, 2, 3].map((k) => {
    const products = [0, 1, 2, 3].map((i) => i64.mul(xs[i], ys[(k - i + 4) & 3]));
    return i64.and(products.reduce(i64.xor), i64.const(0x1111_1111_1111_1111n << BigInt(k)));
  });
  return f.let(sums.reduce(i64.or));
}

/** clmul(a, b): 64 × 64 bits to 128, from three products (Karatsuba). */
function buildClmul(f: FunctionBuilder): void {
  const low = (x: I64Expr): I64Expr => f.let(i64.and(x, i64.const(0xffff_ffff)));
  const high = (x: I64Expr): I64Expr => f.let(i64.shrU(x, i64.const(32)));
  const [a0, a1] = [low(f.param(0, I64)), high(f.param(0, I64))];
  const [b0, b1] = [low(f.param(1, I64)), high(f.param(1, I64))];
  const lowest = product32(f, a0, b0);
  const highest = product32(f, a1, b1);
  const cross = product32(f, f.let(i64.xor(a0, a1)), f.let(i64.xor(b0, b1)));
  const middle = f.let(i64.xor(i64.xor(cross, lowest), highest));
  const resultLow = i64.xor(lowest, i64.shl(middle, i64.const(32)));
  const resultHigh = i64.xor(highest, i64.shrU(middle, i64.const(32)));
  f.return(i64x2.replace(i64x2.splat(resultLow), 1, resultHigh));
}

/** gf2p8mul(a, b): bytes multiplied, from b's highest bit down. */
function buildMultiply(f: FunctionBuilder): void {
  const a = f.param(0, V128);
  const b = f.param(1, V128);
  let product: V128Expr = zero;
  for (let bit = 7; bit >= 0; bit--) {
    const carry = v128.and(i8x16.ltS(product, zero), bytes(0x1b));
    const doubled = v128.xor(i8x16.add(product, product), carry);
    const taken = v128.and(a, i8x16.ltS(i8x16.shl(b, i32.const(7 - bit)), zero));
    product = f.let(v128.xor(doubled, taken));
  }
  f.return(product);
}

/** gf2p8affine(x, matrices): bit i of a byte is the parity of it and row 7 - i of its half's matrix. */
function buildAffine(f: FunctionBuilder): void {
  const x = f.param(0, V128);
  const matrices = f.param(1, V128);
  const bits = Array.from({ length: 8 }, (_, bit) => {
    const row = v128.shuffle(
      matrices,
      matrices,
      Array.from({ length: 16 }, (_, i) => (i & 8) + 7 - bit),
    );
    const parity = v128.and(i8x16.popcnt(v128.and(x, row)), bytes(1));
    return bit === 0 ? parity : i8x16.shl(parity, i32.const(bit));
  });
  f.return(bits.reduce(v128.or));
}

/** gf2p8inverse(x): the inverse of each byte, 0 for 0. */
function buildInverse(f: FunctionBuilder): void {
  const x = f.param(0, V128);
  let result: V128Expr = zero;
  for (let i = 0; i < 16; i++) result = i8x16.replace(result, i, i32.load8u(i8x16.extractU(x, i), TABLE.inverse));
  f.return(result);
}

const two = [V128, V128] as const;

export const GALOIS_HELPERS: readonly Helper[] = [
  { name: "clmul", params: [I64, I64], result: V128, build: buildClmul },
  { name: "gf2p8mul", params: two, result: V128, build: buildMultiply },
  { name: "gf2p8affine", params: two, result: V128, build: buildAffine },
  { name: "gf2p8inverse", params: [V128], result: V128, build: buildInverse },
];
