import type { TranslationCache } from "../emu/cache/translation-cache.ts";
import { DEFAULT_LEVEL, LEVELS, parseCpuModel } from "../emu/cpu/features.ts";
import { REG } from "../emu/cpu/state.ts";
import type { HandlerPack } from "../emu/interpreter/handlers.ts";
import type { Interpreter } from "../emu/interpreter/interpreter.ts";
import type { CompilerThread } from "../emu/jit/compile-protocol.ts";
import { type Core, Cores, type Tier } from "../emu/machine.ts";
import { COMPACT, LINUX } from "../emu/memory/address-space.ts";
import type { GuestMemory } from "../emu/memory/guest-memory.ts";
import type { EventLoop } from "../emu/threads/scheduler.ts";
import { JsEventLoop } from "../host/event-loop.ts";
import type { Host } from "../host/host.ts";
import type { FileSource } from "../loader/bytes.ts";
import { type Executable, readExecutable } from "../loader/elf.ts";
import { LoadError } from "../loader/errors.ts";
import { goamd64Level } from "../loader/info.ts";
import { SIG_IGN, SIGNAL } from "./abi/signals.ts";
import { FileState } from "./files/file-state.ts";
import { type AddressSpaceLayout, Kernel } from "./kernel/kernel.ts";
import { loadProgram } from "./kernel/load.ts";
import type { Mm } from "./kernel/mm.ts";
import { type ProgramFinder, saveTranslations } from "./kernel/programs.ts";
import type { MachineSymbols } from "./library-symbols.ts";
import { type ExitStatus, LinuxProcess } from "./linux-process.ts";
import type { LinuxThread } from "./linux-thread.ts";
import { Credentials } from "./process/credentials.ts";
import { Limits, RLIMIT } from "./process/limits.ts";
import { Signals } from "./signals/state.ts";
import type { SyscallTracer } from "./tracer.ts";

export type { Tier } from "../emu/machine.ts";
export type { AddressSpaceLayout } from "./kernel/kernel.ts";
export { CacheError } from "./kernel/load.ts";

export interface MachineOptions {
  /** The ELF file's bytes, or where to read them: then only what the program uses is read, when it is used. */
  readonly program: Uint8Array | FileSource;
  /** Name for messages, /proc/self/exe and AT_EXECFN: the path by which it was started. */
  readonly path: string;
  /** Signals that it ignores from its start, and those that it blocks (bit N-1: signal N), as execve(2) leaves them. */
  readonly signals?: { readonly ignored: readonly number[]; readonly blocked: bigint };
  /** argv with argv[0]; by default the path alone. */
  readonly args?: readonly (string | Uint8Array)[];
  /** Environment as NAME=VALUE; by default empty. */
  readonly env?: readonly (string | Uint8Array)[];
  /** The world outside. */
  readonly host: Host;
  /** CPUs that the guest sees. */
  readonly cpus?: number;
  /** CPU model as `--cpu` takes it. */
  readonly cpu?: string;
  /** Most bytes of memory that the program can have; by default as much as the host has. */
  readonly memoryLimit?: number;
  /** Most bytes of the window that pages outside of it take, before the first of them go into swap (AddressSpace). */
  readonly frameBytes?: number;
  readonly addressSpace?: AddressSpaceLayout;
  readonly tier?: Tier;
  /**
   * Seed of how long threads run and in which order, an integer; by default a fixed one. What the host brings in (time,
   * input) has its part in that, too: with the same of it, a run with the same seed is the same.
   */
  readonly schedulerSeed?: number;
  /** Handlers made ahead of time, for a faster start. */
  readonly handlerPack?: HandlerPack;
  /** What earlier runs of the same program, build and options translated. It changes how fast, never what happens. */
  readonly cache?: TranslationCache;
  /**
   * Starts a thread that compiles hot code, once there is some (startCompilerThread on Node). The guest then does not wait
   * for the compiler, and when compiled code comes in is a matter of chance; without it, that is the same in each run.
   */
  readonly compilerThread?: () => CompilerThread;
  /** 4 GiB of untouched memory to use in place of new memory. */
  readonly wasmMemory?: WebAssembly.Memory;
  readonly tracer?: SyscallTracer;
  /** Receives a line about what goemu can't do for the guest. */
  readonly report?: (message: string) => void;
  readonly eventLoop?: EventLoop;
  readonly ids?: {
    pid: number;
    ppid: number;
    uid: number;
    gid: number;
    euid: number;
    egid: number;
    /** Supplementary groups; by default that of `gid` alone. */
    groups?: readonly number[];
  };
  /** Absolute path of the program file, for /proc/self/exe. */
  readonly exePath?: string;
  readonly stopHost?: (signal: number) => void;
  /** Sends a stop signal to the process group that the host has put the emulator in; without it the guest alone has it. */
  readonly stopJob?: (signal: number) => void;
  /** Most processes at a time; 4096 by default. More are refused with EAGAIN. */
  readonly maxProcesses?: number;
  /** Programs that a process executes run on the host (Host.processes), each in a process of its own. */
  readonly hostExec?: boolean;
  /** What is known of the programs that processes execute. */
  readonly programs?: ProgramFinder;
}

