import { ByteReader, type Bytes, hex, upperBound } from "./bytes.ts";
import {
  DF_1_PIE,
  DT_FLAGS_1,
  DT_JMPREL,
  DT_NEEDED,
  DT_NULL,
  DT_PLTRELSZ,
  DT_REL,
  DT_RELA,
  DT_RELASZ,
  DT_RELR,
  DT_RELRSZ,
  DT_RELSZ,
  DT_SONAME,
  PT_DYNAMIC,
  PT_LOAD,
  R_X86_64_NONE,
  R_X86_64_RELATIVE,
} from "./elf-constants.ts";
import type { ProgramHeader } from "./elf-tables.ts";
import { LoadError } from "./errors.ts";

/**
 * One R_X86_64_RELATIVE relocation (x86-64 psABI, 4.4): the 8 bytes at `offset` become load bias + `addend`.
 * `offset` is an address as linked. `addend` is undefined where it is what the file holds at `offset` (DT_RELR).
 */
export interface Relocation {
  readonly offset: number;
  readonly addend: number | undefined;
}

/** What the dynamic section says that matters to a loader (gABI chapter 5, Dynamic Section). */
export interface DynamicInfo {
  /** Number of libraries that it needs. */
  readonly needed: number;
  readonly hasSoname: boolean;
  readonly isPie: boolean;
  /** First value of each tag. */
  readonly tags: ReadonlyMap<number, number>;
}

const RELA_SIZE = 24;
const RELR_SIZE = 8;

function malformed(message: string): LoadError {
  return new LoadError("malformed", message, "the file is damaged: build or copy it again");
}

/** Reads PT_DYNAMIC; undefined when there is none. The segment's bytes must lie inside the file. */
export function readDynamic(bytes: Bytes, headers: readonly ProgramHeader[]): DynamicInfo | undefined {
  const segment = headers.find((header) => header.type === PT_DYNAMIC);
  if (segment === undefined) {
    return undefined;
  }
  if (segment.offset + segment.fileSize > bytes.length) {
    throw malformed("dynamic section lies outside the file");
  }
  const reader = new ByteReader(
    bytes.subarray(segment.offset, segment.offset + segment.fileSize),
    "dynamic section",
    malformed,
  );
  const tags = new Map<number, number>();
  let needed = 0;
  for (let at = 0; at + 16 <= reader.length; at += 16) {
    const tag = reader.u64(at);
    if (tag === DT_NULL) {
      break;
    }
    if (tag === DT_NEEDED) {
      needed++;
    }
    if (!tags.has(tag)) {
      tags.set(tag, reader.u64(at + 8));
    }
  }
  const isPie = Math.floor((tags.get(DT_FLAGS_1) ?? 0) / DF_1_PIE) % 2 === 1;
  return { needed, hasSoname: tags.has(DT_SONAME), isPie, tags };
}

/** Bytes of the file behind `size` bytes at the linked address `address`, which one PT_LOAD must hold whole. */
function tableBytes(
  bytes: Bytes,
  headers: readonly ProgramHeader[],
  address: number,
  size: number,
  what: string,
): ByteReader {
  const segment = headers.find(
    ({ type, vaddr, fileSize }) => type === PT_LOAD && address >= vaddr && address + size <= vaddr + fileSize,
  );
  if (segment === undefined) {
    throw malformed(`${what} of ${size} bytes at ${hex(address)} lies in no segment`);
  }
  const offset = segment.offset + address - segment.vaddr;
  return new ByteReader(bytes.subarray(offset, offset + size), what, malformed);
}

/**
 * The R_X86_64_RELATIVE relocations of the image (DT_RELA, DT_JMPREL, DT_RELR). `onOther` is called with the type of
 * each relocation that is not one, and decides whether that is an error.
 */
export function readRelocations(
  bytes: Bytes,
  headers: readonly ProgramHeader[],
  dynamic: DynamicInfo,
  onOther: (type: number) => void,
): Relocation[] {
  const tag = (number: number) => dynamic.tags.get(number) ?? 0;
  if (tag(DT_REL) !== 0 && tag(DT_RELSZ) !== 0) {
    throw malformed("has relocations without addends (DT_REL), which x86-64 does not use");
  }
  const relocations: Relocation[] = [];
  for (const [tableTag, sizeTag, name] of [
    [DT_RELA, DT_RELASZ, "relocation table"],
    [DT_JMPREL, DT_PLTRELSZ, "PLT relocation table"],
  ] as const) {
    const size = tag(sizeTag);
    if (size !== 0) {
      readRela(tableBytes(bytes, headers, tag(tableTag), size, name), onOther, relocations);
    }
  }
  const relrSize = tag(DT_RELRSZ);
  if (relrSize !== 0) {
    const table = tableBytes(bytes, headers, tag(DT_RELR), relrSize, "DT_RELR table");
    readRelr(table, bytes.length / 8, relocations);
  }
  checkTargets(relocations, headers);
  return relocations;
}

/** Throws unless every relocated word lies in the file's bytes of one PT_LOAD. PT_LOADs must not overlap. */
function checkTargets(relocations: readonly Relocation[], headers: readonly ProgramHeader[]): void {
  const loads = headers.filter(({ type }) => type === PT_LOAD).sort((a, b) => a.vaddr - b.vaddr);
  for (const { offset } of relocations) {
    const load = loads[upperBound(loads.length, (index) => loads[index].vaddr > offset) - 1];
    if (load === undefined || offset + 8 > load.vaddr + load.fileSize) {
      throw malformed(`relocation at ${hex(offset)} lies outside the file's bytes`);
    }
  }
}

function readRela(table: ByteReader, onOther: (type: number) => void, relocations: Relocation[]): void {
  for (let at = 0; at + RELA_SIZE <= table.length; at += RELA_SIZE) {
    const type = table.u32(at + 8);
    if (type === R_X86_64_RELATIVE) {
      relocations.push({ offset: table.u64(at), addend: table.i64(at + 16) });
    } else if (type !== R_X86_64_NONE) {
      onOther(type);
    }
  }
}

/**
 * DT_RELR (gABI, "Relative Relocation Table"): an even word is the address of one relocated word; an odd word is a
 * bitmap for the 63 words that follow the last one covered. More than `limit` words in all is damage.
 */
function readRelr(table: ByteReader, limit: number, relocations: Relocation[]): void {
  let next = 0;
  for (let at = 0; at + RELR_SIZE <= table.length; at += RELR_SIZE) {
    if (relocations.length > limit) {
      throw malformed("DT_RELR table names more words than the file has");
    }
    const low = table.u32(at);
    const high = table.u32(at + 4);
    if ((low & 1) === 0) {
      const offset = table.u64(at);
      relocations.push({ offset, addend: undefined });
      next = offset + 8;
      continue;
    }
    for (let bit = 1; bit < 64; bit++) {
      const word = bit < 32 ? low >>> bit : high >>> (bit - 32);
      if ((word & 1) === 1) {
        relocations.push({ offset: next + (bit - 1) * 8, addend: undefined });
      }
    }
    next += 63 * 8;
  }
}
