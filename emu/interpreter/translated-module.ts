import { WASM_PAGES } from "../layout.ts";
import { I32 } from "../wasm/expr.ts";
import { ModuleBuilder } from "../wasm/module.ts";
import { HANDLER_PARAMS } from "./record-translator.ts";
import { ENTER_HANDLER, TABLE_SLOTS } from "./slots.ts";

export { ENTER_HANDLER, TABLE_SLOTS };

/**
 * An empty module of translated code: handlers and regions have the same signature, so that each can call the other.
 * @param ownsTable it makes the table that all others import
 */
export function translatedModule(ownsTable = false): ModuleBuilder {
  return new ModuleBuilder(WASM_PAGES, TABLE_SLOTS, { params: HANDLER_PARAMS, results: [I32] }, ownsTable);
}
