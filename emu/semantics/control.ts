import { Code, Mnemonic } from "iced-x86";
import { EXIT, VECTOR } from "../cpu/exits.ts";
import { REG, STATE } from "../cpu/state.ts";
import { type I64Expr, i32, i64 } from "../wasm/expr.ts";
import { CONDITIONS } from "./move.ts";
import { define, defineString } from "./table.ts";
import type { Translator } from "./translator.ts";

const n = (value: number): I64Expr => i64.const(value);
const ENDS = { ends: true };

/** Memory operands of JMP and CALL that hold a selector behind the offset. */
const FAR = new Set<Code>([
  ...[Code.Jmp_m1616, Code.Jmp_m1632, Code.Jmp_m1664],
  ...[Code.Call_m1616, Code.Call_m1632, Code.Call_m1664],
]);
const isFarPointer = (e: Translator): boolean => FAR.has(e.instruction.code);

define(
  "Jmp",
  "Vol. 2A, JMP",
  (e) => {
    if (e.operand(0).kind === "branch") {
      e.jumpDirect();
      return;
    }
    if (isFarPointer(e)) {
      e.leave(EXIT.helper, false);
      return;
    }
    const target = e.read(0);
    e.requireCanonical(target);
    e.jumpTo(target);
  },
  ENDS,
);

define(
  "Call",
  "Vol. 2A, CALL",
  (e) => {
    if (e.operand(0).kind === "branch") {
      e.push(e.nextAddress(), 64);
      e.jumpDirect();
      return;
    }
    if (isFarPointer(e)) {
      e.leave(EXIT.helper, false);
      return;
    }
    const target = e.read(0);
    e.requireCanonical(target);
    e.push(e.nextAddress(), 64);
    e.jumpTo(target);
  },
  ENDS,
);

define(
  "Ret",
  "Vol. 2B, RET",
  (e) => {
    const top = e.let(e.gpr(REG.RSP));
    const target = e.load(top, 64);
    e.requireCanonical(target);
    const released = e.instruction.operands.length > 0 ? i64.and(e.immediate(0), n(0xffff)) : n(0);
    e.setGpr(REG.RSP, i64.add(i64.add(top, n(8)), released));
    e.jumpTo(target);
  },
  { ends: true, returns: true },
);

for (const [cc, suffix] of CONDITIONS.entries()) {
  define(`J${suffix}`, "Vol. 2A, Jcc", (e) => e.jumpIf(e.condition(cc)), ENDS);
}

define("Jrcxz", "Vol. 2A, Jcc", (e) => e.jumpIf(i64.eqz(e.gpr(REG.RCX))), ENDS);
define("Jecxz", "Vol. 2A, Jcc", (e) => e.jumpIf(i64.eqz(e.gpr(REG.RCX, 32))), ENDS);

/** Loops that count in ECX under prefix 67. */
const NARROW_LOOPS = new Set<Code>([Code.Loop_rel8_64_ECX, Code.Loope_rel8_64_ECX, Code.Loopne_rel8_64_ECX]);

/** LOOP, LOOPE, LOOPNE: flags are neither read (but for ZF) nor written. */
function loop(e: Translator, zf: boolean | undefined): void {
  const width = NARROW_LOOPS.has(e.instruction.code) ? 32 : 64;
  const count = e.let(e.cut(i64.sub(e.gpr(REG.RCX, width), n(1)), width));
  const more = i64.ne(count, n(0));
  const goes = e.let(zf === undefined ? more : i32.and(more, e.condition(zf ? 4 : 5)));
  e.setGpr(REG.RCX, count, width);
  e.jumpIf(goes);
}
define("Loop", "Vol. 2A, LOOP/LOOPcc", (e) => loop(e, undefined), ENDS);
define("Loope", "Vol. 2A, LOOP/LOOPcc", (e) => loop(e, true), ENDS);
define("Loopne", "Vol. 2A, LOOP/LOOPcc", (e) => loop(e, false), ENDS);

define("Syscall", "Vol. 2B, SYSCALL", (e) => e.leave(EXIT.syscall, true), ENDS);

// Far transfers and interrupt returns are carried out in TypeScript: cpu/far-transfers.ts.
define(
  ["Retf", "Iret", "Iretd", "Iretq"],
  "Vol. 2B, RET; Vol. 2A, IRET/IRETD/IRETQ",
  (e) => e.leave(EXIT.helper, false),
  ENDS,
);

