import elfy from "elfy";
import { ByteReader, type Bytes, type FileBytes } from "./bytes.ts";
import {
  ELF_HEADER_SIZE,
  PROGRAM_HEADER_SIZE,
  SECTION_HEADER_SIZE,
  SHN_UNDEF,
  SHN_XINDEX,
  SHT_STRTAB,
} from "./elf-constants.ts";
import { LoadError } from "./errors.ts";

/** One entry of the program header table (gABI chapter 5, Elf64_Phdr). Sizes in bytes, addresses as linked. */
export interface ProgramHeader {
  /** PT_… */
  readonly type: number;
  /** PF_R, PF_W, PF_X */
  readonly flags: number;
  readonly offset: number;
  readonly vaddr: number;
  readonly fileSize: number;
  readonly memSize: number;
  readonly align: number;
}

/** One entry of the section header table (gABI chapter 4, Elf64_Shdr). `size` bytes at `offset` may lie outside the file. */
export interface Section {
  readonly name: string;
  /** SHT_… */
  readonly type: number;
  /** SHF_… */
  readonly flags: number;
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
}

/** The fields of the ELF header that the loader uses (gABI chapter 4, Elf64_Ehdr). */
export interface ElfHeader {
  readonly type: number;
  readonly machine: number;
  readonly entry: number;
  readonly programOffset: number;
  readonly programEntrySize: number;
  readonly programCount: number;
  readonly sectionOffset: number;
  readonly sectionEntrySize: number;
  readonly sectionCount: number;
  readonly sectionNamesIndex: number;
}

/** Where elfy would read more names than this many bytes times sections, our own reader, which bounds names, reads. */
const ELFY_NAME_WORK_LIMIT = 1 << 22;
/** Section names are short; a longer one is a damaged table. */
const SECTION_NAME_LIMIT = 1024;
/** More sections than any linked executable has; bounds what a damaged count can cost. */
const SECTION_COUNT_LIMIT = 65_536;
/** Linux fs/binfmt_elf.c load_elf_phdrs() refuses a program header table of more bytes than this. */
const PROGRAM_TABLE_LIMIT = 65_536;

function malformed(message: string): LoadError {
  return new LoadError("malformed", message, "the file is damaged: build or copy it again");
}

function truncated(message: string): LoadError {
  return new LoadError("truncated", message, "the file is cut short: build or copy it again");
}

/** Reads the ELF header. `bytes` must start with a whole 64-bit little-endian ELF identification. */
export function readHeader(bytes: Bytes): ElfHeader {
  if (bytes.length < ELF_HEADER_SIZE) {
    throw truncated(`ELF header is truncated: ${bytes.length} of ${ELF_HEADER_SIZE} bytes`);
  }
  const reader = new ByteReader(bytes.subarray(0, ELF_HEADER_SIZE), "ELF header", truncated);
  return {
    type: reader.u16(16),
    machine: reader.u16(18),
    entry: reader.u64(24),
    programOffset: reader.u64(32),
    sectionOffset: reader.u64(40),
    programEntrySize: reader.u16(54),
    programCount: reader.u16(56),
    sectionEntrySize: reader.u16(58),
    sectionCount: reader.u16(60),
    sectionNamesIndex: reader.u16(62),
  };
}

/**
 * The program headers, read by our own code: Linux needs only them (fs/binfmt_elf.c load_elf_phdrs), and elfy cannot
 * give the type of those it has no name for.
 */
export function readProgramHeaders(bytes: Bytes, header: ElfHeader): ProgramHeader[] {
  const { programOffset, programEntrySize, programCount } = header;
  if (programCount === 0 || programOffset === 0) {
    throw malformed("ELF file has no program headers");
  }
  if (programEntrySize !== PROGRAM_HEADER_SIZE) {
    throw malformed(`program headers of ${programEntrySize} bytes instead of ${PROGRAM_HEADER_SIZE}`);
  }
  const size = programCount * PROGRAM_HEADER_SIZE;
  if (size > PROGRAM_TABLE_LIMIT) {
    throw malformed(`${programCount} program headers are more than Linux accepts`);
  }
  if (programOffset + size > bytes.length) {
    throw truncated(
      `segment table is truncated: it ends at byte ${programOffset + size} of a file of ${bytes.length} bytes`,
    );
  }
  const reader = new ByteReader(bytes.subarray(programOffset, programOffset + size), "segment table", truncated);
  return Array.from({ length: programCount }, (_, index) => {
    const at = index * PROGRAM_HEADER_SIZE;
    return {
      type: reader.u32(at),
      flags: reader.u32(at + 4),
      offset: reader.u64(at + 8),
      vaddr: reader.u64(at + 16),
      fileSize: reader.u64(at + 32),
      memSize: reader.u64(at + 40),
      align: reader.u64(at + 48),
    };
  });
}

interface SectionTable {
  readonly offset: number;
  readonly count: number;
  readonly namesIndex: number;
}

