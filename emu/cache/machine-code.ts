/**
 * What the host's WebAssembly engine has made of a module, to be used again by the same engine on the same kind of
 * processor. Engines have no interface for that which all of them offer; without one, modules are compiled again.
 */
export interface MachineCode {
  /**
   * The machine code of the functions that the engine has optimized so far.
   * @param functions some of the module's functions: they are looked at until one is found that has been optimized
   * @returns undefined if none has, or the engine keeps it to itself
   */
  of(module: WebAssembly.Module, functions: Iterable<unknown>): Uint8Array | undefined;
  /**
   * A module with its machine code.
   * @param code what `of` has returned for a module of the very same bytes: the engine cannot tell
   * @returns undefined if it was made by another engine, or for another processor
   */
  module(code: Uint8Array, bytes: Uint8Array): WebAssembly.Module | undefined;
}
