import { type Bytes, FileBytes, type FileSource, hex, PAGE_SIZE } from "./bytes.ts";
import { type DynamicInfo, type Relocation, readDynamic, readRelocations } from "./dynamic.ts";
import {
  ELF_HEADER_SIZE,
  EM_X86_64,
  ET_CORE,
  ET_DYN,
  ET_EXEC,
  ET_REL,
  MACHINE_GOARCH,
  MACHINE_NAMES,
  OSABI_NAMES,
  PF_X,
  PT_INTERP,
  PT_LOAD,
  PT_NOTE,
} from "./elf-constants.ts";
import {
  type ElfHeader,
  type ProgramHeader,
  readHeader,
  readProgramHeaders,
  readSections,
  type Section,
} from "./elf-tables.ts";
import { LoadError } from "./errors.ts";
import { hasElfMagic, notElf, printable } from "./identify.ts";

export type { Relocation } from "./dynamic.ts";
export type { ProgramHeader, Section } from "./elf-tables.ts";
export { LoadError } from "./errors.ts";

/** A checked Linux x86-64 executable. Addresses are as linked: for ET_DYN the load bias is to be added. */
export interface Executable {
  /** The name it was asked for by, for messages. */
  readonly name: string;
  /** The whole file. */
  readonly bytes: Uint8Array;
  /** The same, for those who need parts of it only. */
  readonly file: FileBytes;
  readonly type: "ET_EXEC" | "ET_DYN";
  readonly entry: number;
  /** Every program header, in file order. */
  readonly programHeaders: readonly ProgramHeader[];
  /** The PT_LOAD segments, in file order; they do not overlap, lie in the file, and lie below 2^47. */
  readonly segments: readonly ProgramHeader[];
  /** Empty when the file has no section table. */
  readonly sections: readonly Section[];
  /** Path of the program interpreter that it asks for (PT_INTERP), if any. */
  readonly interpreter: string | undefined;
  /**
   * Is it for the interpreter to relocate it and to find its libraries? False where there is none, and where the
   * interpreter would have nothing to do but what `relocations` says.
   */
  readonly needsInterpreter: boolean;
  /** Position-independent, and relocates itself: no interpreter, no relocations for the loader. */
  readonly isStaticPie: boolean;
  /** What AT_PHDR, AT_PHNUM and AT_PHENT say. `address` is 0 when no segment holds the table, as in Linux. */
  readonly programHeaderTable: { readonly address: number; readonly count: number; readonly entrySize: number };
  /**
   * What the loader has to apply in place of the interpreter, for an image that asks for one but needs no library, as
   * Go's own linker makes with -buildmode=pie. Empty unless there is an interpreter.
   */
  readonly relocations: readonly Relocation[];
}

/** The first address past user space with four-level page tables (Linux arch/x86/include/asm/page_64_types.h, TASK_SIZE). */
export const USER_SPACE_END = 0x7fff_ffff_f000;
/** Linux vm.mmap_min_addr, and the lowest address that goemu maps. */
export const LOWEST_ADDRESS = 0x1_0000;

/** Segments may map the same part of a file, but not so often that a small file asks for boundless memory. */
const FILE_SHARE_LIMIT = 8;

const EI_CLASS = 4;
const EI_DATA = 5;
const EI_OSABI = 7;
const REBUILD = "build it with GOOS=linux GOARCH=amd64";
const DAMAGED = "the file is damaged: build or copy it again";

/** Operating systems that mark their executables with a note of this name instead of EI_OSABI. */
const NOTE_OWNERS: readonly string[] = ["FreeBSD", "NetBSD", "OpenBSD", "DragonFly"];

/** A file that goemu can look into, and why it cannot run it, if it cannot. */
export interface Inspection {
  readonly executable: Executable;
  /** That it is a library is the only reason that leaves something to look into; see LoadErrorKind. */
  readonly problem: LoadError | undefined;
}

/**
 * Reads and checks an executable. What is accepted is what Linux's load_elf_binary() (fs/binfmt_elf.c) accepts and
 * goemu can run: ELF64, x86-64, ET_EXEC or a position-independent executable; program interpreters (ld.so) are such.
 * @param file the whole file, which is not copied and must not change, or where to read it
 * @param name for messages
 * @throws LoadError for everything else, damaged files included; nothing else is thrown.
 */
export function readExecutable(file: Uint8Array | FileSource, name: string): Executable {
  const { executable, problem } = inspectExecutable(file, name);
  if (problem !== undefined) {
    throw problem;
  }
  return executable;
}

/**
 * Like readExecutable(), but a shared library is returned, with the error, to be looked into: its relocations are left
 * out.
 */
