// npm run bench: the same programs natively, under qemu-x86_64 and under goemu, in one run, one after another in each
// round, so that whatever else the host does hits all alike. Medians and their ratios; nothing is asserted.
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { availableJobs, availableRunners } from "./jobs.ts";
import { measure } from "./measure.ts";
import { formatTable, type Row, rowOf } from "./report.ts";

const { values } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    only: { type: "string", default: "" },
  },
});
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds: "${values.rounds}" is no number of rounds`);

const runners = availableRunners();
const rows: Row[] = [];
for (const job of availableJobs(new RegExp(values.only))) {
  const samples: Partial<Record<(typeof runners)[number]["name"], number[]>> = {};
  for (let round = 0; round < rounds; round++) {
    for (const runner of runners) {
      const list = samples[runner.name] ?? [];
      samples[runner.name] = list;
      list.push(await measure(job, runner));
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${job.name}: round ${round + 1}, ${runner.name}`);
    }
  }
  rows.push(rowOf({ job, samples }));
}
if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");

const host = {
  cpu: cpus()[0]?.model ?? "unknown",
  cpus: cpus().length,
  node: process.versions.node,
  load: loadavg()[0],
};
if (values.json) process.stdout.write(`${JSON.stringify({ version: 1, host, rounds, rows })}\n`);
else {
  const about = `${host.cpu}, ${host.cpus} CPUs, Node.js ${host.node}, load ${host.load.toFixed(1)}; medians of ${rounds}`;
  process.stdout.write(`${formatTable(rows)}\n\n${about}\n`);
}
