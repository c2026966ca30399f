import { describe, expect } from "vitest";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, expectOutcomes, guestTest, outcome } from "../testing/guest.ts";
import { MADV, MAP } from "./syscalls.ts";

const SYS = { mmap: 9, mprotect: 10, munmap: 11, brk: 12, mremap: 25, mincore: 27, madvise: 28 } as const;
const RW = 3;
const ANONYMOUS = MAP.PRIVATE | MAP.ANONYMOUS;
const FIXED = ANONYMOUS | MAP.FIXED;
/** An address range that nothing else uses, natively and in goemu. */
const AREA = 0x2000_0000;
const PAGE = 4096;
const MAYMOVE = 1;
const MOVE_FIXED = 3;

/** Maps `pages` pages at AREA + `first` pages and marks each with its number plus 1. */
function area(a: Assembler, pages: number, first = 0): void {
  a.syscall(SYS.mmap, AREA + first * PAGE, pages * PAGE, RW, FIXED, -1, 0).record();
  for (let i = first; i < first + pages; i++) a.put(AREA + i * PAGE, i + 1);
}

describe("munmap(2)", () => {
  guestTest(
    "takes the middle of a mapping out, and what was not mapped is no error",
    (a) => {
      area(a, 3);
      a.syscall(SYS.munmap, AREA + PAGE, PAGE).record();
      a.syscall(SYS.munmap, AREA + PAGE, PAGE).record();
      a.load("rax", AREA).record();
      a.load("rax", AREA + 2 * PAGE).record();
      // The hole can't be protected, its neighbours can; a range with a hole fails where the hole is.
      a.syscall(SYS.mprotect, AREA, PAGE, 1).record();
      a.syscall(SYS.mprotect, AREA + PAGE, PAGE, 1).record();
      a.syscall(SYS.mprotect, AREA, 3 * PAGE, 1).record();
      // Mapped anew, it is zero.
      a.syscall(SYS.mmap, AREA + PAGE, PAGE, RW, FIXED, -1, 0).record();
      a.load("rax", AREA + PAGE).record();
    },
    (run) => expectOutcomes(run, [AREA, 0, 0, 1, 3, 0, "ENOMEM", "ENOMEM", AREA + PAGE, 0]),
  );

  guestTest(
    "refuses an odd address, length 0 and what ends above user space",
    (a) => {
      a.syscall(SYS.munmap, AREA + 1, PAGE).record();
      a.syscall(SYS.munmap, AREA, 0).record();
      a.syscall(SYS.munmap, 0x7fff_ffff_f000, PAGE).record();
      a.syscall(SYS.munmap, AREA, 0xffff_ffff_ffff_f000n).record();
    },
    (run) => expectOutcomes(run, ["EINVAL", "EINVAL", "EINVAL", "EINVAL"]),
  );

  guestTest(
    "makes access a fault",
    (a) => {
      area(a, 1);
      a.syscall(SYS.munmap, AREA, PAGE).load("rax", AREA);
    },
    (run) => expect(run.status).toEqual({ kind: "signaled", signal: 11 }),
  );
});

