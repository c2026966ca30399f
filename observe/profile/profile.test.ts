import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { SymbolError } from "../../loader/errors.ts";
import { loadFixture } from "../testing.ts";
import { flameGraph } from "./flame.ts";
import { foldedStacks } from "./folded.ts";
import { pprofProfile } from "./pprof.ts";
import type { Profile, StackCount } from "./profile.ts";
import { Profiler } from "./profiler.ts";

async function profile(
  fixture: string,
  options = {},
  args: string[] = [],
): Promise<{ counted: Profile; stacks: StackCount[]; instructions: number; stdout: string }> {
  const { machine, stdout } = loadFixture(fixture, args, ["GOMAXPROCS=1"]);
  const profiler = new Profiler(machine, options);
  await machine.run();
  const counted = profiler.finish();
  return { counted, stacks: [...counted.stacks()], instructions: machine.process.instructions, stdout: stdout() };
}

const sum = (stacks: readonly StackCount[]): number =>
  stacks.reduce((total, { instructions }) => total + instructions, 0);
const namesOf = ({ frames }: StackCount): string[] => frames.map(({ name }) => name);

describe("Profiler", () => {
  it.each(["work", "work-go1.9", "work-go1.19", "work-stripped"])("counts every instruction of %s", async (fixture) => {
    const { stacks, instructions, stdout } = await profile(fixture);
    // Instructions that TypeScript carries out (CPUID, …) count as well.
    expect(sum(stacks)).toBe(instructions);
    expect(stdout.split("\n").toSorted()).toContain("hello, world in goroutine main");
    const work = stacks.filter((stack) => namesOf(stack).includes("main.work"));
    expect(work.length).toBeGreaterThan(0);
    // Called by fmt, by the goroutine's start; nothing of the boot is below it.
    for (const stack of work) expect(namesOf(stack)).not.toContain("runtime.rt0_go");
    const printing = work.find((stack) => namesOf(stack)[0] === "fmt.Fprintf" || namesOf(stack)[1] === "fmt.Fprintf");
    expect(printing).toBeDefined();
    const start = stacks.find((stack) => namesOf(stack)[0] === "runtime.mallocinit");
    expect(namesOf(start as StackCount).slice(1, 3)).toContain("runtime.schedinit");
  });

  it("counts a loop exactly: fib(n) is called as often as it must be", async () => {
    const { stacks } = await profile("bench-fib", {}, ["15"]);
    const own = stacks.filter(({ frames }) => frames[0].name === "main.fib");
    const lines = Map.groupBy(own, ({ frames }) => frames[0].line);
    expect(lines.size).toBeGreaterThan(1);
    // fib(15) makes 1973 calls; each runs the comparison's line once, in a fixed number of instructions.
    const counts = [...lines.values()].map(sum);
    expect(counts.some((count) => count % 1973 === 0)).toBe(true);
  });

  it("keeps the counts of what the tables do not tell, by function, and says so", async () => {
    const { machine } = loadFixture("work", [], ["GOMAXPROCS=1"]);
    const { symbols } = machine;
    const within = (name: string, address: number): boolean => symbols.lookup(address)?.name === name;
    const inlineStack = symbols.inlineStack.bind(symbols);
    symbols.inlineStack = (address) => {
      if (within("main.work", address)) throw new SymbolError("damaged tree");
      if (within("runtime.schedinit", address)) throw new RangeError("a mistake of ours");
      return inlineStack(address);
    };
    const profiler = new Profiler(machine);
    await machine.run();
    const stacks = [...profiler.finish().stacks()];
    expect(sum(stacks)).toBe(machine.process.instructions);
    for (const name of ["main.work", "runtime.schedinit"]) {
      const own = stacks.filter(({ frames }) => frames[0].name === name);
      expect(sum(own)).toBeGreaterThan(0);
      expect(own.every(({ frames }) => frames[0].line === undefined)).toBe(true);
    }
    expect(profiler.problem).toMatch(
      /^cannot tell all of 0x[0-9a-f]+ and \d+ other places: (damaged|a mistake)[^\n]*$/,
    );
  });

  it("leaves WebAssembly for many blocks at once", async () => {
    const { machine } = loadFixture("bench-fib", ["18"], ["GOMAXPROCS=1"]);
    const { interpreter } = machine;
    const run = interpreter.run.bind(interpreter);
    let runs = 0;
    interpreter.run = (cpu, stops) => {
      runs++;
      return run(cpu, stops);
    };
    const profiler = new Profiler(machine);
    await machine.run();
    expect(profiler.finish().instructions).toBe(machine.process.instructions);
    expect(runs * 50).toBeLessThan(machine.process.instructions);
  });

  it("puts the goroutine's first function at the root if asked", async () => {
    const { stacks, instructions } = await profile("work", { byGoroutine: true });
    expect(sum(stacks)).toBe(instructions);
    const roots = new Set(stacks.map(({ frames }) => frames.at(-1)?.name));
    expect([...roots]).toEqual(expect.arrayContaining(["main.work", "runtime.main", "scheduler"]));
  });

  it("writes folded stacks and flame graphs", async () => {
    const { counted, instructions } = await profile("work");
    const pieces = [...foldedStacks(counted)].map((piece) => Buffer.from(piece).toString());
    const folded = pieces.join("").trimEnd().split("\n");
    expect(folded.reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" ") + 1)), 0)).toBe(instructions);
    expect(folded.some((line) => line.startsWith("runtime.rt0_go;runtime.schedinit;"))).toBe(true);
    const svg = flameGraph(counted, "a <title>", "svg");
    expect(svg).toContain("a &lt;title&gt;");
    expect(svg.match(/<g class="f"/g)?.length).toBeGreaterThan(100);
    expect(flameGraph(counted, "t", "html")).toMatch(/^<!doctype html>[\s\S]*<svg/);
  });

  it("writes a profile that pprof reads", async () => {
    const { counted, instructions } = await profile("work");
    const bytes = pprofProfile(counted);
    const plain = gunzipSync(bytes);
    expect(plain.includes("instructions")).toBe(true);
    expect(plain.includes("main.work")).toBe(true);
    const directory = mkdtempSync(join(tmpdir(), "goemu-"));
    try {
      const file = join(directory, "profile.pprof");
      writeFileSync(file, bytes);
      const { error, stdout } = spawnSync("go", ["tool", "pprof", "-top", "-nodecount=5", file], { encoding: "utf8" });
      // Where Go is not installed the encoding above is all there is to look at.
      if (error === undefined) expect(stdout).toContain(`of ${instructions} total`);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
