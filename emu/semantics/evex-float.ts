import type { Mnemonic } from "iced-x86";
import {
  type F32Expr,
  type F64Expr,
  type I32Expr,
  I64,
  type I64Expr,
  i32,
  i64,
  V128,
  type V128Expr,
} from "../wasm/expr.ts";
import { bitsOf, finishExceptions, floatOf, type Precision } from "./float.ts";
import { letter, readScalar, writeScalar } from "./float-arithmetic.ts";
import { EVEX_OPERATIONS, type EvexOperation } from "./helpers/evex-float.ts";
import { packedName } from "./helpers/packed-float.ts";
import { activeBits, isMasked, neutralized, writeComparison } from "./opmask.ts";
import { defineEvex } from "./table.ts";
import type { Translator } from "./translator.ts";
import { readParts, writeParts } from "./vector-operands.ts";

/** Floating-point instructions that AVX-512 adds (SDM Vol. 2C). What they compute: helpers/evex-float.ts. */

type Name = keyof typeof Mnemonic;

/** The immediate, where there is one. */
function immediate(e: Translator): I32Expr {
  const last = e.instruction.operands.length - 1;
  if (e.operand(last).kind !== "immediate") return i32.const(0);
  return e.let(i32.and(i32.wrap(e.immediate(last)), i32.const(0xff)));
}

/** Operand numbers of the sources of an operation with `count` of them, the last of which may be memory. */
function sourceNumbers(e: Translator, count: number): number[] {
  const last = e.instruction.operands.findLastIndex(({ kind }) => kind !== "immediate");
  return Array.from({ length: count }, (_, i) => last - count + 1 + i);
}

function packedResults(e: Translator, op: EvexOperation, width: Precision): V128Expr[] {
  const { operands } = EVEX_OPERATIONS[op];
  const control = immediate(e);
  // The memory operand comes first, as it may fault.
  const sources = sourceNumbers(e, operands)
    .reverse()
    .map((i) => neutralized(e, width, readParts(e, i)))
    .reverse();
  const results = sources[0].map((_, part) => {
    const args = [e.stateAddress(), ...sources.map((parts) => parts[part]), control];
    return e.let(e.callHelper(packedName(op, width), V128, args));
  });
  finishExceptions(e);
  return results;
}

function scalarResult(e: Translator, op: EvexOperation, width: Precision): I64Expr {
  const { operands } = EVEX_OPERATIONS[op];
  const control = immediate(e);
  const sources = sourceNumbers(e, operands)
    .reverse()
    .map((i): F32Expr | F64Expr => readScalar(e, width, i))
    .reverse();
  const args = [e.stateAddress(), ...sources.map((x) => bitsOf(width, x)), control];
  const result = e.let(e.callHelper(`${op}${width}`, I64, args));
  finishExceptions(e);
  return result;
}

for (const op of Object.keys(EVEX_OPERATIONS) as EvexOperation[]) {
  for (const width of [32, 64] as const) {
    const sdm = `Vol. 2C, V${op.toUpperCase()}PD and following`;
    const isClass = op === "fpclass";
    defineEvex(`V${op}p${letter(width)}` as Name, sdm, (e) => {
      const results = packedResults(e, op, width);
      if (isClass) writeComparison(e, width, results);
      else writeParts(e, 0, results);
    });
    defineEvex(`V${op}s${letter(width)}` as Name, sdm, (e) => {
      const result = scalarResult(e, op, width);
      if (isClass) {
        const bit = i64.and(result, i64.const(1));
        e.writeRegister(0, 64, isMasked(e) ? i64.and(bit, activeBits(e)) : bit);
      } else writeScalar(e, width, floatOf(width as 64, result));
    });
  }
}
