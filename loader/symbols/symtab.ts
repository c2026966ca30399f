import { type ByteReader, upperBound } from "../bytes.ts";
import type { Executable, Section } from "../elf.ts";
import {
  SHF_EXECINSTR,
  SHN_UNDEF,
  SHT_DYNSYM,
  SHT_SYMTAB,
  STT_FUNC,
  STT_OBJECT,
  SYMBOL_SIZE,
} from "../elf-constants.ts";
import { occurrences, symbolFailure } from "./image.ts";

/** A symbol of .symtab. A function's `size` is never 0: where the file gives none, it reaches to the next one. */
export interface ElfSymbol {
  readonly name: string;
  readonly address: number;
  readonly size: number;
}

/** Addresses and table indexes of the symbols of one type, by address. */
interface SortedSymbols {
  readonly addresses: Float64Array;
  readonly indexes: Uint32Array;
}

/** Mangled C++ and instantiated generic names run to kilobytes. */
const NAME_LIMIT = 65_536;

/**
 * The functions (STT_FUNC) and variables (STT_OBJECT) of an executable's .symtab, or .dynsym (gABI chapter 4, Symbol Table), by
 * address. The table is read, but no name, when the first question comes. Methods throw SymbolError where the table is damaged.
 */
export class ElfSymbols {
  readonly #symbols: ByteReader;
  readonly #strings: ByteReader;
  readonly #codeEnds: readonly (readonly [start: number, end: number])[];
  readonly #tables = new Map<number, SortedSymbols>();

  private constructor(symbols: ByteReader, strings: ByteReader, executable: Executable) {
    this.#symbols = symbols;
    this.#strings = strings;
    this.#codeEnds = executable.sections
      .filter(({ flags }) => (flags & SHF_EXECINSTR) !== 0)
      .map(({ address, size }) => [address, address + size] as const);
  }

  /** What a stripped library still has are the symbols that others use (.dynsym). Undefined when the file has neither. */
  static of(executable: Executable): ElfSymbols | undefined {
    const { sections, file } = executable;
    const symtab = sections.find(({ type }) => type === SHT_SYMTAB) ?? sections.find(({ type }) => type === SHT_DYNSYM);
    if (symtab === undefined) {
      return undefined;
    }
    const strtab = sections[symtab.link];
    const inFile = ({ offset, size }: Section) => offset + size <= file.length;
    if (strtab === undefined || !inFile(symtab) || !inFile(strtab)) {
      throw symbolFailure("symbol table lies outside the file");
    }
    const part = ({ offset, size }: Section, what: string) => file.reader(offset, offset + size, what, symbolFailure);
    return new ElfSymbols(part(symtab, "symbol table"), part(strtab, "symbol names"), executable);
  }

  /** Number of functions. */
  get count(): number {
    return this.#sorted(STT_FUNC).addresses.length;
  }

  /** Function `position` in address order. */
  at(position: number): ElfSymbol {
    const { addresses, indexes } = this.#sorted(STT_FUNC);
    const address = addresses[position];
    const entry = indexes[position] * SYMBOL_SIZE;
    const size = this.#symbols.u64(entry + 16) || this.#sizeToNext(position);
    return { name: this.#strings.cstring(this.#symbols.u32(entry), NAME_LIMIT), address, size };
  }

  /** The function that holds `address` (as linked): of several at one address the last one. */
  lookup(address: number): ElfSymbol | undefined {
    const { addresses } = this.#sorted(STT_FUNC);
    const position = upperBound(addresses.length, (index) => addresses[index] > address) - 1;
    if (position < 0) {
      return undefined;
    }
    const found = this.at(position);
    return address < found.address + found.size ? found : undefined;
  }

  /** The address (as linked) of the symbol of any type with exactly this name. */
  addressOf(name: string): number | undefined {
    const pattern = new TextEncoder().encode(`\0${name}\0`);
    for (const found of occurrences(this.#strings.bytes, pattern)) {
      for (let at = 0; at + SYMBOL_SIZE <= this.#symbols.length; at += SYMBOL_SIZE) {
        if (this.#symbols.u32(at) === found + 1) {
          return this.#symbols.u64(at + 8);
        }
      }
    }
    return undefined;
  }

  /** The variable that holds `address` (as linked); one without a size holds nothing. */
  variableAt(address: number): ElfSymbol | undefined {
    const { addresses, indexes } = this.#sorted(STT_OBJECT);
    const position = upperBound(addresses.length, (index) => addresses[index] > address) - 1;
    if (position < 0) {
      return undefined;
    }
    const entry = indexes[position] * SYMBOL_SIZE;
    const size = this.#symbols.u64(entry + 16);
    if (address >= addresses[position] + size) {
      return undefined;
    }
    return { name: this.#strings.cstring(this.#symbols.u32(entry), NAME_LIMIT), address: addresses[position], size };
  }

  #sorted(type: number): SortedSymbols {
    let sorted = this.#tables.get(type);
    if (sorted === undefined) {
      const found: { address: number; index: number }[] = [];
      const total = Math.floor(this.#symbols.length / SYMBOL_SIZE);
      for (let index = 0; index < total; index++) {
        const at = index * SYMBOL_SIZE;
        if ((this.#symbols.u8(at + 4) & 0xf) === type && this.#symbols.u16(at + 6) !== SHN_UNDEF) {
          found.push({ address: this.#symbols.u64(at + 8), index });
        }
      }
      found.sort((a, b) => a.address - b.address || a.index - b.index);
      sorted = {
        addresses: Float64Array.from(found, ({ address }) => address),
        indexes: Uint32Array.from(found, ({ index }) => index),
      };
      this.#tables.set(type, sorted);
    }
    return sorted;
  }

  #sizeToNext(position: number): number {
    const { addresses } = this.#sorted(STT_FUNC);
    const address = addresses[position];
    const nextIndex = upperBound(addresses.length, (index) => addresses[index] > address);
    const sectionEnd = this.#codeEnds.find(([start, end]) => address >= start && address < end)?.[1] ?? address + 1;
    return Math.min(addresses[nextIndex] ?? sectionEnd, sectionEnd) - address;
  }
}
