import type { Instruction } from "../../decode/instruction.ts";
import type { GuestMemory } from "../../memory/guest-memory.ts";
import { VECTOR } from "../exits.ts";
import { GuestOperand, raiseVector } from "../guest-operand.ts";
import type { CpuState } from "../state.ts";
import { x87Row } from "./instructions.ts";
import { X87_FLAG } from "./operation.ts";
import { X87Registers } from "./registers.ts";

/** The copy that the instruction in hand works on: there is one at a time. */
const registers = new X87Registers();

/**
 * Carries out an x87 instruction.
 * @returns false if it is none
 * @throws HelperFaultError with nothing changed: a memory fault, or #MF that an earlier instruction left pending
 */
export function runX87(cpu: CpuState, guest: GuestMemory, instruction: Instruction): boolean {
  const row = x87Row(instruction.mnemonic);
  if (row === undefined) return false;
  registers.load(cpu.u8);
  if (row.waits && registers.status & X87_FLAG.ES) raiseVector(instruction, VECTOR.MF);
  const operand = instruction.memory;
  const memory = operand === undefined ? undefined : new GuestOperand(cpu, guest, instruction, operand);
  row.run({ cpu, registers, instruction, memory });
  if (!row.control) {
    // The opcode is kept for instructions that raise an unmasked exception (SDM Vol. 1, 8.1.9.1).
    const raised = registers.status & X87_FLAG.ES;
    const opcode = raised ? opcodeOf(guest, instruction) : registers.opcode;
    registers.setLast(opcode, BigInt(instruction.address), memory?.offset);
  }
  registers.store(cpu.u8);
  return true;
}

/** The eleven bits of an x87 opcode that tell instructions apart: low bits of D8–DF, then the ModRM byte. */
function opcodeOf(guest: GuestMemory, instruction: Instruction): number {
  const bytes = guest.readBytes(instruction.address, instruction.length);
  const at = bytes.findIndex((byte) => (byte & 0xf8) === 0xd8);
  return ((bytes[at] & 7) << 8) | bytes[at + 1];
}
