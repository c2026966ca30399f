// What a thread asks for about its scheduling is told again, and inherited.
import { describe } from "vitest";
import type { Assembler } from "../testing/assembler.ts";
import { guestTest } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";
import { children, ends, exitWith, fork, OTHER, recordStatus, SET, WORD, wait } from "../testing/processes.ts";

const SYS = {
  ...{ getpriority: 140, setpriority: 141, setparam: 142, getparam: 143, setscheduler: 144, getscheduler: 145 },
  ...{ max: 146, min: 147, setaffinity: 203, getaffinity: 204, ioprioSet: 251, ioprioGet: 252, getattr: 315 },
} as const;
const RESET_ON_FORK = 0x4000_0000;

const set = (a: Assembler, policy: number, priority: number): Assembler =>
  a.put(WORD, priority).syscall(SYS.setscheduler, 0, policy, WORD).record();

describe("scheduling", () => {
  guestTest(
    "policies and their priorities",
    (a) => {
      for (const policy of [0, 1, 2, 3, 4, 5, 6]) {
        a.syscall(SYS.max, policy).record();
        a.syscall(SYS.min, policy).record();
      }
      set(a, 0, 1);
      set(a, 1, 0);
      set(a, 1, 100);
      set(a, 9, 0);
      set(a, 3, 0);
      a.syscall(SYS.getscheduler, 0).record();
      a.syscall(SYS.setscheduler, 0, 3, 0).record();
      a.syscall(SYS.getscheduler, -1).record();
      a.syscall(SYS.getscheduler, 0x3fff_fff0).record();
      set(a, 5 | RESET_ON_FORK, 0);
      a.syscall(SYS.getscheduler, 0).record();
      a.put(OTHER, 7).syscall(SYS.getparam, 0, OTHER).record();
      recordWord(a, OTHER);
      fork(a, "child");
      wait(a);
      recordStatus(a);
      children(a, () => {
        a.label("child").syscall(SYS.getscheduler, 0);
        exitWith(a, "rax");
      });
    },
    ends([
      ...[0, 0, 99, 1, 99, 1, 0, 0, "EINVAL", "EINVAL", 0, 0, 0, 0],
      ...[
        "EINVAL",
        "EINVAL",
        "EINVAL",
        "EINVAL",
        0,
        3,
        "EINVAL",
        "EINVAL",
        "ESRCH",
        0,
        5 | RESET_ON_FORK,
        0,
        0,
        5 << 8,
      ],
    ]),
  );

  guestTest(
    "the nice value, of threads, groups and users",
    (a) => {
      a.syscall(SYS.setpriority, 0, 0, 5).record();
      a.syscall(SYS.getpriority, 0, 0).record();
      a.syscall(SYS.setpriority, 0, 0, 100).record();
      a.syscall(SYS.getpriority, 0, 0).record();
      a.syscall(SYS.getpriority, 3, 0).record();
      a.syscall(SYS.getpriority, 0, 0x3fff_fff0).record();
      a.syscall(SYS.getattr, 0, SET, 56, 0).record();
      a.load32("rax", SET + 16).record();
      a.syscall(SYS.getattr, 0, SET, 40, 0).record();
      fork(a, "child");
      wait(a);
      recordStatus(a);
      children(a, () => {
        a.label("child").syscall(SYS.getpriority, 0, 0);
        exitWith(a, "rax");
      });
    },
    ends([0, 15, 0, 1, "EINVAL", "ESRCH", 0, 19, "EINVAL", 1 << 8]),
  );

  guestTest(
    "CPUs: a mask that holds one of them, told again to children",
    (a) => {
      a.put(SET, 1n << 40n)
        .syscall(SYS.setaffinity, 0, 4, SET)
        .record();
      a.put(SET, 1).syscall(SYS.setaffinity, 0, 8, SET).record();
      a.put(SET, 0).syscall(SYS.getaffinity, 0, 8, SET).record();
      recordWord(a, SET);
      a.syscall(SYS.getaffinity, 0, 7, SET).record();
      fork(a, "child");
      wait(a);
      recordStatus(a);
      children(a, () => {
        a.label("child").syscall(SYS.getaffinity, 0, 8, SET).load("rdi", SET);
        exitWith(a, "rdi");
      });
    },
    ends(["EINVAL", 0, 8, 1, "EINVAL", 1 << 8]),
  );

  guestTest(
    "priorities for input and output are what was asked for",
    (a) => {
      a.syscall(SYS.ioprioGet, 1, 0).record();
      a.syscall(SYS.ioprioSet, 1, 0, (2 << 13) | 6).record();
      a.syscall(SYS.ioprioGet, 1, 0).record();
      a.syscall(SYS.ioprioSet, 1, 0, 1).record();
      a.syscall(SYS.ioprioSet, 1, 0, 3 << 13).record();
      a.syscall(SYS.ioprioGet, 1, 0).record();
      a.syscall(SYS.ioprioGet, 4, 0).record();
    },
    ends([0, 0, (2 << 13) | 6, "EINVAL", 0, 3 << 13, "EINVAL"]),
  );
});
