import { Code, Mnemonic } from "iced-x86";
import { type Instruction, NO_INSTRUCTION } from "./instruction.ts";

/**
 * Instructions without operands and prefixes, by their bytes: two or three that say everything. They are what programs
 * ask the processor about itself and the time with, so that a start need not wait for the decoder because of them.
 */
const PLAIN = [
  { bytes: [0x0f, 0xa2], code: Code.Cpuid, mnemonic: Mnemonic.Cpuid },
  { bytes: [0x0f, 0x31], code: Code.Rdtsc, mnemonic: Mnemonic.Rdtsc },
  { bytes: [0x0f, 0x01, 0xd0], code: Code.Xgetbv, mnemonic: Mnemonic.Xgetbv },
  { bytes: [0x0f, 0x01, 0xf9], code: Code.Rdtscp, mnemonic: Mnemonic.Rdtscp },
] as const;

/**
 * The instruction that bytes begin with, if it is one of PLAIN.
 * @param address where it lies
 */
export function plainInstruction(bytes: Uint8Array, address: number): Instruction | undefined {
  const found = PLAIN.find((plain) => plain.bytes.every((byte, i) => bytes[i] === byte));
  if (found === undefined) return undefined;
  const { bytes: own, code, mnemonic } = found;
  return { ...NO_INSTRUCTION, address, length: own.length, code, mnemonic };
}
