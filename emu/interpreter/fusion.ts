import { call, I32, type I32Expr, i32 } from "../wasm/expr.ts";
import { FunctionBuilder } from "../wasm/function.ts";
import type { ModuleBuilder } from "../wasm/module.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import { FUSION } from "./template.ts";

/**
 * Handlers of several instructions in a row: going from one handler to the next takes longer than most instructions
 * themselves. A handler is made for each of the most frequent sequences of forms, when goemu is built. In a block the
 * first record of such a sequence has the handler of all of it; the others keep their own, for whoever goes on at them.
 *
 * The table says which handler a handler and that of the next record make together: two words an entry, the slots of the
 * two (0: the entry is free) and the slot of theirs. A sequence of three is found by that of its first two.
 */
const ENTRY_BITS = 12;
export const FUSION_BYTES = 8 << ENTRY_BITS;
const MASK = (1 << ENTRY_BITS) - 1;
/** The second slot's part of a hash. */
const SPREAD = 0x9e5;

/** More would make searches long. */
export const MOST_SEQUENCES = 1 << (ENTRY_BITS - 1);

/**
 * The table for sequences of handlers.
 * @param sequences slots, two at least; that of all but the last is there itself, or one handler
 * @param firstSlot where their own handlers begin
 */
export function fusionTable(sequences: readonly (readonly number[])[], firstSlot: number): Uint8Array {
  if (sequences.length > MOST_SEQUENCES) throw new RangeError(`more than ${MOST_SEQUENCES} sequences`);
  const table = new Uint32Array(FUSION_BYTES / 4);
  const slots = new Map(sequences.map((sequence, i) => [sequence.join(), firstSlot + i]));
  for (const sequence of sequences) {
    const before = sequence.slice(0, -1);
    const first = before.length === 1 ? before[0] : slots.get(before.join());
    if (first === undefined) throw new Error("a sequence without its beginning");
    const next = sequence[sequence.length - 1];
    let entry = (first + next * SPREAD) & MASK;
    while (table[entry * 2] !== 0) entry = (entry + 1) & MASK;
    table.set([((first << 16) | next) >>> 0, slots.get(sequence.join()) ?? 0], entry * 2);
  }
  return new Uint8Array(table.buffer);
}

const c = (value: number): I32Expr => i32.const(value);

/** Adds fuse(record, end), which gives the records of a block in [record, end) the handlers of their sequences. */
export function addFusion(module: ModuleBuilder): number {
  const together = module.add(buildTogether(), [I32]);
  const f = new FunctionBuilder([I32, I32]);
  const [record, end] = [f.param(0, I32), f.param(1, I32)];
  const next = f.local(I32);
  const [handler, found] = [f.local(I32), f.local(I32)];
  f.loop((again) => {
    f.set(handler, i32.load(record, RECORD.handler));
    f.set(next, i32.add(record, c(RECORD_SIZE)));
    f.block((apart) => {
      f.loop((longer) => {
        f.branchIf(apart, i32.geU(next, end));
        f.set(found, call(I32, together, [handler, i32.load(next, RECORD.handler)]));
        f.branchIf(apart, i32.eqz(found));
        f.set(handler, found);
        f.set(next, i32.add(next, c(RECORD_SIZE)));
        f.branch(longer);
      });
    });
    f.storeI32(record, handler, RECORD.handler);
    f.set(record, next);
    f.branchIf(again, i32.ltU(record, end));
  });
  return module.add(f, [], "fuse");
}

/** together(first, next): slot of the handler that two make together, or 0. */
function buildTogether(): FunctionBuilder {
  const f = new FunctionBuilder([I32, I32]);
  const [first, next] = [f.param(0, I32), f.param(1, I32)];
  const key = f.let(i32.or(i32.shl(first, c(16)), next));
  const entry = f.local(I32);
  f.set(entry, i32.add(first, i32.mul(next, c(SPREAD))));
  f.loop((again) => {
    const place = f.let(i32.shl(i32.and(entry, c(MASK)), c(3)));
    const there = f.let(i32.load(place, FUSION));
    f.if(i32.eq(there, key), () => f.return(i32.load(place, FUSION + 4)));
    f.if(i32.eqz(there), () => f.return(c(0)));
    f.set(entry, i32.add(entry, c(1)));
    f.branch(again);
  });
  f.unreachable();
  return f;
}
