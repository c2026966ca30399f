import { PAGE_SIZE, pageCeil } from "./bytes.ts";
import * as elf from "./elf-constants.ts";
import { VDSO_FUNCTIONS } from "./vdso-code.ts";

const SONAME = "linux-vdso.so.1";
/** Linux arch/x86/entry/vdso/vdso.lds.S: all functions have this version. */
const VERSION = "LINUX_2.6";
/** Every function starts at a multiple of this. */
const FUNCTION_ALIGNMENT = 16;

/** STB_GLOBAL, STT_FUNC (gABI chapter 4, Symbol Table). */
const GLOBAL_FUNCTION = (1 << 4) | elf.STT_FUNC;
const VER_FLG_BASE = 1;

export interface Vdso {
  /** The image: whole pages, to be mapped readable and executable right behind its data page (VVAR); linked at 0. */
  readonly bytes: Uint8Array;
  /** Offset of each function in the image. */
  readonly functions: ReadonlyMap<string, number>;
}

/**
 * Builds a vDSO: a shared object with the time functions of vdso(7), as Go's runtime/vdso_linux.go looks them up by
 * PT_LOAD, PT_DYNAMIC, DT_HASH and version LINUX_2.6.
 */
export function buildVdso(): Vdso {
  const layout = new Layout();
  const header = layout.add("", elf.ELF_HEADER_SIZE + 2 * elf.PROGRAM_HEADER_SIZE, 8);
  const strings = new StringTable();
  const versionName = strings.add(VERSION);
  const soname = strings.add(SONAME);
  const names = VDSO_FUNCTIONS.map(({ name }) => strings.add(name));

  const symbolCount = VDSO_FUNCTIONS.length + 1;
  const hash = layout.add(".hash", 4 * (2 + 1 + symbolCount), 8);
  const dynsym = layout.add(".dynsym", elf.SYMBOL_SIZE * symbolCount, 8);
  const dynstr = layout.add(".dynstr", strings.length, 1);
  const versym = layout.add(".gnu.version", 2 * symbolCount, 2);
  const verdef = layout.add(".gnu.version_d", 2 * (20 + 8), 8);
  const dynamic = layout.add(".dynamic", 16 * 10, 8);
  const text = layout.add(".text", 0, FUNCTION_ALIGNMENT);
  const functions = VDSO_FUNCTIONS.map((definition) => {
    const { offset, size } = layout.add("", definition.code(0).length, FUNCTION_ALIGNMENT);
    return { name: definition.name, offset, bytes: definition.code(offset), size };
  });
  text.size = layout.end - text.offset;
  const sectionNames = new StringTable();
  const sections = [hash, dynsym, dynstr, versym, verdef, dynamic, text];
  const sectionNameOffsets = sections.map(({ name }) => sectionNames.add(name));
  const shstrtabName = sectionNames.add(".shstrtab");
  const shstrtab = layout.add(".shstrtab", sectionNames.length, 1);
  const sectionTable = layout.add("", (sections.length + 2) * elf.SECTION_HEADER_SIZE, 8);

  const image = new ImageWriter(pageCeil(layout.end));
  image.at(dynstr.offset).raw(strings.bytes());
  image.at(shstrtab.offset).raw(sectionNames.bytes());
  functions.forEach(({ offset, bytes, size }, index) => {
    image.at(offset).raw(bytes);
    const textIndex = sections.indexOf(text) + 1;
    image.at(dynsym.offset + (index + 1) * elf.SYMBOL_SIZE);
    image.u32(names[index]).u8(GLOBAL_FUNCTION).u8(0).u16(textIndex).u64(offset).u64(size);
    image.at(versym.offset + (index + 1) * 2).u16(2);
  });
  // One bucket, whose chain goes through every symbol: there are only a few.
  image.at(hash.offset).u32(1).u32(symbolCount).u32(1).u32(0);
  for (let index = 1; index < symbolCount; index++) {
    image.u32(index + 1 < symbolCount ? index + 1 : 0);
  }
  image.at(verdef.offset);
  image.u16(1).u16(VER_FLG_BASE).u16(1).u16(1).u32(elfHash(SONAME)).u32(20).u32(28).u32(soname).u32(0);
  image.u16(1).u16(0).u16(2).u16(1).u32(elfHash(VERSION)).u32(20).u32(0).u32(versionName).u32(0);
  image.at(dynamic.offset);
  for (const [tag, value] of [
    [elf.DT_SONAME, soname],
    [elf.DT_HASH, hash.offset],
    [elf.DT_STRTAB, dynstr.offset],
    [elf.DT_SYMTAB, dynsym.offset],
    [elf.DT_STRSZ, strings.length],
    [elf.DT_SYMENT, elf.SYMBOL_SIZE],
    [elf.DT_VERSYM, versym.offset],
    [elf.DT_VERDEF, verdef.offset],
    [elf.DT_VERDEFNUM, 2],
    [elf.DT_NULL, 0],
  ]) {
    image.u64(tag).u64(value);
  }
  writeHeaders(image, header, layout.end, dynamic, sectionTable, sections.length + 2);
  // Columns: type, flags, link, info, entry size (gABI chapter 4, sh_link and sh_info).
  const kinds: readonly (readonly [number, number, number, number, number])[] = [
    [5, elf.SHF_ALLOC, 2, 0, 4],
    [11, elf.SHF_ALLOC, 3, 1, elf.SYMBOL_SIZE],
    [elf.SHT_STRTAB, elf.SHF_ALLOC, 0, 0, 0],
    [0x6fffffff, elf.SHF_ALLOC, 2, 0, 2],
    [0x6ffffffd, elf.SHF_ALLOC, 3, 2, 0],
    [6, elf.SHF_ALLOC, 3, 0, 16],
    [1, elf.SHF_ALLOC | elf.SHF_EXECINSTR, 0, 0, 0],
  ];
  sections.forEach((section, index) => {
    const [type, flags, link, info, entrySize] = kinds[index];
    image.at(sectionTable.offset + (index + 1) * elf.SECTION_HEADER_SIZE);
    image.u32(sectionNameOffsets[index]).u32(type).u64(flags).u64(section.offset).u64(section.offset);
    image.u64(section.size).u32(link).u32(info).u64(section.alignment).u64(entrySize);
  });
  image.at(sectionTable.offset + (sections.length + 1) * elf.SECTION_HEADER_SIZE);
  image.u32(shstrtabName).u32(elf.SHT_STRTAB).u64(0).u64(0).u64(shstrtab.offset);
  image.u64(shstrtab.size).u32(0).u32(0).u64(1).u64(0);
  return { bytes: image.bytes, functions: new Map(functions.map(({ name, offset }) => [name, offset])) };
}

