import { PAGE_SIZE } from "../emu/layout.ts";
import type { AddressSpace } from "../emu/memory/address-space.ts";
import type { Vma } from "../emu/memory/vma.ts";
import type { HostFileSystem } from "../host/host.ts";
import { type Executable, inspectExecutable } from "../loader/elf.ts";
import { LoadError } from "../loader/errors.ts";
import type { MapPlan } from "../loader/map.ts";
import { type Func, type SourceFrame, type SourceLine, SymbolTable, type Variable } from "../loader/symbols/table.ts";
import { SyscallError } from "./abi/errno.ts";
import { O_RDONLY } from "./abi/fcntl.ts";
import type { FileStat } from "./abi/stat.ts";
import { sourceOf } from "./image.ts";

/** A library in the address space, as far as its symbols go. */
export interface Library {
  readonly path: string;
  /** What is added to addresses as linked. */
  readonly bias: number;
  readonly symbols: SymbolTable;
}

/** Most libraries whose symbols are kept for programs to come. */
const MOST_KNOWN = 256;

/**
 * The symbols of libraries that programs of a machine have mapped, for those that map them at the same place: a shell's
 * children all have the same C library.
 */
export class KnownLibraries {
  readonly #tables = new Map<string, SymbolTable>();

  /** @param make reads the symbols of a file that has not been there before, or not in this state, or elsewhere */
  of(path: string, bias: number, stat: FileStat, make: () => SymbolTable): SymbolTable {
    const key = [path, bias, stat.dev, stat.ino, stat.size, stat.mtimeNs].join(" ");
    let table = this.#tables.get(key);
    if (table === undefined) {
      if (this.#tables.size >= MOST_KNOWN) this.#tables.clear();
      table = make();
      this.#tables.set(key, table);
    }
    return table;
  }
}

/**
 * The symbols of a program and of the libraries that it has mapped, its interpreter among them: whoever asks about an
 * address gets what the file mapped there says. Names are the program's; those of libraries come after them. A library that
 * can't be read, or is none, has no symbols.
 */
export class MachineSymbols extends SymbolTable {
  readonly #program: { readonly start: number; readonly end: number };
  readonly #space: AddressSpace;
  readonly #tellDamage: ((error: unknown) => void) | undefined;
  readonly #files: HostFileSystem;
  readonly #shared: KnownLibraries;
  /** What was found by path and bias; undefined for what has no symbols. */
  readonly #libraries = new Map<string, Library | undefined>();

  /** @param onDamage is told of damaged symbols of any of them (SymbolTable) */
  constructor(
    executable: Executable,
    plan: MapPlan,
    space: AddressSpace,
    files: HostFileSystem,
    known: KnownLibraries,
    onDamage?: (error: unknown) => void,
  ) {
    super(executable, { bias: plan.bias, onDamage });
    this.#tellDamage = onDamage;
    this.#program = { start: plan.start, end: plan.end };
    this.#space = space;
    this.#files = files;
    this.#shared = known;
  }

  /** The libraries that are mapped now, by address. */
  get libraries(): Library[] {
    const found = new Set<Library>();
    for (const vma of this.#space.vmas) {
      const library = this.#isProgram(vma.start) ? undefined : this.#libraryOf(vma);
      if (library !== undefined) found.add(library);
    }
    return [...found];
  }

  #isProgram(address: number): boolean {
    return address >= this.#program.start && address < this.#program.end;
  }

  /** The library that is mapped at an address outside of the program. */
  #libraryAt(address: number): SymbolTable | undefined {
    const vma = this.#space.vmas.at(address);
    return vma === undefined ? undefined : this.#libraryOf(vma)?.symbols;
  }

  #libraryOf({ backing, start, offset }: Vma): Library | undefined {
    if (backing === undefined) return undefined;
    const { path } = backing;
    const key = `${start - offset} ${path}`;
    if (!this.#libraries.has(key)) this.#libraries.set(key, this.#read(path, start, offset));
    return this.#libraries.get(key);
  }

  /** @param start where the part of the file at `offset` is mapped */
  #read(path: string, start: number, offset: number): Library | undefined {
    try {
      const file = this.#files.open(path, O_RDONLY, 0);
      const { executable } = inspectExecutable(sourceOf(file), path);
      const floor = (value: number): number => value - (value % PAGE_SIZE);
      // Several segments may share a page of the file: the last one that begins at or before it is the one mapped so.
      const segment = executable.segments.findLast(
        (each) => offset >= floor(each.offset) && offset < each.offset + each.fileSize,
      );
      if (segment === undefined) return undefined;
      const bias = start - (floor(segment.vaddr) + offset - floor(segment.offset));
      const known = this.#known(path, bias);
      if (known !== undefined) return known;
      let isNew = false;
      const symbols = this.#shared.of(path, bias, file.stat(), () => {
        isNew = true;
        return new SymbolTable(executable, { bias, onDamage: this.#tellDamage });
      });
      // A table reads its file when it is asked.
      if (!isNew) file.close();
      return { path, bias, symbols };
    } catch (error) {
      if (error instanceof SyscallError || error instanceof LoadError) return undefined;
      throw error;
    }
  }

  /** Another part of the file has been looked at already. */
  #known(path: string, bias: number): Library | undefined {
    for (const library of this.#libraries.values()) {
      if (library !== undefined && library.path === path && library.bias === bias) return library;
    }
    return undefined;
  }

  override lookup(address: number): Func | undefined {
    return this.#isProgram(address) ? super.lookup(address) : this.#libraryAt(address)?.lookup(address);
  }

  override variableAt(address: number): Variable | undefined {
    return this.#isProgram(address) ? super.variableAt(address) : this.#libraryAt(address)?.variableAt(address);
  }

  override stackDelta(address: number): number | undefined {
    return this.#isProgram(address) ? super.stackDelta(address) : this.#libraryAt(address)?.stackDelta(address);
  }

  override lineOf(address: number): SourceLine | undefined {
    return this.#isProgram(address) ? super.lineOf(address) : this.#libraryAt(address)?.lineOf(address);
  }

  override isCompiledGo(address: number): boolean {
    return this.#isProgram(address)
      ? super.isCompiledGo(address)
      : this.#libraryAt(address)?.isCompiledGo(address) === true;
  }

  override inlineStack(address: number): SourceFrame[] {
    return this.#isProgram(address)
      ? super.inlineStack(address)
      : (this.#libraryAt(address)?.inlineStack(address) ?? []);
  }

  override byName(name: string): Func | undefined {
    const own = super.byName(name);
    if (own !== undefined) return own;
    for (const { symbols } of this.libraries) {
      const found = symbols.byName(name);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
