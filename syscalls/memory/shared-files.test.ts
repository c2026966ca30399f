// Shared mappings of files: their pages come in when they are used, and only those that were stored to go back.
import { describe, expect } from "vitest";
import type { Tier } from "../machine.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, expectOutcomes, guestTest } from "../testing/guest.ts";
import { MAP } from "./syscalls.ts";

const SYS = { mmap: 9, mprotect: 10, munmap: 11, pread: 17, pwrite: 18, msync: 26, ftruncate: 77 } as const;
const MEMFD_CREATE = 319;
const PAGE = 4096;
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const [READ, RW] = [1, 3];

/** A file of zeros; its descriptor is in R12. */
function file(a: Assembler, size: number): void {
  a.put(DATA, 0x66).syscall(MEMFD_CREATE, DATA, 0).copy("r12", "rax");
  a.copy("rdi", "r12").mov("rsi", size).mov("rax", SYS.ftruncate).bytes(0x0f, 0x05).record();
}

/** Maps it; the address is in RBX. */
function map(a: Assembler, size: number, prot: number): void {
  a.mov("rdi", 0).mov("rsi", size).mov("rdx", prot).mov("r10", MAP.SHARED).copy("r8", "r12").mov("r9", 0);
  a.mov("rax", SYS.mmap).bytes(0x0f, 0x05).copy("rbx", "rax");
}

/** A call on the file with a word at DATA, at an offset. */
function word(a: Assembler, call: number, offset: number): void {
  a.copy("rdi", "r12").mov("rsi", DATA).mov("rdx", 8).mov("r10", offset).mov("rax", call).bytes(0x0f, 0x05);
}

const unmap = (a: Assembler, size: number): void =>
  void a.copy("rdi", "rbx").mov("rsi", size).mov("rax", SYS.munmap).bytes(0x0f, 0x05).record();

