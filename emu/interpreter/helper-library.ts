import type { Helper } from "../semantics/helpers/helper.ts";
import { HELPERS } from "../semantics/helpers/index.ts";
import { call } from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { translatedModule } from "./translated-module.ts";

const byName = new Map(HELPERS.map((helper) => [helper.name, helper]));

function helperOf(name: string): Helper {
  const helper = byName.get(name);
  if (helper === undefined) throw new Error(`no helper ${name}`);
  return helper;
}

/**
 * The helper functions of the semantics, made when code first calls them, with what they call themselves: most programs
 * need few of them, and making all takes longer than the rest of a start.
 */
export class HelperLibrary {
  /** Imports of every module of translated code; helpers are added to it as they are made. */
  readonly #imports: Record<string, WebAssembly.ImportValue>;
  readonly #made = new Set<string>();

  constructor(imports: Record<string, WebAssembly.ImportValue>) {
    this.#imports = imports;
  }

  /** Lets a module call a helper; returns the function's index there. Comes before the module's own functions. */
  importInto(module: ModuleBuilder, name: string): number {
    const { params, result } = helperOf(name);
    this.#make(name);
    return module.import(name, { params, results: [result] });
  }

  /** Makes sure that a helper is there. */
  require(name: string): void {
    this.#make(name);
  }

  #make(name: string): void {
    if (this.#made.has(name)) return;
    const wanted = new Map<string, Helper>();
    const known = new Set<string>();
    const visit = (helper: Helper): void => {
      if (this.#made.has(helper.name)) {
        known.add(helper.name);
        return;
      }
      if (wanted.has(helper.name)) return;
      wanted.set(helper.name, helper);
      // A trial run tells whom it calls.
      helper.build(new FunctionBuilder(helper.params), (callee, result, args) => {
        visit(helperOf(callee));
        return call(result, 0, args);
      });
    };
    visit(helperOf(name));
    const module = translatedModule();
    const indices = new Map<string, number>();
    for (const other of known) {
      const { params, result } = helperOf(other);
      indices.set(other, module.import(other, { params, results: [result] }));
    }
    for (const helper of wanted.values()) indices.set(helper.name, indices.size);
    for (const helper of wanted.values()) {
      const builder = new FunctionBuilder(helper.params);
      helper.build(builder, (callee, result, args) => call(result, indices.get(callee) as number, args));
      module.add(builder, [helper.result], helper.name);
      this.#made.add(helper.name);
    }
    const bytes = module.finish() as Uint8Array<ArrayBuffer>;
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: this.#imports });
    Object.assign(this.#imports, exports);
  }
}
