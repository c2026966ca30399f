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

/** The lines of a mapping in /proc/pid/smaps, or of all of them in smaps_rollup, in KiB. */
interface Smap {
  readonly isRollup: boolean;
  readonly rss: number;
  readonly anonymous: number;
  readonly shared: number;
  readonly dirty: number;
}

/**
 * What fs/proc/task_mmu.c's __show_smap says of a mapping. Pages count that hold something (as mincore(2) and VmRSS
 * have it); no page is shared with another process.
 */
function smapLines({ isRollup, rss, anonymous, shared, dirty }: Smap): string {
  const file = rss - anonymous - shared;
  const rows: [string, number][] = [
    ["Rss", rss],
    ["Pss", rss],
    ["Pss_Dirty", dirty],
  ];
  if (isRollup) rows.push(["Pss_Anon", anonymous], ["Pss_File", file], ["Pss_Shmem", shared]);
  rows.push(["Shared_Clean", 0], ["Shared_Dirty", 0], ["Private_Clean", rss - dirty], ["Private_Dirty", dirty]);
  rows.push(["Referenced", rss], ["Anonymous", anonymous]);
  const never =
    "KSM LazyFree AnonHugePages ShmemPmdMapped FilePmdMapped Shared_Hugetlb Private_Hugetlb Swap SwapPss Locked";
  for (const name of never.split(" ")) rows.push([name, 0]);
  return rows.map(([name, value]) => `${`${name}:`.padEnd(16)}${String(value).padStart(8)} kB\n`).join("");
}

function smap(process: Process, vma: Vma): Smap {
  const rss = process.memory.space.resident(vma.start, vma.end) * 4;
  const isAnonymous = vma.backing === undefined;
  const anonymous = isAnonymous && !vma.shared ? rss : 0;
  const shared = isAnonymous && vma.shared ? rss : 0;
  // Pages of files that can't be written to are as they are in the file.
  return { isRollup: false, rss, anonymous, shared, dirty: isAnonymous || vma.prot & PROT_WRITE ? rss : 0 };
}

/** VmFlags: what the mapping allows, and what mprotect(2) may still allow. */
function vmFlags(vma: Vma): string {
  const flags: string[] = [];
  for (const [bit, name] of [
    [PROT_READ, "rd"],
    [PROT_WRITE, "wr"],
    [PROT_EXEC, "ex"],
  ] as const) {
    if (vma.prot & bit) flags.push(name);
  }
  if (vma.shared) flags.push("sh");
  flags.push("mr", "mw", "me");
  if (vma.name === "[stack]") flags.push("gd");
  return `VmFlags: ${flags.join(" ")} \n`;
}

/** /proc/pid/smaps (proc(5)). */
export function smapsText(process: Process): string {
  const parts: string[] = [];
  for (const vma of visible(process)) {
    const kilobytes = (name: string, value: number): string => `${name.padEnd(16)}${String(value).padStart(8)} kB\n`;
    const sizes = kilobytes("Size:", (vma.end - vma.start) / 1024);
    const pages = kilobytes("KernelPageSize:", 4) + kilobytes("MMUPageSize:", 4);
    parts.push(line(vma), sizes, pages, smapLines(smap(process, vma)), "THPeligible:           0\n", vmFlags(vma));
  }
  return parts.join("");
}

/** /proc/pid/smaps_rollup: the sums of smaps. */
export function smapsRollupText(process: Process): string {
  const all = [...visible(process)];
  if (all.length === 0) return "";
  const sum = { isRollup: true, rss: 0, anonymous: 0, shared: 0, dirty: 0 };
  for (const vma of all) {
    const { rss, anonymous, shared, dirty } = smap(process, vma);
    sum.rss += rss;
    sum.anonymous += anonymous;
    sum.shared += shared;
    sum.dirty += dirty;
  }
  const range = `${hex(all[0].start, 8)}-${hex(all[all.length - 1].end, 8)} ---p 00000000 00:00 0 `;
  return `${range.padEnd(73)}[rollup]\n${smapLines(sum)}`;
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
