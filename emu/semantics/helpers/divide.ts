import { I64, type I64Expr, i64 } from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import type { Helper } from "./helper.ts";

const LOW32 = i64.const(0xffff_ffff);
const BASE = i64.const(0x1_0000_0000);
const n = (value: number): I64Expr => i64.const(value);

/**
 * Unsigned 128 by 64 bit division; the caller has made sure that the quotient fits (high < divisor). Two digits of 32
 * bits, each estimated from the divisor's upper half and corrected at most twice (Knuth, TAOCP Vol. 2, 4.3.1,
 * algorithm D). The remainder is low - quotient × divisor, modulo 2^64.
 */
function divide(f: FunctionBuilder): void {
  const shift = f.let(i64.clz(f.param(2, I64)));
  const divisor = f.let(i64.shl(f.param(2, I64), shift));
  const low = f.let(i64.shl(f.param(1, I64), shift));
  // A shift by 64 - 0 would be no shift at all: do it in two steps.
  const carried = i64.shrU(i64.shrU(f.param(1, I64), n(1)), i64.sub(n(63), shift));
  const high = f.local(I64);
  f.set(high, i64.or(i64.shl(f.param(0, I64), shift), carried));
  const upper = f.let(i64.shrU(divisor, n(32)));
  const lower = f.let(i64.and(divisor, LOW32));
  const quotient = f.local(I64);
  for (const next of [i64.shrU(low, n(32)), i64.and(low, LOW32)]) {
    const digit = f.local(I64);
    const rest = f.local(I64);
    f.set(digit, i64.divU(high, upper));
    f.set(rest, i64.remU(high, upper));
    f.block((done) => {
      f.loop((again) => {
        f.if(i64.ltU(digit, BASE), () => {
          const estimate = i64.mul(digit, lower);
          const bound = i64.or(i64.shl(rest, n(32)), next);
          f.branchIf(done, i64.leU(estimate, bound));
        });
        f.set(digit, i64.sub(digit, n(1)));
        f.set(rest, i64.add(rest, upper));
        f.branchIf(again, i64.ltU(rest, BASE));
      });
    });
    f.set(high, i64.sub(i64.or(i64.shl(high, n(32)), next), i64.mul(digit, divisor)));
    f.set(quotient, i64.or(i64.shl(quotient, n(32)), digit));
  }
  f.return(quotient);
}

export const DIVIDE_128: Helper = { name: "divide128", params: [I64, I64, I64], result: I64, build: divide };
