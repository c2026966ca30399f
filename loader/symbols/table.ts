import type { Executable } from "../elf.ts";
import { SymbolError } from "../errors.ts";
import { findBuildVersion, type GoBuildInfo, goMinorVersion, readBuildInfo } from "./buildinfo.ts";
import { ProgramImage, symbolFailure } from "./image.ts";
import { inlineStack, type SourceFrame } from "./inline.ts";
import { nearestNames } from "./nearest.ts";
import { locatePcLineTable, type PcLineTable } from "./pclntab.ts";
import { type ElfSymbol, ElfSymbols } from "./symtab.ts";

export type { GoBuildInfo, GoModule } from "./buildinfo.ts";
export type { SourceFrame } from "./inline.ts";

/** A function of the program. */
export interface Func {
  readonly name: string;
  /** Where its code starts, load bias included. */
  readonly address: number;
  /** Bytes of code, with the padding up to the next function for `source` "pclntab". */
  readonly size: number;
  readonly source: "pclntab" | "symtab";
}

/** A global variable of the program. */
export interface Variable {
  readonly name: string;
  /** Where it is, load bias included. */
  readonly address: number;
  readonly size: number;
}

/** The file and line that an instruction was compiled from. */
export interface SourceLine {
  readonly file: string;
  readonly line: number;
}

/** How many names nearest() suggests. */
const SUGGESTIONS = 5;
/** The function list is refused where its names take more than this many times the file: they overlap. */
const NAMES_PER_FILE_BYTE = 4;

/**
 * The symbols of an executable: Go's function table where there is one, stripped or not, and .symtab for the rest.
 * Nothing is read until it is asked for, and lookup() reads only what it needs. All addresses have the load bias of
 * the constructor added. Every method and getter throws SymbolError where what it reads is damaged.
 */
export class SymbolTable {
  readonly #image: ProgramImage;
  readonly #bias: number;
  readonly #byIndex = new Map<number, Func>();
  readonly #pclntab: () => PcLineTable | undefined;
  readonly #symtab: () => ElfSymbols | undefined;
  readonly #buildInfo: () => GoBuildInfo | undefined;
  readonly #version: () => string | undefined;
  readonly #functions: () => readonly Func[];
  readonly #names: () => ReadonlyMap<string, Func>;

  readonly #onDamage: ((error: unknown) => void) | undefined;
  #isDamageTold = false;

