import {
  type Expr,
  I32,
  type I32Expr,
  I64,
  type I64Expr,
  i32,
  i64,
  type LocalRef,
  select,
  V128,
  type V128Expr,
  type ValType,
} from "../../wasm/expr.ts";
import type { FunctionBuilder } from "../../wasm/function.ts";
import { i32x4, i64x2 } from "../../wasm/simd.ts";
import { cpuOf, n } from "./float-format.ts";
import type { Helper, HelperCall } from "./helper.ts";

/** Packed forms of the scalar helpers, lane by lane; exceptions of all lanes add up (SDM Vol. 1, 11.5.1). */

type Width = 32 | 64;

const WIDTHS: readonly Width[] = [32, 64];

/** Lane `i` as a zero-extended integer. */
export const laneOf = (width: Width, vector: V128Expr, i: number): I64Expr =>
  width === 64 ? i64x2.extract(vector, i) : i64.extendI32U(i32x4.extract(vector, i));

export function setLane(f: FunctionBuilder, width: Width, to: LocalRef<typeof V128>, i: number, value: I64Expr): void {
  f.set(to, width === 64 ? i64x2.replace(to, i, value) : i32x4.replace(to, i, i32.wrap(value)));
}

/** A packed helper out of scalar ones, one name a lane. */
function perLane(name: string, width: Width, operands: number, scalar: (lane: number) => string): Helper {
  const params: ValType[] = [I32, ...Array.from({ length: operands }, (): ValType => V128)];
  return {
    name,
    params,
    result: V128,
    build: (f, call) => {
      const result = f.local(V128);
      for (let lane = 0; lane < 128 / width; lane++) {
        const args: Expr[] = [cpuOf(f)];
        for (let i = 1; i <= operands; i++) args.push(laneOf(width, f.param(i, V128), lane));
        setLane(f, width, result, lane, call(`${scalar(lane)}${width}`, I64, args));
      }
      f.return(result);
    },
  };
}

/** The name of an operation's packed helper. */
export const packedName = (op: string, width: number): string => `${op}${width}x${128 / width}`;

/**
 * comparePacked(cpu, a, b, signaling, truth): all ones in each lane whose outcome's bit is set in `truth`.
 */
function buildComparePacked(width: Width): (f: FunctionBuilder, call: HelperCall) => void {
  return (f, call) => {
    const result = f.local(V128);
    const truth = f.param(4, I32);
    for (let lane = 0; lane < 128 / width; lane++) {
      const args = [
        cpuOf(f),
        laneOf(width, f.param(1, V128), lane),
        laneOf(width, f.param(2, V128), lane),
        f.param(3, I32),
      ];
      const outcome: I32Expr = call(`compare${width}`, I32, args);
      const isTrue = i32.and(i32.shrU(truth, outcome), i32.const(1));
      setLane(f, width, result, lane, select(isTrue, n(-1), n(0)));
    }
    f.return(result);
  };
}

export const PACKED_FLOAT_HELPERS: readonly Helper[] = WIDTHS.flatMap((width) => [
  ...["add", "sub", "mul", "div", "min", "max"].map((op) => perLane(packedName(op, width), width, 2, () => op)),
  perLane(packedName("sqrt", width), width, 1, () => "sqrt"),
  perLane(packedName("addsub", width), width, 2, (lane) => (lane & 1 ? "add" : "sub")),
  {
    name: packedName("compare", width),
    params: [I32, V128, V128, I32, I32],
    result: V128,
    build: buildComparePacked(width),
  },
]);
