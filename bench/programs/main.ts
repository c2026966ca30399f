// npm run programs: real programs from public packages with real jobs, natively, under qemu-x86_64 and under goemu.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { median } from "../report.ts";
import { differences } from "./compare.ts";
import { obtain, STORE, sourceName } from "./obtain.ts";
import { page, verdict } from "./page.ts";
import type { Program } from "./program.ts";
import { type Cost, loadResults, type Result, saveResult } from "./results.ts";
import { Job, type Run } from "./run.ts";
import { PROGRAMS } from "./table.ts";

const USAGE = `usage: npm run programs -- [options]

  --only REGEX    programs whose name matches
  --again         run what has a result already, too
  --rounds N      how often each job runs in each way (default: 1; goemu: once more, first without translations)
  --no-qemu       without qemu-x86_64
  --get           bring the programs only, do not run them
  --keep          leave the folder of each job, and goemu's output there, for a look at a difference
  --list          name the programs, with what is known of them
  --update        write docs/programs.md, from all results there are

Programs and results are kept in $GOEMU_PROGRAMS or ~/.cache/goemu-programs. The exit status is 1 if a job came out other
than natively and the table does not say what is left to do for it.
`;

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    again: { type: "boolean", default: false },
    rounds: { type: "string", default: "1" },
    "no-qemu": { type: "boolean", default: false },
    get: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    update: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

const root = fileURLToPath(new URL("../..", import.meta.url));
const say = (text: string): void => void process.stdout.write(`${text}\n`);

function cost(runs: readonly Run[]): Cost {
  const cpu = runs.map((run) => run.cpu).filter((value) => value !== null);
  return { time: median(runs.map(({ time }) => time)), cpu: cpu.length > 0 ? median(cpu) : null };
}

/** The ways to run programs. A copy of goemu is used, so that a build meanwhile does not matter. */
interface Ways {
  readonly goemu: readonly string[];
  readonly build: string;
  readonly qemu: string | null;
  readonly folder: string;
}

/** Runs one program's job in all ways, round by round. @throws what makes it impossible to */
async function measure(program: Program, ways: Ways, rounds: number): Promise<Result> {
  const about = { program: program.name, from: sourceName(program.source), build: ways.build };
  const nothing = { size: 0, differences: [], qemuDifferences: [], unsteady: [] };
  const folder = join(ways.folder, program.name);
  let job: Job;
  let size: number;
  try {
    for (const tool of program.tools ?? []) {
      if (spawnSync(tool, ["--version"]).error !== undefined) throw new Error(`${tool} is not installed`);
    }
    for (const name of program.needs ?? []) obtain(PROGRAMS.find((other) => other.name === name)!);
    size = statSync(obtain(program)).size;
    job = await Job.make(program, folder);
  } catch (error) {
    return { ...about, ...nothing, missing: (error as Error).message.replace(/\s+/g, " ") };
  }
  const runs: Record<"native" | "qemu" | "goemu", Run[]> = { native: [], qemu: [], goemu: [] };
  try {
    runs.goemu.push(await job.run(ways.goemu));
    for (let round = 0; round < rounds; round++) {
      runs.native.push(await job.run([]));
      if (ways.qemu !== null) runs.qemu.push(await job.run(["qemu-x86_64"]));
      runs.goemu.push(await job.run(ways.goemu));
    }
    // One more, for what the job itself leaves open.
    runs.native.push(await job.run([]));
    if (values.keep) {
      for (const [way, list] of Object.entries(runs)) {
        for (const [n, run] of list.entries()) {
          writeFileSync(join(folder, `${way}.${n}.json`), JSON.stringify(run, null, 1));
        }
      }
    }
  } finally {
    if (!values.keep) rmSync(folder, { recursive: true, force: true });
  }
  const [native] = runs.native;
  const compared = (list: readonly Run[]): string[][] =>
    list.map((run) => differences(native.outcome, run.outcome, program.normalise));
  const ordinal = (index: number): string => ["first", "second"][index] ?? `${index + 1}th`;
  return {
    ...about,
    size,
    load: loadavg()[0],
    native: cost(runs.native),
    ...(runs.qemu.length > 0 && { qemu: cost(runs.qemu) }),
    first: cost(runs.goemu.slice(0, 1)),
    second: cost(runs.goemu.slice(1)),
    differences: compared(runs.goemu).flatMap((lines, index) => lines.map((line) => `${ordinal(index)}: ${line}`)),
    qemuDifferences: compared(runs.qemu).flat(),
    unsteady: native.outcome.steps.some(({ status }) => status === null)
      ? ["not ended in its time"]
      : compared(runs.native).flat(),
  };
}

