import { describe, expect } from "vitest";
import { SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SI_TKILL, SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, expectOutcomes, guestTest, outcome } from "../testing/guest.ts";
import { count, handlers, INFO, install, raise, recordWord, setMask, UC } from "../testing/handlers.ts";

const { SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGURG, SIGPIPE } = SIGNAL;
const [BLOCK, UNBLOCK, SET] = [0, 1, 2];
const SYS = {
  read: 0,
  write: 1,
  rt_sigprocmask: 14,
  pipe: 22,
  pause: 34,
  nanosleep: 35,
  setitimer: 38,
  kill: 62,
  getpid: 39,
  gettid: 186,
  rt_sigpending: 127,
  rt_sigtimedwait: 128,
  rt_sigqueueinfo: 129,
  rt_sigsuspend: 130,
  sigaltstack: 131,
  timer_create: 222,
  timer_settime: 223,
  clock_nanosleep: 230,
} as const;
const MS = 1_000_000;
/** Milliseconds until an alarm that must not come before the call that it interrupts, on a busy machine either. */
const SOON = 100;

/** A stack_t at DATA + 0x100: 0x8000 bytes at DATA + 0x10000. */
const STACK = DATA + 0x100;
const ALT = { low: DATA + 0x1_0000, size: 0x8000 } as const;

function useAlternateStack(a: Assembler): void {
  a.put(STACK, ALT.low).put(STACK + 8, 0);
  a.put(STACK + 16, ALT.size).syscall(SYS.sigaltstack, STACK, 0);
}

/** setitimer(ITIMER_REAL) once after `ms`. */
function alarmAfter(a: Assembler, ms: number): void {
  for (const [i, value] of [0, 0, 0, ms * 1000].entries()) a.put(DATA + 0x200 + i * 8, value);
  a.syscall(SYS.setitimer, 0, DATA + 0x200, 0);
}

