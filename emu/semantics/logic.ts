import { type I64Expr, i64 } from "../wasm/expr.ts";
import { define } from "./table.ts";
import type { Translator } from "./translator.ts";

function logic(e: Translator, combine: (a: I64Expr, b: I64Expr) => I64Expr): void {
  const b = e.read(1);
  const { old, set } = e.update(0);
  const result = e.let(combine(old, b));
  set(result);
  e.flagsLogic(e.width(0), result);
}

define("And", "Vol. 2A, AND", (e) => logic(e, i64.and), { lockable: true });
define("Or", "Vol. 2B, OR", (e) => logic(e, i64.or), { lockable: true });
define("Xor", "Vol. 2C, XOR", (e) => logic(e, i64.xor), { lockable: true });

define(
  "Not",
  "Vol. 2B, NOT",
  (e) => {
    const { old, set } = e.update(0);
    set(e.cut(i64.xor(old, i64.const(-1)), e.width(0)));
  },
  { lockable: true },
);

define("Test", "Vol. 2B, TEST", (e) => {
  const a = e.read(0);
  e.flagsLogic(e.width(0), e.let(i64.and(a, e.read(1))));
});
