// System V semaphores and message queues.
import { describe } from "vitest";
import type { Assembler } from "../testing/assembler.ts";
import { guestTest } from "../testing/guest.ts";
import { recordWord } from "../testing/handlers.ts";
import {
  children,
  ends,
  exit,
  exitWith,
  fork,
  NAME,
  OTHER,
  recordStatus,
  SET,
  sys,
  WORD,
  wait,
} from "../testing/processes.ts";
import { IPC } from "./objects.ts";

const SEM = { get: 64, op: 65, ctl: 66, timedop: 220 } as const;
const MSG = { get: 68, snd: 69, rcv: 70, ctl: 71 } as const;
const [GETPID, GETVAL, SETVAL, SETALL] = [11, 12, 16, 17];
const UNDO = 0x1000;

/** Operations at WORD: number, change, flags. */
function operations(a: Assembler, ...all: readonly (readonly [number, number, number])[]): void {
  const bytes = new Uint8Array(Math.ceil((all.length * 6) / 8) * 8);
  const view = new DataView(bytes.buffer);
  for (const [i, [number, change, flags]] of all.entries()) {
    view.setUint16(i * 6, number, true);
    view.setInt16(i * 6 + 2, change, true);
    view.setInt16(i * 6 + 4, flags, true);
  }
  for (let at = 0; at < bytes.length; at += 8) a.put(SET + at, view.getBigUint64(at, true));
}

/** A call on the set, or queue, whose number is in RBX. */
const call = (a: Assembler, number: number, ...rest: readonly number[]): Assembler => {
  a.copy("rdi", "rbx");
  for (const [i, register] of (["rsi", "rdx", "r10", "r8"] as const).entries()) {
    if (i < rest.length) a.mov(register, rest[i]);
  }
  return sys(a, number);
};
const operate = (a: Assembler, ...all: readonly (readonly [number, number, number])[]): Assembler => {
  operations(a, ...all);
  return call(a, SEM.op, SET, all.length);
};
const value = (a: Assembler, number: number): Assembler => call(a, SEM.ctl, number, GETVAL, 0);

describe("System V semaphores", () => {
  guestTest(
    "change all or none, wait for others, and are taken back at the end of a process",
    (a) => {
      a.syscall(SEM.get, IPC.PRIVATE, 3, 0o600).copy("rbx", "rax");
      value(a, 0).record();
      operate(a, [0, 2, 0], [1, -1, IPC.NOWAIT]).record();
      value(a, 0).record();
      operate(a, [0, 2, 0], [1, 5, 0]).record();
      value(a, 1).record();
      operate(a, [3, 1, 0]).record();
      operate(a, [0, 0, IPC.NOWAIT]).record();
      call(a, SEM.ctl, 0, SETVAL, 40_000).record();
      operate(a, [1, 32_767, 0]).record();
      fork(a, "child", "r12");
      operate(a, [2, -1, 0]).record();
      wait(a);
      recordStatus(a);
      value(a, 0).record();
      a.syscall(39).copy("r14", "rax");
      call(a, SEM.ctl, 2, GETPID, 0)
        .cmp("rax", "r14")
        .mov("rax", 1)
        .jcc("e", "same")
        .mov("rax", 0)
        .label("same")
        .record();
      a.put(WORD, 0).put(OTHER, 1_000_000);
      operations(a, [2, -1, 0]);
      call(a, SEM.timedop, SET, 1, WORD).record();
      a.put(SET, 0x0001_0002_0003n);
      call(a, SEM.ctl, 0, SETALL, SET).record();
      value(a, 2).record();
      call(a, SEM.ctl, 0, IPC.RMID, 0).record();
      value(a, 0).record();
      children(a, () => {
        a.label("child");
        operate(a, [0, -2, UNDO]);
        operate(a, [2, 1, 0]);
        value(a, 0);
        exitWith(a, "rax");
      });
    },
    ends([
      ...[0, "EAGAIN", 0, 0, 5, "EFBIG", "EAGAIN", "ERANGE", "ERANGE"],
      ...[0, 0, 2, 1, "EAGAIN", 0, 1, 0, "EINVAL"],
    ]),
  );
});

describe("System V message queues", () => {
  const send = (a: Assembler, type: number, text: bigint, size: number): Assembler =>
    call(a.put(SET, type).put(SET + 8, text), MSG.snd, SET, size, IPC.NOWAIT);
  const receive = (a: Assembler, type: number, size: number, flags: number = IPC.NOWAIT): Assembler =>
    call(a.put(NAME, 0).put(NAME + 8, 0), MSG.rcv, NAME, size, type, flags);

  guestTest(
    "hand messages on in order, by type, or by the lowest type",
    (a) => {
      a.syscall(MSG.get, IPC.PRIVATE, 0o600).copy("rbx", "rax");
      receive(a, 0, 8).record();
      send(a, 0, 0n, 8).record();
      send(a, 1, 0n, 8193).record();
      for (const [type, text] of [
        [5, 55n],
        [3, 33n],
        [4, 44n],
        [3, 34n],
      ] as const)
        send(a, type, text, 8).record();
      receive(a, 3, 8).record();
      recordWord(a, NAME);
      recordWord(a, NAME + 8);
      receive(a, -4, 100).record();
      recordWord(a, NAME + 8);
      receive(a, 0, 4).record();
      receive(a, 0, 4, IPC.NOWAIT | 0o10000).record();
      recordWord(a, NAME + 8);
      receive(a, 4, 8, IPC.NOWAIT | 0o20000).record();
      fork(a, "child", "r12");
      receive(a, 9, 8, 0).record();
      recordWord(a, NAME + 8);
      wait(a);
      call(a, MSG.ctl, IPC.RMID, 0).record();
      send(a, 1, 0n, 8).record();
      children(a, () => {
        a.label("child");
        send(a, 9, 99n, 8);
        exit(a, 0);
      });
    },
    ends([
      ...["ENOMSG", "EINVAL", "EINVAL", 0, 0, 0, 0, 8, 3, 33, 8, 34, "E2BIG", 4, 55, "ENOMSG", 8, 99, 0, "EINVAL"],
    ]),
  );
});
