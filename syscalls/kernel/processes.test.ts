import { describe, expect, it } from "vitest";
import type { Assembler } from "../testing/assembler.ts";
import { buildGuest, DATA, expectOutcomes, guestTest, outcome, runGuest } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";
import {
  action,
  BYTE,
  block,
  children,
  ends,
  exit,
  exitWith,
  fork,
  hear,
  INFO,
  ifZero,
  kill,
  OTHER,
  PR,
  pipe,
  READ,
  recordStatus,
  SA_NOCLDWAIT,
  SA_RESTORER,
  SET,
  SIG,
  STATUS,
  SYS,
  same,
  say,
  sys,
  W,
  WORD,
  wait,
} from "../testing/processes.ts";
import { CLONE } from "../threads/clone-flags.ts";

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
