import { describe, expect } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, guestTest, REPORT } from "../testing/guest.ts";
import { handlers, INFO, install, raise, recordWord, setMask, UC } from "../testing/handlers.ts";

/** Everything that CPU exceptions are made of, for a handler that then goes on at "after". */
const WORDS = ["signal", "code", "address", "trap", "error", "cr2", "rip"] as const;
type Fault = Record<(typeof WORDS)[number], bigint>;

/** Trap numbers (SDM Vol. 3A, table 6-1) and bits of a page fault's error code (4.7). */
const TRAP = { DE: 0n, DB: 1n, BP: 3n, UD: 6n, GP: 13n, PF: 14n, MF: 16n, AC: 17n, XM: 19n } as const;
const PF = { present: 1n, write: 2n, user: 4n, fetch: 16n } as const;
const AREA = 0x2000_0000;
const PAGE = 4096;

/** A faulting instruction at the label "fault"; `next` is the address of the label "after" behind it. */
function faultTest(
  name: string,
  fault: (a: Assembler) => void,
  expected: (at: { fault: bigint; after: bigint }) => Partial<Fault>,
  more: { readonly afterwards: (a: Assembler) => void; readonly words: readonly bigint[] } = {
    afterwards: () => {},
    words: [],
  },
): void {
  guestTest(
    name,
    (a) => {
      handlers(a, () => {
        a.label("handler");
        for (const offset of [INFO.signal, INFO.code, INFO.first]) recordWord(a, { base: "rsi", at: offset });
        for (const offset of [UC.trap, UC.error, UC.cr2, UC.rip]) recordWord(a, { base: "rdx", at: offset });
        a.mov("rax", "after").store({ base: "rdx", at: UC.rip }, "rax").ret();
      });
      for (const signal of ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP"] as const)
        install(a, SIGNAL[signal], "handler");
      a.mov("rax", "fault").record().mov("rax", "after").record();
      fault(a);
      a.label("after");
      more.afterwards(a);
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      expect(words.slice(WORDS.length + 2)).toEqual(more.words);
      const seen = Object.fromEntries(WORDS.map((word, i) => [word, words[i]])) as Fault;
      // The padding behind si_code is not defined.
      seen.code = BigInt.asIntN(32, seen.code);
      expect(seen).toMatchObject(expected({ fault: words[WORDS.length], after: words[WORDS.length + 1] }));
    },
  );
}

describe("a page fault", () => {
  faultTest(
    "on a load from nowhere is SEGV_MAPERR with the address",
    (a) => a.label("fault").load("rbx", AREA + 0x123),
    ({ fault }) => ({
      signal: 11n,
      code: 1n,
      address: BigInt(AREA + 0x123),
      cr2: BigInt(AREA + 0x123),
      trap: TRAP.PF,
      error: PF.user,
      rip: fault,
    }),
  );

  faultTest(
    "on a store to nil is SEGV_MAPERR, a write",
    (a) => a.mov("rbx", 0).label("fault").store({ base: "rbx", at: 8 }, "rcx"),
    ({ fault }) => ({
      signal: 11n,
      code: 1n,
      address: 8n,
      cr2: 8n,
      trap: TRAP.PF,
      error: PF.user | PF.write,
      rip: fault,
    }),
  );

  faultTest(
    "on a store to code is SEGV_ACCERR",
    (a) => a.mov("rbx", "fault").label("fault").store({ base: "rbx" }, "rcx"),
    ({ fault }) => ({
      signal: 11n,
      code: 2n,
      address: fault,
      trap: TRAP.PF,
      error: PF.user | PF.write | PF.present,
      rip: fault,
    }),
  );

  faultTest(
    "on a jump to data is a fetch, with RIP at the target",
    (a) => a.mov("rbx", DATA).put(DATA, 0xc3).label("fault").bytes(0xff, 0xe3),
    () => ({ signal: 11n, code: 2n, address: BigInt(DATA), trap: TRAP.PF, rip: BigInt(DATA) }),
  );

  faultTest(
    "on a jump to nowhere is a fetch, with RIP at the target",
    (a) => a.mov("rbx", AREA).label("fault").bytes(0xff, 0xe3),
    () => ({
      signal: 11n,
      code: 1n,
      address: BigInt(AREA),
      trap: TRAP.PF,
      error: PF.user | PF.fetch,
      rip: BigInt(AREA),
    }),
  );

  faultTest(
    "of a store that straddles into an unmapped page is at that page's first byte, and nothing is stored",
    (a) => {
      a.syscall(9, AREA, PAGE, 3, 0x32, -1, 0);
      a.mov("rbx", AREA + PAGE - 4)
        .mov("rcx", -1)
        .label("fault")
        .store({ base: "rbx" }, "rcx");
    },
    ({ fault }) => ({ signal: 11n, code: 1n, address: BigInt(AREA + PAGE), trap: TRAP.PF, rip: fault }),
    { afterwards: (a) => a.load32("rax", AREA + PAGE - 4).record(), words: [0n] },
  );

  faultTest(
    "of a load that starts in the unmapped page before a mapped one is at its own address",
    (a) =>
      a
        .mov("rbx", REPORT - 4)
        .label("fault")
        .load("rcx", { base: "rbx" }),
    ({ fault }) => ({ signal: 11n, address: BigInt(REPORT - 4), trap: TRAP.PF, rip: fault }),
  );

  faultTest(
    "of an instruction that runs into an unmapped page is at that page",
    (a) => {
      a.syscall(9, AREA, PAGE, 7, 0x32, -1, 0);
      // The first bytes of MOV RAX, imm64 at the page's end.
      a.storeByte(AREA + PAGE - 2, 0x48).storeByte(AREA + PAGE - 1, 0xb8);
      a.mov("rbx", AREA + PAGE - 2)
        .label("fault")
        .bytes(0xff, 0xe3);
    },
    () => ({ signal: 11n, code: 1n, address: BigInt(AREA + PAGE), rip: BigInt(AREA + PAGE - 2) }),
  );

  for (const [name, address, code, error] of [
    ["at the first of the kernel's addresses", 0x7fff_ffff_f000n, 1n, PF.user | PF.present],
    ["in the kernel's half", 0xffff_8000_0000_1000n, 1n, PF.user | PF.present],
  ] as const) {
    faultTest(
      `${name} says that the page is there`,
      (a) => a.mov("rbx", address).label("fault").load("rcx", { base: "rbx" }),
      ({ fault }) => ({ signal: 11n, code, address, cr2: address, trap: TRAP.PF, error, rip: fault }),
    );
  }

  faultTest(
    "in a mapping without rights says that no page is there, used before or not",
    (a) => {
      a.syscall(9, AREA, PAGE, 3, 0x32, -1, 0)
        .mov("rbx", AREA)
        .store({ base: "rbx" }, "rbx")
        .syscall(10, AREA, PAGE, 0);
      a.mov("rbx", AREA).label("fault").load("rcx", { base: "rbx" });
    },
    ({ fault }) => ({ signal: 11n, code: 2n, address: BigInt(AREA), error: PF.user, rip: fault }),
  );

  faultTest(
    "in a page that nobody has used says that it is not there",
    (a) => {
      a.syscall(9, AREA, 2 * PAGE, 3, 0x32, -1, 0)
        .mov("rbx", AREA)
        .store({ base: "rbx" }, "rbx");
      a.syscall(10, AREA, 2 * PAGE, 1)
        .mov("rbx", AREA + PAGE)
        .label("fault")
        .store({ base: "rbx" }, "rcx");
    },
    ({ fault }) => ({ signal: 11n, code: 2n, address: BigInt(AREA + PAGE), error: PF.user | PF.write, rip: fault }),
  );

  faultTest(
    "in a page that was written to, and is read-only now, says that it is there",
    (a) => {
      a.syscall(9, AREA, PAGE, 3, 0x32, -1, 0)
        .mov("rbx", AREA)
        .store({ base: "rbx" }, "rbx")
        .syscall(10, AREA, PAGE, 1);
      a.mov("rbx", AREA).label("fault").store({ base: "rbx" }, "rcx");
    },
    ({ fault }) => ({ signal: 11n, code: 2n, error: PF.user | PF.write | PF.present, rip: fault }),
  );

  faultTest(
    "of PUSH leaves RSP alone",
    (a) => {
      // The handler needs a stack of its own.
      a.put(DATA + 64, DATA + 0x1000)
        .put(DATA + 72, 0)
        .put(DATA + 80, 0x8000);
      a.mov("rdi", DATA + 64)
        .mov("rsi", 0)
        .mov("rax", 131)
        .bytes(0x0f, 0x05);
      install(a, 11, "handler", 0x0800_0000);
      a.mov("rsp", AREA + 8)
        .label("fault")
        .push("rax");
    },
    ({ fault }) => ({ signal: 11n, code: 1n, address: BigInt(AREA), rip: fault }),
    { afterwards: (a) => a.record("rsp"), words: [BigInt(AREA + 8)] },
  );
});

describe("a general protection fault", () => {
  faultTest(
    "for an address that is not canonical is SI_KERNEL without an address",
    (a) => a.mov("rbx", 0x8000_0000_0000_0000n).label("fault").load("rcx", { base: "rbx" }),
    ({ fault }) => ({ signal: 11n, code: 0x80n, address: 0n, trap: TRAP.GP, error: 0n, rip: fault }),
  );

  faultTest(
    "for an access that begins at a canonical address and ends at one that is not",
    (a) => a.mov("rbx", 0x7fff_ffff_fffdn).label("fault").load("rcx", { base: "rbx" }),
    ({ fault }) => ({ signal: 11n, code: 0x80n, address: 0n, trap: TRAP.GP, error: 0n, rip: fault }),
  );

  faultTest(
    "for a privileged instruction (HLT)",
    (a) => a.label("fault").bytes(0xf4),
    ({ fault }) => ({ signal: 11n, code: 0x80n, address: 0n, trap: TRAP.GP, error: 0n, rip: fault }),
  );

  faultTest(
    "for MOVAPS from an address that is not aligned",
    (a) =>
      a
        .mov("rbx", DATA + 8)
        .label("fault")
        .bytes(0x0f, 0x28, 0x03),
    ({ fault }) => ({ signal: 11n, code: 0x80n, address: 0n, trap: TRAP.GP, error: 0n, rip: fault }),
  );
});

describe("INT n", () => {
  for (const [vector, name] of [
    [0x00, "0"],
    [0x21, "0x21"],
    [0xff, "0xff"],
  ] as const) {
    faultTest(
      `${name} is a general protection fault with the gate as its error code`,
      (a) => a.label("fault").bytes(0xcd, vector),
      ({ fault }) => ({ signal: 11n, code: 0x80n, trap: TRAP.GP, error: BigInt(vector * 8 + 2), rip: fault }),
    );
  }

  faultTest(
    "4 is an overflow trap, behind the instruction",
    (a) => a.label("fault").bytes(0xcd, 0x04),
    ({ fault }) => ({ signal: 11n, code: 0x80n, trap: 4n, error: 0n, rip: fault + 2n }),
  );
});

describe("a stack fault", () => {
  faultTest(
    "for an address that is not canonical on the stack is SIGBUS",
    (a) => {
      a.mov("rbp", 0x8000_0000_0000_0000n).label("fault").load("rcx", { base: "rbp" });
    },
    ({ fault }) => ({ signal: 7n, code: 0x80n, address: 0n, trap: 12n, error: 0n, rip: fault }),
  );
});

describe("arithmetic", () => {
  faultTest(
    "DIV by zero is FPE_INTDIV at the instruction",
    (a) => a.mov("rax", 1).mov("rdx", 0).mov("rbx", 0).label("fault").bytes(0x48, 0xf7, 0xf3),
    ({ fault }) => ({ signal: 8n, code: 1n, address: fault, trap: TRAP.DE, error: 0n, rip: fault }),
  );

  faultTest(
    "IDIV of the smallest integer by -1 is FPE_INTDIV",
    (a) => {
      a.mov("rax", 1n << 63n)
        .mov("rdx", -1)
        .mov("rbx", -1)
        .label("fault")
        .bytes(0x48, 0xf7, 0xfb);
    },
    ({ fault }) => ({ signal: 8n, code: 1n, address: fault, trap: TRAP.DE, rip: fault }),
  );

  faultTest(
    "DIVSD by zero with the exception unmasked is FPE_FLTDIV",
    (a) => {
      // MXCSR with ZM clear; XMM0 = 1.0, XMM1 = 0.
      a.put(DATA, 0x1d80)
        .bytes(0x0f, 0xae, 0x14, 0x25)
        .bytes(DATA & 0xff, (DATA >> 8) & 0xff, (DATA >> 16) & 0xff, 0);
      a.mov("rax", 0x3ff0_0000_0000_0000n).bytes(0x66, 0x48, 0x0f, 0x6e, 0xc0).bytes(0x66, 0x0f, 0xef, 0xc9);
      a.label("fault").bytes(0xf2, 0x0f, 0x5e, 0xc1);
    },
    ({ fault }) => ({ signal: 8n, code: 3n, address: fault, trap: TRAP.XM, rip: fault }),
  );
});

describe("an undefined instruction", () => {
  faultTest(
    "is ILL_ILLOPN at the instruction",
    (a) => a.label("fault").bytes(0x0f, 0x0b),
    ({ fault }) => ({ signal: 4n, code: 2n, address: fault, trap: TRAP.UD, error: 0n, rip: fault }),
  );

  faultTest(
    "that only 32-bit mode has (PUSH ES) is one too",
    (a) => a.label("fault").bytes(0x06),
    ({ fault }) => ({ signal: 4n, code: 2n, address: fault, trap: TRAP.UD, rip: fault }),
  );
});

describe("a trap", () => {
  faultTest(
    "by INT3 is SIGTRAP with RIP behind it",
    (a) => a.label("fault").bytes(0xcc),
    ({ fault }) => ({ signal: 5n, code: 0x80n, address: 0n, trap: TRAP.BP, rip: fault + 1n }),
  );
});

describe("a fault that can't be handled kills", () => {
  guestTest(
    "with the signal blocked",
    (a) => {
      handlers(a, () => a.label("handler").ret());
      install(a, SIGNAL.SIGSEGV, "handler");
      setMask(a, 0, SIGNAL.SIGSEGV);
      a.load("rax", AREA);
    },
    ({ status }) => expect(status).toEqual({ kind: "signaled", signal: 11 }),
  );

  guestTest(
    "with the signal ignored",
    (a) => {
      handlers(a, () => {});
      install(a, SIGNAL.SIGFPE, 1);
      a.mov("rax", 0).mov("rdx", 0).mov("rbx", 0).bytes(0x48, 0xf7, 0xf3);
    },
    ({ status }) => expect(status).toEqual({ kind: "signaled", signal: 8 }),
  );

  guestTest(
    "with no stack for the handler",
    (a) => {
      handlers(a, () => a.label("handler").ret());
      install(a, SIGNAL.SIGUSR1, "handler");
      a.syscall(39).copy("rbx", "rax").mov("rsp", AREA);
      raise(a, SIGNAL.SIGUSR1);
    },
    ({ status }) => expect(status).toEqual({ kind: "signaled", signal: 11 }),
  );
});
