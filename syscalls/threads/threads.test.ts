import { describe, expect, it } from "vitest";
import type { Assembler } from "../testing/assembler.ts";
import { buildGuest, DATA, expectOutcomes, guestTest, outcome, runGuest } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";
import { CLONE } from "./clone-flags.ts";
import { FUTEX } from "./futex.ts";

const SYS = {
  nanosleep: 35,
  getpid: 39,
  clone: 56,
  exit: 60,
  gettid: 186,
  futex: 202,
  sched_yield: 24,
  set_tid_address: 218,
  getaffinity: 204,
} as const;
const MS = 1_000_000;
/** Milliseconds in which another thread gets to its next system call, on a busy machine too. */
const SETTLE = 25;
/** What Go's runtime passes (runtime/os_linux.go, cloneFlags). */
const THREAD = CLONE.VM | CLONE.FS | CLONE.FILES | CLONE.SIGHAND | CLONE.SYSVSEM | CLONE.THREAD;
const PRIVATE = FUTEX.PRIVATE_FLAG;
/** A timespec for sleeps, and words that threads share. */
const TIME = DATA + 0x800;
const WORD = DATA + 0x900;
const OTHER = DATA + 0x910;
const LOG = DATA + 0xa00;
const LOG_END = DATA + 0x9f8;

/** Starts a thread at a label, with a stack of its own; its tid, or the error, is in RAX. */
function start(a: Assembler, label: string, number: number, flags: number = THREAD, ...rest: readonly number[]): void {
  a.syscall(SYS.clone, flags, DATA + 0x2_0000 + number * 0x1000, ...rest);
  a.bytes(0x48, 0x85, 0xc0).jcc("e", label);
}

/** Appends a number to the log. */
function log(a: Assembler, value: number): void {
  a.mov("rcx", 8)
    .bytes(0xf0, 0x48, 0x0f, 0xc1, 0x0c, 0x25)
    .bytes(LOG_END & 0xff, (LOG_END >> 8) & 0xff, (LOG_END >> 16) & 0xff, 0);
  a.mov("rax", value).store({ base: "rcx" }, "rax");
}

function sleep(a: Assembler, ms: number): void {
  a.put(TIME, 0)
    .put(TIME + 8, ms * MS)
    .syscall(SYS.nanosleep, TIME, 0);
}

/** Sleeps with a timespec of the thread's own. */
function sleepIn(a: Assembler, thread: number, ms: number): void {
  const at = TIME + 0x20 + thread * 16;
  a.put(at, 0)
    .put(at + 8, ms * MS)
    .syscall(SYS.nanosleep, at, 0);
}

function threads(a: Assembler, define: () => void): void {
  const over = a.fresh();
  a.put(LOG_END, LOG).jmp(over);
  define();
  a.label(over);
}

