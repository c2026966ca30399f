import { describe, expect, it } from "vitest";
import { LEVELS } from "../cpu/features.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE } from "../layout.ts";
import { type Core, Cores } from "../machine.ts";
import { TestThread } from "./test-thread.ts";

const CODE = 0x40_0000;
const DATA = 0x50_0000;
const features = new Set(Object.values(LEVELS).flat());
/** add dword [DATA], N; loop: dec rcx; jnz loop; jmp back to the start */
const code = (n: number): number[] => [0x83, 0x04, 0x25, 0, 0, 0x50, 0, n, 0x48, 0xff, 0xc9, 0x75, 0xfb, 0xeb, 0xf1];

function start(cores: Cores, n: number): () => number {
  const core: Core = cores.make();
  core.space.map({ address: CODE, length: PAGE_SIZE, prot: PROT_READ | PROT_EXEC, fixed: true });
  core.space.map({ address: DATA, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE, fixed: true });
  core.memory.poke(CODE, Uint8Array.from(code(n)));
  const cpu = core.takeCpu();
  if (cpu === undefined) throw new Error("no CPU state");
  cpu.rip = CODE;
  return () => {
    cpu.gpr[1] = 3n;
    cpu.fuel = 100_000;
    core.run(cpu);
    expect(core.memory.readU32(DATA) % n).toBe(0);
    return core.jit?.statistics.regions ?? 0;
  };
}

describe("one thread that compiles for several cores", () => {
  it("makes the regions of each from its own code, and is there for those to come", () => {
    const threads: TestThread[] = [];
    const compilerThread = (): TestThread => {
      threads.push(new TestThread());
      return threads[threads.length - 1];
    };
    const cores = new Cores({ features, compilerThread });
    const runs = [3, 5, 7].map((n) => start(cores, n));
    let regions = [0, 0, 0];
    for (let i = 0; i < 700 && regions.some((count) => count === 0); i++) regions = runs.map((run) => run());
    expect(regions).toEqual([1, 1, 1]);
    for (const run of runs) run();
    expect(threads.length).toBe(1);
    expect(new Set(threads[0].messages.map(({ core }) => core))).toEqual(new Set([0, 1, 2]));
    expect(threads[0].isClosed).toBe(false);
    cores.close();
    expect(threads[0].isClosed).toBe(true);
  });

  it("fails for all of them, and those to come do without", () => {
    const thread = new TestThread();
    const reports: string[] = [];
    const cores = new Cores({ features, compilerThread: () => thread, report: (line) => reports.push(line) });
    const run = start(cores, 3);
    thread.failure = "out of memory";
    for (let i = 0; i < 700 && reports.length === 0; i++) run();
    expect(reports.length).toBe(1);
    expect(reports[0]).toContain("out of memory");
    const other = start(cores, 5);
    let regions = 0;
    for (let i = 0; i < 700 && regions === 0; i++) regions = other();
    expect(regions).toBe(1);
    expect(reports.length).toBe(1);
  });
});