describe("the signal frame", () => {
  const values = Object.entries({
    r8: 0x8888n,
    r9: 0x9999n,
    r10: 0x1010n,
    r11: 0x1111n,
    r12: 0x1212n,
    r13: 0x1313n,
    r14: 0x1414n,
    r15: 0x1515n,
    rbp: 0x5555n,
    rbx: 0xbbbbn,
  }) as ["r8" | "r9" | "r10" | "r11" | "r12" | "r13" | "r14" | "r15" | "rbp" | "rbx", bigint][];

  guestTest(
    "lies below the red zone, aligned as at a function's entry, and holds every register",
    (a) => {
      handlers(a, () => {
        a.label("handler").copy("r12", "rdi");
        // The restorer, the frame's place, the arguments.
        recordWord(a, { base: "rsp" });
        a.record("rsp").record("rsi").record("rdx").record("r12");
        for (const [name] of values) recordWord(a, { base: "rdx", at: UC[name] });
        for (const at of [UC.rip, UC.rsp, UC.flags, UC.link, UC.selectors, UC.mask, UC.oldMask, UC.fpstate]) {
          recordWord(a, { base: "rdx", at });
        }
        // RFLAGS: DF is clear in the handler and saved in the frame.
        a.bytes(0x9c).pop("rax").record();
        recordWord(a, { base: "rdx", at: UC.eflags });
        a.ret();
      });
      install(a, SIGNAL.SIGTRAP, "handler");
      setMask(a, BLOCK, SIGUSR2);
      a.mov("rax", "restorer").record().mov("rax", "after").record().record("rsp");
      for (const [name, value] of values) a.mov(name, value);
      // STD, INT3, and afterwards the registers are as before.
      a.bytes(0xfd, 0xcc).label("after");
      a.bytes(0x9c).pop("rax").bytes(0xfc).record();
      for (const [name] of values) a.record(name);
      a.record("rsp");
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      // The handler's code comes first, so its words are first.
      const [restorer, rsp, info, context, signal, ...rest] = words;
      const registers = rest.splice(0, values.length);
      const [rip, savedRsp, flags, link, selectors, mask, oldMask, fpstate, handlerFlags, savedFlags] = rest.splice(
        0,
        10,
      );
      const [restorerAddress, after, before, flagsAfter] = rest.splice(0, 4);
      expect(restorer).toBe(restorerAddress);
      expect(rsp % 16n).toBe(8n);
      expect([info - rsp, context - rsp, signal]).toEqual([312n, 8n, 5n]);
      expect(registers).toEqual(values.map(([, value]) => value));
      expect([rip, savedRsp, link]).toEqual([after, before, 0n]);
      expect(flags & 6n).toBe(6n);
      expect(selectors & 0xffffn).toBe(0x33n);
      expect(selectors >> 48n).toBe(0x2bn);
      expect([mask, oldMask]).toEqual([0x800n, 0x800n]);
      expect(fpstate % 64n).toBe(0n);
      expect(fpstate > rsp + 312n + 127n && fpstate + 512n < before - 128n).toBe(true);
      expect(handlerFlags & 0x400n).toBe(0n);
      expect(savedFlags & 0x400n).toBe(0x400n);
      expect(flagsAfter & 0x400n).toBe(0x400n);
      expect(rest).toEqual([...values.map(([, value]) => value), before]);
    },
  );

  guestTest(
    "holds the floating-point state, and rt_sigreturn takes it back from there",
    (a) => {
      const xmm3 = [0x0123_4567_89ab_cdefn, 0xfedc_ba98_7654_3210n];
      handlers(a, () => {
        a.label("handler").load("rbx", { base: "rdx", at: UC.fpstate });
        // Control word, MXCSR and its mask, XMM3, the software bytes with magic and size, the word behind the image.
        a.load("rax", { base: "rbx" }).bytes(0x25).bytes(0xff, 0xff, 0, 0).record();
        a.load32("rax", { base: "rbx", at: 24 }).record();
        for (const at of [160 + 48, 160 + 56]) recordWord(a, { base: "rbx", at });
        a.load32("rax", { base: "rbx", at: 464 }).record();
        a.load32("rcx", { base: "rbx", at: 468 })
          .load32("rax", { base: "rbx", at: 480 })
          .sub("rcx", "rax")
          .record("rcx");
        a.copy("rcx", "rbx").add("rcx", "rax");
        a.load32("rax", { base: "rcx" }).record();
        // The handler's own floating-point state starts with what was there; change it, and the saved one of XMM4.
        a.mov("rax", 42).bytes(0x66, 0x48, 0x0f, 0x6e, 0xd8);
        a.mov("rax", 77)
          .store({ base: "rbx", at: 160 + 64 }, "rax")
          .ret();
      });
      install(a, SIGUSR1, "handler");
      a.put(DATA, xmm3[0])
        .put(DATA + 8, xmm3[1])
        .mov("rcx", DATA)
        .bytes(0x0f, 0x28, 0x19);
      a.bytes(0x0f, 0x57, 0xe4);
      raise(a, SIGUSR1);
      a.bytes(0x66, 0x48, 0x0f, 0x7e, 0xd8).record();
      a.bytes(0x66, 0x48, 0x0f, 0x7e, 0xe0).record();
    },
    ({ words, status }) => {
      expect(status).toEqual({ kind: "exited", status: 0 });
      const magics = [0x4650_5853n, 4n, 0x4650_5845n];
      expect(words).toEqual([
        0x37fn,
        0x1f80n,
        0x0123_4567_89ab_cdefn,
        0xfedc_ba98_7654_3210n,
        ...magics,
        0x0123_4567_89ab_cdefn,
        77n,
      ]);
    },
  );

  guestTest(
    "can be edited: the thread goes on where, and with what, the handler wrote",
    (a) => {
      handlers(a, () => {
        a.label("handler").mov("rax", "elsewhere").store({ base: "rdx", at: UC.rip }, "rax");
        a.mov("rax", 1234).store({ base: "rdx", at: UC.rbx }, "rax");
        a.mov("rax", DATA + 0x4000).store({ base: "rdx", at: UC.rsp }, "rax");
        // CF set in the flags, SIGUSR2 blocked.
        a.mov("rax", 0x203).store({ base: "rdx", at: UC.eflags }, "rax");
        a.mov("rax", 1 << (SIGUSR2 - 1))
          .store({ base: "rdx", at: UC.mask }, "rax")
          .ret();
      });
      install(a, SIGUSR1, "handler");
      raise(a, SIGUSR1);
      a.mov("rax", 1).record().jmp("finish");
      a.label("elsewhere").jcc("ae", "finish").record("rbx").record("rsp");
      a.syscall(SYS.rt_sigprocmask, BLOCK, 0, DATA, 8);
      recordWord(a, DATA);
    },
    ({ words }) => expect(words).toEqual([0n, 1234n, BigInt(DATA + 0x4000), 0x800n]),
  );
});

