// Results of runs, kept in a file beside the programs, so that a long measurement can be made in parts.
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { STORE } from "./obtain.ts";

/** What one way of running a job cost, in ms: medians, if it ran several times. */
export interface Cost {
  readonly time: number;
  readonly cpu: number | null;
}

/** One program's result. */
export interface Result {
  readonly program: string;
  /** The source that it was obtained from, and the size of its file in bytes. */
  readonly from: string;
  readonly size: number;
  /** Which build of goemu it was: a digest of the command. */
  readonly build: string;
  /** The host's load average meanwhile: on a busy host times from start to end say little. */
  readonly load?: number;
  /** Why it could not be had or its job not be prepared; then nothing else is known. */
  readonly missing?: string;
  readonly native?: Cost;
  readonly qemu?: Cost;
  /** goemu's run without translations of earlier ones, and those after it. */
  readonly first?: Cost;
  readonly second?: Cost;
  /** In what goemu's runs differed from the native one, each line named after the run. */
  readonly differences: readonly string[];
  readonly qemuDifferences: readonly string[];
  /** In what two native runs differed: then the job says nothing. */
  readonly unsteady: readonly string[];
}

const FILE = join(STORE, "results.json");

/** The results so far, by program. */
export function loadResults(): Map<string, Result> {
  if (!existsSync(FILE)) return new Map();
  const list = JSON.parse(readFileSync(FILE, "utf8")) as Result[];
  return new Map(list.map((result) => [result.program, result]));
}

/** Keeps a result at once; others may have been kept meanwhile by another process. */
export function saveResult(result: Result): void {
  const results = loadResults().set(result.program, result);
  const making = `${FILE}.${process.pid}`;
  writeFileSync(making, `${JSON.stringify([...results.values()], null, 1)}\n`);
  renameSync(making, FILE);
}
