// npm run soak: programs that run for a while, each first with an empty translation cache and then with what the first run
// left: their status and output, and goemu's own memory, which must not grow.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { fixturePath } from "../../fixtures/programs.ts";
import { growthOf, type MemorySample, sampleOf } from "./growth.ts";
import { load } from "./load.ts";

const USAGE = `usage: npm run soak -- [--short] [--only REGEX]
       npm run soak -- PROGRAM [ARGS…]

  --short       some seconds for each program in place of a minute, as .ci/run does
  --only REGEX  programs whose name matches
`;

const MEBI = 2 ** 20;
const SAMPLE_MS = 250;
/** Steady growth in the second half of a run that is a leak: in a short run caches still fill. */
const LIMIT = { long: 12 * MEBI, short: 48 * MEBI };

interface Job {
  readonly name: string;
  readonly command: readonly string[];
  /** Standard output, as it has to be; undefined for a program that nobody knows. */
  readonly output: RegExp | undefined;
  /** Does something with the program while it runs, once it has printed a line, and has it end. */
  readonly use?: (line: string) => Promise<string>;
}

function jobs(short: boolean): Job[] {
  const soak = fixturePath("bin/soak");
  const [served, seconds] = short ? [6, 6] : [30, 60];
  const serve = async (address: string): Promise<string> => {
    const answered = await load(address, served);
    await (await fetch(`http://${address}/quit`)).text();
    return `${answered} requests`;
  };
  const own = ["compute", "goroutines", "garbage"].map((name) => {
    return { name, command: [soak, name, String(seconds)], output: new RegExp(`^${name} ok\n$`) };
  });
  const server = [fixturePath("bin/network"), "serve", "127.0.0.1:0"];
  return [{ name: "server", command: server, output: /^127\.0\.0\.1:\d+\n/, use: serve }, ...own];
}

interface Ended {
  readonly status: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly note: string;
  readonly memory: readonly MemorySample[];
  readonly heap: readonly number[];
  readonly seconds: number;
}

const GOEMU = fileURLToPath(new URL("../../dist/goemu.js", import.meta.url));
const PROBE = new URL("./probe.mjs", import.meta.url).href;

/** Runs a program in goemu and looks at its memory now and then. */
async function run(job: Job, folder: string, cache: string, isOwn: boolean): Promise<Ended> {
  const probe = join(folder, `heap-${performance.now()}`);
  const env = { ...process.env, XDG_CACHE_HOME: cache, GOEMU_SOAK_PROBE: probe };
  const start = performance.now();
  const args = ["--import", PROBE, GOEMU, ...job.command];
  const stdin = isOwn ? "ignore" : "inherit";
  const child = spawn(process.execPath, args, { env, stdio: [stdin, "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  let begun: Promise<string> | undefined;
  child.stdout?.on("data", (bytes: Buffer) => {
    if (!isOwn) process.stdout.write(bytes);
    stdout = (stdout + bytes).slice(-MEBI);
    if (job.use !== undefined && stdout.includes("\n")) begun ??= job.use(stdout.split("\n")[0]);
    begun?.catch(() => child.kill("SIGKILL"));
  });
  child.stderr?.on("data", (bytes: Buffer) => {
    if (!isOwn) process.stderr.write(bytes);
    stderr = (stderr + bytes).slice(-MEBI);
  });
  const memory: MemorySample[] = [];
  const sampler = setInterval(() => {
    try {
      const sample = sampleOf(readFileSync(`/proc/${child.pid}/smaps`, "latin1"));
      // A process that is about to be gone has let go of the guest first.
      if (sample.guest > 0) memory.push(sample);
    } catch {
      // It has just ended, or this host has no such file.
    }
  }, SAMPLE_MS);
  const status = await new Promise<number | string | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? signal));
  });
  clearInterval(sampler);
  const note = await (begun ?? Promise.resolve("")).catch(String);
  const seconds = (performance.now() - start) / 1000;
  return { status, stdout, stderr, note, memory, heap: heapOf(probe), seconds };
}

