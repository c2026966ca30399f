import { type I32Expr, i32, type V128Expr } from "../wasm/expr.ts";
import { i32x4, v128 } from "../wasm/simd.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";
import { lastImmediate, readPart, shuffleLanes, writeParts, ZERO } from "./vector-operands.ts";

/**
 * The SHA extensions (SDM Vol. 1, 5.21): the functions of SHA-1 and SHA-256 (FIPS 180-4) in portions. Lane 3 holds what
 * comes first. Rounds are scalar code, since each word needs the one before; message words come two at a time.
 */

const sum = (...terms: I32Expr[]): I32Expr => terms.reduce(i32.add);
const rotr = (x: I32Expr, by: number): I32Expr => i32.rotr(x, i32.const(by));
const rotl = (x: I32Expr, by: number): I32Expr => i32.rotl(x, i32.const(by));
const choose = (x: I32Expr, y: I32Expr, z: I32Expr): I32Expr => i32.xor(i32.and(x, i32.xor(y, z)), z);
const majority = (x: I32Expr, y: I32Expr, z: I32Expr): I32Expr => i32.or(i32.and(x, y), i32.and(z, i32.or(x, y)));
const parity = (x: I32Expr, y: I32Expr, z: I32Expr): I32Expr => i32.xor(i32.xor(x, y), z);

/** Each lane rotated to the right. */
const turned = (x: V128Expr, by: number): V128Expr =>
  v128.or(i32x4.shrU(x, i32.const(by)), i32x4.shl(x, i32.const(32 - by)));

/** Memory need not be aligned: the SDM asks for it (exceptions type 4), but processors that were asked did not. */
const sha = (e: Translator, op: (a: V128Expr, b: V128Expr) => V128Expr): void => {
  const b = readPart(e, 1, { unaligned: true });
  const a = readPart(e, 0);
  writeParts(e, 0, [e.let(op(a, b))]);
};

// SHA-256: registers hold C, D, G, H and A, B, E, F, from lane 3 down.

define("Sha256rnds2", "Vol. 2B, SHA256RNDS2", (e) =>
  sha(e, (cdgh, abef) => {
    const words = e.lanes(e.let(e.vectorByNumber(0, 0)));
    // E is k, since e is taken.
    let [f, k, b, a] = e.lanes(abef);
    let [h, g, d, c] = e.lanes(cdgh);
    let bc = e.let(i32.xor(b, c));
    for (let round = 0; round < 2; round++) {
      const sigma1 = parity(rotr(k, 6), rotr(k, 11), rotr(k, 25));
      // Rotated by 2, 13 and 22, with fewer copies.
      const sigma0 = rotr(i32.xor(rotr(i32.xor(rotr(a, 9), a), 11), a), 2);
      const ab = e.let(i32.xor(a, b));
      const majority = i32.xor(i32.and(ab, bc), b);
      bc = ab;
      const first = e.let(sum(sigma1, choose(k, f, g), e.let(i32.add(words[round], h))));
      const newA = e.let(sum(first, i32.add(majority, sigma0)));
      const newE = e.let(sum(first, d));
      [a, b, c, d, k, f, g, h] = [newA, a, b, c, newE, k, f, g];
    }
    return e.fromLanes([f, k, b, a]);
  }),
);
define("Sha256msg1", "Vol. 2B, SHA256MSG1", (e) =>
  sha(e, (a, b) => {
    const x = e.let(shuffleLanes(32, a, b, [1, 2, 3, 4]));
    return i32x4.add(a, v128.xor(v128.xor(turned(x, 7), turned(x, 18)), i32x4.shrU(x, i32.const(3))));
  }),
);
define("Sha256msg2", "Vol. 2B, SHA256MSG2", (e) =>
  sha(e, (a, b) => {
    const sigma = (x: V128Expr): V128Expr =>
      v128.xor(v128.xor(turned(x, 17), turned(x, 19)), i32x4.shrU(x, i32.const(10)));
    // Words 16 and 17 in the low lanes, from which 18 and 19 come: of zero comes zero.
    const low = e.let(i32x4.add(a, sigma(e.let(shuffleLanes(32, b, ZERO, [2, 3, 4, 5])))));
    return i32x4.add(low, sigma(e.let(shuffleLanes(32, low, ZERO, [4, 5, 0, 1]))));
  }),
);

// SHA-1: registers hold A, B, C, D from lane 3 down.

const CONSTANTS = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];
const FUNCTIONS = [choose, parity, majority, parity];

define(
  "Sha1rnds4",
  "Vol. 2B, SHA1RNDS4",
  (e) => {
    const group = lastImmediate(e) & 3;
    sha(e, (abcd, message) => {
      const words = e.lanes(message);
      let [d, c, b, a] = e.lanes(abcd);
      // The first word has E added in already.
      let last: I32Expr = i32.const(0);
      for (let round = 0; round < 4; round++) {
        const mixed = FUNCTIONS[group](b, c, d);
        const next = e.let(sum(mixed, rotl(a, 5), words[3 - round], last, i32.const(CONSTANTS[group])));
        [a, b, c, d, last] = [next, a, e.let(rotl(b, 30)), c, d];
      }
      return e.fromLanes([d, c, b, a]);
    });
  },
  { immediateInForm: true },
);
define("Sha1nexte", "Vol. 2B, SHA1NEXTE", (e) =>
  sha(e, (a, b) => i32x4.replace(b, 3, i32.add(i32x4.extract(b, 3), rotl(e.lanes(a)[3], 30)))),
);
define("Sha1msg1", "Vol. 2B, SHA1MSG1", (e) => sha(e, (a, b) => v128.xor(a, shuffleLanes(32, a, b, [6, 7, 0, 1]))));
define("Sha1msg2", "Vol. 2B, SHA1MSG2", (e) =>
  sha(e, (a, b) => {
    // Words 16 to 18 from lane 3 down; 19, in lane 0, needs word 16 beside.
    const first = e.let(turned(e.let(v128.xor(a, shuffleLanes(32, b, ZERO, [4, 0, 1, 2]))), 31));
    return v128.xor(first, turned(e.let(shuffleLanes(32, first, ZERO, [3, 4, 5, 6])), 31));
  }),
);
