/**
 * Where things are in the one 4 GiB WebAssembly memory.
 *
 * Guest addresses in the window are wasm addresses (identity mapped). The top 256 MiB belong to the emulator; their
 * pages never carry guest permissions, so that no guest access reaches them (docs/architecture.md, "Memory").
 */
export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 1 << PAGE_SHIFT;

/** Pages of the wasm memory (64 KiB each): 4 GiB. */
export const WASM_PAGES = 65536;

/** First and one-past-last guest address of the window. */
export const WINDOW_START = 0x1_0000;
export const WINDOW_END = 0xf000_0000;

/** One past the highest user address (TASK_SIZE_MAX: 2^47 less one page). */
export const TASK_SIZE = 0x7fff_ffff_f000;

/**
 * Below 2 GiB an address is part of a host instruction, and this is where programs lie least: what translated code looks
 * at all the time lies inside the window. Guest pages of the same addresses live out of line.
 */
export const LOW_AREA = 0x8_0000;
/** One word a target of direct calls: the table slot of its region, or 0 (jit/tier.ts). */
export const CALL_CELLS = LOW_AREA;
export const CALL_CELLS_END = 0xf_ffc0;
/** Words by which regions that count tell of themselves (interpreter/region-counts.ts). */
export const COUNT_CELLS = CALL_CELLS_END;
/** One byte a 4 KiB page of the wasm memory, bits below. */
export const PERM_MAP = 0x10_0000;
export const PERM_MAP_END = 0x20_0000;
export const LOW_AREA_END = PERM_MAP_END;

/**
 * Do guest addresses like this one lie in the window, at the same place in wasm memory? Pages that do not, below 4 GiB,
 * have permission byte 0: a fast check of an access lets none through.
 */
export function inWindow(address: number): boolean {
  return address < WINDOW_END && (address >= LOW_AREA_END || address < LOW_AREA);
}
/** CPU states, one page each. */
export const CPU_STATES = 0xf020_0000;
export const CPU_STATE_SIZE = 0x1000;
export const MAX_THREADS = 8192;
/** Radix tree of pages outside the window. */
export const PAGE_TABLES = 0xf230_0000;
export const PAGE_TABLES_END = 0xf400_0000;
/** Decoded instruction records. */
export const RECORDS = 0xf400_0000;
export const RECORDS_END = 0xfc00_0000;
/** Hash table from guest PC to the record of its block (interpreter/translate-module.ts), 16 bytes an entry. */
export const BLOCK_INDEX = 0xfc00_0000;
export const BLOCK_INDEX_BITS = 20;
/** Words that TypeScript and the translator share; decode templates by their first bytes, and an index of them. */
export const TRANSLATOR = 0xfd00_0000;
export const TEMPLATE_INDEX = 0xfd10_0000;
export const TEMPLATE_INDEX_BITS = 18;
export const TEMPLATES = 0xfd20_0000;
export const TEMPLATES_END = 0xfe00_0000;
/** Direct-mapped cache from guest PC to record and region (CodeCache.enterLookup), 16 bytes an entry. */
export const LOOKUP_TABLE = 0xfe00_0000;
export const LOOKUP_BITS = 18;
/** Which blocks ran, while somebody wants to know (interpreter/block-log.ts). */
export const BLOCK_LOG = 0xfe80_0000;
export const BLOCK_LOG_END = 0xfe90_0000;
/** Constant tables of instruction helpers. */
export const HELPER_TABLES = 0xff00_0000;
/** How often the blocks of regions ran, while somebody wants to know (interpreter/region-counts.ts). */
export const COUNT_NODES = 0xff10_0000;
export const COUNT_NODES_END = 0xfff0_0000;
/** Where an access that straddles pages that are not neighbours in wasm memory is put together. */
export const BOUNCE = 0xffff_0000;

/** Page permission bits as the guest's mmap knows them (PROT_READ, PROT_WRITE, PROT_EXEC). */
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;
/** The page holds translated code: a write must drop the translation. */
export const PERM_CODE = 8;
/** This page and the next are readable: an access that starts here may cross into the next. */
export const PERM_READ_SPAN = 16;
/** This page and the next are writable and dirty, neither holds translated code: a plain store may go ahead. */
export const PERM_WRITE_SPAN = 32;
/**
 * The page was written to: it must be cleared before it becomes fresh anonymous memory. The first store to a page is
 * never a plain one, so that memory that is mapped but never written costs nothing, neither now nor when it goes away.
 */
export const PERM_DIRTY = 64;
/** Bits that tell what an access needs (PROT_*); above them a region tells the permission byte that refused it. */
export const NEED_BITS = 8;
/**
 * The page's contents are still in the file behind its mapping: the first access brings them in (AddressSpace.pageIn).
 * Until then the page has no right, whatever its mapping says; PERM_CODE may be there, from code of an earlier run.
 */
export const PERM_ABSENT = 128;
