import type { ModuleBuilder } from "../wasm/module.ts";
import { buildHelpers, helperSignature } from "./helper-module.ts";
import { instantiate, instantiateShared } from "./instantiate.ts";

/**
 * The helper functions of the semantics, made when code first calls them, with what they call themselves: most programs
 * need few of them, and making all takes longer than the rest of a start.
 */
export class HelperLibrary {
  /** Imports of every module of translated code; helpers are added to it as they are made. */
  readonly #imports: Record<string, WebAssembly.ImportValue>;
  readonly #made = new Set<string>();
  /** The modules that they came in, in their order. */
  readonly #modules: { readonly names: readonly string[]; readonly module: Uint8Array }[] = [];

  constructor(imports: Record<string, WebAssembly.ImportValue>) {
    this.#imports = imports;
  }

  /** Lets a module call a helper; returns the function's index there. Comes before the module's own functions. */
  importInto(module: ModuleBuilder, name: string): number {
    this.require(name);
    return module.import(name, helperSignature(name));
  }

  /** Makes sure that a helper is there. */
  require(name: string): void {
    if (this.#made.has(name)) return;
    const { names, module } = HelperLibrary.build([name], this.#made);
    this.load(names, module);
  }

  /**
   * A module of helpers and of those that they call.
   * @param made helpers that are there already: the module imports them
   */
  static build(wanted: readonly string[], made: ReadonlySet<string>): { names: string[]; module: Uint8Array } {
    return buildHelpers(wanted, made);
  }

  /** Has the helpers that another core has. */
  inherit(from: HelperLibrary): void {
    for (const { names, module } of from.#modules) {
      if (!names.every((name) => this.#made.has(name))) this.load(names, module, instantiateShared);
    }
  }

  /** Takes over helpers that `build` made. */
  load(names: readonly string[], module: Uint8Array, make = instantiate): void {
    this.#modules.push({ names, module });
    const { exports } = make(module, { env: this.#imports });
    Object.assign(this.#imports, exports);
    for (const name of names) this.#made.add(name);
  }
}
