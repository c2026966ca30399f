import type { TranslationCache } from "../emu/cache/translation-cache.ts";
import { DEFAULT_LEVEL, LEVELS, parseCpuModel } from "../emu/cpu/features.ts";
import { cpuid } from "../emu/cpu/helpers.ts";
import { REG } from "../emu/cpu/state.ts";
import type { HandlerPack } from "../emu/interpreter/handlers.ts";
import { Interpreter } from "../emu/interpreter/interpreter.ts";
import type { CompilerThread } from "../emu/jit/compile-protocol.ts";
import { PAGE_SIZE, PERM_ABSENT, PROT_EXEC, PROT_READ, PROT_WRITE } from "../emu/layout.ts";
import { Core, type CoreOptions, type Tier } from "../emu/machine.ts";
import { COMPACT, LINUX } from "../emu/memory/address-space.ts";
import type { GuestMemory } from "../emu/memory/guest-memory.ts";
import type { EventLoop } from "../emu/threads/scheduler.ts";
import { JsEventLoop } from "../host/event-loop.ts";
import type { Host } from "../host/host.ts";
import type { FileSource } from "../loader/bytes.ts";
import { type Executable, LoadError, readExecutable } from "../loader/elf.ts";
import { goamd64Level } from "../loader/info.ts";
import { type MapPlan, type Mapping, planImage } from "../loader/map.ts";
import { type AuxEntry, buildAuxv, buildInitialStack } from "../loader/stack.ts";
import { buildVdso } from "../loader/vdso.ts";
import { VVAR } from "../loader/vdso-code.ts";
import { SIG_IGN } from "./abi/signals.ts";
import { mapImage, openInterpreter, planInterpreter } from "./image.ts";
import { MachineSymbols } from "./library-symbols.ts";
import { type ExitStatus, LinuxProcess } from "./linux-process.ts";
import type { LinuxThread } from "./linux-thread.ts";
import { STACK_SIZE } from "./process/limits.ts";
import { signalFrameBytes } from "./signals/frame.ts";
import type { SyscallTracer } from "./tracer.ts";

export type AddressSpaceLayout = "compact" | "linux";

export type { Tier } from "../emu/machine.ts";

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
  readonly ids?: { pid: number; ppid: number; uid: number; gid: number; euid: number; egid: number };
  /** Absolute path of the program file, for /proc/self/exe. */
  readonly exePath?: string;
  readonly stopHost?: (signal: number) => void;
  /** Sends a stop signal to the process group that the host has put the emulator in; without it the guest alone has it. */
  readonly stopJob?: (signal: number) => void;
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

const STACK_TOP = { compact: COMPACT.high + 0x100_0000 - 0x1_0000, linux: 0x7fff_ffff_f000 } as const;
/** What runs on the stack stays off its last pages, where no access may be taken to reach into a next one. */
const STACK_GAP = 8192;
/** ET_DYN images: within the window, or where Linux puts them without randomisation (ELF_ET_DYN_BASE). */
const DYN_BASE = { compact: 0x1000_0000, linux: 0x5555_5555_4000 } as const;

const utf8 = new TextEncoder();
const bytesOf = (text: string | Uint8Array): Uint8Array => (typeof text === "string" ? utf8.encode(text) : text);

/** What earlier runs left can't be used, and the machine neither: another one without a cache does. */
export class CacheError extends Error {
  override readonly name = "CacheError";
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error);

/** An x86-64 Linux machine with one program in it. */
export class Machine {
  readonly executable: Executable;
  readonly process: LinuxProcess;
  readonly core: Core;
  readonly memory: GuestMemory;
  readonly interpreter: Interpreter;
  /** Functions of the program, and of the libraries that it maps, at the addresses where they lie. */
  readonly symbols: MachineSymbols;
  readonly features: ReadonlySet<string>;
  readonly mainThread: LinuxThread;
  readonly #cache: TranslationCache | undefined;
  readonly #plan: MapPlan;
  #seconds = 0;

