import type { Region, RegionBlock } from "./region.ts";
import type { BlockUse, RegisterMask } from "./register-translator.ts";

export const ALL_REGISTERS: RegisterMask = -1;

/** Where registers have to be in locals, and where the CPU state is behind them. */
export interface RegisterFlow {
  /** Registers that the region touches at all. */
  readonly used: RegisterMask;
  /** Registers whose local must be right when the block starts. */
  liveIn(block: RegionBlock): RegisterMask;
  /** Registers whose local may be newer than the CPU state when the block starts. */
  dirtyIn(block: RegionBlock): RegisterMask;
}

/** For the first pass: its code is thrown away. */
export const NOTHING_KNOWN: RegisterFlow = { used: ALL_REGISTERS, liveIn: () => 0, dirtyIn: () => 0 };

/**
 * Two flow analyses: forward, which registers are newer than memory (nothing is, behind a call: everything was stored
 * before it and is loaded after it); backward, which have to be loaded. A block may be left anywhere, and then stores
 * what may be newer than memory: so that counts as read by it.
 */
export function registerFlow(region: Region, uses: ReadonlyMap<RegionBlock, BlockUse>): RegisterFlow {
  const dirtyIn = new Map<RegionBlock, RegisterMask>();
  const liveIn = new Map<RegionBlock, RegisterMask>();
  const useOf = (block: RegionBlock): BlockUse => uses.get(block) ?? { reads: 0, defines: 0, dirties: 0 };
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of region.blocks) {
      const out = block.end === "call" ? 0 : (dirtyIn.get(block) ?? 0) | useOf(block).dirties;
      for (const successor of block.successors) {
        const before = dirtyIn.get(successor) ?? 0;
        if ((before | out) === before) continue;
        dirtyIn.set(successor, before | out);
        changed = true;
      }
    }
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (let i = region.blocks.length - 1; i >= 0; i--) {
      const block = region.blocks[i];
      const { reads, defines } = useOf(block);
      const out = block.end === "call" ? 0 : block.successors.reduce((mask, next) => mask | (liveIn.get(next) ?? 0), 0);
      const live = reads | (dirtyIn.get(block) ?? 0) | (out & ~defines);
      if (live === liveIn.get(block)) continue;
      liveIn.set(block, live);
      changed = true;
    }
  }
  let used: RegisterMask = 0;
  for (const block of region.blocks) {
    const { reads, dirties } = useOf(block);
    used |= reads | dirties | (liveIn.get(block) ?? 0);
  }
  return { used, liveIn: (block) => liveIn.get(block) ?? 0, dirtyIn: (block) => dirtyIn.get(block) ?? 0 };
}
