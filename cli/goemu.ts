#!/usr/bin/env node
// The command. It looks at Node's version before anything is loaded that an old one can't read.
import process from "node:process";

const NEEDED = 24;
if (Number(process.versions.node.split(".")[0]) < NEEDED) {
  process.stderr.write(
    `goemu: Node.js ${process.versions.node} is too old (install Node.js ${NEEDED} or later, or run \`npx goemu\`)\n`,
  );
  process.exit(125);
}
const { setFlagsFromString } = await import("node:v8");
// Translated code tells which branches are rare; without the flag V8 does not listen.
setFlagsFromString("--experimental-wasm-branch-hinting");
// Each function and each turn of a loop would look whether the stack overflows or V8 wants something. Translated code
// counts its calls (MAX_DEPTH in emu/interpreter/core-module.ts), and comes back to V8 when its fuel is used up.
setFlagsFromString("--no-wasm-stack-checks");
const { enableCompileCache } = await import("node:module");
enableCompileCache?.();
// V8 collects garbage when so much memory appears: the less of it there is yet, the sooner that is done.
const memory = new WebAssembly.Memory({ initial: 65536, maximum: 65536 });
const { main } = await import("./main.ts");
await main(process.argv.slice(2), memory);
