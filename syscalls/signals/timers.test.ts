import { describe, expect } from "vitest";
import { SI_TIMER, SIGNAL } from "../abi/signals.ts";
import { DATA, expectOutcomes, guestTest, outcome } from "../testing/guest.ts";
import { count, handlers, INFO, install, recordWord } from "../testing/handlers.ts";

const { SIGUSR2, SIGALRM } = SIGNAL;
const SYS = {
  pause: 34,
  setitimer: 38,
  gettid: 186,
  timer_create: 222,
  timer_settime: 223,
  timer_gettime: 224,
  timer_delete: 226,
} as const;
/** Nanoseconds until a timer that must not fire before the call that it interrupts, on a busy machine either. */
const SOON = 100_000_000;

describe("timers", () => {
  guestTest(
    "timer_create with SIGEV_THREAD_ID signals that thread, with SI_TIMER, id, overrun and value",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        for (const at of [INFO.signal, INFO.code]) a.load32("rax", { base: "rsi", at }).record();
        a.load32("rax", { base: "rsi", at: INFO.first })
          .load32("rcx", DATA + 64)
          .sub("rax", "rcx")
          .record();
        recordWord(a, { base: "rsi", at: INFO.second });
        count(a, DATA + 16).ret();
      });
      install(a, SIGUSR2, "handler");
      a.syscall(SYS.gettid).store32(DATA + 0x110, "rax");
      a.put(DATA + 0x100, 0x1234_5678_9abcn)
        .put32(DATA + 0x108, SIGUSR2)
        .put32(DATA + 0x10c, 4);
      a.syscall(SYS.timer_create, 1, DATA + 0x100, DATA + 64).record();
      a.put(DATA + 72, 0)
        .put(DATA + 80, 0)
        .put(DATA + 88, 0)
        .put(DATA + 96, SOON);
      a.load32("rdi", DATA + 64)
        .mov("rsi", 0)
        .mov("rdx", DATA + 72)
        .mov("r10", 0)
        .mov("rax", SYS.timer_settime);
      a.bytes(0x0f, 0x05).record();
      a.syscall(SYS.pause).record();
      recordWord(a, DATA + 16);
      // It has fired once and for all.
      a.load32("rdi", DATA + 64)
        .mov("rsi", DATA + 72)
        .mov("rax", SYS.timer_gettime)
        .bytes(0x0f, 0x05)
        .record();
      recordWord(a, DATA + 88);
      recordWord(a, DATA + 96);
      a.load32("rdi", DATA + 64)
        .mov("rax", SYS.timer_delete)
        .bytes(0x0f, 0x05)
        .record();
      a.load32("rdi", DATA + 64)
        .mov("rax", SYS.timer_delete)
        .bytes(0x0f, 0x05)
        .record();
      a.put32(DATA + 0x10c, 9)
        .syscall(SYS.timer_create, 1, DATA + 0x100, DATA + 64)
        .record();
      a.syscall(SYS.timer_create, 99, 0, DATA + 64).record();
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      expect(words.slice(0, 4)).toEqual([BigInt(SIGUSR2), BigInt.asUintN(32, BigInt(SI_TIMER)), 0n, 0x1234_5678_9abcn]);
      expect(words.slice(4).map(outcome)).toEqual([0, 0, "EINTR", 1, 0, 0, 0, 0, "EINVAL", "EINVAL", "EINVAL"]);
    },
  );

  guestTest(
    "setitimer repeats, tells what is left and stops",
    (a) => {
      handlers(a, () => {
        a.label("handler")
          .load32("rax", { base: "rsi", at: INFO.code })
          .store(DATA + 24, "rax");
        count(a, DATA + 16).ret();
      });
      install(a, SIGALRM, "handler");
      for (const [i, value] of [0, 10_000, 0, 10_000].entries()) a.put(DATA + 0x200 + i * 8, value);
      a.syscall(SYS.setitimer, 0, DATA + 0x200, 0).record();
      a.label("again")
        .syscall(SYS.pause)
        .load("rax", DATA + 16)
        .mov("rcx", 3)
        .cmp("rax", "rcx")
        .jcc("b", "again");
      for (let i = 0; i < 4; i++) a.put(DATA + 0x200 + i * 8, 0);
      a.syscall(SYS.setitimer, 0, DATA + 0x200, DATA + 0x240).record();
      recordWord(a, DATA + 0x248);
      recordWord(a, DATA + 24);
      a.syscall(SYS.setitimer, 0, DATA + 0x200, DATA + 0x240).record();
      recordWord(a, DATA + 0x248);
      recordWord(a, DATA + 0x258);
      a.syscall(SYS.setitimer, 3, DATA + 0x200, 0).record();
      a.put(DATA + 0x208, 1_000_000)
        .syscall(SYS.setitimer, 0, DATA + 0x200, 0)
        .record();
    },
    (run) => expectOutcomes(run, [0, 0, 10_000, 0x80, 0, 0, 0, "EINVAL", "EINVAL"]),
  );
});
