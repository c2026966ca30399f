import { SEGMENT_REGISTER } from "../../emu/cpu/segments.ts";
import { REG } from "../../emu/cpu/state.ts";
import type { LinuxThread } from "../linux-thread.ts";
import type { Traced } from "./traced.ts";

/** Bytes of struct user_regs_struct (arch/x86/include/asm/user_64.h): 27 words. */
export const USER_REGS_SIZE = 216;

/** General registers by their word. */
const GENERAL: readonly (readonly [word: number, register: number])[] = [
  [0, REG.R15],
  [1, REG.R14],
  [2, REG.R13],
  [3, REG.R12],
  [4, REG.RBP],
  [5, REG.RBX],
  [6, REG.R11],
  [7, REG.R10],
  [8, REG.R9],
  [9, REG.R8],
  [10, REG.RAX],
  [11, REG.RCX],
  [12, REG.RDX],
  [13, REG.RSI],
  [14, REG.RDI],
  [19, REG.RSP],
];
const WORD = {
  callNumber: 15,
  rip: 16,
  cs: 17,
  flags: 18,
  ss: 20,
  fsBase: 21,
  gsBase: 22,
  ds: 23,
  es: 24,
  fs: 25,
  gs: 26,
};
const SELECTORS: readonly (readonly [word: number, segment: number])[] = [
  [WORD.cs, SEGMENT_REGISTER.CS],
  [WORD.ss, SEGMENT_REGISTER.SS],
  [WORD.ds, SEGMENT_REGISTER.DS],
  [WORD.es, SEGMENT_REGISTER.ES],
  [WORD.fs, SEGMENT_REGISTER.FS],
  [WORD.gs, SEGMENT_REGISTER.GS],
];
/** What a tracer may change of RFLAGS (arch/x86/kernel/ptrace.c, FLAG_MASK): CF, PF, AF, ZF, SF, TF, DF, OF, NT, RF, AC. */
const FLAG_MASK = 0x5_4dd5n;

/** A traced thread's registers as struct user_regs_struct. */
export function userRegisters({ cpu }: LinuxThread, traced: Traced): Uint8Array {
  const words = new BigUint64Array(USER_REGS_SIZE / 8);
  for (const [word, register] of GENERAL) words[word] = cpu.gpr[register];
  for (const [word, segment] of SELECTORS) words[word] = BigInt(cpu.selector(segment));
  words[WORD.callNumber] = traced.callNumber;
  words[WORD.rip] = cpu.rip64;
  words[WORD.flags] = cpu.rflags;
  words[WORD.fsBase] = cpu.fsBase;
  words[WORD.gsBase] = cpu.gsBase;
  return new Uint8Array(words.buffer);
}

/** Sets them; selectors stay as they are. */
export function setUserRegisters(thread: LinuxThread, traced: Traced, bytes: Uint8Array): void {
  const { cpu } = thread;
  const words = new BigUint64Array(bytes.slice(0, USER_REGS_SIZE).buffer);
  for (const [word, register] of GENERAL) cpu.gpr[register] = words[word];
  // A call that was interrupted is not made again by who goes on elsewhere.
  if (words[WORD.rip] !== cpu.rip64 || words[WORD.callNumber] !== traced.callNumber) thread.interrupted = undefined;
  traced.callNumber = words[WORD.callNumber];
  cpu.rip64 = words[WORD.rip];
  cpu.rflags = (cpu.rflags & ~FLAG_MASK) | (words[WORD.flags] & FLAG_MASK);
  cpu.fsBase = words[WORD.fsBase];
  cpu.gsBase = words[WORD.gsBase];
}