describe("the alternate stack", () => {
  guestTest(
    "is used under SA_ONSTACK, reports that, and can't be changed meanwhile",
    (a) => {
      handlers(a, () => {
        a.label("handler").record("rsp");
        a.load("rax", { base: "rdx", at: UC.stack + 8 })
          .bytes(0x25, 0xff, 0xff, 0xff, 0x7f)
          .record();
        a.syscall(SYS.sigaltstack, 0, DATA);
        a.load32("rax", DATA + 8).record();
        a.syscall(SYS.sigaltstack, STACK, 0).record().ret();
      });
      useAlternateStack(a);
      a.record();
      install(a, SIGUSR1, "handler", SA_ONSTACK);
      raise(a, SIGUSR1);
      a.syscall(SYS.sigaltstack, 0, DATA);
      recordWord(a, DATA);
      a.load32("rax", DATA + 8).record();
      recordWord(a, DATA + 16);
    },
    ({ words }) => {
      const rsp = Number(words[0]);
      expect(rsp).toBeGreaterThan(ALT.low);
      expect(rsp).toBeLessThan(ALT.low + ALT.size);
      expect(words.slice(1).map(outcome)).toEqual([0, 1, "EPERM", 0, ALT.low, 0, ALT.size]);
    },
  );

  guestTest(
    "is not used without SA_ONSTACK, nor once disabled; a small or strange one is refused",
    (a) => {
      handlers(a, () => {
        a.label("handler").mov("rcx", 8).add("rbp", "rcx").store({ base: "rbp", at: -8 }, "rsp").ret();
      });
      useAlternateStack(a);
      install(a, SIGUSR1, "handler");
      a.mov("rbp", DATA + 0x800);
      raise(a, SIGUSR1);
      install(a, SIGUSR1, "handler", SA_ONSTACK);
      a.put(STACK + 8, 2)
        .syscall(SYS.sigaltstack, STACK, 0)
        .record();
      raise(a, SIGUSR1);
      a.put(STACK + 8, 0)
        .put(STACK + 16, 100)
        .syscall(SYS.sigaltstack, STACK, 0)
        .record();
      a.put(STACK + 8, 5)
        .put(STACK + 16, ALT.size)
        .syscall(SYS.sigaltstack, STACK, 0)
        .record();
      a.syscall(SYS.sigaltstack, 8, 0).record();
      for (const at of [0x800, 0x808]) {
        a.load("rax", DATA + at)
          .mov("rcx", ALT.low)
          .sub("rax", "rcx")
          .record();
      }
    },
    ({ words }) => {
      expect(words.slice(0, 4).map(outcome)).toEqual([0, "ENOMEM", "EINVAL", "EFAULT"]);
      for (const distance of words.slice(4)) expect(Number(distance)).toBeGreaterThan(ALT.size);
    },
  );
});