describe.each(["interpreter", "jit"] satisfies Tier[])("a shared file mapping (--tier %s)", (tier) => {
  const options = { tier, native: tier === "interpreter" };

  guestTest(
    "keeps what is touched here and there",
    (a) => {
      file(a, 64 * MIB);
      map(a, 64 * MIB, RW);
      a.copy("rbp", "rbx")
        .mov("r15", 10)
        .label("again")
        .store({ base: "rbp" }, "r15")
        .mov("rcx", 0x40_0000)
        .add("rbp", "rcx");
      a.mov("rcx", 1).sub("r15", "rcx").jcc("ne", "again");
      unmap(a, 64 * MIB);
      for (const i of [0, 1, 9]) {
        word(a, SYS.pread, i * 0x40_0000);
        a.load("rax", DATA).record();
      }
    },
    (run) => expectOutcomes(run, [0, 0, 10, 9, 1]),
    options,
  );

  guestTest(
    "keeps every page of more than a piece that is written back at once",
    (a) => {
      file(a, 3 * MIB);
      map(a, 3 * MIB, RW);
      a.copy("rbp", "rbx")
        .mov("r15", 768)
        .label("again")
        .store({ base: "rbp" }, "r15")
        .mov("rcx", PAGE)
        .add("rbp", "rcx");
      a.mov("rcx", 1).sub("r15", "rcx").jcc("ne", "again");
      unmap(a, 3 * MIB);
      for (const page of [0, 255, 256, 257, 512, 513, 514, 767]) {
        word(a, SYS.pread, page * PAGE);
        a.load("rax", DATA).record();
      }
    },
    (run) => expectOutcomes(run, [0, 0, 768, 513, 512, 511, 256, 255, 254, 1]),
    options,
  );

  guestTest(
    "writes back what was stored to, and nothing else",
    (a) => {
      file(a, 4 * PAGE);
      map(a, 4 * PAGE, RW);
      // Both pages are there; only the second one is stored to.
      a.load("rax", { base: "rbx" }).record();
      a.mov("rax", 7).store({ base: "rbx", at: PAGE }, "rax");
      a.put(DATA, 5);
      word(a, SYS.pwrite, 0);
      unmap(a, 4 * PAGE);
      for (const offset of [0, PAGE]) {
        word(a, SYS.pread, offset);
        a.load("rax", DATA).record();
      }
    },
    (run) => expectOutcomes(run, [0, 0, 0, 5, 7]),
    options,
  );

  guestTest(
    "is written back once more after msync and mprotect",
    (a) => {
      file(a, PAGE);
      map(a, PAGE, RW);
      const stores = (value: number, call: () => void): void => {
        a.mov("rax", value).store({ base: "rbx" }, "rax");
        call();
        word(a, SYS.pread, 0);
        a.load("rax", DATA).record();
      };
      const protect = (prot: number): void =>
        void a.copy("rdi", "rbx").mov("rsi", PAGE).mov("rdx", prot).mov("rax", SYS.mprotect).bytes(0x0f, 0x05).record();
      const sync = (): void =>
        void a.copy("rdi", "rbx").mov("rsi", PAGE).mov("rdx", 4).mov("rax", SYS.msync).bytes(0x0f, 0x05).record();
      stores(1, sync);
      stores(2, sync);
      stores(3, () => protect(READ));
      protect(RW);
      stores(4, () => unmap(a, PAGE));
    },
    (run) => expectOutcomes(run, [0, 0, 1, 0, 2, 0, 3, 0, 0, 4]),
    options,
  );

  guestTest(
    "of 10 GiB over a file of 8 KiB ends in SIGBUS behind it",
    (a) => {
      file(a, 2 * PAGE);
      a.put(DATA, 9);
      word(a, SYS.pwrite, PAGE);
      map(a, 10 * GIB, READ);
      a.load("rax", { base: "rbx", at: PAGE }).store(DATA, "rax").syscall(1, 1, DATA, 1);
      a.mov("rax", GIB).add("rbx", "rax").load("rax", { base: "rbx" });
    },
    (run) => {
      expect(run.stdout).toEqual(Uint8Array.of(9));
      expect(run.status).toEqual({ kind: "signaled", signal: 7 });
    },
    options,
  );

  /** A word at an offset of the mapping in RBX, recorded. */
  const look = (a: Assembler, offset: number): void =>
    void a.copy("rbp", "rbx").mov("rcx", offset).add("rbp", "rcx").load("rax", { base: "rbp" }).record();
  /** Stores a word there. */
  const store = (a: Assembler, offset: number, value: number): void =>
    void a.copy("rbp", "rbx").mov("rcx", offset).add("rbp", "rcx").mov("rax", value).store({ base: "rbp" }, "rax");

  guestTest(
    "shows what is written to the file, and the file shows what is stored",
    (a) => {
      file(a, 4 * PAGE);
      map(a, 4 * PAGE, RW);
      look(a, 0);
      a.put(DATA, 11);
      word(a, SYS.pwrite, 0);
      look(a, 0);
      // A page that has been stored to keeps that beside what is written to it.
      store(a, PAGE, 12);
      a.put(DATA, 13);
      word(a, SYS.pwrite, PAGE + 8);
      look(a, PAGE);
      look(a, PAGE + 8);
      word(a, SYS.pread, PAGE);
      a.load("rax", DATA).record();
      store(a, PAGE, 14);
      word(a, SYS.pread, PAGE);
      a.load("rax", DATA).record();
    },
    (run) => expectOutcomes(run, [0, 0, 11, 12, 13, 12, 14]),
    options,
  );

  guestTest(
    "shows what is stored through another mapping, to and fro",
    (a) => {
      file(a, 2 * PAGE);
      map(a, 2 * PAGE, READ);
      a.copy("r13", "rbx");
      map(a, 2 * PAGE, RW);
      const swap = (): void => void a.copy("r14", "rbx").copy("rbx", "r13").copy("r13", "r14");
      for (const value of [21, 22]) {
        store(a, 8, value);
        swap();
        look(a, 8);
        swap();
        look(a, 8);
      }
      // A second mapping that may be stored to, too.
      a.copy("r13", "rbx");
      map(a, 2 * PAGE, RW);
      store(a, 16, 23);
      swap();
      look(a, 16);
      store(a, 24, 24);
      look(a, 8);
      swap();
      look(a, 24);
      look(a, 16);
    },
    (run) => expectOutcomes(run, [0, 21, 21, 22, 22, 23, 22, 24, 23]),
    options,
  );

  guestTest(
    "loses what is behind the end when the file gets shorter",
    (a) => {
      file(a, 2 * PAGE);
      map(a, 2 * PAGE, RW);
      store(a, PAGE, 31);
      store(a, 64, 32);
      for (const size of [32, 2 * PAGE]) {
        a.copy("rdi", "r12").mov("rsi", size).mov("rax", SYS.ftruncate).bytes(0x0f, 0x05).record();
      }
      look(a, PAGE);
      look(a, 64);
    },
    (run) => expectOutcomes(run, [0, 0, 0, 0, 0]),
    options,
  );
});