  /**
   * Loads a program; nothing runs yet.
   * @throws LoadError if the file can't be run, CpuModelError for a bad `cpu`, CacheError for a `cache` that fails
   */
  constructor(options: MachineOptions) {
    this.#cache = options.cache;
    this.features = parseCpuModel(options.cpu);
    this.executable = readExecutable(options.program, options.path);
    const layout = options.addressSpace ?? "compact";
    const plan = planImage(this.executable, { base: DYN_BASE[layout] });
    this.#plan = plan;
    const report = options.report ?? (() => {});
    const onDamage = (error: unknown): void =>
      report(`its symbols can't be read everywhere (${reasonOf(error)}): names and lines are missing there`);
    const { host } = options;
    const coreOptions: CoreOptions = {
      placement: layout === "linux" ? LINUX : COMPACT,
      limit: options.memoryLimit,
      size: options.memoryLimit ?? host.memoryBytes?.(),
      frameBytes: options.frameBytes,
      features: this.features,
      tier: options.tier,
      handlerPack: options.handlerPack,
      isPackFiltered: options.cpu !== undefined,
      compilerThread: options.compilerThread,
      report,
      now: () => host.monotonicNs() / 1e6,
    };
    this.core = new Core(coreOptions, options.wasmMemory);
    this.memory = this.core.memory;
    this.interpreter = this.core.interpreter;
    this.symbols = new MachineSymbols(this.executable, plan, this.memory.space, host.files, onDamage);
    this.#checkLevel(options.cpu);
    this.core.functionRange = (address) => {
      const symbol = this.symbols.lookup(address);
      if (symbol === undefined) return undefined;
      const goAbi = this.symbols.isCompiledGo(symbol.address);
      return { start: symbol.address, end: symbol.address + symbol.size, name: symbol.name, goAbi };
    };
    const ids = options.ids ?? { pid: 1000, ppid: 1, uid: 1000, gid: 1000, euid: 1000, egid: 1000 };
    const argv = (options.args ?? [options.path]).map(bytesOf);
    const envp = (options.env ?? []).map(bytesOf);
    const loop = options.eventLoop ?? new JsEventLoop(() => host.monotonicNs());
    this.process = new LinuxProcess({
      ...ids,
      core: this.core,
      loop,
      host,
      cpus: options.cpus ?? 1,
      features: this.features,
      exePath: options.exePath ?? options.path,
      name: options.path.slice(options.path.lastIndexOf("/") + 1).slice(0, 15),
      argv,
      envp,
      brk: plan.brk,
      strace: options.tracer,
      report: options.report ?? (() => {}),
      stopHost: options.stopHost,
      stopJob: options.stopJob,
      schedulerSeed: options.schedulerSeed,
    });
    mapImage(this.memory, { executable: this.executable, plan, path: this.process.exePath });
    const interpreter = this.#mapInterpreter(host);
    if (options.cache !== undefined) this.#restore(options.cache);
    this.mainThread = this.process.createThread(this.process.exePath.slice(this.process.exePath.lastIndexOf("/") + 1));
    this.#prepareStack(plan, interpreter, layout, options.path, argv, envp);
    this.mainThread.signalMask = options.signals?.blocked ?? 0n;
    for (const signal of options.signals?.ignored ?? []) {
      this.process.signals.setAction(signal, { handler: BigInt(SIG_IGN), flags: 0, restorer: 0n, mask: 0n });
    }
    this.process.startThread(this.mainThread);
  }