describe("the mask", () => {
  guestTest(
    "blocks the signal itself and those of sa_mask in the handler, and is put back",
    (a) => {
      handlers(a, () => {
        a.label("handler").syscall(SYS.rt_sigprocmask, BLOCK, 0, DATA, 8);
        recordWord(a, DATA).ret();
        a.label("nodefer").syscall(SYS.rt_sigprocmask, BLOCK, 0, DATA, 8);
        recordWord(a, DATA).ret();
      });
      install(a, SIGUSR1, "handler", 0, 1 << (SIGTERM - 1));
      raise(a, SIGUSR1);
      install(a, SIGUSR1, "nodefer", SA_NODEFER);
      raise(a, SIGUSR1);
      a.syscall(SYS.rt_sigprocmask, BLOCK, 0, DATA, 8);
      recordWord(a, DATA);
      // SIGKILL and SIGSTOP can't be blocked; bad arguments.
      a.put(DATA, -1).syscall(SYS.rt_sigprocmask, SET, DATA, 0, 8).record();
      a.syscall(SYS.rt_sigprocmask, 7, 0, DATA, 8).record();
      recordWord(a, DATA);
      a.syscall(SYS.rt_sigprocmask, 7, DATA, 0, 8).record();
      a.syscall(SYS.rt_sigprocmask, SET, DATA, 0, 4).record();
    },
    ({ words }) => {
      expect(words.slice(0, 4)).toEqual([(1n << BigInt(SIGUSR1 - 1)) | (1n << BigInt(SIGTERM - 1)), 0n, 0n, 0n]);
      expect(words.slice(4).map(outcome)).toEqual([0, Number(BigInt.asIntN(64, ~0x4_0100n)), "EINVAL", "EINVAL"]);
    },
  );

  guestTest(
    "holds signals back: standard ones once, real-time ones each with its value, in order",
    (a) => {
      handlers(a, () => {
        a.label("standard");
        count(a, DATA).ret();
        // Appends the value to a list: DATA + 0x3f8 says where it ends.
        a.label("realtime").load("rbp", DATA + 0x3f8);
        a.load32("rax", { base: "rsi", at: INFO.second }).store({ base: "rbp" }, "rax");
        a.mov("rcx", 8)
          .add("rbp", "rcx")
          .store(DATA + 0x3f8, "rbp")
          .ret();
      });
      install(a, SIGUSR1, "standard");
      install(a, 40, "realtime");
      install(a, 35, "realtime");
      setMask(a, BLOCK, SIGUSR1, 35, 40);
      a.put(DATA + 0x3f8, DATA + 0x400);
      raise(a, SIGUSR1);
      raise(a, SIGUSR1);
      for (const [signal, value] of [
        [40, 1],
        [35, 2],
        [40, 3],
        [35, 4],
      ]) {
        a.put(DATA + 0x300, signal)
          .put(DATA + 0x308, 0xffff_ffff)
          .put(DATA + 0x310, 0)
          .put(DATA + 0x318, value);
        a.syscall(SYS.getpid)
          .copy("rdi", "rax")
          .mov("rsi", signal)
          .mov("rdx", DATA + 0x300);
        a.mov("rax", SYS.rt_sigqueueinfo).bytes(0x0f, 0x05).record();
      }
      a.syscall(SYS.rt_sigpending, DATA + 8, 8).record();
      recordWord(a, DATA + 8);
      recordWord(a, DATA);
      setMask(a, UNBLOCK, SIGUSR1, 35, 40);
      recordWord(a, DATA);
      for (let i = 0; i < 4; i++) recordWord(a, DATA + 0x400 + i * 8);
    },
    ({ words }) => {
      const pending = Number((1n << BigInt(SIGUSR1 - 1)) | (1n << 34n) | (1n << 39n));
      // A handler's frame is built for each before the first runs: the last, 40, runs first. Within 35 and 40 in order.
      expect(words.slice(0, 8).map(Number)).toEqual([0, 0, 0, 0, 0, pending, 0, 1]);
      expect(words.slice(8).map(Number)).toEqual([1, 3, 2, 4]);
    },
  );
});

describe("SA_RESETHAND", () => {
  guestTest(
    "makes a handler serve once",
    (a) => {
      handlers(a, () => {
        a.label("handler")
          .syscall(1, 2, DATA + 0x500, 1)
          .ret();
      });
      a.put(DATA + 0x500, 0x21);
      install(a, SIGUSR1, "handler", SA_RESETHAND);
      raise(a, SIGUSR1);
      raise(a, SIGUSR1);
    },
    ({ stderr, status }) => {
      expect(stderr).toBe("!");
      expect(status).toEqual({ kind: "signaled", signal: SIGUSR1 });
    },
  );
});