function writeHeaders(
  image: ImageWriter,
  header: Part,
  size: number,
  dynamic: Part,
  sectionTable: Part,
  sectionCount: number,
): void {
  image.at(header.offset).raw(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1));
  image.at(16).u16(elf.ET_DYN).u16(elf.EM_X86_64).u32(1).u64(0).u64(elf.ELF_HEADER_SIZE).u64(sectionTable.offset);
  image.u32(0).u16(elf.ELF_HEADER_SIZE).u16(elf.PROGRAM_HEADER_SIZE).u16(2);
  image
    .u16(elf.SECTION_HEADER_SIZE)
    .u16(sectionCount)
    .u16(sectionCount - 1);
  image
    .u32(elf.PT_LOAD)
    .u32(elf.PF_R | elf.PF_X)
    .u64(0)
    .u64(0)
    .u64(0)
    .u64(size)
    .u64(size)
    .u64(PAGE_SIZE);
  image.u32(elf.PT_DYNAMIC).u32(elf.PF_R).u64(dynamic.offset).u64(dynamic.offset).u64(dynamic.offset);
  image.u64(dynamic.size).u64(dynamic.size).u64(8);
}

/** The hash of a symbol name in DT_HASH and of a version name (gABI chapter 5, Hash Table). */
export function elfHash(name: string): number {
  let hash = 0;
  for (const byte of new TextEncoder().encode(name)) {
    hash = ((hash << 4) >>> 0) + byte;
    const high = hash & 0xf000_0000;
    hash = ((hash ^ (high >>> 24)) & ~high) >>> 0;
  }
  return hash;
}

interface Part {
  readonly name: string;
  readonly offset: number;
  size: number;
  readonly alignment: number;
}

/** Gives each part of the image its offset, one after the other. */
class Layout {
  end = 0;

  add(name: string, size: number, alignment: number): Part {
    const offset = Math.ceil(this.end / alignment) * alignment;
    this.end = offset + size;
    return { name, offset, size, alignment };
  }
}

class StringTable {
  #text = "\0";

  get length(): number {
    return this.#text.length;
  }

  /** Adds an ASCII string and gives its offset. */
  add(text: string): number {
    const offset = this.#text.length;
    this.#text += `${text}\0`;
    return offset;
  }

  bytes(): Uint8Array {
    return new TextEncoder().encode(this.#text);
  }
}

/** Little-endian writes one after the other, from where at() put the cursor. */
class ImageWriter {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #cursor = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  at(offset: number): this {
    this.#cursor = offset;
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#cursor);
    this.#cursor += bytes.length;
    return this;
  }

  u8(value: number): this {
    this.#view.setUint8(this.#cursor, value);
    this.#cursor += 1;
    return this;
  }

  u16(value: number): this {
    this.#view.setUint16(this.#cursor, value, true);
    this.#cursor += 2;
    return this;
  }

  u32(value: number): this {
    this.#view.setUint32(this.#cursor, value, true);
    this.#cursor += 4;
    return this;
  }

  u64(value: number): this {
    return this.u32(value % 0x1_0000_0000).u32(Math.floor(value / 0x1_0000_0000));
  }
}
