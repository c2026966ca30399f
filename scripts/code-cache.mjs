// Makes ahead of time what V8 would compile again in each run, of the version of V8 and the flags that the build runs
// with: dist/*.code has functions of goemu's own code (host/node/code-cache.ts), dist/*.machine the machine code
// of the interpreter's handlers (cli/handler-pack.ts). What is in them is what V8 compiled while a few programs ran.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { machineCodeFile, readHandlerPack } from "../cli/handler-pack.ts";
import { V8_FLAGS } from "../cli/v8-flags.ts";
import { FIRST_FORM } from "../emu/interpreter/known-forms.ts";
import { WASM_PAGES } from "../emu/layout.ts";
import { codeCacheOf, run, scriptOf } from "../host/node/code-cache.ts";
import { nodeMachineCode } from "../host/node/machine-code.ts";
import { Machine, MemoryHost } from "../index.ts";

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const DIST = new URL("../dist/", import.meta.url);
const [COMMAND, COMPILER, DECODER] = ["main.cjs", "compiler-service.cjs", "iced_x86.cjs"];
const REST = [DECODER, "iced_x86_bg.wasm", "pack.bin", "pack.json"];
/** Arguments of goemu's: a start, and a program that runs for long enough to be compiled. */
const RUNS = [
  ["--no-cache", path("fixtures/bin/work")],
  ["--no-cache", path("fixtures/bin/concurrency"), "workers"],
];
/** What the interpreter runs until V8 has optimized what is hot in it. */
const INTERPRETED = [
  ["work"],
  ["text", "sort"],
  ["text", "strconv-fmt"],
  ["library", "hashes"],
  ["runtime", "gc"],
  ["concurrency", "workers"],
];
/** For V8's other threads to come to an end. */
const SETTLE_MS = 500;

/** Runs the programs from a copy of the build whose compiler thread keeps its code, too. */
async function keepCode(folder) {
  const file = join(folder, COMMAND);
  const script = scriptOf(file);
  const { main } = run(script, file);
  for (const args of RUNS) {
    await main(args, new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES }));
    if (process.exitCode) throw new Error(`${args.join(" ")} failed`);
  }
  writeFileSync(codeCacheOf(path(`dist/${COMMAND}`)), script.createCachedData());
  const decoder = scriptOf(path(`dist/${DECODER}`));
  run(decoder, path(`dist/${DECODER}`));
  writeFileSync(codeCacheOf(path(`dist/${DECODER}`)), decoder.createCachedData());
  process.exit(0);
}

/** What the copy has in place of the thread's first file: it writes down what V8 has compiled after each message. */
const thread = (folder) => `
const { renameSync, writeFileSync } = require("node:fs");
const { workerData } = require("node:worker_threads");
const { codeCacheOf, run, scriptOf } = require(${JSON.stringify(path("host/node/code-cache.ts"))});
const file = ${JSON.stringify(join(folder, COMPILER))};
const script = scriptOf(file);
run(script, file);
const target = codeCacheOf(${JSON.stringify(path(`dist/${COMPILER}`))});
workerData.port.on("message", () => {
  // The process may end in the middle of a write: what is there is whole.
  writeFileSync(target + ".part", script.createCachedData());
  renameSync(target + ".part", target);
});
`;

/** Runs programs in the interpreter, all with the same modules, and writes down what V8 has made of these. */
async function keepMachineCode() {
  const pack = readHandlerPack(DIST);
  const modules = new Map();
  const functions = new Map();
  const instantiate = (name, bytes, imports) => {
    if (!modules.has(name)) modules.set(name, new WebAssembly.Module(bytes));
    const instance = new WebAssembly.Instance(modules.get(name), imports);
    const exported = Object.values(instance.exports).filter((each) => typeof each === "function");
    // Handlers are in the table only.
    const { table } = imports.env;
    const handlers =
      name === "module"
        ? Array.from({ length: pack.keys.length + pack.sequences }, (_, i) => table.get(FIRST_FORM + i))
        : [];
    functions.set(name, [...exported, ...handlers].filter(Boolean));
    return instance;
  };
  for (const [name, ...args] of INTERPRETED) {
    const program = readFileSync(path(`fixtures/bin/${name}`));
    const host = new MemoryHost();
    const handlerPack = { ...pack, instantiate };
    const options = { program, path: name, args: [name, ...args], host, cpus: 2, tier: "interpreter", handlerPack };
    const { status } = await new Machine(options).run();
    if (status !== 0) throw new Error(`${name} ${args.join(" ")} failed`);
  }
  optimize([...functions.values()].flat());
  await setTimeout(SETTLE_MS);
  for (const [name, module] of modules) {
    const code = nodeMachineCode.of(module, functions.get(name));
    if (code !== undefined) writeFileSync(new URL(machineCodeFile(name), DIST), code);
  }
  process.exit(0);
}

/** Has V8 optimize what has run, however seldom; there may be no way to say so. */
function optimize(functions) {
  setFlagsFromString("--allow-natives-syntax");
  try {
    const hasRun = new Function("f", "return %IsLiftoffFunction(f)");
    const tierUp = new Function("f", "%WasmTierUpFunction(f)");
    for (const each of functions) if (hasRun(each)) tierUp(each);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  } finally {
    setFlagsFromString("--no-allow-natives-syntax");
  }
}

/** Does something in a process of its own, with the command's flags. */
function runAside(...args) {
  const stdio = ["ignore", "ignore", "inherit"];
  const { status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), ...args], { stdio });
  if (status !== 0) throw new Error(`the run that makes V8 compile code failed with status ${status} (${args[0]})`);
}

const [what, folder] = process.argv.slice(2);
if (what === undefined) {
  const copy = mkdtempSync(join(tmpdir(), "goemu-code-cache-"));
  try {
    runAside("machine-code");
    for (const name of [COMMAND, COMPILER, ...REST]) copyFileSync(path(`dist/${name}`), join(copy, name));
    writeFileSync(join(copy, "compiler.cjs"), thread(copy));
    runAside("code", copy);
  } finally {
    rmSync(copy, { recursive: true, force: true });
    rmSync(`${codeCacheOf(path(`dist/${COMPILER}`))}.part`, { force: true });
  }
} else {
  for (const flag of V8_FLAGS) setFlagsFromString(flag);
  await (what === "code" ? keepCode(folder) : keepMachineCode());
}
