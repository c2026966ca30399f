import { WASM_PAGES } from "../layout.ts";
import { I32, I64 } from "../wasm/expr.ts";
import { ModuleBuilder, type TableType } from "../wasm/module.ts";
import { HANDLER_PARAMS } from "./record-translator.ts";
import { HANDLER_SLOTS, REGION_SLOTS } from "./slots.ts";

/**
 * Address of the CPU state, calls that may still be put on the host's stack (negative: nobody waits, and the state has
 * them), fuel, and RSP.
 */
export const REGION_PARAMS = [I32, I32, I64, I64] as const;
/** An address to go on at or an exit code, and the fuel that is left. */
export const REGION_RESULTS = [I32, I64] as const;

const HANDLERS: TableType = {
  name: "table",
  slots: HANDLER_SLOTS,
  signature: { params: HANDLER_PARAMS, results: [I32] },
};
const REGIONS: TableType = {
  name: "regions",
  slots: REGION_SLOTS,
  signature: { params: REGION_PARAMS, results: REGION_RESULTS },
};

/** An empty module of handlers and what they call. */
export const handlerModule = (): ModuleBuilder => new ModuleBuilder(WASM_PAGES, [HANDLERS]);

/** An empty module of regions. */
export const emptyRegionModule = (): ModuleBuilder => new ModuleBuilder(WASM_PAGES, [REGIONS]);

/** An empty module that makes the tables which all others import: of handlers, and of regions. */
export const ownerModule = (): ModuleBuilder => new ModuleBuilder(WASM_PAGES, [HANDLERS, REGIONS], true);