describe("mmap(2)", () => {
  guestTest(
    "with MAP_FIXED replaces what it overlaps and leaves the rest",
    (a) => {
      area(a, 4);
      a.syscall(SYS.mmap, AREA + PAGE, 2 * PAGE, RW, FIXED, -1, 0).record();
      for (let i = 0; i < 4; i++) a.load("rax", AREA + i * PAGE).record();
      a.syscall(SYS.mmap, AREA + 3 * PAGE, 2 * PAGE, 1, FIXED, -1, 0).record();
      a.load("rax", AREA + 3 * PAGE).record();
    },
    (run) => expectOutcomes(run, [AREA, AREA + PAGE, 1, 0, 0, 4, AREA + 3 * PAGE, 0]),
  );

  guestTest(
    "with MAP_FIXED_NOREPLACE keeps what is there",
    (a) => {
      area(a, 1);
      a.syscall(SYS.mmap, AREA, PAGE, RW, ANONYMOUS | MAP.FIXED_NOREPLACE, -1, 0).record();
      a.syscall(SYS.mmap, AREA + PAGE, PAGE, RW, ANONYMOUS | MAP.FIXED_NOREPLACE, -1, 0).record();
      a.load("rax", AREA).record();
    },
    (run) => expectOutcomes(run, [AREA, "EEXIST", AREA + PAGE, 1]),
  );

  guestTest(
    "takes a hint that is free, rounded down, and another place for one that is taken",
    (a) => {
      a.syscall(SYS.mmap, AREA + 123, PAGE, RW, ANONYMOUS, -1, 0).record();
      a.syscall(SYS.mmap, AREA, PAGE, RW, ANONYMOUS, -1, 0).record();
      a.mov("rcx", AREA).cmp("rax", "rcx").mov("rax", 0).jcc("ne", "other").mov("rax", 1).label("other").record();
    },
    (run) => {
      expect(outcome(run.words[0])).toBe(AREA);
      expect(Number(run.words[1]) % PAGE).toBe(0);
      expect(run.words[2]).toBe(0n);
    },
  );

  guestTest(
    "refuses bad lengths, flags, offsets and descriptors with Linux's errors",
    (a) => {
      a.syscall(SYS.mmap, 0, 0, RW, ANONYMOUS, -1, 0).record();
      a.syscall(SYS.mmap, 0, PAGE, RW, MAP.ANONYMOUS, -1, 0).record();
      a.syscall(SYS.mmap, 0, PAGE, RW, ANONYMOUS, -1, 1).record();
      a.syscall(SYS.mmap, 0, PAGE, RW, MAP.PRIVATE, 99, 0).record();
      a.syscall(SYS.mmap, AREA + 1, PAGE, RW, FIXED, -1, 0).record();
      a.syscall(SYS.mmap, 0, 2 ** 47, RW, ANONYMOUS, -1, 0).record();
      a.syscall(SYS.mmap, 0, -1, RW, ANONYMOUS, -1, 0).record();
      a.syscall(SYS.mmap, 0x7fff_ffff_f000, PAGE, RW, FIXED, -1, 0).record();
    },
    (run) => expectOutcomes(run, ["EINVAL", "EINVAL", "EINVAL", "EBADF", "EINVAL", "ENOMEM", "ENOMEM", "ENOMEM"]),
  );

  guestTest(
    "far above the window gives memory that works like any other, also across pages",
    (a) => {
      const high = 0x7e00_0000_0000;
      a.syscall(SYS.mmap, high, 2 * PAGE, RW, FIXED, -1, 0).record();
      a.mov("rbx", high + PAGE - 3)
        .mov("rcx", 0x1122_3344_5566_7788n)
        .store({ base: "rbx" }, "rcx");
      a.load("rax", { base: "rbx" }).record();
      a.load("rax", { base: "rbx", at: 3 }).record();
      a.syscall(SYS.mprotect, high + PAGE, PAGE, 0).record();
      a.load("rax", { base: "rbx", at: -5 }).record();
      a.syscall(SYS.munmap, high, 2 * PAGE).record();
    },
    (run) => {
      expect(run.words.map((word) => word.toString(16))).toEqual([
        "7e0000000000",
        "1122334455667788",
        "1122334455",
        "0",
        "6677880000000000",
        "0",
      ]);
    },
  );
});

