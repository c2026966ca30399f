import { describe, expect, it } from "vitest";
import type { Assembler, Register } from "../testing/assembler.ts";
import { buildGuest, DATA, expectOutcomes, type GuestRun, guestTest, outcome, runGuest } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";
import { CLONE } from "../threads/syscalls.ts";

const SYS = {
  read: 0,
  write: 1,
  close: 3,
  poll: 7,
  mmap: 9,
  rt_sigaction: 13,
  rt_sigprocmask: 14,
  nanosleep: 35,
  getpid: 39,
  socket: 41,
  connect: 42,
  accept: 43,
  bind: 49,
  listen: 50,
  clone: 56,
  fork: 57,
  vfork: 58,
  exit: 60,
  wait4: 61,
  kill: 62,
  fcntl: 72,
  ftruncate: 77,
  umask: 95,
  setpgid: 109,
  getppid: 110,
  setsid: 112,
  getpgid: 121,
  getsid: 124,
  rt_sigtimedwait: 128,
  prctl: 157,
  futex: 202,
  exit_group: 231,
  waitid: 247,
  pipe2: 293,
  memfd_create: 319,
  pidfd_send_signal: 424,
  pidfd_open: 434,
} as const;
const SIG = { KILL: 9, TERM: 15, CHLD: 17, CONT: 18, STOP: 19 } as const;
const W = { NOHANG: 1, UNTRACED: 2, EXITED: 4, CONTINUED: 8, NOWAIT: 0x100_0000 } as const;
const SA_NOCLDWAIT = 2;
const SA_RESTORER = 0x400_0000;
const PR = { SET_PDEATHSIG: 1, SET_CHILD_SUBREAPER: 36 } as const;

const WORD = DATA;
const OTHER = DATA + 8;
const STATUS = DATA + 0x10;
const FDS = DATA + 0x20;
const BYTE = DATA + 0x30;
const SET = DATA + 0x40;
const ACTION = DATA + 0x80;
const INFO = DATA + 0x100;
const NAME = DATA + 0x200;
const LOCK = DATA + 0x300;
/** Where a shared mapping goes. */
const SHARED = 0x1000_0000;
/** The first pipe's ends, as all tests have nothing else open. */
const [READ, WRITE] = [3, 4];

/** SYSCALL with what is in the argument registers. */
const sys = (a: Assembler, number: number): Assembler => a.mov("rax", number).bytes(0x0f, 0x05);

/** Jumps if a call has returned 0. */
const ifZero = (a: Assembler, label: string): Assembler => a.bytes(0x48, 0x85, 0xc0).jcc("e", label);

/** Makes a child that goes on at a label; its number is in a register that calls leave alone. */
const fork = (a: Assembler, label: string, pid: Register = "rbx"): Assembler =>
  ifZero(a.syscall(SYS.fork), label).copy(pid, "rax");

/** Waits for any child; what wait4 returns is in RAX, the status in STATUS. */
const wait = (a: Assembler, options = 0): Assembler => a.put(STATUS, 0).syscall(SYS.wait4, -1, STATUS, options, 0);

/** Records the status that `wait` has stored. */
const recordStatus = (a: Assembler): Assembler => {
  recordWord(a, STATUS);
  return a;
};

const pipe = (a: Assembler): Assembler => a.syscall(SYS.pipe2, FDS, 0);
/** Waits until the other one has said something; says something. */
const hear = (a: Assembler): Assembler => a.syscall(SYS.read, READ, BYTE, 1);
const say = (a: Assembler): Assembler => a.syscall(SYS.write, WRITE, BYTE, 1);
const exit = (a: Assembler, status: number): Assembler => a.syscall(SYS.exit_group, status);
/** Ends with what is in a register. */
const exitWith = (a: Assembler, register: Register): Assembler => sys(a.copy("rdi", register), SYS.exit_group);

/** Sends a signal to the process whose number is in a register. */
const kill = (a: Assembler, pid: Register, signal: number): Assembler =>
  sys(a.copy("rdi", pid).mov("rsi", signal), SYS.kill);

