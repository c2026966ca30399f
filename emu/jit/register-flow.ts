import { REG } from "../cpu/state.ts";
import type { Region, RegionBlock } from "./region.ts";
import { type BlockUse, gprBit, noUse, type RegisterMask } from "./register-use.ts";

export const ALL_REGISTERS: RegisterMask = -1;

/** Where registers have to be in locals, and where the CPU state is behind them. */
export interface RegisterFlow {
  /** Registers that the region touches at all. */
  readonly used: RegisterMask;
  /** Registers that somebody may want from the block on. */
  liveIn(block: RegionBlock): RegisterMask;
  /** Registers whose local may be newer than the CPU state when the block starts. */
  dirtyIn(block: RegionBlock): RegisterMask;
  /** Registers whose local is right when the block starts, whichever way it is come by. */
  validIn(block: RegionBlock): RegisterMask;
  /** Registers that the block reads before it writes them, and so has to load if they are not valid. */
  readIn(block: RegionBlock): RegisterMask;
  /** Registers whose local is right at the block's end. */
  validOut(block: RegionBlock): RegisterMask;
}

const NO_USE = noUse();
/** Guest registers that come from the caller, and back from a call, in registers of the host (REGION_PARAMS). */
export const IN_REGISTERS: RegisterMask = gprBit(REG.RSP);

/**
 * Flow analyses. Forward: which registers are newer than memory (nothing is, behind a call: everything was stored before
 * it), and which are in their locals. Backward: which are read. A block may be left anywhere, and then stores what may
 * be newer than memory: so that has to be in its local.
 *
 * A register is loaded as late as possible, since many ways through a function need few: by the first block that reads
 * it, or before a loop that does and need not call anybody, or where ways meet of which another has it in its local.
 */
export function registerFlow(region: Region, uses: ReadonlyMap<RegionBlock, BlockUse>): RegisterFlow {
  const { blocks } = region;
  const useOf = (block: RegionBlock): BlockUse => uses.get(block) ?? NO_USE;
  const readLater = backward(blocks, useOf, () => 0);
  const dirtyIn = new Map<RegionBlock, RegisterMask>();
  const dirty = (block: RegionBlock): RegisterMask => dirtyIn.get(block) ?? 0;
  const dirtyOut = (block: RegionBlock): RegisterMask =>
    block.end === "call" ? 0 : dirty(block) | useOf(block).dirties;
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of blocks) {
      const before = block.predecessors.filter((other) => comesAsUsual(other, block)).map(dirtyOut);
      let mask = before.reduce((all, other) => all | other, block === blocks[0] ? IN_REGISTERS : 0);
      if (block.isMerge && !block.isLoopHeader) {
        // What just some of the ways have written, and nobody reads, is stored on these.
        mask &= (readLater.get(block) ?? 0) | before.reduce((all, other) => all & other, ALL_REGISTERS);
      }
      if (mask === dirty(block)) continue;
      dirtyIn.set(block, mask);
      changed = true;
    }
  }
  const liveIn = backward(blocks, useOf, dirty);
  const validIn = new Map<RegionBlock, RegisterMask>();
  const validOut = new Map<RegionBlock, RegisterMask>();
  for (const block of blocks) {
    const { reads, defines, dirties } = useOf(block);
    const before = block.predecessors
      .filter((other) => other.index < block.index && comesAsUsual(other, block))
      .map((other) => validOut.get(other) ?? 0);
    let valid = dirty(block);
    if (before.length === 1 && !block.isMerge) valid |= before[0];
    else valid |= before.reduce((mask, other) => mask | other, 0) & (readLater.get(block) ?? 0);
    if (block.isLoopHeader) {
      valid = dirty(block) | (callsEachTurn(block) ? reads : (readLater.get(block) ?? 0));
    }
    validIn.set(block, valid);
    validOut.set(block, block.end === "call" ? IN_REGISTERS : valid | reads | defines | dirties);
  }
  let used: RegisterMask = IN_REGISTERS;
  for (const block of blocks) {
    const { reads, dirties } = useOf(block);
    used |= reads | dirties | (liveIn.get(block) ?? 0);
  }
  return {
    used,
    liveIn: (block) => liveIn.get(block) ?? 0,
    dirtyIn: dirty,
    validIn: (block) => validIn.get(block) ?? 0,
    readIn: (block) => useOf(block).reads,
    validOut: (block) => validOut.get(block) ?? 0,
  };
}

/** Who comes from a dispatch on the way to an entry has all registers in their locals. */
const comesAsUsual = ({ end, ways }: RegionBlock, to: RegionBlock): boolean => end !== "dispatch" || ways.get(0) === to;

/** Is there a call on every way through a loop? */
function callsEachTurn(header: RegionBlock): boolean {
  const backs = header.predecessors.filter(({ index }) => index >= header.index);
  return backs.every((back) => {
    let block = back;
    while (block !== header && block.end !== "call") block = block.dominator;
    return block.end === "call";
  });
}

/** What is wanted from each block on. @param also what the block wants beside what it reads */
function backward(
  blocks: readonly RegionBlock[],
  useOf: (block: RegionBlock) => BlockUse,
  also: (block: RegionBlock) => RegisterMask,
): Map<RegionBlock, RegisterMask> {
  const wanted = new Map<RegionBlock, RegisterMask>();
  for (let changed = true; changed; ) {
    changed = false;
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i];
      const { reads, defines } = useOf(block);
      const out = block.end === "call" ? 0 : block.successors.reduce((mask, next) => mask | (wanted.get(next) ?? 0), 0);
      const mask = reads | also(block) | (out & ~defines);
      if (mask === wanted.get(block)) continue;
      wanted.set(block, mask);
      changed = true;
    }
  }
  return wanted;
}
