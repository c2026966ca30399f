import { VECTOR } from "../emu/cpu/exits.ts";
import { levelWith } from "../emu/cpu/features.ts";
import { neededBy } from "../emu/cpu/instruction-features.ts";
import { type CpuState, REG, STATE } from "../emu/cpu/state.ts";
import { BlockDecoder, MAX_INSTRUCTION } from "../emu/decode/decoder.ts";
import type { Stop } from "../emu/interpreter/interpreter.ts";
import { PROT_EXEC, PROT_WRITE } from "../emu/layout.ts";
import { GuestFault, type GuestMemory } from "../emu/memory/guest-memory.ts";
import { allows } from "../emu/memory/vma.ts";
import { disassembleOne } from "../loader/disassemble.ts";
import { errno } from "./abi/errno.ts";
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
import { emulateUmip } from "./umip.ts";

/** Bits of a page fault's error code (SDM Vol. 3A, 4.7). */
const PF = { present: 1, write: 2, user: 4, fetch: 16 } as const;

/** What a fault's signal, and the frame of its handler, are made from. */
export interface FaultSignal extends Omit<SignalInfo, "forced"> {
  readonly trap: number;
  readonly error: number;
}

/** A stop that the CPU's exceptions make. */
export type FaultStop = Extract<Stop, { kind: "fault" | "exception" | "trace" | "undefined" }>;

/**
 * The signal that Linux makes of a CPU exception (arch/x86/kernel/traps.c, arch/x86/mm/fault.c), with its siginfo.
 * @returns undefined if the kernel deals with it itself: calls into the vsyscall page, SGDT and its like
 */
export function signalOfStop(
  process: LinuxProcess,
  thread: LinuxThread,
  stop: Stop,
  report: (message: string) => void,
): FaultSignal | undefined {
  const { cpu } = thread;
  switch (stop.kind) {
    case "fault": {
      const found = stop.access === PROT_EXEC ? emulateVsyscall(process, thread) : "elsewhere";
      if (found === "done") return undefined;
      // Beside its entries there is nothing to call; force_sig tells neither the address nor a new error code.
      if (found === "refused") return { ...SEGV_KERNEL, ...thread.lastTrap };
      break;
    }
    case "undefined":
      if (stop.instruction !== undefined)
        report(describeUnimplemented(process, stop.instruction.address, stop.instruction.length));
      else reportMissing(process, cpu.rip, report);
      break;
    case "exception": {
      const found = stop.vector === VECTOR.GP && !stop.error ? emulateUmip(cpu, process.memory) : false;
      if (found === true) return undefined;
      if (found !== false) return found;
      break;
    }
    case "trace":
      break;
    default:
      throw new Error(`not a fault: ${stop.kind}`);
  }
  return signalOfFault(cpu, process.memory, stop);
}

/**
 * The signal for an exception that is the program's own doing; RIP moves behind an instruction that traps.
 * @param cpu RIP is at the instruction
 */
export function signalOfFault(cpu: CpuState, memory: GuestMemory, stop: FaultStop): FaultSignal {
  switch (stop.kind) {
    case "fault":
      return pageFault(memory, stop.address, stop.access);
    case "undefined":
      return { signal: SIGNAL.SIGILL, code: ILL_ILLOPN, address: cpu.rip64, trap: VECTOR.UD, error: 0, resume: true };
    case "trace":
      return {
        signal: SIGNAL.SIGTRAP,
        code: TRAP_TRACE,
        address: cpu.rip64,
        trap: VECTOR.DB,
        error: 0,
        resume: stop.resume,
      };
    default:
      return exception(cpu, stop.vector, stop.next, stop.error ?? 0);
  }
}

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
  const text = orNothing(() => disassembleOne(bytes, address));
  const symbol = orNothing(() => process.mm.program.symbols.lookup(address)?.name ?? "");
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

/** SIGSEGV as force_sig sends it. */
const SEGV_KERNEL = { signal: SIGNAL.SIGSEGV, code: SI_KERNEL, address: 0n } as const;

/** From here on addresses are the kernel's (arch/x86/include/asm/page_64_types.h, TASK_SIZE_MAX). */
const TASK_SIZE_MAX = 0x7fff_ffff_f000n;

