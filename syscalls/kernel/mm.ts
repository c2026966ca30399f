import type { TranslationCache } from "../../emu/cache/translation-cache.ts";
import type { CpuState } from "../../emu/cpu/state.ts";
import type { Interpreter } from "../../emu/interpreter/interpreter.ts";
import type { Core } from "../../emu/machine.ts";
import type { GuestMemory } from "../../emu/memory/guest-memory.ts";
import type { Executable } from "../../loader/elf.ts";
import type { MapPlan } from "../../loader/map.ts";
import { SyscallError } from "../abi/errno.ts";
import type { MachineSymbols } from "../library-symbols.ts";
import type { FileBacking } from "../memory/file-backing.ts";
import type { MemoryNotes } from "../memory/notes.ts";
import { FutexTable } from "../threads/futex.ts";

/** What an address space was made from by execve(2). */
export interface Program {
  readonly executable: Executable;
  readonly plan: MapPlan;
  readonly symbols: MachineSymbols;
  /** Absolute path of the file, for /proc/self/exe. */
  readonly exePath: string;
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  /** The auxiliary vector as it stands on the stack. */
  readonly auxv: Uint8Array;
  /** Where its first thread begins, and its stack pointer there. */
  readonly entry: number;
  readonly stackPointer: number;
  /** What earlier runs of it translated. */
  readonly cache: TranslationCache | undefined;
  /** The files that its pages come from. */
  readonly files: OpenFiles;
}

/** Files that are open as long as one of several address spaces needs them. */
export class OpenFiles {
  readonly #close: readonly (() => void)[];
  #users = 1;

  constructor(close: readonly (() => void)[]) {
    this.#close = close;
  }

  acquire(): this {
    this.#users++;
    return this;
  }

  release(): void {
    if (--this.#users === 0) for (const close of this.#close) close();
  }
}

/**
 * An address space with what runs its code (Linux: struct mm_struct). A process has one at a time, until execve(2) gives
 * it another; several processes share one between vfork(2), or clone(2) with CLONE_VM, and execve.
 */
export class Mm {
  readonly core: Core;
  readonly memory: GuestMemory;
  readonly program: Program;
  /** The heap that brk(2) moves. */
  readonly heap: { readonly start: number; end: number };
  /** Files behind mappings, to be let go at the end. */
  readonly backings = new Set<FileBacking>();
  /** Threads that wait for a word of memory that no other address space has. */
  readonly futexes = new FutexTable();
  /** Says what became of requests for memory that goemu can't fulfil. */
  readonly notes: MemoryNotes;
  /** Address of the vDSO's data. */
  readonly vvar: number;
  /** Processes that have it. */
  users = 0;

  constructor(parts: Pick<Mm, "core" | "program" | "heap" | "notes" | "vvar">) {
    this.core = parts.core;
    this.memory = parts.core.memory;
    this.program = parts.program;
    this.heap = parts.heap;
    this.notes = parts.notes;
    this.vvar = parts.vvar;
  }

  get interpreter(): Interpreter {
    return this.core.interpreter;
  }

  /**
   * A CPU state for one more thread.
   * @throws SyscallError EAGAIN when there are too many
   */
  takeCpu(): CpuState {
    const cpu = this.core.takeCpu();
    if (cpu === undefined) throw new SyscallError("EAGAIN");
    return cpu;
  }

  giveCpu(cpu: CpuState): void {
    this.core.giveCpu(cpu);
  }
}
