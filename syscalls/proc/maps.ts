import { PROT_EXEC, PROT_READ, PROT_WRITE } from "../../emu/layout.ts";
import { FRAMES_NAME } from "../../emu/memory/address-space.ts";
import type { Vma } from "../../emu/memory/vma.ts";
import { major, minor } from "../abi/stat.ts";
import { textToPath } from "../files/path.ts";
import { FileBacking } from "../memory/file-backing.ts";
import type { Process } from "../process.ts";

function* visible(process: Process): Iterable<Vma> {
  for (const vma of process.memory.space.vmas) if (vma.name !== FRAMES_NAME) yield vma;
}

const hex = (value: number, width: number): string => value.toString(16).padStart(width, "0");

/** One line of /proc/pid/maps (fs/proc/task_mmu.c, show_map_vma): the name starts in column 73. */
function line(vma: Vma): string {
  const { backing } = vma;
  const file = backing instanceof FileBacking ? backing.file.stat() : undefined;
  const permissions =
    (vma.prot & PROT_READ ? "r" : "-") +
    (vma.prot & PROT_WRITE ? "w" : "-") +
    (vma.prot & PROT_EXEC ? "x" : "-") +
    (vma.shared ? "s" : "p");
  const device = `${hex(file === undefined ? 0 : major(file.dev), 2)}:${hex(file === undefined ? 0 : minor(file.dev), 2)}`;
  const offset = backing === undefined ? 0 : vma.offset;
  const fields = `${hex(vma.start, 8)}-${hex(vma.end, 8)} ${permissions} ${hex(offset, 8)} ${device} ${file?.ino ?? 0} `;
  const path =
    backing === undefined ? undefined : backing instanceof FileBacking ? backing.path : textToPath(backing.path);
  const name = path ?? textToPath(vma.name);
  if (name === "") return `${fields}\n`;
  return `${fields.padEnd(73)}${name.replaceAll("\n", "\\012")}\n`;
}

/** /proc/pid/maps (proc(5)). */
export function mapsText(process: Process): string {
  let text = "";
  for (const vma of visible(process)) text += line(vma);
  return text;
}

/** Use of memory in pages of 4 KiB. */
export interface MemoryUse {
  /** Everything mapped. */
  readonly size: number;
  /** What holds something: see AddressSpace.residentBytes. */
  readonly resident: number;
  readonly text: number;
  readonly data: number;
  readonly stack: number;
}

export function memoryUse(process: Process): MemoryUse {
  const use = { size: 0, resident: process.memory.space.residentBytes / 4096, text: 0, data: 0, stack: 0 };
  for (const vma of visible(process)) {
    const pages = (vma.end - vma.start) / 4096;
    use.size += pages;
    if (vma.prot & PROT_EXEC) use.text += pages;
    if (vma.prot & PROT_WRITE) use.data += pages;
    if (vma.name === "[stack]") use.stack += pages;
  }
  return use;
}