function pageFault(memory: GuestMemory, address: bigint, access: number): FaultSignal {
  // An address that is not canonical never reaches the page tables: #GP.
  if (BigInt.asUintN(64, BigInt.asIntN(48, address)) !== address) {
    return { ...SEGV_KERNEL, trap: VECTOR.GP, error: 0, resume: true };
  }
  const isUser = address < TASK_SIZE_MAX;
  const vma = isUser ? memory.space.guestMapping(Number(address)) : undefined;
  let error: number = PF.user;
  // Of its own addresses the kernel always says that they are there (arch/x86/mm/fault.c, sanitize_error_code).
  if (!isUser || memory.space.isInUse(Number(address))) error |= PF.present;
  if (access & PROT_WRITE) error |= PF.write;
  if (access & PROT_EXEC) error |= PF.fetch;
  const common = { address, trap: VECTOR.PF, error, resume: true };
  // Nothing forbids the access, but there is nothing: behind the end of a mapped file (Linux: filemap_fault).
  if (vma !== undefined && allows(vma.prot, access)) return { signal: SIGNAL.SIGBUS, code: BUS_ADRERR, ...common };
  return { signal: SIGNAL.SIGSEGV, code: vma === undefined ? SEGV_MAPERR : SEGV_ACCERR, ...common };
}

function exception(cpu: CpuState, vector: number, next: bigint, error: number): FaultSignal {
  const address = cpu.rip64;
  const common = { trap: vector, error, resume: true };
  switch (vector) {
    case VECTOR.DE:
      return { signal: SIGNAL.SIGFPE, code: FPE_INTDIV, address, ...common };
    case VECTOR.BP:
      cpu.rip64 = next;
      return { signal: SIGNAL.SIGTRAP, code: SI_KERNEL, trap: vector, error };
    case VECTOR.DB:
      cpu.rip64 = next;
      return { signal: SIGNAL.SIGTRAP, code: TRAP_BRKPT, address: next, trap: vector, error };
    case VECTOR.OF:
      cpu.rip64 = next;
      return { ...SEGV_KERNEL, trap: vector, error };
    case VECTOR.UD:
      return { signal: SIGNAL.SIGILL, code: ILL_ILLOPN, address, ...common };
    case VECTOR.AC:
      return { signal: SIGNAL.SIGBUS, code: BUS_ADRALN, address: 0n, ...common };
    case VECTOR.NP:
    case VECTOR.SS:
      return { signal: SIGNAL.SIGBUS, code: SI_KERNEL, address: 0n, ...common };
    case VECTOR.XM:
      return { signal: SIGNAL.SIGFPE, code: floatCode(cpu.mxcsr & ~(cpu.mxcsr >> 7)), address, ...common };
    case VECTOR.MF: {
      const control = cpu.view.getUint16(STATE.x87, true);
      const status = cpu.view.getUint16(STATE.x87 + 2, true);
      return { signal: SIGNAL.SIGFPE, code: floatCode(status & ~control), address, ...common };
    }
    default:
      return { ...SEGV_KERNEL, ...common };
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

const VSYSCALL_PAGE = 0xffff_ffff_ff60_0000n;
const VSYSCALL_END = 0xffff_ffff_ff60_1000n;

/**
 * A call into the vsyscall page (arch/x86/entry/vsyscall/vsyscall_64.c, emulate_vsyscall).
 * @returns "refused" for addresses in it that are no entry, a stack that can't be read, and pointers of which the call
 * says EFAULT: SIGSEGV, with RIP where it was
 */
function emulateVsyscall(process: LinuxProcess, thread: LinuxThread): "done" | "refused" | "elsewhere" {
  const { cpu } = thread;
  const { gpr } = cpu;
  if (cpu.rip64 < VSYSCALL_PAGE || cpu.rip64 >= VSYSCALL_END) return "elsewhere";
  const number = VSYSCALLS.get(cpu.rip64);
  if (number === undefined) return "refused";
  let caller: bigint;
  try {
    caller = process.memory.readU64(Number(gpr[REG.RSP]));
  } catch (error) {
    if (error instanceof GuestFault) return "refused";
    throw error;
  }
  const rax = gpr[REG.RAX];
  process.callSystem(thread, number, new Args(BigUint64Array.of(gpr[REG.RDI], gpr[REG.RSI], gpr[REG.RDX], 0n, 0n, 0n)));
  if (BigInt.asIntN(64, gpr[REG.RAX]) === -BigInt(errno.EFAULT)) {
    gpr[REG.RAX] = rax;
    return "refused";
  }
  cpu.rip64 = caller;
  gpr[REG.RSP] += 8n;
  return "done";
}
