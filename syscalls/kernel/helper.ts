import { runHelper } from "../../emu/cpu/helpers.ts";
import { decodeOne } from "../../emu/decode/decoder.ts";
import { plainInstruction } from "../../emu/decode/plain.ts";
import type { Stop } from "../../emu/interpreter/interpreter.ts";
import type { LinuxThread } from "../linux-thread.ts";

/** Carries out an instruction that is a helper's (CPUID and its kin) for a thread that stands before it; the fault, if any. */
export function runHelperOf({ cpu, process }: LinuxThread): Stop | undefined {
  const { memory, kernel } = process;
  const bytes = memory.readBytes(cpu.rip, memory.accessible(cpu.rip, 15, 4));
  const instruction = plainInstruction(bytes, cpu.rip) ?? decodeOne(bytes, cpu.rip);
  if (typeof instruction === "string") throw new Error(`cannot decode a helper instruction at ${cpu.rip}`);
  return runHelper(cpu, kernel, memory, instruction);
}
