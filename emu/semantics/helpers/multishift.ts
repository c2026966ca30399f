import { type I64Expr, i32, i64, V128, type V128Expr } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { i8x16, i64x2, v128 } from "../../wasm/simd.ts";
import type { Helper } from "./helper.ts";

const zero = v128.const(new Uint8Array(16));

/** Each byte of `controls` applied to its quadword of `values`: a byte from `op`. */
function perByte(
  f: FunctionBuilder,
  controls: V128Expr,
  values: V128Expr,
  op: (value: I64Expr, control: I64Expr) => I64Expr,
): void {
  const result = f.local(V128);
  f.set(result, zero);
  for (let half = 0; half < 2; half++) {
    const value = f.let(i64x2.extract(values, half));
    for (let i = 0; i < 8; i++) {
      const control = i64.extendI32U(i8x16.extractU(controls, 8 * half + i));
      f.set(result, i8x16.replace(result, 8 * half + i, i32.wrap(op(value, control))));
    }
  }
  f.return(result);
}

export const MULTISHIFT_HELPERS: readonly Helper[] = [
  {
    /** multishift(controls, values): eight bits of the quadword, turned, from the bit on that the control names. */
    name: "multishift",
    params: [V128, V128],
    result: V128,
    build: (f) => perByte(f, f.param(0, V128), f.param(1, V128), i64.rotr),
  },
  {
    /** bitsByNumber(values, controls): in the top bit of each byte the bit of the quadword that the control names. */
    name: "bitsByNumber",
    params: [V128, V128],
    result: V128,
    build: (f) =>
      perByte(f, f.param(1, V128), f.param(0, V128), (value, control) =>
        i64.shl(i64.shrU(value, control), i64.const(7)),
      ),
  },
];