export function inspectExecutable(file: Uint8Array | FileSource, name: string): Inspection {
  const bytes = new FileBytes(file);
  const head = bytes.subarray(0, ELF_HEADER_SIZE);
  if (!hasElfMagic(head)) {
    throw notElf(bytes.all);
  }
  checkIdentification(head);
  const header = readHeader(bytes);
  checkMachine(header.machine, true);
  checkOperatingSystem(head);
  checkType(header);
  const programHeaders = readProgramHeaders(bytes, header);
  const sections = readSections(bytes, header);
  const segments = programHeaders.filter(({ type }) => type === PT_LOAD);
  checkSegments(segments, header, bytes.length);
  checkNotes(bytes, programHeaders);
  const interpreter = readInterpreter(bytes, programHeaders);
  const linked = link(bytes, header, programHeaders, interpreter);
  if (linked.problem?.kind !== "shared-library") {
    checkEntry(header, segments);
  }
  const executable: Executable = {
    name,
    file: bytes,
    get bytes() {
      return bytes.all;
    },
    type: header.type === ET_DYN ? "ET_DYN" : "ET_EXEC",
    entry: header.entry,
    programHeaders,
    segments,
    sections,
    interpreter,
    needsInterpreter: linked.needsInterpreter,
    isStaticPie: header.type === ET_DYN && interpreter === undefined,
    programHeaderTable: {
      address: programTableAddress(header, segments),
      count: header.programCount,
      entrySize: header.programEntrySize,
    },
    relocations: linked.relocations,
  };
  return { executable, problem: linked.problem };
}

function checkIdentification(bytes: Uint8Array): void {
  if (bytes.length < 20) {
    throw new LoadError("truncated", `ELF header is truncated: ${bytes.length} of 64 bytes`, DAMAGED);
  }
  const isLittle = bytes[EI_DATA] === 1;
  const machine = isLittle ? bytes[18] | (bytes[19] << 8) : (bytes[18] << 8) | bytes[19];
  if (bytes[EI_CLASS] === 1) {
    const what = MACHINE_NAMES[machine] ?? `machine ${machine}`;
    throw new LoadError("elf32", `is a 32-bit ELF file for ${what}`, REBUILD);
  }
  if (bytes[EI_CLASS] !== 2) {
    throw new LoadError("malformed", `unknown ELF class ${bytes[EI_CLASS]}`, DAMAGED);
  }
  if (bytes[EI_DATA] === 2) {
    checkMachine(machine, false);
    throw new LoadError("malformed", "is a big-endian ELF file, which x86-64 does not have", DAMAGED);
  }
  if (!isLittle) {
    throw new LoadError("malformed", `unknown ELF byte order ${bytes[EI_DATA]}`, DAMAGED);
  }
}

function checkMachine(machine: number, isLittle: boolean): void {
  if (machine === EM_X86_64) {
    return;
  }
  const name = MACHINE_NAMES[machine];
  if (name === undefined) {
    throw new LoadError("machine", `is for an unknown machine (ELF machine ${machine}), not x86-64`, REBUILD);
  }
  const goarch = MACHINE_GOARCH[machine]?.[isLittle ? 0 : 1];
  const label = goarch === undefined ? name : `${name} (GOARCH=${goarch})`;
  throw new LoadError("machine", `is for ${label}, not x86-64`, REBUILD);
}

function checkOperatingSystem(bytes: Uint8Array): void {
  const osabi = bytes[EI_OSABI];
  if (osabi !== 0 && osabi !== 3) {
    const name = OSABI_NAMES[osabi] ?? `an unknown operating system (ELF OSABI ${osabi})`;
    throw new LoadError("other-os", `is for ${name}, not Linux`, REBUILD);
  }
}

function checkNotes(bytes: Bytes, headers: readonly ProgramHeader[]): void {
  for (const { type, offset, fileSize } of headers) {
    if (type !== PT_NOTE || fileSize < 20 || offset + fileSize > bytes.length) {
      continue;
    }
    const owner = new TextDecoder("latin1").decode(bytes.subarray(offset + 12, offset + 22)).split("\0")[0];
    if (NOTE_OWNERS.includes(owner)) {
      throw new LoadError("other-os", `is for ${owner}, not Linux`, REBUILD);
    }
  }
}

function checkType({ type }: ElfHeader): void {
  if (type === ET_EXEC || type === ET_DYN) {
    return;
  }
  if (type === ET_REL) {
    throw new LoadError("object", "is an object file, not an executable", "link it first");
  }
  if (type === ET_CORE) {
    throw new LoadError("core", "is a core dump, not an executable", "name the program that dumped it");
  }
  throw new LoadError("malformed", `unknown ELF type ${type}`, DAMAGED);
}

