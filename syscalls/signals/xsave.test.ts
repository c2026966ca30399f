import { describe, expect } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, guestTest } from "../testing/guest.ts";
import { handlers, INFO, install, recordWord, UC } from "../testing/handlers.ts";

/** Instructions with an operand at an absolute address: opcode bytes up to ModRM and SIB. */
const OP = {
  fldcw: [0xd9, 0x2c, 0x25],
  fnstcw: [0xd9, 0x3c, 0x25],
  fstp80: [0xdb, 0x3c, 0x25],
  ldmxcsr: [0x0f, 0xae, 0x14, 0x25],
  stmxcsr: [0x0f, 0xae, 0x1c, 0x25],
  vmovdquLoad: [0xc5, 0xfe, 0x6f, 0x04, 0x25],
  vmovdquStore: [0xc5, 0xfe, 0x7f, 0x04, 0x25],
  fxsave64: [0x48, 0x0f, 0xae, 0x04, 0x25],
  fxrstor64: [0x48, 0x0f, 0xae, 0x0c, 0x25],
  xsave64: [0x48, 0x0f, 0xae, 0x24, 0x25],
  xsave: [0x0f, 0xae, 0x24, 0x25],
  xrstor64: [0x48, 0x0f, 0xae, 0x2c, 0x25],
  xrstor: [0x0f, 0xae, 0x2c, 0x25],
  xsavec64: [0x48, 0x0f, 0xc7, 0x24, 0x25],
  xsaveopt64: [0x48, 0x0f, 0xae, 0x34, 0x25],
} as const;
const FNINIT = [0xdb, 0xe3];
const FLDPI = [0xd9, 0xeb];
const VZEROALL = [0xc5, 0xfc, 0x77];

const [AREA, CONTROL, MXCSR, VECTOR, SEEN] = [0x4000, 0x100, 0x140, 0x180, 0x200].map((offset) => DATA + offset);
const HEADER = AREA + 512;
const PI = [0xc90f_daa2_2168_c235n, 0x4000n];
const HALVES = [0x1111_2222_3333_4444n, 0x5555_6666_7777_8888n, 0x9999_aaaa_bbbb_ccccn, 0xdddd_eeee_ffff_0000n];
const ALL = { cpu: "x86-64-v3" };

function at(a: Assembler, op: keyof typeof OP, address: number): Assembler {
  return a.bytes(...OP[op], ...[0, 8, 16, 24].map((shift) => (address >>> shift) & 0xff));
}

/** Components that the next instruction of the family is asked for. */
const components = (a: Assembler, mask: number): Assembler => a.mov("rax", mask).mov("rdx", 0);

/** π in ST(0), all of YMM0, MXCSR and the control word other than at first. */
function fill(a: Assembler): void {
  a.put(CONTROL, 0xe7f);
  a.put(MXCSR, 0x5f80);
  for (const [i, half] of HALVES.entries()) a.put(VECTOR + 8 * i, half);
  at(a.bytes(...FNINIT), "fldcw", CONTROL);
  at(a, "ldmxcsr", MXCSR);
  // π by the nearest: rounding control is up in 0xe7f's bits only for what comes later.
  a.put(CONTROL, 0x37f);
  at(a, "fldcw", CONTROL);
  a.bytes(...FLDPI);
  a.put(CONTROL, 0xe7f);
  at(a, "fldcw", CONTROL);
  at(a, "vmovdquLoad", VECTOR);
}

/** Everything as at the start of a program. */
function clear(a: Assembler): void {
  a.put(MXCSR, 0x1f80);
  at(a.bytes(...FNINIT, ...VZEROALL), "ldmxcsr", MXCSR);
}

/** Records control word, MXCSR, ST(0) and YMM0. */
function look(a: Assembler): void {
  for (let i = 0; i < 10; i++) a.put(SEEN + 8 * i, 0);
  at(a, "fnstcw", SEEN);
  at(a, "stmxcsr", SEEN + 8);
  at(a, "fstp80", SEEN + 16);
  at(a, "vmovdquStore", SEEN + 32);
  for (let i = 0; i < 8; i++) recordWord(a, SEEN + 8 * i);
}

/** What `look` records of what `fill` set. */
const FILLED = [0xe7fn, 0x5f80n, ...PI, ...HALVES];
/** ST(0) is empty: the store gives the indefinite. */
const INDEFINITE = [0xc000_0000_0000_0000n, 0xffffn];

