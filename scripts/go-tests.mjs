// Runs Go's own package tests under goemu and natively, compares them test by test, and writes docs/go-tests.md.
//
//   node scripts/go-tests.mjs [--levels v1,v3] [--short] [--timeout SECONDS] [--tier TIER] [--state FILE] [PACKAGE...]
//
// Packages are `go list` patterns; without any, those whose code leans most on the CPU. With packages named, the page is
// left as it is. A run that takes longer than the timeout is cut off, and the tests that it did not get to run one by
// one, each with the same timeout. With --state, packages whose results are in the file are not run again. Needs Go and
// x86-64 Linux. Exits with 1 if a test came out otherwise than natively, unless it asks for a process and is told that
// there is none (ENOSYS): a test that came out otherwise is run again by itself, with --strace, to see.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const PATTERNS = ["math", "math/...", "strconv", "bytes", "strings", "hash/...", "crypto/..."];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    levels: { type: "string", default: "v1,v3" },
    short: { type: "boolean", default: false },
    timeout: { type: "string", default: "900" },
    tier: { type: "string", default: "interpreter" },
    state: { type: "string" },
  },
});
const levels = values.levels.split(",");
const timeout = Number(values.timeout);
if (levels.some((level) => !/^v[1-4]$/.test(level)) || !(timeout > 0)) {
  console.error("--levels takes v1 to v4, separated by commas; --timeout a number of seconds");
  process.exit(2);
}

/** Packages with tests: import path and folder. */
function packages() {
  const format = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}{{end}}";
  const patterns = positionals.length > 0 ? positionals : PATTERNS;
  const lines = execFileSync("go", ["list", "-f", format, ...patterns], { encoding: "utf8" }).split("\n");
  return [...new Set(lines)].filter(Boolean).map((line) => line.split("\t"));
}

/** Runs a command to its end: output, exit status, and seconds; a run that takes too long is killed. */
function run(command, args, cwd) {
  return new Promise((resolve) => {
    const started = performance.now();
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: environment() });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
    const timer = setTimeout(() => child.kill("SIGKILL"), timeout * 1000);
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      resolve({ output, status: signal ?? status, seconds: (performance.now() - started) / 1000 });
    });
  });
}

/** Tests that start the go command can't under goemu: they skip themselves natively too, when there is none. */
function environment() {
  const { HOME, TMPDIR } = process.env;
  const path = (process.env.PATH ?? "").split(":").filter((folder) => !/\/go\/bin\/?$/.test(folder));
  return { HOME, PATH: path.join(":"), GOROOT: goroot, ...(TMPDIR === undefined ? {} : { TMPDIR }) };
}
const goroot = execFileSync("go", ["env", "GOROOT"], { encoding: "utf8" }).trim();

