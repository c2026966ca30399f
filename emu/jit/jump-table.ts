import { Mnemonic } from "iced-x86";
import { STATE } from "../cpu/state.ts";
import { ADDRESS_FORM, type Instruction } from "../decode/instruction.ts";

/** Entries of a table that are looked at, at most. */
const MAX_ENTRIES = 512;
/** Entries are addresses: the index is scaled by 8. */
const ENTRY_SHIFT = 3;

/** Where an indirect jump may go: what it jumps to is compared with these before they are gone to. */
export interface JumpTable {
  /** General register by which the jump picks its entry. */
  readonly index: number;
  /** Code addresses by index. */
  readonly targets: readonly number[];
}

/** What the search asks about the program. */
export interface TableSource {
  /** The 8 bytes at an address, or undefined where they cannot be read. */
  wordAt(address: number): bigint | undefined;
  /** May the region hold this address? */
  contains(address: number): boolean;
}

/**
 * The table behind `JMP [base + index*8]` where `base` was made by a RIP-relative LEA just before, or is a constant: so
 * Go compiles a switch of 8 and more cases (cmd/compile/internal/ssagen/ssa.go, BlockAMD64JUMPTABLE), and C compilers.
 * How many entries it has is not known: all that lead into the function are taken, which may be more than there are.
 * @param before the instructions that run before the jump, up to it
 */
export function findJumpTable(
  before: readonly Instruction[],
  jump: Instruction,
  source: TableSource,
): JumpTable | undefined {
  const { memory } = jump;
  if (memory === undefined || memory.form !== ADDRESS_FORM.indexed || memory.address32 || memory.segment !== 0)
    return undefined;
  if (memory.shift !== ENTRY_SHIFT || memory.vectorIndex !== 0) return undefined;
  const base = memory.base === STATE.zero ? 0n : constantIn(before, memory.base);
  if (base === undefined) return undefined;
  const table = Number(base + memory.displacement);
  const targets: number[] = [];
  while (targets.length < MAX_ENTRIES) {
    const target = source.wordAt(table + targets.length * 8);
    if (target === undefined || target > 2n ** 32n || !source.contains(Number(target))) break;
    targets.push(Number(target));
  }
  return targets.length < 2 ? undefined : { index: (memory.index - STATE.gpr) / 8, targets };
}

/** What a general register holds behind these instructions, if the last of them that names it is LEA of a constant. */
function constantIn(before: readonly Instruction[], register: number): bigint | undefined {
  for (let i = before.length - 1; i >= 0; i--) {
    const { mnemonic, operands, memory } = before[i];
    const [destination] = operands;
    const names = destination?.kind === "register" && destination.offset === register;
    if (!names) continue;
    const isConstant = mnemonic === Mnemonic.Lea && destination.width === 64 && memory?.form === ADDRESS_FORM.absolute;
    return isConstant ? memory.displacement : undefined;
  }
  return undefined;
}
