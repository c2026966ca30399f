import { readFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { SIGNAL } from "./abi/signals.ts";
import type { Assembler } from "./testing/assembler.ts";
import { DATA, expectOutcomes, guestTest, hostIsNative } from "./testing/guest.ts";
import { handlers, INFO, install, recordWord, UC } from "./testing/handlers.ts";

const GETTIMEOFDAY = 0xffff_ffff_ff60_0000n;
const TIME = GETTIMEOFDAY + 0x400n;

/** Has the host's kernel a vsyscall page that can be called? */
const native = hostIsNative && readFileSync("/proc/self/maps", "utf8").includes("[vsyscall]");

/** Calls an address of the vsyscall page; a signal records its code and address, and RIP, and goes on behind the call. */
function call(a: Assembler, address: bigint, argument: bigint | number): void {
  handlers(a, () => {
    a.label("handler");
    for (const offset of [INFO.code, INFO.first]) recordWord(a, { base: "rsi", at: offset });
    recordWord(a, { base: "rdx", at: UC.rip });
    a.mov("rax", "after").store({ base: "rdx", at: UC.rip }, "rax").ret();
  });
  install(a, SIGNAL.SIGSEGV, "handler");
  a.mov("rdi", argument).mov("rsi", 0).mov("rbx", address).bytes(0xff, 0xd3).label("after");
}

describe("the vsyscall page", () => {
  guestTest(
    "tells the time and returns",
    (a) => {
      call(a, TIME, DATA);
      a.load("rcx", DATA).sub("rax", "rcx").record();
    },
    (run) => {
      expect(run.status).toEqual({ kind: "exited", status: 0 });
      expect(run.words.at(-1)).toBe(0n);
    },
    { native },
  );

  for (const [name, address, argument] of [
    ["a pointer to nowhere", GETTIMEOFDAY, 8],
    ["a pointer to nowhere, time(2)", TIME, 16],
    ["an address that is no entry", GETTIMEOFDAY + 0x10n, DATA],
    ["an address behind the entries", GETTIMEOFDAY + 0xc00n, DATA],
  ] as const) {
    guestTest(
      `is SIGSEGV without an address for ${name}, at the entry`,
      (a) => call(a, address, argument),
      ({ words, status }) => {
        expect(status).toEqual({ kind: "exited", status: 0 });
        expect([BigInt.asIntN(32, words[0]), words[1], words[2]]).toEqual([0x80n, 0n, address]);
      },
      { native },
    );
  }

  guestTest(
    "can't be read",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        for (const offset of [INFO.code, INFO.first]) recordWord(a, { base: "rsi", at: offset });
        recordWord(a, { base: "rdx", at: UC.error });
        a.mov("rax", "after").store({ base: "rdx", at: UC.rip }, "rax").ret();
      });
      install(a, SIGNAL.SIGSEGV, "handler");
      a.mov("rbx", TIME).load("rax", { base: "rbx" }).label("after");
    },
    ({ words }) => expect([BigInt.asIntN(32, words[0]), words[1], words[2]]).toEqual([1n, TIME, 5n]),
    { native },
  );
});

describe("arch_prctl", () => {
  guestTest(
    "says that CPUID may be used",
    (a) => a.syscall(158, 0x1011, 0).record(),
    (run) => expectOutcomes(run, [1]),
  );
});