/** What a run came to, in numbers. */
export interface Statistics {
  readonly instructions: number;
  readonly seconds: number;
  readonly syscalls: number;
  readonly threads: number;
  readonly peakThreads: number;
  readonly switches: number;
  readonly blocks: number;
  readonly decodedInstructions: number;
  readonly handlers: number;
  /** Instructions that the interpreter ran, to within the rest of a block that was left in its middle. */
  readonly interpretedInstructions: number;
  /** Regions that the second tier compiled: how many, their instructions, their size in bytes of WebAssembly. */
  readonly regions: number;
  readonly compiledInstructions: number;
  readonly regionBytes: number;
  /** For which the guest stood still, in all and at most at a time; what another thread has spent beside that. */
  readonly compileMilliseconds: number;
  readonly longestCompileMilliseconds: number;
  readonly asideCompileMilliseconds: number;
  /** Regions that were taken over from an earlier run. */
  readonly restoredRegions: number;
  /** Most bytes that were mapped accessible at one time. */
  readonly peakGuestMemory: number;
  /** Bytes of pages that hold something at the end. */
  readonly residentGuestMemory: number;
}

const utf8 = new TextEncoder();
const bytesOf = (text: string | Uint8Array): Uint8Array => (typeof text === "string" ? utf8.encode(text) : text);

/** An x86-64 Linux machine: a program, and the processes that come from it. */
export class Machine {
  readonly kernel: Kernel;
  readonly executable: Executable;
  /** The process that the machine begins with. */
  readonly process: LinuxProcess;
  readonly core: Core;
  readonly memory: GuestMemory;
  readonly interpreter: Interpreter;
  /** Functions of the program, and of the libraries that it maps, at the addresses where they lie. */
  readonly symbols: MachineSymbols;
  readonly features: ReadonlySet<string>;
  readonly mainThread: LinuxThread;
  readonly #mm: Mm;
  #seconds = 0;

  /**
   * Loads a program; nothing runs yet.
   * @throws LoadError if the file can't be run, CpuModelError for a bad `cpu`, CacheError for a `cache` that fails
   */
  constructor(options: MachineOptions) {
    this.features = parseCpuModel(options.cpu);
    this.executable = readExecutable(options.program, options.path);
    const { host } = options;
    const { pid, ppid, ...ids }: NonNullable<MachineOptions["ids"]> = options.ids ?? {
      pid: 1000,
      ppid: 1,
      uid: 1000,
      gid: 1000,
      euid: 1000,
      egid: 1000,
    };
    const report = options.report ?? (() => {});
    const layout = options.addressSpace ?? "compact";
    const kernel: Kernel = new Kernel({
      host,
      loop: options.eventLoop ?? new JsEventLoop(() => host.monotonicNs()),
      cores: new Cores({
        placement: layout === "linux" ? LINUX : COMPACT,
        features: this.features,
        isPackFiltered: options.cpu !== undefined,
        limit: options.memoryLimit,
        size: options.memoryLimit ?? host.memoryBytes?.(),
        frameBytes: options.frameBytes,
        tier: options.tier,
        handlerPack: options.handlerPack,
        compilerThread: options.compilerThread,
        report,
        now: () => host.monotonicNs() / 1e6,
        tsc: () => kernel.timekeeping.tsc(),
      }),
      layout,
      cpus: options.cpus ?? 1,
      pid,
      ppid,
      tracer: options.tracer,
      report,
      stopHost: options.stopHost,
      stopJob: options.stopJob,
      schedulerSeed: options.schedulerSeed,
      maxProcesses: options.maxProcesses,
      hostExec: options.hostExec ?? false,
      programs: options.programs ?? {},
    });
    this.kernel = kernel;
    const exePath = options.exePath ?? options.path;
    const mm = loadProgram(kernel, {
      executable: this.executable,
      path: bytesOf(options.path),
      exePath,
      argv: (options.args ?? [options.path]).map(bytesOf),
      envp: (options.env ?? []).map(bytesOf),
      ids,
      cache: options.cache,
      wasmMemory: options.wasmMemory,
      check: (symbols) => checkLevel(symbols, this.features, options.cpu),
    });
    this.#mm = mm;
    this.core = mm.core;
    this.memory = mm.memory;
    this.interpreter = mm.interpreter;
    this.symbols = mm.program.symbols;
    kernel.firstMm = mm;
    const limits = new Limits();
    const files = new FileState(host, Number(limits.get(RLIMIT.NOFILE).soft));
    files.wakeUp = () => kernel.wakeUp();
    files.caller = () => kernel.caller;
    const { group, session } = host.job?.() ?? { group: pid, session: pid };
    kernel.hostSession = session;
    this.process = new LinuxProcess(kernel, kernel.newPid(), {
      mm,
      files,
      signals: (process) => new Signals(process),
      limits,
      parent: undefined,
      exitSignal: SIGNAL.SIGCHLD,
      credentials: new Credentials(ids),
      group,
      session,
    });
    kernel.first = this.process;
    this.mainThread = this.process.createThread(exePath.slice(exePath.lastIndexOf("/") + 1));
    kernel.timekeeping.publishAt(mm.memory, mm.vvar);
    const { cpu } = this.mainThread;
    cpu.gpr[REG.RSP] = BigInt(mm.program.stackPointer);
    cpu.rip = mm.program.entry;
    this.mainThread.signalMask = options.signals?.blocked ?? 0n;
    for (const signal of options.signals?.ignored ?? []) {
      this.process.signals.setAction(signal, { handler: BigInt(SIG_IGN), flags: 0, restorer: 0n, mask: 0n });
    }
    this.process.startThread(this.mainThread);
  }

