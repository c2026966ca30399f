import { describe, expect } from "vitest";
import { SI_QUEUE, SI_TKILL, SI_USER, SIG_BLOCK, SIGNAL } from "../abi/signals.ts";
import type { Assembler } from "../testing/assembler.ts";
import { DATA, expectOutcomes, guestTest, outcome } from "../testing/guest.ts";
import { raise, recordWord, setMask } from "../testing/handlers.ts";

const { SIGKILL, SIGUSR1, SIGUSR2, SIGALRM } = SIGNAL;
const RT = 40;
const SYS = {
  read: 0,
  poll: 7,
  getpid: 39,
  setitimer: 38,
  kill: 62,
  rt_sigpending: 127,
  rt_sigqueueinfo: 129,
  epoll_wait: 232,
  epoll_ctl: 233,
  signalfd: 282,
  signalfd4: 289,
  epoll_create1: 291,
} as const;
const [NONBLOCK, CLOEXEC] = [0o4000, 0o2000000];
const FD = 3;
const [SET, BUFFER] = [DATA + 0x100, DATA + 0x1000];

const setOf = (...signals: readonly number[]): bigint =>
  signals.reduce((bits, signal) => bits | (1n << BigInt(signal - 1)), 0n);

const make = (a: Assembler, fd: number, flags: number, ...signals: readonly number[]): Assembler =>
  a.put(SET, setOf(...signals)).syscall(SYS.signalfd4, fd, SET, 8, flags);

/** kill(2) of the guest itself. */
function killSelf(a: Assembler, signal: number): Assembler {
  a.syscall(SYS.getpid).copy("rdi", "rax").mov("rsi", signal);
  return a.mov("rax", SYS.kill).bytes(0x0f, 0x05);
}

/** Records signal and code of the record at an address. */
function recordInfo(a: Assembler, at: number): void {
  a.load32("rax", at).record();
  a.load32("rax", at + 8).record();
}

const code = (value: number): number => value >>> 0;