/** 1 in RAX if two registers are the same, else 0. */
function same(a: Assembler, left: Register, right: Register): Assembler {
  const done = a.fresh();
  a.cmp(left, right).mov("rax", 1).jcc("e", done).mov("rax", 0);
  return a.label(done);
}

function action(a: Assembler, signal: number, handler: number, flags: number): void {
  a.put(ACTION, handler)
    .put(ACTION + 8, flags)
    .put(ACTION + 16, 0)
    .put(ACTION + 24, 0)
    .syscall(SYS.rt_sigaction, signal, ACTION, 0, 8);
}

const block = (a: Assembler, signal: number): Assembler =>
  a.put(SET, 1n << BigInt(signal - 1)).syscall(SYS.rt_sigprocmask, 0, SET, 0, 8);

/** Everything behind the end of the parent's part: children. */
function children(a: Assembler, ...parts: (() => unknown)[]): void {
  a.jmp("finish");
  for (const part of parts) part();
}

const ends = (expected: readonly (string | number)[]) => (run: GuestRun) => expectOutcomes(run, expected);

describe("fork(2)", () => {
  guestTest(
    "gives the child a copy of memory: neither sees what the other stores",
    (a) => {
      pipe(a);
      a.put(WORD, 1).put(OTHER, 2);
      fork(a, "child");
      a.put(WORD, 7);
      say(a);
      wait(a);
      recordStatus(a);
      recordWord(a, WORD);
      recordWord(a, OTHER);
      children(a, () => {
        a.label("child").put(OTHER, 9);
        hear(a);
        exitWith(a.load("rdi", WORD).load("rcx", OTHER).add("rdi", "rcx"), "rdi");
      });
    },
    ends([10 << 8, 7, 2]),
  );

  guestTest(
    "tells parent and child apart, which know each other",
    (a) => {
      a.syscall(SYS.getpid).copy("r13", "rax");
      fork(a, "child");
      a.syscall(SYS.wait4, -1, STATUS, 0, 0);
      same(a, "rax", "rbx").record();
      recordStatus(a);
      a.syscall(SYS.wait4, -1, 0, 0, 0).record();
      children(a, () => {
        a.label("child").syscall(SYS.getppid);
        exitWith(same(a, "rax", "r13"), "rax");
      });
    },
    ends([1, 1 << 8, "ECHILD"]),
  );

  guestTest(
    "copies the calling thread alone",
    (a) => {
      const flags = CLONE.VM | CLONE.FS | CLONE.FILES | CLONE.SIGHAND | CLONE.THREAD;
      ifZero(a.syscall(SYS.clone, flags, DATA + 0x2_0000, 0, 0, 0), "thread");
      fork(a, "child");
      wait(a);
      recordStatus(a);
      children(
        a,
        () => a.label("thread").syscall(24).jmp("thread"),
        // With the thread there, exit(2) would end this one only.
        () => a.label("child").syscall(SYS.exit, 3),
      );
    },
    ends([3 << 8]),
  );

  guestTest(
    "a child of a child, both of which wait",
    (a) => {
      fork(a, "child");
      wait(a);
      recordStatus(a);
      children(a, () => {
        a.label("child");
        fork(a, "grandchild");
        wait(a);
        a.load("rdi", STATUS).bytes(0x48, 0xc1, 0xef, 8).bytes(0x48, 0xff, 0xc7);
        sys(a, SYS.exit_group);
        exit(a.label("grandchild"), 5);
      });
    },
    ends([6 << 8]),
  );

  it("is refused when there are as many processes as may be", async () => {
    const guest = buildGuest((a) => {
      pipe(a);
      fork(a, "child");
      fork(a, "child");
      a.syscall(SYS.fork).record();
      say(a);
      say(a);
      wait(a);
      wait(a);
      fork(a, "child");
      say(a);
      wait(a);
      recordStatus(a);
      children(a, () => {
        hear(a.label("child"));
        exit(a, 1);
      });
    });
    expectOutcomes(await runGuest(guest, { maxProcesses: 3 }), ["EAGAIN", 1 << 8]);
  });
});

