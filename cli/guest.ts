import { realpathSync } from "node:fs";
import { availableParallelism } from "node:os";
import process from "node:process";
import type { TranslationCache } from "../emu/cache/translation-cache.ts";
import type { CompilerThread } from "../emu/jit/compile-protocol.ts";
import type { NodeHost } from "../host/node/host.ts";
import { printable } from "../loader/identify.ts";
import { describeSignal, SIGNAL, type SignalName } from "../syscalls/abi/signals.ts";
import type { ExitStatus } from "../syscalls/linux-process.ts";
import { type AddressSpaceLayout, CacheError, Machine, type MachineOptions, type Tier } from "../syscalls/machine.ts";
import type { SyscallTracer } from "../syscalls/tracer.ts";
import { buildEnvironment, memoryLimit, parseChoice, parseCount, rawArguments } from "./arguments.ts";
import { ExecutedPrograms } from "./executed-programs.ts";
import { readHandlerPack } from "./handler-pack.ts";
import { openProgram, type ProgramFile } from "./program-file.ts";
import { warn } from "./write.ts";

/** Options that every command has which runs a program, as commander hands them over. */
export interface GuestOptions {
  readonly env: string[];
  readonly clearEnv?: boolean;
  readonly cpus?: string;
  readonly cpu?: string;
  readonly memory?: string;
  readonly maxProcesses?: string;
  readonly hostExec?: boolean;
  readonly addressSpace: string;
  /** Folder with the dynamic linker and libraries. */
  readonly sysroot?: string;
  readonly tier?: string;
  /** Memory to use, made early. */
  readonly wasmMemory?: WebAssembly.Memory;
  /** How another guest started the program, in place of what the command line and the host's environment say. */
  readonly start?: Start;
}

/** What a program gets from the one that starts it. */
export interface Start {
  /** The path that was given. */
  readonly name: Uint8Array;
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  readonly signals: { readonly ignored: readonly number[]; readonly blocked: bigint };
}

/** Host signals that the guest gets (docs/cli.md). */
const FORWARDED: readonly SignalName[] = [
  "SIGINT",
  "SIGTERM",
  "SIGHUP",
  "SIGQUIT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGWINCH",
  "SIGCONT",
];

/** Stop signals: the host stops goemu, unless the guest has another mind about them. */
const STOPS: readonly SignalName[] = ["SIGTSTP", "SIGTTIN", "SIGTTOU"];

/** Finds what earlier runs left for a program. @param build what tells this build of goemu from others */
export type CacheOpener = (program: ProgramFile, build: string) => TranslationCache | undefined;

/**
 * Loads a program into a machine with the user's surroundings.
 * @param openCache without it, or when goemu runs from its sources, nothing is kept from one run to the next
 * @param compilerThread starts a thread that compiles hot code
 * @throws CliError, LoadError, CpuModelError for options and files that won't do
 */
