import { Mnemonic } from "iced-x86";
import { REG, STATE } from "../cpu/state.ts";
import { type Instruction, SEGMENT } from "../decode/instruction.ts";

/** Instructions with RSP as their first operand that leave the thread on its stack, or do not write it. */
const STAYS = new Set<Mnemonic>([
  ...[Mnemonic.Add, Mnemonic.Sub, Mnemonic.And, Mnemonic.Cmp, Mnemonic.Test, Mnemonic.Push, Mnemonic.Inc],
  ...[Mnemonic.Dec, Mnemonic.Bt],
]);
/** Both operands are written. */
const EXCHANGES = new Set<Mnemonic>([Mnemonic.Xchg, Mnemonic.Xadd, Mnemonic.Cmpxchg]);
const SETS_BASE = new Set<Mnemonic>([Mnemonic.Wrfsbase, Mnemonic.Enter]);
const ONLY_READS = new Set<Mnemonic>([Mnemonic.Cmp, Mnemonic.Test, Mnemonic.Push, Mnemonic.Jmp, Mnemonic.Call]);

/**
 * May the instruction put the thread on another stack, or change what its own memory says about it (Go's g, at FS)? As
 * `runtime.gogo` and `runtime.setg` do. A frame's own space, and LEAVE, are no such thing.
 */
export function switchesStack({ mnemonic, operands, memory }: Instruction): boolean {
  if (SETS_BASE.has(mnemonic)) return true;
  const isStack = (i: number): boolean => {
    const operand = operands[i];
    return operand?.kind === "register" && operand.registerClass === "gpr" && operand.index === REG.RSP;
  };
  const [first] = operands;
  if (first?.kind === "memory" && memory?.segment === SEGMENT.fs && !ONLY_READS.has(mnemonic)) return true;
  if (EXCHANGES.has(mnemonic)) return isStack(0) || isStack(1);
  if (!isStack(0) || STAYS.has(mnemonic)) return false;
  return mnemonic !== Mnemonic.Lea || memory?.base !== STATE.gpr + 8 * REG.RSP;
}
