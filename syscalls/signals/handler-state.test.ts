import { describe, expect } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, expectOutcomes, guestTest } from "../testing/guest.ts";
import { handlers, INFO, install, raise, recordWord, UC } from "../testing/handlers.ts";

/** Instructions with an operand at an absolute address: opcode bytes up to ModRM and SIB. */
const OP = {
  fldcw: [0xd9, 0x2c, 0x25],
  fnstcw: [0xd9, 0x3c, 0x25],
  fnstsw: [0xdd, 0x3c, 0x25],
  fnstenv: [0xd9, 0x34, 0x25],
  ldmxcsr: [0x0f, 0xae, 0x14, 0x25],
  stmxcsr: [0x0f, 0xae, 0x1c, 0x25],
  movupsStore: [0x0f, 0x11, 0x1c, 0x25],
} as const;
const FLDZ = [0xd9, 0xee];
const FLD1 = [0xd9, 0xe8];
const FDIVP = [0xde, 0xf9];
const FNCLEX = [0xdb, 0xe2];
/** PCMPEQB XMM3, XMM3: all ones. */
const ONES = [0x66, 0x0f, 0x74, 0xdb];

const [CONTROL, STATUS, MXCSR, VECTOR, ENVIRONMENT] = [0x100, 0x108, 0x110, 0x120, 0x140].map((at) => DATA + at);

function at(a: Assembler, op: keyof typeof OP, address: number): Assembler {
  return a.bytes(...OP[op], ...[0, 8, 16, 24].map((shift) => (address >>> shift) & 0xff));
}

/** Stores the control, status and tag words, MXCSR and XMM3, and records them. */
function recordState(a: Assembler): void {
  for (const address of [CONTROL, STATUS, MXCSR]) a.put(address, 0);
  at(a, "fnstcw", CONTROL);
  at(a, "fnstsw", STATUS);
  at(a, "fnstenv", ENVIRONMENT);
  // FNSTENV masks all exceptions: the control word comes back.
  at(a, "fldcw", CONTROL);
  at(a, "stmxcsr", MXCSR);
  at(a, "movupsStore", VECTOR);
  for (const address of [CONTROL, STATUS, MXCSR, VECTOR]) recordWord(a, address);
  a.load32("rax", ENVIRONMENT + 8).record();
}

const ROW = DATA + 0x200;
const RESUME_FLAG = 0x1_0000n;
const INITIAL = [0x37fn, 0n, 0x1f80n, 0n, 0xffff_ffffn];
const ALL_ONES = 0xffff_ffff_ffff_ffffn;

describe("a signal handler's floating-point state", () => {
  guestTest(
    "is as at the start of a program, and the interrupted one comes back",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        recordState(a);
        // What a handler leaves is gone with it.
        a.bytes(...FLD1, ...FLD1, 0x0f, 0x57, 0xdb).ret();
      });
      install(a, SIGNAL.SIGUSR1, "handler");
      a.put(CONTROL, 0x27f).put(MXCSR, 0x9fc0);
      at(a, "fldcw", CONTROL);
      at(a, "ldmxcsr", MXCSR).bytes(...FLD1, ...FLDZ, ...ONES);
      raise(a, SIGNAL.SIGUSR1);
      recordState(a);
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      expect(words).toEqual([...INITIAL, 0x27fn, 0x3000n, 0x9fc0n, ALL_ONES, 0xffff_1fffn]);
    },
  );

  guestTest(
    "has no pending exception: a handler of SIGFPE may use x87",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        recordWord(a, { base: "rsi", at: INFO.code });
        a.bytes(...FLD1);
        // The pending exception goes, else it came again: FSW's low byte in the frame's image.
        a.load("rcx", { base: "rdx", at: UC.fpstate }).mov("rax", 0x37f).store({ base: "rcx" }, "rax").ret();
      });
      install(a, SIGNAL.SIGFPE, "handler");
      a.put(CONTROL, 0x37b);
      at(a, "fldcw", CONTROL).bytes(...FLD1, ...FLDZ, ...FDIVP, ...FLD1, ...FNCLEX);
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      expect(words.map((word) => BigInt.asIntN(32, word))).toEqual([3n]);
    },
  );
});

