import { DIVIDE_128 } from "./divide.ts";
import type { Helper } from "./helper.ts";
import { VECTOR_HELPERS } from "./vector.ts";

export { TABLES } from "./tables.ts";

/** Every shared helper function; instantiated once, before the first handler. */
export const HELPERS: readonly Helper[] = [DIVIDE_128, ...VECTOR_HELPERS];
