// Runs the programs that test Go's runtime (GOROOT/src/runtime/testdata) under goemu and natively, and compares.
//
//   node scripts/testprog.mjs [--programs testprog,testprognet,testprogcgo] [--procs 1,2,8] [--timeout SECONDS]
//                             [--jobs N] [--tier TIER] [--json FILE] [REGEX]
//
// Each of them has some hundred commands (deadlocks, crashes, locked threads, preemption, signals), which the runtime's own
// tests run. A command, if its name matches, runs natively three times with each GOMAXPROCS, then under goemu. How it
// ended (status, signal, or not in time) must be one of the ways in which it ended natively; its output, without addresses
// and the like, must be what it was natively, if that was the same each time. Needs Go and x86-64 Linux, for testprogcgo a
// C compiler, and a built goemu. Exits with 1 if something differs.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const NATIVE_ROUNDS = 3;
/** Commands that look for a race, and find it or not: either end of theirs is right. */
const LUCK = /^(concurrentMap\w+|DetectFinalizerAndCleanupLeaks)$/;
const LUCKY_ENDS = ["status 0", "status 2"];
/** Commands that say what the kernel did not allow; goemu has no namespaces and no working directory of a thread's own. */
const REFUSED = /^unshare not permitted$/m;
/** Output is compared up to here: some commands print until they are stopped. */
const MAX_OUTPUT = 1 << 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    programs: { type: "string", default: "testprog,testprognet,testprogcgo" },
    procs: { type: "string", default: "1,2,8" },
    timeout: { type: "string", default: "60" },
    jobs: { type: "string", default: "2" },
    tier: { type: "string" },
    json: { type: "string" },
  },
});
const [timeout, jobs] = [Number(values.timeout), Number(values.jobs)];
if (!(timeout > 0) || !(jobs >= 1) || positionals.length > 1) {
  console.error("--timeout and --jobs take a number; at most one REGEX");
  process.exit(2);
}
/** Natively what is not over by then never is. */
const nativeTimeout = Math.min(timeout, 10);
const wanted = new RegExp(positionals[0] ?? "");

/** Says why nothing is done, which is no failure. */
function skip(why) {
  console.log(`skipped: ${why}`);
  process.exit(0);
}

if (process.platform !== "linux" || process.arch !== "x64") skip("it needs Linux on x86-64");
const has = (command, ...args) => spawnSync(command, args).status === 0;
if (!has("go", "version")) skip("there is no go command");
const dist = fileURLToPath(new URL("../dist", import.meta.url));
if (!existsSync(join(dist, "goemu.js"))) {
  console.error("dist/goemu.js is not there: npm run build");
  process.exit(2);
}
const testdata = join(execFileSync("go", ["env", "GOROOT"], { encoding: "utf8" }).trim(), "src/runtime/testdata");
if (!existsSync(testdata)) skip(`${testdata} is not there: this Go comes without its tests`);

const folder = mkdtempSync(join(tmpdir(), "goemu-testprog-"));
// A copy, so that a rebuild meanwhile does not matter.
const goemu = join(folder, "dist/goemu.js");
cpSync(dist, join(folder, "dist"), { recursive: true });
process.on("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));

/** Builds a program; undefined where that can't be done here. */
function build(name) {
  const isCgo = name === "testprogcgo";
  if (isCgo && !has("gcc", "--version")) {
    console.log(`${name} skipped: there is no gcc`);
    return undefined;
  }
  const file = join(folder, name);
  const env = { ...process.env, CGO_ENABLED: isCgo ? "1" : "0" };
  const { status, stderr } = spawnSync("go", ["build", "-o", file, "."], { cwd: join(testdata, name), env });
  if (status === 0) return file;
  throw new Error(`${name} can't be built: ${stderr}`);
}

/** Names of a program's commands, as its sources register them. */
function commandsOf(program) {
  const names = new Set();
  for (const file of readdirSync(join(testdata, program))) {
    if (!file.endsWith(".go")) continue;
    const source = readFileSync(join(testdata, program, file), "utf8");
    for (const [, name] of source.matchAll(/\bregister\("(\w+)"/g)) names.add(name);
  }
  return [...names].filter((name) => wanted.test(name)).sort();
}

/** Runs a command to its end, or for so many seconds: how it ended, and what it wrote. */
function run(command, args, procs, seconds) {
  return new Promise((resolve) => {
    const cwd = mkdtempSync(join(folder, "cwd-"));
    const { HOME, PATH } = process.env;
    const env = { HOME, PATH, GOMAXPROCS: procs, XDG_CACHE_HOME: join(folder, "cache") };
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    const outputs = [child.stdout, child.stderr].map((stream) => {
      const output = { text: "" };
      stream.setEncoding("utf8").on("data", (text) => {
        output.text = (output.text + text).slice(0, MAX_OUTPUT);
      });
      return output;
    });
    let isLate = false;
    const killAll = () => {
      try {
        process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended.
      }
    };
    const timer = setTimeout(() => {
      isLate = true;
      killAll();
    }, seconds * 1000);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      killAll();
      rmSync(cwd, { recursive: true, force: true, maxRetries: 5 });
      resolve({
        end: isLate ? "not in time" : endOf(code, signal),
        output: outputs.map(({ text }) => plain(text)),
      });
    });
  });
}

