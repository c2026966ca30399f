import { describe } from "vitest";
import { SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, expectOutcomes, guestTest } from "../testing/guest.ts";
import { count, handlers, install, raise, recordWord, setMask, UC } from "../testing/handlers.ts";

const { SIGUSR1, SIGUSR2, SIGALRM } = SIGNAL;
const [BLOCK, SET] = [0, 2];
const SYS = {
  write: 1,
  rt_sigprocmask: 14,
  pipe: 22,
  setitimer: 38,
  epoll_ctl: 233,
  pselect6: 270,
  ppoll: 271,
  epoll_pwait: 281,
  epoll_create1: 291,
  epoll_pwait2: 441,
} as const;
const MS = 1_000_000;
/** Milliseconds until an alarm that must not come before the call that it interrupts, on a busy machine either. */
const SOON = 100;
const bits = (...signals: readonly number[]): number => signals.reduce((mask, signal) => mask | (1 << (signal - 1)), 0);

/** Places in DATA: counters of two handlers, the mask, the timeout, descriptors of a pipe, sets, and so on. */
const [COUNT, MASK, TIME, FDS, SETS, PACK] = [DATA, DATA + 0x20, DATA + 0x30, DATA + 0x40, DATA + 0x100, DATA + 0x400];

/** The calls that set a mask, each waiting for the read end of the pipe that `prepare` made. */
const CALLS: Readonly<Record<string, (a: Assembler, timeoutMs: number, size?: number) => Assembler>> = {
  ppoll: (a, timeoutMs, size = 8) => {
    time(a, timeoutMs)
      .load32("rax", FDS)
      .store32(SETS, "rax")
      .put32(SETS + 4, 1);
    return a.syscall(SYS.ppoll, SETS, 1, TIME, MASK, size);
  },
  pselect6: (a, timeoutMs, size = 8) => {
    time(a, timeoutMs).load32("rcx", FDS).mov("rax", 1);
    a.bytes(0x48, 0xd3, 0xe0).store(SETS, "rax"); // SHL RAX, CL
    a.put(PACK, MASK).put(PACK + 8, size);
    return a.syscall(SYS.pselect6, 64, SETS, 0, 0, TIME, PACK);
  },
  epoll_pwait: (a, timeoutMs, size = 8) => {
    a.load32("rdi", FDS + 8)
      .mov("rsi", SETS)
      .mov("rdx", 4)
      .mov("r10", timeoutMs);
    return a.mov("r8", MASK).mov("r9", size).mov("rax", SYS.epoll_pwait).bytes(0x0f, 0x05);
  },
  epoll_pwait2: (a, timeoutMs, size = 8) => {
    time(a, timeoutMs)
      .load32("rdi", FDS + 8)
      .mov("rsi", SETS)
      .mov("rdx", 4)
      .mov("r10", TIME);
    return a.mov("r8", MASK).mov("r9", size).mov("rax", SYS.epoll_pwait2).bytes(0x0f, 0x05);
  },
};

function time(a: Assembler, ms: number): Assembler {
  return a.put(TIME, Math.floor(ms / 1000)).put(TIME + 8, (ms % 1000) * MS);
}

/** Handlers that count and record the mask in their frame; a pipe, and an epoll set that watches its read end. */
function prepare(a: Assembler): void {
  handlers(a, () => {
    a.label("first");
    recordWord(a, { base: "rdx", at: UC.mask });
    count(a, COUNT).ret();
    a.label("second");
    recordWord(a, { base: "rdx", at: UC.mask });
    count(a, COUNT + 8).ret();
  });
  install(a, SIGUSR1, "first");
  install(a, SIGALRM, "first");
  install(a, SIGUSR2, "second");
  a.syscall(SYS.pipe, FDS);
  a.syscall(SYS.epoll_create1, 0).store32(FDS + 8, "rax");
  a.put32(SETS, 1)
    .load32("rdi", FDS + 8)
    .mov("rsi", 1)
    .load32("rdx", FDS)
    .mov("r10", SETS);
  a.mov("rax", SYS.epoll_ctl).bytes(0x0f, 0x05);
}

/** Records the mask as it is. */
function recordMask(a: Assembler): void {
  a.syscall(SYS.rt_sigprocmask, BLOCK, 0, DATA + 0x500, 8);
  recordWord(a, DATA + 0x500);
}