describe("clone(2)", () => {
  guestTest(
    "starts a thread with its own stack and thread pointer; its tid is stored where asked, cleared and woken at its end",
    (a) => {
      const [parentTid, childTid, tls] = [DATA + 16, DATA + 24, DATA + 64];
      threads(a, () => {
        a.label("child").record("rsp");
        // FS:0 is the word that the thread pointer points to.
        a.bytes(0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0).record();
        a.load32("rax", childTid).store(DATA + 40, "rax");
        a.syscall(SYS.gettid).store(DATA + 32, "rax");
        // Only now is the tid surely stored: the child itself does that.
        a.put(DATA + 48, 1);
        a.syscall(SYS.exit, 5);
      });
      a.put(tls, 0xabcd);
      const flags = THREAD | CLONE.SETTLS | CLONE.PARENT_SETTID | CLONE.CHILD_SETTID | CLONE.CHILD_CLEARTID;
      start(a, "child", 0, flags, parentTid, childTid, tls);
      a.copy("r12", "rax");
      a.label("begun")
        .load("rax", DATA + 48)
        .bytes(0x48, 0x85, 0xc0)
        .jcc("e", "begun");
      a.label("wait").load32("rdx", childTid).bytes(0x85, 0xd2).jcc("e", "gone");
      a.mov("rdi", childTid).mov("rsi", FUTEX.WAIT).mov("r10", 0).mov("rax", SYS.futex).bytes(0x0f, 0x05).jmp("wait");
      a.label("gone");
      for (const at of [parentTid, DATA + 32, DATA + 40]) a.load32("rax", at).sub("rax", "r12").record();
      a.load32("rax", childTid).record();
      a.syscall(SYS.getpid).copy("rbx", "rax").syscall(SYS.gettid).sub("rax", "rbx").record();
    },
    (run) => expectOutcomes(run, [DATA + 0x2_0000, 0xabcd, 0, 0, 0, 0, 0]),
  );

  guestTest(
    "refuses flags that contradict each other",
    (a) => {
      a.syscall(SYS.clone, CLONE.THREAD | CLONE.VM, 0, 0, 0, 0).record();
      a.syscall(SYS.clone, CLONE.SIGHAND, 0, 0, 0, 0).record();
    },
    (run) => expectOutcomes(run, ["EINVAL", "EINVAL"]),
  );

  it("starts no thread for a bad tid pointer", async () => {
    const guest = buildGuest((a) => {
      a.syscall(SYS.clone, THREAD | CLONE.PARENT_SETTID, DATA + 0x1000, 8, 0, 0).record();
    });
    expectOutcomes(await runGuest(guest), ["EFAULT"]);
  });

  guestTest(
    "the process goes on when its first thread ends, and ends with the last one's status",
    (a) => {
      threads(a, () => {
        a.label("child");
        sleepIn(a, 0, 10);
        a.syscall(1, 2, DATA, 1).syscall(SYS.exit, 3);
      });
      a.put(DATA, 0x21);
      start(a, "child", 0);
      a.syscall(SYS.exit, 7);
    },
    ({ status, stderr }) => {
      expect(stderr).toBe("!");
      expect(status).toEqual({ kind: "exited", status: 3 });
    },
  );

  guestTest(
    "exit_group ends all threads",
    (a) => {
      threads(a, () => {
        a.label("child");
        a.label("forever").bytes(0xf3, 0x90).jmp("forever");
      });
      start(a, "child", 0);
      start(a, "child", 1);
      sleep(a, SETTLE);
      a.syscall(231, 42);
    },
    ({ status }) => expect(status).toEqual({ kind: "exited", status: 42 }),
  );

  it("gives EAGAIN when there are too many threads, and their places are used again", async () => {
    const guest = buildGuest((a) => {
      threads(a, () => {
        a.label("child").syscall(SYS.exit, 0);
      });
      // 20,000 threads one after another.
      a.mov("r15", 20_000).label("more");
      start(a, "child", 0);
      a.bytes(0x48, 0x85, 0xc0).jcc("s", "finish").syscall(SYS.sched_yield);
      a.mov("rcx", 1).sub("r15", "rcx").jcc("ne", "more").mov("rax", 1).record();
    });
    expectOutcomes(await runGuest(guest), [1]);
  });
});

