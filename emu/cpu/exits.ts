/**
 * What translated code returns: an address from FIRST_ADDRESS on, as 32 bits, is where the guest goes on (RIP in the CPU
 * state is not set); anything below is why it stopped, one of EXIT. The record at which it stopped is in the CPU state;
 * `detail` below is STATE.exitDetail.
 */
export const FIRST_ADDRESS = 0x1_0000;

export const EXIT = {
  /** RIP is set and is to be looked up: an unlinked branch (detail: byte offset of the link field, or 0), or no fuel. */
  branch: 0,
  /** SYSCALL; RIP is the next instruction. */
  syscall: 1,
  /** A memory access failed; detail is the access (PROT_*), the address is in STATE.faultAddress. */
  fault: 2,
  /**
   * A CPU exception; detail is its vector (SDM Vol. 3A, 6.3.1), and from bit 8 on its error code. RIP is the
   * instruction.
   */
  exception: 3,
  /** An instruction carried out in TypeScript; RIP is the instruction. */
  helper: 4,
  /** The record was dropped because its code changed; RIP is the instruction to fetch anew. */
  stale: 5,
  /** PAUSE: the thread gives up the rest of its time; RIP is the next instruction. */
  yield: 6,
  /** A region stopped before an instruction that is the interpreter's to carry out; RIP is the instruction. */
  resume: 7,
  /** As `helper`, before an instruction in the middle of a block. */
  defer: 8,
  /** Before an instruction that sets TF or AC: what follows is done in single steps. */
  trace: 9,
} as const;

/** Where an exception's error code is in its detail. */
export const ERROR_SHIFT = 8;

/** Exception vectors (SDM Vol. 3A, table 6-1). */
export const VECTOR = {
  DE: 0,
  DB: 1,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  XM: 19,
} as const;
