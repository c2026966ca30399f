import type { ProgramHeader } from "../elf.ts";
import { PF_W } from "../elf-constants.ts";
import { occurrences, type ProgramImage, wordBytes } from "./image.ts";
import type { PclnVersion } from "./pclntab.ts";

/** What of the runtime's moduledata (Go runtime/symtab.go) symbols need. Addresses as linked. */
export interface ModuleData {
  readonly address: number;
  /** runtime.text: entries of functions are relative to it. */
  readonly text: number;
  /** go.func.*: funcdata offsets are relative to it. */
  readonly gofunc: number;
}

// Offsets of moduledata's fields on amd64. Up to etext they have been the same since Go 1.18.
const FUNCNAMETAB = 8;
const TEXT = 176;
const TYPES_1_20 = 296;
const GOFUNC_1_18 = 304;
const GOFUNC_1_20 = 320;
const GOFUNC_1_27 = 344;

/**
 * Finds moduledata by its first field, the pointer to the function table's header, and checks its second, the function
 * names' slice. Go 1.26 gave it a section (.go.module) of its own; before, it lies among .noptrdata or .data.
 * @param header address of the pcHeader
 * @param namesOffset offset of the function names from it
 */
export function findModuleData(
  image: ProgramImage,
  header: number,
  version: PclnVersion,
  namesOffset: number,
): ModuleData | undefined {
  const pattern = wordBytes(header);
  for (const { segment, from, to } of placesOf(image)) {
    const reader = image.reader(segment);
    for (const found of occurrences(reader.slice(from, to - from), pattern)) {
      const offset = from + found;
      const isWhole = offset % 8 === 0 && offset + GOFUNC_1_27 + 8 <= reader.length;
      if (isWhole && reader.u64(offset + FUNCNAMETAB) === header + namesOffset) {
        const gofunc = reader.u64(offset + gofuncOffset(version, (field) => reader.u64(offset + field)));
        return { address: segment.vaddr + offset, text: reader.u64(offset + TEXT), gofunc };
      }
    }
  }
  return undefined;
}

/** Where moduledata may be, the likeliest place first: what need not be searched need not be read. */
function* placesOf(image: ProgramImage): Iterable<{ segment: ProgramHeader; from: number; to: number }> {
  const section = image.executable.sections.find(({ name }) => name === ".go.module");
  const own = section && image.segmentAt(section.address);
  if (section !== undefined && own !== undefined) {
    const from = section.address - own.vaddr;
    yield { segment: own, from, to: Math.min(from + section.size, own.fileSize) };
  }
  const isWritable = ({ flags }: ProgramHeader): boolean => (flags & PF_W) !== 0;
  for (const segment of [
    ...image.segments.filter(isWritable),
    ...image.segments.filter((other) => !isWritable(other)),
  ]) {
    yield { segment, from: 0, to: segment.fileSize };
  }
}

/**
 * Go 1.20 inserted two words (covctrs), Go 1.27 three more (typedesclen between types and etypes, then itaboffset and
 * itabsize) without changing the function table's magic. A length after types tells 1.27 from an address.
 */
function gofuncOffset(version: PclnVersion, field: (offset: number) => number): number {
  if (version !== "1.20") {
    return GOFUNC_1_18;
  }
  const types = field(TYPES_1_20);
  const second = field(TYPES_1_20 + 8);
  const third = field(TYPES_1_20 + 16);
  return third >= types && second <= third - types ? GOFUNC_1_27 : GOFUNC_1_20;
}