describe("futex(2)", () => {
  guestTest(
    "WAIT returns EAGAIN for a changed word, ETIMEDOUT in time; EINVAL and EFAULT for bad arguments",
    (a) => {
      a.put(WORD, 5)
        .put(TIME, 0)
        .put(TIME + 8, 20 * MS);
      a.syscall(SYS.futex, WORD, FUTEX.WAIT | PRIVATE, 6, TIME).record();
      a.syscall(SYS.futex, WORD, FUTEX.WAIT | PRIVATE, 5, TIME).record();
      a.syscall(SYS.futex, WORD + 2, FUTEX.WAIT, 5, TIME).record();
      a.syscall(SYS.futex, 8, FUTEX.WAIT, 5, TIME).record();
      a.syscall(SYS.futex, WORD, FUTEX.WAIT, 5, 8).record();
      a.syscall(SYS.futex, WORD, FUTEX.WAIT_BITSET, 5, 0, 0, 0).record();
      a.syscall(SYS.futex, WORD, 77, 5, 0).record();
      a.put(TIME + 8, 1000 * MS)
        .syscall(SYS.futex, WORD, FUTEX.WAIT, 5, TIME)
        .record();
      a.syscall(SYS.futex, WORD, FUTEX.WAKE, 1).record();
      a.put(TIME + 8, 0)
        .syscall(SYS.futex, WORD, FUTEX.WAIT, 5, TIME)
        .record();
      // WAIT_BITSET takes the time at which it ends: long past.
      a.put(TIME, 1).syscall(SYS.futex, WORD, FUTEX.WAIT_BITSET, 5, TIME, 0, -1).record();
      a.syscall(SYS.futex, WORD, FUTEX.WAIT_BITSET | FUTEX.CLOCK_REALTIME, 5, TIME, 0, -1).record();
    },
    (run) =>
      expectOutcomes(run, [
        ...["EAGAIN", "ETIMEDOUT", "EINVAL", "EFAULT", "EFAULT", "EINVAL", "ENOSYS", "EINVAL"],
        ...[0, "ETIMEDOUT", "ETIMEDOUT", "ETIMEDOUT"],
      ]),
  );

  /** Threads 1 to `count` go to sleep one after another and log their number when they wake up. */
  const sleepers = (a: Assembler, count: number, bitset: (i: number) => number = () => -1): void => {
    threads(a, () => {
      for (let i = 1; i <= count; i++) {
        a.label(`sleeper${i}`).syscall(SYS.futex, WORD, FUTEX.WAIT_BITSET | PRIVATE, 0, 0, 0, bitset(i));
        log(a, i);
        a.syscall(SYS.exit, 0);
      }
    });
    for (let i = 1; i <= count; i++) {
      start(a, `sleeper${i}`, i);
      sleep(a, SETTLE);
    }
  };

  guestTest(
    "WAKE wakes as many as asked, in the order in which they came",
    (a) => {
      sleepers(a, 4);
      for (const count of [1, 2, 10, 1]) {
        a.syscall(SYS.futex, WORD, FUTEX.WAKE | PRIVATE, count).record();
        sleep(a, SETTLE);
      }
      recordWord(a, LOG);
      a.load("rax", LOG_END).mov("rcx", LOG).sub("rax", "rcx").record();
      recordWord(a, LOG + 24);
    },
    (run) => expectOutcomes(run, [1, 2, 1, 0, 1, 32, 4]),
  );

  guestTest(
    "WAKE_BITSET wakes whose bits meet",
    (a) => {
      sleepers(a, 3, (i) => 1 << i);
      for (const bits of [4, 1, 8, -1]) {
        a.syscall(SYS.futex, WORD, FUTEX.WAKE_BITSET | PRIVATE, 10, 0, 0, bits).record();
        sleep(a, SETTLE);
      }
      for (let i = 0; i < 3; i++) recordWord(a, LOG + i * 8);
    },
    (run) => expectOutcomes(run, [1, 0, 1, 1, 2, 3, 1]),
  );

  guestTest(
    "CMP_REQUEUE wakes some and moves others to another word",
    (a) => {
      sleepers(a, 4);
      a.syscall(SYS.futex, WORD, FUTEX.CMP_REQUEUE | PRIVATE, 1, 2, OTHER, 9).record();
      a.syscall(SYS.futex, WORD, FUTEX.CMP_REQUEUE | PRIVATE, 1, 2, OTHER, 0).record();
      sleep(a, SETTLE);
      recordWord(a, LOG);
      a.syscall(SYS.futex, OTHER, FUTEX.WAKE | PRIVATE, 10).record();
      a.syscall(SYS.futex, WORD, FUTEX.WAKE | PRIVATE, 10).record();
      a.syscall(SYS.futex, WORD, FUTEX.REQUEUE | PRIVATE, 0, 1, OTHER + 1).record();
    },
    (run) => expectOutcomes(run, ["EAGAIN", 3, 1, 2, 1, "EINVAL"]),
  );

  guestTest(
    "WAKE_OP changes the second word and wakes by what it was",
    (a) => {
      sleepers(a, 2);
      // Set OTHER to OTHER + 3; wake WORD's waiters; OTHER's too if it was 0.
      a.put(OTHER, 0)
        .syscall(SYS.futex, WORD, FUTEX.WAKE_OP | PRIVATE, 1, 5, OTHER, (1 << 28) | (3 << 12))
        .record();
      a.load32("rax", OTHER).record();
      a.syscall(SYS.futex, OTHER, FUTEX.WAKE_OP | PRIVATE, 1, 5, WORD, 0xf000_0000).record();
      a.syscall(SYS.futex, WORD, FUTEX.WAKE | PRIVATE, 5).record();
    },
    ({ words }) => {
      expect(words.slice(0, 2)).toEqual([1n, 3n]);
      expect(outcome(words[2])).toBe("ENOSYS");
      expect(words[3]).toBe(1n);
    },
  );

  guestTest(
    "a waiter whose time is up is not woken, and the wake goes to the next",
    (a) => {
      threads(a, () => {
        a.label("short")
          .put(DATA, 0)
          .put(DATA + 8, 10 * MS)
          .syscall(SYS.futex, WORD, FUTEX.WAIT | PRIVATE, 0, DATA);
        a.store(DATA + 64, "rax").syscall(SYS.exit, 0);
        a.label("long").syscall(SYS.futex, WORD, FUTEX.WAIT | PRIVATE, 0, 0);
        a.store(DATA + 72, "rax").syscall(SYS.exit, 0);
      });
      a.put(DATA + 72, 99);
      start(a, "short", 1);
      start(a, "long", 2);
      sleep(a, 100);
      a.syscall(SYS.futex, WORD, FUTEX.WAKE | PRIVATE, 1).record();
      sleep(a, 10);
      recordWord(a, DATA + 64);
      recordWord(a, DATA + 72);
    },
    (run) => expectOutcomes(run, [1, "ETIMEDOUT", 0]),
  );
});