define(["Ud0", "Ud1", "Ud2"], "Vol. 2B, UD", (e) => e.raise(VECTOR.UD), ENDS);
define("Int3", "Vol. 2A, INT n/INTO/INT3/INT1", (e) => e.raise(VECTOR.BP), ENDS);
define("Int1", "Vol. 2A, INT n/INTO/INT3/INT1", (e) => e.raise(VECTOR.DB), ENDS);
// User mode may not use the gates of other vectors; Linux leaves 3 and 4 open (arch/x86/kernel/idt.c, def_idts). The
// error code is the gate's place in the table of interrupts, with the bit that says so (SDM Vol. 3A, 6.13).
define(
  "Int",
  "Vol. 2A, INT n/INTO/INT3/INT1",
  (e) => {
    const vector = Number(e.operand(0).value & 0xffn);
    if (vector === 3) e.raise(VECTOR.BP);
    else if (vector === 4) e.raise(VECTOR.OF);
    else e.raise(VECTOR.GP, vector * 8 + 2);
  },
  { ends: true, immediateInForm: true },
);

/**
 * Privileged instructions fault with #GP(0) in user mode; SGDT and its like do where the kernel has set CR4.UMIP, as Linux
 * does, which then makes something up (syscalls/umip.ts).
 */
const PRIVILEGED = [
  "Hlt",
  "Cli",
  "Sti",
  "In",
  "Out",
  "Lgdt",
  "Lidt",
  "Lldt",
  "Ltr",
  "Lmsw",
  "Clts",
  "Invd",
  "Wbinvd",
  "Invlpg",
  "Rdmsr",
  "Wrmsr",
  "Rdpmc",
  "Swapgs",
  "Sysretq",
  "Sysret",
  "Sysexit",
  "Sysexitq",
  "Sgdt",
  "Sidt",
  "Sldt",
  "Str",
  "Smsw",
  "Invpcid",
  "Xsetbv",
  "Monitor",
  "Mwait",
] as const;
define(PRIVILEGED, "Vol. 3A, 5.9", (e) => e.raise(VECTOR.GP), ENDS);
for (const name of ["Insb", "Insw", "Insd", "Outsb", "Outsw", "Outsd"] as const) {
  defineString(name, "Vol. 3A, 5.9", (e) => e.raise(VECTOR.GP));
}

for (const [name, base] of [
  ["fs", STATE.fsBase],
  ["gs", STATE.gsBase],
] as const) {
  define(`Rd${name}base`, "Vol. 2B, RDFSBASE/RDGSBASE", (e) => e.write(0, e.state(base, 64)));
  define(`Wr${name}base`, "Vol. 2D, WRFSBASE/WRGSBASE", (e) => {
    const value = e.read(0);
    e.requireCanonical(value);
    e.setState(base, value, 64);
  });
}

const NOTHING = [
  "Nop",
  "Endbr64",
  "Endbr32",
  "Prefetch",
  "Prefetchw",
  "Prefetchwt1",
  "Prefetchnta",
  "Prefetcht0",
  "Prefetcht1",
  "Prefetcht2",
  "Lfence",
  "Sfence",
  "Mfence",
  "Serialize",
  "Reservednop",
] as const;
define(NOTHING, "Vol. 2B, NOP; PREFETCHh; LFENCE; MFENCE; SFENCE; Vol. 2A, ENDBR64", () => {});

define(["Clflush", "Clflushopt", "Clwb", "Cldemote"], "Vol. 2A, CLFLUSH/CLFLUSHOPT/CLWB", (e) => {
  if (e.instruction.mnemonic !== Mnemonic.Cldemote) e.load(e.linearAddress(), 8);
});

define("Pause", "Vol. 2B, PAUSE", (e) => e.leave(EXIT.yield, true), ENDS);

/** EDX:EAX is the time stamp counter, the upper halves of both registers zero. */
function readTimestamp(e: Translator): void {
  const now = e.timestamp();
  e.setGpr(REG.RAX, now, 32);
  e.setGpr(REG.RDX, i64.shrU(now, n(32)), 32);
}
define("Rdtsc", "Vol. 2B, RDTSC", readTimestamp);
define("Rdtscp", "Vol. 2B, RDTSCP", (e) => {
  readTimestamp(e);
  // IA32_TSC_AUX, where Linux has the number of the CPU (arch/x86/kernel/cpu/common.c): always the first.
  e.setGpr(REG.RCX, n(0), 32);
});

// What asks the machine about itself is carried out in TypeScript: cpu/helpers.ts.
define(
  ["Cpuid", "Xgetbv", "Rdrand", "Rdseed", "Rdpid"],
  "Vol. 2A, CPUID; Vol. 2B, RDRAND, RDSEED, RDPID; Vol. 2C, XGETBV",
  (e) => e.leave(EXIT.helper, false),
  ENDS,
);
