/** An instance of a module that is compiled here and now. */
export const instantiate = (bytes: Uint8Array, imports: WebAssembly.Imports): WebAssembly.Instance =>
  new WebAssembly.Instance(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>), imports);

const compiled = new WeakMap<Uint8Array, WebAssembly.Module>();

/** A module that several cores make instances of: compiled when the first of them wants it. */
export function compileOnce(bytes: Uint8Array): WebAssembly.Module {
  const known = compiled.get(bytes);
  if (known !== undefined) return known;
  const module = new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  compiled.set(bytes, module);
  return module;
}

/** An instance of such a module. */
export const instantiateShared = (bytes: Uint8Array, imports: WebAssembly.Imports): WebAssembly.Instance =>
  new WebAssembly.Instance(compileOnce(bytes), imports);
