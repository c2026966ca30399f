import { readFileSync } from "node:fs";
import { cachedDataVersionTag } from "node:v8";
import type { HandlerPack, PackModule } from "../emu/interpreter/handlers.ts";
import { compileOnce } from "../emu/interpreter/instantiate.ts";
import { nodeMachineCode } from "../host/node/machine-code.ts";

/** The file with the machine code that this version of V8 makes of a pack's module, with the flags that it has now. */
export const machineCodeFile = (name: PackModule): string => `${name}.${cachedDataVersionTag().toString(16)}.machine`;

/**
 * What the build made ahead of time (scripts/pack-handlers.mjs), with machine code of the handlers if the build was made
 * with the same version of V8 for the same kind of processor (scripts/code-cache.mjs).
 * @param folder URL of a file in the build, or of its folder
 * @returns undefined where there is no pack, as beside goemu's sources
 */
export function readHandlerPack(folder: string | URL): (HandlerPack & { readonly build: string }) | undefined {
  const text = readIfThere(new URL("pack.json", folder));
  if (text === undefined) return undefined;
  const { build, keys, sequences, helpers, sections } = JSON.parse(text.toString("utf8"));
  const bytes = readFileSync(new URL("pack.bin", folder));
  const section = (name: string): Uint8Array => bytes.subarray(sections[name][0], sections[name][1]);
  // Compiled once: each core of a machine makes instances of its own.
  const compiled = new Map<PackModule, WebAssembly.Module>();
  return {
    ...{ build, keys, sequences, helpers },
    core: section("core"),
    tables: section("tables"),
    module: section("module"),
    helperModule: section("helperModule"),
    fusion: section("fusion"),
    templates: section("templates"),
    instantiate(name, module, imports) {
      let known = compiled.get(name);
      if (known === undefined) {
        const code = readIfThere(new URL(machineCodeFile(name), folder));
        known = (code && machineCodeOf(code, module)) ?? compileOnce(module);
        compiled.set(name, known);
      }
      return new WebAssembly.Instance(known, imports);
    },
  };
}

/** A module with its machine code; where that fails, V8 compiles it. */
function machineCodeOf(code: Uint8Array, module: Uint8Array): WebAssembly.Module | undefined {
  try {
    return nodeMachineCode.module(code, module);
  } catch {
    return undefined;
  }
}

function readIfThere(file: URL): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
