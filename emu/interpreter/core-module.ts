import { EXIT, FIRST_ADDRESS } from "../cpu/exits.ts";
import { REG, STATE } from "../cpu/state.ts";
import {
  LOOKUP_BITS,
  LOOKUP_TABLE,
  LOW_AREA,
  LOW_AREA_END,
  NEED_BITS,
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
import {
  call,
  callIndirect,
  F64,
  I32,
  type I32Expr,
  I64,
  type I64Expr,
  i32,
  i64,
  type LocalRef,
  select,
} from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import { afterBlock } from "./block-end.ts";
import { buildLog, buildPeek, isLogFull, LOGGED_HEAT, nextLogEntry } from "./block-log.ts";
import { RECORD } from "./record.ts";
import { HANDLER_PARAMS } from "./record-translator.ts";
import { COUNT_CELL } from "./region-counts.ts";
import { ENTER_HANDLER, FORWARD_HANDLER, REGION_SLOTS, STALE_HANDLER } from "./slots.ts";
import { SHARED } from "./template.ts";
import { addTranslator } from "./translate-module.ts";
import { ownerModule } from "./translated-module.ts";

/** Nobody waits: an address at which nothing can lie. */
export const NOBODY = -1;
/** Types are in the order of the tables. */
const [HANDLER_TYPE, REGION_TYPE] = [0, 1];
const REGIONS = 1;
/** Guest calls that may stand on V8's stack at a time. */
export const MAX_DEPTH = 200;

export const ACCESS_SIGNATURE = { params: [I32, I32, I32, I32, I32], results: [I32] } as const;
export const GO_ON_SIGNATURE = { params: [I32, I32, I32, I32, I64], results: [I32] } as const;
export const FOLLOW_SIGNATURE = { params: [I32, I32, I64, I32], results: [I32] } as const;
export const FOLLOW_INDIRECT_SIGNATURE = { params: [I32, I32, I64], results: [I32] } as const;
export const SLOW_SIGNATURE = { params: [I32, I64, I32, I32], results: [I32] } as const;
/** RegionCounting.enter, call and resumed; left; replace. */
export const COUNT_SIGNATURE = { params: [I32, I32, I32], results: [I32] } as const;
export const LEFT_SIGNATURE = { params: [I32, I32], results: [] } as const;
export const REPLACE_SIGNATURE = { params: [I32, I32], results: [I32] } as const;
export const COMMIT_SIGNATURE = { params: [], results: [] } as const;
/** The time stamp counter as a whole number: a double, so that no BigInt is made. */
export const TIMESTAMP_SIGNATURE = { params: [], results: [F64] } as const;

/**
 * The functions that handlers share: the entry from TypeScript and the memory access that is not plain. Imports
 * TypeScript's last resorts beside memory: env.access for handlers, env.reach for regions. It makes the tables.
 */
export function buildCoreModule(): Uint8Array {
  const module = ownerModule();
  const access = module.import("access", ACCESS_SIGNATURE);
  const reach = module.import("reach", ACCESS_SIGNATURE);
  const counting = {
    enter: module.import("countEnter", COUNT_SIGNATURE),
    left: module.import("countLeft", LEFT_SIGNATURE),
  };
  const { find, resolve, resolveIndirect } = addTranslator(module);
  const slow = module.add(buildSlow(access), [I32], "slow");
  const log = module.add(buildLog(module.add(buildPeek(slow), [I64])), []);
  module.add(buildFollow(resolve, log), [I32], "follow");
  module.add(buildFollowIndirect(resolveIndirect, log), [I32], "followIndirect");
  const goOn = module.add(buildGoOn(resolveIndirect, counting), [I32], "goOn");
  module.add(buildEnter(goOn), [I32], "enter");
  module.add(buildSlow(reach), [I32], "slowRegion");
  module.place(ENTER_HANDLER, [module.add(buildEnterRegion(counting), [I32])]);
  // Records that were dropped leave at once, until it is known which one has taken their place.
  module.place(STALE_HANDLER, [module.add(buildStale(), [I32])]);
  module.place(FORWARD_HANDLER, [module.add(buildForward(find), [I32])]);
  return module.finish();
}

/** enter(cpu, record): runs from a record on, until TypeScript is needed. */
function buildEnter(goOn: number): FunctionBuilder {
  const f = new FunctionBuilder(HANDLER_PARAMS);
  const cpu = f.param(0, I32);
  const record = f.param(1, I32);
  f.storeI32(cpu, i32.const(MAX_DEPTH), STATE.depth);
  f.storeI32(cpu, i32.const(NOBODY), STATE.expected);
  const first = callIndirect(I32, HANDLER_TYPE, [cpu, record], i32.load(record, RECORD.handler));
  f.return(call(I32, goOn, [cpu, f.let(first), i32.const(NOBODY), i32.const(MAX_DEPTH), i64.const(0)]));
  return f;
}

/**
 * follow(cpu, record, target, linkField): the end of a block whose link to `target` is not made yet, or where the thread
 * has no fuel left, or the place is hot: pays for the block, makes the link and goes there, or returns EXIT.branch.
 * @param resolve see translate-module.ts
 */
function buildFollow(resolve: number, log: number): FunctionBuilder {
  const f = new FunctionBuilder(FOLLOW_SIGNATURE.params);
  const linkField = f.param(3, I32);
  endBlock(f, log, linkField, (target, record) => {
    const place = f.let(i32.add(record, linkField));
    const next = f.local(I32);
    f.set(next, i32.load(place));
    f.if(i32.eqz(next), () => f.set(next, call(I32, resolve, [target, place])));
    return next;
  });
  return f;
}

/** followIndirect(cpu, record, target): the same for a computed target. */
function buildFollowIndirect(resolveIndirect: number, log: number): FunctionBuilder {
  const f = new FunctionBuilder(FOLLOW_INDIRECT_SIGNATURE.params);
  endBlock(f, log, i32.const(0), (target) => call(I32, resolveIndirect, [target]));
  return f;
}

/**
 * Where a log is kept each block comes here, and goes on like any other until the log is full (block-log.ts).
 * @param linkField what EXIT.branch tells the dispatcher: the field of the record that is to have the link, or 0
 */
function endBlock(
  f: FunctionBuilder,
  log: number,
  linkField: I32Expr,
  resolve: (target: I64Expr, record: I32Expr) => I32Expr,
): void {
  const cpu = f.param(0, I32);
  const record = f.param(1, I32);
  const target = f.param(2, I64);
  const { isOut, pay } = afterBlock(f, cpu, record);
  pay();
  const leaves = f.local(I32);
  f.set(leaves, isOut);
  const entry = f.let(nextLogEntry());
  f.if(entry, () => {
    f.callVoid(log, [cpu, entry, target]);
    const heat = f.let(i32.sub(i32.load(i32.const(0), SHARED.logHeat), i32.load16u(record, RECORD.count)));
    f.storeI32(i32.const(0), heat, SHARED.logHeat);
    f.storeI32(cpu, i32.const(LOGGED_HEAT), STATE.heat);
    const isOut = i32.or(i64.ltS(i64.load(cpu, STATE.fuel), i64.const(0)), isLogFull());
    f.set(leaves, i32.or(isOut, i32.ltS(heat, i32.const(0))));
    const isExpected = i64.eq(target, i64.load32u(cpu, STATE.expected));
    f.if(i32.and(isExpected, i32.eqz(leaves)), () => f.return(i32.wrap(target)));
  });
  f.if(i32.eqz(leaves), () => {
    const next = f.let(resolve(target, record));
    f.if(next, () => f.returnCallIndirect(HANDLER_TYPE, [cpu, next], i32.load(next, RECORD.handler)));
  });
  f.storeInt(64, cpu, target, STATE.rip);
  f.storeI32(cpu, linkField, STATE.exitDetail);
  f.storeI32(cpu, record, STATE.exitRecord);
  f.return(i32.const(EXIT.branch));
}

/** How far below a caller's RSP its callees' may be for the caller to be thought alive. */
const STACK_REACH = 0x10_0000;

/**
 * goOn(cpu, at, back, left, rsp): runs from address `at` on (something that translated code returned) until `back`, for
 * which the caller waits, or something else than an address comes out, and returns that.
 *
 * It gives up, and returns the address, where the caller waits in vain: RSP has left its stack (a goroutine switch, a
 * panic), no call may be put on V8's stack any more (`left`), time is up, or nothing is translated there.
 * @returns what translated code returns
 */
function buildGoOn(resolveIndirect: number, counting: CountingImports): FunctionBuilder {
  const f = new FunctionBuilder(GO_ON_SIGNATURE.params);
  const cpu = f.param(0, I32);
  const back = f.param(2, I32);
  const left = f.param(3, I32);
  const rsp = f.param(4, I64);
  const at = f.local(I32);
  const expected = f.let(i32.load(cpu, STATE.expected));
  f.set(at, f.param(1, I32));
  tellLeft(f, cpu, at, counting);
  f.block((exit) => {
    f.loop((again) => {
      const giveUp = (condition: I32Expr): void => f.branchIf(exit, condition);
      giveUp(i32.eq(at, back));
      giveUp(i32.ltU(at, i32.const(FIRST_ADDRESS)));
      giveUp(i32.leS(left, i32.const(0)));
      giveUp(i64.ltS(i64.load(cpu, STATE.fuel), i64.const(0)));
      const below = i64.sub(rsp, i64.load(cpu, STATE.gpr + REG.RSP * 8));
      giveUp(i32.and(i32.ne(back, i32.const(NOBODY)), i64.geU(below, i64.const(STACK_REACH))));
      const slot = f.let(i32.shl(i32.and(at, i32.const((1 << LOOKUP_BITS) - 1)), i32.const(4)));
      const isKnown = f.let(i64.eq(i64.load(slot, LOOKUP_TABLE), i64.extendI32U(at)));
      const region = f.let(i32.load(slot, LOOKUP_TABLE + 12));
      f.if(i32.and(isKnown, i32.ne(region, i32.const(0))), () => {
        const entry = f.let(i32.shrU(region, i32.const(16)));
        const less = f.let(i32.sub(left, i32.const(1)));
        f.storeI32(cpu, entry, STATE.entry);
        f.storeI32(cpu, less, STATE.depth);
        runRegion(f, cpu, at, region, select(entry, i32.const(-1), less), counting);
        f.branch(again);
      });
      const record = f.local(I32);
      f.set(record, select(isKnown, i32.load(slot, LOOKUP_TABLE + 8), i32.const(0)));
      f.if(i32.eqz(record), () => f.set(record, call(I32, resolveIndirect, [i64.extendI32U(at)])));
      giveUp(i32.eqz(record));
      f.storeI32(cpu, back, STATE.expected);
      f.storeI32(cpu, i32.sub(left, i32.const(1)), STATE.depth);
      f.set(at, callIndirect(I32, HANDLER_TYPE, [cpu, record], i32.load(record, RECORD.handler)));
      f.storeI32(cpu, expected, STATE.expected);
      f.branch(again);
    });
  });
  f.return(at);
  return f;
}

/**
 * Calls a region, between the CPU state and what it takes and returns in registers.
 * @param at receives where to go on
 * @param region as the lookup table has it
 * @param left see REGION_PARAMS
 */
function runRegion(
  f: FunctionBuilder,
  cpu: I32Expr,
  at: LocalRef<typeof I32>,
  region: I32Expr,
  left: I32Expr,
  counting: CountingImports,
): void {
  const fuel = f.local(I64);
  const [before, rsp] = [i64.load(cpu, STATE.fuel), i64.load(cpu, STATE.gpr + REG.RSP * 8)];
  const slot = f.let(i32.and(region, i32.const(REGION_SLOTS - 1)));
  f.if(nextLogEntry(), () => {
    const node = f.let(call(I32, counting.enter, [cpu, at, slot]));
    f.if(i32.eqz(node), () => {
      // There is room for nodes when nothing stands on the host's stack any more.
      f.storeI32(cpu, i32.const(0), STATE.entry);
      f.storeInt(64, cpu, i64.extendI32U(at), STATE.rip);
      f.storeI32(cpu, i32.const(0), STATE.exitDetail);
      f.return(i32.const(EXIT.branch));
    });
    f.storeI32(i32.const(0), node, COUNT_CELL.entered);
  });
  f.setAll([at, fuel], callIndirect(I32, REGION_TYPE, [cpu, left, before, rsp], slot, REGIONS));
  f.storeInt(64, cpu, fuel, STATE.fuel);
  tellLeft(f, cpu, at, counting);
}

/** Functions of a RegionCounting (interpreter/region-counts.ts). */
interface CountingImports {
  readonly enter: number;
  readonly left: number;
}

/** Tells that a region was left, where regions count. @param at what it has returned */
function tellLeft(f: FunctionBuilder, cpu: I32Expr, at: I32Expr, { left }: CountingImports): void {
  f.if(i32.load(i32.const(0), COUNT_CELL.left), () => f.callVoid(left, [cpu, at]));
}

/** The handler of a record at which a region can be entered in its middle: the lookup table says which, and where. */
function buildEnterRegion(counting: CountingImports): FunctionBuilder {
  const f = new FunctionBuilder(HANDLER_PARAMS);
  const cpu = f.param(0, I32);
  const record = f.param(1, I32);
  const address = f.let(i32.load(record, RECORD.address));
  const slot = f.let(i32.shl(i32.and(address, i32.const((1 << LOOKUP_BITS) - 1)), i32.const(4)));
  const region = f.let(i32.load(slot, LOOKUP_TABLE + 12));
  const here = i64.eq(i64.load(slot, LOOKUP_TABLE), i64.extendI32U(address));
  f.if(i32.and(here, i32.ne(region, i32.const(0))), () => {
    f.storeI32(cpu, i32.shrU(region, i32.const(16)), STATE.entry);
    const at = f.local(I32);
    f.set(at, address);
    runRegion(f, cpu, at, region, i32.const(-1), counting);
    f.return(at);
  });
  // Another address has taken its place: the dispatcher puts it back.
  f.return(address);
  return f;
}

function buildStale(): FunctionBuilder {
  const f = new FunctionBuilder(HANDLER_PARAMS);
  leaveStale(f);
  return f;
}

function leaveStale(f: FunctionBuilder): void {
  f.storeI32(f.param(0, I32), f.param(1, I32), STATE.exitRecord);
  f.return(i32.const(EXIT.stale));
}

/**
 * The handler of a dropped record that others may be linked to: it goes to the one that has taken its place. Where that
 * one was dropped as well, it looks for the newest itself: code that is written to again and again would make a chain of
 * such records, longer each time.
 */
function buildForward(find: number): FunctionBuilder {
  const f = new FunctionBuilder(HANDLER_PARAMS);
  const record = f.param(1, I32);
  const next = f.local(I32);
  const handler = f.local(I32);
  f.set(next, i32.load(record, RECORD.linkNext));
  f.set(handler, i32.load(next, RECORD.handler));
  f.if(i32.or(i32.eq(handler, i32.const(STALE_HANDLER)), i32.eq(handler, i32.const(FORWARD_HANDLER))), () => {
    // Where there are addresses to stop at TypeScript has to look, as in all searches.
    f.if(i32.eqz(i32.load(i32.const(0), SHARED.resolves)), () => leaveStale(f));
    f.set(next, call(I32, find, [i64.load(record, RECORD.address)]));
    f.if(i32.eqz(next), () => leaveStale(f));
    f.storeI32(record, next, RECORD.linkNext);
    f.set(handler, i32.load(next, RECORD.handler));
  });
  f.returnCallIndirect(HANDLER_TYPE, [f.param(0, I32), next], handler);
  return f;
}

/** inWindow (layout.ts). */
function isInWindow(address: I64Expr): I32Expr {
  const above = i64.ltU(i64.sub(address, i64.const(LOW_AREA_END)), i64.const(WINDOW_END - LOW_AREA_END));
  return i32.or(above, i64.ltU(address, i64.const(LOW_AREA)));
}

/**
 * slow(cpu, address, bytes, need): the place in wasm memory of an access that the fast check let go: at the end of a
 * mapping, outside the window, across pages, to a page with translated code, or not allowed at all (0).
 * @param access TypeScript's part
 */
function buildSlow(access: number): FunctionBuilder {
  const f = new FunctionBuilder(SLOW_SIGNATURE.params);
  const cpu = f.param(0, I32);
  const address = f.param(1, I64);
  const bytes = f.param(2, I32);
  const need = f.let(i32.and(f.param(3, I32), i32.const((1 << NEED_BITS) - 1)));
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
      isInWindow(address),
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
  const high = i32.wrap(i64.shrU(address, i64.const(32)));
  f.return(call(I32, access, [cpu, i32.wrap(address), high, bytes, need]));
  return f;
}
