// Holds what is true of the sources by agreement only (docs/architecture.md): imports point one way, the machine knows
// neither Node nor the host's clock, and a file can be read in a sitting. Prints a line for each place that is not so.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { LAZY } from "./lazy-modules.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Top-level folders, and which others each may import from. Tests and their helpers may use everything. */
const LAYERS = {
  emu: [],
  loader: ["emu"],
  host: ["emu", "loader", "syscalls"],
  syscalls: ["emu", "loader", "host"],
  observe: ["emu", "loader", "host", "syscalls"],
  cli: ["emu", "loader", "host", "syscalls", "observe"],
};
/** What emu/ is made of, from the bottom up: each may import from those before it. */
const EMU = [
  ...["layout.ts", "wasm/", "cache/", "memory/", "cpu/state.ts", "decode/", "cpu/", "semantics/", "interpreter/"],
  ...["jit/", "threads/", "machine.ts"],
];
/** What the host's interfaces may know of Linux: its numbers and structs, byte-string paths, addresses. */
const HOST_KNOWS = /^syscalls\/(abi|files\/(path|memory-file)|net\/ip)/;
/** What the portable layers may know of the host: what it is, never how Node does it. */
const HOST_IS = /^host\/(?!node\/)/;

/** Folders in which neither Node nor the host's clock may be used. */
const PORTABLE = /^(emu|loader|syscalls|host\/(?!node\/))/;
const NODE = /\bfrom "node:|\bimport\("node:|(?<![\w.])(Buffer|process)\.|(?<![\w.])require\("/;
const CLOCK = /\b(Date\.now\(|new Date\(\)|performance\.now\(|process\.hrtime)/;
/** elfy takes Node's Buffer, and nothing else. */
const TAKES_BUFFER = new Set(["loader/elf-tables.ts", "loader/symbols/image.ts", "loader/elfy.d.ts"]);

/** The second tier is loaded when it is first used, but that is at once. */
const AT_START = ["syscalls/machine.ts", "emu/jit/tier.ts"];
const ALL_SEMANTICS = "emu/semantics/index.ts";
const MOST_LINES = 600;
/** Data, not code. */
const IS_TABLE = /(table|tables|data)\.ts$/;
const IS_TEST = /\.test\.ts$|(^|\/)(testing|fake-[^/]*|test-[^/]*|stdio-guest)(\/|\.ts$)/;

const problems = [];
const files = execFileSync("git", ["ls-files", "*.ts"], { cwd: root, encoding: "utf8" }).trim().split("\n");
for (const file of files) {
  const text = readFileSync(join(root, file), "utf8");
  const lines = text.split("\n");
  if (lines.length - 1 > MOST_LINES && !IS_TABLE.test(file)) {
    problems.push(`${file}: ${lines.length - 1} lines, more than ${MOST_LINES}: cut it where its parts are`);
  }
  if (IS_TEST.test(file)) continue;
  checkImports(file, text);
  if (PORTABLE.test(file)) checkPortable(file, lines);
}

function checkImports(file, text) {
  const [layer] = file.split("/");
  const allowed = LAYERS[layer];
  if (allowed === undefined) return;
  for (const [, from, dynamic] of text.matchAll(/(?:\bfrom|^import) "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm)) {
    const target = normalize(join(dirname(file), from ?? dynamic));
    const [to] = target.split("/");
    if (layer === "emu" && to === "emu" && rankInEmu(target) > rankInEmu(file)) {
      problems.push(`${file}: imports ${target}, which is above it (docs/architecture.md)`);
    }
    if (to === layer || !target.includes("/")) continue;
    if (!allowed.includes(to)) problems.push(`${file}: imports ${target}, but ${layer} must not know ${to}`);
    else if (layer === "host" && !file.startsWith("host/node/") && to === "syscalls" && !HOST_KNOWS.test(target)) {
      problems.push(`${file}: imports ${target}, more of Linux than a host knows`);
    } else if (layer === "syscalls" && to === "host" && !HOST_IS.test(target)) {
      problems.push(`${file}: imports ${target}, but Linux must not know Node`);
    }
  }
}

/** Where in EMU a file of emu/ is: what is said of a file goes before what is said of its folder. */
function rankInEmu(file) {
  const inside = file.slice("emu/".length);
  const rank = EMU.indexOf(inside) < 0 ? EMU.indexOf(inside.replace(/\/.*/, "/")) : EMU.indexOf(inside);
  if (rank < 0) problems.push(`${file}: scripts/check-house.mjs does not know its place in emu/`);
  return rank;
}

/**
 * What a start evaluates: the machine, the second tier, and what they import in turn, but for types and for what is loaded when it is first used
 * (scripts/lazy-modules.mjs). All semantics together take 25 ms, so they are not to be among it.
 */
function checkStart() {
  const from = new Map(AT_START.map((file) => [file, undefined]));
  for (const file of from.keys()) {
    const text = readFileSync(join(root, file), "utf8");
    for (const [, names, source] of text.matchAll(/^(?:import|export) ((?!type )[^;]*?) from "(\.[^"]+)"/gms)) {
      const target = normalize(join(dirname(file), source));
      const isLazy = LAZY[target]?.from.includes(file);
      const isType = /^\{(\s*type [^,}]+,?)*\s*\}$/.test(names);
      if (!isLazy && !isType && !from.has(target)) from.set(target, file);
    }
  }
  if (!from.has(ALL_SEMANTICS)) return;
  const way = [];
  for (let file = ALL_SEMANTICS; file !== undefined; file = from.get(file)) way.unshift(file);
  problems.push(`a start evaluates all semantics: ${way.join(" → ")}`);
}

function checkPortable(file, lines) {
  for (const [index, line] of lines.entries()) {
    const code = line.replace(/^\s*(\/\/|\*|\/\*).*/, "").replace(/"(?!node:)(?:[^"\\]|\\.)*"/g, '""');
    const isNode = NODE.test(code) && !(TAKES_BUFFER.has(file) && /Buffer/.test(code));
    // In syscalls/ a guest's process is called so.
    const isGuests = /(?<![\w.])process\./.test(code) && !/\bfrom "node:|Buffer\./.test(code);
    if (isNode && !isGuests) problems.push(`${file}:${index + 1}: uses Node: ${line.trim()}`);
    if (CLOCK.test(code) && !file.startsWith("host/"))
      problems.push(`${file}:${index + 1}: reads the host's clock: ${line.trim()}`);
  }
}

checkStart();
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log(`${files.length} files are as docs/architecture.md says`);
