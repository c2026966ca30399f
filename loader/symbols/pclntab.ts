import { type ByteReader, hex, upperBound } from "../bytes.ts";
import type { ProgramHeader } from "../elf.ts";
import { PF_X, SHT_NOBITS } from "../elf-constants.ts";
import type { SymbolError } from "../errors.ts";
import { occurrences, type ProgramImage, symbolFailure } from "./image.ts";
import { findModuleData, type ModuleData } from "./moduledata.ts";

/** The formats of the function table, by the Go release that brought each (Go internal/abi/symtab.go). */
export type PclnVersion = "1.2" | "1.16" | "1.18" | "1.20";

const MAGICS: ReadonlyMap<number, PclnVersion> = new Map([
  [0xfffffffb, "1.2"],
  [0xfffffffa, "1.16"],
  [0xfffffff0, "1.18"],
  [0xfffffff1, "1.20"],
]);
/** What follows the magic's first byte on amd64: rest of the magic, padding, instruction quantum 1, pointer size 8. */
const HEADER_TAIL = Uint8Array.of(0xff, 0xff, 0xff, 0, 0, 1, 8);
const SECTION_NAMES: readonly string[] = [".gopclntab", ".data.rel.ro.gopclntab"];
const FUNC_FLAG_ASM = 4;
/** Names of instantiated generic functions run to kilobytes. */
const NAME_LIMIT = 65_536;

/** The words of the header after its first 8 bytes (Go runtime/symtab.go, pcHeader). */
interface HeaderWords {
  readonly functionNames: number;
  readonly compilationUnits: number;
  readonly files: number;
  readonly pcTables: number;
  readonly functions: number;
  /** Offset of the function table proper: pairs of entry and function offset. */
  readonly table: number;
}

/**
 * Go's function table, pclntab: names, lines and inlining of every function, in stripped executables too. Nothing is
 * parsed ahead: each question is a binary search over the raw table. All offsets are from the table's start;
 * addresses are as linked. Formats: Go runtime/symtab.go, debug/gosym/pclntab.go.
 * Every method throws SymbolError when the part of the table that it reads is damaged.
 */
export class PcLineTable {
  readonly version: PclnVersion;
  /** Linked address of the header. */
  readonly address: number;
  /** Number of functions. */
  readonly count: number;
  readonly reader: ByteReader;
  readonly image: ProgramImage;
  readonly #words: HeaderWords;
  /** Added to what the table says of an entry: 0 before 1.18, when entries were addresses. */
  readonly #textStart: number;
  #moduleData: ModuleData | undefined;

  constructor(image: ProgramImage, address: number) {
    this.image = image;
    this.address = address;
    const { reader, offset } = image.place(address);
    this.reader = reader.from(offset, `Go function table at ${hex(address)}`, symbolFailure);
    const version = MAGICS.get(this.reader.u32(0));
    if (version === undefined || HEADER_TAIL.some((byte, index) => this.reader.u8(index + 1) !== byte)) {
      throw symbolFailure(`no Go function table at ${hex(address)}`);
    }
    this.version = version;
    this.count = this.reader.u64(8);
    this.#words = this.#readWords();
    this.reader.check(this.#words.table, (this.count * 2 + 1) * this.#fieldSize);
    this.#textStart = this.#hasOffsets ? this.#findTextStart() : 0;
  }

  get #hasOffsets(): boolean {
    return this.version === "1.18" || this.version === "1.20";
  }