describe("vfork(2)", () => {
  guestTest(
    "lets the parent wait until the child, which has its memory, has ended",
    (a) => {
      a.put(WORD, 0);
      ifZero(a.syscall(SYS.vfork), "child");
      recordWord(a, WORD);
      wait(a);
      recordStatus(a);
      children(a, () => {
        a.label("child")
          .put(SET, 0)
          .put(SET + 8, 20_000_000);
        exit(a.syscall(SYS.nanosleep, SET, 0).put(WORD, 5), 2);
      });
    },
    ends([5, 2 << 8]),
  );
});

describe("clone(2)", () => {
  guestTest(
    "CLONE_FILES and CLONE_FS share descriptors and the mask of modes",
    (a) => {
      pipe(a);
      a.syscall(SYS.umask, 0o22);
      ifZero(a.syscall(SYS.clone, CLONE.FILES | CLONE.FS | SIG.CHLD, 0, 0, 0, 0), "child");
      wait(a);
      a.syscall(SYS.close, READ).record();
      a.syscall(SYS.umask, 0).record();
      children(a, () => exit(a.label("child").syscall(SYS.close, READ).syscall(SYS.umask, 0o77), 0));
    },
    ends(["EBADF", 0o77]),
  );

  guestTest(
    "CLONE_VM alone makes a process that runs beside its parent in one memory",
    (a) => {
      a.put(WORD, 0);
      ifZero(a.syscall(SYS.clone, CLONE.VM | SIG.CHLD, DATA + 0x2_0000, 0, 0, 0), "child");
      a.label("loop").load("rax", WORD).bytes(0x48, 0x85, 0xc0).jcc("e", "loop").record();
      wait(a);
      recordStatus(a);
      children(a, () => exit(a.label("child").put(WORD, 4), 1));
    },
    ends([4, 1 << 8]),
  );

  guestTest(
    "tells numbers where it is asked to, and sends what it is asked to at the end",
    (a) => {
      block(a, 10);
      const flags = CLONE.PARENT_SETTID | CLONE.CHILD_SETTID | CLONE.CHILD_CLEARTID | 10;
      ifZero(a.syscall(SYS.clone, flags, 0, WORD, OTHER, 0), "child").copy("rbx", "rax");
      same(a.load32("rcx", WORD), "rcx", "rbx").record();
      // Without SIGCHLD it is nothing that a plain wait waits for.
      a.syscall(SYS.rt_sigtimedwait, SET, INFO, 0, 8).record();
      a.syscall(SYS.wait4, -1, STATUS, 0, 0).record();
      same(a.syscall(SYS.wait4, -1, STATUS, 0x8000_0000, 0), "rax", "rbx").record();
      recordStatus(a);
      children(a, () => {
        a.label("child").syscall(SYS.getpid).load32("rcx", OTHER);
        exitWith(same(a, "rax", "rcx"), "rax");
      });
    },
    ends([1, 10, "ECHILD", 1, 1 << 8]),
  );
});

