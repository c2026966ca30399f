// What of a run is compared with the native one, and what may differ.
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import type { Normaliser } from "./program.ts";

/** How a step ended. */
export interface Ended {
  /** Exit status, or the signal's name; null for what was cut off at the time limit. */
  readonly status: number | string | null;
  /** What is compared, by name: stdout, stderr, talk, "screen 1"… */
  readonly texts: Readonly<Record<string, string>>;
}

/** All that came of a job. */
export interface Outcome {
  readonly steps: readonly Ended[];
  /** Path → what the file is: type, mode, and a digest of what is in it. */
  readonly files: Readonly<Record<string, string>>;
}

/**
 * What may differ from run to run by its nature, each with what takes it out of a text. They are named in the table for
 * the jobs that need them, so that nothing is left out of a comparison by accident.
 */
export const normalisers: Readonly<Record<Normaliser, (text: string) => string>> = {
  times: (text) =>
    text
      .replace(/\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d|UTC))?/g, "TIME")
      .replace(/\b\d\d:\d\d:\d\d(\.\d+)?\b/g, "TIME"),
  durations: (text) =>
    text
      .replace(/\b\d+(\.\d+)?(e-?\d+)?( ?)(ns|µs|us|ms|secs?|seconds?|minutes?|m|s|h)\b/g, "DURATION")
      .replace(/(?<![:\d])\d+:\d\d(?![:\d])/g, "DURATION"),
  "sorted-lines": (text) => text.split("\n").toSorted().join("\n"),
  // The date and the process's ID in the header of a line of Kubernetes' logger.
  klog: (text) => text.replace(/^([IWEF])\d{4} (\S+) +\d+ (\S+:\d+\])/gm, "$1 $2 $3"),
  // What a repository takes whose pieces are cut at random places.
  sizes: (text) => text.replace(/\b\d+(\.\d+)? [KMG]iB\b/g, "SIZE"),
  "hex-ids": (text) => text.replace(/\b[0-9a-f]{8,64}\b/g, "ID"),
};

/** A text without what may differ. */
export function normalise(text: string, names: readonly Normaliser[]): string {
  return names.reduce((done, name) => normalisers[name](done), text);
}

/** Files below a folder, each told of in a line: links by target, files by size and digest. */
export function describeFiles(root: string, paths: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  const visit = (path: string): void => {
    const full = join(root, path);
    const stat = lstatSync(full, { throwIfNoEntry: false });
    const mode = ((stat?.mode ?? 0) & 0o7777).toString(8);
    if (stat === undefined) found[path] = "missing";
    else if (stat.isSymbolicLink()) found[path] = `link to ${readlinkSync(full)}`;
    else if (stat.isDirectory()) {
      found[path] = `folder ${mode}`;
      for (const name of readdirSync(full).toSorted()) visit(join(path, name));
    } else if (stat.isFile()) {
      const digest = createHash("sha256").update(readFileSync(full)).digest("hex").slice(0, 16);
      found[path] = `file ${mode}, ${stat.size} bytes, ${digest}`;
    } else found[path] = "special";
  };
  for (const path of paths) visit(path);
  return found;
}

/** A status as a shell tells it: goemu ends with 128 + N where signal N killed the guest. */
const asInShell = (status: Ended["status"]): number | string | null =>
  typeof status === "string" && status in constants.signals
    ? 128 + constants.signals[status as NodeJS.Signals]
    : status;

const QUOTED = 160;
const quote = (text: string | undefined): string => {
  const json = JSON.stringify(text ?? null);
  return json.length > QUOTED ? `${json.slice(0, QUOTED)}…` : json;
};

/** The first line in which two texts differ, from both. */
function firstDifference(native: string, other: string): string {
  const [a, b] = [native.split("\n"), other.split("\n")];
  let line = 0;
  while (a[line] === b[line]) line++;
  return `line ${line + 1}: natively ${quote(a[line])}, here ${quote(b[line])}`;
}

const KEPT = 4;

/** In what an outcome differs from the native one; empty if in nothing. */
export function differences(native: Outcome, other: Outcome, names: readonly Normaliser[] = []): string[] {
  const found: string[] = [];
  for (const [index, expected] of native.steps.entries()) {
    const step = `step ${index + 1}`;
    const actual = other.steps[index];
    if (actual === undefined) {
      found.push(`${step}: never came`);
      break;
    }
    if (asInShell(actual.status) !== asInShell(expected.status)) {
      const status = actual.status === null ? "not ended in its time" : actual.status;
      found.push(`${step}: status natively ${expected.status}, here ${status}`);
    }
    for (const name of new Set([...Object.keys(expected.texts), ...Object.keys(actual.texts)])) {
      const [a, b] = [expected, actual].map(({ texts }) => normalise(texts[name] ?? "", names));
      if (a !== b) found.push(`${step}: ${name}, ${firstDifference(a, b)}`);
    }
  }
  for (const path of new Set([...Object.keys(native.files), ...Object.keys(other.files)])) {
    const [a, b] = [native.files[path] ?? "missing", other.files[path] ?? "missing"];
    if (a !== b) found.push(`${path}: natively ${a}, here ${b}`);
  }
  return found.length > KEPT ? [...found.slice(0, KEPT), `and ${found.length - KEPT} more`] : found;
}
