// Runs Go's own package tests under goemu and natively, compares them test by test, and writes docs/go-tests.md.
//
//   node scripts/go-tests.mjs [--modes full,short] [--levels v1,v3] [--timeout SECONDS] [--state FILE]
//                             [--seconds N] [PACKAGE...]
//
// Packages are `go list` patterns; without any, those whose code leans most on the CPU. With packages named, the page is
// left as it is. The modes are those of MODES. A run that takes longer than the timeout is cut off, and the tests that it
// did not end run one by one, until the package has taken twice the timeout. With --state, results are kept in the file,
// and what is in it is not run again. After --seconds no package is begun; the page names those that are left. Needs Go
// and x86-64 Linux. Exits with 1 if a test came out otherwise than natively.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const PATTERNS = ["math", "math/...", "strconv", "bytes", "strings", "hash/...", "crypto/..."];

/** What is run, and under which of goemu's tiers. */
const MODES = {
  full: { title: "All tests, the default tier", goTest: [], goemu: [] },
  short: { title: "With -test.short, the interpreter", goTest: ["-test.short"], goemu: ["--tier", "interpreter"] },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    modes: { type: "string", default: Object.keys(MODES).join(",") },
    levels: { type: "string", default: "v1,v3" },
    timeout: { type: "string", default: "900" },
    state: { type: "string" },
    seconds: { type: "string", default: "Infinity" },
  },
});
const modes = values.modes.split(",");
const levels = values.levels.split(",");
const timeout = Number(values.timeout);
const until = performance.now() + 1000 * Number(values.seconds);
if (
  !modes.every((mode) => mode in MODES) ||
  !levels.every((level) => /^v[1-4]$/.test(level)) ||
  !(timeout > 0) ||
  Number.isNaN(until)
) {
  console.error("--modes takes full, short or both, --levels v1 to v4, with commas; the others a number of seconds");
  process.exit(2);
}

/** Packages with tests: import path and folder. */
function packages() {
  const format = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}\t{{.Dir}}{{end}}";
  const patterns = positionals.length > 0 ? positionals : PATTERNS;
  const lines = execFileSync("go", ["list", "-f", format, ...patterns], { encoding: "utf8" }).split("\n");
  return [...new Set(lines)].filter(Boolean).map((line) => line.split("\t"));
}

const folder = mkdtempSync(join(tmpdir(), "goemu-go-tests-"));
// A copy, so that a rebuild meanwhile does not matter.
const goemu = join(folder, "dist/goemu.js");
cpSync(join(root, "dist"), join(folder, "dist"), { recursive: true });
const goroot = execFileSync("go", ["env", "GOROOT"], { encoding: "utf8" }).trim();

/**
 * The tests' environment, the same natively. Without the go command, whose compiler would run under goemu for hours:
 * tests that need it skip themselves.
 */
function environment() {
  const { HOME, TMPDIR } = process.env;
  const path = (process.env.PATH ?? "").split(":").filter((entry) => !/\/go\/bin\/?$/.test(entry));
  const cache = join(folder, "cache");
  return { HOME, PATH: path.join(":"), GOROOT: goroot, XDG_CACHE_HOME: cache, ...(TMPDIR && { TMPDIR }) };
}

/** Runs a command to its end: output, exit status, and seconds; a run that takes longer than the limit is killed. */
function run(command, args, cwd, limit) {
  return new Promise((resolve) => {
    const started = performance.now();
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], env: environment() });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
    const timer = setTimeout(() => child.kill("SIGKILL"), limit * 1000);
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      resolve({ output, status: signal ?? status, seconds: (performance.now() - started) / 1000 });
    });
  });
}

