import {
  BLOCK_INDEX,
  BLOCK_INDEX_BITS,
  LOOKUP_BITS,
  LOOKUP_TABLE,
  PAGE_SHIFT,
  PERM_CODE,
  PERM_MAP,
  PROT_EXEC,
  RECORDS_END,
  WINDOW_END,
} from "../layout.ts";
import { call, F64, I32, type I32Expr, I64, type I64Expr, i32, i64, type LocalRef, select } from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { addFusion } from "./fusion.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import { ENTER_HANDLER, STALE_HANDLER } from "./slots.ts";
import { DECODED, MAX_BLOCK, MAX_INDEXED, SHARED } from "./template.ts";
import { addTemplates } from "./template-module.ts";

/** Longest block, in bytes. */
const MAX_BLOCK_BYTES = MAX_BLOCK * 15;
const INDEX_ENTRY = 16;

const RESOLVE_SIGNATURE = { params: [I64, I32], results: [I32] } as const;
const RESOLVE_INDIRECT_SIGNATURE = { params: [I64], results: [I32] } as const;

/** Functions that the core module's others call, by their indices. */
export interface TranslatorFunctions {
  /** find(address: i64): the record of the block at an address, or 0. */
  readonly find: number;
  readonly resolve: number;
  readonly resolveIndirect: number;
}

/** What TypeScript calls. Addresses of guest code are i64 where they may lie outside the window. */
export interface TranslatorExports {
  /** Record of the block at an address; 0 if there is none. */
  /** As a double: no BigInt is made on the way here. */
  findAt(address: number): number;
  insert(address: bigint, record: number): void;
  remove(address: bigint): void;
  dropRange(start: bigint, end: bigint): void;
  head(address: number): number;
  shape(address: number, length: number): number;
  decode(address: number, record: number, count: number, most: number, limit: number, pageEnd: number): number;
  /** Address of the template with a key, as two little-endian words; 0 if there is none. */
  search(low: bigint, high: bigint): number;
  indexTemplates(first: number, end: number): void;
  fuse(record: number, end: number): void;
  restore(first: number, end: number): number;
}

const c = (value: number): I32Expr => i32.const(value);
const shared = (address: number): I32Expr => i32.load(c(0), address);

/**
 * Adds what translates blocks by templates (template.ts), and finds them again, to a module. It does what most code
 * needs at its first execution; whatever it does not know is TypeScript's (code-cache.ts).
 */
export function addTranslator(module: ModuleBuilder): TranslatorFunctions {
  const find = module.add(buildFind(), [I32]);
  module.add(buildFindAt(find), [I32], "findAt");
  const insert = module.add(buildInsert(), [], "insert");
  module.add(buildRemove(), [], "remove");
  module.add(buildDropRange(), [], "dropRange");
  const decode = addTemplates(module);
  module.add(buildRestore(insert), [I32], "restore");
  const fuse = addFusion(module);
  const translate = module.add(buildTranslate(decode, fuse, insert), [I32]);
  const resolve = module.add(buildResolve(find, translate), [I32]);
  return { find, resolve, resolveIndirect: module.add(buildResolveIndirect(find, translate), [I32]) };
}

const INDEX_MASK = ((1 << BLOCK_INDEX_BITS) - 1) * INDEX_ENTRY;

const firstEntry = (address: I64Expr): I32Expr =>
  i32.and(i32.shl(i32.wrap(i64.shrU(address, i64.const(2))), c(4)), c(INDEX_MASK));

const nextEntry = (entry: I32Expr): I32Expr => i32.and(i32.add(entry, c(INDEX_ENTRY)), c(INDEX_MASK));

/** Visits the entries that an address may be in, until `body` leaves. The first one is near those of its neighbours. */
function probe(f: FunctionBuilder, address: I64Expr, body: (entry: LocalRef<typeof I32>) => void): void {
  const entry = f.local(I32);
  f.set(entry, firstEntry(address));
  f.loop((again) => {
    body(entry);
    f.set(entry, nextEntry(entry));
    f.branch(again);
  });
  f.unreachable();
}

const keyAt = (entry: I32Expr): I64Expr => i64.load(entry, BLOCK_INDEX);

/** find(address): an entry without a key ends the search; one without a record was dropped. */
function buildFind(): FunctionBuilder {
  const f = new FunctionBuilder([I64]);
  const address = f.param(0, I64);
  probe(f, address, (entry) => {
    f.if(i64.eq(keyAt(entry), address), () => f.return(i32.load(entry, BLOCK_INDEX + 8)));
    f.if(i64.eqz(keyAt(entry)), () => f.return(c(0)));
  });
  return f;
}

