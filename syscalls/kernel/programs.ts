import type { TranslationCache } from "../../emu/cache/translation-cache.ts";
import { PAGE_SIZE, PERM_ABSENT, PROT_EXEC } from "../../emu/layout.ts";
import type { HostFile } from "../../host/host.ts";
import type { Mapping } from "../../loader/map.ts";
import type { Mm } from "./mm.ts";

/** What is done outside of the machine about the programs that processes execute. */
export interface ProgramFinder {
  /**
   * What earlier runs of a program translated.
   * @param file that it is read from
   */
  cacheOf?(file: HostFile): TranslationCache | undefined;
  /** An address space goes: what was translated for it may be kept. */
  closing?(mm: Mm): void;
}

/** Puts what was translated into the cache that a program was given, if that is worth keeping. */
export function saveTranslations(mm: Mm): void {
  const { cache } = mm.program;
  if (cache !== undefined) mm.interpreter.save(cache, (page) => isPristine(mm, page));
}

/** Does a page hold what the program file has for it, as it did before anything ran? */
function isPristine({ memory, program }: Mm, page: number): boolean {
  const start = page * PAGE_SIZE;
  const mapping = program.plan.mappings.findLast(
    ({ address, fileSize }) => start >= address && start < address + fileSize,
  );
  // The next run will find the code executable only where the file says so.
  if (mapping === undefined || !(mapping.prot & PROT_EXEC)) return false;
  const { u8, space } = memory;
  if (space.pages.window(page) & PERM_ABSENT) return true;
  const original = originalPage(program, mapping, start - mapping.address);
  // A plain loop: this is a good part of the end of a first run.
  for (let i = 0; i < PAGE_SIZE; i++) if (u8[start + i] !== (i < original.length ? original[i] : 0)) return false;
  return true;
}

function originalPage({ executable }: Mm["program"], mapping: Mapping, offset: number): Uint8Array {
  if (mapping.isRelocated) return mapping.bytes.subarray(offset, offset + PAGE_SIZE);
  const page = new Uint8Array(Math.min(PAGE_SIZE, mapping.fileSize - offset));
  return page.subarray(0, executable.file.read(page, mapping.fileOffset + offset));
}
