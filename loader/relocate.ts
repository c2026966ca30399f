import { type Bytes, upperBound } from "./bytes.ts";
import type { ProgramHeader, Relocation } from "./elf.ts";

/** `relocations` in address order, as relocatedSegment() wants them. */
export function sortRelocations(relocations: readonly Relocation[]): readonly Relocation[] {
  return relocations.toSorted((a, b) => a.offset - b.offset);
}

/**
 * The bytes that a PT_LOAD segment of the file `file` has in memory before the program runs, from `segment.vaddr` on:
 * those of the file, with the relocations `sorted` (in address order) applied for load bias `bias`. Undefined where no
 * relocation falls into the segment: they are the file's then.
 */
export function relocatedSegment(
  file: Bytes,
  segment: ProgramHeader,
  sorted: readonly Relocation[],
  bias: number,
): Uint8Array | undefined {
  const { vaddr, offset, fileSize } = segment;
  const from = upperBound(sorted.length, (index) => sorted[index].offset >= vaddr);
  const to = upperBound(sorted.length, (index) => sorted[index].offset + 8 > vaddr + fileSize);
  if (from >= to) {
    return undefined;
  }
  const bytes = new Uint8Array(file.subarray(offset, offset + fileSize));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const { offset: address, addend } of sorted.slice(from, to)) {
    const at = address - vaddr;
    const value = addend === undefined ? view.getBigUint64(at, true) : BigInt(addend);
    view.setBigUint64(at, BigInt.asUintN(64, value + BigInt(bias)), true);
  }
  return bytes;
}
