import { I32, type I32Expr, i32, type LocalRef, V128, type V128Expr } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { i32x4, v128 } from "../../wasm/simd.ts";
import type { Helper } from "./helper.ts";
import { TABLE } from "./tables.ts";

/** Rounds of AES (FIPS 197, 5.1, 5.3; SDM Vol. 2A, AESENC and following) by table, column by column. */

const zero = v128.const(new Uint8Array(16));

function columns(f: FunctionBuilder, state: V128Expr): I32Expr[] {
  return [0, 1, 2, 3].map((i) => f.let(i32x4.extract(state, i)));
}

function join(parts: readonly I32Expr[]): V128Expr {
  return parts.reduce<V128Expr>((vector, part, i) => i32x4.replace(vector, i, part), zero);
}

/** Byte `row` of the column that ShiftRows brings to `column`; `direction` -1 for InvShiftRows. */
function shiftedByte(state: readonly I32Expr[], column: number, row: number, direction: 1 | -1): I32Expr {
  const from = state[(column + direction * row + 4) & 3];
  return i32.and(i32.shrU(from, i32.const(8 * row)), i32.const(0xff));
}

/** A whole round: each byte's substitute times the column matrix, from one table turned by the row. */
function buildRound(table: number, direction: 1 | -1): (f: FunctionBuilder) => void {
  return (f) => {
    const state = columns(f, f.param(0, V128));
    const mixed = [0, 1, 2, 3].map((column) =>
      [0, 1, 2, 3]
        .map((row) => {
          const word = i32.load(i32.shl(shiftedByte(state, column, row, direction), i32.const(2)), table);
          return row === 0 ? word : i32.rotl(word, i32.const(8 * row));
        })
        .reduce(i32.xor),
    );
    f.return(v128.xor(join(mixed), f.param(1, V128)));
  };
}

/** The last round, without mixing columns. */
function buildLastRound(table: number, direction: 1 | -1): (f: FunctionBuilder) => void {
  return (f) => {
    const state = columns(f, f.param(0, V128));
    const substituted = [0, 1, 2, 3].map((column) =>
      [0, 1, 2, 3]
        .map((row) => {
          const byte = i32.load8u(shiftedByte(state, column, row, direction), table);
          return i32.shl(byte, i32.const(8 * row));
        })
        .reduce(i32.or),
    );
    f.return(v128.xor(join(substituted), f.param(1, V128)));
  };
}

/** InvMixColumns alone: the inverse round's table undoes a substitution first. */
function buildInverseMix(f: FunctionBuilder): void {
  const state = columns(f, f.param(0, V128));
  const mixed = state.map((word) =>
    [0, 1, 2, 3]
      .map((row) => {
        const byte = i32.and(i32.shrU(word, i32.const(8 * row)), i32.const(0xff));
        const substituted = i32.load8u(byte, TABLE.aesSubstitution);
        const product = i32.load(i32.shl(substituted, i32.const(2)), TABLE.aesInverseColumn);
        return i32.rotl(product, i32.const(8 * row));
      })
      .reduce(i32.xor),
  );
  f.return(join(mixed));
}

/** aesSubWord(word): SubBytes of each byte. */
function buildSubWord(f: FunctionBuilder): void {
  const word: LocalRef<typeof I32> = f.param(0, I32);
  f.return(
    [0, 1, 2, 3]
      .map((row) => {
        const byte = i32.and(i32.shrU(word, i32.const(8 * row)), i32.const(0xff));
        return i32.shl(i32.load8u(byte, TABLE.aesSubstitution), i32.const(8 * row));
      })
      .reduce(i32.or),
  );
}

const two = [V128, V128] as const;

export const AES_HELPERS: readonly Helper[] = [
  { name: "aesenc", params: two, result: V128, build: buildRound(TABLE.aesColumn, 1) },
  { name: "aesenclast", params: two, result: V128, build: buildLastRound(TABLE.aesSubstitution, 1) },
  { name: "aesdec", params: two, result: V128, build: buildRound(TABLE.aesInverseColumn, -1) },
  { name: "aesdeclast", params: two, result: V128, build: buildLastRound(TABLE.aesInverseSubstitution, -1) },
  { name: "aesimc", params: [V128], result: V128, build: buildInverseMix },
  { name: "aesSubWord", params: [I32], result: I32, build: buildSubWord },
];