  /** @throws CacheError where that fails in its midst: then there is no telling what is in memory */
  #restore(cache: TranslationCache): void {
    try {
      this.interpreter.restore(cache);
    } catch (error) {
      Interpreter.forget(cache);
      throw new CacheError(reasonOf(error));
    }
  }

  /** The level that the program was built for; 1 if it does not say, or says it in a damaged table. */
  #goamd64(): number {
    try {
      return goamd64Level(this.symbols.buildInfo) ?? 1;
    } catch {
      // A symbol table that can't be read is no reason not to run a program.
      return 1;
    }
  }

  /** A program compiled for more than the CPU offers would only tell so itself; say it before. */
  #checkLevel(cpu: string | undefined): void {
    const level = this.#goamd64();
    const needed = LEVELS[`x86-64-v${level}`] ?? [];
    const missing = needed.filter((feature) => REQUIRED.has(feature) && !this.features.has(feature));
    if (level <= 1 || missing.length === 0) return;
    const has = cpu ?? DEFAULT_LEVEL;
    throw new LoadError(
      "machine",
      `compiled for GOAMD64=v${level}, which needs ${missing.join(", ")}; the CPU is ${has}`,
      `run it with --cpu x86-64-v${level}, or compile it with GOAMD64=v1`,
    );
  }

  /** Maps the interpreter that the program asks for, which is where it starts then. */
  #mapInterpreter(host: Host): MapPlan | undefined {
    const { needsInterpreter, interpreter: path } = this.executable;
    if (!needsInterpreter || path === undefined) return undefined;
    const executable = openInterpreter(host, path);
    const plan = planInterpreter(this.memory.space, executable);
    mapImage(this.memory, { executable, plan, path });
    return plan;
  }

  #prepareStack(
    plan: MapPlan,
    interpreter: MapPlan | undefined,
    layout: AddressSpaceLayout,
    path: string,
    argv: Uint8Array[],
    envp: Uint8Array[],
  ): void {
    const { space } = this.memory;
    const top = STACK_TOP[layout];
    const stackProt = PROT_READ | PROT_WRITE;
    // As it grows on Linux, nothing is promised of it but what is used.
    const noReserve = true;
    space.map({
      address: top - STACK_SIZE,
      length: STACK_SIZE,
      prot: stackProt,
      fixed: true,
      noReserve,
      name: "[stack]",
    });
    const { process } = this;
    const vdsoAt = this.#mapVdso();
    const auxv: AuxEntry[] = buildAuxv({
      sysinfoEhdr: vdsoAt,
      hwcap: cpuid(process, 1, 0).edx >>> 0,
      hwcap2: this.features.has("fsgsbase") ? 2 : 0,
      programHeaders: plan.programHeaders,
      programHeaderSize: this.executable.programHeaderTable.entrySize,
      programHeaderCount: this.executable.programHeaderTable.count,
      base: interpreter?.bias ?? 0,
      entry: plan.entry,
      uid: process.uid,
      euid: process.euid,
      gid: process.gid,
      egid: process.egid,
      secure: false,
      minSignalStackSize: signalFrameBytes(this.features),
    });
    const random = new Uint8Array(16);
    process.host.randomBytes(random);
    const stack = buildInitialStack({
      argv,
      envp,
      auxv,
      execfn: bytesOf(path),
      platform: "x86_64",
      random,
      stackTop: top,
      gap: layout === "compact" ? STACK_GAP : 0,
    });
    this.memory.poke(stack.address, stack.bytes);
    process.auxv = auxvBytes(this.memory, stack.sp, argv.length, envp.length, auxv.length);
    const { cpu } = this.mainThread;
    cpu.gpr[REG.RSP] = BigInt(stack.sp);
    cpu.rip = interpreter?.entry ?? plan.entry;
  }

  /** Maps the vDSO and, right before it, its data; returns the vDSO's address. */
  #mapVdso(): number {
    const { space } = this.memory;
    const { bytes } = buildVdso();
    const vvarAt = space.map({ address: 0, length: VVAR.size + bytes.length, prot: PROT_READ, name: "[vvar]" });
    const address = vvarAt + VVAR.size;
    space.map({ address, length: bytes.length, prot: PROT_READ | PROT_EXEC, fixed: true, name: "[vdso]" });
    this.memory.poke(address, bytes);
    this.process.timekeeping.publishAt(vvarAt);
    return address;
  }

  /** Runs the program to its end. */
  async run(): Promise<ExitStatus> {
    const start = this.process.host.monotonicNs();
    try {
      await this.process.scheduler.run();
    } finally {
      this.#seconds += (this.process.host.monotonicNs() - start) / 1e9;
      this.core.close();
    }
    if (this.process.exitStatus === undefined) throw new Error("the machine stopped before its process did");
    return this.process.exitStatus;
  }

  /** Puts what was translated into the cache that the machine was given, if that is worth keeping. */
  saveTranslations(): void {
    if (this.#cache !== undefined) this.interpreter.save(this.#cache, (page) => this.#isPristine(page));
  }

  /** Does a page hold what the program file has for it, as it did before anything ran? */
  #isPristine(page: number): boolean {
    const start = page * PAGE_SIZE;
    const mapping = this.#plan.mappings.findLast(
      ({ address, fileSize }) => start >= address && start < address + fileSize,
    );
    // The next run will find the code executable only where the file says so.
    if (mapping === undefined || !(mapping.prot & PROT_EXEC)) return false;
    const { u8, space } = this.memory;
    if (space.pages.window(page) & PERM_ABSENT) return true;
    const original = this.#originalPage(mapping, start - mapping.address);
    // A plain loop: this is a good part of the end of a first run.
    for (let i = 0; i < PAGE_SIZE; i++) if (u8[start + i] !== (i < original.length ? original[i] : 0)) return false;
    return true;
  }

  #originalPage(mapping: Mapping, offset: number): Uint8Array {
    if (mapping.isRelocated) return mapping.bytes.subarray(offset, offset + PAGE_SIZE);
    const page = new Uint8Array(Math.min(PAGE_SIZE, mapping.fileSize - offset));
    return page.subarray(0, this.executable.file.read(page, mapping.fileOffset + offset));
  }

  /** Sends a signal to the guest from outside. */
  kill(signal: number): void {
    this.process.signalFromHost(signal);
  }

  statistics(): Statistics {
    const { process, interpreter } = this;
    const jit = interpreter.jit?.statistics;
    return {
      instructions: process.instructions,
      seconds: this.#seconds,
      syscalls: [...process.syscallCounts.values()].reduce((sum, count) => sum + count, 0),
      threads: process.threadsStarted,
      peakThreads: process.peakThreads,
      switches: process.scheduler.switches,
      blocks: interpreter.code.blocks,
      decodedInstructions: interpreter.code.instructions,
      handlers: interpreter.handlers.count,
      interpretedInstructions:
        jit === undefined ? process.instructions : Math.min(interpreter.interpreted, process.instructions),
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

/** The auxiliary vector as it stands on the stack, behind argc, argv and envp with their null pointers. */
function auxvBytes(memory: GuestMemory, sp: number, argc: number, envc: number, entries: number): Uint8Array {
  return memory.readBytes(sp + 8 * (1 + argc + 1 + envc + 1), entries * 16);
}

/** Features of a level that the psABI names, without what merely comes along. */
const REQUIRED = new Set([
  ...["pni", "ssse3", "cx16", "sse4_1", "sse4_2", "popcnt", "lahf_lm"],
  ...["fma", "movbe", "osxsave", "avx", "f16c", "abm", "bmi1", "avx2", "bmi2"],
  ...["avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"],
]);
