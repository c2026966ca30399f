import type { Range } from "../semantics/float.ts";
import { type I32Expr, LocalRef } from "../wasm/expr.ts";
import { localsOf, type Pending, WORDS } from "./pending-flags.ts";
import type { RegisterMask } from "./register-use.ts";

/** A value known as another plus a constant: accesses off one base share their checks. */
export interface Origin {
  readonly root: object;
  readonly offset: bigint;
}

/** Accesses at root + [low, low + reach) are known to be allowed; root + low is at `host` in wasm memory. */
export interface Checked {
  low: bigint;
  /** In bytes; grows with what relies on it. */
  reach: number;
  readonly need: number;
  readonly host: I32Expr;
}

/** Root of what is constant: addresses are their own offsets. */
export const CONSTANTS = {};

/**
 * What is known at a point of a region's code, about values and about the machine. It holds as long as no other code
 * runs in between: permissions and MXCSR's modes change only outside of regions.
 */
export interface Knowledge {
  pending: Pending;
  /** General registers by number. */
  readonly origins: Map<number, Origin>;
  readonly checked: Map<object, readonly Checked[]>;
  /** States of MXCSR that were tested and found. */
  readonly modes: Set<string>;
  /** XMM registers, by number, whose low lane is zero or ordinary in its local's precision (semantics/float.ts). */
  readonly ordinary: Map<number, Range>;
  /** 32-bit lanes of XMM registers that are in locals of their own, too. */
  readonly lanes: Map<number, readonly I32Expr[]>;
}

/** Is what lies in one range in the other, too? */
export const isWithin = (range: Range | undefined, other: Range): boolean => range === other || range === "narrow";

export const nothingKnown = (): Knowledge => ({
  pending: WORDS,
  origins: new Map(),
  checked: new Map(),
  modes: new Set(),
  ordinary: new Map(),
  lanes: new Map(),
});

export function copyOf({ pending, origins, checked, modes, ordinary, lanes }: Knowledge): Knowledge {
  return {
    pending,
    origins: new Map(origins),
    checked: new Map(checked),
    modes: new Set(modes),
    ordinary: new Map(ordinary),
    lanes: new Map(lanes),
  };
}

/** What holds whichever of several paths was taken; flags are in their words there. */
export function meet(paths: readonly Knowledge[]): Knowledge {
  const [first, ...rest] = paths;
  if (first === undefined) return nothingKnown();
  const result = copyOf(first);
  result.pending = WORDS;
  for (const { origins, checked, modes, ordinary, lanes } of rest) {
    for (const [register, { root, offset }] of result.origins) {
      const other = origins.get(register);
      if (other?.root !== root || other.offset !== offset) result.origins.delete(register);
    }
    for (const [root, list] of result.checked) {
      const others = checked.get(root) ?? [];
      result.checked.set(
        root,
        list.filter((known) => others.includes(known)),
      );
    }
    for (const mode of result.modes) if (!modes.has(mode)) result.modes.delete(mode);
    for (const [register, range] of result.ordinary) {
      const other = ordinary.get(register);
      if (other === undefined) result.ordinary.delete(register);
      else if (!isWithin(other, range)) result.ordinary.set(register, other);
    }
    for (const [register, known] of result.lanes) if (lanes.get(register) !== known) result.lanes.delete(register);
  }
  return result;
}

/** What still holds at the start of each turn of a loop that may write these registers and calls nobody. */
export function throughLoop(knowledge: Knowledge, written: RegisterMask): Knowledge {
  const result = copyOf(knowledge);
  result.pending = WORDS;
  for (const register of result.origins.keys()) if (written & (1 << register)) result.origins.delete(register);
  for (const about of [result.ordinary, result.lanes])
    for (const register of about.keys()) if (written & (1 << (16 + register))) about.delete(register);
  return result;
}

/**
 * The part that can be checked again where nothing is known.
 * @param live general registers that have their values there
 */
export function checkable(knowledge: Knowledge, live: number): Knowledge {
  const result = copyOf(knowledge);
  result.ordinary.clear();
  result.lanes.clear();
  for (const register of result.origins.keys()) if (!(live & (1 << register))) result.origins.delete(register);
  const roots = new Set<object>([CONSTANTS, ...[...result.origins.values()].map(({ root }) => root)]);
  for (const [root, list] of result.checked) if (!roots.has(root) || list.length === 0) result.checked.delete(root);
  return result;
}

/** Does `checkable` knowledge hold anything? */
export function isToBeChecked({ origins, checked, modes }: Knowledge): boolean {
  return origins.size + checked.size + modes.size > 0;
}

/** Locals that the knowledge is about: they must keep their values as long as it is to hold. */
export function localsIn(knowledge: Knowledge): Set<number> {
  const locals = new Set(localsOf(knowledge.pending));
  for (const list of knowledge.checked.values())
    for (const { host } of list) if (host instanceof LocalRef) locals.add(host.index);
  for (const lanes of knowledge.lanes.values())
    for (const lane of lanes) if (lane instanceof LocalRef) locals.add(lane.index);
  return locals;
}
