import { Code, Mnemonic } from "iced-x86";
import { type Instruction, SEGMENT } from "../decode/instruction.ts";
import { type CpuState, REG } from "./state.ts";

/** An access that an instruction is about to make. */
export interface Access {
  readonly address: bigint;
  /** A power of two, to which the address is to be aligned. */
  readonly bytes: number;
}

/** Instructions that use the stack beside what their operands say: how far from RSP the first word lies, in words. */
const STACK = new Map<Mnemonic, 0 | -1>([
  [Mnemonic.Push, -1],
  [Mnemonic.Pushf, -1],
  [Mnemonic.Pushfq, -1],
  [Mnemonic.Call, -1],
  [Mnemonic.Enter, -1],
  [Mnemonic.Pop, 0],
  [Mnemonic.Popf, 0],
  [Mnemonic.Popfq, 0],
  [Mnemonic.Ret, 0],
]);
/** Those of them that move 16 bits. */
const NARROW = new Set<Code>([
  ...[Code.Push_imm16, Code.Pushw_imm8, Code.Pushw_FS, Code.Pushw_GS, Code.Popw_FS, Code.Popw_GS],
  ...[Code.Push_r16, Code.Push_rm16, Code.Pop_r16, Code.Pop_rm16, Code.Pushfw, Code.Popfw, Code.Enterw_imm16_imm8],
]);
/** Their operand is an address alone. */
const NO_ACCESS = new Set<Mnemonic>([Mnemonic.Lea, Mnemonic.Nop, Mnemonic.Reservednop]);
const LOADS_STRING = /^(Movs|Lods|Cmps|Outs)/;
const STORES_STRING = /^(Movs|Stos|Cmps|Scas|Ins)/;

/**
 * The accesses of up to 8 bytes, and their natural alignment, that alignment checking is about (SDM Vol. 3A, table 6-7).
 * Vectors have rules of their own; what an instruction reads by descriptors or tables is not looked at.
 */
export function accessesOf(cpu: CpuState, instruction: Instruction): Access[] {
  const accesses: Access[] = [];
  const add = (address: bigint, bits: number): void => {
    // An 80-bit number, or a far pointer, is to be aligned to 8 or 2.
    const bytes = bits === 80 ? 8 : bits === 48 ? 2 : bits / 8;
    if (bytes > 1 && bytes <= 8) accesses.push({ address: BigInt.asUintN(64, address), bytes });
  };
  const { memory, mnemonic } = instruction;
  const operand = instruction.operands.find(({ kind }) => kind === "memory");
  const register = (offset: number): bigint => cpu.view.getBigUint64(offset, true);
  const baseOf = (segment: number): bigint =>
    segment === SEGMENT.fs ? cpu.fsBase : segment === SEGMENT.gs ? cpu.gsBase : 0n;
  if (operand !== undefined && memory !== undefined && memory.vectorIndex === 0 && !NO_ACCESS.has(mnemonic)) {
    const sum = register(memory.base) + (register(memory.index) << BigInt(memory.shift)) + memory.displacement;
    add(BigInt.asUintN(memory.address32 ? 32 : 64, sum) + baseOf(memory.segment), operand.width);
  } else if (operand !== undefined && instruction.stringAddress !== 0) {
    const name = Mnemonic[mnemonic];
    const at = (number: number): bigint => BigInt.asUintN(instruction.stringAddress, cpu.gpr[number]);
    const runs = instruction.prefixes === 0 || BigInt.asUintN(instruction.stringAddress, cpu.gpr[REG.RCX]) !== 0n;
    if (runs && LOADS_STRING.test(name)) add(at(REG.RSI) + baseOf(instruction.segment), operand.width);
    if (runs && STORES_STRING.test(name)) add(at(REG.RDI), operand.width);
  }
  const words = STACK.get(mnemonic);
  const size = NARROW.has(instruction.code) ? 16 : 64;
  if (words !== undefined) add(cpu.gpr[REG.RSP] + BigInt((words * size) / 8), size);
  if (mnemonic === Mnemonic.Leave) add(cpu.gpr[REG.RBP], instruction.code === Code.Leavew ? 16 : 64);
  return accesses;
}
