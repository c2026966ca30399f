import { describe, expect } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, guestTest } from "../testing/guest.ts";
import { handlers, INFO, install, raise, recordWord, UC } from "../testing/handlers.ts";

/** Instructions with an operand at an absolute address (SDM Vol. 2, each): opcode bytes up to ModRM and SIB. */
const OP = {
  fldcw: [0xd9, 0x2c, 0x25],
  fnstcw: [0xd9, 0x3c, 0x25],
  fnstsw: [0xdd, 0x3c, 0x25],
  fld80: [0xdb, 0x2c, 0x25],
  fstp80: [0xdb, 0x3c, 0x25],
  ldmxcsr: [0x0f, 0xae, 0x14, 0x25],
  stmxcsr: [0x0f, 0xae, 0x1c, 0x25],
  vmovdquLoad: [0xc5, 0xfe, 0x6f, 0x04, 0x25],
  vmovdquStore: [0xc5, 0xfe, 0x7f, 0x04, 0x25],
  fxsave: [0x48, 0x0f, 0xae, 0x04, 0x25],
} as const;
const FNINIT = [0xdb, 0xe3];
const FLD1 = [0xd9, 0xe8];
const FLDZ = [0xd9, 0xee];
const FDIVP = [0xde, 0xf9];
const FWAIT = [0x9b];
const FNCLEX = [0xdb, 0xe2];
const VZEROALL = [0xc5, 0xfc, 0x77];
const EMMS = [0x0f, 0x77];

function at(a: Assembler, op: keyof typeof OP, address: number): Assembler {
  return a.bytes(...OP[op], ...[0, 8, 16, 24].map((shift) => (address >>> shift) & 0xff));
}

const [CONTROL, RESULT, VECTOR, NUMBER, MXCSR] = [0x100, 0x140, 0x180, 0x200, 0x240].map((offset) => DATA + offset);
const SIGFPE = BigInt(SIGNAL.SIGFPE);

/** 1/0 under a control word that lets #Z through: the next waiting instruction raises #MF. */
function divideByZero(a: Assembler): void {
  a.put(CONTROL, 0x37b);
  at(a.bytes(...FNINIT), "fldcw", CONTROL);
  a.bytes(...FLD1, ...FLDZ, ...FDIVP);
}

describe("a pending x87 exception", () => {
  for (const [name, instruction] of [
    ["FWAIT", FWAIT],
    ["FLD1", FLD1],
    ["EMMS", EMMS],
  ] as const) {
    guestTest(
      `is SIGFPE at the next instruction that waits, ${name}`,
      (a) => {
        handlers(a, () => {
          a.label("handler");
          for (const offset of [INFO.signal, INFO.code, INFO.first]) recordWord(a, { base: "rsi", at: offset });
          for (const offset of [UC.trap, UC.rip]) recordWord(a, { base: "rdx", at: offset });
          a.mov("rax", "after").store({ base: "rdx", at: UC.rip }, "rax").ret();
        });
        install(a, SIGNAL.SIGFPE, "handler");
        a.mov("rax", "fault").record();
        divideByZero(a);
        a.label("fault").bytes(...instruction);
        a.label("after");
      },
      ({ words: [signal, code, address, trap, rip, fault], status }) => {
        expect(status).toEqual({ kind: "exited", status: 0 });
        expect([signal, BigInt.asIntN(32, code), address, trap, rip]).toEqual([SIGFPE, 3n, fault, 16n, fault]);
      },
    );
  }

  guestTest(
    "is not seen by FNCLEX, which takes it away",
    (a) => {
      divideByZero(a);
      a.bytes(...FNCLEX, ...FWAIT);
      a.mov("rax", 1).record();
    },
    ({ words }) => expect(words).toEqual([1n]),
  );
});

