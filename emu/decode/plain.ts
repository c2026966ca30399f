import { Code, Mnemonic } from "iced-x86";
import type { Instruction } from "./instruction.ts";

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
  return {
    address,
    length: found.bytes.length,
    code: found.code,
    mnemonic: found.mnemonic,
    operands: [],
    memory: undefined,
    prefixes: 0,
    vex: false,
    evex: false,
    opmask: 0,
    zeroing: false,
    broadcast: 0,
    rounding: 0,
    suppressExceptions: false,
    flagsRead: 0,
    flagsWritten: 0,
    stringAddress: 0,
    segment: 0,
  };
}
