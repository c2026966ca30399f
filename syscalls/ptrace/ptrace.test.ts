// ptrace(2): a guest that traces its child, held against the host's kernel.
import type { Assembler } from "../testing/assembler.ts";
import { DATA, expectOutcomes, guestTest } from "../testing/guest.ts";
import { children, exit, fork, ifZero, recordStatus, STATUS, SYS, sys, wait } from "../testing/processes.ts";

const PTRACE = 101;
const R = {
  PEEK: 1,
  USER: 3,
  POKE: 4,
  CONT: 7,
  KILL: 8,
  STEP: 9,
  SYSCALL: 24,
  OPTIONS: 0x4200,
  MESSAGE: 0x4201,
} as const;
const VALUE = DATA + 0x400;
const OUT = DATA + 0x408;
/** Where struct user_regs_struct has these. */
const USER = { rax: 80, rdi: 112, call: 120 } as const;

/** A request for the child in RBX. */
const request = (a: Assembler, what: number, address: number | string = 0, data: number | bigint = 0): Assembler =>
  sys(a.mov("rdi", what).copy("rsi", "rbx").mov("rdx", address).mov("r10", data), PTRACE);
const go = (a: Assembler, how: number = R.CONT, signal = 0): void => {
  request(a, how, 0, signal);
  wait(a);
  recordStatus(a);
};
const user = (a: Assembler, at: number): void => {
  request(a, R.USER, at, OUT);
  a.load("rax", OUT).record();
};
const traceMe = (a: Assembler): void => {
  a.label("child").syscall(PTRACE, 0, 0, 0, 0);
  sys(sys(a, SYS.getpid).copy("rdi", "rax").mov("rsi", 19), SYS.kill);
};
const begin = (a: Assembler): void => {
  fork(a, "child");
  wait(a);
  recordStatus(a);
};

guestTest(
  "memory of a traced child is read and written, and signals are kept from it",
  (a) => {
    a.put(VALUE, 7);
    begin(a);
    a.put(VALUE, 1);
    request(a, R.PEEK, VALUE, OUT).record();
    a.load("rax", OUT).record();
    request(a, R.POKE, VALUE, 9).record();
    request(a, R.PEEK, 0x10, OUT).record();
    request(a, 0x7777).record();
    go(a);
    go(a);
    request(a, R.CONT).record();
    children(a, () => {
      traceMe(a);
      sys(sys(a, SYS.getpid).copy("rdi", "rax").mov("rsi", 15), SYS.kill);
      a.load("rdi", VALUE);
      sys(a, SYS.exit_group);
    });
  },
  (run) => expectOutcomes(run, [0x137f, 0, 7, 0, "EIO", "EIO", 0x0f7f, 0x0900, "ESRCH"]),
);

guestTest(
  "a child stops before and after each system call, whose number and result can be another",
  (a) => {
    begin(a);
    request(a, R.OPTIONS, 0, 1).record();
    go(a, R.SYSCALL);
    user(a, USER.call);
    user(a, USER.rdi);
    user(a, USER.rax);
    go(a, R.SYSCALL);
    user(a, USER.rax);
    go(a, R.SYSCALL);
    // No call, and a result of our own.
    request(a, 6, USER.call, -1n);
    request(a, 6, USER.rax, 5);
    go(a, R.SYSCALL);
    go(a, R.CONT);
    children(a, () => {
      traceMe(a);
      a.syscall(SYS.umask, 0o22);
      sys(a.syscall(SYS.getpid).copy("rdi", "rax"), SYS.exit_group);
    });
  },
  (run) => expectOutcomes(run, [0x137f, 0, 0x857f, SYS.umask, 0o22, "ENOSYS", 0x857f, 0o22, 0x857f, 0x857f, 0x0500]),
);

guestTest(
  "code that a tracer has changed is run as it is then, breakpoints and single steps among it",
  (a) => {
    begin(a);
    // The loop runs once more with another constant: MOV EDI, 3.
    request(a, R.POKE, "patched", 0x9090_9000_0000_03bfn).record();
    go(a);
    go(a, R.STEP);
    go(a, R.CONT);
    children(a, () => {
      a.call("work");
      a.call("work");
      traceMe(a);
      a.call("work");
      a.bytes(0xcc).bytes(0x90);
      exit2(a);
      a.label("work");
      a.label("patched").bytes(0xbf, 2, 0, 0, 0, 0x90, 0x90, 0x90).ret();
    });
  },
  (run) => expectOutcomes(run, [0x137f, 0, 0x057f, 0x057f, 0x0300]),
);

function exit2(a: Assembler): void {
  sys(a, SYS.exit_group);
}

guestTest(
  "a child that forks tells its tracer, who traces the new one too",
  (a) => {
    begin(a);
    request(a, R.OPTIONS, 0, 2 | 0x10_0000).record();
    go(a);
    request(a, R.MESSAGE, 0, OUT).record();
    a.load("rbp", OUT);
    // The new one has SIGSTOP before it.
    sys(a.put(STATUS, 0).copy("rdi", "rbp").mov("rsi", STATUS).mov("rdx", 0x4000_0000).mov("r10", 0), SYS.wait4);
    recordStatus(a);
    a.copy("r12", "rbx").copy("rbx", "rbp");
    request(a, R.CONT);
    sys(a.put(STATUS, 0).copy("rdi", "rbp").mov("rsi", STATUS).mov("rdx", 0x4000_0000).mov("r10", 0), SYS.wait4);
    recordStatus(a);
    children(a, () => {
      traceMe(a);
      ifZero(a.syscall(SYS.fork), "grandchild");
      wait(a);
      exit(a, 4);
      a.label("grandchild");
      exit(a, 3);
    });
  },
  (run) => expectOutcomes(run, [0x137f, 0, 0x1057f, 0, 0x137f, 0x0300]),
);
