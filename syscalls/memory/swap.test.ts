// More memory than there are frames for, outside the window: it goes into swap and comes back, and the guest sees nothing.
import { describe, expect, it } from "vitest";
import type { Tier } from "../machine.ts";
import type { Assembler } from "../testing/assembler.ts";
import { buildGuest, DATA, expectOutcomes, guestTest, outcome, runGuest } from "../testing/guest.ts";
import { MAP } from "./syscalls.ts";

const SYS = {
  read: 0,
  write: 1,
  close: 3,
  mmap: 9,
  mprotect: 10,
  munmap: 11,
  brk: 12,
  mremap: 25,
  madvise: 28,
} as const;
const SYS_PIPE = 22;
const RW = 3;
const PAGE = 4096;
const HIGH = 0x7e00_0000_0000;
const FIXED = MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Goes through pages from the one at RBX on; `body` may use all but RBX and R15, which counts down. */
function eachPage(a: Assembler, address: number, pages: number, body: () => void): void {
  const again = a.fresh();
  a.mov("rbx", address).mov("r15", pages).label(again);
  body();
  a.mov("rcx", PAGE).add("rbx", "rcx").mov("rcx", 1).sub("r15", "rcx").jcc("ne", again);
}

const fill = (a: Assembler, address: number, pages: number): void =>
  eachPage(a, address, pages, () => a.store({ base: "rbx" }, "r15"));

/** Records the sum of the pages' first words. */
function sum(a: Assembler, address: number, pages: number): void {
  a.mov("rdx", 0);
  eachPage(a, address, pages, () => a.load("rax", { base: "rbx" }).add("rdx", "rax"));
  a.record("rdx");
}

const sumTo = (n: number): number => (n * (n + 1)) / 2;

describe.each(["interpreter", "jit"] satisfies Tier[])("more pages than frames (--tier %s)", (tier) => {
  const frames = { tier, frameBytes: 4 * MIB, native: tier === "interpreter" };
  const pages = (12 * MIB) / PAGE;

  guestTest(
    "keep what is written to them",
    (a) => {
      a.syscall(SYS.mmap, HIGH, pages * PAGE, RW, FIXED, -1, 0).record();
      fill(a, HIGH, pages);
      sum(a, HIGH, pages);
      sum(a, HIGH, pages);
      a.syscall(SYS.mprotect, HIGH, 4 * MIB, 1).record();
      a.syscall(SYS.madvise, HIGH + 4 * MIB, 4 * MIB, 4).record();
      sum(a, HIGH, pages);
      a.syscall(SYS.mremap, HIGH, 4 * MIB, 4 * MIB, 3, HIGH + GIB).record();
      sum(a, HIGH + GIB, 1024);
    },
    (run) => {
      const middle = sumTo(2048) - sumTo(1024);
      const third = sumTo(3072) - sumTo(2048);
      expectOutcomes(run, [HIGH, sumTo(pages), sumTo(pages), 0, 0, sumTo(pages) - middle, HIGH + GIB, third]);
    },
    frames,
  );

  guestTest(
    "serve system calls in pieces, if need be",
    (a) => {
      // A transfer of all of it, through a pipe that takes little at a time.
      a.syscall(SYS.mmap, HIGH, pages * PAGE, RW, FIXED, -1, 0);
      fill(a, HIGH, pages);
      a.syscall(SYS_PIPE, DATA).load("r12", DATA).bytes(0x45, 0x89, 0xe5);
      a.bytes(0x49, 0xc1, 0xec, 0x20);
      a.mov("rbx", HIGH).mov("rbp", 0).label("again");
      a.copy("rdi", "r12")
        .copy("rsi", "rbx")
        .mov("rdx", 32 * 1024)
        .mov("rax", SYS.write)
        .bytes(0x0f, 0x05);
      a.copy("rdi", "r13")
        .mov("rsi", DATA + 0x1000)
        .mov("rdx", 32 * 1024)
        .mov("rax", SYS.read)
        .bytes(0x0f, 0x05);
      a.add("rbp", "rax").add("rbx", "rax");
      for (let i = 0; i < 8; i++) a.load("rax", DATA + 0x1000 + i * PAGE).store(DATA + 0x9_0000 + i * 8, "rax");
      a.mov("rcx", HIGH + pages * PAGE)
        .copy("rax", "rbx")
        .sub("rax", "rcx")
        .jcc("ne", "again");
      a.record("rbp");
      for (const i of [0, 7]) a.load("rax", DATA + 0x9_0000 + i * 8).record();
    },
    (run) => expectOutcomes(run, [pages * PAGE, 8, 1]),
    frames,
  );
});

