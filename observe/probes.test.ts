import { describe, expect, it } from "vitest";
import { REG } from "../emu/cpu/state.ts";
import { enableJit } from "../emu/jit/tier.ts";
import type { LinuxThread } from "../syscalls/linux-thread.ts";
import { ProbeError } from "./probes.ts";
import { loadFixture as load } from "./testing.ts";

describe("Probes", () => {
  it("fires at each entry and return, on the right threads, with registers as they are", async () => {
    const { machine, probes, stdout } = load("work");
    const ids: bigint[] = [];
    let returns = 0;
    probes.onFunctionEntry("main.work", (thread: LinuxThread) => ids.push(thread.cpu.gpr[REG.RAX]));
    probes.onFunctionReturn("main.work", () => returns++);
    await machine.run();
    expect(ids.toSorted()).toEqual([1n, 2n]);
    expect(returns).toBe(2);
    expect(stdout().split("\n").toSorted()).toEqual([
      "",
      "hello, world in goroutine 1",
      "hello, world in goroutine 2",
      "hello, world in goroutine main",
    ]);
  });

  it("fires at the very first instruction and counts instructions exactly", async () => {
    const { machine, probes } = load("work");
    const counts: number[] = [];
    const { entry } = machine.executable;
    probes.onAddress(entry, () => counts.push(probes.instructions));
    // _rt0_amd64_linux is a jump to _rt0_amd64, whose third instruction jumps to rt0_go.
    probes.onFunctionEntry("_rt0_amd64", () => counts.push(probes.instructions));
    probes.onFunctionEntry("runtime.rt0_go", () => counts.push(probes.instructions));
    await machine.run();
    expect(counts).toEqual([0, 1, 4]);
  });

  it("sees a probe set in the middle of the run, on code that has run before, and removed again", async () => {
    const { machine, probes } = load("work");
    let schedules = 0;
    let calls = 0;
    probes.onFunctionEntry("main.main", () => {
      const probe = probes.onFunctionEntry("runtime.schedule", () => {
        if (++schedules === 2) probe.remove();
      });
    });
    probes.onFunctionEntry("runtime.schedule", () => calls++);
    await machine.run();
    expect(schedules).toBe(2);
    expect(calls).toBeGreaterThan(2);
  });

  it("is as exact in compiled code, for probes set after it was compiled", async () => {
    const { machine, probes } = load("bench-fib", ["18"]);
    const jit = machine.core.jit ?? enableJit(machine.interpreter);
    probes.onFunctionEntry("main.main", () => {
      jit.eager = true;
    });
    let calls = 0;
    let returns = 0;
    let depth = 0;
    let deepest = 0;
    probes.onFunctionEntry("main.fib", () => {
      calls++;
      if (calls === 5000) probes.onFunctionReturn("main.fib", () => returns++);
    });
    probes.onFunctionReturn("main.fib", () => depth--);
    probes.onFunctionEntry("main.fib", () => {
      depth++;
      deepest = Math.max(deepest, depth);
    });
    await machine.run();
    // fib(18) makes 2 × fib(19) - 1 calls, nested 18 deep; of the first 5000 some had not returned.
    expect(jit.statistics.regions).toBeGreaterThan(0);
    expect(calls).toBe(8361);
    expect(depth).toBe(0);
    expect(deepest).toBe(18);
    expect(returns).toBeGreaterThan(8361 - 5000);
    expect(returns).toBeLessThanOrEqual(8361 - 5000 + 18);
  });

  it("covers every instruction of a range", async () => {
    const { machine, probes } = load("work");
    const { address } = probes.functionByName("_rt0_amd64");
    const seen: number[] = [];
    const range = probes.onRange(address, address + 12, (thread) => seen.push(thread.cpu.rip - address));
    await machine.run();
    expect(seen).toEqual([0, 4, 9]);
    range.remove();
    expect(machine.interpreter.code.stops.size).toBe(0);
  });

  it("reports system calls, threads and the end", async () => {
    const { machine, probes } = load("work");
    const calls = new Map<string, number>();
    const started: [number, number | undefined][] = [];
    let left = 0;
    const ends: unknown[] = [];
    probes.onSyscall({
      enter: (_thread, { name }) => calls.set(name ?? "?", (calls.get(name ?? "?") ?? 0) + 1),
      leave: () => left++,
    });
    probes.onThread({ start: (thread, parent) => started.push([thread.tid, parent?.tid]) });
    probes.onExit((status) => ends.push(status));
    await machine.run();
    expect(calls.get("exit_group")).toBe(1);
    expect(calls.get("clone")).toBe(started.length);
    expect(started[0][1]).toBe(machine.mainThread.tid);
    expect(left).toBeGreaterThan(100);
    expect(ends).toEqual([{ kind: "exited", status: 0 }]);
  });

  it("reports signals before they are delivered", async () => {
    const { machine, probes } = load("runtime", ["panics"]);
    const signals = new Set<number>();
    probes.onSignal((_thread, { signal }) => signals.add(signal));
    await machine.run();
    expect(signals.size).toBeGreaterThan(0);
  });

  it("pauses the guest before an instruction and lets it go on", async () => {
    const { machine, probes, stdout } = load("work");
    let paused = 0;
    probes.onFunctionEntry("main.main", () => {
      // sysmon may find that it has run for too long; then it is preempted at its start, which it comes to once more.
      if (paused++ > 0) return;
      machine.process.scheduler.pause();
      setTimeout(() => machine.process.scheduler.resume(), 20);
    });
    const atPause: string[] = [];
    const timer = setInterval(() => atPause.push(stdout()), 2);
    await machine.run();
    clearInterval(timer);
    expect(paused).toBeGreaterThan(0);
    expect(atPause.slice(0, 3)).toEqual(["", "", ""]);
    expect(stdout()).toContain("goroutine main");
  });

  it("sees every write to watched memory, with the instruction that did it", async () => {
    const { machine, probes } = load("work");
    const allglen = machine.symbols.symbolAddress("runtime.allglen") ?? 0;
    const lengths: bigint[] = [];
    const before: bigint[] = [];
    const writers = new Set<string | undefined>();
    probes.onMemoryWrite(allglen, 8, (_thread, access) => {
      lengths.push(machine.memory.readU64(allglen));
      before.push(new DataView(access.before.buffer).getBigUint64(0, true));
      writers.add(machine.symbols.lookup(access.instruction)?.name);
    });
    let goroutines = 0;
    probes.onFunctionEntry("runtime.allgadd", () => goroutines++);
    await machine.run();
    expect(goroutines).toBeGreaterThan(5);
    expect(lengths).toEqual(Array.from({ length: goroutines }, (_, i) => BigInt(i + 1)));
    expect(before).toEqual(Array.from({ length: goroutines }, (_, i) => BigInt(i)));
    expect([...writers].every((name) => name?.includes("allgadd") || name?.includes("atomic"))).toBe(true);
  });

  it("sees every read of watched memory", async () => {
    const { machine, probes } = load("work");
    const ncpu =
      machine.symbols.symbolAddress("runtime.ncpu") ?? machine.symbols.symbolAddress("runtime.numCPUStartup");
    const readers = new Set<string | undefined>();
    const probe = probes.onMemoryRead(ncpu ?? 0, 4, (_thread, { instruction, kind }) => {
      expect(kind).toBe("read");
      readers.add(machine.symbols.lookup(instruction)?.name);
    });
    await machine.run();
    expect(readers.size).toBeGreaterThan(0);
    expect(readers).not.toContain("runtime.osinit");
    probe.remove();
    expect(machine.interpreter.watch).toBeUndefined();
  });

  it("names the nearest functions for one that is not there, and refuses addresses without code", () => {
    const { probes } = load("work");
    expect(() => probes.onFunctionEntry("main.wrok", () => {})).toThrow(/main\.work/);
    expect(() => probes.onAddress(0x10, () => {})).toThrow(ProbeError);
  });
});
