import { Mnemonic } from "iced-x86";
import { ALL_FLAGS, type Instruction } from "../decode/instruction.ts";
import { rowOf } from "../semantics/index.ts";
import type { CodeSource, RegionBlock } from "./region.ts";

/** Instructions and jumps that are followed from behind a call to find out what flags are read there. */
const MAX_STEPS = 64;

/** Where a block's last instruction leads, beside what is behind it. */
export function goesTo({ end, target, table }: RegionBlock): readonly (number | undefined)[] {
  return end === "switch" ? (table?.targets ?? []) : [end === "jump" || end === "branch" ? target : undefined];
}

/**
 * Finds which status flags are alive where blocks begin and end.
 * @param ordered blocks in reverse postorder
 */
export function findLiveFlags(ordered: readonly RegionBlock[], source: CodeSource): void {
  const behindCalls = new Map<RegionBlock, number>();
  for (const block of ordered) {
    const isInside = block.successors.some(({ address }) => address === block.next);
    if (source.flagsDieAtCalls && block.end === "call" && !isInside) {
      behindCalls.set(block, flagsReadAt(block.next, source));
    }
  }
  for (let changed = true; changed; ) {
    changed = false;
    for (let i = ordered.length - 1; i >= 0; i--) {
      const block = ordered[i];
      block.flagsOut = behindCalls.get(block) ?? flagsOut(block, source.flagsDieAtCalls);
      let live = block.flagsOut;
      for (let k = block.instructions.length - 1; k >= 0; k--)
        live = flagsBefore(block.instructions[k].instruction, live);
      if (live !== block.flagsIn) {
        block.flagsIn = live;
        changed = true;
      }
    }
  }
}

/**
 * Flags alive at the end of a block: what its successors read; all of them where it leaves the region. Of calls in Go's code
 * nothing else is taken into account: some that its compiler makes leave the flags alone, and are put between a compare
 * and its jump (cmd/compile/internal/ssa/_gen/AMD64Ops.go, DUFFZERO, which has no clobberFlags).
 */
function flagsOut(block: RegionBlock, dieAtCalls: boolean): number {
  const inside = block.successors.reduce((mask, successor) => mask | successor.flagsIn, 0);
  if (block.end === "dispatch") return inside;
  if (dieAtCalls && block.end === "call") return inside;
  if (dieAtCalls && block.instructions[block.instructions.length - 1].row.returns) return 0;
  const isOutside = (at: number | undefined): boolean =>
    at !== undefined && !block.successors.some(({ address }) => address === at);
  const leaves =
    block.end === "leave" ||
    block.end === "switch" ||
    block.end === "call" ||
    goesTo(block).some(isOutside) ||
    isOutside(block.next);
  return leaves ? ALL_FLAGS : inside;
}

/**
 * Flags that Go's code from an address on, which is not part of the region, may read before it writes them. Most of it
 * stands behind calls that do not return.
 */
function flagsReadAt(start: number | undefined, source: CodeSource): number {
  let unwritten = ALL_FLAGS;
  let read = 0;
  let at = start;
  for (let step = 0; step < MAX_STEPS && unwritten !== 0; step++) {
    const instruction = at === undefined ? undefined : source.instructionAt(at);
    const row = instruction && rowOf(instruction);
    if (instruction === undefined || row === undefined) return read;
    read |= instruction.flagsRead & unwritten;
    unwritten &= ~certainlyWritten(instruction);
    at = instruction.address + instruction.length;
    if (!row.ends) continue;
    if (row.returns || instruction.mnemonic === Mnemonic.Call) return read;
    const [operand] = instruction.operands;
    if (instruction.mnemonic !== Mnemonic.Jmp || operand?.kind !== "branch") return read | unwritten;
    at = Number(operand.value);
  }
  return read | unwritten;
}

/** Alive before an instruction, given what is alive behind it. What it may leave unwritten stays alive. */
export function flagsBefore(instruction: Instruction, after: number): number {
  return (after & ~certainlyWritten(instruction)) | instruction.flagsRead;
}

function certainlyWritten(instruction: Instruction): number {
  return mayKeepFlags(instruction) ? 0 : (ONLY_CERTAIN.get(instruction.mnemonic) ?? instruction.flagsWritten);
}

/** CF and ZF in masks of flags (iced's RflagsBits). */
const [CF, ZF] = [16, 4];
/**
 * Instructions that leave alone what the SDM calls undefined behind them (Vol. 2A, BSF, BT, DIV, LZCNT): as processors do, and the
 * interpreter. Of other flags that are undefined each has a value of its own.
 */
const ONLY_CERTAIN: ReadonlyMap<Mnemonic, number> = new Map([
  ...[Mnemonic.Bt, Mnemonic.Bts, Mnemonic.Btr, Mnemonic.Btc].map((mnemonic) => [mnemonic, CF] as const),
  ...[Mnemonic.Bsf, Mnemonic.Bsr].map((mnemonic) => [mnemonic, ZF] as const),
  ...[Mnemonic.Lzcnt, Mnemonic.Tzcnt].map((mnemonic) => [mnemonic, CF | ZF] as const),
  ...[Mnemonic.Div, Mnemonic.Idiv].map((mnemonic) => [mnemonic, 0] as const),
  // Carried out in TypeScript, or left to single steps, they may end with a fault.
  ...[Mnemonic.Iret, Mnemonic.Iretd, Mnemonic.Iretq, Mnemonic.Popf, Mnemonic.Popfq].map(
    (mnemonic) => [mnemonic, 0] as const,
  ),
]);

/** Shifts by a count of zero and repeated compares of no elements leave the flags alone. */
function mayKeepFlags(instruction: Instruction): boolean {
  if (instruction.stringAddress !== 0) return true;
  return SHIFTS.has(instruction.mnemonic) && !instruction.operands.some(({ kind }) => kind === "immediate");
}

const SHIFTS = new Set<Mnemonic>([
  ...[Mnemonic.Shl, Mnemonic.Sal, Mnemonic.Shr, Mnemonic.Sar, Mnemonic.Rol, Mnemonic.Ror, Mnemonic.Rcl, Mnemonic.Rcr],
  ...[Mnemonic.Shld, Mnemonic.Shrd],
]);

/** The flags that are alive behind each instruction of a block. */
export function flagsBehind(block: RegionBlock): number[] {
  const behind: number[] = [];
  if (block.end === "dispatch") return behind;
  let live = block.flagsOut;
  for (let i = block.instructions.length - 1; i >= 0; i--) {
    behind[i] = live;
    live = flagsBefore(block.instructions[i].instruction, live);
  }
  return behind;
}
