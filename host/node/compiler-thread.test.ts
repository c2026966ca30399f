// Hot code of real programs, compiled by a real worker.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { fixturePath } from "../../fixtures/programs.ts";
import { Machine, type Statistics } from "../../syscalls/machine.ts";
import { MemoryHost } from "../memory/memory-host.ts";
import { startCompilerThread } from "./compiler-thread.ts";

const path = fixturePath("bin/bench-fib");
const program = readFileSync(path);

/** Runs fib(n) with a compiler thread. */
async function fib(
  n: number,
  compilerThread: typeof startCompilerThread,
): Promise<{ printed: string; reports: string[]; statistics: Statistics }> {
  const host = new MemoryHost();
  const reports: string[] = [];
  const report = (message: string): number => reports.push(message);
  const args = [path, String(n)];
  const machine = new Machine({ program, path, args, host, compilerThread, report, env: ["GOMAXPROCS=1"] });
  expect(await machine.run()).toEqual({ kind: "exited", status: 0 });
  const printed = new TextDecoder().decode(Buffer.concat(host.written.stdout));
  return { printed, reports, statistics: machine.statistics() };
}

describe("a compiler thread", () => {
  it("compiles what is hot", async () => {
    const { printed, reports, statistics } = await fib(36, startCompilerThread);
    expect(printed).toBe("fib(36) = 14930352\n");
    expect(reports).toEqual([]);
    expect(statistics.regions).toBeGreaterThan(0);
    expect(statistics.asideCompileMilliseconds).toBeGreaterThan(0);
    expect(statistics.interpretedInstructions).toBeLessThan(statistics.instructions / 2);
  });

  it("that ends too early is done without", async () => {
    const start = (): ReturnType<typeof startCompilerThread> => {
      const thread = startCompilerThread();
      thread.close();
      return thread;
    };
    const { printed, reports, statistics } = await fib(34, start);
    expect(printed).toBe("fib(34) = 5702887\n");
    expect(reports).toEqual([expect.stringMatching(/^the thread that compiles hot code has failed \(.+\)/)]);
    expect(statistics.regions).toBeGreaterThan(0);
    expect(statistics.asideCompileMilliseconds).toBe(0);
    expect(statistics.interpretedInstructions).toBeLessThan(statistics.instructions / 2);
  });
});
