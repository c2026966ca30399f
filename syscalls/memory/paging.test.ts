// Pages of private file mappings, and of the program itself, come in when they are used; nobody sees that they do.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadFixture } from "../../fixtures/programs.ts";
import { MemoryHost } from "../../host/memory/memory-host.ts";
import type { FileSource } from "../../loader/bytes.ts";
import { PF_R, PF_W, PF_X } from "../../loader/elf-constants.ts";
import { LoadError } from "../../loader/errors.ts";
import { testElf } from "../../loader/test-elf.ts";
import { SIGNAL } from "../abi/signals.ts";
import { Machine } from "../machine.ts";
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
import { handlers, INFO, install, recordWord, UC } from "../testing/handlers.ts";
import { MAP } from "./syscalls.ts";

const SYS = {
  write: 1,
  mmap: 9,
  mprotect: 10,
  munmap: 11,
  pwrite: 18,
  mremap: 25,
  mincore: 27,
  madvise: 28,
  ftruncate: 77,
  memfd_create: 319,
} as const;
const [R, RW] = [1, 3];
const PAGE = 4096;
/** More than comes in at a time. */
const PAGES = 64;
/** In the window, over the permission map, and beyond 4 GiB. */
const PLACES = [0x2000_0000, 0x10_0000 - 16 * PAGE, 0x7e00_0000_0000];
const [NAME, FD, WORD] = [DATA, DATA + 0x20, DATA + 0x28];

/** Makes a file of `PAGES` pages, each with its number plus 1 at its start, and maps it. */
function mapFile(a: Assembler, at: number, prot: number, type: number = MAP.PRIVATE): void {
  a.put(NAME, 0x66).syscall(SYS.memfd_create, NAME, 0).store32(FD, "rax");
  withFile(a, SYS.ftruncate, PAGES * PAGE);
  for (let page = 0; page < PAGES; page++) writeFile(a, page, page + 1);
  a.mov("rdi", at)
    .mov("rsi", PAGES * PAGE)
    .mov("rdx", prot)
    .mov("r10", type | MAP.FIXED);
  a.load32("r8", FD).mov("r9", 0).mov("rax", SYS.mmap).bytes(0x0f, 0x05).record();
}

function withFile(a: Assembler, number: number, second: number): void {
  a.load32("rdi", FD).mov("rsi", second).mov("rax", number).bytes(0x0f, 0x05);
}

function writeFile(a: Assembler, page: number, value: number): void {
  a.put(WORD, value)
    .mov("rdx", 8)
    .mov("r10", page * PAGE);
  withFile(a, SYS.pwrite, WORD);
}

function load(a: Assembler, address: number): void {
  a.mov("rbx", address).load("rax", { base: "rbx" }).record();
}

function store(a: Assembler, address: number, value: number): void {
  a.mov("rbx", address).put({ base: "rbx" }, value);
}