describe("waiting", () => {
  guestTest(
    "WNOHANG says 0 while nothing has happened; a signal is told as such",
    (a) => {
      pipe(a);
      fork(a, "child");
      wait(a, W.NOHANG).record();
      kill(a, "rbx", SIG.TERM);
      same(wait(a), "rax", "rbx").record();
      recordStatus(a);
      children(a, () => {
        hear(a.label("child"));
        exit(a, 1);
      });
    },
    ends([0, 1, SIG.TERM]),
  );

  guestTest(
    "tells of children that stop and go on",
    (a) => {
      pipe(a);
      fork(a, "child");
      kill(a, "rbx", SIG.STOP);
      wait(a, W.UNTRACED);
      recordStatus(a);
      wait(a, W.UNTRACED | W.NOHANG).record();
      kill(a, "rbx", SIG.CONT);
      wait(a, W.CONTINUED);
      recordStatus(a);
      say(a);
      wait(a);
      recordStatus(a);
      children(a, () => {
        hear(a.label("child"));
        exit(a, 6);
      });
    },
    ends([(SIG.STOP << 8) | 0x7f, 0, 0xffff, 6 << 8]),
  );

  guestTest(
    "WNOWAIT leaves the child to be waited for; what waitid(2) tells",
    (a) => {
      fork(a, "child");
      for (const options of [W.EXITED | W.NOWAIT, W.EXITED]) {
        a.syscall(SYS.waitid, 0, 0, INFO, options, 0).record();
        a.load32("rax", INFO).record();
        a.load32("rax", INFO + 8).record();
        same(a.load32("rcx", INFO + 16), "rcx", "rbx").record();
        a.load32("rax", INFO + 24).record();
      }
      a.syscall(SYS.waitid, 0, 0, INFO, W.EXITED, 0).record();
      children(a, () => exit(a.label("child"), 9));
    },
    ends([0, SIG.CHLD, 1, 1, 9, 0, SIG.CHLD, 1, 1, 9, "ECHILD"]),
  );

  guestTest(
    "with SIGCHLD ignored, or SA_NOCLDWAIT, children leave nothing behind, and who waits is told when the last has gone",
    (a) => {
      for (const [handler, flags] of [
        [1, 0],
        [0, SA_NOCLDWAIT | SA_RESTORER],
      ]) {
        action(a, SIG.CHLD, handler, flags);
        fork(a, "child");
        wait(a).record();
      }
      children(a, () => exit(a.label("child"), 1));
    },
    ends(["ECHILD", "ECHILD"]),
  );

  guestTest(
    "SIGCHLD says who has ended, and how",
    (a) => {
      block(a, SIG.CHLD);
      fork(a, "child");
      a.syscall(SYS.rt_sigtimedwait, SET, INFO, 0, 8).record();
      a.load32("rax", INFO + 8).record();
      same(a.load32("rcx", INFO + 16), "rcx", "rbx").record();
      a.load32("rax", INFO + 24).record();
      wait(a);
      children(a, () => exit(a.label("child"), 7));
    },
    ends([SIG.CHLD, 1, 1, 7]),
  );

  guestTest(
    "a descriptor of a process is readable once it has ended, and sends signals",
    (a) => {
      pipe(a);
      fork(a, "child");
      sys(a.copy("rdi", "rbx").mov("rsi", 0), SYS.pidfd_open).record();
      a.put(SET, 5n | (1n << 32n));
      a.syscall(SYS.poll, SET, 1, 0).record();
      a.syscall(SYS.pidfd_send_signal, 5, SIG.KILL, 0, 0).record();
      a.syscall(SYS.poll, SET, 1, -1).record();
      a.syscall(SYS.waitid, 3, 5, INFO, W.EXITED, 0).record();
      a.load32("rax", INFO + 24).record();
      a.syscall(SYS.pidfd_send_signal, 5, 0, 0, 0).record();
      children(a, () => {
        hear(a.label("child"));
        exit(a, 1);
      });
    },
    ends([5, 0, 0, 1, 0, SIG.KILL, "ESRCH"]),
  );
});

describe("orphans", () => {
  /** A child that makes a grandchild and ends. */
  function middle(a: Assembler, grandchild: () => void): void {
    a.label("child");
    fork(a, "grandchild");
    // The grandchild has come to the point where it waits.
    hear(a);
    exit(a, 1);
    a.label("grandchild");
    grandchild();
  }

  guestTest(
    "become children of the next ancestor that wants them",
    (a) => {
      pipe(a);
      a.syscall(SYS.prctl, PR.SET_CHILD_SUBREAPER, 1).record();
      a.syscall(SYS.getpid).copy("r13", "rax");
      fork(a, "child");
      wait(a);
      recordStatus(a);
      wait(a);
      recordStatus(a);
      wait(a).record();
      children(a, () =>
        middle(a, () => {
          say(a);
          a.label("again").syscall(24).syscall(SYS.getppid).cmp("rax", "r13").jcc("ne", "again");
          exit(a, 2);
        }),
      );
    },
    ends([0, 1 << 8, 2 << 8, "ECHILD"]),
  );

  guestTest(
    "get the signal that they have asked for",
    (a) => {
      pipe(a);
      a.syscall(SYS.prctl, PR.SET_CHILD_SUBREAPER, 1);
      fork(a, "child");
      wait(a);
      wait(a);
      recordStatus(a);
      children(a, () =>
        middle(a, () => {
          a.syscall(SYS.prctl, PR.SET_PDEATHSIG, SIG.TERM);
          say(a);
          a.label("again").syscall(24).jmp("again");
        }),
      );
    },
    ends([SIG.TERM]),
  );
});

