// Makes ahead of time what starts of goemu would otherwise make again and again: the handlers of common instruction
// forms, the decode templates of common instructions, and what these need (dist/pack.bin, with dist/pack.json to find it
// by).
// What is common: what a few programs execute, and what is often in their text. The rest is made when it comes up.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { RunCounter } from "../emu/interpreter/run-counter.ts";
import { Machine, MemoryHost } from "../index.ts";
import { readExecutable } from "../loader/elf.ts";

const TRAINING = [
  ["work"],
  ["work-opt"],
  ["work-go1.11"],
  ["work-go1.19"],
  ["concurrency", "channels"],
  ["text", "strconv-fmt"],
  ["runtime", "gc"],
];
/** More text to look at. */
const TEXT = ["work-go1.14", "work-go1.23", "library", "text-v3"];
/** Times that an instruction's head has to be in the programs' text. */
const COMMON = 1;
/** Handlers of sequences of forms, and how long these are at most: with twice as many starts take longer. */
const SEQUENCES = 512;
const LONGEST_RUN = 4;
const PF_X = 1;
const LONGEST = 15;

const program = (name) => readFileSync(new URL(`../fixtures/bin/${name}`, import.meta.url));
const machineOf = (name, args = [], handlerPack = undefined) =>
  new Machine({
    program: program(name),
    path: name,
    args: [name, ...args],
    host: new MemoryHost(),
    cpus: 2,
    handlerPack,
  });

// What is executed.
const samples = new Map();
const forms = new Map();
/** Runs of forms in blocks that were executed. */
const runs = new RunCounter(LONGEST_RUN);
const addSample = (code) => samples.set(Buffer.from(code).toString("latin1"), code);
for (const [name, ...args] of TRAINING) {
  const machine = machineOf(name, args);
  await machine.run();
  const { handlers, code } = machine.interpreter;
  runs.add(handlers, code);
  for (const form of handlers.forms) forms.set(form.key, form);
  for (const sample of code.templates.samples()) addSample(sample);
}

// What is in the text, by linear sweep: a few wrong starts among the right ones do no harm.
const teacher = machineOf("work").interpreter;
const seen = new Map();
for (const name of [...TRAINING.map(([name]) => name), ...TEXT]) {
  const { bytes, segments } = readExecutable(program(name), name);
  for (const { offset, fileSize } of segments.filter(({ flags }) => flags & PF_X))
    sweep(bytes.subarray(offset, offset + fileSize));
}
function sweep(text) {
  const latin1 = Buffer.from(text.buffer, text.byteOffset, text.length);
  for (let at = 0; at < text.length; ) {
    const head = teacher.code.templates.headLength(text, at);
    const key = latin1.latin1Slice(at, at + Math.max(head, 1));
    let about = head === 0 ? undefined : seen.get(key);
    if (about === undefined) {
      const learned = teacher.code.teach(text.slice(at, at + LONGEST));
      about = { length: learned?.length ?? 1, immediateInForm: learned?.immediateInForm, byLast: new Map() };
      seen.set(key, about);
    }
    const { length, immediateInForm, byLast } = about;
    const last = immediateInForm ? text[at + length - 1] : 0;
    const count = byLast.get(last);
    if (count === undefined) byLast.set(last, { times: 1, code: text.slice(at, at + length) });
    else count.times++;
    at += length;
  }
}
for (const { byLast } of seen.values()) {
  for (const { times, code } of byLast.values()) if (times >= COMMON) addSample(code);
}

const collector = machineOf("work").interpreter;
for (const code of [...samples.values()]) {
  for (const relative of collector.code.templates.relatives(code)) addSample(relative);
}
for (const code of samples.values()) collector.code.teach(code);
for (const form of collector.handlers.forms) forms.set(form.key, form);
const pack = collector.packForms([...forms.values()], runs.frequent(SEQUENCES, [...forms.values()]));
// Templates name handlers by their place in the pack.
const learner = machineOf("work", [], pack).interpreter;
for (const code of samples.values()) learner.code.teach(code, true);
if (learner.handlers.count !== pack.keys.length + pack.sequences)
  throw new Error("templates with handlers that the pack does not have");

const dist = new URL("../dist/", import.meta.url);
// Bytes one after another, and where each begins and ends.
const { keys, sequences: sequenceCount, helpers, ...parts } = { ...pack, templates: learner.code.templates.save() };
const sections = {};
let end = 0;
for (const [name, bytes] of Object.entries(parts)) {
  sections[name] = [end, end + bytes.length];
  end += bytes.length;
}
writeFileSync(new URL("pack.bin", dist), Buffer.concat(Object.values(parts)));
// What tells this build from others: whatever decides about translations is in these files.
const hash = createHash("sha256");
for (const name of readdirSync(dist).sort()) {
  if (/\.(js|cjs|wasm|bin)$/.test(name)) hash.update(name).update(readFileSync(new URL(name, dist)));
}
const build = hash.digest("hex").slice(0, 32);
writeFileSync(new URL("pack.json", dist), JSON.stringify({ build, keys, sequences: sequenceCount, helpers, sections }));
