import * as v8 from "node:v8";
import type { MachineCode } from "../../emu/cache/machine-code.ts";

interface Natives {
  readonly isOptimized: (wasmFunction: unknown) => boolean;
  readonly serialize: (module: WebAssembly.Module) => ArrayBuffer;
  readonly deserialize: (code: ArrayBuffer, bytes: Uint8Array) => WebAssembly.Module | undefined;
}

/**
 * V8's machine code. V8 can write it down for embedders (`CompiledWasmModule::Serialize`, which browsers use), and Node
 * does not pass that on; V8's own functions for tests do (V8, src/runtime/runtime-test-wasm.cc:
 * `Runtime_SerializeWasmModule`, `Runtime_DeserializeWasmModule`, `Runtime_IsTurboFanFunction`). Where an engine has
 * them not, as V8 14 has not, there is no machine code, and modules are compiled again. What was written down begins
 * with V8's version, its flags and the processor's features, and V8 takes it for nothing if one of them differs
 * (src/wasm/wasm-serialization.cc, `WriteHeader`, `IsSupportedVersion`).
 */
export const nodeMachineCode: MachineCode = {
  of(module, functions) {
    return withNatives(({ isOptimized, serialize }) => {
      // V8 ends the process where there is nothing to write.
      for (const each of functions) if (isOptimized(each)) return new Uint8Array(serialize(module));
      return undefined;
    });
  },

  module(code, bytes) {
    const isWhole = code.byteLength === code.buffer.byteLength;
    // A Buffer's own slice() would be a view.
    const whole = (isWhole ? code : new Uint8Array(code)).buffer as ArrayBuffer;
    return withNatives(({ deserialize }) => deserialize(whole, bytes));
  },
};

/**
 * Does something with V8's functions; undefined where there are none. They can be named only by code that is compiled
 * while a flag is set, and V8 compiles a function again whenever it comes to be called after its bytecode was thrown
 * away, as it is some garbage collections after its last use (V8's --flush-bytecode). V8 also gives the same function
 * back for the same text (its compilation cache), bytecode or not. So the flag stays on until the work is done.
 */
function withNatives<T>(work: (natives: Natives) => T): T | undefined {
  v8.setFlagsFromString("--allow-natives-syntax");
  try {
    const natives = nativesOf();
    return natives && work(natives);
  } finally {
    v8.setFlagsFromString("--no-allow-natives-syntax");
  }
}

function nativesOf(): Natives | undefined {
  try {
    return {
      isOptimized: new Function("f", "return %IsTurboFanFunction(f)") as Natives["isOptimized"],
      serialize: new Function("m", "return %SerializeWasmModule(m)") as Natives["serialize"],
      deserialize: new Function("c", "b", "return %DeserializeWasmModule(c, b)") as Natives["deserialize"],
    };
  } catch (error) {
    // There is no such function, or none may be made from text.
    if (error instanceof SyntaxError || error instanceof EvalError) return undefined;
    throw error;
  }
}
