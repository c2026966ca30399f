// RLIMIT_FSIZE: files grow up to it, and not beyond.
import { describe } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import { RLIMIT } from "../process/limits.ts";
import { guestTest } from "../testing/guest.ts";
import { block, ends, NAME, OTHER, pipe, READ, SET, SYS, WORD } from "../testing/processes.ts";

const SETRLIMIT = 160;
const PWRITE = 18;
const FTRUNCATE = 77;
const FALLOCATE = 285;
const SIGPENDING = 127;

describe("the largest size of files", () => {
  guestTest(
    "cuts writes off, and refuses what begins behind it with SIGXFSZ",
    (a) => {
      block(a, SIGNAL.SIGXFSZ);
      a.put(WORD, 100).put(OTHER, 100).syscall(SETRLIMIT, RLIMIT.FSIZE, WORD);
      a.syscall(SYS.memfd_create, NAME, 0);
      a.syscall(SYS.write, READ, SET, 60).record();
      a.syscall(SYS.write, READ, SET, 60).record();
      a.syscall(SIGPENDING, SET, 8).load("rax", SET).record();
      a.syscall(SYS.write, READ, SET, 1).record();
      a.syscall(SIGPENDING, SET, 8).load("rax", SET).record();
      a.syscall(PWRITE, READ, SET, 10, 95).record();
      a.syscall(PWRITE, READ, SET, 10, 100).record();
      a.syscall(PWRITE, READ, SET, 10, 0).record();
      a.syscall(FTRUNCATE, READ, 101).record();
      a.syscall(FTRUNCATE, READ, 100).record();
      a.syscall(FALLOCATE, READ, 0, 50, 100).record();
      pipe(a);
      a.syscall(SYS.write, READ + 2, SET, 1000).record();
    },
    ends([60, 40, 0, "EFBIG", 1 << (SIGNAL.SIGXFSZ - 1), 5, "EFBIG", 10, "EFBIG", 0, "EFBIG", 1000]),
  );
});
