import type { TranslationCache } from "../../emu/cache/translation-cache.ts";
import { cpuid } from "../../emu/cpu/helpers.ts";
import { Interpreter } from "../../emu/interpreter/interpreter.ts";
import { PROT_EXEC, PROT_READ, PROT_WRITE } from "../../emu/layout.ts";
import type { Core } from "../../emu/machine.ts";
import { COMPACT } from "../../emu/memory/address-space.ts";
import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { Executable } from "../../loader/elf.ts";
import { type MapPlan, planImage } from "../../loader/map.ts";
import { buildAuxv, buildInitialStack } from "../../loader/stack.ts";
import { buildVdso } from "../../loader/vdso.ts";
import { VVAR } from "../../loader/vdso-code.ts";
import { mapImage, openInterpreter, planInterpreter } from "../image.ts";
import { MachineSymbols } from "../library-symbols.ts";
import { MemoryNotes } from "../memory/notes.ts";
import { STACK_SIZE } from "../process/limits.ts";
import { signalFrameBytes } from "../signals/frame.ts";
import type { Kernel } from "./kernel.ts";
import { Mm, OpenFiles } from "./mm.ts";

const STACK_TOP = { compact: COMPACT.high + 0x100_0000 - 0x1_0000, linux: 0x7fff_ffff_f000 } as const;
/** What runs on the stack stays off its last pages, where no access may be taken to reach into a next one. */
const STACK_GAP = 8192;
/** ET_DYN images: within the window, or where Linux puts them without randomisation (ELF_ET_DYN_BASE). */
const DYN_BASE = { compact: 0x1000_0000, linux: 0x5555_5555_4000 } as const;

/** What earlier runs left can't be used, and the machine neither: another one without a cache does. */
export class CacheError extends Error {
  override readonly name = "CacheError";
}

export const reasonOf = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : String(error);

/** The ids of a process, as execve(2) tells them the program. */
export interface Ids {
  readonly uid: number;
  readonly gid: number;
  readonly euid: number;
  readonly egid: number;
}

/** What is to be run. */
export interface ProgramStart {
  readonly executable: Executable;
  /** The path by which it was started (AT_EXECFN). */
  readonly path: Uint8Array;
  /** Absolute path of the file. */
  readonly exePath: string;
  /** Absolute path of its interpreter, where that is not as the file says (chroot(2)). */
  readonly interpreter?: string | undefined;
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  readonly ids: Ids;
  readonly cache?: TranslationCache | undefined;
  /** Closes its file. */
  readonly close?: () => void;
  /** 4 GiB of untouched memory to use in place of new memory. */
  readonly wasmMemory?: WebAssembly.Memory | undefined;
  /** Asked before anything is mapped. @throws LoadError if the CPU can't run it */
  readonly check?: (symbols: MachineSymbols) => void;
}

/**
 * Makes the address space of a program: its image, that of its interpreter, stack and vDSO (fs/binfmt_elf.c,
 * load_elf_binary()).
 * @throws LoadError if it can't be run, CacheError for a `cache` that fails, SyscallError ENOMEM
 */
export function loadProgram(kernel: Kernel, start: ProgramStart): Mm {
  const { executable, argv, envp, cache } = start;
  const plan = planImage(executable, { base: DYN_BASE[kernel.layout] });
  const onDamage = (error: unknown): void =>
    kernel.report(`its symbols can't be read everywhere (${reasonOf(error)}): names and lines are missing there`);
  const core = kernel.cores.make(start.wasmMemory);
  const { memory, interpreter } = core;
  const symbols = new MachineSymbols(executable, plan, memory.space, kernel.host.files, kernel.libraries, onDamage);
  start.check?.(symbols);
  boundFunctions(core, symbols);
  mapImage(memory, { executable, plan, path: start.exePath });
  const linker = mapInterpreter(kernel, memory, executable, start.interpreter);
  if (cache !== undefined) restore(interpreter, cache);
  mapStack(memory, STACK_TOP[kernel.layout]);
  const vvar = mapVdso(memory);
  const stack = fillStack(kernel, memory, start, plan, linker?.plan, vvar + VVAR.size);
  const close = [start.close, linker?.close].filter((each) => each !== undefined);
  return new Mm({
    core,
    heap: { start: plan.brk, end: plan.brk },
    notes: new MemoryNotes(memory.space, kernel.report),
    vvar,
    program: {
      executable,
      plan,
      symbols,
      exePath: start.exePath,
      argv,
      envp,
      auxv: stack.auxv,
      entry: linker?.plan.entry ?? plan.entry,
      stackPointer: stack.sp,
      cache,
      files: new OpenFiles(close),
    },
  });
}

