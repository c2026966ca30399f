// Signal handlers in guests of tests.
import { SA_RESTORER, SA_SIGINFO } from "../abi/signals.ts";
import type { Assembler, Memory } from "./assembler.ts";
import { DATA } from "./guest.ts";

/** Where `install` puts its struct kernel_sigaction. */
const ACTION = DATA + 0xf_f000;

/** Offsets in the ucontext that RDX points to (arch/x86/include/uapi/asm/sigcontext.h, ucontext.h). */
export const UC = {
  flags: 0,
  link: 8,
  stack: 16,
  r8: 40,
  r9: 48,
  r10: 56,
  r11: 64,
  r12: 72,
  r13: 80,
  r14: 88,
  r15: 96,
  rdi: 104,
  rsi: 112,
  rbp: 120,
  rbx: 128,
  rdx: 136,
  rax: 144,
  rcx: 152,
  rsp: 160,
  rip: 168,
  eflags: 176,
  selectors: 184,
  error: 192,
  trap: 200,
  oldMask: 208,
  cr2: 216,
  fpstate: 224,
  mask: 296,
} as const;

/** Offsets in the siginfo_t that RSI points to: signal and errno, code, and the union's first two words. */
export const INFO = { signal: 0, code: 8, first: 16, second: 24 } as const;

/** Sets a handler: the label of one that `handlers` defined, or a number for SIG_DFL and SIG_IGN. */
export function install(
  a: Assembler,
  signal: number,
  handler: string | number,
  flags = 0,
  mask: number | bigint = 0,
): void {
  a.put(ACTION, handler);
  a.put(ACTION + 8, flags | SA_SIGINFO | SA_RESTORER);
  a.put(ACTION + 16, "restorer");
  a.put(ACTION + 24, mask);
  a.syscall(13, signal, ACTION, 0, 8);
}

/** Defines handlers out of the way of the code that follows, and the restorer that returns from them. */
export function handlers(a: Assembler, define: (a: Assembler) => void): void {
  const over = a.fresh();
  a.jmp(over);
  a.label("restorer").mov("rax", 15).bytes(0x0f, 0x05);
  define(a);
  a.label(over);
}

/** Adds 1 to a word of memory; changes RCX. */
export function count(a: Assembler, word: number): Assembler {
  return a.mov("rcx", 1).exchangeAdd32(word, "rcx");
}

/** Records a word of memory through RAX. */
export function recordWord(a: Assembler, memory: Memory): Assembler {
  return a.load("rax", memory).record();
}

/** tgkill(2) to the calling thread. */
export function raise(a: Assembler, signal: number): Assembler {
  a.syscall(39).copy("rbx", "rax").syscall(186).copy("rsi", "rax").copy("rdi", "rbx");
  return a.mov("rdx", signal).mov("rax", 234).bytes(0x0f, 0x05);
}

/** rt_sigprocmask(2) with a mask of signals given by number; `how` as SIG_BLOCK and so on. */
export function setMask(a: Assembler, how: number, ...signals: readonly number[]): Assembler {
  const mask = signals.reduce((bits, signal) => bits | (1n << BigInt(signal - 1)), 0n);
  return a.put(ACTION, mask).syscall(14, how, ACTION, 0, 8);
}
