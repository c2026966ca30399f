/** An instance of a module that is compiled here and now. */
export const instantiate = (bytes: Uint8Array, imports: WebAssembly.Imports): WebAssembly.Instance =>
  new WebAssembly.Instance(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>), imports);
