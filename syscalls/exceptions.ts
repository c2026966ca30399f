import { VECTOR } from "../emu/cpu/exits.ts";
import { levelWith } from "../emu/cpu/features.ts";
import { neededBy } from "../emu/cpu/instruction-features.ts";
import { REG, STATE } from "../emu/cpu/state.ts";
import { BlockDecoder, MAX_INSTRUCTION } from "../emu/decode/decoder.ts";
import type { Stop } from "../emu/interpreter/interpreter.ts";
import { PROT_EXEC, PROT_WRITE } from "../emu/layout.ts";
import { allows } from "../emu/memory/address-space.ts";
import { GuestFault } from "../emu/memory/guest-memory.ts";
import {
  BUS_ADRALN,
  BUS_ADRERR,
  FPE_FLTDIV,
  FPE_FLTINV,
  FPE_FLTOVF,
  FPE_FLTRES,
  FPE_FLTUND,
  FPE_INTDIV,
  ILL_ILLOPN,
  SEGV_ACCERR,
  SEGV_MAPERR,
  SI_KERNEL,
  SIGNAL,
  TRAP_BRKPT,
  TRAP_TRACE,
} from "./abi/signals.ts";
import { Args } from "./args.ts";
import type { LinuxProcess } from "./linux-process.ts";
import type { LinuxThread } from "./linux-thread.ts";
import type { SignalInfo } from "./signals/info.ts";

/** Bits of a page fault's error code (SDM Vol. 3A, 4.7). */
const PF = { present: 1, write: 2, user: 4, fetch: 16 } as const;

/**
 * The signal that Linux makes of a CPU exception (arch/x86/kernel/traps.c, arch/x86/mm/fault.c), with its siginfo.
 * @returns undefined if the kernel deals with it itself: calls into the vsyscall page
 */
export function signalOfStop(
  process: LinuxProcess,
  thread: LinuxThread,
  stop: Stop,
  report: (message: string) => void,
): Omit<SignalInfo, "forced"> | undefined {
  const { cpu } = thread;
  switch (stop.kind) {
    case "fault":
      if (stop.access === PROT_EXEC && emulateVsyscall(process, thread)) return undefined;
      return pageFault(process, stop.address, stop.access);
    case "undefined":
      if (stop.instruction !== undefined)
        report(describeUnimplemented(process, stop.instruction.address, stop.instruction.length));
      else reportMissing(process, cpu.rip, report);
      return { signal: SIGNAL.SIGILL, code: ILL_ILLOPN, address: cpu.rip64, trap: VECTOR.UD };
    case "exception":
      return exception(thread, stop.vector, stop.next);
    default:
      throw new Error(`not a fault: ${stop.kind}`);
  }
}

/** Hook by which symbols and disassembly get into the message; set by whoever has them. */
export const describeCode: {
  symbol: (address: number) => string;
  text: (bytes: Uint8Array, address: number) => string;
} = {
  symbol: () => "",
  text: () => "",
};

/** Says what an instruction needs that goemu has, and the CPU that it shows has not. */
function reportMissing(process: LinuxProcess, address: number, report: (message: string) => void): void {
  const available = process.memory.accessible(address, MAX_INSTRUCTION, PROT_EXEC);
  const decoder = new BlockDecoder(process.memory.readBytes(address, available), address);
  const instruction = decoder.next();
  decoder.free();
  if (typeof instruction === "string") return;
  const missing = neededBy(instruction.code).filter((name) => !process.features.has(name));
  const level = missing.length === 0 ? undefined : levelWith(missing);
  if (level === undefined) return;
  report(
    `the CPU has no ${missing.join(", ")}: ${describeInstruction(process, address, instruction.length)} (--cpu ${level})`,
  );
}

const describeUnimplemented = (process: LinuxProcess, address: number, length: number): string =>
  `instruction not implemented ${describeInstruction(process, address, length)}`;

function describeInstruction(process: LinuxProcess, address: number, length: number): string {
  const bytes = process.memory.readBytes(address, length);
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const text = orNothing(() => describeCode.text(bytes, address));
  const symbol = orNothing(() => describeCode.symbol(address));
  const where = symbol === "" ? "" : ` in ${symbol}`;
  return `at 0x${address.toString(16)}${where}: ${hex}  ${text}`.trimEnd();
}

/** Text for a message, which is to be had without it. */
function orNothing(text: () => string): string {
  try {
    return text();
  } catch {
    return "";
  }
}

