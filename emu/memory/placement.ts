import { LOW_AREA_END, WINDOW_END } from "../layout.ts";
import type { Backing } from "./vma.ts";

/** Where mappings go that may lie anywhere: see docs/architecture.md, "Memory". */
export interface Placement {
  readonly low: number;
  readonly high: number;
}

export const COMPACT: Placement = { low: LOW_AREA_END, high: WINDOW_END - 0x100_0000 };
/** mmap_base without randomisation, as under gdb: below the 8 MiB stack and its gap (arch/x86/mm/mmap.c). */
export const LINUX: Placement = { low: LOW_AREA_END, high: 0x7fff_f7ff_f000 };

export interface MapRequest {
  /** Hint, or the exact address under `fixed`; 0 for anywhere. */
  address: number;
  length: number;
  prot: number;
  fixed?: boolean;
  /** With `fixed`: fail with EEXIST instead of replacing (MAP_FIXED_NOREPLACE). */
  noReplace?: boolean;
  shared?: boolean;
  backing?: Backing;
  offset?: number;
  name?: string;
  /** Does it not count as memory that was promised (MAP_NORESERVE)? */
  noReserve?: boolean;
}
