import { describe, expect, it } from "vitest";
import { LEVELS } from "./cpu/features.ts";
import { REG } from "./cpu/state.ts";
import { MAX_THREADS, PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from "./layout.ts";
import { Core, type CoreOptions } from "./machine.ts";

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
    const first = new Core(options);
    const cores = [first, first.fresh(), new Core({ ...options, tsc: () => 7 })];
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
    const core = new Core({ features, tier: "interpreter" });
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
});