export function createMachine(
  file: string,
  args: readonly string[],
  options: GuestOptions,
  host: NodeHost,
  tracer?: SyscallTracer,
  openCache?: CacheOpener,
  compilerThread?: () => CompilerThread,
): Machine {
  const program = openProgram(file);
  const report = (message: string): void => {
    try {
      host.stderr.write(new TextEncoder().encode(`goemu: ${printable(file)}: ${message}\n`));
    } catch {
      // Nobody reads it, or the disk is full. That is nothing to the guest.
    }
  };
  const pack = optional("what the build has made ahead of time", report, () => readHandlerPack(import.meta.url));
  const machineOptions: MachineOptions = {
    program,
    path: options.start === undefined ? file : new TextDecoder().decode(options.start.name),
    exePath: realpathSync(file),
    args: options.start?.argv ?? rawArguments([file, ...args]),
    env: options.start?.envp ?? buildEnvironment(options.env, options.clearEnv ?? false),
    signals: options.start?.signals,
    host,
    cpus: options.cpus === undefined ? availableParallelism() : parseCount("--cpus", options.cpus, 1024),
    cpu: options.cpu,
    memoryLimit: options.memory === undefined ? undefined : memoryLimit(options.memory, host.memoryBytes()),
    addressSpace: parseChoice<AddressSpaceLayout>("--address-space", options.addressSpace, ["compact", "linux"]),
    tier: parseChoice<Tier>("--tier", options.tier ?? "auto", ["auto", "interpreter", "jit"]),
    handlerPack: pack,
    compilerThread,
    wasmMemory: options.wasmMemory,
    cache: pack && openCache?.(program, pack.build),
    programs: pack && openCache && new ExecutedPrograms(pack.build, options, report),
    maxProcesses:
      options.maxProcesses === undefined
        ? undefined
        : parseCount("--max-processes", options.maxProcesses, MAX_PROCESSES),
    hostExec: options.hostExec,
    tracer,
    report,
    ids: {
      pid: process.pid,
      ppid: process.ppid,
      uid: process.getuid?.() ?? 1000,
      gid: process.getgid?.() ?? 1000,
      euid: process.geteuid?.() ?? 1000,
      egid: process.getegid?.() ?? 1000,
      groups: process.getgroups?.(),
    },
    // While goemu listens to a signal for the guest, that one does not stop it.
    stopHost: (signal) => process.kill(process.pid, isListenedTo(signal) ? SIGNAL.SIGSTOP : signal),
    stopJob: (signal) => process.kill(0, signal),
  };
  return newMachine(machineOptions);
}

/** As many as there may be numbers for (/proc/sys/kernel/pid_max). */
const MAX_PROCESSES = 4_194_304;

/** A machine; without the cache, if that fails in a way that nobody has foreseen. */
function newMachine(options: MachineOptions): Machine {
  try {
    return new Machine(options);
  } catch (error) {
    if (!(error instanceof CacheError)) throw error;
    options.report?.(`what earlier runs translated can't be used (${error.message}): it is translated again`);
    return new Machine({ ...options, cache: undefined, wasmMemory: undefined });
  }
}

/** What goemu can do without; where it fails, a line says so. @param what it is */
function optional<T>(what: string, report: (message: string) => void, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    report(`${what} has failed (${error instanceof Error ? error.message : error}): goemu does without`);
    return undefined;
  }
}

const isListenedTo = (signal: number): boolean =>
  STOPS.some((name) => SIGNAL[name] === signal && process.listenerCount(name) > 0);

/**
 * The shell's exit status for a guest's end; says on stderr which signal killed it, as a shell does: not that nobody reads
 * any more what it writes.
 */
export function shellStatus(file: string, status: ExitStatus): number {
  if (status.kind === "exited") return status.status;
  if (status.signal !== SIGNAL.SIGPIPE)
    warn(`goemu: ${printable(file)}: ${describeSignal(status.signal)} (killed by signal ${status.signal})`);
  return 128 + status.signal;
}

/** Passes the host's signals on to the guest until the returned function is called. */
export function forwardSignals(machine: Machine): () => void {
  const handlers = FORWARDED.map((name) => [name, (): void => machine.kill(SIGNAL[name])] as const);
  for (const [name, handler] of handlers) {
    try {
      process.on(name, handler);
    } catch {
      // This host doesn't have the signal.
    }
  }
  const stops = new Map<number, readonly [SignalName, () => void]>(
    STOPS.map((name) => [SIGNAL[name], [name, () => machine.kill(SIGNAL[name])]]),
  );
  const { signals } = machine.process;
  signals.actionChanged = (signal, isDefault) => {
    const stop = stops.get(signal);
    if (stop === undefined) return;
    process.off(...stop);
    if (!isDefault) process.on(...stop);
  };
  for (const signal of stops.keys()) signals.actionChanged(signal, signals.action(signal).handler === 0n);
  return () => {
    for (const [name, handler] of [...handlers, ...stops.values()]) process.off(name, handler);
  };
}