/** Where the section table is, resolving the extension for 65,280 sections and more (gABI chapter 4, e_shnum). */
function locateSectionTable(bytes: Bytes, header: ElfHeader): SectionTable | undefined {
  const offset = header.sectionOffset;
  if (offset === 0) {
    return undefined;
  }
  if (header.sectionEntrySize !== SECTION_HEADER_SIZE) {
    throw malformed(`section headers of ${header.sectionEntrySize} bytes instead of ${SECTION_HEADER_SIZE}`);
  }
  if (offset + SECTION_HEADER_SIZE > bytes.length) {
    throw truncated(`section table is truncated: it starts at byte ${offset} of a file of ${bytes.length} bytes`);
  }
  const first = new ByteReader(bytes.subarray(offset, offset + SECTION_HEADER_SIZE), "section table", truncated);
  const count = header.sectionCount === 0 ? first.u64(32) : header.sectionCount;
  const end = offset + count * SECTION_HEADER_SIZE;
  if (end > bytes.length) {
    throw truncated(`section table is truncated: it ends at byte ${end} of a file of ${bytes.length} bytes`);
  }
  if (count > SECTION_COUNT_LIMIT) {
    throw malformed(`${count} sections are more than an executable has`);
  }
  const namesIndex = header.sectionNamesIndex === SHN_XINDEX ? first.u32(40) : header.sectionNamesIndex;
  if (namesIndex !== SHN_UNDEF && namesIndex >= count) {
    throw malformed(`section names are said to be in section ${namesIndex} of ${count}`);
  }
  return { offset, count, namesIndex };
}

/**
 * The sections with their names; none when the file has no section table. elfy reads them, when our checks say that
 * it can without harm; otherwise (no names, extended numbering, names without bound) our own code does.
 */
export function readSections(bytes: FileBytes, header: ElfHeader): Section[] {
  const table = locateSectionTable(bytes, header);
  if (table === undefined || table.count === 0) {
    return [];
  }
  return elfyCanRead(bytes, header, table) ? readSectionsWithElfy(bytes, table) : readSectionsDirectly(bytes, table);
}

function elfyCanRead(bytes: FileBytes, header: ElfHeader, table: SectionTable): boolean {
  if (header.sectionCount !== table.count || header.sectionNamesIndex !== table.namesIndex || table.namesIndex === 0) {
    return false;
  }
  const names = rawSection(tableReader(bytes, table), table.namesIndex);
  return names.type === SHT_STRTAB && names.size * table.count <= ELFY_NAME_WORK_LIMIT;
}

interface RawSection extends Omit<Section, "name"> {
  readonly nameOffset: number;
}

function tableReader(bytes: Bytes, { offset, count }: SectionTable): ByteReader {
  const table = bytes.subarray(offset, offset + count * SECTION_HEADER_SIZE);
  return new ByteReader(table, "section table", truncated);
}

function rawSection(reader: ByteReader, index: number): RawSection {
  const at = index * SECTION_HEADER_SIZE;
  return {
    nameOffset: reader.u32(at),
    type: reader.u32(at + 4),
    flags: reader.u64(at + 8),
    address: reader.u64(at + 16),
    offset: reader.u64(at + 24),
    size: reader.u64(at + 32),
    link: reader.u32(at + 40),
    info: reader.u32(at + 44),
  };
}

/** elfy's view of the sections, with the numeric types and flags (which elfy turns into names) put back. */
export function readSectionsWithElfy(bytes: FileBytes, table: SectionTable): Section[] {
  const reader = tableReader(bytes, table);
  const names = rawSection(reader, table.namesIndex);
  // What elfy looks at: headers, section table, names. The rest of what it gets may not have been read.
  const { programOffset, programCount } = readHeader(bytes);
  bytes.load(programOffset, programOffset + programCount * PROGRAM_HEADER_SIZE);
  bytes.load(names.offset, names.offset + names.size);
  const { sparse } = bytes;
  let sections: ReturnType<typeof elfy.parse>["body"]["sections"];
  try {
    sections = elfy.parse(Buffer.from(sparse.buffer, sparse.byteOffset, sparse.byteLength)).body.sections;
  } catch (error) {
    throw malformed(`section table cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return sections.map((section, index) => {
    const { type, flags } = rawSection(reader, index);
    const { name, addr, off, size, link, info } = section;
    return { name, type, flags, address: addr, offset: off, size, link, info };
  });
}

/** The sections read without elfy; a name that is not there is empty. */
export function readSectionsDirectly(bytes: Bytes, table: SectionTable): Section[] {
  const reader = tableReader(bytes, table);
  const raw = Array.from({ length: table.count }, (_, index) => rawSection(reader, index));
  const namesSection = table.namesIndex === SHN_UNDEF ? undefined : raw[table.namesIndex];
  const names =
    namesSection?.type === SHT_STRTAB && namesSection.offset + namesSection.size <= bytes.length
      ? new ByteReader(
          bytes.subarray(namesSection.offset, namesSection.offset + namesSection.size),
          "section names",
          malformed,
        )
      : undefined;
  return raw.map(({ nameOffset, ...section }) => ({
    name: names !== undefined && nameOffset < names.length ? names.cstring(nameOffset, SECTION_NAME_LIMIT) : "",
    ...section,
  }));
}
