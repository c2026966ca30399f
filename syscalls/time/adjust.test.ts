import { describe } from "vitest";
import { guestTest } from "../testing/guest.ts";
import { ends, SET, WORD } from "../testing/processes.ts";

const [SETTIMEOFDAY, CLOCK_SETTIME, CLOCK_ADJTIME, PERSONALITY] = [164, 227, 305, 135];

describe("clocks and what else is the machine's", () => {
  guestTest(
    "times that are none are refused",
    (a) => {
      a.put(WORD, 1)
        .put(WORD + 8, 1_000_000_000)
        .syscall(CLOCK_SETTIME, 0, WORD)
        .record();
      a.put(WORD, 1)
        .put(WORD + 8, 1_000_001)
        .syscall(SETTIMEOFDAY, WORD, 0)
        .record();
      a.syscall(CLOCK_SETTIME, 1, WORD).record();
      a.syscall(CLOCK_ADJTIME, 1, SET).record();
      a.syscall(CLOCK_ADJTIME, 77, SET).record();
    },
    ends(["EINVAL", "EINVAL", "EINVAL", "ENOTSUP", "EINVAL"]),
  );

  guestTest(
    "can't be set here; what the kernel knows of it is told",
    (a) => {
      a.put(WORD, 1_000_000_000)
        .put(WORD + 8, 0)
        .syscall(CLOCK_SETTIME, 0, WORD)
        .record();
      a.syscall(CLOCK_ADJTIME, 0, SET).record();
      a.load("rax", SET + 88).record();
    },
    ends(["EPERM", 5, 10_000]),
    { native: false },
  );

  guestTest(
    "a personality is told again",
    (a) => {
      a.syscall(PERSONALITY, 0xffff_ffff).record();
      a.syscall(PERSONALITY, 0x004_0000).record();
      a.syscall(PERSONALITY, 0xffff_ffff).record();
    },
    ends([0, 0, 0x004_0000]),
  );
});
