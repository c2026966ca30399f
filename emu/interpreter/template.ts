import { BLOCK_INDEX_BITS, TRANSLATOR } from "../layout.ts";
import { RECORD } from "./record.ts";

/** Longest block, in instructions: bounds how far a thread overruns its time slice. */
export const MAX_BLOCK = 64;
/** The block index is emptied, with everything else, before searches in it get long. */
export const MAX_INDEXED = (1 << BLOCK_INDEX_BITS) * 0.7;

/**
 * A decode template: what all instructions that begin with the same bytes have in common. The *head* of an instruction
 * is its prefixes, opcode, ModRM and SIB bytes; they decide about everything but the values of displacement and
 * immediates, which follow (SDM Vol. 2A, 2.1). A template is the record of such an instruction and where in its bytes
 * the values come from. What an instruction means by its head is iced-x86's to say: templates are learned from it.
 */
export const TEMPLATE_SIZE = 96;
export const TEMPLATE = {
  /** The head, padded with zeros; 15 bytes, then what `keyLength` says. */
  key: 0,
  /** Bytes in the key; with CHAINED if the last one is the immediate, which decides too. */
  keyLength: 15,
  /** Bytes of the whole instruction. */
  length: 16,
  flags: 17,
  /** The decoder's Code; u16. */
  code: 18,
  /** Three fields of the record that take a value from the bytes (FIELDS): 4 bytes each. */
  fields: 20,
  record: 32,
} as const;

export const CHAINED = 0x80;
export const LONGEST_HEAD = 13;

export const TEMPLATE_FLAG = {
  /** The instruction ends a block. */
  ends: 1,
  /** The head does not decide: the template is found by the head and the last byte of the instruction. */
  chain: 2,
} as const;

/** Fields of a record that take a value from the instruction's bytes, in the order of TEMPLATE.fields. */
export const FIELDS = [
  { at: RECORD.displacement, bits: 64 },
  { at: RECORD.immediate, bits: 64 },
  { at: RECORD.immediate2, bits: 32 },
] as const;

/** A field: where its bytes begin in the instruction, how many (0: the record has the value), and what becomes of them. */
export const FIELD = { offset: 0, size: 1, kind: 2 } as const;
/** Bits of a field's kind: not sign-extended, cut to 32 or 16 bits, relative to the next instruction. */
export const KIND = { unsigned: 1, cut32: 2, cut16: 4, relative: 8 } as const;

/** Words that TypeScript and the translator share, from TRANSLATOR on; u32 each. */
export const SHARED = {
  /** Where the next block's records go. */
  nextRecord: TRANSLATOR,
  /** Blocks and instructions translated since the start. */
  blocks: TRANSLATOR + 4,
  instructions: TRANSLATOR + 8,
  /** Handler of the record behind a block that was cut. */
  nextBlock: TRANSLATOR + 12,
  /** May translated code look for blocks, and translate, by itself? Not while somebody wants to see where it goes. */
  resolves: TRANSLATOR + 16,
  /** Where `decode` stopped: instructions so far, and the address. */
  count: TRANSLATOR + 20,
  address: TRANSLATOR + 24,
  templates: TRANSLATOR + 28,
  /** Entries of the block index in use, with those whose block was dropped. */
  indexed: TRANSLATOR + 32,
} as const;

/** Two tables of 256 bytes: of one-byte opcodes, and of those behind 0F. */
export const OPCODES = TRANSLATOR + 0x100;
export const OPCODE = { modrm: 1, prefix: 2 } as const;
/** A record and an instruction's bytes to try templates on. */
export const SCRATCH_RECORD = TRANSLATOR + 0x400;
export const SCRATCH_BYTES = TRANSLATOR + 0x480;

/** What `decode` says. */
export const DECODED = {
  /** The next instruction is not one that a template covers, or may not be executed. */
  unknown: 0,
  /** The last instruction ends the block. */
  ends: 1,
  /** The block has as many instructions as it may have. */
  full: 2,
  /** The next instruction begins on another page. */
  page: 3,
} as const;

const ranges = (...list: readonly (readonly [number, number])[]): Set<number> =>
  new Set(list.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i)));

/** The contents of OPCODES, from the opcode maps (SDM Vol. 2D, A.3, tables ). */
export function opcodeTables(): Uint8Array {
  const table = new Uint8Array(512);
  const withModrm = ranges([0x62, 0x63], [0x69, 0x69], [0x6b, 0x6b], [0x80, 0x8f], [0xc0, 0xc1], [0xc4, 0xc7]);
  for (const opcode of ranges([0xd0, 0xd3], [0xd8, 0xdf], [0xf6, 0xf7], [0xfe, 0xff])) withModrm.add(opcode);
  const prefixes = ranges([0x26, 0x26], [0x2e, 0x2e], [0x36, 0x36], [0x3e, 0x3e], [0x40, 0x4f], [0x64, 0x67]);
  for (const prefix of [0xf0, 0xf2, 0xf3]) prefixes.add(prefix);
  const alone = ranges([0x05, 0x09], [0x0b, 0x0b], [0x0e, 0x0e], [0x30, 0x37], [0x77, 0x77], [0x80, 0x8f]);
  for (const opcode of ranges([0xa0, 0xa2], [0xa8, 0xaa], [0xc8, 0xcf])) alone.add(opcode);
  for (let opcode = 0; opcode < 256; opcode++) {
    const arithmetic = opcode < 0x40 && (opcode & 7) < 4;
    if (arithmetic || withModrm.has(opcode)) table[opcode] |= OPCODE.modrm;
    if (prefixes.has(opcode)) table[opcode] |= OPCODE.prefix;
    if (!alone.has(opcode)) table[256 + opcode] |= OPCODE.modrm;
  }
  return table;
}
