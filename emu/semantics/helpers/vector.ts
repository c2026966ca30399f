import { FLOAT_CONVERT_HELPERS } from "./float-convert.ts";
import type { Helper } from "./helper.ts";
import { PACKED_FLOAT_HELPERS } from "./packed-float.ts";
import { SOFT_FLOAT_HELPERS } from "./soft-float.ts";

/** Helper functions of the vector and floating-point instructions. */
export const VECTOR_HELPERS: readonly Helper[] = [
  ...SOFT_FLOAT_HELPERS,
  ...PACKED_FLOAT_HELPERS,
  ...FLOAT_CONVERT_HELPERS,
];
