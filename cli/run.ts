import { closeSync, openSync } from "node:fs";
import { startCompilerThread } from "../host/node/compiler-thread.ts";
import { NodeHost } from "../host/node/host.ts";
import type { NodeTranslationCache } from "../host/node/translation-cache.ts";
import type { ExitStatus } from "../syscalls/linux-process.ts";
import type { Machine } from "../syscalls/machine.ts";
import { Strace } from "../syscalls/strace/strace.ts";
import { parseChoice } from "./arguments.ts";
import { ChildProcess, childProcesses } from "./child-process.ts";
import type { RegionDump } from "./dump-region.ts";
import { CliError } from "./failure.ts";
import { type CacheOpener, createMachine, forwardSignals, type GuestOptions, shellStatus, writeAll } from "./guest.ts";
import type { ProgramFile } from "./program-file.ts";
import { formatStatistics } from "./statistics.ts";
import { openTranslationCache } from "./translation-cache.ts";

/** Options of `goemu run` as commander hands them over. */
export interface RunOptions extends GuestOptions {
  readonly strace?: string;
  readonly stats?: string;
  /** Places whose regions are to be printed. */
  readonly dumpRegion?: readonly string[];
  /** `--no-cache` makes it false. */
  readonly cache?: boolean;
  /** The descriptor from which a goemu started by another takes what it is to run. */
  readonly handover?: string;
}

/** Takes hold of a machine before it runs; what it returns is called with the guest's end. */
export type Attach = (machine: Machine) => Promise<(status: ExitStatus) => Promise<void>>;

/** Runs a program; returns the exit status for the shell. */
export async function run(path: string, args: readonly string[], given: RunOptions, attach?: Attach): Promise<number> {
  const child = given.handover === undefined ? undefined : new ChildProcess(given.handover);
  const file = child?.file ?? path;
  const options: RunOptions = child === undefined ? given : { ...given, start: child.start };
  const statistics =
    options.stats === undefined ? undefined : parseChoice("--stats", options.stats || "text", ["text", "json"]);
  const trace = options.strace === undefined ? undefined : openTrace(options.strace);
  const host = new NodeHost({ processes: childProcesses(options), inherited: child?.inherited });
  let cache: NodeTranslationCache | undefined;
  let executable: ProgramFile | undefined;
  const open: CacheOpener = (program, build) => {
    executable = program;
    cache = openTranslationCache(program, build, options);
    return cache;
  };
  const dumped = options.dumpRegion ?? [];
  // Whoever takes hold of a machine may change what is translated; what is printed has to be compiled.
  // What is to be compiled at first sight can't have been compiled, or translated, before.
  const mayCache = options.cache !== false && options.tier !== "jit" && attach === undefined && dumped.length === 0;
  // Who takes hold of a machine may want the same in each run; what is compiled at first sight is to run compiled.
  const mayCompileAside = attach === undefined && dumped.length === 0 && options.tier !== "jit";
  const machine = createMachine(
    file,
    args,
    options,
    host,
    trace && new Strace(trace.write),
    mayCache ? open : undefined,
    mayCompileAside ? startCompilerThread : undefined,
  );
  const stopForwarding = forwardSignals(machine);
  try {
    const ended = await attach?.(machine);
    const dump = dumped.length === 0 ? undefined : await dumpRegions(machine, dumped);
    const status = await machine.run();
    await ended?.(status);
    dump?.finish();
    // What was read of a file that changed meanwhile is not what its hash stands for.
    if (executable?.isUnchanged()) {
      machine.saveTranslations();
      cache?.commit();
    }
    if (statistics !== undefined) writeAll(2, formatStatistics(machine.statistics(), statistics));
    return child?.end(status) ?? shellStatus(file, status);
  } finally {
    stopForwarding();
    trace?.close();
    cache?.close();
    host.close();
  }
}

async function dumpRegions(machine: Machine, places: readonly string[]): Promise<RegionDump> {
  const { RegionDump } = await import("./dump-region.ts");
  return new RegionDump(machine, places, (text) => writeAll(2, text));
}

/** Where `--strace` goes: a file, or standard error. */
function openTrace(path: string): { write: (line: string) => void; close: () => void } {
  if (path === "") return { write: (line) => writeAll(2, `${line}\n`), close: () => {} };
  let fd: number;
  try {
    fd = openSync(path, "w");
  } catch (error) {
    throw new CliError(`--strace: cannot write ${path}: ${(error as NodeJS.ErrnoException).code} (name another file)`);
  }
  return { write: (line) => writeAll(fd, `${line}\n`), close: () => closeSync(fd) };
}
