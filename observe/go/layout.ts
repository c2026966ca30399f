import type { Executable } from "../../loader/elf.ts";
import { SymbolError } from "../../loader/errors.ts";
import { structOffsets } from "./dwarf.ts";
import { OFFSETS, RELEASES, WAIT_REASONS } from "./releases.ts";

/** A Go program whose runtime can't be read; the message says why. */
export class GoRuntimeError extends Error {
  override readonly name = "GoRuntimeError";
}

/**
 * The fields of the runtime's structures that goemu reads (Go runtime/runtime2.go). "sched" is runtime.schedt. Those
 * with a question mark are not in every release.
 */
export const FIELDS = [
  ...["g.stack", "g.m", "g.sched", "g.syscallsp", "g.syscallpc", "g.atomicstatus", "g.goid", "g.schedlink"],
  ...["g.waitsince", "g.waitreason", "g.preempt", "g.lockedm", "g.gopc", "g.startpc", "g.labels", "g.parentGoid?"],
  ...["m.g0", "m.gsignal", "m.procid", "m.curg", "m.p", "m.nextp", "m.oldp?", "m.id", "m.spinning", "m.blocked"],
  ...["m.alllink", "m.lockedg", "m.locks", "m.mstartfn"],
  ...[
    "p.id",
    "p.status",
    "p.link",
    "p.schedtick",
    "p.syscalltick",
    "p.m",
    "p.runqhead",
    "p.runqtail",
    "p.runq",
    "p.runnext",
  ],
  ...["sched.maxmcount", "sched.nmidle", "sched.pidle", "sched.npidle", "sched.nmspinning", "sched.gcwaiting"],
  // The global run queue: a gQueue since Go 1.12, two fields before.
  ...["sched.runq?", "sched.runqhead?", "sched.runqsize?"],
  ...["gobuf.sp", "gobuf.pc", "gobuf.bp", "stack.lo", "stack.hi"],
] as const;

type Named<T extends string> = T extends `${infer Name}?` ? Name : T;
export type Field = Named<(typeof FIELDS)[number]>;

/** Where a Go release keeps what. */
export interface GoLayout {
  /** N of Go 1.N. */
  readonly minor: number;
  readonly source: "DWARF" | "table";
  /** Byte offset of each field in its structure; undefined where the release does not have it. */
  readonly offsets: Readonly<Partial<Record<Field, number>>>;
  /** Names of g.waitreason's values; empty before Go 1.11, when the field was the text itself. */
  readonly waitReasons: readonly string[];
}

export const STRUCTURES: Readonly<Record<string, string>> = {
  g: "runtime.g",
  m: "runtime.m",
  p: "runtime.p",
  sched: "runtime.schedt",
  gobuf: "runtime.gobuf",
  stack: "runtime.stack",
};

/**
 * Offsets from an executable's DWARF; undefined if it has none.
 * @throws SymbolError if the DWARF is damaged or lacks a field that every release has
 */
export function offsetsFromDwarf(executable: Executable): GoLayout["offsets"] | undefined {
  const structures = structOffsets(executable, Object.values(STRUCTURES));
  if (structures === undefined) return undefined;
  const offsets: Partial<Record<Field, number>> = {};
  for (const field of FIELDS) {
    const name = field.replace("?", "") as Field;
    const [structure, member] = name.split(".");
    const offset = structures.get(STRUCTURES[structure])?.get(member);
    if (offset !== undefined) offsets[name] = offset;
    else if (!field.endsWith("?")) throw new SymbolError(`DWARF: ${STRUCTURES[structure]} has no field ${member}`);
  }
  return offsets;
}

/** Offsets of a release as measured once; undefined for one that is not in the table. */
export function offsetsFromTable(minor: number): GoLayout["offsets"] | undefined {
  const column = RELEASES.indexOf(minor);
  if (column < 0) return undefined;
  const known = Object.entries(OFFSETS).filter(([, offsets]) => offsets[column] >= 0);
  return Object.fromEntries(known.map(([field, offsets]) => [field, offsets[column]]));
}

/** Names of the wait reasons of a release; those of the newest one known for a newer one. */
export function waitReasonsOf(minor: number): readonly string[] {
  const from = Object.keys(WAIT_REASONS).map(Number);
  const newest = Math.max(...from.filter((first) => first <= minor), 0);
  return WAIT_REASONS[newest] ?? [];
}

/** N of a version like "go1.N.2", "go1.Nrc1" or "devel go1.N-…"; undefined for others. */
export function minorOf(version: string | undefined): number | undefined {
  const match = /\bgo1\.(\d+)/.exec(version ?? "");
  return match === null ? undefined : Number(match[1]);
}

/**
 * The layout of a program's runtime: from its DWARF, or by its release.
 * @param version as SymbolTable.goVersion gives it
 * @throws GoRuntimeError if neither says it
 */
export function layoutOf(executable: Executable, version: string | undefined): GoLayout {
  const minor = minorOf(version);
  let offsets: GoLayout["offsets"] | undefined;
  let problem = "";
  try {
    offsets = offsetsFromDwarf(executable);
  } catch (error) {
    if (!(error instanceof SymbolError)) throw error;
    problem = `; its ${error.message}`;
  }
  if (offsets !== undefined) {
    return {
      minor: minor ?? Math.max(...RELEASES),
      source: "DWARF",
      offsets,
      waitReasons: waitReasonsOf(minor ?? Math.max(...RELEASES)),
    };
  }
  if (version === undefined || minor === undefined) {
    throw new GoRuntimeError(`no Go version is to be found in the file, and no DWARF${problem} (is it a Go program?)`);
  }
  offsets = offsetsFromTable(minor);
  if (offsets === undefined) {
    const range = `1.${RELEASES[0]} to 1.${RELEASES[RELEASES.length - 1]}`;
    throw new GoRuntimeError(
      `the runtime of ${version} is not known ` +
        `(goemu knows Go ${range}; for others, compile without -ldflags=-w)${problem}`,
    );
  }
  return { minor, source: "table", offsets, waitReasons: waitReasonsOf(minor) };
}
