import { F32, F64 } from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { f32x4, f64x2 } from "../wasm/simd.ts";

let known: boolean | undefined;

/**
 * Does this host's relaxed_madd round once? WebAssembly leaves that open (relaxed SIMD proposal); engines use the host's
 * fused instruction where it has one, in all their compilers. (1 + 2^-30)(1 - 2^-30) - 1 is -2^-60, or 0 with two
 * roundings, and so in single precision with 2^-13.
 */
export function hostFuses(): boolean {
  known ??= probe();
  return known;
}

function probe(): boolean {
  const double = new FunctionBuilder([F64, F64, F64]);
  const [a, b, c] = [0, 1, 2].map((i) => f64x2.splat(double.param(i, F64)));
  double.return(f64x2.extract(f64x2.relaxedMadd(a, b, c), 0));
  const single = new FunctionBuilder([F32, F32, F32]);
  const [x, y, z] = [0, 1, 2].map((i) => f32x4.splat(single.param(i, F32)));
  single.return(f32x4.extract(f32x4.relaxedMadd(x, y, z), 0));
  const module = new ModuleBuilder(1, []);
  module.add(double, [F64], "double");
  module.add(single, [F32], "single");
  const bytes = module.finish() as Uint8Array<ArrayBuffer>;
  if (!WebAssembly.validate(bytes)) return false;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const { double: madd64, single: madd32 } = exports as Record<string, (a: number, b: number, c: number) => number>;
  return (
    madd64(1 + 2 ** -30, 1 - 2 ** -30, -1) === -(2 ** -60) && madd32(1 + 2 ** -13, 1 - 2 ** -13, -1) === -(2 ** -26)
  );
}