/** What the probe has written, in bytes: the heap and what hangs on it. */
function heapOf(file: string): number[] {
  try {
    const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line) as { heap: number; external: number }).map((s) => s.heap + s.external);
  } catch {
    return [];
  }
}

/** What is wrong with a run. */
function complaints(job: Job, ended: Ended, limit: number): string[] {
  const found: string[] = [];
  const { status, stdout, stderr, note, memory, heap } = ended;
  if (job.output !== undefined) {
    if (status !== 0) found.push(`status ${status}`);
    if (!job.output.test(stdout)) found.push(`printed ${JSON.stringify(stdout.slice(0, 300))}`);
    const said = stderr.replace(/^rounds .*\n/m, "");
    if (said !== "") found.push(`said ${JSON.stringify(said.slice(0, 300))}`);
  } else if (/^goemu: .*internal error/m.test(stderr)) found.push("goemu failed");
  if (note.startsWith("Error")) found.push(note);
  const grown = { memory: growthOf(memory.map(({ own }) => own)), "JavaScript heap": growthOf(heap) };
  for (const [what, bytes] of Object.entries(grown)) {
    if (bytes !== undefined && bytes > limit) found.push(`${what} grew steadily, by ${mebi(bytes)} in the second half`);
  }
  return found;
}

const mebi = (bytes: number | undefined): string => (bytes === undefined ? "?" : `${(bytes / MEBI).toFixed(1)} MiB`);

function describe(ended: Ended): string {
  const { memory, heap, seconds, stderr, note } = ended;
  const own = memory.map((sample) => sample.own);
  const rounds = /^rounds .*$/m.exec(stderr)?.[0] ?? note;
  return [
    `${seconds.toFixed(0)} s`,
    `own memory ${mebi(own.at(-1))} (steady growth ${mebi(growthOf(own))})`,
    `heap ${mebi(heap.at(-1))} (${mebi(growthOf(heap))})`,
    `guest ${mebi(memory.at(-1)?.guest)}`,
    ...(rounds === "" ? [] : [rounds]),
  ].join(", ");
}

async function main(): Promise<void> {
  const at = process.argv.slice(2).findIndex((arg, i, all) => !arg.startsWith("-") && all[i - 1] !== "--only");
  const given = at < 0 ? process.argv.slice(2) : process.argv.slice(2, 2 + at);
  const command = at < 0 ? [] : process.argv.slice(2 + at);
  const { values } = parseArgs({
    args: given,
    options: {
      short: { type: "boolean", default: false },
      only: { type: "string", default: "" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const own = command.length === 0;
  const only = new RegExp(values.only);
  const chosen = own
    ? jobs(values.short).filter(({ name }) => only.test(name))
    : [{ name: command[0], command, output: undefined }];
  const folder = mkdtempSync(join(tmpdir(), "goemu-soak-"));
  let isGood = chosen.length > 0;
  try {
    for (const job of chosen) {
      const cache = mkdtempSync(join(folder, "cache-"));
      const statuses = new Set<unknown>();
      for (const state of ["cold", "warm"]) {
        const ended = await run(job, folder, cache, own);
        statuses.add(ended.status);
        const wrong = complaints(job, ended, values.short ? LIMIT.short : LIMIT.long);
        if (statuses.size > 1) wrong.push(`ended with ${ended.status}, with another status before`);
        const status = own ? "" : `status ${ended.status}, `;
        process.stdout.write(
          `${wrong.length === 0 ? "ok  " : "FAIL"} ${job.name}, ${state} cache: ${status}${describe(ended)}\n`,
        );
        for (const line of wrong) process.stdout.write(`       ${line}\n`);
        isGood &&= wrong.length === 0;
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.exitCode = isGood ? 0 : 1;
}

await main();
