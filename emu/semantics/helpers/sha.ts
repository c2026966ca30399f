import { type I32Expr, i32, V128, type V128Expr } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { i32x4 } from "../../wasm/simd.ts";
import type { Helper } from "./helper.ts";

/** The functions of SHA-1 and SHA-256 (FIPS 180-4) in the portions of SDM Vol. 2B, SHA1RNDS4 and following. */

const sum = (...terms: I32Expr[]): I32Expr => terms.reduce(i32.add);
const rotr = (x: I32Expr, by: number): I32Expr => i32.rotr(x, i32.const(by));
const rotl = (x: I32Expr, by: number): I32Expr => i32.rotl(x, i32.const(by));
const choose = (x: I32Expr, y: I32Expr, z: I32Expr): I32Expr => i32.xor(i32.and(x, i32.xor(y, z)), z);
const majority = (x: I32Expr, y: I32Expr, z: I32Expr): I32Expr => i32.or(i32.and(x, y), i32.and(z, i32.or(x, y)));
const parity = (x: I32Expr, y: I32Expr, z: I32Expr): I32Expr => i32.xor(i32.xor(x, y), z);

/** A vector from its lanes, the highest first. */
function vector(f: FunctionBuilder, lanes: readonly I32Expr[]): V128Expr {
  let result = i32x4.splat(lanes[3]);
  for (let i = 1; i < 4; i++) result = i32x4.replace(result, i, lanes[3 - i]);
  return f.let(result);
}

/** sha256rnds2(cdgh, abef, wk): two rounds. */
function buildRounds256(f: FunctionBuilder): void {
  const lane = (param: number, i: number): I32Expr => f.let(i32x4.extract(f.param(param, V128), i));
  let [a, b, e, k] = [lane(1, 3), lane(1, 2), lane(1, 1), lane(1, 0)];
  let [c, d, g, h] = [lane(0, 3), lane(0, 2), lane(0, 1), lane(0, 0)];
  for (let round = 0; round < 2; round++) {
    const sigma1 = parity(rotr(e, 6), rotr(e, 11), rotr(e, 25));
    const sigma0 = parity(rotr(a, 2), rotr(a, 13), rotr(a, 22));
    const first = f.let(sum(choose(e, k, g), sigma1, lane(2, round), h));
    const newA = f.let(sum(first, majority(a, b, c), sigma0));
    const newE = f.let(sum(first, d));
    [a, b, c, d, e, k, g, h] = [newA, a, b, c, newE, e, k, g];
  }
  f.return(vector(f, [a, b, e, k]));
}

/** sha256msg2(w, last): the second half of four message words. */
function buildMessage256(f: FunctionBuilder): void {
  const lane = (param: number, i: number): I32Expr => f.let(i32x4.extract(f.param(param, V128), i));
  const sigma = (x: I32Expr): I32Expr => parity(rotr(x, 17), rotr(x, 19), i32.shrU(x, i32.const(10)));
  const w16 = f.let(sum(lane(0, 0), sigma(lane(1, 2))));
  const w17 = f.let(sum(lane(0, 1), sigma(lane(1, 3))));
  const w18 = f.let(sum(lane(0, 2), sigma(w16)));
  const w19 = f.let(sum(lane(0, 3), sigma(w17)));
  f.return(vector(f, [w19, w18, w17, w16]));
}

const CONSTANTS = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];
const FUNCTIONS = [choose, parity, majority, parity];

/** sha1rnds4(abcd, we): four rounds with the function and constant of `group`. */
function buildRounds1(group: number): (f: FunctionBuilder) => void {
  return (f) => {
    const lane = (param: number, i: number): I32Expr => f.let(i32x4.extract(f.param(param, V128), i));
    let [a, b, c, d] = [lane(0, 3), lane(0, 2), lane(0, 1), lane(0, 0)];
    // The first word has E added in already.
    let e: I32Expr = i32.const(0);
    for (let round = 0; round < 4; round++) {
      const mixed = FUNCTIONS[group](b, c, d);
      const next = f.let(sum(mixed, rotl(a, 5), lane(1, 3 - round), e, i32.const(CONSTANTS[group])));
      [a, b, c, d, e] = [next, a, f.let(rotl(b, 30)), c, d];
    }
    f.return(vector(f, [a, b, c, d]));
  };
}

/** sha1msg2(w, last): the last step of four message words. */
function buildMessage1(f: FunctionBuilder): void {
  const lane = (param: number, i: number): I32Expr => f.let(i32x4.extract(f.param(param, V128), i));
  const w16 = f.let(rotl(i32.xor(lane(0, 3), lane(1, 2)), 1));
  const w17 = rotl(i32.xor(lane(0, 2), lane(1, 1)), 1);
  const w18 = rotl(i32.xor(lane(0, 1), lane(1, 0)), 1);
  const w19 = rotl(i32.xor(lane(0, 0), w16), 1);
  f.return(vector(f, [w16, w17, w18, w19]));
}

const two = [V128, V128] as const;

export const SHA_HELPERS: readonly Helper[] = [
  { name: "sha256rnds2", params: [V128, V128, V128], result: V128, build: buildRounds256 },
  { name: "sha256msg2", params: two, result: V128, build: buildMessage256 },
  { name: "sha1msg2", params: two, result: V128, build: buildMessage1 },
  ...[0, 1, 2, 3].map(
    (group): Helper => ({
      name: `sha1rnds4_${group}`,
      params: two,
      result: V128,
      build: buildRounds1(group),
    }),
  ),
];