  /**
   * @param options.bias what the loader added to addresses as linked (MapPlan.bias)
   * @param options.onDamage who asks about an address can do without an answer: what can't be read is as if it were not
   *   there, and this is told once. Without it everything throws.
   */
  constructor(
    executable: Executable,
    { bias = 0, onDamage }: { bias?: number; onDamage?: (error: unknown) => void } = {},
  ) {
    this.#image = new ProgramImage(executable);
    this.#bias = bias;
    this.#onDamage = onDamage;
    this.#pclntab = once(() => locatePcLineTable(this.#image));
    this.#symtab = once(() => ElfSymbols.of(executable));
    this.#buildInfo = once(() => readBuildInfo(this.#image));
    this.#version = once(
      () =>
        this.#buildInfo()?.goVersion ??
        findBuildVersion(this.#image, this.#symtab()?.addressOf("runtime.buildVersion")),
    );
    this.#functions = once(() => this.#listFunctions());
    this.#names = once(
      () =>
        new Map(
          this.#functions()
            .toReversed()
            .map((func) => [func.name, func]),
        ),
    );
  }

  /** Whether the executable has a Go function table. */
  get hasGoFunctions(): boolean {
    return this.#pclntab() !== undefined;
  }

  /** Go's build information; undefined when the file has none. */
  get buildInfo(): GoBuildInfo | undefined {
    return this.#buildInfo();
  }

  /** For instance "go1.26.1"; undefined for a program that is not Go's, or whose version is nowhere to be found. */
  get goVersion(): string | undefined {
    return this.#buildInfo() !== undefined || this.hasGoFunctions ? this.#version() : undefined;
  }

  /** Every function, by address. Where both tables know one, Go's own name stands. */
  get functions(): readonly Func[] {
    return this.#functions();
  }

  /** What `ask` says of an address; `otherwise` where that can't be read and nobody insists. */
  #about<T>(ask: () => T, otherwise: () => T): T {
    if (this.#onDamage === undefined) return ask();
    try {
      return ask();
    } catch (error) {
      if (!this.#isDamageTold) this.#onDamage(error);
      this.#isDamageTold = true;
      return otherwise();
    }
  }

  /** The function that holds `address`. */
  lookup(address: number): Func | undefined {
    return this.#about(() => this.#lookup(address), none);
  }

  #lookup(address: number): Func | undefined {
    const linked = address - this.#bias;
    const table = this.#pclntab();
    const index = table?.indexOf(linked);
    if (table !== undefined && index !== undefined) {
      return this.#goFunction(table, index);
    }
    const found = this.#symtab()?.lookup(linked);
    return found === undefined ? undefined : this.#elfFunction(found);
  }

  /** The global variable that holds `address`. Only .symtab knows them: undefined throughout in a stripped file. */
  variableAt(address: number): Variable | undefined {
    const found = this.#about(() => this.#symtab()?.variableAt(address - this.#bias), none);
    return found === undefined ? undefined : { ...found, address: found.address + this.#bias };
  }

  /** The address of the symbol of exactly this name, of any type; undefined where .symtab doesn't know it. */
  symbolAddress(name: string): number | undefined {
    const found = this.#symtab()?.addressOf(name);
    return found === undefined ? undefined : found + this.#bias;
  }

  /**
   * How far the stack pointer has gone down since the entry of the function that holds `address`, just before the
   * instruction there: pcsp of the function table (Go runtime/symtab.go, funcspdelta). The return address lies there.
   * @returns undefined where the table does not say
   */
  stackDelta(address: number): number | undefined {
    return this.#about(() => this.#stackDelta(address), none);
  }

  #stackDelta(address: number): number | undefined {
    const linked = address - this.#bias;
    const table = this.#pclntab();
    const index = table?.indexOf(linked);
    if (table === undefined || index === undefined) {
      return undefined;
    }
    const delta = table.pcValue(table.reader.u32(table.fieldOffset(index, 3)), index, linked);
    return delta < 0 ? undefined : delta;
  }

  /** The function of exactly this name; of several the one at the lowest address. */
  byName(name: string): Func | undefined {
    return this.#names().get(name);
  }

  /** Names of functions like `name`, best first, for "did you mean". */
  nearest(name: string): string[] {
    return nearestNames(this.#names().keys(), name, SUGGESTIONS);
  }

  /** The source line of the instruction at `address`: where it was inlined from, if it was. */
  lineOf(address: number): SourceLine | undefined {
    return this.#about(() => this.#lineOf(address), none);
  }

  #lineOf(address: number): SourceLine | undefined {
    const linked = address - this.#bias;
    const table = this.#pclntab();
    const index = table?.indexOf(linked);
    if (table === undefined || index === undefined) {
      return undefined;
    }
    const file = table.file(index, linked);
    const line = table.line(index, linked);
    return file === undefined || line === undefined ? undefined : { file, line };
  }

  /**
   * Is the function that holds `address` certain to be one of Go's compiler? Assembly need not keep to what the compiler
   * does between functions.
   */
  isCompiledGo(address: number): boolean {
    return this.#about(
      () => this.#isCompiledGo(address),
      () => false,
    );
  }

  #isCompiledGo(address: number): boolean {
    const table = this.#pclntab();
    const index = table?.indexOf(address - this.#bias);
    if (table === undefined || index === undefined) {
      return false;
    }
    return table.isAssembly(index) === false;
  }

  /**
   * The source frames of the instruction at `address`, the innermost inlined call first, the function that holds it
   * last; empty where no Go function holds it. To walk from a return address, ask for the byte before it.
   */
  inlineStack(address: number): SourceFrame[] {
    return this.#about(
      () => this.#inlineStack(address),
      () => this.#frameOf(address),
    );
  }

  /** The frame of the function that holds `address`, whatever was inlined into it. */
  #frameOf(address: number): SourceFrame[] {
    const func = this.lookup(address);
    const { file, line } = this.lineOf(address) ?? {};
    return func === undefined ? [] : [{ name: func.name, file, line }];
  }

  #inlineStack(address: number): SourceFrame[] {
    const table = this.#pclntab();
    if (table === undefined) {
      return [];
    }
    const goMinor = table.version === "1.2" ? goMinorVersion(this.goVersion) : undefined;
    return inlineStack(table, address - this.#bias, goMinor);
  }

  #goFunction(table: PcLineTable, index: number): Func {
    let func = this.#byIndex.get(index);
    if (func === undefined) {
      const entry = table.entry(index);
      const size = table.entry(index + 1) - entry;
      func = { name: table.name(index), address: entry + this.#bias, size, source: "pclntab" };
      this.#byIndex.set(index, func);
    }
    return func;
  }

  #elfFunction({ name, address, size }: ElfSymbol): Func {
    return { name, address: address + this.#bias, size, source: "symtab" };
  }

  #listFunctions(): readonly Func[] {
    const functions: Func[] = [];
    let budget = this.#image.executable.file.length * NAMES_PER_FILE_BYTE;
    const add = (func: Func) => {
      functions.push(func);
      budget -= func.name.length;
      if (budget < 0) {
        throw symbolFailure("names of functions are longer than the file");
      }
    };
    const table = this.#pclntab();
    for (let index = 0; index < (table?.count ?? 0); index++) {
      add(this.#goFunction(table!, index));
    }
    const symtab = this.#symtab();
    for (let position = 0; position < (symtab?.count ?? 0); position++) {
      const found = symtab!.at(position);
      if (table?.indexOf(found.address) === undefined) {
        add(this.#elfFunction(found));
      }
    }
    return functions.sort((a, b) => a.address - b.address);
  }
}

/** `compute` on the first call; its result, or the SymbolError that it threw, on every call. */
function once<T>(compute: () => T): () => T {
  let result: { value: T } | { error: SymbolError } | undefined;
  return () => {
    if (result === undefined) {
      try {
        result = { value: compute() };
      } catch (error) {
        if (!(error instanceof SymbolError)) {
          throw error;
        }
        result = { error };
      }
    }
    if ("error" in result) {
      throw result.error;
    }
    return result.value;
  };
}

const none = (): undefined => undefined;
