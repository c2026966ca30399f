import { describe, expect } from "vitest";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, expectOutcomes, guestTest, outcome } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";

const SYS = {
  read: 0,
  write: 1,
  poll: 7,
  lseek: 8,
  dup: 32,
  nanosleep: 35,
  clock_gettime: 228,
  epoll_ctl: 233,
  epoll_wait: 232,
  timerfd_create: 283,
  eventfd2: 290,
  epoll_create1: 291,
  timerfd_settime: 286,
  timerfd_gettime: 287,
} as const;
const [REALTIME, MONOTONIC, CPU, BOOTTIME] = [0, 1, 2, 7];
const [ABSTIME, CANCEL_ON_SET] = [1, 2];
const [NONBLOCK, CLOEXEC] = [0o4000, 0o2000000];
const MS = 1_000_000;
/** The first descriptor that a guest opens. */
const FD = 3;
const [SPEC, OLD, BUFFER] = [DATA + 0x100, DATA + 0x140, DATA + 0x180];

/** Puts a struct itimerspec with less than a second in both halves at SPEC. */
function spec(a: Assembler, value: number, interval = 0): Assembler {
  for (const [i, word] of [0, interval, 0, value].entries()) a.put(SPEC + 8 * i, word);
  return a;
}

const set = (a: Assembler, value: number, interval = 0, flags = 0, old = 0): Assembler =>
  spec(a, value, interval).syscall(SYS.timerfd_settime, FD, flags, SPEC, old);

function sleep(a: Assembler, ms: number): Assembler {
  return a
    .put(DATA + 0x200, 0)
    .put(DATA + 0x208, ms * MS)
    .syscall(SYS.nanosleep, DATA + 0x200, 0);
}

/** Reads the descriptor, records what read returns and the count. */
function readTicks(a: Assembler, size = 8): Assembler {
  a.put(BUFFER, -1).syscall(SYS.read, FD, BUFFER, size).record();
  return recordWord(a, BUFFER);
}

