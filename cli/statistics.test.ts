import { afterAll, describe, expect, it } from "vitest";
import { fixturePath } from "../fixtures/programs.ts";
import { formatStatistics } from "./statistics.ts";
import { TestFolder } from "./testing/files.ts";
import { goemu } from "./testing/goemu.ts";

const folder = new TestFolder();
afterAll(() => folder.remove());

const STATISTICS = {
  instructions: 4_000_000,
  seconds: 2,
  syscalls: 10,
  threads: 1,
  peakThreads: 1,
  switches: 3,
  blocks: 100,
  decodedInstructions: 1000,
  handlers: 50,
  interpretedInstructions: 1_000_000,
  regions: 5,
  compiledInstructions: 400,
  regionBytes: 20_000,
  compileMilliseconds: 30,
  longestCompileMilliseconds: 3.21,
  asideCompileMilliseconds: 0,
  restoredRegions: 0,
  peakGuestMemory: 1 << 20,
  residentGuestMemory: 1 << 19,
};
const row = (statistics: typeof STATISTICS, name: string): string | undefined =>
  formatStatistics(statistics, "text")
    .split("\n")
    .find((line) => line.startsWith(`goemu: ${name} `));

describe("formatStatistics", () => {
  it("gives the tiers' shares of the instructions, and the share of the time that compiling took", () => {
    expect(row(STATISTICS, "tiers")).toMatch(/ 25\.0 % of the instructions interpreted, 75\.0 % compiled$/);
    const waited = "5 of 400 instructions, 20000 bytes, 30 ms (1.5 % of the time, at most 3.2 ms at a time)";
    expect(row(STATISTICS, "regions")?.endsWith(` ${waited}`)).toBe(true);
    const restored = { ...STATISTICS, restoredRegions: 7 };
    expect(row(restored, "regions")?.endsWith(` ${waited}; 7 from the cache`)).toBe(true);
    const aside = { ...STATISTICS, asideCompileMilliseconds: 250 };
    expect(row(aside, "regions")?.endsWith(` ${waited} and 250 ms in another thread`)).toBe(true);
  });

  it("does without a run", () => {
    const nothing = { ...STATISTICS, instructions: 0, interpretedInstructions: 0, seconds: 0 };
    expect(row(nothing, "tiers")).toMatch(/ 0\.0 % of the instructions interpreted, 0\.0 % compiled$/);
  });
});

describe("--stats", () => {
  const shares = (tier: string, n = 25): number[] => {
    const { stderr } = goemu(["--stats", "--no-cache", "--tier", tier, fixturePath("bin/bench-fib"), String(n)]);
    const found = /^goemu: tiers +([\d.]+) % of the instructions interpreted, ([\d.]+) % compiled$/m.exec(stderr);
    return [Number(found?.[1]), Number(found?.[2])];
  };

  it("tells what the tiers ran", () => {
    expect(shares("interpreter")).toEqual([100, 0]);
    // 400 million instructions, of which the interpreter runs some million until another thread has compiled them.
    const [interpreted, compiled] = shares("auto", 35);
    expect(compiled).toBeGreaterThan(50);
    expect(interpreted + compiled).toBeCloseTo(100);
  });

  it("shows that --tier jit compiles code the first time it is executed", () => {
    // The interpreter is left what a region stops at: accesses that need help, and the rest of their block.
    const [interpreted, compiled] = shares("jit");
    expect(interpreted).toBeLessThan(2);
    expect(compiled).toBeGreaterThan(98);
  });

  it("tells compiled regions from those of an earlier run, and what another thread did", () => {
    const run = (): { regions: number; restoredRegions: number; asideCompileMilliseconds: number } => {
      const args = ["--stats=json", fixturePath("bin/bench-fib"), "35"];
      const { stderr } = goemu(args, { env: { XDG_CACHE_HOME: folder.path } });
      return JSON.parse(stderr.slice(stderr.indexOf('{"version"')));
    };
    const first = run();
    expect(first.restoredRegions).toBe(0);
    expect(first.regions).toBeGreaterThan(0);
    expect(first.asideCompileMilliseconds).toBeGreaterThan(0);
    expect(run().restoredRegions).toBeGreaterThan(0);
  });
});