function tell(program: Program, result: Result): void {
  const s = (each: Cost | undefined): string => (each === undefined ? "–" : (each.time / 1000).toFixed(2));
  const { native, qemu, first, second } = result;
  say(
    `${program.name}: ${verdict(result)}; native ${s(native)} s, qemu ${s(qemu)} s, goemu ${s(first)} s, ${s(second)} s`,
  );
  for (const line of [...(result.missing === undefined ? [] : [result.missing]), ...result.differences])
    say(`  ${line}`);
  for (const line of result.unsteady) say(`  natively not the same twice: ${line}`);
  for (const line of result.qemuDifferences) say(`  qemu: ${line}`);
}

/** Brings programs, those that come built before those that are to be built. */
function get(programs: readonly Program[]): void {
  const built = ({ source }: Program): number => Number(source.kind === "go" || source.kind === "driver");
  for (const program of programs.toSorted((a, b) => built(a) - built(b))) {
    try {
      say(`${program.name}: ${obtain(program)}`);
    } catch (error) {
      say(`${program.name}: ${(error as Error).message}`);
    }
  }
}

/** Tells builds of goemu apart. */
function digestOf(dist: string): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(dist, { recursive: true, encoding: "utf8" }).toSorted()) {
    if (statSync(join(dist, name)).isFile()) hash.update(name).update(readFileSync(join(dist, name)));
  }
  return hash.digest("hex").slice(0, 12);
}

function qemuVersion(): string | null {
  const run = spawnSync("qemu-x86_64", ["--version"], { encoding: "utf8" });
  return run.status === 0 ? `qemu-x86_64 ${/version (\S+)/.exec(run.stdout)?.[1] ?? ""}` : null;
}

function list(programs: readonly Program[]): void {
  const results = loadResults();
  for (const { name, job, source } of programs) {
    say(`${name.padEnd(14)} ${verdict(results.get(name)).padEnd(12)} ${sourceName(source)}; ${job}`);
  }
}

async function main(): Promise<void> {
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds: "${values.rounds}" is no number of rounds`);
  const only = new RegExp(values.only);
  const programs = PROGRAMS.filter(({ name }) => only.test(name));
  if (values.list) return list(programs);
  if (process.platform !== "linux" || process.arch !== "x64") throw new Error("needs Linux on x86-64");
  mkdirSync(STORE, { recursive: true });
  if (values.get) return get(programs);
  const qemu = values["no-qemu"] ? null : qemuVersion();
  const folder = mkdtempSync(join(tmpdir(), "goemu-programs-"));
  const remove = (): void => {
    if (!values.keep) rmSync(folder, { recursive: true, force: true });
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      remove();
      process.exit(130);
    });
  }
  try {
    cpSync(join(root, "dist"), join(folder, "dist"), { recursive: true });
    const command = join(folder, "dist/goemu.js");
    const build = digestOf(join(folder, "dist"));
    const ways: Ways = { goemu: [process.execPath, command], build, qemu, folder };
    if (values.keep) say(`jobs are in ${folder}`);
    for (const program of programs) {
      const known = loadResults().get(program.name);
      if (!values.again && known?.build === build && known.from === sourceName(program.source)) continue;
      try {
        const result = await measure(program, ways, rounds);
        saveResult(result);
        tell(program, result);
      } catch (error) {
        say(`${program.name}: ${(error as Error).stack}`);
        process.exitCode = 2;
      }
    }
  } finally {
    remove();
  }
  const results = loadResults();
  if (values.update) {
    const host = `${cpus()[0]?.model ?? "unknown"}, ${cpus().length} CPUs, Node.js ${process.versions.node}`;
    writeFileSync(join(root, "docs/programs.md"), page(PROGRAMS, results, { host, qemu }));
  }
  const wrong = programs.filter(({ name, left }) => left === undefined && verdict(results.get(name)) === "differs");
  if (wrong.length > 0) process.exitCode ??= 1;
}

if (values.help) process.stdout.write(USAGE);
else await main();
