import { STATE, VECTOR_STRIDE } from "../cpu/state.ts";
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
  /** Bytes in the key; with CHAINED if the last one is the immediate, which decides too; with SHAPE if it is a shape. */
  keyLength: 15,
  /** Bytes of the whole instruction. */
  length: 16,
  flags: 17,
  /** The decoder's Code; u16. */
  code: 18,
  /** Three fields of the record that take a value from the bytes (FIELDS): 3 bytes each. */
  fields: 20,
  /** Where the REGISTER_FIELDS of a record come from, for a shape: 4 bits each. */
  registers: 29,
  record: 32,
} as const;

export const CHAINED = 0x80;
/**
 * The key is a head without its register numbers: the template is for all registers. Bit fields of ModRM, SIB and opcode
 * that name a register are 0 in the key, and so are their bits of REX.
 */
export const SHAPE = 0x40;
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

export const FIELD_BYTES = 3;
/** A field: where its bytes begin in the instruction, how many (0: the record has the value), and what becomes of them. */
export const FIELD = { offset: 0, size: 1, kind: 2 } as const;
/** Bits of a field's kind: not sign-extended, cut to 32 or 16 bits, relative to the next instruction. */
export const KIND = { unsigned: 1, cut32: 2, cut16: 4, relative: 8 } as const;

/** Registers that a head names: by ModRM.reg; by ModRM.rm, SIB.base or the opcode; by SIB.index. */
export const VARIABLE = { register: 1, base: 2, index: 4 } as const;
/** Fields of a record with the place of a register in the CPU state. */
export const REGISTER_FIELDS = [0, 2, 4, 6].map((i) => RECORD.operand + i).concat(RECORD.base, RECORD.index);
/**
 * How a register's number becomes its place in the CPU state: general registers, those of 8 bits without REX, vectors,
 * MMX.
 */
export const PLACINGS: readonly ((number: number) => number)[] = [
  (number) => STATE.gpr + number * 8,
  (number) => STATE.gpr + (number & 3) * 8 + (number & 4 ? 1 : 0),
  (number) => STATE.vector + number * VECTOR_STRIDE,
  (number) => STATE.x87 + 32 + (number & 7) * 16,
];

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
  /** What `head` found: addresses of REX prefix, last opcode byte and ModRM (0: none), and OPCODE bits. */
  rex: TRANSLATOR + 36,
  opcode: TRANSLATOR + 40,
  modrm: TRANSLATOR + 44,
  opcodeFlags: TRANSLATOR + 48,
  /** Register numbers that `shape` took out, at VARIABLE × 4. */
  registers: TRANSLATOR + 64,
  /** The key that is looked for; 16 bytes. */
  key: TRANSLATOR + 96,
  /** Where the block log's next entry goes (0: there is none), and its end (block-log.ts). */
  logNext: TRANSLATOR + 128,
  logEnd: TRANSLATOR + 132,
  /** Whether Go's g is to be read for it, and at which offset from the FS base; 64 bits. */
  logHasTls: TRANSLATOR + 136,
  logTlsOffset: TRANSLATOR + 144,
  /** What STATE.heat is without a log; i32. */
  logHeat: TRANSLATOR + 152,
} as const;

/** Two tables of 256 bytes: of one-byte opcodes, and of those behind 0F. */
export const OPCODES = TRANSLATOR + 0x100;
export const OPCODE = {
  modrm: 1,
  prefix: 2,
  /** ModRM.reg is part of the opcode, or names no general, vector or MMX register. */
  group: 4,
  /** So is ModRM.rm where it is no memory operand. */
  fixedRm: 8,
  /** The low bits of the opcode name a register. */
  register: 16,
  /** No shapes. */
  exact: 32,
} as const;
/** Places of the registers 0–15 by PLACINGS; 16 times u16 each. */
export const PLACES = TRANSLATOR + 0x300;
/** Handlers of sequences (fusion.ts). */
export const FUSION = TRANSLATOR + 0x1000;
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

/** The contents of OPCODES, from the opcode maps (SDM Vol. 2D, A.3 and A.4, tables ). */
export function opcodeTables(): Uint8Array {
  const table = new Uint8Array(512);
  const mark = (flag: number, map: number, ...list: readonly (readonly [number, number])[]): void => {
    for (const opcode of ranges(...list)) table[map * 256 + opcode] |= flag;
  };
  for (let opcode = 0; opcode < 0x40; opcode++) if ((opcode & 7) < 4) table[opcode] |= OPCODE.modrm;
  mark(OPCODE.modrm, 0, [0x62, 0x63], [0x69, 0x69], [0x6b, 0x6b], [0x80, 0x8f], [0xc0, 0xc1], [0xc4, 0xc7]);
  mark(OPCODE.modrm, 0, [0xd0, 0xd3], [0xd8, 0xdf], [0xf6, 0xf7], [0xfe, 0xff]);
  mark(OPCODE.prefix, 0, [0x26, 0x26], [0x2e, 0x2e], [0x36, 0x36], [0x3e, 0x3e], [0x40, 0x4f], [0x64, 0x67]);
  mark(OPCODE.prefix, 0, [0xf0, 0xf0], [0xf2, 0xf3]);
  mark(OPCODE.group, 0, [0x80, 0x83], [0x8c, 0x8c], [0x8e, 0x8f], [0xc0, 0xc1], [0xc6, 0xc7], [0xd0, 0xd3]);
  mark(OPCODE.group, 0, [0xf6, 0xf7], [0xfe, 0xff]);
  mark(OPCODE.group | OPCODE.fixedRm, 0, [0xd8, 0xdf]);
  mark(OPCODE.register, 0, [0x50, 0x5f], [0x91, 0x97], [0xb0, 0xbf]);
  mark(OPCODE.modrm, 1, [0x00, 0xff]);
  const alone = ranges([0x05, 0x09], [0x0b, 0x0b], [0x0e, 0x0e], [0x30, 0x37], [0x77, 0x77], [0x80, 0x8f]);
  for (const opcode of ranges([0xa0, 0xa2], [0xa8, 0xaa], [0xc8, 0xcf])) alone.add(opcode);
  for (const opcode of alone) table[256 + opcode] &= ~OPCODE.modrm;
  mark(OPCODE.group | OPCODE.fixedRm, 1, [0x00, 0x01], [0x0d, 0x0d], [0x18, 0x27], [0xae, 0xae], [0xc7, 0xc7]);
  mark(OPCODE.group, 1, [0x71, 0x73], [0xba, 0xba]);
  mark(OPCODE.register, 1, [0xc8, 0xcf]);
  return table;
}

/** The contents of PLACES. */
export function registerPlaces(): Uint8Array {
  const numbers = Array.from({ length: 16 }, (_, i) => i);
  return new Uint8Array(Uint16Array.from(PLACINGS.flatMap((place) => numbers.map(place))).buffer);
}
