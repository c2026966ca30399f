import { STATE } from "../cpu/state.ts";
import { BLOCK_LOG, BLOCK_LOG_END, PAGE_SHIFT, PERM_MAP, PERM_READ_SPAN, PROT_READ, TASK_SIZE } from "../layout.ts";
import { call, I32, type I32Expr, I64, type I64Expr, i32, i64 } from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import type { RegionCounting } from "./region-counts.ts";
import { SHARED } from "./template.ts";

/**
 * An entry of the block log: a thread is about to go on with a block. 48 bytes; addresses have 64 bits. The Go fields are
 * 0 where they cannot be read, and in programs without them.
 */
export const BLOCK_LOG_ENTRY = {
  /** Where the block starts. */
  address: 0,
  /** RSP there. */
  rsp: 8,
  /** The low half of the thread's fuel: the difference of two entries is how many instructions ran between them. */
  fuel: 16,
  /** The word at FS base + `BlockLog.tlsOffset`: Go's g. */
  g: 24,
  /** The first two words behind g: runtime.g's stack.lo and stack.hi. */
  low: 32,
  high: 40,
} as const;
export const BLOCK_LOG_ENTRY_SIZE = 48;
/** Entries that there is room for. */
export const BLOCK_LOG_ENTRIES = Math.floor((BLOCK_LOG_END - BLOCK_LOG) / BLOCK_LOG_ENTRY_SIZE);

/** Makes handlers leave each block by `follow` (core-module.ts): the place is hot at once. */
export const LOGGED_HEAT = -1;

/**
 * Which blocks a thread runs, one after the other, written by the interpreter without leaving WebAssembly. Handlers need
 * not know of it: while there is a log each place is hot, so that each block ends in `follow`, which writes an entry.
 */
export class BlockLog {
  /** Keeps what regions count: those of a log that has nobody are not entered. */
  counting: RegionCounting | undefined;
  /** Reads and empties the log: it is full, or `run` is over. `entries` are there, from BLOCK_LOG on. */
  readonly #drain: (entries: number) => void;
  readonly #view: DataView;

  /**
   * @param tlsOffset where in a thread's own memory Go's g is, from the FS base on; undefined: nowhere
   * @param entries that are written until `drain` is called
   */
  constructor(
    view: DataView,
    tlsOffset: number | undefined,
    drain: (entries: number) => void,
    entries = BLOCK_LOG_ENTRIES,
  ) {
    this.#view = view;
    this.#drain = drain;
    view.setUint32(SHARED.logEnd, BLOCK_LOG + entries * BLOCK_LOG_ENTRY_SIZE, true);
    view.setUint32(SHARED.logHasTls, tlsOffset === undefined ? 0 : 1, true);
    view.setBigInt64(SHARED.logTlsOffset, BigInt(tlsOffset ?? 0), true);
    view.setUint32(SHARED.logNext, BLOCK_LOG, true);
  }

  get isFull(): boolean {
    return this.#view.getUint32(SHARED.logNext, true) >= this.#view.getUint32(SHARED.logEnd, true);
  }

  /** No guest code stands on the host's stack. */
  unwound(): void {
    if (this.isFull) this.drain();
    this.counting?.unwound();
  }

  drain(): void {
    const entries = (this.#view.getUint32(SHARED.logNext, true) - BLOCK_LOG) / BLOCK_LOG_ENTRY_SIZE;
    this.#view.setUint32(SHARED.logNext, BLOCK_LOG, true);
    if (entries > 0) this.#drain(entries);
  }

  /** Instructions that the interpreter may still run before its place is noted as hot. */
  get heat(): number {
    return this.#view.getInt32(SHARED.logHeat, true);
  }

  set heat(instructions: number) {
    this.#view.setInt32(SHARED.logHeat, instructions, true);
  }

  /** Nothing is written from now on. */
  close(): void {
    this.#view.setUint32(SHARED.logNext, 0, true);
  }
}

/** Where the next entry goes; 0 while there is no log. */
export const nextLogEntry = (): I32Expr => i32.load(i32.const(0), SHARED.logNext);
export const isLogFull = (): I32Expr =>
  i32.geU(i32.load(i32.const(0), SHARED.logNext), i32.load(i32.const(0), SHARED.logEnd));

export const LOG_SIGNATURE = { params: [I32, I32, I64], results: [] } as const;
export const PEEK_SIGNATURE = { params: [I32, I64], results: [I64] } as const;

/** peek(cpu, address): the aligned word of guest memory at an address; 0 where it cannot be read. */
export function buildPeek(slow: number): FunctionBuilder {
  const f = new FunctionBuilder(PEEK_SIGNATURE.params);
  const address = f.param(1, I64);
  f.if(i64.ltU(address, i64.const(2 ** 32)), () => {
    const host = f.let(i32.wrap(address));
    // Below 4 GiB, what lies outside the window has no right in this map (inWindow in layout.ts).
    const permission = i32.load8u(i32.shrU(host, i32.const(PAGE_SHIFT)), PERM_MAP);
    f.if(i32.and(permission, i32.const(PERM_READ_SPAN)), () => f.return(i64.load(host)));
  });
  f.if(i64.geU(address, i64.const(TASK_SIZE)), () => f.return(i64.const(0)));
  const host = f.let(call(I32, slow, [f.param(0, I32), address, i32.const(8), i32.const(PROT_READ)]));
  f.if(host, () => f.return(i64.load(host)));
  f.return(i64.const(0));
  return f;
}

/** log(cpu, entry, target): writes an entry, for a thread that goes on at `target`; there is room. */
export function buildLog(peek: number): FunctionBuilder {
  const f = new FunctionBuilder(LOG_SIGNATURE.params);
  const cpu = f.param(0, I32);
  const entry = f.param(1, I32);
  const read = (address: I64Expr): I64Expr => call(I64, peek, [cpu, address]);
  f.storeInt(64, entry, f.param(2, I64), BLOCK_LOG_ENTRY.address);
  f.storeInt(64, entry, i64.load(cpu, STATE.gpr + 32), BLOCK_LOG_ENTRY.rsp);
  f.storeInt(64, entry, i64.load(cpu, STATE.fuel), BLOCK_LOG_ENTRY.fuel);
  const g = f.local(I64);
  const low = f.local(I64);
  const high = f.local(I64);
  for (const word of [g, low, high]) f.set(word, i64.const(0));
  const base = f.let(i64.load(cpu, STATE.fsBase));
  const hasTls = i32.load(i32.const(0), SHARED.logHasTls);
  f.if(i32.and(hasTls, i64.ne(base, i64.const(0))), () => {
    f.set(g, read(i64.add(base, i64.load(i32.const(0), SHARED.logTlsOffset))));
    f.if(i64.ne(g, i64.const(0)), () => {
      f.set(low, read(g));
      f.set(high, read(i64.add(g, i64.const(8))));
    });
  });
  f.storeInt(64, entry, g, BLOCK_LOG_ENTRY.g);
  f.storeInt(64, entry, low, BLOCK_LOG_ENTRY.low);
  f.storeInt(64, entry, high, BLOCK_LOG_ENTRY.high);
  f.storeI32(i32.const(0), i32.add(entry, i32.const(BLOCK_LOG_ENTRY_SIZE)), SHARED.logNext);
  f.return();
  return f;
}
