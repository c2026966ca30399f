import { closeSync, openSync } from "node:fs";
import { CpuModelError } from "../emu/cpu/features.ts";
import { startCompilerThread } from "../host/node/compiler-thread.ts";
import { NodeHost } from "../host/node/host.ts";
import type { NodeTranslationCache } from "../host/node/translation-cache.ts";
import { printable } from "../loader/identify.ts";
import type { ExitStatus } from "../syscalls/linux-process.ts";
import type { Machine } from "../syscalls/machine.ts";
import { Strace } from "../syscalls/strace/strace.ts";
import { parseChoice } from "./arguments.ts";
import { ChildProcess, childProcesses } from "./child-process.ts";
import type { RegionDump } from "./dump-region.ts";
import { Ending, reasonOf } from "./end.ts";
import { CliError } from "./failure.ts";
import { type CacheOpener, createMachine, forwardSignals, type GuestOptions, shellStatus } from "./guest.ts";
import { sysrootOf } from "./guest-options.ts";
import type { ProgramFile } from "./program-file.ts";
import { startedWith } from "./started-with.ts";
import { formatStatistics } from "./statistics.ts";
import { cacheAnswers, openTranslationCache } from "./translation-cache.ts";
import { warn, writeAll } from "./write.ts";

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
  const sysroot = sysrootOf(options.sysroot);
  const host = new NodeHost({
    processes: options.hostExec ? childProcesses(options) : undefined,
    inherited: child?.inherited ?? startedWith(),
    sysroot,
  });
  let cache: NodeTranslationCache | undefined;
  let executable: ProgramFile | undefined;
  const open: CacheOpener = (program, build) => {
    executable = program;
    try {
      cache = openTranslationCache(program, build, options);
    } catch (error) {
      if (error instanceof CpuModelError) throw error;
      warn(`goemu: ${printable(file)}: the translation cache has failed (${reasonOf(error)}): it is done without`);
    }
    return cache;
  };
  const dumped = options.dumpRegion ?? [];
  // Whoever takes hold of a machine may change what is translated; what is printed has to be compiled.
  // What is to be compiled at first sight can't have been compiled, or translated, before.
  const mayCache =
    options.cache !== false &&
    options.tier !== "jit" &&
    attach === undefined &&
    dumped.length === 0 &&
    (await cacheAnswers());
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
  // Until goemu itself ends: a signal that comes while translations are saved must not take the status away.
  const stopForwarding = forwardSignals(machine);
  const ending = new Ending(file);
  try {
    const ended = await attach?.(machine);
    const dump = dumped.length === 0 ? undefined : await dumpRegions(machine, dumped);
    const status = await machine.run();
    const childStatus = child?.end(status);
    await ending.wait("tell the debugger of the end", async () => ended?.(status));
    ending.step("finish --dump-region", () => dump?.finish());
    if (statistics !== undefined)
      ending.step("print --stats", () => writeAll(2, formatStatistics(machine.statistics(), statistics)));
    await ending.wait("save translations", async () => {
      // What was read of a file that changed meanwhile is not what its hash stands for.
      if (cache === undefined || !executable?.isUnchanged() || !(await cache.answers())) return;
      machine.saveTranslations();
      cache.commit();
    });
    return childStatus ?? shellStatus(file, status);
  } finally {
    ending.step("close --strace", () => trace?.close());
    ending.step("close the translation cache", () => cache?.close());
    await ending.wait("send what the program has written", async () => host.close());
    stopForwarding();
  }
}

async function dumpRegions(machine: Machine, places: readonly string[]): Promise<RegionDump> {
  const { RegionDump } = await import("./dump-region.ts");
  return new RegionDump(machine, places, (text) => writeAll(2, text));
}

/** Where `--strace` goes: a file, or standard error. Where that can't be written to any more, the trace ends. */
function openTrace(path: string): { write: (line: string) => void; close: () => void } {
  let fd = 2;
  try {
    if (path !== "") fd = openSync(path, "w");
  } catch (error) {
    throw new CliError(`--strace: cannot write ${path}: ${(error as NodeJS.ErrnoException).code} (name another file)`);
  }
  let isOpen = true;
  const write = (line: string): void => {
    if (!isOpen) return;
    try {
      writeAll(fd, `${line}\n`);
    } catch (error) {
      isOpen = false;
      warn(
        `goemu: --strace: cannot write ${path || "standard error"}: ${(error as Error).message} (the trace ends here)`,
      );
    }
  };
  return { write, close: () => fd > 2 && closeSync(fd) };
}
