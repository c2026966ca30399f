import { expect, test } from "vitest";
import { REG } from "../../emu/cpu/state.ts";
import type { Machine } from "../../syscalls/machine.ts";
import { peek } from "../../syscalls/memory/peek.ts";
import type { Assembler } from "../../syscalls/testing/assembler.ts";
import { buildGuest, CODE, DATA, machineOf } from "../../syscalls/testing/guest.ts";
import { Debugger } from "./debugger.ts";
import type { Action, StopEvent } from "./events.ts";

/** A machine under a debugger, stopped before its first instruction. */
class Session {
  readonly machine: Machine;
  readonly debug: Debugger;
  readonly ended: Promise<void>;
  #events: StopEvent[] = [];
  #waiting: ((event: StopEvent) => void) | undefined;

  constructor(build: (a: Assembler) => void) {
    this.machine = machineOf(buildGuest(build)).machine;
    this.debug = new Debugger(this.machine);
    this.debug.interrupt();
    this.debug.listener = (event) => {
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting === undefined) this.#events.push(event);
      else waiting(event);
    };
    this.ended = this.machine.run().then((status) => this.debug.exited(status));
  }

  get rip(): number {
    return this.machine.mainThread.cpu.rip;
  }

  gpr(register: number): bigint {
    return this.machine.mainThread.cpu.gpr[register];
  }

  async go(action: Action = { kind: "continue" }): Promise<StopEvent> {
    this.debug.resume(() => action);
    return this.#events.shift() ?? new Promise((resolve) => (this.#waiting = resolve));
  }
}

test("steps run one instruction each, system calls included", async () => {
  const session = new Session((a) => a.mov("rax", 7).mov("rbx", 9).syscall(39).record());
  const places = [session.rip];
  const step: Action = { kind: "step" };
  for (let i = 0; i < 3; i++) {
    expect(await session.go(step)).toMatchObject({ kind: "step" });
    places.push(session.rip);
  }
  expect(places[0]).toBe(CODE);
  expect(places.every((place, i) => i === 0 || place > places[i - 1])).toBe(true);
  expect([session.gpr(REG.RAX), session.gpr(REG.RBX)]).toEqual([39n, 9n]);
  // SYSCALL: the step is over when the call has its result.
  expect(await session.go(step)).toMatchObject({ kind: "step" });
  expect(session.gpr(REG.RAX)).toBe(BigInt(session.machine.process.pid));
  expect(session.machine.process.instructions).toBe(4);
  expect(await session.go()).toEqual({ kind: "exited", status: { kind: "exited", status: 0 } });
});

test("a range is stepped through at once; a breakpoint in it stops", async () => {
  const session = new Session((a) => {
    for (let i = 0; i < 10; i++) a.mov("rax", i);
  });
  await session.go({ kind: "step" });
  const length = session.rip - CODE;
  const range = { start: CODE, end: CODE + 9 * length };
  session.debug.setBreakpoint(CODE + 4 * length);
  expect(await session.go({ kind: "step", range })).toMatchObject({ kind: "breakpoint", address: CODE + 4 * length });
  expect(session.gpr(REG.RAX)).toBe(3n);
  expect(session.debug.removeBreakpoint(CODE + 4 * length)).toBe(true);
  expect(session.debug.removeBreakpoint(CODE + 4 * length)).toBe(false);
  expect(await session.go({ kind: "step", range })).toMatchObject({ kind: "step" });
  expect(session.rip).toBe(CODE + 9 * length);
  await session.go();
});

test("a write watchpoint sees exactly the writes that touch it, also across pages", async () => {
  const watched = DATA + 0x1000;
  const session = new Session((a) => {
    a.mov("rcx", 5);
    a.store(watched - 8, "rcx");
    a.store(watched + 4, "rcx");
    a.store(watched - 5, "rcx");
    a.store(watched, "rcx");
  });
  session.debug.setWatchpoint({ address: watched, length: 4, kind: "write" });
  const hits: number[] = [];
  for (;;) {
    const event = await session.go();
    if (event.kind !== "watchpoint") break;
    hits.push(event.address);
    // The write is done.
    expect(peek(session.machine.memory, watched - 5, 16).some((byte) => byte === 5)).toBe(true);
  }
  expect(hits).toEqual([watched, watched]);
});

test("a read watchpoint sees reads, and writes that read first; an access watchpoint sees both", async () => {
  const word = DATA + 0x40;
  const build = (a: Assembler): void => {
    a.mov("rcx", 5).store(word, "rcx").load("rdx", word);
    // ADD [word], RCX.
    a.bytes(0x48, 0x01, 0x0c, 0x25, word & 0xff, (word >> 8) & 0xff, (word >> 16) & 0xff, 0);
  };
  const places = async (kind: "read" | "access"): Promise<number[]> => {
    const session = new Session(build);
    session.debug.setWatchpoint({ address: word, length: 8, kind });
    const found: number[] = [];
    for (let event = await session.go(); event.kind === "watchpoint"; event = await session.go())
      found.push(session.rip - CODE);
    return found;
  };
  // MOV takes 10 bytes, each of the others 8; RIP is behind the instruction.
  expect(await places("read")).toEqual([26, 34]);
  expect(await places("access")).toEqual([18, 26, 34]);
});