describe("default actions", () => {
  for (const [name, killed] of [
    ["SIGTERM", true],
    ["SIGUSR2", true],
    ["SIGALRM", true],
    ["SIGURG", false],
    ["SIGCHLD", false],
    ["SIGWINCH", false],
    ["SIGCONT", false],
  ] as const) {
    guestTest(
      `of ${name}: ${killed ? "kills" : "nothing happens"}`,
      (a) => raise(a, SIGNAL[name]),
      ({ status }) => {
        expect(status).toEqual(killed ? { kind: "signaled", signal: SIGNAL[name] } : { kind: "exited", status: 0 });
      },
    );
  }

  guestTest(
    "kill(2), tgkill(2) and sigaction(2) check their arguments",
    (a) => {
      handlers(a, () => a.label("handler").ret());
      a.syscall(SYS.getpid).copy("r12", "rax");
      a.copy("rdi", "r12").mov("rsi", 0).mov("rax", SYS.kill).bytes(0x0f, 0x05).record();
      a.copy("rdi", "r12").mov("rsi", 65).mov("rax", SYS.kill).bytes(0x0f, 0x05).record();
      a.copy("rdi", "r12").mov("rsi", -1).mov("rax", SYS.kill).bytes(0x0f, 0x05).record();
      a.syscall(234, 0, 1, 0).record();
      a.copy("rdi", "r12").mov("rsi", 0x3fff_fff0).mov("rdx", 0).mov("rax", 234).bytes(0x0f, 0x05).record();
      install(a, SIGNAL.SIGKILL, "handler");
      a.record();
      install(a, 65, "handler");
      a.record();
      a.syscall(13, SIGTERM, 0, 0, 4).record();
      a.syscall(13, SIGTERM, 8, 0, 8).record();
    },
    (run) => expectOutcomes(run, [0, "EINVAL", "EINVAL", "EINVAL", "ESRCH", "EINVAL", "EINVAL", "EINVAL", "EFAULT"]),
  );
});

describe("an interrupted system call", () => {
  /** A pipe at DATA (read end) and DATA + 4; a handler that counts and writes a byte into the pipe. */
  const withPipe = (a: Assembler, flags: number): void => {
    handlers(a, () => {
      a.label("handler");
      count(a, DATA + 16);
      a.load32("rdi", DATA + 4)
        .mov("rsi", DATA)
        .mov("rdx", 1)
        .mov("rax", SYS.write)
        .bytes(0x0f, 0x05)
        .ret();
    });
    a.syscall(SYS.pipe, DATA);
    install(a, SIGALRM, "handler", flags);
    alarmAfter(a, SOON);
    a.load32("rdi", DATA)
      .mov("rsi", DATA + 32)
      .mov("rdx", 8)
      .mov("rax", SYS.read)
      .bytes(0x0f, 0x05)
      .record();
    recordWord(a, DATA + 16);
  };

  guestTest(
    "starts again under SA_RESTART",
    (a) => withPipe(a, SA_RESTART),
    (run) => expectOutcomes(run, [1, 1]),
  );
  guestTest(
    "fails with EINTR without it",
    (a) => withPipe(a, 0),
    (run) => expectOutcomes(run, ["EINTR", 1]),
  );

  guestTest(
    "goes on when the signal has no handler and does nothing",
    (a) => {
      // A timer that sends SIGURG, which is ignored by default, in the middle of a sleep of 60 ms.
      a.put(DATA, 0)
        .put(DATA + 8, BigInt(SIGURG))
        .syscall(SYS.timer_create, 1, DATA, DATA + 64)
        .record();
      a.put(DATA + 72, 0)
        .put(DATA + 80, 0)
        .put(DATA + 88, 0)
        .put(DATA + 96, 15 * MS);
      a.load32("rdi", DATA + 64)
        .mov("rsi", 0)
        .mov("rdx", DATA + 72)
        .mov("r10", 0)
        .mov("rax", SYS.timer_settime);
      a.bytes(0x0f, 0x05).record();
      a.syscall(228, 1, DATA + 128);
      a.put(DATA + 160, 0)
        .put(DATA + 168, 60 * MS)
        .syscall(SYS.nanosleep, DATA + 160, 0)
        .record();
      a.syscall(228, 1, DATA + 144);
      a.load("rax", DATA + 144)
        .load("rcx", DATA + 128)
        .sub("rax", "rcx")
        .record();
      a.load("rax", DATA + 152)
        .load("rcx", DATA + 136)
        .sub("rax", "rcx")
        .record();
    },
    ({ words }) => {
      expect(words.slice(0, 3)).toEqual([0n, 0n, 0n]);
      const slept = Number(words[3]) * 1e9 + Number(BigInt.asIntN(64, words[4]));
      expect(slept).toBeGreaterThanOrEqual(60 * MS);
      expect(slept).toBeLessThan(20_000 * MS);
    },
  );

  guestTest(
    "nanosleep says how much time is left, whatever SA_RESTART says",
    (a) => {
      handlers(a, () => a.label("handler").ret());
      install(a, SIGALRM, "handler", SA_RESTART);
      alarmAfter(a, SOON);
      a.put(DATA, 5)
        .put(DATA + 8, 0)
        .syscall(SYS.nanosleep, DATA, DATA + 16)
        .record();
      recordWord(a, DATA + 16);
    },
    (run) => expectOutcomes(run, ["EINTR", 4]),
  );

  guestTest(
    "pause and sigsuspend end with EINTR after the handler; sigsuspend's mask holds only meanwhile",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        count(a, DATA + 16).ret();
      });
      install(a, SIGALRM, "handler", SA_RESTART);
      alarmAfter(a, SOON);
      a.syscall(SYS.pause).record();
      setMask(a, BLOCK, SIGALRM, SIGUSR1);
      alarmAfter(a, SOON);
      a.put(DATA, 0).syscall(SYS.rt_sigsuspend, DATA, 8).record();
      recordWord(a, DATA + 16);
      a.syscall(SYS.rt_sigprocmask, BLOCK, 0, DATA, 8);
      recordWord(a, DATA);
      a.syscall(SYS.rt_sigsuspend, DATA, 4).record();
    },
    (run) => expectOutcomes(run, ["EINTR", "EINTR", 2, (1 << (SIGALRM - 1)) | (1 << (SIGUSR1 - 1)), "EINVAL"]),
  );
});

