import type { ValType } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";

/** A function that semantics share because it is too large to stand in every handler. */
export interface Helper {
  readonly name: string;
  readonly params: readonly ValType[];
  readonly result: ValType;
  readonly build: (f: FunctionBuilder) => void;
}
