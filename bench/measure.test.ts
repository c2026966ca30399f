import { describe, expect, it } from "vitest";
import type { Job, Runner } from "./jobs.ts";
import { measure } from "./measure.ts";

const runner: Runner = { name: "native", command: [] };
const job = (script: string, output: string | RegExp): Job => ({
  name: "a script",
  program: process.execPath,
  args: ["-e", script],
  output,
  group: "start",
});

describe("one measurement", () => {
  it("has the time and the memory of one run", () => {
    const { time, cpu, memory } = measure(
      job("Buffer.alloc(200 << 20, 1); setTimeout(() => console.log('done'), 300)", "done\n"),
      runner,
    );
    expect(time).toBeGreaterThan(300);
    // Without GNU time there are none.
    if (cpu !== null) expect(cpu).toBeLessThan(time + 300);
    if (memory !== null) expect(memory).toBeGreaterThan(200);
  });

  it("takes no failure for speed", () => {
    expect(() => measure(job("console.log('x')", "y\n"), runner)).toThrow(/a script on native .*printed "x\\n"/);
    expect(() => measure(job("console.log('xy')", /^y/), runner)).toThrow(/printed "xy\\n"/);
    expect(() => measure(job("console.log('y'); process.exit(3)", "y\n"), runner)).toThrow(/status 3/);
    expect(() => measure({ ...job("", ""), program: "/nowhere" }, runner)).toThrow(/nowhere|ENOENT|status 127/);
  });

  it("gives the program what variables it is told to", () => {
    const task = job("console.log(process.env.BENCH_TEST)", "here\n");
    expect(measure(task, runner, { BENCH_TEST: "here" }).time).toBeGreaterThan(0);
    expect(() => measure(task, runner)).toThrow(/undefined/);
  });

  it("runs in the folder that the job names", () => {
    const folder = process.cwd();
    expect(measure({ ...job("console.log(process.cwd())", `${folder}\n`), folder }, runner).time).toBeGreaterThan(0);
  });
});
