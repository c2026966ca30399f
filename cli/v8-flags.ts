/**
 * What V8 is told before anything is loaded. Code that V8 has compiled is kept for one set of flags
 * (scripts/code-cache.mjs): whoever loads or makes it sets these first.
 */
export const V8_FLAGS: readonly string[] = [
  // Translated code tells which branches are rare; without the flag V8 does not listen.
  "--experimental-wasm-branch-hinting",
  // Each function and each turn of a loop would look whether the stack overflows or V8 wants something. Translated code
  // counts its calls (MAX_DEPTH in emu/interpreter/core-module.ts), and comes back to V8 when its fuel is used up.
  "--no-wasm-stack-checks",
];
