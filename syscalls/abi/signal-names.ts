import { SIGNAL } from "./signals.ts";

/** SA_* flags by name, in the order in which strace prints them. */
export const SA_NAMES: readonly (readonly [number, string])[] = [
  [0x0400_0000, "SA_RESTORER"],
  [0x0800_0000, "SA_ONSTACK"],
  [0x1000_0000, "SA_RESTART"],
  [0x4000_0000, "SA_NODEFER"],
  [0x8000_0000, "SA_RESETHAND"],
  [0x4, "SA_SIGINFO"],
  [0x1, "SA_NOCLDSTOP"],
  [0x2, "SA_NOCLDWAIT"],
  [0x800, "SA_EXPOSE_TAGBITS"],
];

/** si_code values of any signal (include/uapi/asm-generic/siginfo.h). */
const GENERAL_CODES: ReadonlyMap<number, string> = new Map([
  [0, "SI_USER"],
  [0x80, "SI_KERNEL"],
  [-1, "SI_QUEUE"],
  [-2, "SI_TIMER"],
  [-3, "SI_MESGQ"],
  [-4, "SI_ASYNCIO"],
  [-5, "SI_SIGIO"],
  [-6, "SI_TKILL"],
]);

/** si_code values from 1 on of signals that an instruction raises. */
const FAULT_CODES: ReadonlyMap<number, readonly string[]> = new Map([
  [SIGNAL.SIGILL, ["ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC", "ILL_PRVREG"]],
  [SIGNAL.SIGFPE, ["FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF", "FPE_FLTUND", "FPE_FLTRES", "FPE_FLTINV"]],
  [SIGNAL.SIGSEGV, ["SEGV_MAPERR", "SEGV_ACCERR"]],
  [SIGNAL.SIGBUS, ["BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR"]],
  [SIGNAL.SIGTRAP, ["TRAP_BRKPT", "TRAP_TRACE"]],
]);

/** What SIGCHLD tells. */
const CHILD_CODES = ["CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED", "CLD_STOPPED", "CLD_CONTINUED"];

/** Name of the si_code of a signal as strace prints it. */
export function signalCodeName(signal: number, code: number): string {
  const ofSignal = signal === SIGNAL.SIGCHLD ? CHILD_CODES : FAULT_CODES.get(signal);
  return ofSignal?.[code - 1] ?? GENERAL_CODES.get(code) ?? String(code);
}

/** Is this an si_code that comes with an address instead of a sender? */
export function isFaultCode(signal: number, code: number): boolean {
  return FAULT_CODES.get(signal)?.[code - 1] !== undefined;
}
