/** Functions of WASI (preview 1) that Node has and offers to WebAssembly alone. */
export interface WasiFunctions {
  /** WASI: clockid and such. All return an error number. */
  poll_oneoff(subscriptions: number, events: number, count: number, told: number): number;
  fd_seek(fd: number, offset: bigint, whence: number, result: number): number;
}

/**
 * Node's WebAssembly system interface for one descriptor, which is its standard input (0). Node has no other way to poll(2)
 * or lseek(2).
 * @returns its functions, and the memory in which they find and leave what does not fit into arguments
 * @throws Error if Node can't do that
 */
export function wasiFor(fd: number): { functions: WasiFunctions; view: DataView } {
  const { WASI } = quietly(() => process.getBuiltinModule("node:wasi"));
  const wasi = new WASI({ version: "preview1", stdin: fd, stdout: fd, stderr: fd });
  const memory = new WebAssembly.Memory({ initial: 1 });
  wasi.initialize({ exports: { memory } });
  return { functions: wasi.wasiImport as unknown as WasiFunctions, view: new DataView(memory.buffer) };
}

const SEEK_SET = 0;

/** Sets the offset of an open file description (lseek(2)); false where that can't be had. */
export function moveOffset(fd: number, offset: number): boolean {
  try {
    return wasiFor(fd).functions.fd_seek(0, BigInt(offset), SEEK_SET, 0) === 0;
  } catch {
    return false;
  }
}

/** Runs something without Node's word that a part of it is experimental: standard error is the guest's. */
function quietly<T>(run: () => T): T {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return run();
  } finally {
    process.emitWarning = emitWarning;
  }
}