describe("groups and sessions", () => {
  guestTest(
    "a group is killed as one",
    (a) => {
      fork(a, "child", "rbx");
      sys(a.copy("rdi", "rbx").copy("rsi", "rbx"), SYS.setpgid).record();
      fork(a, "child", "r13");
      sys(a.copy("rdi", "r13").copy("rsi", "rbx"), SYS.setpgid).record();
      same(sys(a.copy("rdi", "r13"), SYS.getpgid), "rax", "rbx").record();
      a.mov("rcx", 0).sub("rcx", "rbx").copy("r12", "rcx");
      kill(a, "r12", SIG.TERM).record();
      sys(a.copy("rdi", "r12").mov("rsi", STATUS).mov("rdx", 0).mov("r10", 0), SYS.wait4);
      recordStatus(a);
      wait(a);
      recordStatus(a);
      kill(a, "r12", 0).record();
      children(a, () => a.label("child").syscall(24).jmp("child"));
    },
    ends([0, 0, 1, 0, SIG.TERM, SIG.TERM, "ESRCH"]),
  );

  guestTest(
    "a session of one's own; what setpgid(2) refuses",
    (a) => {
      pipe(a);
      fork(a, "child");
      hear(a);
      same(sys(a.copy("rdi", "rbx"), SYS.getsid), "rax", "rbx").record();
      sys(a.copy("rdi", "rbx").mov("rsi", 0), SYS.setpgid).record();
      kill(a, "rbx", SIG.KILL);
      wait(a);
      sys(a.copy("rdi", "rbx").mov("rsi", 0), SYS.setpgid).record();
      a.syscall(SYS.setpgid, 0, -1).record();
      children(a, () => {
        a.label("child").syscall(SYS.setsid);
        say(a);
        a.label("again").syscall(24).jmp("again");
      });
    },
    ends([1, "EPERM", "ESRCH", "EINVAL"]),
  );
});

