import {
  BLOCK_INDEX,
  BLOCK_INDEX_BITS,
  BOUNCE,
  CALL_CELLS,
  CALL_CELLS_END,
  LOOKUP_BITS,
  LOOKUP_TABLE,
  PAGE_SIZE,
  RECORDS,
  RECORDS_END,
  TRANSLATOR,
} from "../layout.ts";
import { RECORD, RECORD_SIZE } from "./record.ts";
import { MAX_BLOCK, OPCODES, SCRATCH_BYTES, SCRATCH_RECORD, SHARED } from "./template.ts";

const ENTRY_BYTES = 16;
/** Two instructions, each in 32 bytes (Templates). */
const SCRATCH_SIZE = 64;

/**
 * Makes zero what translated code has in wasm memory of a program, so that another core can have it; what is known of
 * instructions stays (Engine). Records must never have been dropped as a whole (CodeCache.generation): their addresses tell
 * what is in the tables.
 */
export function wipeTranslations(buffer: ArrayBuffer): void {
  const u8 = new Uint8Array(buffer);
  const words = new Int32Array(buffer);
  const recordsEnd = words[SHARED.nextRecord >>> 2] >>> 0;
  const templates = words[SHARED.templates >>> 2];
  wipeTables(words, recordsEnd);
  // A block may have been begun, and not finished.
  u8.fill(0, RECORDS, Math.min(recordsEnd + (MAX_BLOCK + 2) * RECORD_SIZE, RECORDS_END));
  u8.fill(0, TRANSLATOR, OPCODES);
  words[SHARED.templates >>> 2] = templates;
  // The instruction that was last learned from is the program's.
  u8.fill(0, SCRATCH_RECORD, SCRATCH_BYTES + SCRATCH_SIZE);
  for (let at = CALL_CELLS; at < CALL_CELLS_END; at += PAGE_SIZE) {
    if (holdsSomething(words, at)) u8.fill(0, at, Math.min(at + PAGE_SIZE, CALL_CELLS_END));
  }
  u8.fill(0, BOUNCE, BOUNCE + PAGE_SIZE);
}

/** Each entry of the block index and of the table for indirect jumps is about the address of a record. */
function wipeTables(words: Int32Array, recordsEnd: number): void {
  for (let record = RECORDS; record < recordsEnd; record += RECORD_SIZE) {
    const address = words[(record + RECORD.address) >>> 2];
    clearEntry(words, (LOOKUP_TABLE + (address & ((1 << LOOKUP_BITS) - 1)) * ENTRY_BYTES) >>> 2);
    // An entry that was taken led to the next one.
    let number = (address >>> 2) & ((1 << BLOCK_INDEX_BITS) - 1);
    while (clearEntry(words, entryAt(number))) number = (number + 1) & ((1 << BLOCK_INDEX_BITS) - 1);
  }
}

/** Where an entry of the block index lies, in words. */
const entryAt = (number: number): number => (BLOCK_INDEX + number * ENTRY_BYTES) >>> 2;

/** @returns whether there was something in it; of what is empty nothing is written to */
function clearEntry(words: Int32Array, at: number): boolean {
  if ((words[at] | words[at + 1] | words[at + 2] | words[at + 3]) === 0) return false;
  words[at] = 0;
  words[at + 1] = 0;
  words[at + 2] = 0;
  words[at + 3] = 0;
  return true;
}

/** A plain loop: nearly all pages are empty. */
function holdsSomething(words: Int32Array, page: number): boolean {
  const end = (page + PAGE_SIZE) >>> 2;
  for (let at = page >>> 2; at < end; at++) if (words[at] !== 0) return true;
  return false;
}
