import type { Expr, ValType } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";

/** Calls another helper by name. */
export type HelperCall = <T extends ValType>(name: string, result: T, args: readonly Expr[]) => Expr<T>;

/** A function that semantics share because it is too large to stand in every handler. */
export interface Helper {
  readonly name: string;
  readonly params: readonly ValType[];
  readonly result: ValType;
  readonly build: (f: FunctionBuilder, call: HelperCall) => void;
}
