// Guests that make processes: the calls and the little conversations that their tests are made of.

import type { Assembler, Register } from "./assembler.ts";
import { DATA, expectOutcomes, type GuestRun } from "./guest.ts";
import { recordWord } from "./handlers.ts";

export const SYS = {
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
export const SIG = { KILL: 9, TERM: 15, CHLD: 17, CONT: 18, STOP: 19 } as const;
export const W = { NOHANG: 1, UNTRACED: 2, EXITED: 4, CONTINUED: 8, NOWAIT: 0x100_0000 } as const;
export const SA_NOCLDWAIT = 2;
export const SA_RESTORER = 0x400_0000;
export const PR = { SET_PDEATHSIG: 1, SET_CHILD_SUBREAPER: 36 } as const;

export const WORD = DATA;
export const OTHER = DATA + 8;
export const STATUS = DATA + 0x10;
export const FDS = DATA + 0x20;
export const BYTE = DATA + 0x30;
export const SET = DATA + 0x40;
export const ACTION = DATA + 0x80;
export const INFO = DATA + 0x100;
export const NAME = DATA + 0x200;
export const LOCK = DATA + 0x300;
/** Where a shared mapping goes. */
export const SHARED = 0x1000_0000;
/** The first pipe's ends, as all tests have nothing else open. */
export const [READ, WRITE] = [3, 4];

/** SYSCALL with what is in the argument registers. */
export const sys = (a: Assembler, number: number): Assembler => a.mov("rax", number).bytes(0x0f, 0x05);

/** Jumps if a call has returned 0. */
export const ifZero = (a: Assembler, label: string): Assembler => a.bytes(0x48, 0x85, 0xc0).jcc("e", label);

/** Makes a child that goes on at a label; its number is in a register that calls leave alone. */
export const fork = (a: Assembler, label: string, pid: Register = "rbx"): Assembler =>
  ifZero(a.syscall(SYS.fork), label).copy(pid, "rax");

/** Waits for any child; what wait4 returns is in RAX, the status in STATUS. */
export const wait = (a: Assembler, options = 0): Assembler =>
  a.put(STATUS, 0).syscall(SYS.wait4, -1, STATUS, options, 0);

/** Records the status that `wait` has stored. */
export const recordStatus = (a: Assembler): Assembler => {
  recordWord(a, STATUS);
  return a;
};

export const pipe = (a: Assembler): Assembler => a.syscall(SYS.pipe2, FDS, 0);
/** Waits until the other one has said something; says something. */
export const hear = (a: Assembler): Assembler => a.syscall(SYS.read, READ, BYTE, 1);
export const say = (a: Assembler): Assembler => a.syscall(SYS.write, WRITE, BYTE, 1);
export const exit = (a: Assembler, status: number): Assembler => a.syscall(SYS.exit_group, status);
/** Ends with what is in a register. */
export const exitWith = (a: Assembler, register: Register): Assembler => sys(a.copy("rdi", register), SYS.exit_group);

/** Sends a signal to the process whose number is in a register. */
export const kill = (a: Assembler, pid: Register, signal: number): Assembler =>
  sys(a.copy("rdi", pid).mov("rsi", signal), SYS.kill);

/** 1 in RAX if two registers are the same, else 0. */
export function same(a: Assembler, left: Register, right: Register): Assembler {
  const done = a.fresh();
  a.cmp(left, right).mov("rax", 1).jcc("e", done).mov("rax", 0);
  return a.label(done);
}

export function action(a: Assembler, signal: number, handler: number, flags: number): void {
  a.put(ACTION, handler)
    .put(ACTION + 8, flags)
    .put(ACTION + 16, 0)
    .put(ACTION + 24, 0)
    .syscall(SYS.rt_sigaction, signal, ACTION, 0, 8);
}

export const block = (a: Assembler, signal: number): Assembler =>
  a.put(SET, 1n << BigInt(signal - 1)).syscall(SYS.rt_sigprocmask, 0, SET, 0, 8);

/** Everything behind the end of the parent's part: children. */
export function children(a: Assembler, ...parts: (() => unknown)[]): void {
  a.jmp("finish");
  for (const part of parts) part();
}

export const ends = (expected: readonly (string | number)[]) => (run: GuestRun) => expectOutcomes(run, expected);
