import type { Code, Mnemonic } from "iced-x86";
import type { RegisterClass } from "./registers.ts";

export type OperandKind = "register" | "memory" | "immediate" | "branch";

/** How an effective address is made: absolute (or RIP-relative), base + displacement, or with an index as well. */
export const ADDRESS_FORM = { none: 0, absolute: 1, base: 2, indexed: 3 } as const;

/** Segment bases that count in 64-bit mode. */
export const SEGMENT = { none: 0, fs: 1, gs: 2 } as const;

export interface Operand {
  readonly kind: OperandKind;
  /** Width in bits; 0 for a memory operand without a size (LEA, PREFETCH, FXSAVE, …). */
  readonly width: number;
  /** Register operands: class, number and byte offset in the CPU state. */
  readonly registerClass: RegisterClass | undefined;
  readonly index: number;
  readonly offset: number;
  /** Immediate and branch operands: the value, sign-extended to 64 bits, or the target. */
  readonly value: bigint;
}

export interface MemoryOperand {
  readonly form: number;
  readonly segment: number;
  /** The address is cut to 32 bits (prefix 67). */
  readonly address32: boolean;
  /** Byte offsets of base and index in the CPU state. */
  readonly base: number;
  readonly index: number;
  /** The index is shifted left by this. */
  readonly shift: number;
  /** Displacement, or the address itself for the absolute form. */
  readonly displacement: bigint;
  /** VSIB: the index is a vector register of this width in bits, else 0. */
  readonly vectorIndex: number;
  /** Base is RSP or RBP: a non-canonical address is #SS, not #GP. */
  readonly stackSegment: boolean;
}

/** Status flags in the masks of Instruction: the decoder's RflagsBits. */
export const FLAG = { OF: 1, SF: 2, ZF: 4, AF: 8, CF: 16, PF: 32 } as const;
export const ALL_FLAGS = 63;

/** Prefixes that decide about meaning. */
export const PREFIX = { lock: 1, rep: 2, repne: 4 } as const;

/** One decoded instruction, free of the decoder's types but for its names of codes and mnemonics. */
export interface Instruction {
  readonly address: number;
  readonly length: number;
  readonly code: Code;
  readonly mnemonic: Mnemonic;
  readonly operands: readonly Operand[];
  readonly memory: MemoryOperand | undefined;
  readonly prefixes: number;
  /** VEX, EVEX or XOP encoded: writes to a vector register clear its upper part. */
  readonly vex: boolean;
  /** Encoded with EVEX: opmask 1–7 (0 none), zeroing, rounding control (0 none, else RC + 1; it suppresses too). */
  readonly evex: boolean;
  readonly opmask: number;
  readonly zeroing: boolean;
  /** Width in bits of the memory element that is broadcast to the operand's width; 0 for none. */
  readonly broadcast: number;
  readonly rounding: number;
  readonly suppressExceptions: boolean;
  /** Status flags (FLAG) that it reads, and that it may write. */
  readonly flagsRead: number;
  readonly flagsWritten: number;
  /** String instructions and MASKMOVDQU: width in bits of the addresses in RSI and RDI; 0 for all others. */
  readonly stringAddress: number;
  /** Segment override of a string source or of XLAT, as MemoryOperand.segment. */
  readonly segment: number;
}

/** An instruction of no bytes, without operands or prefixes: what others are variations of. */
export const NO_INSTRUCTION: Instruction = {
  address: 0,
  length: 0,
  code: 0,
  mnemonic: 0,
  operands: [],
  memory: undefined,
  prefixes: 0,
  vex: false,
  evex: false,
  opmask: 0,
  zeroing: false,
  broadcast: 0,
  rounding: 0,
  suppressExceptions: false,
  flagsRead: 0,
  flagsWritten: 0,
  stringAddress: 0,
  segment: 0,
};
