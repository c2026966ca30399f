import { describe } from "vitest";
import type { Assembler } from "../testing/assembler.ts";
import { guestTest } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";
import {
  BYTE,
  children,
  ends,
  exit,
  exitWith,
  FDS,
  fork,
  LOCK,
  NAME,
  recordStatus,
  SHARED,
  SYS,
  same,
  sys,
  wait,
} from "../testing/processes.ts";

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