describe("state saved and restored", () => {
  for (const [save, restore, halves] of [
    ["fxsave64", "fxrstor64", [...HALVES.slice(0, 2), 0n, 0n]],
    ["xsave64", "xrstor64", HALVES],
    ["xsave", "xrstor", HALVES],
    ["xsavec64", "xrstor64", HALVES],
    ["xsaveopt64", "xrstor64", HALVES],
  ] as const) {
    guestTest(
      `is the same: ${save.toUpperCase()}, ${restore.toUpperCase()}`,
      (a) => {
        fill(a);
        at(components(a, 7), save, AREA);
        clear(a);
        at(components(a, 7), restore, AREA);
        look(a);
      },
      ({ words }) => expect(words).toEqual([0xe7fn, 0x5f80n, ...PI, ...halves]),
      ALL,
    );
  }

  guestTest(
    "is only that of the components asked for",
    (a) => {
      fill(a);
      at(components(a, 7), "xsave64", AREA);
      clear(a);
      // AVX, and with it MXCSR.
      at(components(a, 4), "xrstor64", AREA);
      look(a);
    },
    ({ words }) => expect(words).toEqual([0x37fn, 0x5f80n, ...INDEFINITE, 0n, 0n, ...HALVES.slice(2)]),
    ALL,
  );

  guestTest(
    "becomes initial for components that the area has not got",
    (a) => {
      fill(a);
      at(components(a, 2), "xsavec64", AREA);
      at(components(a, 7), "xrstor64", AREA);
      look(a);
    },
    ({ words }) => expect(words).toEqual([0x37fn, 0x5f80n, ...INDEFINITE, ...HALVES.slice(0, 2), 0n, 0n]),
    ALL,
  );
});

describe("the header", () => {
  guestTest(
    "of XSAVE keeps the bits of components that were not asked for",
    (a) => {
      fill(a);
      a.put(HEADER, 0xff00);
      at(components(a, 3), "xsave64", AREA);
      recordWord(a, HEADER);
      recordWord(a, HEADER + 8);
    },
    ({ words }) => expect(words).toEqual([0xff03n, 0n]),
    ALL,
  );

  guestTest(
    "of XSAVEC says what was asked for and what is in use",
    (a) => {
      fill(a);
      at(
        a
          .bytes(...VZEROALL)
          .mov("rax", 6)
          .mov("rdx", 0),
        "xsavec64",
        AREA,
      );
      recordWord(a, HEADER);
      recordWord(a, HEADER + 8);
    },
    // MXCSR counts as SSE state in the compacted format.
    ({ words }) => expect(words).toEqual([2n, (1n << 63n) | 6n]),
    ALL,
  );
});

/** A faulting instruction at "fault": signal, trap and whether RIP is there. */
function faults(
  name: string,
  build: (a: Assembler) => void,
  expected: { signal: number; trap: bigint; at: bigint },
): void {
  guestTest(
    name,
    (a) => {
      handlers(a, () => {
        a.label("handler");
        for (const offset of [INFO.signal, INFO.first]) recordWord(a, { base: "rsi", at: offset });
        recordWord(a, { base: "rdx", at: UC.trap });
        recordWord(a, { base: "rdx", at: UC.rip });
        a.mov("rax", "after").store({ base: "rdx", at: UC.rip }, "rax").ret();
      });
      install(a, SIGNAL.SIGSEGV, "handler");
      a.mov("rax", "fault").record();
      fill(a);
      build(a);
      a.label("after");
      look(a);
    },
    ({ words: [signal, address, trap, rip, fault, ...seen] }) => {
      // Within the page, which byte is named first differs between processors.
      expect([signal, address & ~0xfffn, trap, rip]).toEqual([
        BigInt(expected.signal),
        expected.at,
        expected.trap,
        fault,
      ]);
      expect(seen).toEqual(FILLED);
    },
    ALL,
  );
}

describe("a fault changes nothing", () => {
  const GP = { signal: SIGNAL.SIGSEGV, trap: 13n, at: 0n };
  faults("FXSAVE of an address that is not aligned", (a) => at(a.label("fault"), "fxsave64", AREA + 8), GP);
  faults(
    "XSAVE of an address that is not aligned",
    (a) => at(components(a, 7).label("fault"), "xsave64", AREA + 32),
    GP,
  );
  faults(
    "XRSTOR of components that the processor has not enabled",
    (a) => {
      a.put(HEADER, 1n << 62n);
      at(components(a, 7).label("fault"), "xrstor64", AREA);
    },
    GP,
  );
  faults(
    "XRSTOR of a header with reserved bytes",
    (a) => {
      a.put(HEADER, 7).put(HEADER + 16, 1);
      at(components(a, 7).label("fault"), "xrstor64", AREA);
    },
    GP,
  );
  faults(
    "FXRSTOR of an MXCSR that there is not",
    (a) => {
      a.put(AREA + 24, 0x8000_0000);
      at(a.label("fault"), "fxrstor64", AREA);
    },
    GP,
  );
  faults("FXRSTOR from nowhere", (a) => at(a.label("fault"), "fxrstor64", 0x5000_0000), {
    signal: SIGNAL.SIGSEGV,
    trap: 14n,
    at: 0x5000_0000n,
  });
});
