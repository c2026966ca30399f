import type { ModuleBuilder } from "../wasm/module.ts";
import { buildHelpers, helperSignature } from "./helper-module.ts";
import { instantiateShared } from "./instantiate.ts";
import type { KnownForms } from "./known-forms.ts";

/**
 * The helper functions of the semantics, made when code first calls them, with what they call themselves: most programs
 * need few of them, and making all takes longer than the rest of a start.
 */
export class HelperLibrary {
  /** Imports of every module of translated code; helpers are added to it as they are made. */
  readonly #imports: Record<string, WebAssembly.ImportValue>;
  readonly #made = new Set<string>();
  #known: KnownForms;
  /** Of the modules that cores of the machine have made, how many have been looked at. */
  #seen = 0;

  constructor(imports: Record<string, WebAssembly.ImportValue>, known: KnownForms) {
    this.#imports = imports;
    this.#known = known;
  }

  /** Belongs to other cores from now on; what there is stays. */
  join(known: KnownForms): void {
    this.#known = known;
    this.#seen = 0;
  }

  /** Lets a module call a helper; returns the function's index there. Comes before the module's own functions. */
  importInto(module: ModuleBuilder, name: string): number {
    this.require(name);
    return module.import(name, helperSignature(name));
  }

  /** Makes sure that a helper is there. */
  require(name: string): void {
    if (this.#made.has(name)) return;
    const { helperModules } = this.#known;
    // A module imports what the core that made it had: all before it, and what that one had taken with it to them (join).
    for (; this.#seen < helperModules.length; this.#seen++) {
      const { names, module } = helperModules[this.#seen];
      if (!names.every((each) => this.#made.has(each))) this.load(names, module);
    }
    if (this.#made.has(name)) return;
    const made = HelperLibrary.build([name], this.#made);
    helperModules.push(made);
    this.#seen++;
    this.load(made.names, made.module);
  }

  /**
   * A module of helpers and of those that they call.
   * @param made helpers that are there already: the module imports them
   */
  static build(wanted: readonly string[], made: ReadonlySet<string>): { names: string[]; module: Uint8Array } {
    return buildHelpers(wanted, made);
  }

  /** Takes over helpers that `build` made. */
  load(names: readonly string[], module: Uint8Array, make = instantiateShared): void {
    const { exports } = make(module, { env: this.#imports });
    Object.assign(this.#imports, exports);
    for (const name of names) this.#made.add(name);
  }
}