describe("mprotect(2)", () => {
  guestTest(
    "takes the right to write away and gives it back",
    (a) => {
      area(a, 2);
      a.syscall(SYS.mprotect, AREA, PAGE, 1).record();
      a.load("rax", AREA).record();
      a.put(AREA + PAGE, 7);
      a.syscall(SYS.mprotect, AREA, PAGE, RW).record();
      a.put(AREA, 9).load("rax", AREA).record();
      a.syscall(SYS.mprotect, AREA, PAGE, 1);
      a.put(AREA, 10);
    },
    (run) => expect(run.status).toEqual({ kind: "signaled", signal: 11 }),
  );

  guestTest(
    "checks address, length and protection",
    (a) => {
      area(a, 1);
      a.syscall(SYS.mprotect, AREA + 1, PAGE, 1).record();
      a.syscall(SYS.mprotect, AREA, 0, 1).record();
      a.syscall(SYS.mprotect, AREA, PAGE, 0x40).record();
      a.syscall(SYS.mprotect, AREA, 1, 0).record();
      a.syscall(SYS.mprotect, AREA, -PAGE, 1).record();
    },
    (run) => expectOutcomes(run, [AREA, "EINVAL", 0, "EINVAL", 0, "ENOMEM"]),
  );
});

describe("madvise(2)", () => {
  guestTest(
    "with MADV_DONTNEED makes anonymous pages read as zero, whatever their protection",
    (a) => {
      area(a, 3);
      a.syscall(SYS.madvise, AREA + PAGE, PAGE, MADV.DONTNEED).record();
      for (let i = 0; i < 3; i++) a.load("rax", AREA + i * PAGE).record();
      a.syscall(SYS.mprotect, AREA, PAGE, 1).record();
      a.syscall(SYS.madvise, AREA, PAGE, MADV.DONTNEED).record();
      a.load("rax", AREA).record();
      // Written again after it was dropped, dropped again.
      a.put(AREA + PAGE, 77);
      a.syscall(SYS.madvise, AREA + PAGE, PAGE, MADV.DONTNEED).record();
      a.load("rax", AREA + PAGE).record();
    },
    (run) => expectOutcomes(run, [AREA, 0, 1, 0, 3, 0, 0, 0, 0, 0]),
  );

  guestTest(
    "drops what is mapped even where there is a hole, which is ENOMEM; checks advice and address",
    (a) => {
      area(a, 1);
      area(a, 1, 2);
      a.syscall(SYS.madvise, AREA, 3 * PAGE, MADV.DONTNEED).record();
      a.load("rax", AREA).record();
      a.load("rax", AREA + 2 * PAGE).record();
      a.syscall(SYS.madvise, AREA, PAGE, 1234).record();
      a.syscall(SYS.madvise, AREA + 8, PAGE, MADV.DONTNEED).record();
      a.syscall(SYS.madvise, AREA, 0, MADV.DONTNEED).record();
    },
    (run) => expectOutcomes(run, [AREA, AREA + 2 * PAGE, "ENOMEM", 0, 0, "EINVAL", "EINVAL", 0]),
  );
});