function buildFindAt(find: number): FunctionBuilder {
  const f = new FunctionBuilder([F64]);
  f.return(call(I32, find, [i64.truncSatF64U(f.param(0, F64))]));
  return f;
}

function buildInsert(): FunctionBuilder {
  const f = new FunctionBuilder([I64, I32]);
  const address = f.param(0, I64);
  probe(f, address, (entry) => {
    const isNew = f.let(i64.eqz(keyAt(entry)));
    f.if(i32.or(isNew, i64.eq(keyAt(entry), address)), () => {
      f.storeInt(64, entry, address, BLOCK_INDEX);
      f.storeI32(entry, f.param(1, I32), BLOCK_INDEX + 8);
      f.storeI32(c(0), i32.add(shared(SHARED.indexed), isNew), SHARED.indexed);
      f.return();
    });
  });
  return f;
}

function buildRemove(): FunctionBuilder {
  const f = new FunctionBuilder([I64]);
  const address = f.param(0, I64);
  probe(f, address, (entry) => {
    f.if(i64.eq(keyAt(entry), address), () => {
      f.storeI32(entry, c(0), BLOCK_INDEX + 8);
      f.return();
    });
    f.if(i64.eqz(keyAt(entry)), () => f.return());
  });
  return f;
}

/** Entry of the table for indirect jumps that an address has. */
const lookupEntry = (address: I64Expr): I32Expr => i32.shl(i32.and(i32.wrap(address), c((1 << LOOKUP_BITS) - 1)), c(4));

/**
 * dropRange(start, end): drops the blocks that have a byte from `start` on and before `end`; their records leave as soon
 * as they are reached.
 */
function buildDropRange(): FunctionBuilder {
  const f = new FunctionBuilder([I64, I64]);
  const start = f.param(0, I64);
  const end = f.param(1, I64);
  const at = f.local(I64);
  const record = f.local(I32);
  const left = f.local(I32);
  const begin = f.let(i64.sub(start, i64.const(MAX_BLOCK_BYTES - 1)));
  // Neighbours in memory are neighbours in the index, and who was displaced comes before the next free entry.
  const entry = f.local(I32);
  f.set(entry, firstEntry(begin));
  const rest = f.local(I64);
  f.set(rest, i64.add(i64.shrU(i64.sub(end, begin), i64.const(2)), i64.const(2)));
  f.block((done) => {
    f.loop((again) => {
      f.set(at, keyAt(entry));
      f.branchIf(done, i32.and(i64.eqz(at), i64.leS(rest, i64.const(0))));
      f.if(i64.ltU(i64.sub(at, begin), i64.sub(end, begin)), () => {
        f.set(record, i32.load(entry, BLOCK_INDEX + 8));
        f.if(record, () => {
          f.set(left, i32.load8u(record, RECORD.blockRecords));
          const last = i32.add(record, i32.mul(i32.sub(left, c(1)), c(RECORD_SIZE)));
          f.if(i32.or(i64.geU(at, start), i64.gtU(i64.load(last, RECORD.next), start)), () => {
            const lookup = f.let(lookupEntry(at));
            f.if(i32.eq(i32.load(lookup, LOOKUP_TABLE + 8), record), () => {
              f.storeInt(64, lookup, i64.const(0), LOOKUP_TABLE + 8);
            });
            f.storeI32(entry, c(0), BLOCK_INDEX + 8);
            const block = f.let(record);
            f.loop((next) => {
              f.storeI32(record, c(STALE_HANDLER), RECORD.handler);
              f.set(record, i32.add(record, c(RECORD_SIZE)));
              f.set(left, i32.sub(left, c(1)));
              f.branchIf(next, left);
            });
            f.storeInt(8, block, i64.const(0), RECORD.blockRecords);
          });
        });
      });
      f.set(entry, nextEntry(entry));
      f.set(rest, i64.sub(rest, i64.const(1)));
      f.branch(again);
    });
  });
  return f;
}

/**
 * translate(address): a new block, where templates and permissions allow it without TypeScript; its record, or 0. Pages
 * whose code nobody has looked at yet are TypeScript's: it marks them, so that writes to them are seen.
 */
