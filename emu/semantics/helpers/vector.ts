import type { Helper } from "./helper.ts";

/** Helper functions of the vector and floating-point instructions. */
export const VECTOR_HELPERS: readonly Helper[] = [];