describe("mremap(2)", () => {
  guestTest(
    "grows in place where there is room, shrinks, and grows by moving",
    (a) => {
      area(a, 2);
      a.syscall(SYS.mremap, AREA, 2 * PAGE, 3 * PAGE, 0, 0).record();
      a.put(AREA + 2 * PAGE, 3);
      a.syscall(SYS.mremap, AREA, 3 * PAGE, PAGE, 0, 0).record();
      a.syscall(SYS.mmap, AREA + PAGE, PAGE, RW, FIXED, -1, 0).record();
      // The two have become one mapping: as Linux does, the old length may span both.
      a.syscall(SYS.mremap, AREA, PAGE, 2 * PAGE, 0, 0).record();
      a.syscall(SYS.mremap, AREA, PAGE, 4 * PAGE, MAYMOVE, 0);
      a.copy("rbx", "rax").load("rax", { base: "rbx" }).record();
      a.load("rax", { base: "rbx", at: PAGE }).record();
      a.syscall(SYS.mprotect, AREA, PAGE, 1).record();
    },
    (run) => expectOutcomes(run, [AREA, AREA, AREA, AREA + PAGE, "ENOMEM", 1, 0, "ENOMEM"]),
  );

  guestTest(
    "moves to an exact address over what is there, contents and protection with it",
    (a) => {
      const target = AREA + 16 * PAGE;
      area(a, 2);
      area(a, 1, 16);
      a.syscall(SYS.mprotect, AREA + PAGE, PAGE, 1);
      a.syscall(SYS.mremap, AREA + PAGE, PAGE, 2 * PAGE, MOVE_FIXED, target).record();
      a.load("rax", target).record();
      a.load("rax", target + PAGE).record();
      a.load("rax", AREA).record();
      a.syscall(SYS.madvise, AREA + PAGE, PAGE, MADV.DONTNEED).record();
      a.put(target, 1);
    },
    (run) => expect(run.status).toEqual({ kind: "signaled", signal: 11 }),
  );

  guestTest(
    "checks its arguments",
    (a) => {
      area(a, 2);
      a.syscall(SYS.mremap, AREA + 1, PAGE, PAGE, 0, 0).record();
      a.syscall(SYS.mremap, AREA, PAGE, 0, 0, 0).record();
      a.syscall(SYS.mremap, AREA, PAGE, PAGE, 2, AREA + 8 * PAGE).record();
      a.syscall(SYS.mremap, AREA, 2 * PAGE, 2 * PAGE, MOVE_FIXED, AREA + PAGE).record();
      a.syscall(SYS.mremap, AREA + 8 * PAGE, PAGE, 2 * PAGE, 0, 0).record();
      a.syscall(SYS.mremap, AREA, 3 * PAGE, 4 * PAGE, MAYMOVE, 0).record();
      a.syscall(SYS.mremap, AREA, PAGE, 2 * PAGE, 0x100, 0).record();
    },
    (run) => expectOutcomes(run, [AREA, "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EFAULT", "EFAULT", "EINVAL"]),
  );
});

describe("brk(2)", () => {
  guestTest(
    "grows, keeps what is there, shrinks; what can't be leaves the break alone",
    (a) => {
      a.syscall(SYS.brk, 0).copy("r12", "rax");
      a.mov("rcx", 3 * PAGE)
        .add("rax", "rcx")
        .copy("rdi", "rax")
        .mov("rax", SYS.brk)
        .bytes(0x0f, 0x05);
      a.sub("rax", "r12").record();
      a.mov("rcx", 55)
        .store({ base: "r12", at: 2 * PAGE }, "rcx")
        .load("rax", { base: "r12", at: 2 * PAGE })
        .record();
      a.copy("rdi", "r12").mov("rax", SYS.brk).bytes(0x0f, 0x05).sub("rax", "r12").record();
      a.mov("rdi", -1).mov("rax", SYS.brk).bytes(0x0f, 0x05).sub("rax", "r12").record();
      a.mov("rdi", PAGE).mov("rax", SYS.brk).bytes(0x0f, 0x05).sub("rax", "r12").record();
    },
    (run) => expectOutcomes(run, [3 * PAGE, 55, 0, 0, 0]),
  );
});

describe("mincore(2)", () => {
  guestTest(
    "tells pages that were touched from those that were not, and holes",
    (a) => {
      a.syscall(SYS.mmap, AREA, 3 * PAGE, RW, FIXED, -1, 0).record();
      a.put(AREA + PAGE, 1).put(DATA, -1);
      a.syscall(SYS.mincore, AREA, 3 * PAGE, DATA).record();
      a.load("rax", DATA).record();
      a.syscall(SYS.mincore, AREA, 4 * PAGE, DATA).record();
      a.syscall(SYS.mincore, AREA + 1, PAGE, DATA).record();
      a.syscall(SYS.mincore, AREA, PAGE, 0).record();
    },
    (run) => {
      expect(run.words[2] & 0xff00n).toBe(0x100n);
      expect(run.words.map(outcome).toSpliced(2, 1)).toEqual([AREA, 0, "ENOMEM", "EINVAL", "EFAULT"]);
    },
  );
});

