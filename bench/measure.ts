import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Job, Runner } from "./jobs.ts";

/** What one run cost. */
export interface Sample {
  /** Time from start to end in ms. */
  readonly time: number;
  /** Time on processors in ms, to 10 ms, the process's own and the kernel's for it; null if nothing measures it here. */
  readonly cpu: number | null;
  /** Largest resident set in MiB (getrusage(2), ru_maxrss); null if nothing measures it here. */
  readonly memory: number | null;
}

/** GNU time: it has what only a parent is told. That it has to start costs each run a millisecond. */
const GNU_TIME = "/usr/bin/time";
const KIB_PER_MIB = 1024;
const hasGnuTime = existsSync(GNU_TIME);

/** Files that guests make are kept in memory where the host can, so that no disk is measured. */
const MEMORY_FOLDER = "/dev/shm";
const temporary = existsSync(MEMORY_FOLDER) ? MEMORY_FOLDER : tmpdir();

/**
 * Runs a job once.
 * @param environment variables beside this process's
 * @throws Error if it ends with a status other than 0, or prints what it should not
 */
export function measure(job: Job, runner: Runner, environment: NodeJS.ProcessEnv = {}): Sample {
  const command = [...runner.command, job.program, ...job.args];
  const [file, ...args] = hasGnuTime ? [GNU_TIME, "-f", "%U %S %M", ...command] : command;
  const options = {
    cwd: job.folder ?? temporary,
    env: { ...process.env, TMPDIR: temporary, ...environment },
    encoding: "utf8",
  } as const;
  const start = performance.now();
  const run = spawnSync(file, args, { ...options, maxBuffer: 64 << 20 });
  const time = performance.now() - start;
  if (run.error !== undefined) throw run.error;
  const right = typeof job.output === "string" ? run.stdout === job.output : job.output.test(run.stdout);
  if (run.status !== 0 || !right) {
    const said = [run.stdout, run.stderr].map((text) => JSON.stringify(text.slice(0, 300))).join(" and ");
    throw new Error(`${job.name} on ${runner.name} ended with status ${run.status ?? run.signal}, printed ${said}`);
  }
  if (!hasGnuTime) return { time, cpu: null, memory: null };
  const [user, system, peak] = run.stderr.trimEnd().split("\n").at(-1)!.split(" ").map(Number);
  return { time, cpu: Math.round((user + system) * 1000), memory: peak / KIB_PER_MIB };
}
