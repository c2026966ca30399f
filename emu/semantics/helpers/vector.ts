import { AES_HELPERS } from "./aes.ts";
import { EVEX_FLOAT_HELPERS } from "./evex-float.ts";
import { FLOAT_CONVERT_HELPERS } from "./float-convert.ts";
import { FMA_HELPERS } from "./fma.ts";
import { GALOIS_HELPERS } from "./galois.ts";
import type { Helper } from "./helper.ts";
import { MULTISHIFT_HELPERS } from "./multishift.ts";
import { PACKED_FLOAT_HELPERS } from "./packed-float.ts";
import { SOFT_FLOAT_HELPERS } from "./soft-float.ts";
import { STRING_COMPARE_HELPERS } from "./string-compare.ts";

/** Helper functions of the vector and floating-point instructions. */
export const VECTOR_HELPERS: readonly Helper[] = [
  ...SOFT_FLOAT_HELPERS,
  ...PACKED_FLOAT_HELPERS,
  ...FLOAT_CONVERT_HELPERS,
  ...FMA_HELPERS,
  ...STRING_COMPARE_HELPERS,
  ...AES_HELPERS,
  ...GALOIS_HELPERS,
  ...EVEX_FLOAT_HELPERS,
  ...MULTISHIFT_HELPERS,
];
