// Runs a few programs and writes the handlers of the instruction forms that they use to dist/handlers.wasm and
// dist/handlers.json, so that a start of goemu finds them made. What is not in the pack is made when it comes up.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
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
const dist = new URL("../dist/", import.meta.url);
writeFileSync(new URL("handlers.wasm", dist), pack.module);
// What tells this build from others: whatever decides about translations is in these files.
const hash = createHash("sha256");
for (const name of readdirSync(dist).sort()) {
  if (/\.(js|cjs|wasm)$/.test(name)) hash.update(name).update(readFileSync(new URL(name, dist)));
}
const build = hash.digest("hex").slice(0, 32);
writeFileSync(new URL("handlers.json", dist), JSON.stringify({ build, keys: pack.keys, helpers: pack.helpers }));
