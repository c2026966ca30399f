// Files that tell their owner by signals: F_SETOWN, F_SETSIG, O_ASYNC, FIOASYNC.
import { describe } from "vitest";
import * as abi from "../abi/fcntl.ts";
import { O_ASYNC, O_NONBLOCK } from "../abi/fcntl.ts";
import { FIOASYNC, SIOCGPGRP, SIOCSPGRP } from "../abi/ioctl.ts";
import { SI_KERNEL, SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { guestTest } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";
import {
  children,
  ends,
  exit,
  FDS,
  fork,
  INFO,
  OTHER,
  pipe,
  READ,
  SET,
  SYS,
  say,
  sys,
  WORD,
  WRITE,
  wait,
} from "../testing/processes.ts";

const IOCTL = 16;
const SOCKETPAIR = 53;
const RT_SIGNAL = 40;

/** Blocks SIGIO and a real-time signal, which are waited for then. */
function hold(a: Assembler): void {
  const mask = (1n << BigInt(SIGNAL.SIGIO - 1)) | (1n << BigInt(RT_SIGNAL - 1));
  a.put(SET, mask).syscall(SYS.rt_sigprocmask, 0, SET, 0, 8);
}

/** Records which signal has come, -EAGAIN if none has. */
function recordSignal(a: Assembler): Assembler {
  a.put(WORD, 0).put(OTHER, 0);
  return a.syscall(SYS.rt_sigtimedwait, SET, INFO, WORD, 8).record();
}

/** fcntl(2) with the number of the process as its third argument. */
const own = (a: Assembler, fd: number, command = abi.F_SETOWN): Assembler =>
  sys(a.syscall(SYS.getpid).copy("rdx", "rax").mov("rdi", fd).mov("rsi", command), SYS.fcntl);

describe("signal-driven input and output", () => {
  guestTest(
    "SIGIO tells of input in a pipe, to whoever owns it",
    (a) => {
      hold(a);
      pipe(a);
      a.syscall(SYS.fcntl, READ, abi.F_SETFL, O_ASYNC).record();
      say(a);
      recordSignal(a);
      own(a, READ).record();
      say(a);
      recordSignal(a);
      a.load32("rax", INFO + 8).record();
      recordSignal(a);
      a.syscall(SYS.fcntl, READ, abi.F_SETFL, 0);
      say(a);
      recordSignal(a);
    },
    ends([0, "EAGAIN", 0, SIGNAL.SIGIO, SI_KERNEL, "EAGAIN", "EAGAIN"]),
  );

  guestTest(
    "a signal of one's own says which descriptor, and what is there",
    (a) => {
      hold(a);
      a.syscall(SOCKETPAIR, 1, 1, 0, FDS);
      own(a, READ);
      a.syscall(SYS.fcntl, READ, abi.F_SETSIG, RT_SIGNAL).record();
      a.syscall(SYS.fcntl, READ, abi.F_GETSIG, 0).record();
      a.syscall(SYS.fcntl, READ, abi.F_SETSIG, 65).record();
      a.put(WORD, 1).syscall(IOCTL, READ, FIOASYNC, WORD).record();
      a.syscall(SYS.fcntl, READ, abi.F_GETFL, 0).record();
      say(a);
      recordSignal(a);
      a.load32("rax", INFO + 8).record();
      recordWord(a, INFO + 16);
      a.load32("rax", INFO + 24).record();
    },
    ends([0, RT_SIGNAL, "EINVAL", 0, 2 | O_ASYNC, RT_SIGNAL, 1, 0x41, READ]),
  );

  guestTest(
    "room for more is told once there was none",
    (a) => {
      hold(a);
      pipe(a);
      own(a, WRITE);
      a.syscall(SYS.fcntl, WRITE, abi.F_SETSIG, RT_SIGNAL);
      a.syscall(SYS.fcntl, WRITE, abi.F_SETFL, O_ASYNC | O_NONBLOCK);
      a.syscall(SYS.write, WRITE, SET, 0x1_0000).record();
      recordSignal(a);
      a.syscall(SYS.read, READ, SET + 0x1_0000, 0x1_0000).record();
      a.put(SET, 1n << BigInt(RT_SIGNAL - 1));
      recordSignal(a);
      a.load32("rax", INFO + 8).record();
      recordWord(a, INFO + 16);
      a.load32("rax", INFO + 24).record();
    },
    ends([0x1_0000, "EAGAIN", 0x1_0000, RT_SIGNAL, 2, 0x304, WRITE]),
  );

  guestTest(
    "the owner is a process, a group, or nobody, and may be another process",
    (a) => {
      hold(a);
      pipe(a);
      a.syscall(SYS.fcntl, READ, abi.F_GETOWN, 0).record();
      a.syscall(SYS.fcntl, READ, abi.F_SETOWN, 0x3fff_fff0).record();
      a.syscall(IOCTL, READ, SIOCGPGRP, WORD).record();
      a.put(WORD, 3n).syscall(SYS.fcntl, READ, abi.F_SETOWN_EX, WORD).record();
      own(a, READ);
      a.syscall(SYS.fcntl, READ, abi.F_GETOWN_EX, WORD);
      a.load32("rax", WORD).record();
      a.syscall(SYS.fcntl, READ, abi.F_SETFL, O_ASYNC);
      fork(a, "child");
      wait(a);
      recordSignal(a);
      a.syscall(SOCKETPAIR, 1, 1, 0, FDS);
      a.put(WORD, 0).syscall(IOCTL, 5, SIOCSPGRP, WORD).record();
      a.syscall(SYS.fcntl, 5, abi.F_GETOWN, 0).record();
      children(a, () => {
        a.label("child");
        exit(say(a), 0);
      });
    },
    ends([0, "ESRCH", "ENOTTY", "EINVAL", 1, SIGNAL.SIGIO, 0, 0]),
  );

  guestTest(
    "files that have none refuse it, or take the flag",
    (a) => {
      a.syscall(SYS.memfd_create, FDS, 0);
      a.put(WORD, 1).syscall(IOCTL, READ, FIOASYNC, WORD).record();
      a.syscall(SYS.fcntl, READ, abi.F_SETFL, O_ASYNC).record();
    },
    ends(["ENOTTY", 0]),
  );
});