/** Results by test name; a subtest's name has its parents in front. */
function results(output) {
  const found = new Map();
  for (const [, result, name] of output.matchAll(/^\s*--- (PASS|FAIL|SKIP): (\S+) \(/gm)) found.set(name, result);
  return found;
}

/** The top-level tests of these names. */
const topLevel = (names) => [...new Set(names.map((name) => name.replace(/\/.*/, "")))];

const isWithin = (name, parent) => name === parent || name.startsWith(`${parent}/`);

const folder = mkdtempSync(join(tmpdir(), "goemu-go-tests-"));
// A copy, so that a rebuild meanwhile does not matter.
const goemu = join(folder, "dist/goemu.js");
cpSync(join(root, "dist"), join(folder, "dist"), { recursive: true });
const rows = values.state !== undefined && existsSync(values.state) ? JSON.parse(readFileSync(values.state)) : [];

/** Runs a test binary under goemu; what the timeout cut off, test by test. */
async function emulate(binary, args, cwd, expected) {
  const start = (more) => run(process.execPath, [goemu, "run", "--tier", values.tier, binary, ...args, ...more], cwd);
  const whole = await start([]);
  if (whole.status !== "SIGKILL") return { ...whole, late: [] };
  let { output, seconds } = whole;
  const late = [];
  const done = results(output);
  for (const name of expected.keys()) {
    if (name.includes("/") || done.has(name)) continue;
    const one = await start([`-test.run=^${name}$`]);
    output += one.output;
    seconds += one.seconds;
    if (one.status === "SIGKILL") late.push(name);
  }
  return { output, seconds, late, status: undefined };
}

/** What goemu has not got, and the system call that asks for it, by name or number. */
const ABSENT = { processes: /^\d+ (v?fork|clone3?)\(.* ENOSYS/m };

/** Which of these a test, or the whole binary, was refused. */
async function refused(binary, args, cwd) {
  const trace = `${binary}.strace`;
  await run(process.execPath, [goemu, "run", `--strace=${trace}`, "--tier", values.tier, binary, ...args], cwd);
  const calls = readFileSync(trace, "utf8");
  rmSync(trace);
  return Object.keys(ABSENT).find((what) => ABSENT[what].test(calls));
}

async function test(name, directory, level) {
  if (rows.some((row) => row.name === name && row.level === level)) return;
  const binary = join(folder, `${name.replaceAll("/", "_")}.${level}.test`);
  execFileSync("go", ["test", "-c", "-o", binary, name], {
    env: { ...process.env, GOAMD64: level, CGO_ENABLED: "0" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (statSync(binary, { throwIfNoEntry: false }) === undefined) return;
  const args = ["-test.v", "-test.timeout=0", ...(values.short ? ["-test.short"] : [])];
  const native = await run(binary, args, directory);
  const expected = results(native.output);
  const emulated = await emulate(binary, args, directory, expected);
  const actual = results(emulated.output);
  const keys = [...new Set([...expected.keys(), ...actual.keys()])];
  const differ = keys.filter((key) => expected.get(key) !== actual.get(key));
  const differences = [];
  const row = { name, level, tests: expected.size, passed: 0, differences, absent: {}, missing: 0 };
  row.passed = [...actual.values()].filter((result) => result === "PASS").length;
  // Without any result it was refused before the first test.
  const all = actual.size === 0 ? await refused(binary, args, directory) : undefined;
  for (const test of topLevel(differ)) {
    const own = differ.filter((key) => isWithin(key, test));
    if (emulated.late.includes(test)) {
      row.missing += own.length;
      continue;
    }
    const what = all ?? (await refused(binary, [...args, `-test.run=^${test}$`], directory));
    if (what !== undefined) row.absent[what] = [...(row.absent[what] ?? []), ...own];
    else {
      const text = (result) => result ?? "not run";
      differences.push(
        ...own.map((key) => `${key}: natively ${text(expected.get(key))}, goemu ${text(actual.get(key))}`),
      );
    }
  }
  rmSync(binary);
  const { status } = emulated;
  const refusals = Object.values(row.absent).flat().length;
  if (status !== undefined && native.status !== status && refusals === 0) {
    differences.push(`ended with ${native.status} natively, ${status} in goemu`);
  }
  row.seconds = [native.seconds, emulated.seconds];
  rows.push(row);
  if (values.state !== undefined) writeFileSync(values.state, JSON.stringify(rows));
  const counts = `${differences.length} differ, ${refusals} need what is not there, ${row.missing} not reached`;
  const times = `${native.seconds.toFixed(1)} s native, ${emulated.seconds.toFixed(1)} s goemu`;
  console.log(`${name} ${level}: ${expected.size} tests, ${counts}; ${times}`);
  if (differences.length > 0) {
    mkdirSync(join(tmpdir(), "goemu-go-tests"), { recursive: true });
    const file = join(tmpdir(), "goemu-go-tests", `${name.replaceAll("/", "_")}.${level}.txt`);
    writeFileSync(file, `${emulated.output}\n\nnatively:\n${native.output}`);
  }
}

const total = (count) => rows.reduce((sum, row) => sum + count(row), 0);

function page() {
  rows.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.level < b.level ? -1 : 1));
  const version = execFileSync("go", ["env", "GOVERSION"], { encoding: "utf8" }).trim();
  const lines = [
    "# Go's own tests",
    "",
    "Written by `node scripts/go-tests.mjs`; do not edit.",
    "",
    `The tests of these standard packages of ${version}, compiled with \`go test -c\`${values.short ? ", run with `-test.short`" : ""},`,
    `natively and under goemu (\`--tier ${values.tier}\`), compared test by test and subtest by subtest.`,
    "",
    `${total(({ tests }) => tests)} results, ${total(({ differences }) => differences.length)} of them other than natively. Counted apart: tests that ask for`,
    `what goemu has not, processes (${total(({ absent }) => absent.processes?.length ?? 0)}), and tests that took longer than ${timeout} s (${total(({ missing }) => missing)}).`,
    "",
    "| Package | GOAMD64 | Tests | Passed under goemu | Other than natively | Need what is not there | Not reached | Native, s | goemu, s |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...rows.map(({ name, level, tests, passed, differences, absent, missing, seconds }) => {
      const refusals = Object.values(absent).flat().length;
      const times = seconds.map((each) => each.toFixed(1));
      return `| ${[name, level, tests, passed, differences.length, refusals, missing, ...times].join(" | ")} |`;
    }),
  ];
  const section = (title, entries) => {
    if (entries.length > 0) lines.push("", `## ${title}`, "", ...entries.map((entry) => `- ${entry}`));
  };
  section(
    "Differences",
    rows.flatMap(({ name, level, differences }) =>
      differences.map((difference) => `${name} (${level}): ${difference}`),
    ),
  );
  for (const what of Object.keys(ABSENT)) {
    section(
      `Tests that need ${what}`,
      rows
        .filter(({ absent }) => absent[what] !== undefined)
        .map(({ name, level, absent }) => {
          const tests = topLevel(absent[what]);
          return `${name} (${level}): ${tests.length > 20 ? `${tests.length} tests` : tests.join(", ")}`;
        }),
    );
  }
  return `${lines.join("\n")}\n`;
}

try {
  for (const [name, directory] of packages()) {
    for (const level of levels) await test(name, directory, level);
    if (positionals.length === 0) writeFileSync(join(root, "docs/go-tests.md"), page());
  }
} finally {
  rmSync(folder, { recursive: true });
}
for (const { name, level, differences } of rows) {
  for (const difference of differences) console.log(`${name} (${level}): ${difference}`);
}
process.exitCode = rows.some(({ differences }) => differences.length > 0) ? 1 : 0;