function pageFault(process: LinuxProcess, address: bigint, access: number): Omit<SignalInfo, "forced"> {
  // An address that is not canonical never reaches the page tables: #GP.
  if (BigInt.asUintN(64, BigInt.asIntN(48, address)) !== address) {
    return { signal: SIGNAL.SIGSEGV, code: SI_KERNEL, address: 0n, trap: VECTOR.GP };
  }
  const vma = address < 2n ** 47n ? process.memory.space.guestMapping(Number(address)) : undefined;
  if (vma !== undefined && allows(vma.prot, access)) return busError(address, access);
  const mapped = vma !== undefined;
  let error: number = PF.user;
  if (mapped) error |= PF.present;
  if (access & PROT_WRITE) error |= PF.write;
  if (access & PROT_EXEC) error |= PF.fetch;
  return { signal: SIGNAL.SIGSEGV, code: mapped ? SEGV_ACCERR : SEGV_MAPERR, address, trap: VECTOR.PF, error };
}

/** Nothing forbids the access, but there is nothing: behind the end of a mapped file (Linux: filemap_fault). */
function busError(address: bigint, access: number): Omit<SignalInfo, "forced"> {
  const error = PF.user | (access & PROT_WRITE ? PF.write : 0) | (access & PROT_EXEC ? PF.fetch : 0);
  return { signal: SIGNAL.SIGBUS, code: BUS_ADRERR, address, trap: VECTOR.PF, error };
}

function exception(thread: LinuxThread, vector: number, next: bigint): Omit<SignalInfo, "forced"> {
  const { cpu } = thread;
  const address = cpu.rip64;
  switch (vector) {
    case VECTOR.DE:
      return { signal: SIGNAL.SIGFPE, code: FPE_INTDIV, address, trap: vector };
    case VECTOR.BP:
      cpu.rip64 = next;
      return { signal: SIGNAL.SIGTRAP, code: SI_KERNEL, trap: vector };
    case VECTOR.DB:
      cpu.rip64 = next;
      return { signal: SIGNAL.SIGTRAP, code: TRAP_BRKPT, address: next, trap: vector };
    case VECTOR.OF:
      return { signal: SIGNAL.SIGSEGV, code: SI_KERNEL, address: 0n, trap: vector };
    case VECTOR.UD:
      return { signal: SIGNAL.SIGILL, code: ILL_ILLOPN, address, trap: vector };
    case VECTOR.AC:
      return { signal: SIGNAL.SIGBUS, code: BUS_ADRALN, address: 0n, trap: vector };
    case VECTOR.SS:
      return { signal: SIGNAL.SIGBUS, code: SI_KERNEL, address: 0n, trap: vector };
    case VECTOR.XM:
      return { signal: SIGNAL.SIGFPE, code: floatCode(cpu.mxcsr & ~(cpu.mxcsr >> 7)), address, trap: vector };
    case VECTOR.MF: {
      const control = cpu.view.getUint16(STATE.x87, true);
      const status = cpu.view.getUint16(STATE.x87 + 2, true);
      return { signal: SIGNAL.SIGFPE, code: floatCode(status & ~control), address, trap: vector };
    }
    default:
      return { signal: SIGNAL.SIGSEGV, code: SI_KERNEL, address: 0n, trap: vector };
  }
}

/** si_code of the first unmasked exception flag (arch/x86/kernel/fpu/core.c, fpu__exception_code). */
function floatCode(flags: number): number {
  if (flags & 1) return FPE_FLTINV;
  if (flags & 4) return FPE_FLTDIV;
  if (flags & 8) return FPE_FLTOVF;
  if (flags & 0x12) return FPE_FLTUND;
  return flags & 0x20 ? FPE_FLTRES : TRAP_TRACE;
}

/** The three entries of the vsyscall page and the system calls they stand for (arch/x86/entry/vsyscall). */
const VSYSCALLS = new Map<bigint, number>([
  [0xffff_ffff_ff60_0000n, 96],
  [0xffff_ffff_ff60_0400n, 201],
  [0xffff_ffff_ff60_0800n, 309],
]);

function emulateVsyscall(process: LinuxProcess, thread: LinuxThread): boolean {
  const { cpu } = thread;
  const number = VSYSCALLS.get(cpu.rip64);
  if (number === undefined) return false;
  try {
    const stack = Number(cpu.gpr[REG.RSP]);
    cpu.rip64 = process.memory.readU64(stack);
    cpu.gpr[REG.RSP] += 8n;
  } catch (error) {
    if (error instanceof GuestFault) return false;
    throw error;
  }
  const { gpr } = cpu;
  process.callSystem(thread, number, new Args(BigUint64Array.of(gpr[REG.RDI], gpr[REG.RSI], gpr[REG.RDX], 0n, 0n, 0n)));
  return true;
}