  get #fieldSize(): number {
    return this.#hasOffsets ? 4 : 8;
  }

  #readWords(): HeaderWords {
    const word = (index: number) => this.reader.u64(8 + index * 8);
    switch (this.version) {
      case "1.2":
        // Everything is relative to the header; the file table's offset follows the function table.
        return {
          functionNames: 0,
          compilationUnits: 0,
          files: this.reader.u32(16 + (this.count * 2 + 1) * 8),
          pcTables: 0,
          functions: 0,
          table: 16,
        };
      case "1.16":
        return {
          functionNames: word(2),
          compilationUnits: word(3),
          files: word(4),
          pcTables: word(5),
          functions: word(6),
          table: word(6),
        };
      default:
        return {
          functionNames: word(3),
          compilationUnits: word(4),
          files: word(5),
          pcTables: word(6),
          functions: word(7),
          table: word(7),
        };
    }
  }

  /** The runtime's moduledata, which says where the text and the funcdata are. Undefined before 1.18. */
  get moduleData(): ModuleData | undefined {
    if (this.#hasOffsets) {
      this.#moduleData ??= findModuleData(this.image, this.address, this.version, this.#words.functionNames);
    }
    return this.#moduleData;
  }

  /** The header says it from 1.18 to 1.25; later ones leave it 0, and only moduledata knows. */
  #findTextStart(): number {
    const fromHeader = this.reader.u64(24);
    if (fromHeader !== 0) {
      return fromHeader;
    }
    const fromModule = this.moduleData?.text;
    if (fromModule !== undefined) {
      return fromModule;
    }
    const section = this.image.executable.sections.find(({ name }) => name === ".text");
    if (section === undefined) {
      throw symbolFailure("the start of the text is in neither the Go function table, moduledata, nor a section");
    }
    return section.address;
  }

  /** Entry address of function `index`; for `index` = count, the end of the last function. */
  entry(index: number): number {
    const at = this.#words.table + index * 2 * this.#fieldSize;
    return this.#hasOffsets ? this.reader.u32(at) + this.#textStart : this.reader.u64(at);
  }

  /** The function that holds `address`, or undefined. */
  indexOf(address: number): number | undefined {
    if (this.count === 0 || address < this.entry(0) || address >= this.entry(this.count)) {
      return undefined;
    }
    return upperBound(this.count, (index) => this.entry(index) > address) - 1;
  }

  /** Offset of the _func record of function `index`. */
  #record(index: number): number {
    const at = this.#words.table + (index * 2 + 1) * this.#fieldSize;
    return this.#words.functions + (this.#hasOffsets ? this.reader.u32(at) : this.reader.u64(at));
  }

  /** Offset of the 32-bit field `index` that follows the entry in a _func record (Go runtime/runtime2.go). */
  fieldOffset(functionIndex: number, index: number): number {
    return this.#record(functionIndex) + (this.#hasOffsets ? 4 : 8) + index * 4;
  }

  name(index: number): string {
    return this.nameAt(this.reader.i32(this.fieldOffset(index, 0)));
  }

  /** The name at an offset that a _func or an inlined call gives. */
  nameAt(offset: number): string {
    return this.reader.cstring(this.#words.functionNames + offset, NAME_LIMIT);
  }

  /** Line that `address`, in function `index`, was compiled from; undefined when the table does not know. */
  line(index: number, address: number): number | undefined {
    const line = this.pcValue(this.reader.u32(this.fieldOffset(index, 5)), index, address);
    return line > 0 ? line : undefined;
  }

  /**
   * Is function `index` assembly? From Go 1.20 on a flag says so (Go internal/abi/symtab.go, FuncFlagAsm), before that
   * the name of its file; undefined where there is none.
   */
  isAssembly(index: number): boolean | undefined {
    if (this.version === "1.20") {
      return (this.reader.u8(this.fieldOffset(index, 9) + 1) & FUNC_FLAG_ASM) !== 0;
    }
    return this.file(index, this.entry(index))?.endsWith(".s");
  }

  /** File that `address`, in function `index`, was compiled from; undefined when the table does not know. */
  file(index: number, address: number): string | undefined {
    return this.fileName(index, this.pcValue(this.reader.u32(this.fieldOffset(index, 4)), index, address));
  }

  /** The name of file number `fileNumber` as function `index` counts files. */
  fileName(index: number, fileNumber: number): string | undefined {
    const { files, compilationUnits } = this.#words;
    if (this.version === "1.2") {
      return fileNumber <= 0 ? undefined : this.reader.cstring(this.reader.u32(files + fileNumber * 4));
    }
    if (fileNumber < 0) {
      return undefined;
    }
    const unit = this.reader.u32(this.fieldOffset(index, 7));
    const offset = this.reader.u32(compilationUnits + (unit + fileNumber) * 4);
    return offset === 0xffff_ffff ? undefined : this.reader.cstring(files + offset);
  }

  /**
   * The value for `address` in the pc-value table at `offset` (Go runtime/symtab.go, pcvalue and step): pairs of
   * varints, a zigzag difference of the value and the length of the code that it holds for. -1 where there is none.
   */
  pcValue(offset: number, index: number, address: number): number {
    if (offset === 0) {
      return -1;
    }
    let at = this.#words.pcTables + offset;
    let pc = this.entry(index);
    let value = -1;
    const varint = () => {
      let result = 0;
      for (let shift = 0; shift < 35; shift += 7) {
        const byte = this.reader.u8(at++);
        result |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
          return result >>> 0;
        }
      }
      throw this.#damaged("a number of more than 32 bits");
    };
    // Every step but a damaged one goes on by at least one byte of code.
    const stepLimit = address - pc + 2;
    for (let step = 0; step <= stepLimit; step++) {
      const difference = varint();
      if (difference === 0 && step > 0) {
        return -1;
      }
      value = (value + ((difference >>> 1) ^ -(difference & 1))) | 0;
      pc += varint();
      if (address < pc) {
        return value;
      }
    }
    throw this.#damaged("a table of values that does not advance");
  }

  #damaged(what: string): SymbolError {
    return symbolFailure(`Go function table at ${hex(this.address)}: ${what}`);
  }
}

/** Finds the function table by its section or, without one, by its header in the loaded segments. */
export function locatePcLineTable(image: ProgramImage): PcLineTable | undefined {
  const { sections } = image.executable;
  const section = sections.find(({ name, type }) => SECTION_NAMES.includes(name) && type !== SHT_NOBITS);
  if (section !== undefined) {
    return new PcLineTable(image, section.address);
  }
  for (const segment of image.segments) {
    const reader = image.reader(segment);
    for (const found of occurrences(reader.bytes, HEADER_TAIL)) {
      const offset = found - 1;
      if (offset >= 0 && offset % 8 === 0 && MAGICS.has(reader.u32(offset))) {
        const table = plausibleTable(image, segment.vaddr + offset);
        if (table !== undefined) {
          return table;
        }
      }
    }
  }
  return undefined;
}

/** The table at `address` if its first and last function lie in code and have names; a chance match has none. */
function plausibleTable(image: ProgramImage, address: number): PcLineTable | undefined {
  try {
    const table = new PcLineTable(image, address);
    const isCode = (pc: number) => image.segments.some((segment) => holdsCode(segment, pc));
    if (table.count === 0 || !isCode(table.entry(0)) || !isCode(table.entry(table.count) - 1)) {
      return undefined;
    }
    return table.name(0) !== "" && table.name(table.count - 1) !== "" ? table : undefined;
  } catch (error) {
    if (error instanceof Error && error.name === "SymbolError") {
      return undefined;
    }
    throw error;
  }
}

function holdsCode({ flags, vaddr, memSize }: ProgramHeader, address: number): boolean {
  return (flags & PF_X) !== 0 && address >= vaddr && address < vaddr + memSize;
}
