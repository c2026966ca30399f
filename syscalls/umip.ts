import { Mnemonic } from "iced-x86";
import { VECTOR } from "../emu/cpu/exits.ts";
import { GuestOperand, HelperFaultError } from "../emu/cpu/guest-operand.ts";
import type { CpuState } from "../emu/cpu/state.ts";
import { decodeOne, MAX_INSTRUCTION } from "../emu/decode/decoder.ts";
import type { Instruction } from "../emu/decode/instruction.ts";
import { PROT_EXEC } from "../emu/layout.ts";
import type { GuestMemory } from "../emu/memory/guest-memory.ts";
import { SEGV_MAPERR, SIGNAL } from "./abi/signals.ts";
import type { FaultSignal } from "./exceptions.ts";

/** The values that Linux makes up (arch/x86/kernel/umip.c): bases of tables, CR0, the TSS's selector; no LDT. */
const GDT_BASE = 0xffff_ffff_fffe_0000n;
const IDT_BASE = 0xffff_ffff_ffff_0000n;
const WORDS = new Map<Mnemonic, bigint>([
  [Mnemonic.Smsw, 0x8005_0033n],
  [Mnemonic.Sldt, 0n],
  [Mnemonic.Str, 0x40n],
]);
const BASES = new Map<Mnemonic, bigint>([
  [Mnemonic.Sgdt, GDT_BASE],
  [Mnemonic.Sidt, IDT_BASE],
]);

/** A limit of 0 and the base. */
function tableBytes(base: bigint): Uint8Array {
  const bytes = new Uint8Array(10);
  new DataView(bytes.buffer).setBigUint64(2, base, true);
  return bytes;
}

function wordBytes(word: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, word, true);
  return bytes.subarray(0, length);
}

/** What the instruction stores: of a register as many bytes as it names, of memory 2, or a limit and a base. */
function resultOf({ mnemonic, operands }: Instruction): Uint8Array | undefined {
  const base = BASES.get(mnemonic);
  if (base !== undefined) return tableBytes(base);
  const word = WORDS.get(mnemonic);
  if (word === undefined) return undefined;
  return wordBytes(word, operands[0].kind === "register" ? operands[0].width / 8 : 2);
}

/**
 * SGDT, SIDT, SMSW, SLDT and STR, which CR4.UMIP forbids user mode: Linux answers them itself (arch/x86/kernel/umip.c,
 * fixup_umip_exception).
 * @param cpu RIP is at an instruction that has raised #GP(0)
 * @returns true if it was one of these, with RIP behind it now; the signal for a place that can't be written; false if it
 * is another instruction
 */
export function emulateUmip(cpu: CpuState, memory: GuestMemory): boolean | FaultSignal {
  const available = memory.accessible(cpu.rip, MAX_INSTRUCTION, PROT_EXEC);
  const instruction = decodeOne(memory.readBytes(cpu.rip, available), cpu.rip);
  if (typeof instruction === "string") return false;
  const result = resultOf(instruction);
  if (result === undefined) return false;
  const [operand] = instruction.operands;
  if (operand.kind === "register") cpu.u8.set(result, operand.offset);
  else if (instruction.memory !== undefined) {
    const target = new GuestOperand(cpu, memory, instruction, instruction.memory);
    try {
      target.write(result);
    } catch (error) {
      if (!(error instanceof HelperFaultError)) throw error;
      // A user's write access to what is not there, wherever and whatever it is (umip.c, force_sig_info_umip_fault).
      const code = SEGV_MAPERR;
      return { signal: SIGNAL.SIGSEGV, code, address: target.address, trap: VECTOR.PF, error: 6, resume: true };
    }
  }
  cpu.rip64 = BigInt(instruction.address + instruction.length);
  return true;
}
