// What is measured, and the ways to run it.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** One program with its arguments; its output is checked, so that a failure is never taken for speed. */
export interface Job {
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** All that it prints to standard output, or an expression that this matches. */
  readonly output: string | RegExp;
  /**
   * `"suite"`: a fraction of a second of one kind of work natively; the means are taken over these.
   * `"start"`: what costs time is to start. `"large"`: a big program with much to do.
   */
  readonly group: "suite" | "start" | "large";
  /** Whether it is one of the suite's floating-point programs. */
  readonly floatingPoint?: boolean;
  /** The folder that it runs in; a temporary one if it does not matter. */
  readonly folder?: string;
  /** The most rounds that are worth their time. */
  readonly rounds?: number;
}

/** A way to run a program. */
export interface Runner {
  readonly name: "native" | "qemu" | "goemu";
  readonly command: readonly string[];
}

const path = (relative: string): string => fileURLToPath(new URL(`../${relative}`, import.meta.url));

const TYPESCRIPT = path("node_modules/@typescript/typescript-linux-x64/lib/tsc");
const ESBUILD = path("node_modules/@esbuild/linux-x64/bin/esbuild");
/** A program of the suite, of the size that it has by default, and the line that it prints (fixtures/src/bench). */
function suite(name: string, line: string, floatingPoint = false): Job {
  return {
    name,
    program: path("fixtures/bin/bench"),
    args: [name],
    output: `${line}\n`,
    group: "suite",
    floatingPoint,
  };
}

/** A program of which little more is wanted than that it starts. */
function start(name: string, program: string, args: readonly string[], output: RegExp): Job {
  return { name, program, args, output, group: "start" };
}

export const JOBS: readonly Job[] = [
  suite("fib", "fib(39) = 63245986"),
  suite("sieve", "sieve: prime 1800 is 15401, the sum 12995991"),
  suite("pingpong", "pingpong: 1500000 rounds, total 562500000000"),
  suite("goroutines", "goroutines: 100000 in line, sum 300003"),
  suite("binary-trees", "binary-trees(17): 16637408 nodes came and went, 262143 stayed"),
  suite("nbody", "nbody: energy -0.16907516382854326, after 4000000 steps -0.1690492626284574", true),
  suite("spectral-norm", "spectral-norm(2000) = 1.274224152228617", true),
  suite("mandelbrot", "mandelbrot(2000): 1589711 pixels inside, checksum 53f7f36a", true),
  suite("fannkuch", "fannkuch(10): checksum 73196, at most 38 flips"),
  suite("matmul", "matmul(800): trace 133.78813700000038, largest 45.08156099999998", true),
  suite("sha256", "sha256: 400 MiB, be653187391994e960a10d4a281e40c0356f14df62fcddb3ed161c09b6a42ba4"),
  suite("gzip", "gzip: 8388678 bytes, 1957496 packed, equal again: true, checksum 5a86c747"),
  suite("json", "json: 20000 records, 4289570 bytes, equal again: true, keys sorted: 4289570 bytes, checksum b53a1b81"),
  suite("regexp", "regexp: 20000 lines, matches [5190 10710 2321 14489], checksum 5ef87be9"),
  suite(
    "maps-sort",
    "maps-sort: 248470 numbers, most often 106683 (11 times), 118057 strings, the middle one key-234993, sum a3220b697d968b09",
  ),
  suite("pi-digits", "pi-digits: 4000, the last 7211166039, checksum 3077b499"),
  suite("files", "files: 600 with 5029097 bytes, checksum 53ecf0e5, 240000 lines, pieces 827e4e07"),
  start("`work`, start to end", path("fixtures/bin/work"), [], /hello, world in goroutine main\n$/),
  start("24 MB program prints its version", TYPESCRIPT, ["--version"], /^Version \d/),
  start("11 MB program prints its version", ESBUILD, ["--version"], /^\d+\.\d+/),
  start("10,000 goroutines", path("fixtures/bin/concurrency"), ["workers"], /./),
  start("small sort", path("fixtures/bin/text"), ["sort"], /./),
  start("small hashes", path("fixtures/bin/library"), ["hashes"], /./),
  {
    name: "24 MB program type-checks this repository",
    program: TYPESCRIPT,
    args: ["--noEmit", "-p", "."],
    output: "",
    group: "large",
    folder: path("."),
    rounds: 3,
  },
];

/** The jobs whose name matches and whose program is there. */
export function availableJobs(only: RegExp): Job[] {
  return JOBS.filter(({ name, program }) => only.test(name) && existsSync(program));
}

/**
 * The ways to run programs that this host has.
 * @param options goemu's own, such as `["--tier", "jit"]`
 */
export function availableRunners(options: readonly string[]): Runner[] {
  const runners: Runner[] = [{ name: "goemu", command: [process.execPath, path("dist/goemu.js"), ...options] }];
  if (process.platform !== "linux") return runners;
  if (spawnSync("qemu-x86_64", ["--version"]).status === 0) runners.unshift({ name: "qemu", command: ["qemu-x86_64"] });
  if (process.arch === "x64") runners.unshift({ name: "native", command: [] });
  return runners;
}