  /** Runs the program to its end, and to that of all processes that come from it; how the program itself ended. */
  async run(): Promise<ExitStatus> {
    const start = this.process.host.monotonicNs();
    try {
      await this.kernel.scheduler.run();
    } finally {
      this.#seconds += (this.process.host.monotonicNs() - start) / 1e9;
      this.core.close();
      this.kernel.cores.close();
    }
    if (this.process.exitStatus === undefined) throw new Error("the machine stopped before its process did");
    return this.process.exitStatus;
  }

  /** Puts what was translated into the cache that the machine was given, if that is worth keeping. */
  saveTranslations(): void {
    saveTranslations(this.#mm);
  }

  /** Sends a signal to the guest from outside. */
  kill(signal: number): void {
    this.kernel.signalFromHost(signal);
  }

  statistics(): Statistics {
    const { kernel, interpreter } = this;
    const jit = this.core.jit?.statistics;
    return {
      instructions: kernel.instructions,
      seconds: this.#seconds,
      syscalls: [...kernel.syscallCounts.values()].reduce((sum, count) => sum + count, 0),
      threads: kernel.threadsStarted,
      peakThreads: kernel.peakThreads,
      switches: kernel.scheduler.switches,
      blocks: interpreter.code.blocks,
      decodedInstructions: interpreter.code.instructions,
      handlers: interpreter.handlers.count,
      interpretedInstructions:
        jit === undefined ? kernel.instructions : Math.min(interpreter.interpreted, kernel.instructions),
      regions: jit?.regions ?? 0,
      compiledInstructions: jit?.compiledInstructions ?? 0,
      regionBytes: jit?.bytes ?? 0,
      compileMilliseconds: jit?.milliseconds ?? 0,
      longestCompileMilliseconds: jit?.longestMilliseconds ?? 0,
      asideCompileMilliseconds: jit?.asideMilliseconds ?? 0,
      restoredRegions: jit?.restored ?? 0,
      peakGuestMemory: this.memory.space.peakAccessibleBytes,
      residentGuestMemory: this.memory.space.residentBytes,
    };
  }
}

/** The level that the program was built for; 1 if it does not say, or says it in a damaged table. */
function goamd64(symbols: MachineSymbols): number {
  try {
    return goamd64Level(symbols.buildInfo) ?? 1;
  } catch {
    // A symbol table that can't be read is no reason not to run a program.
    return 1;
  }
}

/** A program compiled for more than the CPU offers would only tell so itself; say it before. */
function checkLevel(symbols: MachineSymbols, features: ReadonlySet<string>, cpu: string | undefined): void {
  const level = goamd64(symbols);
  const needed = LEVELS[`x86-64-v${level}`] ?? [];
  const missing = needed.filter((feature) => REQUIRED.has(feature) && !features.has(feature));
  if (level <= 1 || missing.length === 0) return;
  const has = cpu ?? DEFAULT_LEVEL;
  throw new LoadError(
    "machine",
    `compiled for GOAMD64=v${level}, which needs ${missing.join(", ")}; the CPU is ${has}`,
    `run it with --cpu x86-64-v${level}, or compile it with GOAMD64=v1`,
  );
}

/** Features of a level that the psABI names, without what merely comes along. */
const REQUIRED = new Set([
  ...["pni", "ssse3", "cx16", "sse4_1", "sse4_2", "popcnt", "lahf_lm"],
  ...["fma", "movbe", "osxsave", "avx", "f16c", "abm", "bmi1", "avx2", "bmi2"],
  ...["avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"],
]);
