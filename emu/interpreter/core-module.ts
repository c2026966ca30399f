import { EXIT } from "../cpu/exits.ts";
import { STATE } from "../cpu/state.ts";
import {
  PAGE_SHIFT,
  PAGE_SIZE,
  PAGE_TABLES,
  PERM_CODE,
  PERM_DIRTY,
  PERM_MAP,
  PROT_WRITE,
  TASK_SIZE,
  WINDOW_END,
} from "../layout.ts";
import { MIDDLE_SHIFT, TABLE_ENTRIES, TOP_SHIFT } from "../memory/pages.ts";
import { call, I32, type I32Expr, I64, i32, i64 } from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import { RECORD } from "./record.ts";
import { HANDLER_PARAMS } from "./record-translator.ts";
import { addTranslator } from "./translate-module.ts";
import { translatedModule } from "./translated-module.ts";

export const SLOW_SIGNATURE = { params: [I32, I64, I32, I32], results: [I32] } as const;
export const COMMIT_SIGNATURE = { params: [], results: [] } as const;

/**
 * The functions that handlers share: the entry from TypeScript and the memory access that is not plain. Imports env.access (TypeScript's last resort) beside memory; it makes the table.
 */
export function buildCoreModule(): Uint8Array {
  const module = translatedModule(true);
  const handlerType = 0;
  const access = module.import("access", { params: [I32, I32, I32, I32, I32], results: [I32] });
  module.add(buildEnter(handlerType), [I32], "enter");
  module.add(buildSlow(access), [I32], "slow");
  module.add(buildSlow(undefined), [I32], "slowPlain");
  addTranslator(module);
  // Slot 0 of the table is the handler of records that were dropped: it leaves at once.
  module.place(0, [module.add(buildStale(), [I32])]);
  return module.finish();
}

/** enter(cpu, record): runs from a record on. */
function buildEnter(handlerType: number): FunctionBuilder {
  const f = new FunctionBuilder(HANDLER_PARAMS);
  const record = f.param(1, I32);
  f.returnCallIndirect(handlerType, [f.param(0, I32), record], i32.load(record, RECORD.handler));
  return f;
}

function buildStale(): FunctionBuilder {
  const f = new FunctionBuilder(HANDLER_PARAMS);
  f.storeI32(f.param(0, I32), f.param(1, I32), STATE.exitRecord);
  f.return(i32.const(EXIT.stale));
  return f;
}

/**
 * slow(cpu, address, bytes, need): the place in wasm memory of an access that the fast check let go: at the end of a
 * mapping, outside the window, across pages, to a page with translated code, or not allowed at all (0).
 * @param access TypeScript's part; without it (slowPlain) everything that would need it gives 0
 */
function buildSlow(access: number | undefined): FunctionBuilder {
  const f = new FunctionBuilder(SLOW_SIGNATURE.params);
  const cpu = f.param(0, I32);
  const address = f.param(1, I64);
  const bytes = f.param(2, I32);
  const need = f.param(3, I32);
  const offset = f.let(i32.and(i32.wrap(address), i32.const(PAGE_SIZE - 1)));
  f.if(i32.leU(i32.add(offset, bytes), i32.const(PAGE_SIZE)), () => {
    const isWrite = i32.and(need, i32.const(PROT_WRITE));
    /** Every needed right, and no translated code under a write. */
    const allowed = (permission: I32Expr, needed: I32Expr): I32Expr => {
      const missing = i32.and(i32.xor(permission, i32.const(-1)), needed);
      const code = i32.and(
        i32.eq(need, i32.const(PROT_WRITE)),
        i32.ne(i32.and(permission, i32.const(PERM_CODE)), i32.const(0)),
      );
      return i32.eqz(i32.or(missing, code));
    };
    f.if(
      i64.ltU(address, i64.const(WINDOW_END)),
      () => {
        const host = f.let(i32.wrap(address));
        const permission = f.let(i32.load8u(i32.shrU(host, i32.const(PAGE_SHIFT)), PERM_MAP));
        // The first write to a page is to be noticed, and so is one to a page before a clean one (PageMap.markDirty).
        const dirty = i32.mul(isWrite, i32.const(PERM_DIRTY / PROT_WRITE));
        const next = f.let(i32.load8u(i32.shrU(host, i32.const(PAGE_SHIFT)), PERM_MAP + 1));
        const nextIsClean = i32.eq(i32.and(next, i32.const(PROT_WRITE | PERM_DIRTY)), i32.const(PROT_WRITE));
        const plain = i32.eqz(i32.and(isWrite, i32.shl(nextIsClean, i32.const(1))));
        f.if(i32.and(allowed(permission, i32.or(need, dirty)), plain), () => f.return(host));
      },
      () => {
        f.if(i64.ltU(address, i64.const(TASK_SIZE)), () => {
          const index = (shift: number): I32Expr =>
            i32.shl(i32.and(i32.wrap(i64.shrU(address, i64.const(shift))), i32.const(TABLE_ENTRIES - 1)), i32.const(2));
          const middle = f.let(i32.load(index(TOP_SHIFT), PAGE_TABLES));
          f.if(middle, () => {
            const leaf = f.let(i32.load(i32.add(middle, index(MIDDLE_SHIFT))));
            f.if(leaf, () => {
              const entry = f.let(i32.load(i32.add(leaf, index(PAGE_SHIFT))));
              f.if(allowed(entry, need), () => f.return(i32.or(i32.and(entry, i32.const(-PAGE_SIZE)), offset)));
            });
          });
        });
      },
    );
  });
  if (access === undefined) {
    f.return(i32.const(0));
    return f;
  }
  const high = i32.wrap(i64.shrU(address, i64.const(32)));
  f.return(call(I32, access, [cpu, i32.wrap(address), high, bytes, need]));
  return f;
}
