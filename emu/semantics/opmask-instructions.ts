import type { Mnemonic } from "iced-x86";
import { type I64Expr, i32, i64 } from "../wasm/expr.ts";
import { bitsOfLanes, type LaneBits, lanesOf, SHAPES } from "./opmask.ts";
import { define, defineEvex } from "./table.ts";
import { maskOf, type Translator } from "./translator.ts";
import { lastImmediate, partsOf, readParts, writeParts } from "./vector-operands.ts";

/** Instructions on opmask registers (SDM Vol. 1, 15.6.1; Vol. 2A, KADDW and following). They are VEX encoded. */

type Name = keyof typeof Mnemonic;

const WIDTHS = { b: 8, w: 16, d: 32, q: 64 } as const;

/** An opmask register, cut to `width` bits. */
const readMask = (e: Translator, i: number, width: number): I64Expr => e.let(e.readRegister(i, width));
/** Writes an opmask register: what lies above `width` bits is cleared. */
const writeMask = (e: Translator, i: number, width: number, value: I64Expr): void =>
  e.writeRegister(i, 64, e.cut(value, width));

const isOpmask = (e: Translator, i: number): boolean => e.operand(i).registerClass === "opmask";

for (const [letter, width] of Object.entries(WIDTHS)) {
  const binary = (name: string, op: (a: I64Expr, b: I64Expr) => I64Expr): void => {
    define(`K${name}${letter}` as Name, `Vol. 2A, K${name.toUpperCase()}W`, (e) =>
      writeMask(e, 0, width, op(readMask(e, 1, width), readMask(e, 2, width))),
    );
  };
  const not = (a: I64Expr): I64Expr => i64.xor(a, i64.const(-1));
  binary("add", i64.add);
  binary("and", i64.and);
  binary("andn", (a, b) => i64.and(not(a), b));
  binary("or", i64.or);
  binary("xor", i64.xor);
  binary("xnor", (a, b) => not(i64.xor(a, b)));
  define(`Knot${letter}` as Name, "Vol. 2A, KNOTW", (e) => writeMask(e, 0, width, not(readMask(e, 1, width))));

  define(`Kmov${letter}` as Name, "Vol. 2A, KMOVW", (e) => {
    const value = isOpmask(e, 1) ? readMask(e, 1, width) : e.read(1, width);
    if (isOpmask(e, 0)) writeMask(e, 0, width, value);
    else e.write(0, value, e.isMemory(0) || width === 64 ? width : 32);
  });

  for (const left of [true, false]) {
    define(
      `Kshift${left ? "l" : "r"}${letter}` as Name,
      `Vol. 2A, KSHIFT${left ? "L" : "R"}W`,
      (e) => {
        const count = lastImmediate(e);
        const value = readMask(e, 1, width);
        if (count >= width) writeMask(e, 0, width, i64.const(0));
        else writeMask(e, 0, width, (left ? i64.shl : i64.shrU)(value, i64.const(count)));
      },
      { immediateInForm: true },
    );
  }

  const zero = i32.const(0);
  const rest = { of: zero, sf: zero, af: zero, pf: zero };
  define(`Kortest${letter}` as Name, "Vol. 2A, KORTESTW", (e) => {
    const either = e.let(i64.or(readMask(e, 0, width), readMask(e, 1, width)));
    e.flagsExplicit({ zf: i64.eqz(either), cf: i64.eq(either, i64.const(maskOf(width))), ...rest });
  });
  define(`Ktest${letter}` as Name, "Vol. 2A, KTESTW", (e) => {
    const [a, b] = [readMask(e, 0, width), readMask(e, 1, width)];
    e.flagsExplicit({ zf: i64.eqz(i64.and(a, b)), cf: i64.eqz(i64.and(not(a), b)), ...rest });
  });
}

for (const [name, half] of [
  ["Kunpckbw", 8],
  ["Kunpckwd", 16],
  ["Kunpckdq", 32],
] as const) {
  define(name, "Vol. 2A, KUNPCKBW", (e) => {
    const high = i64.shl(readMask(e, 1, half), i64.const(half));
    writeMask(e, 0, 2 * half, i64.or(high, readMask(e, 2, half)));
  });
}

// Between opmasks and vectors.

for (const [letter, bits] of Object.entries(WIDTHS) as [string, LaneBits][]) {
  defineEvex(`Vpmov${letter}2m` as Name, "Vol. 2C, VPMOVB2M", (e) =>
    e.writeRegister(0, 64, bitsOfLanes(bits, readParts(e, 1))),
  );
  defineEvex(`Vpmovm2${letter}` as Name, "Vol. 2C, VPMOVM2B", (e) => {
    const mask = e.let(e.readRegister(1, 64));
    writeParts(
      e,
      0,
      Array.from({ length: partsOf(e, 0) }, (_, part) => lanesOf(e, mask, bits, part)),
    );
  });
}
for (const [name, from, to] of [
  ["Vpbroadcastmb2q", 8, 64],
  ["Vpbroadcastmw2d", 16, 32],
] as const) {
  defineEvex(name, "Vol. 2C, VPBROADCASTM", (e) => {
    const mask = readMask(e, 1, from);
    const lane = e.let(to === 64 ? SHAPES[64].splat(mask) : SHAPES[32].splat(i32.wrap(mask)));
    writeParts(
      e,
      0,
      Array.from({ length: partsOf(e, 0) }, () => lane),
    );
  });
}
