// A guest that asks for more and more of something comes to an end with an errno, as on Linux, and soon.
import { describe, expect } from "vitest";
import type { Assembler } from "./testing/assembler.ts";
import { DATA, type GuestRun, guestTest, outcome } from "./testing/guest.ts";

const REQUESTS = 100_000;
/** Makes a request REQUESTS times or until it fails; records the last result. */
function again(a: Assembler, request: () => void): void {
  a.mov("r15", REQUESTS).label("again");
  request();
  a.bytes(0x48, 0x85, 0xc0).jcc("s", "out").mov("rcx", 1).sub("r15", "rcx").jcc("ne", "again");
  a.label("out").record();
}

const endsWith =
  (error: string) =>
  ({ words, status }: GuestRun): void => {
    expect(outcome(words[0])).toBe(error);
    expect(status).toEqual({ kind: "exited", status: 0 });
  };

describe("a guest without measure", () => {
  guestTest(
    "gets ENOMEM for too many mappings",
    (a) => {
      a.mov("r14", 0x10_0000_0000);
      again(a, () => {
        a.copy("rdi", "r14").mov("rsi", 4096).mov("rdx", 1).mov("r10", 0x32).mov("r8", -1).mov("r9", 0);
        a.mov("rax", 9).bytes(0x0f, 0x05).mov("rcx", 8192).add("r14", "rcx");
      });
    },
    endsWith("ENOMEM"),
  );

  guestTest(
    "gets ENOMEM for too many holes in a mapping",
    (a) => {
      a.syscall(9, 0x10_0000_0000, 0x8000_0000, 0, 0x4032, -1, 0).mov("r14", 0x10_0000_1000);
      again(a, () => {
        a.copy("rdi", "r14").mov("rsi", 4096).mov("rax", 11).bytes(0x0f, 0x05).mov("rcx", 8192).add("r14", "rcx");
      });
    },
    endsWith("ENOMEM"),
  );

  guestTest(
    "gets EMFILE for too many descriptors",
    (a) => {
      // RLIMIT_NOFILE, wherever it stands, to 1000.
      a.put(DATA, 1000)
        .put(DATA + 8, 1000)
        .syscall(160, 7, DATA);
      again(a, () => a.syscall(32, 2));
    },
    endsWith("EMFILE"),
  );

  // Natively the limit is the user's, whose other processes count too.
  guestTest(
    "gets EAGAIN for too many queued signals",
    (a) => {
      a.put(DATA, 1n << 39n).syscall(14, 0, DATA, 0, 8);
      a.put(DATA + 0x300, 40).put(DATA + 0x308, 0xffff_ffff);
      again(a, () => {
        a.syscall(39)
          .copy("rdi", "rax")
          .mov("rsi", 40)
          .mov("rdx", DATA + 0x300)
          .mov("rax", 129)
          .bytes(0x0f, 0x05);
      });
    },
    endsWith("EAGAIN"),
    { native: false },
  );

  guestTest("gets EAGAIN for too many timers", (a) => again(a, () => a.syscall(222, 1, 0, DATA)), endsWith("EAGAIN"), {
    native: false,
  });

  guestTest(
    "gets EAGAIN for too many threads",
    (a) => {
      again(a, () => {
        a.syscall(56, 0x5_0f00, DATA + 0x1000)
          .bytes(0x48, 0x85, 0xc0)
          .jcc("ne", "parent");
        a.label("sleep").syscall(34).jmp("sleep").label("parent");
      });
    },
    endsWith("EAGAIN"),
    { native: false },
  );
});