describe("a signal handler", () => {
  const halves = [0x1111_2222_3333_4444n, 0x5555_6666_7777_8888n, 0x9999_aaaa_bbbb_ccccn, 0xdddd_eeee_ffff_0000n];

  guestTest(
    "may change x87, SSE and AVX registers: rt_sigreturn brings them back",
    (a) => {
      handlers(a, () => {
        a.label("handler").bytes(...FNINIT, ...VZEROALL);
        a.put(MXCSR, 0x1f80);
        at(a, "ldmxcsr", MXCSR).ret();
      });
      install(a, SIGNAL.SIGUSR1, "handler");
      a.put(CONTROL, 0xe7f);
      a.put(MXCSR, 0x5fa0);
      for (const [i, half] of halves.entries()) a.put(VECTOR + 8 * i, half);
      a.put(NUMBER, 0x8123_4567_89ab_cdefn);
      a.put(NUMBER + 8, 0x4005);
      at(a.bytes(...FNINIT), "fldcw", CONTROL);
      at(a.bytes(...FLD1), "fld80", NUMBER);
      at(a, "ldmxcsr", MXCSR);
      at(a, "vmovdquLoad", VECTOR);
      raise(a, SIGNAL.SIGUSR1);
      at(a, "vmovdquStore", VECTOR + 0x40);
      at(a, "stmxcsr", RESULT + 16);
      at(a, "fnstsw", RESULT + 24);
      at(a, "fstp80", RESULT);
      at(a, "fnstcw", RESULT + 32);
      for (const offset of [0, 8, 16, 24, 32]) recordWord(a, RESULT + offset);
      for (const offset of [0, 8, 16, 24]) recordWord(a, VECTOR + 0x40 + offset);
    },
    ({ words }) => expect(words).toEqual([0x8123_4567_89ab_cdefn, 0x4005n, 0x5fa0n, 0x3000n, 0xe7fn, ...halves]),
    { cpu: "x86-64-v3" },
  );

  guestTest(
    "may edit x87's control word and ST(0) in its frame",
    (a) => {
      handlers(a, () => {
        a.label("handler").load("rbx", { base: "rdx", at: UC.fpstate });
        a.load("rax", { base: "rbx", at: 32 }).mov("rcx", 0x4000_0000_0000_0000n).add("rax", "rcx");
        a.store({ base: "rbx", at: 32 }, "rax").ret();
      });
      install(a, SIGNAL.SIGUSR1, "handler");
      a.bytes(...FNINIT, ...FLDZ, ...FLD1);
      raise(a, SIGNAL.SIGUSR1);
      at(a, "fstp80", RESULT);
      at(a, "fnstsw", RESULT + 16);
      for (const offset of [0, 8, 16]) recordWord(a, RESULT + offset);
    },
    // 1.5 in ST(0), which was popped.
    ({ words }) => expect(words).toEqual([0xc000_0000_0000_0000n, 0x3fffn, 0x3800n]),
  );

  guestTest(
    "that takes the floating-point state out of its frame leaves all of it initial",
    (a) => {
      handlers(a, () => {
        a.label("handler").mov("rax", 0).store({ base: "rdx", at: UC.fpstate }, "rax").ret();
      });
      install(a, SIGNAL.SIGUSR1, "handler");
      for (const [i, half] of halves.entries()) a.put(VECTOR + 8 * i, half);
      a.put(MXCSR, 0x5f80);
      at(a.bytes(...FNINIT, ...FLD1), "ldmxcsr", MXCSR);
      at(a, "vmovdquLoad", VECTOR);
      raise(a, SIGNAL.SIGUSR1);
      at(a, "vmovdquStore", VECTOR);
      at(a, "stmxcsr", RESULT);
      at(a, "fnstsw", RESULT + 8);
      for (const offset of [0, 8, 16, 24]) recordWord(a, VECTOR + offset);
      for (const offset of [0, 8]) recordWord(a, RESULT + offset);
    },
    ({ words }) => expect(words).toEqual([0n, 0n, 0n, 0n, 0x1f80n, 0n]),
    { cpu: "x86-64-v3" },
  );
});

describe("FXSAVE", () => {
  guestTest(
    "shows the stack's registers from its top on, and all of SSE",
    (a) => {
      for (let i = 0; i < 52; i++) a.put(VECTOR + 0x80 + 8 * i, 0);
      a.bytes(...FNINIT, ...FLD1, ...FLDZ);
      at(a, "fxsave", VECTOR + 0x80);
      // Control, status and tag words; MXCSR; ST(0), ST(1).
      for (const offset of [0, 24, 32, 40, 48, 56]) recordWord(a, VECTOR + 0x80 + offset);
    },
    ({ words }) => {
      expect(words[0] & 0xff_ffff_ffffn).toBe(0xc0_3000_037fn);
      expect(words[1] & 0xffff_ffffn).toBe(0x1f80n);
      expect(words.slice(2)).toEqual([0n, 0n, 1n << 63n, 0x3fffn]);
    },
  );
});
