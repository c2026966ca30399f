// npm run bench: the same programs natively, under qemu-x86_64 and under goemu, in one run, one after another in each
// round, so that whatever else the host does hits all alike. Medians, ratios and means; nothing is asserted.
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { availableJobs, availableRunners, type Job, type Runner } from "./jobs.ts";
import { measure, type Sample } from "./measure.ts";
import { formatMemory, formatSummary, formatTimes, type Row, rowOf, summaryOf } from "./report.ts";
import { buildPrograms, hasGo, measureServer, type ServerPrograms } from "./server/measure.ts";
import {
  formatServers,
  SERVER_JOBS,
  type ServerJob,
  type ServerRow,
  type ServerSample,
  serverMeans,
  serverRowOf,
} from "./server/rows.ts";

const USAGE = `usage: npm run bench -- [options]

  --only REGEX    jobs whose name matches
  --rounds N      how often each job runs in each way, at most (default: 5)
  --tier TIER     goemu's option
  --json          print one JSON document, with every measurement
  --list          name the jobs
`;

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    only: { type: "string", default: "" },
    tier: { type: "string" },
    list: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

/** Runs a job in each way, round by round; goemu's first round finds no translation cache. @throws what a run throws */
function rowFor(job: Job, runners: readonly Runner[], rounds: number): Row {
  const samples: Partial<Record<Runner["name"], Sample[]>> = {};
  const cache = mkdtempSync(join(tmpdir(), "goemu-bench-"));
  try {
    for (let round = 1; round <= Math.min(rounds, job.rounds ?? rounds); round++) {
      for (const runner of runners) {
        progress(`${job.name}: round ${round}, ${runner.name}`);
        (samples[runner.name] ??= []).push(measure(job, runner, { XDG_CACHE_HOME: cache }));
      }
    }
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
  return rowOf({ job, samples });
}

/** The same for a server under load. @throws what a run throws */
async function serverRowFor(
  job: ServerJob,
  runners: readonly Runner[],
  rounds: number,
  programs: ServerPrograms,
): Promise<ServerRow> {
  const samples: Partial<Record<Runner["name"], ServerSample[]>> = {};
  const cache = mkdtempSync(join(tmpdir(), "goemu-bench-"));
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const runner of runners) {
        progress(`${job.name}: round ${round}, ${runner.name}`);
        (samples[runner.name] ??= []).push(await measureServer(job, runner, programs, { XDG_CACHE_HOME: cache }));
      }
    }
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
  return serverRowOf(job.name, samples);
}

/** The servers' rows; none, with a line on why, where there is no Go to build them with. */
async function serverRows(
  jobs: readonly ServerJob[],
  runners: readonly Runner[],
  rounds: number,
): Promise<ServerRow[]> {
  if (jobs.length === 0) return [];
  if (!hasGo()) {
    process.stderr.write("bench: the servers are left out: there is no go to build them with\n");
    return [];
  }
  const programs = buildPrograms();
  const rows: ServerRow[] = [];
  try {
    for (const job of jobs) {
      try {
        rows.push(await serverRowFor(job, runners, rounds, programs));
      } catch (error) {
        fail(error);
      }
    }
  } finally {
    rmSync(dirname(programs.server), { recursive: true, force: true });
  }
  return rows;
}

function fail(error: unknown): void {
  progress("");
  process.stderr.write(`bench: ${(error as Error).message}\n`);
  process.exitCode = 1;
}

/** Measures and prints. A job that fails is told of and left out, and the exit status is 1. */
async function main(): Promise<void> {
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds: "${values.rounds}" is no number of rounds`);
  const options = values.tier === undefined ? [] : ["--tier", values.tier];
  const runners = availableRunners(options);
  const only = new RegExp(values.only);
  const jobs = availableJobs(only);
  const serverJobs = SERVER_JOBS.filter(({ name }) => only.test(name));
  if (values.list) {
    process.stdout.write(jobs.map(({ name, group }) => `${group}: ${name}\n`).join(""));
    process.stdout.write(serverJobs.map(({ name }) => `server: ${name}\n`).join(""));
    return;
  }
  const rows: Row[] = [];
  for (const job of jobs) {
    try {
      rows.push(rowFor(job, runners, rounds));
    } catch (error) {
      fail(error);
    }
  }
  const servers = await serverRows(serverJobs, runners, rounds);
  progress("");

  const host = {
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: cpus().length,
    node: process.versions.node,
    load: loadavg()[0],
  };
  const summary = summaryOf(rows);
  if (values.json) {
    process.stdout.write(
      `${JSON.stringify({ version: 4, host, rounds, options, summary, rows, servers, serverMeans: serverMeans(servers) })}\n`,
    );
    return;
  }
  const about = `${host.cpu}, ${host.cpus} CPUs, Node.js ${host.node}, load ${host.load.toFixed(1)}; medians of ${rounds}${options.length > 0 ? `; goemu ${options.join(" ")}` : ""}`;
  const parts = [
    ...(rows.length > 0 ? [formatTimes(rows), formatMemory(rows)] : []),
    ...(servers.length > 0 ? [formatServers(servers)] : []),
    ...(summary.all.jobs > 0 ? [formatSummary(summary)] : []),
    about,
  ];
  process.stdout.write(`${parts.join("\n\n")}\n`);
}

if (values.help) process.stdout.write(USAGE);
else await main();
