import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { fixturePath } from "../../fixtures/programs.ts";
import { Machine, type Tier } from "../../syscalls/machine.ts";
import { TestHost } from "../../syscalls/testing/test-host.ts";
import { Profiler, type ProfilerOptions } from "./profiler.ts";

/** As long as the clock has not gone on much, Go's scheduler leaves goroutines where they are. */
const NS_A_LOOK = 100;

/** Instructions by stack, of all stacks with a function of the program's own; and of all, by profile and by machine. */
async function countsOf(tier: Tier, fixture: string, args: readonly string[], options: ProfilerOptions = {}) {
  const path = fixturePath(`bin/${fixture}`);
  const host = new TestHost();
  let now = 0;
  host.monotonicNs = () => (now += NS_A_LOOK);
  host.randomBytes = (bytes) => {
    bytes.fill(7);
  };
  const env = ["GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1", "GOGC=off"];
  const program = readFileSync(path);
  const machine = new Machine({ program, path, args: [path, ...args], env, host, cpus: 1, tier });
  const profiler = new Profiler(machine, options);
  await machine.run();
  const counted = profiler.finish();
  const stacks = new Map<string, number>();
  for (const { frames, instructions } of counted.stacks()) {
    if (!frames.some(({ name }) => name.startsWith("main."))) continue;
    // Whether a new piece of the heap is cleared depends on what the runtime's other threads have done by then.
    if (frames[0].name === "runtime.memclrNoHeapPointers") continue;
    const key = frames.map(({ name, line }) => `${name}:${line}`).join(" ");
    stacks.set(key, (stacks.get(key) ?? 0) + instructions);
  }
  return {
    stacks,
    counted: counted.instructions,
    ran: machine.process.instructions,
    interpreted: machine.interpreter.interpreted,
  };
}

function expectSame(stacks: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>): void {
  const keys = new Set([...stacks.keys(), ...others.keys()]);
  const different = [...keys].filter((key) => stacks.get(key) !== others.get(key));
  // Not all of them: a difference at the root is one in thousands.
  expect(different.slice(0, 5).map((key) => `${stacks.get(key)}, not ${others.get(key)}: ${key}`)).toEqual([]);
}

describe("a profile of compiled code", () => {
  // Compiled when it is hot, or all at first sight.
  it.each<[string, Tier, string, string[]]>([
    ["calls, recursion", "auto", "bench-fib", ["23"]],
    ["floats", "auto", "bench", ["nbody", "3000"]],
    ["string instructions", "auto", "bench", ["gzip", "1"]],
    ["sorting with functions as values, maps", "jit", "bench", ["maps-sort", "300"]],
    ["goroutines, channels", "jit", "bench", ["pingpong", "100"]],
    ["reflection, closures", "jit", "bench", ["json", "2"]],
    ["defer, fmt", "jit", "work", []],
  ])("is that of the interpreter, number by number: %s", { timeout: 60_000 }, async (_, tier, fixture, args) => {
    const interpreter = await countsOf("interpreter", fixture, args);
    expect(interpreter.counted).toBe(interpreter.ran);
    expect(interpreter.stacks.size).toBeGreaterThan(300);
    const compiled = await countsOf(tier, fixture, args);
    expect(compiled.counted).toBe(compiled.ran);
    expect(compiled.interpreted).toBeLessThan(tier === "jit" ? compiled.ran / 20 : compiled.ran * 0.9);
    expectSame(compiled.stacks, interpreter.stacks);
  });

  it("is the same when there is little room for counts", { timeout: 60_000 }, async () => {
    const args = ["maps-sort", "100"];
    const interpreter = await countsOf("interpreter", "bench", args);
    const compiled = await countsOf("jit", "bench", args, { countMemory: 1 << 16 });
    expect(compiled.counted).toBe(compiled.ran);
    expectSame(compiled.stacks, interpreter.stacks);
  });

  it("keeps every instruction when there are more chains of calls than it keeps apart", async () => {
    const { counted, ran, interpreted } = await countsOf("jit", "bench", ["maps-sort", "100"], { chains: 2000 });
    expect(counted).toBe(ran);
    // The interpreter goes on from there.
    expect(interpreted).toBeGreaterThan(ran / 10);
  });
});
