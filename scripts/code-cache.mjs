// Makes ahead of time what V8 would compile again in each run: dist/*.code, of the version of V8 and the flags that the
// build runs with (syscalls/host/node-code-cache.ts). A file has the functions that were called when a few programs ran.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { V8_FLAGS } from "../cli/v8-flags.ts";
import { codeCacheOf, run, scriptOf } from "../syscalls/host/node-code-cache.ts";

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const [TRAINED, COMPILER] = ["main.cjs", "compiler-service.cjs"];
const REST = ["iced_x86.cjs", "iced_x86_bg.wasm", "pack.bin", "pack.json"];
/** Arguments of goemu's: a start, and a program that runs for long enough to be compiled. */
const TRAINING = [
  ["--no-cache", path("fixtures/bin/work")],
  ["--no-cache", path("fixtures/bin/concurrency"), "workers"],
];

/** Runs the programs in this process, from a copy of the build whose compiler thread keeps its code, too. */
async function train(folder) {
  for (const flag of V8_FLAGS) setFlagsFromString(flag);
  const file = join(folder, TRAINED);
  const script = scriptOf(file);
  const { main } = run(script, file);
  for (const args of TRAINING) {
    await main(args, new WebAssembly.Memory({ initial: 65536, maximum: 65536 }));
    if (process.exitCode) throw new Error(`${args.join(" ")} failed`);
  }
  writeFileSync(codeCacheOf(path(`dist/${TRAINED}`)), script.createCachedData());
  process.exit(0);
}

/** What the copy has in place of the thread's first file: it writes down what V8 has compiled after each message. */
const thread = (folder) => `
const { writeFileSync } = require("node:fs");
const { workerData } = require("node:worker_threads");
const { codeCacheOf, run, scriptOf } = require(${JSON.stringify(path("syscalls/host/node-code-cache.ts"))});
const file = ${JSON.stringify(join(folder, COMPILER))};
const script = scriptOf(file);
run(script, file);
workerData.port.on("message", () =>
  writeFileSync(codeCacheOf(${JSON.stringify(path(`dist/${COMPILER}`))}), script.createCachedData()));
`;

if (process.argv[2] === "train") await train(process.argv[3]);
else {
  const folder = mkdtempSync(join(tmpdir(), "goemu-code-cache-"));
  try {
    for (const name of [TRAINED, COMPILER, ...REST]) copyFileSync(path(`dist/${name}`), join(folder, name));
    writeFileSync(join(folder, "compiler.cjs"), thread(folder));
    const stdio = ["ignore", "ignore", "inherit"];
    const { status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), "train", folder], { stdio });
    if (status !== 0) throw new Error(`the run that makes V8 compile what a start needs failed with status ${status}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