/** Tells the second tier where functions begin and end. */
export function boundFunctions(core: Core, symbols: MachineSymbols): void {
  core.functionRange = (address) => {
    const symbol = symbols.lookup(address);
    if (symbol === undefined) return undefined;
    const goAbi = symbols.isCompiledGo(symbol.address);
    return { start: symbol.address, end: symbol.address + symbol.size, name: symbol.name, goAbi };
  };
}

/** Maps the interpreter that the program asks for, which is where it starts then. */
function mapInterpreter(
  kernel: Kernel,
  memory: GuestMemory,
  { needsInterpreter, interpreter }: Executable,
  atPath: string | undefined,
): { plan: MapPlan; close: () => void } | undefined {
  const path = atPath ?? interpreter;
  if (!needsInterpreter || path === undefined) return undefined;
  const { executable, close } = openInterpreter(kernel.host, path);
  const plan = planInterpreter(memory.space, executable);
  mapImage(memory, { executable, plan, path });
  return { plan, close };
}

/** @throws CacheError where that fails in its midst: then there is no telling what is in memory */
function restore(interpreter: Interpreter, cache: TranslationCache): void {
  try {
    interpreter.restore(cache);
  } catch (error) {
    Interpreter.forget(cache);
    throw new CacheError(reasonOf(error));
  }
}

/** Maps the vDSO and, right before it, its data; returns the data's address. */
function mapVdso(memory: GuestMemory): number {
  const { space } = memory;
  const { bytes } = buildVdso();
  const vvar = space.map({ address: 0, length: VVAR.size + bytes.length, prot: PROT_READ, name: "[vvar]" });
  const address = vvar + VVAR.size;
  space.map({ address, length: bytes.length, prot: PROT_READ | PROT_EXEC, fixed: true, name: "[vdso]" });
  memory.poke(address, bytes);
  return vvar;
}

function mapStack({ space }: GuestMemory, top: number): void {
  space.map({
    address: top - STACK_SIZE,
    length: STACK_SIZE,
    prot: PROT_READ | PROT_WRITE,
    fixed: true,
    // As it grows on Linux, nothing is promised of it but what is used.
    noReserve: true,
    name: "[stack]",
  });
}

function fillStack(
  kernel: Kernel,
  memory: GuestMemory,
  { executable, argv, envp, path, ids }: ProgramStart,
  plan: MapPlan,
  interpreter: MapPlan | undefined,
  sysinfoEhdr: number,
): { sp: number; auxv: Uint8Array } {
  const { layout, features } = kernel;
  const top = STACK_TOP[layout];
  const auxv = buildAuxv({
    sysinfoEhdr,
    hwcap: cpuid(kernel, 1, 0).edx >>> 0,
    hwcap2: features.has("fsgsbase") ? 2 : 0,
    programHeaders: plan.programHeaders,
    programHeaderSize: executable.programHeaderTable.entrySize,
    programHeaderCount: executable.programHeaderTable.count,
    base: interpreter?.bias ?? 0,
    entry: plan.entry,
    uid: ids.uid,
    euid: ids.euid,
    gid: ids.gid,
    egid: ids.egid,
    secure: false,
    minSignalStackSize: signalFrameBytes(features),
  });
  const random = new Uint8Array(16);
  kernel.host.randomBytes(random);
  const stack = buildInitialStack({
    argv: [...argv],
    envp: [...envp],
    auxv,
    execfn: path,
    platform: "x86_64",
    random,
    stackTop: top,
    gap: layout === "compact" ? STACK_GAP : 0,
  });
  memory.poke(stack.address, stack.bytes);
  // It stands behind argc, argv and envp with their null pointers.
  const at = stack.sp + 8 * (1 + argv.length + 1 + envp.length + 1);
  return { sp: stack.sp, auxv: memory.readBytes(at, auxv.length * 16) };
}
