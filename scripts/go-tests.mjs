// Runs Go's own package tests under goemu and natively, compares them test by test, and writes docs/go-tests.md.
//
//   node scripts/go-tests.mjs [--levels v1,v3] [--short] [--timeout SECONDS] [PACKAGE...]
//
// Packages are `go list` patterns; without any, those whose code leans most on the CPU. With packages named, the page is
// left as it is. Needs Go and x86-64 Linux. Exits with 1 if a test came out otherwise than natively.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
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

const folder = mkdtempSync(join(tmpdir(), "goemu-go-tests-"));
// A copy, so that a rebuild meanwhile does not matter.
const goemu = join(folder, "dist/goemu.js");
cpSync(join(root, "dist"), join(folder, "dist"), { recursive: true });
const rows = [];
const differences = [];

async function test(name, directory, level) {
  const binary = join(folder, `${name.replaceAll("/", "_")}.${level}.test`);
  execFileSync("go", ["test", "-c", "-o", binary, name], {
    env: { ...process.env, GOAMD64: level, CGO_ENABLED: "0" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (statSync(binary, { throwIfNoEntry: false }) === undefined) return;
  const args = ["-test.v", "-test.timeout=0", ...(values.short ? ["-test.short"] : [])];
  const native = await run(binary, args, directory);
  const emulated = await run(process.execPath, [goemu, "run", binary, ...args], directory);
  rmSync(binary);
  const expected = results(native.output);
  const actual = results(emulated.output);
  const late = emulated.status === "SIGKILL";
  // Of a run that was cut off, what it got to is compared.
  const keys = late ? [...actual.keys()] : [...new Set([...expected.keys(), ...actual.keys()])];
  const differ = keys.filter((key) => expected.get(key) !== actual.get(key));
  const missing = late ? [...expected.keys()].filter((key) => !actual.has(key)).length : 0;
  const sameEnd = late || native.status === emulated.status;
  const passed = [...actual.values()].filter((result) => result === "PASS").length;
  rows.push({ name, level, tests: expected.size, passed, differ: differ.length, missing, native, emulated });
  for (const key of differ) {
    differences.push(
      `${name} (${level}): ${key}: natively ${expected.get(key) ?? "not run"}, goemu ${actual.get(key) ?? "not run"}`,
    );
  }
  const noProcess = /fork\/exec .*: function not implemented/.exec(emulated.output);
  if (noProcess !== null) differences.push(`${name} (${level}): a test starts a process: ${noProcess[0]}`);
  if (!sameEnd)
    differences.push(`${name} (${level}): ended with ${native.status} natively, ${emulated.status} in goemu`);
  const end = late ? `, ${missing} not reached in ${timeout} s` : sameEnd ? "" : `, ended with ${emulated.status}`;
  const verdict = `${differ.length === 0 ? "same" : `${differ.length} differ`}${end}`;
  const times = `${native.seconds.toFixed(1)} s native, ${emulated.seconds.toFixed(1)} s goemu`;
  console.log(`${name} ${level}: ${expected.size} tests, ${verdict}; ${times}`);
  if (differ.length > 0 || !sameEnd) {
    mkdirSync(join(tmpdir(), "goemu-go-tests"), { recursive: true });
    writeFileSync(join(tmpdir(), "goemu-go-tests", `${name.replaceAll("/", "_")}.${level}.txt`), emulated.output);
  }
}

function page() {
  const version = execFileSync("go", ["env", "GOVERSION"], { encoding: "utf8" }).trim();
  const total = rows.reduce((sum, { tests }) => sum + tests, 0);
  const differing = rows.reduce((sum, { differ }) => sum + differ, 0);
  const lines = [
    "# Go's own tests",
    "",
    "Written by `node scripts/go-tests.mjs`; do not edit.",
    "",
    `The tests of these standard packages of ${version}, compiled with \`go test -c\`${values.short ? ", run with `-test.short`" : ""},`,
    "natively and under goemu, compared test by test and subtest by subtest.",
    "",
    `${total} results, ${differing} of them other than natively. A run under goemu was cut off after ${timeout} s; what it`,
    "had not reached by then is counted apart.",
    "",
    "| Package | GOAMD64 | Tests | Passed under goemu | Other than natively | Not reached | Native, s | goemu, s |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...rows.map(({ name, level, tests, passed, differ, missing, native, emulated }) => {
      const seconds = [native, emulated].map((run) => run.seconds.toFixed(1));
      const cells = [name, level, tests, passed, differ, missing, ...seconds];
      return `| ${cells.join(" | ")} |`;
    }),
  ];
  if (differences.length > 0) lines.push("", "## Differences", "", ...differences.map((line) => `- ${line}`));
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
for (const line of differences) console.log(line);
process.exitCode = differences.length > 0 ? 1 : 0;