function buildTranslate(decode: number, fuse: number, insert: number): FunctionBuilder {
  const f = new FunctionBuilder([I64]);
  const address = f.param(0, I64);
  const result = f.local(I32);
  const count = f.local(I32);
  const none = (): void => f.return(c(0));
  f.if(i64.geU(address, i64.const(WINDOW_END)), none);
  const at = f.let(i32.wrap(address));
  const page = f.let(i32.shrU(at, c(PAGE_SHIFT)));
  const ready = (offset: number): I32Expr =>
    i32.eq(i32.and(i32.load8u(page, PERM_MAP + offset), c(PROT_EXEC | PERM_CODE)), c(PROT_EXEC | PERM_CODE));
  f.if(i32.eqz(ready(0)), none);
  const record = f.let(shared(SHARED.nextRecord));
  f.if(i32.gtU(record, c(RECORDS_END - (MAX_BLOCK + 1) * RECORD_SIZE)), none);
  f.if(i32.geU(shared(SHARED.indexed), c(MAX_INDEXED)), none);
  // Only within the page, as far as the next one is ready too for an instruction that reaches into it.
  const pageEnd = f.let(i32.shl(i32.add(page, c(1)), c(PAGE_SHIFT)));
  const limit = select(ready(1), i32.add(pageEnd, c(15)), pageEnd);
  f.set(result, call(I32, decode, [at, record, c(0), c(MAX_BLOCK), limit, pageEnd]));
  f.if(i32.eqz(result), none);
  f.set(count, shared(SHARED.count));
  f.storeI32(c(0), i32.add(shared(SHARED.blocks), c(1)), SHARED.blocks);
  f.storeI32(c(0), i32.add(shared(SHARED.instructions), count), SHARED.instructions);
  f.if(i32.ne(result, c(DECODED.ends)), () => {
    // The record that goes on behind the block pays for its instructions.
    const next = f.let(i32.add(record, i32.mul(count, c(RECORD_SIZE))));
    const end = f.let(i64.load32u(c(0), SHARED.address));
    f.memoryFill(next, c(0), c(RECORD_SIZE));
    f.storeI32(next, shared(SHARED.nextBlock), RECORD.handler);
    f.storeInt(16, next, i64.extendI32U(count), RECORD.count);
    f.storeInt(64, next, end, RECORD.address);
    f.storeInt(64, next, end, RECORD.next);
    f.set(count, i32.add(count, c(1)));
  });
  f.storeInt(8, record, i64.extendI32U(count), RECORD.blockRecords);
  const behind = f.let(i32.add(record, i32.mul(count, c(RECORD_SIZE))));
  f.callVoid(fuse, [record, behind]);
  f.storeI32(c(0), behind, SHARED.nextRecord);
  f.callVoid(insert, [address, record]);
  f.return(record);
  return f;
}

/** The block at an address, found or translated; leaves with 0 where TypeScript has to look. */
function findOrTranslate(f: FunctionBuilder, address: I64Expr, find: number, translate: number): LocalRef<typeof I32> {
  const record = f.local(I32);
  f.if(i32.eqz(shared(SHARED.resolves)), () => f.return(c(0)));
  f.set(record, call(I32, find, [address]));
  f.if(i32.eqz(record), () => {
    f.set(record, call(I32, translate, [address]));
    f.if(i32.eqz(record), () => f.return(c(0)));
  });
  return record;
}

/** resolve(address, link): the record at an address, which is also stored at `link`; 0 where TypeScript has to look. */
function buildResolve(find: number, translate: number): FunctionBuilder {
  const f = new FunctionBuilder(RESOLVE_SIGNATURE.params);
  const record = findOrTranslate(f, f.param(0, I64), find, translate);
  f.storeI32(f.param(1, I32), record);
  f.return(record);
  return f;
}

/** resolveIndirect(address): the same for an indirect jump, entered into the lookup table. */
function buildResolveIndirect(find: number, translate: number): FunctionBuilder {
  const f = new FunctionBuilder(RESOLVE_INDIRECT_SIGNATURE.params);
  const address = f.param(0, I64);
  const record = findOrTranslate(f, address, find, translate);
  f.if(i32.eq(i32.load(record, RECORD.handler), c(ENTER_HANDLER)), () => f.return(c(0)));
  const entry = f.let(lookupEntry(address));
  f.storeInt(64, entry, address, LOOKUP_TABLE);
  f.storeInt(64, entry, i64.extendI32U(record), LOOKUP_TABLE + 8);
  f.return(record);
  return f;
}

/** restore(first, end): enters the blocks among records into the index; returns how many instructions they have. */
function buildRestore(insert: number): FunctionBuilder {
  const f = new FunctionBuilder([I32, I32]);
  const record = f.param(0, I32);
  const count = f.local(I32);
  f.set(count, c(0));
  f.block((done) => {
    f.loop((again) => {
      f.branchIf(done, i32.geU(record, f.param(1, I32)));
      f.if(i32.load8u(record, RECORD.blockRecords), () => {
        f.callVoid(insert, [i64.load(record, RECORD.address), record]);
      });
      f.set(record, i32.add(record, c(RECORD_SIZE)));
      f.set(count, i32.add(count, c(1)));
      f.branch(again);
    });
  });
  f.return(count);
  return f;
}