describe("code that changes", () => {
  /** A function of seven bytes, MOV EAX, imm32; RET, written to memory. */
  const writeFunction = (a: Assembler, at: number, value: number): void => {
    a.put(at, 0xb8n | (BigInt(value) << 8n) | (0xc3n << 40n));
  };
  const callAbsolute = (a: Assembler, at: number): Assembler => a.mov("rbx", at).bytes(0xff, 0xd3);

  guestTest(
    "is seen after a store, on a page that was run before, and on pages mapped or protected anew",
    (a) => {
      a.syscall(SYS.mmap, AREA, 2 * PAGE, 7, FIXED, -1, 0);
      for (const value of [1, 2, 3]) {
        writeFunction(a, AREA, value);
        callAbsolute(a, AREA).record();
      }
      a.syscall(SYS.mprotect, AREA, PAGE, RW);
      writeFunction(a, AREA, 4);
      a.syscall(SYS.mprotect, AREA, PAGE, 5);
      callAbsolute(a, AREA).record();
      a.syscall(SYS.mmap, AREA, PAGE, 7, FIXED, -1, 0);
      writeFunction(a, AREA, 5);
      callAbsolute(a, AREA).record();
      // An immediate that lies on two pages, of which only the second changes.
      const across = AREA + PAGE - 3;
      a.mov("rbx", across);
      a.mov("rax", 0x11_1111_11b8n).store({ base: "rbx" }, "rax");
      a.mov("rax", 0xc3).store({ base: "rbx", at: 5 }, "rax");
      callAbsolute(a, across).record();
      a.storeByte(AREA + PAGE, 0x22);
      callAbsolute(a, across).record();
    },
    (run) => expectOutcomes(run, [1, 2, 3, 4, 5, 0x1111_1111, 0x1122_1111]),
  );

  guestTest(
    "is seen by the very next instruction of the same block",
    (a) => {
      const b = AREA;
      a.syscall(SYS.mmap, AREA, PAGE, 7, FIXED, -1, 0);
      // mov byte [rip + 1], 0x2a; mov eax, 1; ret
      const code = [0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x2a, 0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3];
      for (const [i, byte] of code.entries()) a.storeByte(b + i, byte);
      callAbsolute(a, b).record();
      callAbsolute(a, b).record();
    },
    (run) => expectOutcomes(run, [0x2a, 0x2a]),
  );

  guestTest(
    "written by a system call is seen too",
    (a) => {
      a.syscall(SYS.mmap, AREA, PAGE, 7, FIXED, -1, 0);
      writeFunction(a, AREA, 1);
      callAbsolute(a, AREA).record();
      // uname(2) over the page: what it stores ("Linux") is not the function any more; then the function again.
      a.syscall(63, AREA).record();
      a.load32("rax", AREA).record();
      writeFunction(a, AREA, 6);
      callAbsolute(a, AREA).record();
      // read(2) from a pipe replaces the immediate.
      a.syscall(22, DATA).record();
      a.put(DATA + 16, 9);
      a.load32("rdi", DATA + 4)
        .mov("rsi", DATA + 16)
        .mov("rdx", 4)
        .mov("rax", 1)
        .bytes(0x0f, 0x05)
        .record();
      a.load32("rdi", DATA)
        .mov("rsi", AREA + 1)
        .mov("rdx", 4)
        .mov("rax", 0)
        .bytes(0x0f, 0x05)
        .record();
      callAbsolute(a, AREA).record();
    },
    (run) => expectOutcomes(run, [1, 0, 0x756e_694c, 6, 0, 4, 4, 9]),
  );

  guestTest(
    "on a page without PROT_EXEC can't be run",
    (a) => {
      a.syscall(SYS.mmap, AREA, PAGE, 7, FIXED, -1, 0);
      writeFunction(a, AREA, 1);
      callAbsolute(a, AREA).record();
      a.syscall(SYS.mprotect, AREA, PAGE, RW);
      callAbsolute(a, AREA).record();
    },
    (run) => expect(run.status).toEqual({ kind: "signaled", signal: 11 }),
  );
});