function alarmAfter(a: Assembler, ms: number): void {
  for (const [i, value] of [0, 0, 0, ms * 1000].entries()) a.put(DATA + 0x600 + i * 8, value);
  a.syscall(SYS.setitimer, 0, DATA + 0x600, 0);
}

/** Makes the pipe readable. */
function fillPipe(a: Assembler): void {
  a.load32("rdi", FDS + 4)
    .mov("rsi", FDS)
    .mov("rdx", 1)
    .mov("rax", SYS.write)
    .bytes(0x0f, 0x05);
}

describe.each(Object.entries(CALLS))("the mask of %s", (name, call) => {
  const isEpoll = name.startsWith("epoll");

  guestTest(
    "lets a pending signal through: EINTR, the frame has the old mask, which holds again afterwards",
    (a) => {
      prepare(a);
      setMask(a, SET, SIGUSR1, SIGUSR2);
      raise(a, SIGUSR1);
      recordWord(a, COUNT);
      a.put(MASK, bits(SIGUSR2));
      call(a, 10_000).record();
      recordWord(a, COUNT);
      recordMask(a);
    },
    (run) => {
      const mask = bits(SIGUSR1, SIGUSR2);
      // The handlers' code comes first, and so do their words.
      expectOutcomes(run, [mask, 0, 0, "EINTR", 1, mask]);
    },
  );

  guestTest(
    "lets a signal through that comes meanwhile",
    (a) => {
      prepare(a);
      setMask(a, SET, SIGALRM);
      a.put(MASK, 0);
      alarmAfter(a, SOON);
      call(a, 10_000).record();
      recordWord(a, COUNT);
      recordMask(a);
    },
    (run) => expectOutcomes(run, [bits(SIGALRM), 0, "EINTR", 1, bits(SIGALRM)]),
  );

  guestTest(
    "keeps a signal out until the call is over",
    (a) => {
      prepare(a);
      setMask(a, SET, SIGUSR2);
      a.put(MASK, bits(SIGALRM));
      alarmAfter(a, SOON);
      call(a, 3 * SOON).record();
      recordWord(a, COUNT);
      recordMask(a);
    },
    (run) => expectOutcomes(run, [bits(SIGUSR2), 0, 0, 1, bits(SIGUSR2)]),
  );

  guestTest(
    "lets nothing through once something is ready",
    (a) => {
      prepare(a);
      setMask(a, SET, SIGUSR1);
      raise(a, SIGUSR1);
      fillPipe(a);
      a.put(MASK, 0);
      call(a, 10_000).record();
      recordWord(a, COUNT);
      recordMask(a);
    },
    (run) => expectOutcomes(run, [0, 0, 1, 0, bits(SIGUSR1)]),
  );

  guestTest(
    "with a timeout of 0 lets a pending signal interrupt ppoll and pselect6, not epoll",
    (a) => {
      prepare(a);
      setMask(a, SET, SIGUSR1);
      raise(a, SIGUSR1);
      a.put(MASK, 0);
      call(a, 0).record();
      recordWord(a, COUNT);
      a.put(MASK, bits(SIGUSR1));
      call(a, 0).record();
      recordMask(a);
    },
    (run) => expectOutcomes(run, isEpoll ? [0, 0, 0, 0, 0, bits(SIGUSR1)] : [1 << 9, 0, "EINTR", 1, 0, bits(SIGUSR1)]),
  );

  guestTest(
    "lets two signals through: the second handler's frame goes back to the first's mask",
    (a) => {
      prepare(a);
      setMask(a, SET, SIGUSR1, SIGUSR2);
      raise(a, SIGUSR1);
      raise(a, SIGUSR2);
      a.put(MASK, bits(SIGALRM));
      call(a, 10_000).record();
      recordWord(a, COUNT);
      recordWord(a, COUNT + 8);
      recordMask(a);
    },
    (run) => {
      const mask = bits(SIGUSR1, SIGUSR2);
      expectOutcomes(run, [mask, bits(SIGALRM, SIGUSR1), "EINTR", 1, 1, mask]);
    },
  );

  guestTest(
    "is refused with a size other than 8, and then not set",
    (a) => {
      prepare(a);
      setMask(a, SET, SIGUSR1);
      a.put(MASK, 0);
      call(a, 0, 4).record();
      recordMask(a);
    },
    (run) => expectOutcomes(run, [0, 0, "EINVAL", bits(SIGUSR1)]),
  );
});