describe("what processes share", () => {
  const map = (a: Assembler, flags: number, fd: number): Assembler =>
    a.syscall(SYS.mmap, SHARED, 0x2000, 3, flags | 0x10, fd, 0);
  const MAP = { SHARED: 1, PRIVATE: 2, ANONYMOUS: 0x20 } as const;
  const FUTEX = { WAIT: 0, WAKE: 1 } as const;

  /** Parent and child store to a mapping in turn, and wait for each other by a futex there. */
  function pingPong(a: Assembler): void {
    const turn = (mine: number, next: number): void => {
      const [again, done] = [a.fresh(), a.fresh()];
      a.label(again).load32("rax", SHARED).mov("rcx", mine).cmp("rax", "rcx").jcc("e", done);
      sys(a.copy("rdx", "rax").mov("rdi", SHARED).mov("rsi", FUTEX.WAIT).mov("r10", 0), SYS.futex).jmp(again);
      a.label(done)
        .load("rax", SHARED + 0x1000)
        .mov("rcx", 1)
        .add("rax", "rcx")
        .store(SHARED + 0x1000, "rax");
      a.put32(SHARED, next).syscall(SYS.futex, SHARED, FUTEX.WAKE, 1);
    };
    fork(a, "child");
    for (let i = 0; i < 5; i++) turn(2 * i, 2 * i + 1);
    wait(a);
    recordStatus(a);
    recordWord(a, SHARED + 0x1000);
    children(a, () => {
      a.label("child");
      for (let i = 0; i < 5; i++) turn(2 * i + 1, 2 * i + 2);
      exit(a, 0);
    });
  }

  guestTest(
    "anonymous memory, and futexes in it",
    (a) => {
      map(a, MAP.SHARED | MAP.ANONYMOUS, -1);
      pingPong(a);
    },
    ends([0, 10]),
  );

  guestTest(
    "a mapped memfd, and futexes in it",
    (a) => {
      a.put(NAME, 0x78).syscall(SYS.memfd_create, NAME, 0).syscall(SYS.ftruncate, 3, 0x2000);
      map(a, MAP.SHARED, 3);
      pingPong(a);
    },
    ends([0, 10]),
  );

  guestTest(
    "offsets of open files, but not private mappings of them",
    (a) => {
      a.put(NAME, 0x78).syscall(SYS.memfd_create, NAME, 0).syscall(SYS.ftruncate, 3, 0x2000);
      map(a, MAP.PRIVATE, 3);
      a.put(SHARED, 0x41);
      fork(a, "child");
      wait(a);
      recordStatus(a);
      recordWord(a, SHARED);
      // The child has written one byte before.
      a.syscall(SYS.write, 3, BYTE, 1);
      a.syscall(8, 3, 0, 1).record();
      children(a, () => {
        a.label("child").load("rbx", SHARED).put(SHARED, 0x42).syscall(SYS.write, 3, BYTE, 1);
        exitWith(a, "rbx");
      });
    },
    ends([0x41 << 8, 0x41, 2]),
  );

  guestTest(
    "sockets that listen: a child accepts on its parent's",
    (a) => {
      // AF_UNIX, an abstract name of its own in case two of these tests run at a time.
      a.syscall(SYS.getpid).bytes(0x48, 0xc1, 0xe0, 24).mov("rcx", 1).add("rax", "rcx").store(NAME, "rax");
      a.syscall(SYS.socket, 1, 1, 0).syscall(SYS.bind, 3, NAME, 8).syscall(SYS.listen, 3, 5).record();
      fork(a, "child");
      a.syscall(SYS.socket, 1, 1, 0).syscall(SYS.connect, 4, NAME, 8).record();
      a.storeByte(BYTE, 77).syscall(SYS.write, 4, BYTE, 1).record();
      wait(a);
      recordStatus(a);
      children(a, () => {
        a.label("child").syscall(SYS.accept, 3, 0, 0).syscall(SYS.read, 4, BYTE, 1);
        exitWith(a.load32("rdi", BYTE), "rdi");
      });
    },
    ends([0, 0, 1, 77 << 8]),
  );

  guestTest(
    "but not record locks",
    (a) => {
      const lock = (command: number, type: number): Assembler =>
        a
          .put(LOCK, type)
          .put(LOCK + 8, 0)
          .put(LOCK + 16, 0)
          .syscall(SYS.fcntl, 3, command, LOCK);
      const [GETLK, SETLK, SETLKW, WRLCK] = [5, 6, 7, 1];
      a.put(NAME, 0x78).syscall(SYS.memfd_create, NAME, 0);
      a.syscall(SYS.pipe2, FDS, 0).syscall(SYS.getpid).copy("r13", "rax");
      lock(SETLK, WRLCK).record();
      fork(a, "child");
      a.syscall(SYS.read, 4, BYTE, 1);
      // The child waits, and is granted the lock.
      lock(SETLK, 2).record();
      wait(a);
      recordStatus(a);
      children(a, () => {
        a.label("child");
        lock(GETLK, WRLCK);
        same(a.load32("rcx", LOCK + 24), "rcx", "r13").copy("r14", "rax");
        lock(SETLK, WRLCK).add("r14", "rax");
        a.syscall(SYS.write, 5, BYTE, 1);
        lock(SETLKW, WRLCK).add("r14", "rax").mov("rcx", 11).add("r14", "rcx");
        exitWith(a, "r14");
      });
    },
    // 1 for the owner's number, EAGAIN for the lock that is not to be had (-11, made up for), 0 for the one that is.
    ends([0, 0, 1 << 8]),
  );
});

it("is over when the last process has ended, with the status of the first", async () => {
  const guest = buildGuest((a) => {
    fork(a, "child");
    exit(a, 4);
    a.label("child")
      .put(SET, 0)
      .put(SET + 8, 5_000_000);
    a.syscall(SYS.nanosleep, SET, 0).storeByte(BYTE, 0x41).syscall(SYS.write, 1, BYTE, 1);
    exit(a, 5);
  });
  const run = await runGuest(guest);
  expect(run.status).toEqual({ kind: "exited", status: 4 });
  expect(new TextDecoder().decode(run.stdout)).toBe("A");
  expect(run.words.map(outcome)).toEqual([]);
});
