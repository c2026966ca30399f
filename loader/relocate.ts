import { upperBound } from "./bytes.ts";
import type { Executable, ProgramHeader, Relocation } from "./elf.ts";

/** The relocations of an executable in address order, made once for each executable that has any. */
const sortedRelocations = new WeakMap<Executable, readonly Relocation[]>();

function sorted(executable: Executable): readonly Relocation[] {
  let list = sortedRelocations.get(executable);
  if (list === undefined) {
    list = executable.relocations.toSorted((a, b) => a.offset - b.offset);
    sortedRelocations.set(executable, list);
  }
  return list;
}

/**
 * The bytes that a PT_LOAD segment has in memory before the program runs, from `segment.vaddr` on: those of the file,
 * with the executable's relocations applied for load bias `bias`. Without relocations no byte is copied.
 */
export function relocatedSegment(executable: Executable, segment: ProgramHeader, bias: number): Uint8Array {
  const { vaddr, offset, fileSize } = segment;
  const fileBytes = executable.bytes.subarray(offset, offset + fileSize);
  if (executable.relocations.length === 0) {
    return fileBytes;
  }
  const list = sorted(executable);
  const from = upperBound(list.length, (index) => list[index].offset >= vaddr);
  const to = upperBound(list.length, (index) => list[index].offset >= vaddr + fileSize);
  const words = list.slice(from, to);
  if (words.length === 0) {
    return fileBytes;
  }
  const bytes = fileBytes.slice();
  const view = new DataView(bytes.buffer);
  for (const { offset: address, addend } of words) {
    const at = address - vaddr;
    const value = addend === undefined ? view.getBigUint64(at, true) : BigInt(addend);
    view.setBigUint64(at, BigInt.asUintN(64, value + BigInt(bias)), true);
  }
  return bytes;
}
