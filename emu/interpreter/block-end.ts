import { STATE } from "../cpu/state.ts";
import { type I32Expr, i64 } from "../wasm/expr.ts";
import type { FunctionBuilder } from "../wasm/function.ts";
import { RECORD } from "./record.ts";

/**
 * What a thread has left behind the instructions of a block up to a record's.
 * @returns whether it has no fuel left, or the place is hot; and what pays for the instructions
 */
export function afterBlock(
  f: FunctionBuilder,
  cpu: I32Expr,
  record: I32Expr,
): { readonly isOut: I32Expr; readonly pay: () => void } {
  const count = f.let(i64.load16u(record, RECORD.count));
  const fuel = f.let(i64.sub(i64.load(cpu, STATE.fuel), count));
  const heat = f.let(i64.sub(i64.load32s(cpu, STATE.heat), count));
  return {
    isOut: i64.ltS(i64.or(fuel, heat), i64.const(0)),
    pay: () => {
      f.storeInt(64, cpu, fuel, STATE.fuel);
      f.storeInt(32, cpu, heat, STATE.heat);
    },
  };
}
