import type { Mnemonic } from "iced-x86";
import { I32, type I32Expr, type I64Expr, i32, i64, V128, type V128Expr } from "../wasm/expr.ts";
import { i32x4, i64x2, v128 } from "../wasm/simd.ts";
import { TABLE } from "./helpers/tables.ts";
import { define } from "./table.ts";
import { binaryParts, lanes, lastImmediate, unaryParts, withVex } from "./vector-operands.ts";

/** AES-NI, PCLMULQDQ, GFNI and CRC32 (SDM Vol. 1, 12.13, 5.20, 12.12.3). */

type Name = keyof typeof Mnemonic;
const IN_FORM = { immediateInForm: true } as const;

// AES.

for (const name of ["aesenc", "aesenclast", "aesdec", "aesdeclast"]) {
  const mnemonic = (name[0].toUpperCase() + name.slice(1)) as Name;
  define(withVex(mnemonic), `Vol. 2A, ${name.toUpperCase()}`, (e) =>
    binaryParts(e, (a, b) => e.callHelper(name, V128, [a, b])),
  );
}
define(withVex("Aesimc"), "Vol. 2A, AESIMC", (e) => unaryParts(e, (a) => e.callHelper("aesimc", V128, [a])));
define(
  withVex("Aeskeygenassist"),
  "Vol. 2A, AESKEYGENASSIST",
  (e) => {
    const constant = i32.const(lastImmediate(e));
    unaryParts(e, (a) => {
      const substitute = (lane: number): I32Expr => e.let(e.callHelper("aesSubWord", I32, [i32x4.extract(a, lane)]));
      const turn = (word: I32Expr): I32Expr => i32.xor(i32.rotr(word, i32.const(8)), constant);
      const [one, three] = [substitute(1), substitute(3)];
      return [turn(one), three, turn(three)].reduce<V128Expr>(
        (vector, word, i) => i32x4.replace(vector, i + 1, word),
        i32x4.splat(one),
      );
    });
  },
  IN_FORM,
);

// Carry-less multiplication and GF(2^8).

define(
  withVex("Pclmulqdq"),
  "Vol. 2B, PCLMULQDQ",
  (e) => {
    const immediate = lastImmediate(e);
    binaryParts(e, (a, b) => {
      const args = [i64x2.extract(a, immediate & 1), i64x2.extract(b, (immediate >> 4) & 1)];
      return e.callHelper("clmul", V128, args);
    });
  },
  IN_FORM,
);
define(withVex("Gf2p8mulb"), "Vol. 2A, GF2P8MULB", (e) =>
  binaryParts(e, (a, b) => e.callHelper("gf2p8mul", V128, [a, b])),
);
define(
  withVex("Gf2p8affineqb"),
  "Vol. 2A, GF2P8AFFINEQB",
  (e) => {
    const constant = lanes(8, lastImmediate(e));
    binaryParts(e, (a, b) => v128.xor(e.callHelper("gf2p8affine", V128, [a, b]), constant));
  },
  IN_FORM,
);
define(
  withVex("Gf2p8affineinvqb"),
  "Vol. 2A, GF2P8AFFINEINVQB",
  (e) => {
    const constant = lanes(8, lastImmediate(e));
    binaryParts(e, (a, b) => {
      const inverse = e.callHelper("gf2p8inverse", V128, [a]);
      return v128.xor(e.callHelper("gf2p8affine", V128, [inverse, b]), constant);
    });
  },
  IN_FORM,
);

/** CRC32: CRC-32C of the bytes of operand 1 on top of operand 0, one table look-up a byte. */
define("Crc32", "Vol. 2A, CRC32", (e) => {
  const bytes = e.width(1) / 8;
  const value = e.read(1);
  const crc = e.read(0, 32);
  const mixed = e.let(i64.xor(value, crc));
  const lookUp = (byte: number): I64Expr => {
    const index = i64.and(i64.shrU(mixed, i64.const(8 * byte)), i64.const(0xff));
    return i64.load32u(i32.shl(i32.wrap(index), i32.const(2)), TABLE.crc32 + (bytes - 1 - byte) * 1024);
  };
  const looked = Array.from({ length: bytes }, (_, byte) => lookUp(byte)).reduce(i64.xor);
  e.write(0, bytes < 4 ? i64.xor(looked, i64.shrU(crc, i64.const(8 * bytes))) : looked);
});
