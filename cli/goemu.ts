#!/usr/bin/env node
// The command. It looks at Node's version before anything is loaded that an old one can't read. Nothing of Node's is
// imported: that evaluates all that a module exports, streams and more, which is what a start waits for.
import { nodeProblem } from "../host/node/version.ts";
import { V8_FLAGS } from "./v8-flags.ts";

const problem = nodeProblem(process.versions.node);
if (problem !== undefined) {
  process.stderr.write(`goemu: ${problem}\n`);
  process.exit(125);
}
const { setFlagsFromString } = process.getBuiltinModule("node:v8");
for (const flag of V8_FLAGS) setFlagsFromString(flag);
// V8 collects garbage when so much memory appears: the less of it there is yet, the sooner that is done.
const memory = new WebAssembly.Memory({ initial: 65536, maximum: 65536 });
const { main } = await import("./main.ts");
// What a guest leaves open, a terminal, a FIFO, a socket, must not keep Node: as on Linux, the end of a process is its end.
if (await main(process.argv.slice(2), memory)) process.exit();