describe.each(PLACES.map((at) => [at.toString(16), at] as const))("a private file mapping at 0x%s", (_name, at) => {
  const page = (number: number): number => at + number * PAGE;

  guestTest(
    "has the file's words, keeps its own, and takes accesses that straddle pages nobody has used",
    (a) => {
      mapFile(a, at, RW);
      for (const number of [40, 0, 63, 17]) load(a, page(number));
      store(a, page(20), 777);
      load(a, page(20));
      load(a, page(21));
      a.mov("rbx", page(33) - 4)
        .load("rax", { base: "rbx" })
        .record();
      a.mov("rbx", page(48) - 4).put({ base: "rbx" }, -1);
      load(a, page(48));
      // The store did not reach the file.
      a.mov("rdi", page(20)).mov("rsi", PAGE).mov("rdx", 4).mov("rax", SYS.madvise).bytes(0x0f, 0x05).record();
      load(a, page(20));
    },
    (run) => expectOutcomes(run, [at, 41, 1, 64, 18, 777, 22, 34 * 2 ** 32, 0xffff_ffff, 0, 21]),
  );

  guestTest(
    "goes back to what the file has now, after MADV_DONTNEED",
    (a) => {
      mapFile(a, at, RW);
      for (const number of [3, 30]) store(a, page(number), 99);
      writeFile(a, 3, 1000);
      a.syscall(SYS.madvise, at, PAGES * PAGE, 4).record();
      for (const number of [3, 30, 31]) load(a, page(number));
    },
    (run) => expectOutcomes(run, [at, 0, 1000, 31, 32]),
  );

  guestTest(
    "is protected, moved and unmapped before and after its pages are used",
    (a) => {
      const to = 0x3000_0000;
      mapFile(a, at, R);
      load(a, page(1));
      a.syscall(SYS.mprotect, at, PAGES * PAGE, RW).record();
      store(a, page(1), 55);
      store(a, page(30), 56);
      a.syscall(SYS.munmap, page(4), 2 * PAGE).record();
      a.syscall(SYS.mincore, page(4), PAGE, DATA + 0x100).record();
      a.syscall(SYS.mremap, page(16), 48 * PAGE, 48 * PAGE, 3, to).record();
      load(a, page(1));
      load(a, page(6));
      for (const number of [30, 31, 50]) load(a, to + (number - 16) * PAGE);
      // What was unmapped and is mapped anew is zero.
      a.syscall(SYS.mmap, page(4), 2 * PAGE, RW, MAP.PRIVATE | MAP.ANONYMOUS | MAP.FIXED, -1, 0).record();
      load(a, page(4));
    },
    (run) => expectOutcomes(run, [at, 2, 0, 0, "ENOMEM", 0x3000_0000, 55, 7, 56, 32, 51, page(4), 0]),
  );

  guestTest(
    "can't be written to where it is read-only, used or not",
    (a) => {
      mapFile(a, at, R);
      handlers(a, () => {
        a.label("handler");
        for (const offset of [INFO.signal, INFO.code, INFO.first]) recordWord(a, { base: "rsi", at: offset });
        a.mov("rax", "after").store({ base: "rdx", at: UC.rip }, "rax").ret();
      });
      install(a, SIGNAL.SIGSEGV, "handler");
      store(a, page(9), 1);
      a.label("after");
      load(a, page(9));
    },
    (run) => {
      const [first, signal, code, address, last] = run.words.map(Number);
      expect([first, signal & 0xffff_ffff, code & 0xffff_ffff, address, last]).toEqual([at, 11, 2, page(9), 10]);
    },
  );

  guestTest(
    "gives SIGBUS behind the file's end to an access, EFAULT to a system call",
    (a) => {
      mapFile(a, at, RW);
      withFile(a, SYS.ftruncate, 10 * PAGE + 100);
      load(a, page(10));
      a.mov("rbx", page(10) + 200)
        .load("rax", { base: "rbx" })
        .record();
      a.syscall(SYS.write, 1, page(11), 8).record();
      handlers(a, () => {
        a.label("handler");
        for (const offset of [INFO.signal, INFO.code, INFO.first]) recordWord(a, { base: "rsi", at: offset });
        for (const offset of [UC.trap, UC.error]) recordWord(a, { base: "rdx", at: offset });
        a.mov("rax", "after").store({ base: "rdx", at: UC.rip }, "rax").ret();
      });
      install(a, SIGNAL.SIGBUS, "handler");
      store(a, page(12) + 8, 1);
      a.label("after").mov("rax", 5).record();
    },
    (run) => {
      expect(run.status).toEqual({ kind: "exited", status: 0 });
      const words = run.words.map((word) => Number(BigInt.asIntN(64, word)));
      expect([words[0], words[1], words[2], words[3]]).toEqual([at, 11, 0, -14]);
      const [signal, code, address, trap, error, end] = words.slice(4);
      const low = [signal, code].map((word) => word & 0xffff_ffff);
      expect([...low, address, trap, error, end]).toEqual([SIGNAL.SIGBUS, 2, page(12) + 8, 14, 6, 5]);
    },
  );
});

