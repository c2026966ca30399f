// Memory where the emulator's own tables are in wasm memory: guest pages there live elsewhere, and nothing shows.
import { describe, expect, it } from "vitest";
import { PF_R, PF_W, PF_X } from "../../loader/elf-constants.ts";
import { testElf } from "../../loader/test-elf.ts";
import type { Tier } from "../machine.ts";
import { Assembler } from "../testing/assembler.ts";
import {
  DATA,
  expectOutcomes,
  type GuestRun,
  guestTest,
  hostIsNative,
  runGuest,
  runNatively,
} from "../testing/guest.ts";
import { MAP } from "./syscalls.ts";

const SYS = { write: 1, mmap: 9, mprotect: 10, munmap: 11, mremap: 25, mincore: 27, madvise: 28 } as const;
const [RW, RX] = [3, 5];
const FIXED = MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED;
const PAGE = 4096;
/** Calls that make code hot. */
const TURNS = 20_000;

/** The permission map's place, and what is above the window. */
const PLACES = [
  { name: "the low area", start: 0x8_0000, end: 0x20_0000 },
  { name: "the end of the window", start: 0xf000_0000, end: 0x1_0000_0000 },
];

/** A test in each tier and on the host's kernel. */
function everywhere(name: string, build: (a: Assembler) => void, check: (run: GuestRun) => void): void {
  for (const tier of ["interpreter", "jit"] satisfies Tier[]) {
    guestTest(`${name} (--tier ${tier})`, build, check, { tier, native: tier === "interpreter" });
  }
}

/** Puts a word at an address above 2^31 too; changes RAX and RBX. */
function putFar(a: Assembler, address: number, value: number | bigint): Assembler {
  return a.mov("rbx", address).put({ base: "rbx" }, value);
}

function loadFar(a: Assembler, address: number): Assembler {
  return a.mov("rbx", address).load("rax", { base: "rbx" });
}

/** Counts RCX down and goes back to a label while it is not 0. */
function repeat(a: Assembler, label: string): void {
  a.bytes(0x48, 0xff, 0xc9).jcc("ne", label);
}