describe("rt_sigtimedwait(2)", () => {
  guestTest(
    "takes a pending signal of its set without its handler, waits for one, and times out",
    (a) => {
      handlers(a, () => {
        a.label("handler");
        count(a, DATA + 16).ret();
      });
      install(a, SIGUSR1, "handler");
      setMask(a, BLOCK, SIGUSR1, SIGALRM);
      raise(a, SIGUSR1);
      const set = DATA + 0x400;
      a.put(set, (1 << (SIGUSR1 - 1)) | (1 << (SIGALRM - 1)))
        .put(DATA + 0x410, 0)
        .put(DATA + 0x418, 20 * MS);
      a.syscall(SYS.rt_sigtimedwait, set, DATA + 0x500, DATA + 0x410, 8).record();
      a.load32("rax", DATA + 0x500 + INFO.signal).record();
      a.load32("rax", DATA + 0x500 + INFO.code).record();
      a.syscall(SYS.rt_sigtimedwait, set, 0, DATA + 0x410, 8).record();
      alarmAfter(a, SOON);
      a.syscall(SYS.rt_sigtimedwait, set, DATA + 0x500, 0, 8).record();
      recordWord(a, DATA + 16);
      a.put(DATA + 0x418, -1)
        .syscall(SYS.rt_sigtimedwait, set, 0, DATA + 0x410, 8)
        .record();
      a.syscall(SYS.rt_sigtimedwait, 8, 0, 0, 8).record();
    },
    (run) => expectOutcomes(run, [SIGUSR1, SIGUSR1, 2 ** 32 + SI_TKILL, "EAGAIN", SIGALRM, 0, "EINVAL", "EFAULT"]),
  );

  guestTest(
    "is broken off by a handler of another signal",
    (a) => {
      handlers(a, () => a.label("handler").ret());
      install(a, SIGALRM, "handler", SA_RESTART);
      setMask(a, BLOCK, SIGUSR1);
      alarmAfter(a, SOON);
      a.put(DATA, 1 << (SIGUSR1 - 1))
        .syscall(SYS.rt_sigtimedwait, DATA, 0, 0, 8)
        .record();
    },
    (run) => expectOutcomes(run, ["EINTR"]),
  );
});

describe("SIGPIPE", () => {
  guestTest(
    "kills a writer without a reader, or is EPIPE where it is ignored",
    (a) => {
      handlers(a, () => {});
      install(a, SIGPIPE, 1);
      const write = (): Assembler =>
        a
          .load32("rdi", DATA + 4)
          .mov("rsi", DATA)
          .mov("rdx", 1)
          .mov("rax", 1)
          .bytes(0x0f, 0x05);
      a.syscall(SYS.pipe, DATA).load32("rdi", DATA).mov("rax", 3).bytes(0x0f, 0x05);
      write()
        .store(DATA + 32, "rax")
        .syscall(1, 2, DATA + 32, 8);
      install(a, SIGPIPE, 0);
      write();
    },
    ({ status }) => expect(status).toEqual({ kind: "signaled", signal: SIGPIPE }),
  );
});
