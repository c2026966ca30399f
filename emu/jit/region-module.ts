import {
  COUNT_SIGNATURE,
  GO_ON_SIGNATURE,
  REPLACE_SIGNATURE,
  SLOW_SIGNATURE,
  TIMESTAMP_SIGNATURE,
} from "../interpreter/core-module.ts";
import { helperSignature } from "../interpreter/helper-module.ts";
import { emptyRegionModule, REGION_PARAMS, REGION_RESULTS } from "../interpreter/translated-module.ts";
import { patchNumber } from "../wasm/bytes.ts";
import type { FunctionBody } from "../wasm/module.ts";

/** A region's function, and where it goes in the table. */
export interface RegionFunction {
  /** Guest address of the region's start. */
  readonly start: number;
  readonly slot: number;
  /** What profilers of the host are to call it. */
  readonly name: string;
  readonly body: FunctionBody;
  readonly calls: readonly CallSite[];
}

/**
 * A guest call of a known address, as a direct call of a function of the same module in place of one through the table:
 * taken if the target's region is in the table slot that it had when the module was made.
 */
export interface CallSite {
  readonly target: number;
  /** Offsets in the body of the slot, SLOT_BYTES, and of the function's index, INDEX_BYTES. */
  readonly slotAt: number;
  readonly indexAt: number;
}

export const SLOT_BYTES = 3;
export const INDEX_BYTES = 3;
/** No region is there: the target is not in the module. */
const NO_SLOT = -1;

/** Imports of every module of regions: these, then the helpers in the order in which they came up. */
export const SLOW = 0;
export const GO_ON = 1;
export const TIMESTAMP = 2;
export const COUNT_CALL = 3;
export const COUNT_REPLACE = 4;
export const COUNT_RESUMED = 5;
export const FIRST_HELPER = 6;

/** A module that puts regions' functions into the table. */
export function regionModule(functions: readonly RegionFunction[], helpers: readonly string[]): Uint8Array {
  const module = emptyRegionModule();
  module.import("slowRegion", SLOW_SIGNATURE);
  module.import("goOn", GO_ON_SIGNATURE);
  module.import("timestamp", TIMESTAMP_SIGNATURE);
  module.import("countCall", COUNT_SIGNATURE);
  module.import("countReplace", REPLACE_SIGNATURE);
  module.import("countResumed", COUNT_SIGNATURE);
  for (const name of helpers) module.import(name, helperSignature(name));
  const first = module.functionCount;
  const places = new Map(functions.map(({ start, slot }, i) => [start, { slot, index: first + i }]));
  for (const [i, { slot, name, body, calls }] of functions.entries()) {
    // In place: every module that the body comes into sets them.
    for (const { target, slotAt, indexAt } of calls) {
      const place = places.get(target) ?? { slot: NO_SLOT, index: first + i };
      patchNumber(body.code, slotAt, SLOT_BYTES, place.slot);
      patchNumber(body.code, indexAt, INDEX_BYTES, place.index);
    }
    const type = { params: REGION_PARAMS, results: REGION_RESULTS };
    module.place(slot, [module.addBody(body, type, undefined, name)]);
  }
  return module.finish();
}