describe.each(PLACES)("memory at $name", ({ start, end }) => {
  const value = 0x1122_3344_5566_7788n;

  everywhere(
    "holds words within pages and across both borders",
    (a) => {
      a.syscall(SYS.mmap, start - PAGE, 2 * PAGE, RW, FIXED, -1, 0).record();
      a.syscall(SYS.mmap, end - PAGE, 2 * PAGE, RW, FIXED, -1, 0).record();
      for (const at of [start + 8, start - 3, start + PAGE - 8, end - 3, end - PAGE, end + 8]) {
        putFar(a, at, value);
        loadFar(a, at).record();
        // Byte for byte it is the same.
        a.bytes(0x0f, 0xb6, 0x43, 0x07).record(); // MOVZX EAX, byte [RBX + 7]
        a.mov("rcx", 1).exchangeAdd32({ base: "rbx" }, "rcx").record("rcx");
      }
    },
    (run) =>
      expectOutcomes(run, [
        start - PAGE,
        end - PAGE,
        ...Array(6)
          .fill([Number(value), 0x11, 0x5566_7788])
          .flat(),
      ]),
  );

  everywhere(
    "is as fast code expects it: a loop of stores and loads over all of it and what is around it",
    (a) => {
      const [first, count] = [end - 64 * PAGE, 128 * PAGE];
      a.syscall(SYS.mmap, first, count, RW, FIXED, -1, 0).record();
      a.mov("rbx", first)
        .mov("rcx", count / 8 - 1)
        .mov("rdx", 0);
      // Words that straddle every page, each its own address.
      a.label("store").store({ base: "rbx", at: 3 }, "rbx").mov("rsi", 8).add("rbx", "rsi");
      repeat(a, "store");
      a.mov("rbx", first).mov("rcx", count / 8 - 1);
      a.label("load").load("rax", { base: "rbx", at: 3 }).sub("rax", "rbx").add("rdx", "rax").mov("rsi", 8);
      a.add("rbx", "rsi");
      repeat(a, "load");
      a.record("rdx");
    },
    (run) => expectOutcomes(run, [end - 64 * PAGE, 0]),
  );

  everywhere(
    "is copied by string instructions from the window and back",
    (a) => {
      a.syscall(SYS.mmap, start - 2 * PAGE, 4 * PAGE, RW, FIXED, -1, 0).record();
      for (let i = 0; i < 8; i++) a.put(DATA + i * 1024, i + 1);
      const copy = (from: number, to: number): void => {
        a.mov("rsi", from).mov("rdi", to).mov("rcx", 8192).bytes(0xf3, 0xa4).record("rcx").record("rdi");
      };
      copy(DATA, start - PAGE + 5);
      copy(start - PAGE + 5, DATA + 0x4000);
      for (let i = 0; i < 8; i++) a.load("rax", DATA + 0x4000 + i * 1024).record();
    },
    (run) =>
      expectOutcomes(run, [start - 2 * PAGE, ...[0, start + PAGE + 5, 0, DATA + 0x6000], ...[1, 2, 3, 4, 5, 6, 7, 8]]),
  );

  everywhere(
    "is executed, called from the window, across its borders, and changed",
    (a) => {
      a.syscall(SYS.mmap, start - PAGE, 2 * PAGE, 7, FIXED, -1, 0).record();
      // MOV EAX, 5; RET, once within the page, once across the border; then another number.
      for (const at of [start + 0x100, start - 2]) {
        a.mov("rbx", at).put({ base: "rbx" }, 0xc3_0000_0005_b8n).mov("rdx", 0).mov("r12", TURNS);
        const again = a.fresh();
        a.label(again).bytes(0xff, 0xd3).add("rdx", "rax").bytes(0x49, 0xff, 0xcc).jcc("ne", again);
        a.record("rdx");
        a.put({ base: "rbx" }, 0xc3_0000_0007_b8n).bytes(0xff, 0xd3).record();
      }
      a.syscall(SYS.mprotect, start - PAGE, 2 * PAGE, RX)
        .record()
        .bytes(0xff, 0xd3)
        .record();
    },
    (run) => expectOutcomes(run, [start - PAGE, 5 * TURNS, 7, 5 * TURNS, 7, 0, 7]),
  );

  everywhere(
    "is discarded, moved, unmapped and asked about like any other, and serves system calls",
    (a) => {
      a.syscall(SYS.mmap, start - PAGE, 4 * PAGE, RW, FIXED, -1, 0).record();
      for (let page = -1; page < 3; page++) putFar(a, start + page * PAGE, 100 + page);
      a.syscall(SYS.madvise, start, PAGE, 4).record();
      loadFar(a, start).record();
      a.syscall(SYS.mremap, start - PAGE, 4 * PAGE, 4 * PAGE, 3, end - PAGE).record();
      for (let page = -1; page < 3; page++) loadFar(a, end + page * PAGE).record();
      a.syscall(SYS.mremap, end - PAGE, 4 * PAGE, 5 * PAGE, 0).record();
      a.syscall(SYS.munmap, end, 2 * PAGE).record();
      a.syscall(SYS.mincore, end - PAGE, 2 * PAGE, DATA).record();
      a.syscall(SYS.mincore, end - PAGE, PAGE, end - PAGE + 8).record();
      loadFar(a, end - PAGE + 8).record();
    },
    (run) =>
      expectOutcomes(run, [...[start - PAGE, 0, 0, end - PAGE, 99, 0, 101, 102, end - PAGE], ...[0, "ENOMEM", 0, 1]]),
  );

  everywhere(
    "is written from, and faults once unmapped",
    (a) => {
      a.syscall(SYS.mmap, start, 2 * PAGE, RW, FIXED, -1, 0);
      putFar(a, start + PAGE - 2, 0x0a_6f6f_66n).syscall(SYS.write, 1, start + PAGE - 2, 4);
      a.syscall(SYS.munmap, start + PAGE, PAGE);
      a.mov("rbx", start + PAGE).load("rax", { base: "rbx" });
    },
    (run) => {
      expect(run.status).toEqual({ kind: "signaled", signal: 11 });
      expect(new TextDecoder().decode(run.stdout)).toBe("foo\n");
    },
  );
});

describe("an executable whose segments lie there", () => {
  // Code at 0x10_0000, data at 0x1f_f000 that reaches into the window: it counts in a loop and prints.
  const DATA_AT = 0x1f_f000;
  const a = new Assembler(0x10_0100, DATA_AT + 0x800);
  a.mov("rcx", TURNS)
    .mov("rbx", DATA_AT + 0xffc)
    .mov("rdx", 0);
  a.label("again").load("rax", { base: "rbx" }).mov("rsi", 3).add("rax", "rsi").store({ base: "rbx" }, "rax");
  repeat(a, "again");
  a.load("rax", { base: "rbx" }).record();
  a.load("rax", DATA_AT).record();
  a.syscall(SYS.write, 1, DATA_AT + 0x800, 16).syscall(231, 0);
  const code = a.assemble();
  const elf = testElf({
    entry: 0x10_0100,
    size: 0x3000,
    segments: [
      { flags: PF_R | PF_X, offset: 0x1000, vaddr: 0x10_0000, fileSize: 0x1000 },
      { flags: PF_R | PF_W, offset: 0x2000, vaddr: DATA_AT, fileSize: 0x1000, memSize: 0x4000 },
      { type: 0x6474_e551, flags: PF_R | PF_W, fileSize: 0 },
    ],
    contents: [
      [0x1100, code],
      [0x2000, Uint8Array.of(0x2a)],
    ],
  });
  const guest = { elf, wordCount: 2 };
  const check = (run: GuestRun): void => {
    expect(run.status).toEqual({ kind: "exited", status: 0 });
    expect(run.words).toEqual([BigInt(3 * TURNS), 0x2an]);
  };

  it.each(["interpreter", "jit", "auto"] satisfies Tier[])("runs under --tier %s", async (tier) => {
    check(await runGuest(guest, { tier }));
  });

  it.skipIf(!hostIsNative)("runs on the host's kernel (skipped unless the host is Linux on x86-64)", () => {
    check(runNatively(guest));
  });
});