describe("sleeping", () => {
  guestTest(
    "nanosleep and clock_nanosleep check the time; an absolute time that is past returns at once",
    (a) => {
      a.put(TIME, -1)
        .put(TIME + 8, 0)
        .syscall(SYS.nanosleep, TIME, 0)
        .record();
      a.put(TIME, 0)
        .put(TIME + 8, 1_000_000_000)
        .syscall(SYS.nanosleep, TIME, 0)
        .record();
      a.syscall(SYS.nanosleep, 8, 0).record();
      a.put(TIME, 1)
        .put(TIME + 8, 0)
        .syscall(230, 1, 1, TIME, 0)
        .record();
      a.syscall(230, 0, 1, TIME, 0).record();
      a.syscall(230, 99, 0, TIME, 0).record();
      for (const clock of [3, 4, 5, 6]) a.syscall(230, clock, 0, 8, 0).record();
      a.put(TIME, 0)
        .put(TIME + 8, 0)
        .syscall(SYS.nanosleep, TIME, 0)
        .record();
    },
    (run) => expectOutcomes(run, ["EINVAL", "EINVAL", "EFAULT", 0, 0, "EINVAL", ...Array(4).fill("ENOTSUP"), 0]),
  );

  guestTest(
    "takes the time that was asked for, by any clock",
    (a) => {
      for (const clock of [0, 1]) {
        a.syscall(228, 1, DATA);
        a.put(TIME, 0)
          .put(TIME + 8, 30 * MS)
          .syscall(230, clock, 0, TIME, 0);
        a.syscall(228, 1, DATA + 16);
        a.load("rax", DATA + 16)
          .load("rcx", DATA)
          .sub("rax", "rcx")
          .record();
        a.load("rax", DATA + 24)
          .load("rcx", DATA + 8)
          .sub("rax", "rcx")
          .record();
      }
    },
    ({ words }) => {
      for (const i of [0, 2]) {
        const ns = Number(words[i]) * 1e9 + Number(BigInt.asIntN(64, words[i + 1]));
        expect(ns).toBeGreaterThanOrEqual(30 * MS);
        expect(ns).toBeLessThan(20_000 * MS);
      }
    },
  );
});

describe("scheduling", () => {
  it("sched_getaffinity shows the CPUs that the machine was given", async () => {
    const guest = buildGuest((a) => {
      a.syscall(SYS.getaffinity, 0, 128, DATA).record();
      recordWord(a, DATA);
      a.syscall(SYS.getaffinity, 0, 7, DATA).record();
      a.syscall(SYS.getaffinity, 0, 8, 8).record();
    });
    const run = await runGuest(guest, { cpus: 3 });
    expectOutcomes(run, [8, 7, "EINVAL", "EFAULT"]);
  });

  guestTest(
    "a thread that spins does not keep others from running",
    (a) => {
      threads(a, () => {
        a.label("child").put(WORD, 1).syscall(SYS.exit, 0);
      });
      start(a, "child", 0);
      a.label("spin").load("rax", WORD).bytes(0x48, 0x85, 0xc0).jcc("e", "spin").record();
    },
    (run) => expectOutcomes(run, [1]),
  );
});