describe("the program's own file", () => {
  const path = loadFixture("work-one-proc").binary;
  const program = readFileSync(path);

  /** A source that counts what is read, and can be cut short. */
  class Source implements FileSource {
    readonly size = program.length;
    end = program.length;
    count = 0;

    read(into: Uint8Array, offset: number): number {
      const part = program.subarray(offset, Math.min(this.end, offset + into.length));
      into.set(part);
      this.count += part.length;
      return part.length;
    }
  }

  it.each([
    ["interpreter", "compact"],
    ["jit", "compact"],
    ["jit", "linux"],
  ] as const)("is read only as far as it is used (%s, %s)", async (tier, layout) => {
    const source = new Source();
    const host = new MemoryHost();
    const options = { path, host, env: ["GOMAXPROCS=1"], tier, addressSpace: layout };
    const machine = new Machine({ program: source, ...options });
    expect(source.count).toBeLessThan(program.length / 10);
    expect(await machine.run()).toEqual({ kind: "exited", status: 0 });
    expect(new TextDecoder().decode(Buffer.concat(host.written.stdout))).toContain("hello, world in goroutine main");
    expect(source.count).toBeGreaterThan(program.length / 10);
    // Compiling at first sight decodes functions whole.
    expect(source.count).toBeLessThan(program.length * (tier === "jit" ? 0.96 : 0.9));
  });

  it("that is cut short meanwhile ends the program with SIGBUS, not goemu", async () => {
    const source = new Source();
    const machine = new Machine({ program: source, path, host: new MemoryHost() });
    source.end = 0x2000;
    expect(await machine.run()).toEqual({ kind: "signaled", signal: SIGNAL.SIGBUS });
  });

  it("that is cut short already is refused", () => {
    const source = new Source();
    source.end = 0x2000;
    expect(() => new Machine({ program: source, path, host: new MemoryHost() })).toThrow(LoadError);
  });

  // Two pages of data in the file, the second in part, and zeroed memory behind it.
  const DATA_AT = 0x50_0000;
  const a = new Assembler(0x40_1000, DATA_AT + 0x3000);
  for (const at of [0, 0x1000, 0x17f8, 0x1800, 0x1ff8, 0x2000]) a.load("rax", DATA_AT + at).record();
  a.put(DATA_AT + 0x1000, 7).put(DATA_AT, 8);
  // The data comes back, the cleared rest of the page too: it is the file's.
  a.syscall(SYS.madvise, DATA_AT, 0x2000, 4).record();
  for (const at of [0, 0x1000, 0x1800]) a.load("rax", DATA_AT + at).record();
  a.syscall(SYS.write, 1, DATA_AT + 0x3000, a.recordEnd - DATA_AT - 0x3000).syscall(231, 0);
  const elf = testElf({
    entry: 0x40_1000,
    size: 0x5000,
    segments: [
      { flags: PF_R | PF_X, offset: 0x1000, vaddr: 0x40_1000, fileSize: 0x1000 },
      { flags: PF_R | PF_W, offset: 0x2000, vaddr: DATA_AT, fileSize: 0x1800, memSize: 0x5000 },
      { type: 0x6474_e551, flags: PF_R | PF_W, fileSize: 0 },
    ],
    contents: [[0x1000, a.assemble()], ...[0, 0x1000, 0x17f8, 0x1800, 0x1ff8].map((at, i) => word(0x2000 + at, i + 1))],
  });
  const guest = { elf, wordCount: (a.recordEnd - DATA_AT - 0x3000) / 8 };
  const check = (run: GuestRun): void => {
    expect(run.status).toEqual({ kind: "exited", status: 0 });
    expect(run.words.map(Number)).toEqual([1, 2, 3, 0, 0, 0, 0, 1, 2, 4]);
  };

  it("is cleared behind a segment's bytes, and comes back after MADV_DONTNEED", async () => {
    check(await runGuest(guest));
  });

  it.skipIf(!hostIsNative)("does so on the host's kernel (skipped unless the host is Linux on x86-64)", () => {
    check(runNatively(guest));
  });
});

function word(at: number, value: number): readonly [number, Uint8Array] {
  const bytes = new Uint8Array(8);
  bytes[0] = value;
  return [at, bytes];
}