describe("reservations of any size", () => {
  guestTest(
    "cost nothing, and parts of them can be used",
    (a) => {
      for (const size of [3 * GIB, 8 * GIB, 100 * GIB, 64 * 1024 * GIB]) {
        a.syscall(SYS.mmap, 0, size, 0, MAP.PRIVATE | MAP.ANONYMOUS | MAP.NORESERVE, -1, 0).copy("r14", "rax");
        // Its last page through mprotect(2), the one before through MAP_FIXED.
        a.mov("rbx", size - PAGE).add("rbx", "r14");
        a.copy("rdi", "rbx").mov("rsi", PAGE).mov("rdx", RW).mov("rax", SYS.mprotect).bytes(0x0f, 0x05).record();
        a.mov("rax", size).store({ base: "rbx" }, "rax").load("rax", { base: "rbx" }).record();
        a.mov("rcx", PAGE).sub("rbx", "rcx").copy("rdi", "rbx").mov("rsi", PAGE).mov("rdx", RW).mov("r10", FIXED);
        a.mov("r8", -1).mov("r9", 0).mov("rax", SYS.mmap).bytes(0x0f, 0x05).sub("rax", "rbx").record();
        a.load("rax", { base: "rbx" }).record();
        a.copy("rdi", "r14").mov("rsi", size).mov("rax", SYS.munmap).bytes(0x0f, 0x05).record();
      }
    },
    (run) =>
      expectOutcomes(
        run,
        [3, 8, 100, 64 * 1024].flatMap((gib) => [0, gib * GIB, 0, 0, 0]),
      ),
  );
});

describe("memory that goemu refuses", () => {
  const guest = buildGuest((a) => {
    const ask = (size: number, flags: number = MAP.PRIVATE | MAP.ANONYMOUS): void => {
      a.syscall(SYS.mmap, 0, size, RW, flags, -1, 0).record();
    };
    ask(100 * MIB);
    ask(100 * MIB);
    ask(100 * MIB, MAP.PRIVATE | MAP.ANONYMOUS | MAP.NORESERVE);
    ask(2 ** 46);
  });

  it("is said to be so, once, with the option that helps", async () => {
    const said: string[] = [];
    const run = await runGuest(guest, { memoryLimit: 128 * MIB, report: (line) => said.push(line) });
    expect(run.words.map(outcome).map((word) => typeof word === "string" && word)).toEqual([
      false,
      "ENOMEM",
      false,
      "ENOMEM",
    ]);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/^mmap of 100 MiB refused \(ENOMEM\): .* --memory 128 MiB .* --memory/);
  });

  it("names the machine's memory where no limit was given", async () => {
    const said: string[] = [];
    const run = await runGuest(guest, { report: (line) => said.push(line) });
    expect(run.words.map(outcome).map((word) => typeof word === "string" && word)).toEqual([
      false,
      false,
      false,
      "ENOMEM",
    ]);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/^mmap of 64 TiB refused \(ENOMEM\): .* the 4 GiB of memory/);
  });

  it("kills a program that can't do without, as Linux does", async () => {
    const pages = (16 * MIB) / PAGE;
    const endless = buildGuest((a) => {
      a.syscall(SYS.mmap, HIGH, pages * PAGE, RW, FIXED | MAP.NORESERVE, -1, 0);
      fill(a, HIGH, pages);
    });
    const said: string[] = [];
    const run = await runGuest(endless, {
      memoryLimit: 10 * MIB,
      frameBytes: 4 * MIB,
      report: (line) => said.push(line),
    });
    expect(run.status).toEqual({ kind: "signaled", signal: 9 });
    expect(said.some((line) => line.startsWith("out of memory: "))).toBe(true);
  });
});

describe("a guest's own limits", () => {
  const SETRLIMIT = 160;
  const [AS, DATA_LIMIT] = [9, 2];
  const set = (a: Assembler, resource: number, bytes: number): void => {
    a.put(DATA, bytes)
      .put(DATA + 8, bytes)
      .syscall(SETRLIMIT, resource, DATA)
      .record();
  };
  const map = (a: Assembler, bytes: number, prot = RW): Assembler =>
    a.syscall(SYS.mmap, 0, bytes, prot, MAP.PRIVATE | MAP.ANONYMOUS, -1, 0);

  guestTest(
    "on its address space and its data refuse memory",
    (a) => {
      const failed = (): void => void a.bytes(0x48, 0xc1, 0xf8, 0x3f).record();
      set(a, DATA_LIMIT, 64 * MIB);
      map(a, 80 * MIB);
      failed();
      map(a, 80 * MIB, 0).copy("rbx", "rax");
      failed();
      a.copy("rdi", "rbx")
        .mov("rsi", 80 * MIB)
        .mov("rdx", RW)
        .mov("rax", SYS.mprotect)
        .bytes(0x0f, 0x05)
        .record();
      set(a, AS, 200 * MIB);
      map(a, 150 * MIB, 0);
      failed();
      map(a, 50 * MIB, 0);
      failed();
    },
    (run) =>
      expectOutcomes(
        run,
        [0, -1, 0, "ENOMEM", 0, -1, 0].map((word) => (word === -1 ? "EPERM" : word)),
      ),
  );
});
