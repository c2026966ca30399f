import { closeSync, openSync, readFileSync, realpathSync, writeSync } from "node:fs";
import { availableParallelism } from "node:os";
import process from "node:process";
import type { HandlerPack } from "../emu/interpreter/handlers.ts";
import { disassembleOne } from "../loader/disassemble.ts";
import { printable } from "../loader/identify.ts";
import { describeSignal, SIGNAL, type SignalName } from "../syscalls/abi/signals.ts";
import { describeCode } from "../syscalls/exceptions.ts";
import { NodeHost } from "../syscalls/host/node-host.ts";
import type { ExitStatus } from "../syscalls/linux-process.ts";
import { type AddressSpaceLayout, Machine, type Tier } from "../syscalls/machine.ts";
import { Strace } from "../syscalls/strace/strace.ts";
import { buildEnvironment, parseChoice, parseCount, parseSize, rawArguments } from "./arguments.ts";
import { CliError } from "./failure.ts";
import { readProgram } from "./program-file.ts";
import { formatStatistics } from "./statistics.ts";

/** Options of `goemu run` as commander hands them over. */
export interface RunOptions {
  readonly env: string[];
  readonly clearEnv?: boolean;
  readonly cpus?: string;
  readonly cpu?: string;
  readonly memory?: string;
  readonly addressSpace: string;
  readonly tier: string;
  readonly strace?: string;
  readonly stats?: string;
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

/** Takes hold of a machine before it runs; what it returns is called with the guest's end. */
export type Attach = (machine: Machine) => Promise<(status: ExitStatus) => Promise<void>>;

/** Runs a program; returns the exit status for the shell. */
export async function run(
  file: string,
  args: readonly string[],
  options: RunOptions,
  attach?: Attach,
): Promise<number> {
  const tier = parseChoice<Tier>("--tier", options.tier, ["auto", "interpreter", "jit"]);
  const statistics =
    options.stats === undefined ? undefined : parseChoice("--stats", options.stats || "text", ["text", "json"]);
  const program = readProgram(file);
  const host = new NodeHost();
  const trace = options.strace === undefined ? undefined : openTrace(options.strace);
  const machine = new Machine({
    program,
    path: file,
    exePath: realpathSync(file),
    args: rawArguments([file, ...args]),
    env: buildEnvironment(options.env, options.clearEnv ?? false),
    host,
    cpus: options.cpus === undefined ? availableParallelism() : parseCount("--cpus", options.cpus, 1024),
    cpu: options.cpu,
    memoryLimit: options.memory === undefined ? undefined : parseSize(options.memory),
    addressSpace: parseChoice<AddressSpaceLayout>("--address-space", options.addressSpace, ["compact", "linux"]),
    tier,
    handlerPack: readHandlerPack(),
    tracer: trace === undefined ? undefined : new Strace(trace.write),
    report: (message) => host.stderr.write(new TextEncoder().encode(`goemu: ${printable(file)}: ${message}\n`)),
    ids: {
      pid: process.pid,
      ppid: process.ppid,
      uid: process.getuid?.() ?? 1000,
      gid: process.getgid?.() ?? 1000,
      euid: process.geteuid?.() ?? 1000,
      egid: process.getegid?.() ?? 1000,
    },
    stopHost: (signal) => process.kill(process.pid, signal),
  });
  describeCode.symbol = (address) => machine.symbols.lookup(address)?.name ?? "";
  describeCode.text = disassembleOne;
  const stopForwarding = forwardSignals(machine);
  try {
    const ended = await attach?.(machine);
    const status = await machine.run();
    await ended?.(status);
    if (statistics !== undefined) writeAll(2, formatStatistics(machine.statistics(), statistics));
    if (status.kind === "exited") return status.status;
    writeAll(2, `goemu: ${printable(file)}: ${describeSignal(status.signal)} (killed by signal ${status.signal})\n`);
    return 128 + status.signal;
  } finally {
    stopForwarding();
    trace?.close();
    host.close();
  }
}

/** The handlers that the build made ahead of time; undefined when goemu runs from its sources. */
function readHandlerPack(): HandlerPack | undefined {
  try {
    const { keys, helpers } = JSON.parse(readFileSync(new URL("./handlers.json", import.meta.url), "utf8"));
    return { keys, helpers, module: readFileSync(new URL("./handlers.wasm", import.meta.url)) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function forwardSignals(machine: Machine): () => void {
  const handlers = FORWARDED.map((name) => [name, (): void => machine.kill(SIGNAL[name])] as const);
  for (const [name, handler] of handlers) {
    try {
      process.on(name, handler);
    } catch {
      // This host doesn't have the signal.
    }
  }
  return () => {
    for (const [name, handler] of handlers) process.off(name, handler);
  };
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

/** Writes all of a text to a descriptor, waiting for a slow reader. */
function writeAll(fd: number, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") return;
      if (code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}