describe("a signal's frame", () => {
  /** XSTATE_BV of the frame that RDX points to, cut to x87, SSE and AVX. */
  const recordComponents = (a: Assembler): void => {
    a.load("rcx", { base: "rdx", at: UC.fpstate });
    a.load("rax", { base: "rcx", at: 512 }).bytes(0x83, 0xe0, 0x07).record();
  };

  guestTest(
    "does not mark upper halves of vectors that are not in use",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        recordComponents(a);
        a.ret();
      });
      install(a, SIGNAL.SIGUSR1, "handler");
      // VZEROALL.
      a.bytes(0xc5, 0xfc, 0x77);
      raise(a, SIGNAL.SIGUSR1);
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      expect(words).toEqual([3n]);
    },
  );

  guestTest(
    "marks them where they hold something",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        recordComponents(a);
        a.ret();
      });
      install(a, SIGNAL.SIGUSR1, "handler");
      a.bytes(0xc5, 0xe5, 0x74, 0xdb);
      raise(a, SIGNAL.SIGUSR1);
    },
    ({ words }) => expect(words).toEqual([7n]),
  );

  guestTest(
    "has RF for a fault, none for a trap or a signal that was sent, and the last exception's numbers in each",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        // Each signal has a row of its own.
        a.load("rbx", ROW);
        for (const [i, offset] of [UC.trap, UC.error, UC.cr2, UC.eflags].entries())
          a.load("rax", { base: "rdx", at: offset }).store({ base: "rbx", at: 8 * i }, "rax");
        a.mov("rcx", 32).add("rbx", "rcx").store(ROW, "rbx");
        a.bytes(0x25, 0, 0, 1, 0);
        // Behind the instruction of the fault, of two bytes.
        a.bytes(0x85, 0xc0).jcc("e", "out");
        a.mov("rax", 2).load("rcx", { base: "rdx", at: UC.rip }).add("rax", "rcx");
        a.store({ base: "rdx", at: UC.rip }, "rax");
        a.label("out").ret();
      });
      for (const signal of ["SIGSEGV", "SIGTRAP", "SIGUSR1"] as const) install(a, SIGNAL[signal], "handler");
      a.put(ROW, ROW + 8).bytes(0xcc);
      a.mov("rbx", 0x1234_5000).bytes(0x89, 0x03);
      raise(a, SIGNAL.SIGUSR1);
      for (let i = 1; i <= 12; i++) recordWord(a, ROW + 8 * i);
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      const rows = [0, 4, 8].map((at) => [...words.slice(at, at + 3), words[at + 3] & RESUME_FLAG]);
      const fault = [14n, 6n, 0x1234_5000n];
      expect(rows).toEqual([
        [3n, 0n, 0n, 0n],
        [...fault, RESUME_FLAG],
        [...fault, 0n],
      ]);
    },
  );
});

describe("selectors", () => {
  guestTest(
    "are each register's own, and those that programs load",
    (a) => {
      // MOV EAX, DS; MOV ECX, SS; MOV EDX, CS in one block.
      a.bytes(0x8c, 0xd8, 0x8c, 0xd1, 0x8c, 0xca).record("rax").record("rcx").record("rdx");
      // MOV ES, 0x2b; MOV FS, 0x2b, which sets its base to zero.
      a.mov("rax", 0x2b).bytes(0x8e, 0xc0).mov("rcx", 0).bytes(0x8c, 0xc1).record("rcx");
      a.syscall(158, 0x1002, DATA).mov("rax", 0x2b).bytes(0x8e, 0xe0);
      a.syscall(158, 0x1003, DATA + 8);
      recordWord(a, DATA + 8);
    },
    (run) => expectOutcomes(run, [0, 0x2b, 0x33, 0x2b, 0]),
  );
});
