import { describe, expect } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, guestTest } from "../testing/guest.ts";
import { handlers, INFO, install, raise, recordWord, setMask, UC } from "../testing/handlers.ts";

const NOWHERE = 0x2000_0000;
const STACK = DATA + 0x8000;

/**
 * A handler of SIGUSR1 that spoils its frame, and one of SIGSEGV that records what becomes of that: signal, code, trap,
 * error code.
 * @param spoil changes the frame at RDX
 */
function spoiledReturn(a: Assembler, spoil: (a: Assembler) => void): void {
  handlers(a, () => {
    a.label("usr1");
    spoil(a);
    a.ret();
    a.label("segv");
    for (const offset of [INFO.signal, INFO.code]) recordWord(a, { base: "rsi", at: offset });
    for (const offset of [UC.trap, UC.error]) recordWord(a, { base: "rdx", at: offset });
    a.jmp("finish");
  });
  // The handlers of SIGSEGV have a stack of their own.
  a.put(DATA, STACK)
    .put(DATA + 8, 0)
    .put(DATA + 16, 0x8000);
  a.syscall(131, DATA, 0);
  install(a, SIGNAL.SIGSEGV, "segv", 0x0800_0000);
  install(a, SIGNAL.SIGUSR1, "usr1");
  raise(a, SIGNAL.SIGUSR1);
  a.mov("rax", 77).record();
}

const seen = (words: readonly bigint[]): bigint[] =>
  words.slice(0, 4).map((word, i) => (i === 1 ? BigInt.asIntN(32, word) : word));

describe("rt_sigreturn is SIGSEGV", () => {
  for (const [name, spoil, error] of [
    [
      "with reserved bits of MXCSR",
      (a: Assembler) =>
        a.load("rcx", { base: "rdx", at: UC.fpstate }).mov("rax", 0x1_1f80).store32({ base: "rcx", at: 24 }, "rax"),
      [0n, 0n],
    ],
    [
      "with components that the processor does not have",
      (a: Assembler) =>
        a
          .load("rcx", { base: "rdx", at: UC.fpstate })
          .mov("rax", 1n << 62n)
          .store({ base: "rcx", at: 512 }, "rax"),
      [0n, 0n],
    ],
    [
      "with a floating-point state that can't be read",
      (a: Assembler) => a.mov("rax", NOWHERE).store({ base: "rdx", at: UC.fpstate }, "rax"),
      [0n, 0n],
    ],
    [
      "with CS 0",
      (a: Assembler) => a.mov("rax", 0x2b_0000_0000_0000n).store({ base: "rdx", at: UC.selectors }, "rax"),
      [13n, 0n],
    ],
    [
      "with the kernel's CS",
      (a: Assembler) => a.mov("rax", 0x2b_0000_0000_0010n).store({ base: "rdx", at: UC.selectors }, "rax"),
      [13n, 0x10n],
    ],
    [
      "with an SS that is no stack's",
      (a: Assembler) => a.mov("rax", 0x33_0000_0000_0033n).store({ base: "rdx", at: UC.selectors }, "rax"),
      [13n, 0x30n],
    ],
  ] as const) {
    guestTest(
      name,
      (a) => spoiledReturn(a, spoil),
      ({ words, status }) => {
        expect(status).toEqual({ kind: "exited", status: 0 });
        expect(seen(words)).toEqual([11n, 0x80n, ...error]);
      },
    );
  }

  guestTest(
    "with a frame that can't be read",
    (a) => {
      handlers(a, () => {
        a.label("segv");
        for (const offset of [INFO.signal, INFO.code]) recordWord(a, { base: "rsi", at: offset });
        a.jmp("finish");
      });
      a.put(DATA, STACK)
        .put(DATA + 8, 0)
        .put(DATA + 16, 0x8000);
      a.syscall(131, DATA, 0);
      install(a, SIGNAL.SIGSEGV, "segv", 0x0800_0000);
      a.mov("rsp", NOWHERE).mov("rax", 15).bytes(0x0f, 0x05).mov("rax", 77).record();
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      expect([words[0], BigInt.asIntN(32, words[1])]).toEqual([11n, 0x80n]);
    },
  );

  guestTest(
    "that kills where SIGSEGV is blocked",
    (a) => {
      handlers(a, () => a.label("segv").ret());
      install(a, SIGNAL.SIGSEGV, "segv");
      setMask(a, 0, SIGNAL.SIGSEGV);
      a.mov("rsp", NOWHERE).mov("rax", 15).bytes(0x0f, 0x05);
    },
    ({ status }) => expect(status).toEqual({ kind: "signaled", signal: 11 }),
  );
});

describe("rt_sigreturn", () => {
  guestTest(
    "sets the flags that a program may set in a frame, and keeps ID",
    (a) => {
      handlers(a, () => {
        a.label("usr1");
        a.mov("rax", 0x20_4cd5).store({ base: "rdx", at: UC.eflags }, "rax").ret();
      });
      install(a, SIGNAL.SIGUSR1, "usr1");
      raise(a, SIGNAL.SIGUSR1);
      // PUSHFQ; POP RAX; CLD.
      a.bytes(0x9c, 0x58, 0xfc).record();
    },
    ({ words }) => expect(words).toEqual([0xed7n]),
  );
});
