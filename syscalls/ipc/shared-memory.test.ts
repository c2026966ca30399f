// System V shared memory: segments by key, shared between processes, gone when nobody has them.
import { describe } from "vitest";
import { guestTest } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";
import {
  children,
  ends,
  exit,
  exitWith,
  fork,
  OTHER,
  recordStatus,
  SET,
  sys,
  WORD,
  wait,
} from "../testing/processes.ts";
import { IPC } from "./objects.ts";

const SHM = { get: 29, at: 30, ctl: 31, dt: 67 } as const;
const RDONLY = 0o10000;
/** Where it is attached, and once more. */
const HERE = 0x3000_0000;
const THERE = 0x3100_0000;

describe("System V shared memory", () => {
  guestTest(
    "is one memory for all who attach it, and for those who were forked",
    (a) => {
      a.syscall(SHM.get, IPC.PRIVATE, 10_000, 0o600).copy("rbx", "rax");
      const attach = (address: number, flags: number): unknown =>
        sys(a.copy("rdi", "rbx").mov("rsi", address).mov("rdx", flags), SHM.at);
      attach(HERE, 0);
      a.record();
      attach(THERE, RDONLY);
      a.record();
      attach(HERE + 1, 0);
      a.record();
      attach(HERE, 0);
      a.record();
      a.put(HERE + 5000, 42)
        .load("rax", THERE + 5000)
        .record();
      fork(a, "child", "r12");
      wait(a);
      recordStatus(a);
      a.load("rax", THERE).record();
      sys(a.copy("rdi", "rbx").mov("rsi", IPC.STAT).mov("rdx", SET), SHM.ctl).record();
      recordWord(a, SET + 48);
      recordWord(a, SET + 88);
      a.syscall(SHM.dt, THERE).record();
      a.syscall(SHM.dt, THERE).record();
      sys(a.copy("rdi", "rbx").mov("rsi", IPC.RMID).mov("rdx", 0), SHM.ctl).record();
      a.put(HERE, 8).load("rax", HERE).record();
      sys(a.copy("rdi", "rbx").mov("rsi", IPC.STAT).mov("rdx", SET), SHM.ctl).record();
      recordWord(a, SET + 88);
      a.syscall(SHM.dt, HERE).record();
      sys(a.copy("rdi", "rbx").mov("rsi", IPC.STAT).mov("rdx", SET), SHM.ctl).record();
      children(a, () => {
        a.label("child")
          .put(HERE, 7)
          .load("rdi", THERE + 5000);
        exitWith(a, "rdi");
      });
    },
    ends([
      ...[HERE, THERE, "EINVAL", "EINVAL", 42, 42 << 8, 7, 0, 10_000, 2],
      ...[0, "EINVAL", 0, 8, 0, 1, 0, "EINVAL"],
    ]),
  );

  guestTest(
    "is found by its key, and keeps what was stored while nobody has it",
    (a) => {
      // A key that nobody else on the host is likely to have: the process's number.
      a.syscall(39).copy("r13", "rax");
      const get = (size: number, flags: number): void => {
        sys(a.copy("rdi", "r13").mov("rsi", size).mov("rdx", flags), SHM.get);
      };
      get(4096, 0o600);
      a.record();
      get(0, IPC.CREAT | 0o600);
      a.record();
      get(4096, IPC.CREAT | IPC.EXCL | 0o600);
      a.copy("rbx", "rax");
      get(4096, IPC.CREAT | IPC.EXCL | 0o600);
      a.record();
      get(8192, IPC.CREAT | 0o600);
      a.record();
      sys(a.copy("rdi", "rbx").mov("rsi", HERE).mov("rdx", 0), SHM.at);
      a.put(HERE + 8, 99).syscall(SHM.dt, HERE);
      fork(a, "child", "r12");
      wait(a);
      recordStatus(a);
      sys(a.copy("rdi", "rbx").mov("rsi", IPC.RMID).mov("rdx", 0), SHM.ctl).record();
      get(4096, 0o600);
      a.record();
      a.put(WORD, 0).put(OTHER, 0);
      children(a, () => {
        a.label("child");
        get(100, 0);
        sys(a.copy("rdi", "rax").mov("rsi", HERE).mov("rdx", 0), SHM.at);
        a.load("rdi", HERE + 8);
        exitWith(a, "rdi");
        exit(a, 1);
      });
    },
    ends(["ENOENT", "EINVAL", "EEXIST", "EINVAL", 99 << 8, 0, "ENOENT"]),
  );
});
