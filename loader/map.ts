import { type Bytes, type FileBytes, hex, PAGE_SIZE, pageCeil, pageFloor } from "./bytes.ts";
import { type Executable, LOWEST_ADDRESS, type ProgramHeader, type Relocation, USER_SPACE_END } from "./elf.ts";
import { PF_R, PF_W, PF_X, PT_GNU_RELRO } from "./elf-constants.ts";
import { LoadError } from "./errors.ts";
import { relocatedSegment, sortRelocations } from "./relocate.ts";

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;

/** One mapping of whole pages. `bytes` go to its start; the rest of its `length` is zero. */
export interface Mapping {
  readonly address: number;
  /** A multiple of the page size. */
  readonly length: number;
  /** PROT_READ | PROT_WRITE | PROT_EXEC */
  readonly prot: number;
  /** Where in the file `bytes` begin (page aligned), as /proc/self/maps shows it; 0 for anonymous memory. */
  readonly fileOffset: number;
  /** How many bytes come from the file: `bytes.length`. 0 for anonymous memory. */
  readonly fileSize: number;
  /** Do `bytes` differ from the file's, as relocations have it? */
  readonly isRelocated: boolean;
  /** Read when they are asked for. */
  readonly bytes: Uint8Array;
}

/** What to map, and the addresses that follow from it. All addresses are final: the load bias is added. */
export interface MapPlan {
  /** In the kernel's order. Where two share a page, the later one replaces the earlier one's page. */
  readonly mappings: readonly Mapping[];
  /** Protection to set when all is mapped: PT_GNU_RELRO, where the loader relocated the image. */
  readonly protections: readonly { readonly address: number; readonly length: number; readonly prot: number }[];
  /** What is added to an address as linked; 0 for ET_EXEC. */
  readonly bias: number;
  readonly entry: number;
  /** Address of the program headers in memory for AT_PHDR; 0 when they are not mapped. */
  readonly programHeaders: number;
  /** The first address of the heap that brk() moves: the page after the highest segment. */
  readonly brk: number;
  /** The first page of the image, and the address past its last one. */
  readonly start: number;
  readonly end: number;
}

/**
 * Plans the mappings of an executable as Linux makes them (fs/binfmt_elf.c load_elf_binary(), elf_load(),
 * set_brk()): file pages whole, so that what follows a segment in its last file page is visible where no zeroed tail
 * follows; the tail of the last file page cleared and anonymous pages after it where memory size exceeds file size.
 * @param base address of the image's first page for ET_DYN; lowered to the largest alignment that a segment asks for.
 * Not used for ET_EXEC.
 * @throws LoadError when the image does not fit there.
 */
export function planImage(executable: Executable, { base }: { base: number }): MapPlan {
  const { segments } = executable;
  const bias = executable.type === "ET_DYN" ? loadBias(executable, base) : 0;
  const used = segments.filter(({ memSize }) => memSize > 0);
  const end = pageCeil(used.reduce((highest, { vaddr, memSize }) => Math.max(highest, vaddr + memSize), 0)) + bias;
  const start = pageFloor(used.reduce((lowest, { vaddr }) => Math.min(lowest, vaddr), end - bias)) + bias;
  if (start < LOWEST_ADDRESS || end > USER_SPACE_END) {
    const why = `does not fit at ${hex(start)}: it needs ${end - start} bytes`;
    throw new LoadError("segments", why, "the file is damaged, or asks for more memory than there is");
  }
  const { address } = executable.programHeaderTable;
  const relocations = sortRelocations(executable.relocations);
  return {
    mappings: used.flatMap((segment) => mapSegment(executable.file, segment, relocations, bias)),
    protections: executable.relocations.length > 0 ? relro(executable, bias) : [],
    bias,
    entry: executable.entry + bias,
    programHeaders: address === 0 ? 0 : address + bias,
    brk: end,
    start,
    end,
  };
}

/** load_elf_binary(): the bias puts the first segment's page at `base`, which maximum_alignment() rounds down. */
function loadBias({ segments }: Executable, base: number): number {
  const alignment = segments.reduce((largest, { align }) => {
    const isPowerOfTwo = align > 0 && Number.isInteger(Math.log2(align));
    return isPowerOfTwo ? Math.max(largest, align) : largest;
  }, PAGE_SIZE);
  const lowest = segments.reduce((address, { vaddr }) => Math.min(address, vaddr), Number.POSITIVE_INFINITY);
  return Math.floor(base / alignment) * alignment - pageFloor(lowest);
}

function protectionOf(flags: number): number {
  return (
    ((flags & PF_R) !== 0 ? PROT_READ : 0) |
    ((flags & PF_W) !== 0 ? PROT_WRITE : 0) |
    ((flags & PF_X) !== 0 ? PROT_EXEC : 0)
  );
}

function mapSegment(
  file: FileBytes,
  segment: ProgramHeader,
  relocations: readonly Relocation[],
  bias: number,
): Mapping[] {
  const { vaddr, offset, fileSize, memSize, flags } = segment;
  const prot = protectionOf(flags);
  const address = pageFloor(vaddr) + bias;
  const fileEnd = vaddr + bias + fileSize;
  const memEnd = pageCeil(vaddr + bias + memSize);
  const mappings: Mapping[] = [];
  let tail = address;
  if (fileSize > 0) {
    tail = pageCeil(fileEnd);
    // padzero() clears the rest of the last page only where the segment goes on, and only if it may be written to.
    const clears = memSize > fileSize && (flags & PF_W) !== 0;
    const size = clears ? fileEnd - address : tail - address;
    const from = pageFloor(offset);
    const to = Math.min(from + size, file.length);
    const relocated = relocatedSegment(file, segment, relocations, bias);
    const pages = relocated && segmentPages(file, segment, relocated, to);
    mappings.push({
      address,
      length: tail - address,
      prot,
      fileOffset: from,
      fileSize: to - from,
      isRelocated: pages !== undefined,
      get bytes() {
        return pages ?? file.subarray(from, to);
      },
    });
  }
  if (memEnd > tail) {
    // vm_brk_flags(): always readable and writable, executable if the segment is.
    mappings.push({
      address: tail,
      length: memEnd - tail,
      prot: PROT_READ | PROT_WRITE | (prot & PROT_EXEC),
      fileOffset: 0,
      fileSize: 0,
      isRelocated: false,
      bytes: new Uint8Array(0),
    });
  }
  return mappings;
}

/** The file up to `to` from the page that holds the segment's start, with `relocated` put in. */
function segmentPages(file: Bytes, { offset }: ProgramHeader, relocated: Uint8Array, to: number): Uint8Array {
  const from = pageFloor(offset);
  const pages = new Uint8Array(file.subarray(from, to));
  pages.set(relocated, offset - from);
  return pages;
}

/** glibc elf/dl-reloc.c _dl_protect_relro(): whole pages only, the end rounded down. */
function relro({ programHeaders }: Executable, bias: number): MapPlan["protections"] {
  return programHeaders
    .filter(({ type }) => type === PT_GNU_RELRO)
    .map(({ vaddr, memSize }) => {
      const address = pageFloor(vaddr + bias);
      return { address, length: pageFloor(vaddr + bias + memSize) - address, prot: PROT_READ };
    })
    .filter(({ length }) => length > 0);
}
