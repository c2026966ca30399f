import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Job, Runner } from "./jobs.ts";

const MIB = 1024;

function check(job: Job, runner: Runner, output: string): void {
  if (!job.output.test(output))
    throw new Error(`${job.name} on ${runner.name} printed ${JSON.stringify(output.slice(0, 200))}`);
}

function commandOf(job: Job, runner: Runner): { file: string; args: string[] } {
  const [file, ...args] = [...runner.command, job.program, ...job.args];
  return { file, args };
}

/** Time from start to end in ms. */
function time(job: Job, runner: Runner): number {
  const { file, args } = commandOf(job, runner);
  const start = performance.now();
  const run = spawnSync(file, args, { cwd: tmpdir(), encoding: "utf8" });
  const elapsed = performance.now() - start;
  check(job, runner, run.stdout);
  return elapsed;
}

const GNU_TIME = "/usr/bin/time";

/** Largest resident set in MiB, as the kernel counts it for the parent (getrusage(2), ru_maxrss). */
function peakMemoryByTime(job: Job, runner: Runner): number {
  const { file, args } = commandOf(job, runner);
  const run = spawnSync(GNU_TIME, ["-f", "%M", file, ...args], { cwd: tmpdir(), encoding: "utf8" });
  check(job, runner, run.stdout);
  return Number(run.stderr.trimEnd().split("\n").at(-1)) / MIB;
}

/** The same without GNU time: what /proc says (VmHWM, proc(5)), looked at all the time, since it is gone at the end. */
async function peakMemoryByProc(job: Job, runner: Runner): Promise<number> {
  const { file, args } = commandOf(job, runner);
  const child = spawn(file, args, { cwd: tmpdir(), stdio: ["ignore", "pipe", "ignore"] });
  let output = "";
  let peak = 0;
  child.stdout.on("data", (bytes: Buffer) => (output += bytes.toString()));
  const look = (): void => {
    try {
      const match = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"));
      if (match !== null) peak = Math.max(peak, Number(match[1]) / MIB);
    } catch {
      // It has just ended.
    }
  };
  look();
  const timer = setInterval(look, 1);
  await new Promise((resolve, reject) => child.on("close", resolve).on("error", reject));
  clearInterval(timer);
  check(job, runner, output);
  return peak;
}

/** One measurement, in ms or MiB as the job says. */
export async function measure(job: Job, runner: Runner): Promise<number> {
  if (job.measures === "time") return time(job, runner);
  return existsSync(GNU_TIME) ? peakMemoryByTime(job, runner) : peakMemoryByProc(job, runner);
}