/** How a command ended; for a guest's signal goemu exits with 128 and its number, as shells do. */
const endOf = (code, signal) => `status ${signal === null ? code : 128 + constants.signals[signal]}`;

/** Output without what may be different each time: addresses, numbers, times, and what other goroutines are doing. */
const plain = (text) =>
  text
    .replace(/^goemu: .*\(killed by signal \d+\)\n/gm, "")
    .replace(/^(goroutine \d+ .*?\n\n)goroutine \d+ .*/ms, "$1")
    .replace(/0x[0-9a-f]+/g, "0x…")
    .replace(/\b(goroutine|gp|m|g|pid|tid)([ =:]+)\d+/g, "$1$2…")
    .replace(/\b\d+(\.\d+)?(ns|µs|ms|s)\b/g, "…");

const same = (a, b) => a.output.every((text, i) => text === b.output[i]);

/** Runs a command in both ways; what differs, in words. */
async function compare({ program, file, name, procs }) {
  const natives = [];
  for (let round = 0; round < NATIVE_ROUNDS; round++) {
    natives.push(await run(file, [name], procs, nativeTimeout));
    if (natives[0].end === "not in time") break;
  }
  const ends = [...new Set(natives.map(({ end }) => end))];
  const options = values.tier === undefined ? [] : ["--tier", values.tier];
  const isEndless = ends.includes("not in time");
  const found = await run(
    process.execPath,
    [goemu, "run", ...options, file, name],
    procs,
    isEndless ? nativeTimeout : timeout,
  );
  const isSteady = !isEndless && natives.every((native) => same(native, natives[0]));
  let difference;
  const isRefused = found.output.some((text) => REFUSED.test(text));
  if (LUCK.test(name) ? !LUCKY_ENDS.includes(found.end) : !ends.includes(found.end))
    difference = `${found.end}, natively ${ends.join(" or ")}`;
  else if (isRefused) difference = undefined;
  else if (isSteady && !LUCK.test(name) && !same(found, natives[0])) difference = "another output";
  return {
    program,
    name,
    procs,
    ends,
    end: found.end,
    isSteady,
    difference,
    native: natives[0].output,
    output: found.output,
  };
}

const work = values.programs.split(",").flatMap((program) => {
  const file = build(program);
  if (file === undefined) return [];
  return commandsOf(program).flatMap((name) =>
    values.procs.split(",").map((procs) => ({ program, file, name, procs })),
  );
});
mkdirSync(join(folder, "cache"));
const results = [];
let next = 0;
const worker = async () => {
  while (next < work.length) {
    const result = await compare(work[next++]);
    results.push(result);
    const { program, name, procs, difference } = result;
    if (difference !== undefined) console.log(`${program} ${name}, GOMAXPROCS ${procs}: ${difference}`);
  }
};
await Promise.all(Array.from({ length: jobs }, worker));
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results, undefined, 1));
const steady = results.filter(({ isSteady }) => isSteady).length;
const differing = results.filter(({ difference }) => difference !== undefined).length;
console.log(`${results.length} runs, ${steady} of them with an output to compare: ${differing} differ`);
process.exitCode = differing > 0 ? 1 : 0;