test("a repeated string instruction stops behind the element that touched the watched byte", async () => {
  const session = new Session((a) =>
    a
      .mov("rdi", DATA + 0x100)
      .mov("rcx", 16)
      .mov("rax", 0x5a)
      .bytes(0xf3, 0xaa),
  );
  session.debug.setWatchpoint({ address: DATA + 0x105, length: 1, kind: "write" });
  expect(await session.go()).toMatchObject({ kind: "watchpoint", address: DATA + 0x105 });
  expect(session.gpr(REG.RCX)).toBe(10n);
  expect(session.gpr(REG.RDI)).toBe(BigInt(DATA + 0x106));
  expect(await session.go()).toMatchObject({ kind: "exited" });
});

test("watched pages stay watched when their protection changes and system calls write there", async () => {
  const page = DATA + 0x2000;
  const session = new Session((a) => {
    a.mov("rbx", 5);
    a.syscall(10, page, 0x1000, 1).syscall(10, page, 0x1000, 3);
    // clock_gettime stores at the start of the page.
    a.syscall(228, 1, page).store(page, "rbx");
  });
  session.debug.setWatchpoint({ address: page, length: 8, kind: "write" });
  expect(await session.go()).toMatchObject({ kind: "watchpoint", address: page });
  expect(session.machine.memory.readU64(page)).toBe(5n);
  expect(await session.go()).toMatchObject({ kind: "exited" });
});

test("a watched page gives the same values, and none of it is left when the watchpoint is gone", async () => {
  const session = new Session((a) => {
    a.mov("rcx", 0x1234)
      .store(DATA + 0x3008, "rcx")
      .load("rax", DATA + 0x3008)
      .record();
    a.load("rax", DATA + 0x2ffc).record();
  });
  const watchpoint = { address: DATA + 0x3100, length: 8, kind: "access" } as const;
  session.debug.setWatchpoint(watchpoint);
  expect(session.machine.memory.readU64(DATA + 0x3000)).toBe(0n);
  for (let i = 0; i < 3; i++) await session.go({ kind: "step" });
  expect(session.gpr(REG.RAX)).toBe(0x1234n);
  expect(session.debug.watchpoints.remove(watchpoint)).toBe(true);
  expect(session.debug.watchpoints.active).toBe(false);
  expect(await session.go()).toEqual({ kind: "exited", status: { kind: "exited", status: 0 } });
});

test("a signal is delivered, changed or dropped as the thread goes on", async () => {
  const kill = (a: Assembler): Assembler =>
    a.syscall(39).copy("rdi", "rax").mov("rax", 62).mov("rsi", 10).bytes(0x0f, 0x05);
  const dropped = new Session(kill);
  expect(await dropped.go()).toMatchObject({ kind: "signal", info: { signal: 10 } });
  expect(await dropped.go()).toEqual({ kind: "exited", status: { kind: "exited", status: 0 } });
  const delivered = new Session(kill);
  await delivered.go();
  expect(await delivered.go({ kind: "continue", signal: 10 })).toEqual({
    kind: "exited",
    status: { kind: "signaled", signal: 10 },
  });
  const changed = new Session(kill);
  await changed.go();
  expect(await changed.go({ kind: "continue", signal: 12 })).toEqual({
    kind: "exited",
    status: { kind: "signaled", signal: 12 },
  });
  const passed = new Session(kill);
  passed.debug.passSignals = new Set([10]);
  expect(await passed.go()).toEqual({ kind: "exited", status: { kind: "signaled", signal: 10 } });
});

test("system calls stop before and after; a detached guest makes the call that it stood before", async () => {
  const session = new Session((a) => a.syscall(39).record());
  session.debug.catchSyscalls = new Set([39]);
  const { mainThread, process } = session.machine;
  expect(await session.go()).toMatchObject({ kind: "syscallEntry", number: 39 });
  expect(session.debug.syscallOf(mainThread)).toEqual({ number: 39, phase: "entry" });
  expect(session.gpr(REG.RAX)).toBe(39n);
  expect(await session.go()).toMatchObject({ kind: "syscallReturn", number: 39 });
  expect(session.gpr(REG.RAX)).toBe(BigInt(process.pid));
  session.debug.catchSyscalls = "all";
  expect(await session.go()).toMatchObject({ kind: "syscallEntry", number: 1 });
  session.debug.detach();
  await session.ended;
  expect(process.exitStatus).toEqual({ kind: "exited", status: 0 });
});

test("a thread that is not to run stands still while the machine waits", async () => {
  const session = new Session((a) => a.mov("rax", 1));
  session.debug.resume(() => ({ kind: "stop" }));
  await new Promise((resolve) => setTimeout(resolve, 30));
  expect(session.machine.process.instructions).toBe(0);
  session.debug.interrupt();
  expect(session.debug.running).toBe(false);
  expect(await session.go()).toMatchObject({ kind: "interrupt" });
  expect(await session.go()).toMatchObject({ kind: "exited" });
});

test("peek reads pages in and out of the window alike, whatever their protection", () => {
  const { memory } = machineOf(buildGuest(() => {})).machine;
  const address = 0x10_0000 - 4096;
  memory.space.map({ address, length: 3 * 4096, prot: 0, fixed: true });
  memory.poke(0x10_0000 - 2, Uint8Array.of(1, 2, 3, 4));
  expect([...peek(memory, 0x10_0000 - 3, 6)]).toEqual([0, 1, 2, 3, 4, 0]);
  // The second page out of line was never touched; behind it nothing is mapped.
  expect(peek(memory, 0x10_0ff8, 8192)).toEqual(new Uint8Array(4104));
});
