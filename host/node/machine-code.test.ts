// V8's machine code of a module, kept for another process.
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { I32, i32 } from "../../emu/wasm/expr.ts";
import { FunctionBuilder } from "../../emu/wasm/function.ts";
import { ModuleBuilder } from "../../emu/wasm/module.ts";
import { nodeMachineCode } from "./machine-code.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "goemu-machine-code-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** sum(n): `step` times n, added up in a loop. */
function sumModule(step: number): Uint8Array<ArrayBuffer> {
  const f = new FunctionBuilder([I32]);
  const n = f.param(0, I32);
  const sum = f.local(I32);
  f.block((exit) => {
    f.loop((again) => {
      f.branchIf(exit, i32.eqz(n));
      f.set(sum, i32.add(sum, i32.const(step)));
      f.set(n, i32.sub(n, i32.const(1)));
      f.branch(again);
    });
  });
  f.return(sum);
  const module = new ModuleBuilder(1, []);
  module.add(f, [I32], "sum");
  return module.finish() as Uint8Array<ArrayBuffer>;
}

type Sum = (n: number) => number;
const instanceOf = (module: WebAssembly.Module): Sum =>
  new WebAssembly.Instance(module, { env: { memory: new WebAssembly.Memory({ initial: 1, maximum: 1 }) } }).exports
    .sum as Sum;

/** Runs the function until V8 has optimized it, on another thread; undefined where this engine gives nothing away. */
async function optimized(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array | undefined> {
  const module = new WebAssembly.Module(bytes);
  const sum = instanceOf(module);
  for (let i = 0; i < 200; i++) {
    for (let k = 0; k < 50; k++) expect(sum(100_000)).toBe(instanceOf(module)(100_000));
    const code = nodeMachineCode.of(module, [sum]);
    if (code !== undefined) return code;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return undefined;
}

const isNode24 = process.versions.v8.startsWith("13.");

describe.runIf(isNode24)("V8's machine code (Node 24)", () => {
  it("is not there before anything is optimized", () => {
    const module = new WebAssembly.Module(sumModule(1));
    expect(nodeMachineCode.of(module, [instanceOf(module)])).toBeUndefined();
    expect(nodeMachineCode.of(module, [])).toBeUndefined();
  });

  it("makes a module again, also in another process", async () => {
    const bytes = sumModule(3);
    const code = (await optimized(bytes)) as Uint8Array;
    expect(code.length).toBeGreaterThan(100);
    const again = nodeMachineCode.module(code, bytes) as WebAssembly.Module;
    expect(instanceOf(again)(7)).toBe(21);
    // A view of a larger buffer.
    const within = new Uint8Array(code.length + 64);
    within.set(code, 64);
    expect(instanceOf(nodeMachineCode.module(within.subarray(64), bytes) as WebAssembly.Module)(9)).toBe(27);
    fs.writeFileSync(join(folder, "code"), code);
    fs.writeFileSync(join(folder, "bytes"), bytes);
    const script = `
      import * as fs from "node:fs";
      import { nodeMachineCode } from ${JSON.stringify(fileURLToPath(new URL("./machine-code.ts", import.meta.url)))};
      const [code, bytes] = ["code", "bytes"].map((name) => new Uint8Array(fs.readFileSync(name)));
      const module = nodeMachineCode.module(code, bytes);
      const env = { memory: new WebAssembly.Memory({ initial: 1, maximum: 1 }) };
      const { sum } = new WebAssembly.Instance(module, { env }).exports;
      console.log(sum(5), nodeMachineCode.of(module, [sum])?.length === code.length);`;
    fs.writeFileSync(join(folder, "other.mts"), script);
    const options = { cwd: folder, encoding: "utf8" } as const;
    expect(execFileSync(process.execPath, ["other.mts"], options)).toBe("15 true\n");
    // Other flags make other code.
    expect(() => execFileSync(process.execPath, ["--no-wasm-bounds-checks", "other.mts"], options)).toThrow();
  });

  it("is there when V8 throws its functions away at the worst moment, to compile them again", async () => {
    const bytes = sumModule(7);
    fs.writeFileSync(join(folder, "flushed"), bytes);
    const script = `
      import * as fs from "node:fs";
      import { nodeMachineCode } from ${JSON.stringify(fileURLToPath(new URL("./machine-code.ts", import.meta.url)))};
      const bytes = new Uint8Array(fs.readFileSync("flushed"));
      const env = { memory: new WebAssembly.Memory({ initial: 1, maximum: 1 }) };
      const module = new WebAssembly.Module(bytes);
      const { sum } = new WebAssembly.Instance(module, { env }).exports;
      // With --stress-flush-code each collection throws away the bytecode of all that is not running.
      function* collecting() {
        for (let i = 0; i < 4; i++) gc();
        yield sum;
      }
      for (let i = 0; i < 1000; i++) {
        for (let k = 0; k < 50; k++) sum(100_000);
        const code = nodeMachineCode.of(module, collecting());
        if (code !== undefined) {
          console.log(new WebAssembly.Instance(nodeMachineCode.module(code, bytes), { env }).exports.sum(3));
          break;
        }
        await new Promise((resolve) => setTimeout(resolve, 1));
      }`;
    fs.writeFileSync(join(folder, "flush.mts"), script);
    const flags = ["--expose-gc", "--stress-flush-code", "flush.mts"];
    expect(execFileSync(process.execPath, flags, { cwd: folder, encoding: "utf8" })).toBe("21\n");
  });

  it("is refused where it is another engine's", async () => {
    const bytes = sumModule(5);
    const code = (await optimized(bytes)) as Uint8Array;
    const other = code.slice();
    other[4] ^= 1;
    expect(nodeMachineCode.module(other, bytes)).toBeUndefined();
    expect(nodeMachineCode.module(code.slice(0, 8), bytes)).toBeUndefined();
    expect(nodeMachineCode.module(new Uint8Array(0), bytes)).toBeUndefined();
  });
});

describe("an engine without machine code to keep", () => {
  it("is done without", () => {
    const script = `
      import { nodeMachineCode } from ${JSON.stringify(fileURLToPath(new URL("./machine-code.ts", import.meta.url)))};
      console.log(nodeMachineCode.of({}, [() => 1]), nodeMachineCode.module(new Uint8Array(8), new Uint8Array(8)));`;
    fs.writeFileSync(join(folder, "strict.mts"), script);
    const flags = ["--disallow-code-generation-from-strings", "strict.mts"];
    const printed = execFileSync(process.execPath, flags, { cwd: folder, encoding: "utf8" });
    expect(printed).toBe("undefined undefined\n");
  });
});