describe("signalfd", () => {
  guestTest(
    "refuses sizes, flags and descriptors that are none of its own",
    (a) => {
      a.put(SET, setOf(SIGUSR1)).syscall(SYS.signalfd4, -1, SET, 4, 0).record();
      a.syscall(SYS.signalfd4, -1, 0x10, 8, 0).record();
      a.syscall(SYS.signalfd4, -1, SET, 8, 1).record();
      a.syscall(SYS.signalfd4, 77, SET, 8, 0).record();
      a.syscall(SYS.signalfd4, 1, SET, 8, 0).record();
      make(a, -1, NONBLOCK | CLOEXEC, SIGUSR1, SIGKILL).record();
      a.syscall(72, FD, 1).record(); // F_GETFD
      a.syscall(SYS.read, FD, BUFFER, 127).record();
      a.syscall(SYS.read, FD, BUFFER, 128).record();
      a.syscall(1, FD, BUFFER, 128).record();
      a.syscall(SYS.signalfd, -1, SET, 8).record();
    },
    (run) =>
      expectOutcomes(run, [
        ...["EINVAL", "EFAULT", "EINVAL", "EBADF", "EINVAL", FD, 1, "EINVAL", "EAGAIN", "EINVAL", 4],
      ]),
  );

  guestTest(
    "gives several signals a read, the thread's before the process's, with who sent them and what",
    (a) => {
      setMask(a, SIG_BLOCK, SIGUSR1, SIGUSR2, RT);
      make(a, -1, NONBLOCK, SIGUSR1, SIGUSR2, RT).record();
      killSelf(a, SIGUSR1).record();
      raise(a, SIGUSR2).record();
      a.put32(DATA + 0x208, SI_QUEUE)
        .put32(DATA + 0x210, 11)
        .put32(DATA + 0x214, 12)
        .put(DATA + 0x218, 0x1234_5678_9abcn);
      a.syscall(SYS.getpid).copy("rdi", "rax").mov("rsi", RT);
      a.mov("rdx", DATA + 0x200)
        .mov("rax", SYS.rt_sigqueueinfo)
        .bytes(0x0f, 0x05)
        .record();
      a.syscall(SYS.read, FD, BUFFER, 1000).record();
      for (let i = 0; i < 3; i++) recordInfo(a, BUFFER + 128 * i);
      // pid and uid of the queued one, int, pointer.
      for (const at of [12, 16, 44]) a.load32("rax", BUFFER + 256 + at).record();
      recordWord(a, BUFFER + 256 + 48);
      // The first one's sender is the guest itself.
      a.syscall(SYS.getpid)
        .load32("rcx", BUFFER + 12)
        .sub("rax", "rcx")
        .record();
      a.syscall(SYS.read, FD, BUFFER, 1000).record();
    },
    (run) =>
      expectOutcomes(run, [
        ...[FD, 0, 0, 0, 384, SIGUSR2, code(SI_TKILL), SIGUSR1, code(SI_USER), RT, code(SI_QUEUE)],
        ...[11, 12, 0x5678_9abc, 0x1234_5678_9abc, 0, "EAGAIN"],
      ]),
  );

  guestTest(
    "takes only the signals of its set, which can be changed",
    (a) => {
      setMask(a, SIG_BLOCK, SIGUSR1, SIGUSR2);
      make(a, -1, NONBLOCK, SIGUSR1).record();
      raise(a, SIGUSR2).record();
      a.syscall(SYS.read, FD, BUFFER, 128).record();
      make(a, FD, 0, SIGUSR2).record();
      a.syscall(SYS.read, FD, BUFFER, 128).record();
      recordInfo(a, BUFFER);
      a.syscall(SYS.rt_sigpending, DATA, 8);
      recordWord(a, DATA);
    },
    (run) => expectOutcomes(run, [FD, 0, "EAGAIN", FD, 128, SIGUSR2, code(SI_TKILL), 0]),
  );

  guestTest(
    "a read waits for a signal; what does not fit stays pending",
    (a) => {
      setMask(a, SIG_BLOCK, SIGALRM, SIGUSR1);
      make(a, -1, 0, SIGALRM, SIGUSR1).record();
      for (const [i, word] of [0, 0, 0, 20_000].entries()) a.put(DATA + 0x200 + i * 8, word);
      a.syscall(SYS.setitimer, 0, DATA + 0x200, 0).record();
      a.syscall(SYS.read, FD, BUFFER, 255).record();
      recordInfo(a, BUFFER);
      raise(a, SIGUSR1);
      killSelf(a, SIGALRM);
      a.syscall(SYS.read, FD, BUFFER, 128).record();
      recordInfo(a, BUFFER);
      a.syscall(SYS.read, FD, BUFFER, 128).record();
      recordInfo(a, BUFFER);
    },
    (run) =>
      expectOutcomes(run, [
        ...[FD, 0, 128, SIGALRM, code(0x80), 128, SIGUSR1, code(SI_TKILL), 128, SIGALRM, code(SI_USER)],
      ]),
  );

  guestTest(
    "poll and epoll tell that there are signals",
    (a) => {
      setMask(a, SIG_BLOCK, SIGUSR1, SIGALRM);
      make(a, -1, NONBLOCK, SIGUSR1, SIGALRM).record();
      a.syscall(SYS.epoll_create1, 0).record();
      a.put32(DATA + 0x40, 1).put(DATA + 0x44, 78);
      a.syscall(SYS.epoll_ctl, 4, 1, FD, DATA + 0x40).record();
      a.syscall(SYS.epoll_wait, 4, DATA + 0x60, 4, 0).record();
      for (const [i, word] of [0, 0, 0, 20_000].entries()) a.put(DATA + 0x200 + i * 8, word);
      a.syscall(SYS.setitimer, 0, DATA + 0x200, 0).record();
      a.syscall(SYS.epoll_wait, 4, DATA + 0x60, 4, 10_000).record();
      recordWord(a, DATA + 0x64);
      a.put32(DATA, FD).put32(DATA + 4, 1);
      a.syscall(SYS.poll, DATA, 1, 0).record();
      a.syscall(SYS.read, FD, BUFFER, 128).record();
      a.syscall(SYS.epoll_wait, 4, DATA + 0x60, 4, 0).record();
      raise(a, SIGUSR1);
      a.syscall(SYS.epoll_wait, 4, DATA + 0x60, 4, 0).record();
    },
    ({ words, status }) => {
      expect(words.map(outcome)).toEqual([FD, 4, 0, 0, 0, 1, 78, 1, 128, 0, 1]);
      expect(status).toEqual({ kind: "exited", status: 0 });
    },
  );
});