/** Results by test name; a subtest's name has its parents in front. */
function results(output) {
  const found = new Map();
  for (const [, result, name] of output.matchAll(/^\s*--- (PASS|FAIL|SKIP): (\S+) \(/gm)) found.set(name, result);
  return found;
}

/** Runs a test binary under goemu; what the timeout cut off, test by test. */
async function emulate(mode, binary, args, cwd, expected) {
  const start = (more, limit) =>
    run(process.execPath, [goemu, "run", ...MODES[mode].goemu, binary, ...args, ...more], cwd, limit);
  const whole = await start([], timeout);
  if (whole.status !== "SIGKILL") return { ...whole, late: [] };
  let { output, seconds } = whole;
  const late = [];
  const done = results(output);
  const left = [...expected.keys()].filter((name) => !name.includes("/") && !done.has(name));
  // One of those that had started is what took so long.
  const begun = (name) => Number(output.includes(`=== RUN   ${name}\n`));
  for (const name of left.sort((a, b) => begun(a) - begun(b))) {
    const one = await start([`-test.run=^${name}$`], Math.max(2 * timeout - seconds, 1));
    output += one.output;
    seconds += one.seconds;
    if (one.status === "SIGKILL") late.push(name);
  }
  return { output, seconds, late, status: undefined };
}

/** Runs a package's tests natively and under goemu. */
async function test(mode, name, directory, level) {
  const binary = join(folder, `${name.replaceAll("/", "_")}.${level}.test`);
  execFileSync("go", ["test", "-c", "-o", binary, name], {
    env: { ...process.env, GOAMD64: level, CGO_ENABLED: "0" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (statSync(binary, { throwIfNoEntry: false }) === undefined) return undefined;
  const args = ["-test.v", "-test.timeout=0", ...MODES[mode].goTest];
  const native = await run(binary, args, directory, timeout);
  const expected = results(native.output);
  const emulated = await emulate(mode, binary, args, directory, expected);
  rmSync(binary);
  const actual = results(emulated.output);
  const row = { mode, name, level, tests: expected.size, passed: 0, failed: [], differences: [], missing: 0 };
  row.passed = [...actual.values()].filter((result) => result === "PASS").length;
  row.seconds = [native.seconds, emulated.seconds];
  for (const key of new Set([...expected.keys(), ...actual.keys()])) {
    const [one, other] = [expected.get(key) ?? "not run", actual.get(key) ?? "not run"];
    if (one === "FAIL" && other === "FAIL") row.failed.push(key);
    if (one === other) continue;
    if (emulated.late.includes(key.replace(/\/.*/, ""))) row.missing++;
    else row.differences.push(`${key}: natively ${one}, goemu ${other}`);
  }
  const { status } = emulated;
  if (status !== undefined && native.status !== status) {
    row.differences.push(`ended with ${native.status} natively, ${status} in goemu`);
  }
  if (row.differences.length > 0) {
    mkdirSync(join(tmpdir(), "goemu-go-tests"), { recursive: true });
    const file = join(tmpdir(), "goemu-go-tests", `${name.replaceAll("/", "_")}.${level}.${mode}.txt`);
    writeFileSync(file, `${emulated.output}\n\nnatively:\n${native.output}`);
  }
  return row;
}

const find = (rows, mode, name, level) =>
  rows.find((row) => row.mode === mode && row.name === name && row.level === level);

const sum = (rows, count) => rows.reduce((total, row) => total + count(row), 0);

/** The part of the page about a mode. */
function section(mode, rows) {
  const left = packages().flatMap(([name]) => {
    const own = levels.filter((level) => find(rows, mode, name, level) === undefined);
    return own.length > 0 ? [`- ${name} (${own.join(", ")})`] : [];
  });
  rows.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.level < b.level ? -1 : 1));
  const list = (what) => rows.flatMap((row) => row[what].map((text) => `- ${row.name} (${row.level}): ${text}`));
  const [differences, failed] = [list("differences"), list("failed")];
  return [
    "",
    `## ${MODES[mode].title}`,
    "",
    `${sum(rows, ({ tests }) => tests)} results, **${differences.length} of them other than natively**. Not reached in the time they were given: ${sum(rows, ({ missing }) => missing)}.`,
    "",
    ...(differences.length > 0 ? [...differences, ""] : []),
    "| Package | GOAMD64 | Tests | Passed under goemu | Other than natively | Not reached | Native, s | goemu, s |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...rows.map(({ name, level, tests, passed, differences, missing, seconds }) => {
      const times = seconds.map((each) => each.toFixed(1));
      return `| ${[name, level, tests, passed, differences.length, missing, ...times].join(" | ")} |`;
    }),
    ...(failed.length > 0 ? ["", "Failed in both:", "", ...failed] : []),
    ...(left.length > 0 ? ["", "Not run yet:", "", ...left] : []),
  ];
}

function page(rows) {
  const version = execFileSync("go", ["env", "GOVERSION"], { encoding: "utf8" }).trim();
  return `${[
    "# Go's own tests",
    "",
    "Written by `node scripts/go-tests.mjs`; do not edit.",
    "",
    `The tests of these standard packages of ${version}, compiled with \`go test -c\`, run natively and under goemu,`,
    "compared test by test and subtest by subtest.",
    ...Object.keys(MODES).flatMap((mode) => {
      const own = rows.filter((row) => row.mode === mode);
      return own.length > 0 ? section(mode, own) : [];
    }),
  ].join("\n")}\n`;
}

const rows = values.state !== undefined && existsSync(values.state) ? JSON.parse(readFileSync(values.state)) : [];
try {
  for (const mode of modes) {
    for (const [name, directory] of packages()) {
      for (const level of levels) {
        if (find(rows, mode, name, level) !== undefined || performance.now() > until) continue;
        const row = await test(mode, name, directory, level);
        if (row === undefined) continue;
        rows.push(row);
        if (values.state !== undefined) writeFileSync(values.state, JSON.stringify(rows));
        const { tests, differences, missing, seconds } = row;
        const times = `${seconds[0].toFixed(1)} s native, ${seconds[1].toFixed(1)} s goemu`;
        console.log(
          `${name} ${level} ${mode}: ${tests} tests, ${differences.length} differ, ${missing} not reached; ${times}`,
        );
      }
    }
  }
  if (positionals.length === 0) writeFileSync(join(root, "docs/go-tests.md"), page(rows));
} finally {
  rmSync(folder, { recursive: true });
}
for (const { mode, name, level, differences } of rows) {
  for (const difference of differences) console.log(`${name} (${level}, ${mode}): ${difference}`);
}
process.exitCode = rows.some(({ differences }) => differences.length > 0) ? 1 : 0;
