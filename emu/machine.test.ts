import { describe, expect, it } from "vitest";
import { LEVELS } from "./cpu/features.ts";
import { REG } from "./cpu/state.ts";
import { MAX_THREADS, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from "./layout.ts";
import { type Core, type CoreOptions, Cores } from "./machine.ts";

const CODE = 0x40_0000;
const DATA = 0x50_0000;
const features = new Set(Object.values(LEVELS).flat());

function load(core: Core, code: readonly number[]): void {
  const prot = PROT_READ | PROT_WRITE | PROT_EXEC;
  core.space.map({ address: CODE, length: PAGE_SIZE, prot, fixed: true });
  core.space.map({ address: DATA, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE, fixed: true });
  core.memory.poke(CODE, Uint8Array.from(code));
}

/** inc dword [DATA]; rdtsc; jmp back to the start */
const COUNT = [0xff, 0x04, 0x25, ...[0x00, 0x00, 0x50, 0x00], 0x0f, 0x31, 0xeb, 0xf5];

describe("cores", () => {
  it.each(["interpreter", "auto", "jit"] as const)("run beside each other, each with what is its own (%s)", (tier) => {
    const options: CoreOptions = { features, tier, tsc: () => 5 };
    const machine = new Cores(options);
    const cores = [machine.make(), machine.make(), new Cores({ ...options, tsc: () => 7 }).make()];
    const cpus = cores.map((core) => {
      load(core, COUNT);
      const cpu = core.takeCpu();
      if (cpu === undefined) throw new Error("no CPU state");
      cpu.rip = CODE;
      return cpu;
    });
    for (let turn = 0; turn < 6; turn++) {
      for (const [i, core] of cores.entries()) {
        cpus[i].fuel = 3000 * (i + 1);
        expect(core.run(cpus[i])).toEqual({ kind: "fuel" });
      }
    }
    const counts = cores.map((core) => core.memory.readU32(DATA));
    for (const [i, count] of counts.entries()) {
      expect(count).toBeGreaterThanOrEqual(6000 * (i + 1));
      expect(count).toBeLessThan(6000 * (i + 1) + 50);
    }
    expect(cpus.map((cpu) => cpu.gpr[REG.RAX])).toEqual([5n, 5n, 7n]);
    // Code that changes in one changes nowhere else: jmp to itself.
    cores[1].memory.writeBytes(CODE, Uint8Array.from([0xeb, 0xfe]));
    for (const [i, core] of cores.entries()) {
      cpus[i].fuel = 3000;
      core.run(cpus[i]);
    }
    const after = cores.map((core) => core.memory.readU32(DATA));
    expect(after[1] - counts[1]).toBeLessThan(2);
    for (const i of [0, 2]) expect(after[i] - counts[i]).toBeGreaterThanOrEqual(999);
    for (const core of cores) core.close();
  });

  it("have so many CPU states, which are used again", () => {
    const core = new Cores({ features, tier: "interpreter" }).make();
    const states = Array.from({ length: MAX_THREADS }, () => core.takeCpu());
    expect(new Set(states.map((cpu) => cpu?.address)).size).toBe(MAX_THREADS);
    expect(core.takeCpu()).toBeUndefined();
    const state = states[77];
    if (state === undefined) throw new Error("no CPU state");
    state.gpr[REG.RBX] = 3n;
    core.giveCpu(state);
    const again = core.takeCpu();
    expect(again?.address).toBe(state.address);
    expect(again?.gpr[REG.RBX]).toBe(0n);
  });

  it("leave the next ones their instances of handlers, and what they know of instructions to all", () => {
    const machine = new Cores({ features, tier: "interpreter" });
    const [first, beside] = [machine.make(), machine.make()];
    const run = (core: Core): void => {
      load(core, COUNT);
      const cpu = core.takeCpu();
      if (cpu === undefined) throw new Error("no CPU state");
      cpu.rip = CODE;
      cpu.fuel = 300;
      core.run(cpu);
      expect(core.memory.readU32(DATA)).toBeGreaterThanOrEqual(100);
    };
    run(first);
    const { handlers } = first.interpreter;
    const { count } = handlers;
    const modules = handlers.known.modules.length;
    first.close();
    const second = machine.make();
    expect(second.interpreter.handlers).toBe(handlers);
    expect(second.code.templates).toBe(first.code.templates);
    for (const core of [second, beside, machine.make()]) run(core);
    expect(beside.interpreter.handlers).not.toBe(handlers);
    expect(beside.interpreter.handlers.count).toBe(count);
    expect(handlers.known.modules).toHaveLength(modules);
  });

  it("leave nothing in memory that the next ones get", () => {
    const machine = new Cores({ features, tier: "auto", tsc: () => 5 });
    const first = machine.make();
    const wasm = first.space.memory;
    load(first, COUNT);
    const far = 0x3_0000_0000;
    first.space.map({ address: far, length: 64 * PAGE_SIZE, prot: PROT_READ | PROT_WRITE, fixed: true });
    first.space.map({ address: 0x9_0000, length: PAGE_SIZE, prot: PROT_READ | PROT_EXEC, fixed: true });
    first.memory.poke(0x9_0000, Uint8Array.of(0xf4));
    for (let i = 0; i < 64; i++) first.memory.writeU32(far + i * PAGE_SIZE, i + 1);
    first.space.protect(DATA, PAGE_SIZE, PROT_READ);
    first.space.protect(DATA, PAGE_SIZE, PROT_READ | PROT_WRITE);
    const cpus = [first.takeCpu(), first.takeCpu()];
    for (const cpu of cpus) {
      if (cpu === undefined) throw new Error("no CPU state");
      cpu.rip = CODE;
      cpu.fuel = 1_000_000;
      first.run(cpu);
      cpu.rip = 0x9_0000;
      cpu.fuel = 100;
      first.run(cpu);
    }
    expect(first.jit?.statistics.regions).toBeGreaterThan(0);
    first.close();
    const second = machine.make();
    expect(second.space.memory).toBe(wasm);
    const untouched = machine.make();
    const [used, fresh] = [second, untouched].map(({ memory }) => new Int32Array(memory.u8.buffer));
    // Low memory, what was mapped, where frames come from, and the emulator's own.
    const differs: string[] = [];
    for (const [start, end] of [
      [0, 0x60_0000],
      [0xea00_0000, 0x1_0000_0000],
    ]) {
      for (let i = start >>> 2; i < end / 4; i++) if (used[i] !== fresh[i]) differs.push((i * 4).toString(16));
    }
    expect(differs.slice(0, 10)).toEqual([]);
    // The same again: what ran there first does not matter.
    load(second, COUNT);
    const cpu = second.takeCpu();
    if (cpu === undefined) throw new Error("no CPU state");
    cpu.rip = CODE;
    cpu.fuel = 3000;
    second.run(cpu);
    expect(second.memory.readU32(DATA)).toBeGreaterThanOrEqual(1000);
    expect(second.memory.readU32(DATA)).toBeLessThan(1050);
    // One that has much in its memory is not worth clearing, and closed cores are not kept without end.
    second.space.map({ address: 0x3000_0000, length: 0x800_0000, prot: PROT_READ | PROT_WRITE, fixed: true });
    for (let i = 0; i < 0x800_0000; i += PAGE_SIZE) second.memory.writeU8(0x3000_0000 + i, 1);
    second.close();
    expect(machine.make().space.memory).not.toBe(wasm);
  });
});
