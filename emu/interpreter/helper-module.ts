import { HELPER_TABLES } from "../layout.ts";
import type { Helper } from "../semantics/helpers/helper.ts";
import { HELPERS, TABLES } from "../semantics/helpers/index.ts";
import { call } from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import type { Signature } from "../wasm/module.ts";
import { handlerModule } from "./translated-module.ts";

const byName = new Map(HELPERS.map((helper) => [helper.name, helper]));

function helperOf(name: string): Helper {
  const helper = byName.get(name);
  if (helper === undefined) throw new Error(`no helper ${name}`);
  return helper;
}

export function helperSignature(name: string): Signature {
  const { params, result } = helperOf(name);
  return { params, results: [result] };
}

/** The constant tables of the semantics, as they lie from HELPER_TABLES on. */
export function helperTables(): Uint8Array {
  const end = Math.max(...TABLES.map(({ address, bytes }) => address + bytes.length));
  const all = new Uint8Array(end - HELPER_TABLES);
  for (const { address, bytes } of TABLES) all.set(bytes, address - HELPER_TABLES);
  return all;
}

/** A module of helpers and of all that they call but what is `made`, which it imports. */
export function buildHelpers(
  names: readonly string[],
  made: ReadonlySet<string>,
): { names: string[]; module: Uint8Array } {
  const wanted = new Map<string, Helper>();
  const known = new Set<string>();
  const visit = (helper: Helper): void => {
    if (made.has(helper.name)) {
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
  for (const name of names) visit(helperOf(name));
  const module = handlerModule();
  const indices = new Map<string, number>();
  for (const name of known) indices.set(name, module.import(name, helperSignature(name)));
  for (const helper of wanted.values()) indices.set(helper.name, indices.size);
  for (const helper of wanted.values()) {
    const builder = new FunctionBuilder(helper.params);
    helper.build(builder, (callee, result, args) => call(result, indices.get(callee) as number, args));
    module.add(builder, [helper.result], helper.name);
  }
  return { names: [...wanted.keys()], module: module.finish() };
}
