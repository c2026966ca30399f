// What is measured, and the machines that it is measured on.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** One program with its arguments; its output is checked, so that a failure is never taken for speed. */
export interface Job {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly output: RegExp;
  /** What is compared: time from start to end in ms, or peak resident memory in MiB. */
  readonly measures: "time" | "memory";
}

/** A way to run a program. */
export interface Runner {
  readonly name: "native" | "qemu" | "goemu";
  readonly command: readonly string[];
}

const path = (relative: string): string => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const HELLO = /hello, world in goroutine main\n$/;

const JOBS: readonly Job[] = [
  { name: "fib(35)", program: path("fixtures/bin/bench-fib"), args: ["35"], output: /= 9227465/, measures: "time" },
  { name: "work, start to end", program: path("fixtures/bin/work"), args: [], output: HELLO, measures: "time" },
  {
    name: "24 MB program prints its version",
    program: path("node_modules/@typescript/typescript-linux-x64/lib/tsc"),
    args: ["--version"],
    output: /^Version \d/,
    measures: "time",
  },
  {
    name: "11 MB program prints its version",
    program: path("node_modules/@esbuild/linux-x64/bin/esbuild"),
    args: ["--version"],
    output: /^\d+\.\d+/,
    measures: "time",
  },
  {
    name: "workers (10,000 goroutines)",
    program: path("fixtures/bin/concurrency"),
    args: ["workers"],
    output: /./,
    measures: "time",
  },
  { name: "sort", program: path("fixtures/bin/text"), args: ["sort"], output: /./, measures: "time" },
  { name: "hashes", program: path("fixtures/bin/library"), args: ["hashes"], output: /./, measures: "time" },
  { name: "work, peak memory", program: path("fixtures/bin/work"), args: [], output: HELLO, measures: "memory" },
];

/** The jobs whose program is there. */
export function availableJobs(only: RegExp): Job[] {
  return JOBS.filter(({ name, program }) => only.test(name) && existsSync(program));
}

/** The ways to run programs that this host has. */
export function availableRunners(): Runner[] {
  const runners: Runner[] = [{ name: "goemu", command: [process.execPath, path("dist/goemu.js")] }];
  if (process.platform !== "linux") return runners;
  if (spawnSync("qemu-x86_64", ["--version"]).status === 0) runners.unshift({ name: "qemu", command: ["qemu-x86_64"] });
  if (process.arch === "x64") runners.unshift({ name: "native", command: [] });
  return runners;
}
