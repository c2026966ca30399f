// Functions of goemu's own that V8 has compiled ahead of time.
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { codeCacheOf, loadCompiled, run, scriptOf } from "./code-cache.ts";

const folder = fs.mkdtempSync(join(tmpdir(), "goemu-code-cache-"));
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** A CommonJS file that exports a function of what it was loaded as. */
function write(name: string, text: string): string {
  const file = join(folder, name);
  fs.writeFileSync(file, text);
  return file;
}

const TEXT =
  "exports.twice = (n) => 2 * n; exports.here = [__filename, __dirname, typeof require, module.exports === exports];";
type Loaded = { twice: (n: number) => number; here: unknown[] };

describe("a file of the build", () => {
  it("is a module like any other, compiled or not", () => {
    const file = write("plain.cjs", TEXT);
    const script = scriptOf(file);
    const plain = run(script, file) as Loaded;
    expect(plain.twice(21)).toBe(42);
    expect(plain.here).toEqual([file, folder, "function", true]);
    fs.writeFileSync(codeCacheOf(file), script.createCachedData());
    expect(scriptOf(file, fs.readFileSync(codeCacheOf(file))).cachedDataRejected).toBe(false);
    const loaded = loadCompiled(pathToFileURL(file)) as Loaded;
    expect(loaded.twice(4)).toBe(8);
    expect(loaded.here).toEqual(plain.here);
  });

  it("is compiled here where nothing is there, or what V8 does not take", () => {
    const bare = write("bare.cjs", TEXT);
    expect((loadCompiled(pathToFileURL(bare)) as Loaded).twice(3)).toBe(6);
    const other = write("other.cjs", TEXT);
    fs.writeFileSync(codeCacheOf(other), scriptOf(write("longer.cjs", `${TEXT} `)).createCachedData());
    expect((loadCompiled(pathToFileURL(other)) as Loaded).here[0]).toBe(other);
    const damaged = write("damaged.cjs", TEXT);
    fs.writeFileSync(codeCacheOf(damaged), Buffer.alloc(100));
    expect((loadCompiled(pathToFileURL(damaged)) as Loaded).twice(5)).toBe(10);
  });

  it("comes with what the command's V8 takes: of its functions, and of the interpreter's handlers", () => {
    const url = (relative: string): string => JSON.stringify(new URL(relative, import.meta.url).href);
    const program = `
      import { existsSync, readFileSync } from "node:fs";
      import { setFlagsFromString } from "node:v8";
      import { fileURLToPath } from "node:url";
      import { machineCodeFile, readHandlerPack } from ${url("../../cli/handler-pack.ts")};
      import { V8_FLAGS } from ${url("../../cli/v8-flags.ts")};
      import { codeCacheOf, scriptOf } from ${url("./code-cache.ts")};
      import { nodeMachineCode } from ${url("./machine-code.ts")};
      for (const flag of V8_FLAGS) setFlagsFromString(flag);
      const dist = ${url("../../dist/")};
      const rejected = ["main.cjs", "compiler-service.cjs", "iced_x86.cjs"].map((name) => {
        const file = fileURLToPath(dist + name);
        return scriptOf(file, readFileSync(codeCacheOf(file))).cachedDataRejected;
      });
      const pack = readHandlerPack(dist);
      const taken = ["core", "module"].map((name) => {
        const file = new URL(machineCodeFile(name), dist);
        return existsSync(file) && nodeMachineCode.module(readFileSync(file), pack[name]) instanceof WebAssembly.Module;
      });
      // An engine that gives no machine code away takes none.
      const gives = nodeMachineCode.module(new Uint8Array(8), pack.core) !== undefined || taken.some(Boolean);
      console.log(JSON.stringify({ rejected, taken: gives ? taken : "nothing to take" }));
    `;
    const file = write("taken.mts", program);
    const { stdout, stderr } = spawnSync(process.execPath, [file], { encoding: "utf8" });
    expect(stderr).toBe("");
    const taken = process.versions.v8.startsWith("13.") ? [true, true] : "nothing to take";
    expect(JSON.parse(stdout)).toEqual({ rejected: [false, false, false], taken });
  });
});