describe("timerfd", () => {
  guestTest(
    "refuses clocks and flags that it does not know, and other descriptors",
    (a) => {
      a.syscall(SYS.timerfd_create, CPU, 0).record();
      a.syscall(SYS.timerfd_create, MONOTONIC, 1).record();
      a.syscall(SYS.timerfd_create, BOOTTIME, NONBLOCK | CLOEXEC).record();
      a.syscall(72, FD, 1).record(); // F_GETFD
      a.syscall(72, FD, 3).record(); // F_GETFL
      a.syscall(SYS.timerfd_settime, FD, 0, 0x10, 0).record();
      set(a, 1, 0, 4).record();
      set(a, 1_000_000_000).record();
      set(a, 1, 1_000_000_000).record();
      a.syscall(SYS.timerfd_settime, 99, 0, SPEC, 0).record();
      spec(a, 1).syscall(SYS.timerfd_settime, 99, 0, SPEC, 0).record();
      a.syscall(SYS.eventfd2, 0, 0).record();
      a.syscall(SYS.timerfd_settime, 4, 0, SPEC, 0).record();
      a.syscall(SYS.timerfd_gettime, 4, OLD).record();
      a.syscall(SYS.timerfd_gettime, FD, 0x10).record();
      a.syscall(SYS.write, FD, BUFFER, 8).record();
      a.syscall(SYS.lseek, FD, 0, 0).record();
      a.syscall(SYS.read, FD, BUFFER, 7).record();
      a.syscall(SYS.read, FD, BUFFER, 8).record();
    },
    (run) =>
      expectOutcomes(run, [
        ...["EINVAL", "EINVAL", FD, 1, NONBLOCK | 2, "EFAULT", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "EBADF", 4],
        ...["EINVAL", "EINVAL", "EFAULT", "EINVAL", 0, "EINVAL", "EAGAIN"],
      ]),
  );

  guestTest(
    "a read waits for the time, then the timer is off",
    (a) => {
      a.syscall(SYS.timerfd_create, MONOTONIC, 0).record();
      set(a, 20 * MS).record();
      readTicks(a, 100);
      a.syscall(SYS.timerfd_gettime, FD, OLD).record();
      for (let i = 0; i < 4; i++) recordWord(a, OLD + 8 * i);
    },
    (run) => expectOutcomes(run, [FD, 0, 8, 1, 0, 0, 0, 0, 0]),
  );

  guestTest(
    "an interval counts what went by; what has not been read is lost when it is set anew",
    (a) => {
      a.syscall(SYS.timerfd_create, REALTIME, NONBLOCK).record();
      set(a, MS, 10 * MS).record();
      sleep(a, 55);
      readTicks(a);
      a.syscall(SYS.timerfd_gettime, FD, OLD).record();
      recordWord(a, OLD + 8);
      recordWord(a, OLD + 24);
      sleep(a, 25);
      set(a, 0, 0, 0, OLD).record();
      recordWord(a, OLD + 8);
      readTicks(a);
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      const ticks = Number(words[3]);
      expect(ticks).toBeGreaterThanOrEqual(6);
      expect(words.slice(0, 3).map(outcome)).toEqual([FD, 0, 8]);
      expect(words.slice(4, 6).map(outcome)).toEqual([0, 10 * MS]);
      expect(Number(words[6])).toBeGreaterThan(0);
      expect(Number(words[6])).toBeLessThanOrEqual(10 * MS);
      expect(words.slice(7, 10).map(outcome)).toEqual([0, 10 * MS, "EAGAIN"]);
    },
  );

  guestTest(
    "an absolute time that is past goes off at once, with CANCEL_ON_SET too as long as nobody sets the clock",
    (a) => {
      a.syscall(SYS.timerfd_create, REALTIME, 0).record();
      set(a, 1, 0, ABSTIME | CANCEL_ON_SET).record();
      readTicks(a);
      // The clock's time of now, and a little.
      a.syscall(SYS.clock_gettime, REALTIME, SPEC + 16).put(SPEC + 8, 0);
      a.load("rax", SPEC + 16)
        .mov("rcx", 1)
        .add("rax", "rcx")
        .store(SPEC + 16, "rax")
        .put(SPEC, 0);
      a.syscall(SYS.timerfd_settime, FD, ABSTIME, SPEC, 0).record();
      a.syscall(SYS.timerfd_gettime, FD, OLD).record();
      recordWord(a, OLD + 16);
    },
    (run) => expectOutcomes(run, [FD, 0, 8, 1, 0, 0, 0]),
  );

  guestTest(
    "poll and epoll tell when it has gone off; edge-triggered once until it is read",
    (a) => {
      a.syscall(SYS.timerfd_create, MONOTONIC, NONBLOCK).record();
      a.put32(DATA, FD).put32(DATA + 4, 1);
      a.syscall(SYS.poll, DATA, 1, 0).record();
      set(a, 5 * MS, 5 * MS).record();
      a.syscall(SYS.poll, DATA, 1, 10_000).record();
      a.load32("rax", DATA + 4).record();
      a.syscall(SYS.epoll_create1, 0).record();
      a.put32(DATA + 0x40, 0x8000_0001).put(DATA + 0x44, 77);
      a.syscall(SYS.epoll_ctl, 4, 1, FD, DATA + 0x40).record();
      a.syscall(SYS.epoll_wait, 4, DATA + 0x60, 4, 10_000).record();
      recordWord(a, DATA + 0x64);
      a.syscall(SYS.epoll_wait, 4, DATA + 0x60, 4, 20).record();
      readTicks(a);
      a.syscall(SYS.epoll_wait, 4, DATA + 0x60, 4, 10_000).record();
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      const results = words.map(outcome);
      expect(results.slice(0, 5)).toEqual([FD, 0, 0, 1, 0x1_0001]);
      expect(results.slice(5, 11)).toEqual([4, 0, 1, 77, 0, 8]);
      expect(results[11]).toBeGreaterThanOrEqual(4);
      expect(results[12]).toBe(1);
    },
  );
});