function checkSegments(segments: readonly ProgramHeader[], header: ElfHeader, fileLength: number): void {
  const fail = (message: string) => new LoadError("segments", message, DAMAGED);
  if (segments.length === 0) {
    throw fail("has no segment to load");
  }
  for (const segment of segments) {
    const { offset, vaddr, fileSize, memSize } = segment;
    const where = `segment at ${hex(vaddr)}`;
    if (offset + fileSize > fileLength) {
      throw new LoadError(
        "truncated",
        `${where} is truncated: it ends at byte ${offset + fileSize} of a file of ${fileLength} bytes`,
        "the file is cut short: build or copy it again",
      );
    }
    if (fileSize > memSize) {
      throw fail(`${where} has ${fileSize} bytes in the file but only ${memSize} in memory`);
    }
    if (vaddr + memSize > USER_SPACE_END) {
      throw fail(`${where} of ${memSize} bytes ends above the user address space (47 bits)`);
    }
    if (header.type === ET_EXEC && memSize > 0 && vaddr < LOWEST_ADDRESS) {
      throw fail(`${where} lies below ${hex(LOWEST_ADDRESS)}, where Linux maps nothing`);
    }
    if (fileSize > 0 && vaddr % PAGE_SIZE !== offset % PAGE_SIZE) {
      throw fail(`${where} and its file offset ${hex(offset)} differ within a page`);
    }
  }
  const mapped = segments.reduce((sum, { fileSize }) => sum + fileSize, 0);
  if (mapped > fileLength * FILE_SHARE_LIMIT) {
    throw fail(`segments share the file's bytes: they map ${mapped} bytes of a file of ${fileLength}`);
  }
  checkOverlap(segments, fail);
}

function checkOverlap(segments: readonly ProgramHeader[], fail: (message: string) => LoadError): void {
  const sorted = segments.filter(({ memSize }) => memSize > 0).sort((a, b) => a.vaddr - b.vaddr);
  for (let index = 1; index < sorted.length; index++) {
    const previous = sorted[index - 1];
    if (previous.vaddr + previous.memSize > sorted[index].vaddr) {
      throw fail(`segments at ${hex(previous.vaddr)} and ${hex(sorted[index].vaddr)} overlap`);
    }
  }
}

function readInterpreter(bytes: Bytes, headers: readonly ProgramHeader[]): string | undefined {
  const segment = headers.find(({ type }) => type === PT_INTERP);
  if (segment === undefined) {
    return undefined;
  }
  const { offset, fileSize } = segment;
  // Linux load_elf_binary(): 2 to PATH_MAX bytes, the last of which is NUL.
  const isInFile = fileSize >= 2 && fileSize <= 4096 && offset + fileSize <= bytes.length;
  if (!isInFile || bytes.subarray(offset + fileSize - 1, offset + fileSize)[0] !== 0) {
    throw new LoadError("malformed", "the name of its interpreter (PT_INTERP) is damaged", DAMAGED);
  }
  return printable(new TextDecoder().decode(bytes.subarray(offset, offset + fileSize)).split("\0")[0]);
}

/** How a file is linked: what is to be relocated and by whom, or why it is no program. */
interface Linkage {
  readonly relocations: readonly Relocation[];
  readonly needsInterpreter: boolean;
  readonly problem: LoadError | undefined;
}

const LINKED: Linkage = { relocations: [], needsInterpreter: false, problem: undefined };

function link(
  bytes: Bytes,
  header: ElfHeader,
  programHeaders: readonly ProgramHeader[],
  interpreter: string | undefined,
): Linkage {
  const dynamic = readDynamic(bytes, programHeaders);
  if (header.type === ET_DYN && isLibrary(header, dynamic, interpreter)) {
    const problem = new LoadError(
      "shared-library",
      "is a shared library, not an executable",
      "name a program that uses it",
    );
    return { ...LINKED, problem };
  }
  if (interpreter === undefined || dynamic === undefined) {
    return LINKED;
  }
  if (dynamic.needed > 0) {
    return { ...LINKED, needsInterpreter: true };
  }
  let isAllRelative = true;
  const relocations = readRelocations(bytes, programHeaders, dynamic, () => {
    isAllRelative = false;
  });
  return isAllRelative ? { ...LINKED, relocations } : { ...LINKED, needsInterpreter: true };
}

/**
 * Is there nothing to start in an ET_DYN file? An interpreter (ld.so) is a library, too, but one that uses no other and
 * has an entry point, and some libraries ask for an interpreter, so that they can be run (libc.so.6).
 */
function isLibrary(header: ElfHeader, dynamic: DynamicInfo | undefined, interpreter: string | undefined): boolean {
  if (header.entry === 0) {
    return true;
  }
  return interpreter === undefined && dynamic?.isPie !== true && dynamic?.needed !== 0;
}

function checkEntry({ entry }: ElfHeader, segments: readonly ProgramHeader[]): void {
  const isCode = segments.some(
    ({ vaddr, memSize, flags }) => (flags & PF_X) !== 0 && entry >= vaddr && entry < vaddr + memSize,
  );
  if (!isCode) {
    throw new LoadError("malformed", `entry point ${hex(entry)} lies in no executable segment`, DAMAGED);
  }
}

/** Linux load_elf_binary(): the address of the segment that holds e_phoff, moved to the table. */
function programTableAddress({ programOffset }: ElfHeader, segments: readonly ProgramHeader[]): number {
  const holder = segments.find(({ offset, fileSize }) => programOffset >= offset && programOffset < offset + fileSize);
  return holder === undefined ? 0 : programOffset - holder.offset + holder.vaddr;
}
