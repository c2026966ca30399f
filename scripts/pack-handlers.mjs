// Runs a few programs and writes the handlers of the instruction forms that they use to dist/handlers.wasm and
// dist/handlers.json, so that a start of goemu finds them made. What is not in the pack is made when it comes up.
import { readFileSync, writeFileSync } from "node:fs";
import { Machine, MemoryHost } from "../index.ts";

const TRAINING = [
  ["work"],
  ["work-opt"],
  ["work-go1.11"],
  ["work-go1.19"],
  ["concurrency", "channels"],
  ["text", "strconv-fmt"],
  ["runtime", "gc"],
];

const forms = new Map();
let interpreter;
for (const [name, ...args] of TRAINING) {
  const path = new URL(`../fixtures/bin/${name}`, import.meta.url);
  const machine = new Machine({
    program: readFileSync(path),
    path: name,
    args: [name, ...args],
    host: new MemoryHost(),
    cpus: 2,
  });
  await machine.run();
  for (const form of machine.interpreter.handlers.forms) forms.set(form.key, form);
  interpreter = machine.interpreter;
}
const pack = interpreter.packForms([...forms.values()]);
writeFileSync(new URL("../dist/handlers.wasm", import.meta.url), pack.module);
writeFileSync(
  new URL("../dist/handlers.json", import.meta.url),
  JSON.stringify({ keys: pack.keys, helpers: pack.helpers }),
);
