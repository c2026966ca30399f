import { I32, I64, type I64Expr, i32, i64 } from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import { ModuleBuilder } from "../wasm/module.ts";

/** Bytes that are looked at in one call. */
const PAGES = 16;
const WINDOW = PAGES * 0x1_0000;
/** Odd, with bits all over: 2^64 divided by the golden ratio, and a prime of xxHash's. */
const GOLDEN = 0x9e37_79b9_7f4a_7c15n;
const PRIME = 0xc2b2_ae3d_27d4_eb4fn;

/**
 * A 64-bit checksum of bytes, unsigned, against damage, not against malice: each word of 8 bytes goes through steps that
 * lose nothing, so that a change of one word always shows. In WebAssembly, since a start of goemu waits for it.
 */
export function checksum(bytes: Uint8Array): bigint {
  folder ??= makeFolder();
  const { window, fold } = folder;
  let hash = BigInt(bytes.length);
  for (let at = 0; at < bytes.length; at += WINDOW) {
    const piece = bytes.subarray(at, Math.min(at + WINDOW, bytes.length));
    window.set(piece);
    const whole = Math.ceil(piece.length / 8) * 8;
    window.fill(0, piece.length, whole);
    hash = fold(whole, hash);
  }
  return BigInt.asUintN(64, hash);
}

interface Folder {
  readonly window: Uint8Array;
  readonly fold: (length: number, hash: bigint) => bigint;
}

let folder: Folder | undefined;

function makeFolder(): Folder {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  const module = new ModuleBuilder(PAGES, []);
  module.add(buildFold(), [I64], "fold");
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.finish() as Uint8Array<ArrayBuffer>), {
    env: { memory },
  });
  return { window: new Uint8Array(memory.buffer), fold: exports.fold as Folder["fold"] };
}

/** fold(length, hash): the hash with the first `length` bytes of memory, a multiple of 8. */
function buildFold(): FunctionBuilder {
  const f = new FunctionBuilder([I32, I64]);
  const length = f.param(0, I32);
  const hash = f.param(1, I64);
  const at = f.local(I32);
  const step = (word: I64Expr): I64Expr =>
    i64.mul(i64.rotl(i64.xor(hash, i64.mul(word, i64.const(PRIME))), i64.const(29)), i64.const(GOLDEN));
  f.block((exit) => {
    f.loop((again) => {
      f.branchIf(exit, i32.geU(at, length));
      f.set(hash, step(i64.load(at)));
      f.set(at, i32.add(at, i32.const(8)));
      f.branch(again);
    });
  });
  f.return(i64.xor(hash, i64.shrU(hash, i64.const(32))));
  return f;
}
