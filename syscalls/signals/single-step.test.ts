import { describe, expect } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, guestTest } from "../testing/guest.ts";
import { count, handlers, INFO, install, recordWord, UC } from "../testing/handlers.ts";

const [TRAPS, LAST] = [DATA + 0x100, DATA + 0x108];
/** PUSHFQ; OR [RSP], TF; POPFQ, and the same with AND and without TF. */
const SET_TRAP = [0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d];
const CLEAR_TRAP = [0x9c, 0x81, 0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, 0x9d];

/** Counts SIGTRAPs, and keeps the last one's code and whether its address is RIP. */
function stepHandler(a: Assembler): void {
  handlers(a, () => {
    a.label("handler");
    count(a, TRAPS);
    a.load("rax", { base: "rsi", at: INFO.first }).load("rcx", { base: "rdx", at: UC.rip }).sub("rax", "rcx");
    a.load32("rcx", { base: "rsi", at: INFO.code }).add("rax", "rcx").store(LAST, "rax").ret();
  });
  install(a, SIGNAL.SIGTRAP, "handler");
}

const NOPS = [0x90, 0x90, 0x90];
/** PUSHFQ, AND and POPFQ trap as well. */
const END = 3;

describe("single steps (RFLAGS.TF)", () => {
  for (const [name, code, traps] of [
    ["from POPFQ on, each instruction", NOPS, 3],
    ["each turn of a loop", [0xb9, 3, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc], 1 + 3 * 2],
    ["each repetition of MOVSB", [0xb9, 4, 0, 0, 0, 0xbe, 0, 0x20, 0x60, 0, 0xbf, 0, 0x31, 0x60, 0, 0xf3, 0xa4], 3 + 4],
    ["PAUSE, and an instruction that goemu carries out apart", [0xf3, 0x90, 0x31, 0xc0, 0x0f, 0xa2], 3],
    // SYSCALL saves TF and clears it: the trap is the next instruction's.
    ["not a system call", [0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x90], 2],
  ] as const) {
    guestTest(
      name,
      (a) => {
        stepHandler(a);
        a.bytes(...SET_TRAP, ...code, ...CLEAR_TRAP);
        recordWord(a, TRAPS);
        recordWord(a, LAST);
      },
      ({ words, status }) => {
        expect(status).toEqual({ kind: "exited", status: 0 });
        expect(words).toEqual([BigInt(traps + END), 2n]);
      },
    );
  }

  guestTest(
    "set in a frame",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        count(a, TRAPS);
        // From the second trap on no more.
        a.load("rax", TRAPS).bytes(0x83, 0xf8, 3).jcc("l", "more");
        a.load("rax", { base: "rdx", at: UC.eflags }).bytes(0x25, 0xff, 0xfe, 0xff, 0xff);
        a.store({ base: "rdx", at: UC.eflags }, "rax").ret();
        a.label("more").load("rax", { base: "rdx", at: UC.eflags }).bytes(0x0d, 0, 1, 0, 0);
        a.store({ base: "rdx", at: UC.eflags }, "rax").ret();
      });
      install(a, SIGNAL.SIGTRAP, "handler");
      a.bytes(0xcc, ...NOPS, ...NOPS);
      recordWord(a, TRAPS);
    },
    ({ words }) => expect(words).toEqual([3n]),
  );
});

describe("alignment checks (RFLAGS.AC)", () => {
  guestTest(
    "are SIGBUS, BUS_ADRALN",
    (a) => {
      handlers(a, () => {
        // The handler has AC set, too.
        a.label("handler");
        for (const offset of [INFO.signal, INFO.code]) recordWord(a, { base: "rsi", at: offset });
        recordWord(a, { base: "rdx", at: UC.trap });
        a.load("rax", { base: "rdx", at: UC.eflags }).bytes(0x25, 0xff, 0xff, 0xfb, 0xff);
        a.store({ base: "rdx", at: UC.eflags }, "rax").ret();
      });
      install(a, SIGNAL.SIGBUS, "handler");
      a.mov("rbx", DATA + 1).mov("rax", 5);
      a.bytes(0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d).bytes(0x48, 0x89, 0x03);
      recordWord(a, { base: "rbx" });
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      expect(words.map((word) => BigInt.asIntN(32, word))).toEqual([7n, 1n, 17n, 5n]);
    },
  );
});
