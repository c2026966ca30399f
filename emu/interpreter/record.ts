/**
 * A decoded instruction as its handler reads it: a record of 64 bytes in linear memory. The records of a block follow
 * each other; the last one jumps.
 */
export const RECORD_SIZE = 64;

export const RECORD = {
  /** Table index of the handler; i32. */
  handler: 0,
  /** Byte offsets in the CPU state of the register operands 0–3; u16 each. */
  operand: 4,
  /** Byte offsets of the address's base and index register; u16 each. */
  base: 12,
  index: 14,
  /** Scale of the index as a shift; u8. */
  shift: 16,
  /** In the first record of a block: how many the block has. 0 in all others; u8. */
  blockRecords: 17,
  /** Instructions of the block up to and with this one; u16. */
  count: 18,
  /** Records to go to: at the branch target, and at the next instruction; 0 while not known. i32 each. */
  linkTaken: 20,
  linkNext: 24,
  /** Second immediate; i32. */
  immediate2: 28,
  /** Number of EVEX's opmask register, in the place of a second immediate, which no EVEX instruction has; u8. */
  opmask: 28,
  displacement: 32,
  /** Immediate, or the target of a branch. */
  immediate: 40,
  /** Linear address of the instruction, and of the next. */
  address: 48,
  next: 56,
} as const;
