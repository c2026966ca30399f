import { CPU_STATE_SIZE, CPU_STATES } from "../layout.ts";

/**
 * The CPU state of one guest thread, a page of wasm memory. Byte offsets from its start; general registers are in the
 * order of their numbers in instruction encodings (SDM Vol. 1, 3.4.1; Vol. 2A, table 2-2).
 */
export const STATE = {
  gpr: 0,
  /** Always zero: the base or index register of an address that has none. */
  zero: 128,
  rip: 136,
  /** Status flags, in the form that flags.ts describes. */
  flagResult: 144,
  flagCarry: 152,
  flagWidth: 160,
  fsBase: 168,
  gsBase: 176,
  /** Instructions that the thread may still run before it has to return to the dispatcher; i64. */
  fuel: 184,
  /** DF: 0 up, 1 down; i32. */
  direction: 192,
  mxcsr: 196,
  /** Record at which execution left the handlers, and why in detail; i32 each. */
  exitRecord: 200,
  exitDetail: 204,
  /** Linear address of a memory fault; i64. */
  faultAddress: 208,
  /** RFLAGS bits other than the status flags and DF (TF, AC, ID, …); i32. */
  otherFlags: 216,
  /** Guest calls that may still be put on top of V8's stack by code that is entered through a record; i32. */
  depth: 220,
  /** Address (32 bits) for which the nearest region below the interpreter waits, or 0; i32. */
  expected: 224,
  /** Entry at which the region that is called next is entered, if not at its start: it clears it; i32. */
  entry: 232,
  /** Instructions that the interpreter may still run before its place is noted as hot; i32. */
  heat: 228,
  /**
   * x87 and MMX in FXSAVE's layout (SDM Vol. 1, 10.5.1), bytes 0–159, but with the registers in physical order: R0 and
   * MM0 first, wherever TOP points (x87/registers.ts). Bytes 24–31 are not used.
   */
  x87: 256,
  /** Scratch for helpers. */
  scratch: 512,
  /** Two vectors of 64 bytes each, for the semantics of an instruction while it is carried out. */
  vectorScratch: 576,
  /** 32 vector registers of 64 bytes: XMM is the low 16, YMM the low 32. */
  vector: 0x400,
  /** k0–k7. */
  opmask: 0xc00,
} as const;

export const VECTOR_STRIDE = 64;

/** Register numbers (SDM Vol. 2A, table 2-2). */
export const REG = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  RBX: 3,
  RSP: 4,
  RBP: 5,
  RSI: 6,
  RDI: 7,
  R8: 8,
  R9: 9,
  R10: 10,
  R11: 11,
  R12: 12,
  R13: 13,
  R14: 14,
  R15: 15,
} as const;

export const REGISTER_NAMES = Object.keys(REG).map((name) => name.toLowerCase());

/** MXCSR after reset: all exceptions masked, round to nearest (SDM Vol. 1, 10.2.3). */
export const MXCSR_DEFAULT = 0x1f80;
/** x87 control word as Linux starts a process with (arch/x86/kernel/fpu/core.c, fpstate_init_fstate). */
export const FCW_DEFAULT = 0x37f;

/** A thread's CPU state, seen from TypeScript. */
export class CpuState {
  /** Address of the state in wasm memory. */
  readonly address: number;
  readonly u8: Uint8Array;
  readonly view: DataView;
  /** General registers as unsigned 64-bit values. */
  readonly gpr: BigUint64Array;

  constructor(buffer: ArrayBuffer, slot: number) {
    this.address = CPU_STATES + slot * CPU_STATE_SIZE;
    this.u8 = new Uint8Array(buffer, this.address, CPU_STATE_SIZE);
    this.view = new DataView(buffer, this.address, CPU_STATE_SIZE);
    this.gpr = new BigUint64Array(buffer, this.address, 16);
  }

  /** Registers as execve(2) leaves them. */
  reset(): void {
    this.u8.fill(0);
    this.view.setUint32(STATE.mxcsr, MXCSR_DEFAULT, true);
    this.view.setUint16(STATE.x87, FCW_DEFAULT, true);
    this.rflags = 0x202n;
  }

  copyFrom(other: CpuState): void {
    this.u8.set(other.u8);
  }

  get rip(): number {
    return Number(this.view.getBigUint64(STATE.rip, true));
  }

  set rip(value: number) {
    this.view.setBigUint64(STATE.rip, BigInt(value), true);
  }

  /** RIP as 64 bits: a jump may leave any value in it. */
  get rip64(): bigint {
    return this.view.getBigUint64(STATE.rip, true);
  }

  set rip64(value: bigint) {
    this.view.setBigUint64(STATE.rip, value, true);
  }

  get fuel(): number {
    return Number(this.view.getBigInt64(STATE.fuel, true));
  }

  set fuel(value: number) {
    this.view.setBigInt64(STATE.fuel, BigInt(value), true);
  }

  get fsBase(): bigint {
    return this.view.getBigUint64(STATE.fsBase, true);
  }

  set fsBase(value: bigint) {
    this.view.setBigUint64(STATE.fsBase, value, true);
  }

  get gsBase(): bigint {
    return this.view.getBigUint64(STATE.gsBase, true);
  }

  set gsBase(value: bigint) {
    this.view.setBigUint64(STATE.gsBase, value, true);
  }

  get mxcsr(): number {
    return this.view.getUint32(STATE.mxcsr, true);
  }

  set mxcsr(value: number) {
    this.view.setUint32(STATE.mxcsr, value, true);
  }

  /** The bytes of vector register `index`: 64, of which XMM is the first 16. */
  vector(index: number): Uint8Array {
    const start = STATE.vector + index * VECTOR_STRIDE;
    return this.u8.subarray(start, start + VECTOR_STRIDE);
  }

  /** RFLAGS put together from the lazy form (SDM Vol. 1, 3.4.3); reserved bit 1 and IF read as 1. */
  get rflags(): bigint {
    const result = this.view.getBigInt64(STATE.flagResult, true);
    const carry = this.view.getBigUint64(STATE.flagCarry, true);
    const width = this.view.getBigUint64(STATE.flagWidth, true);
    const explicit = (width >> 32n) & 1n;
    const bit = (value: bigint, at: bigint): bigint => (value >> at) & 1n;
    const cf = bit(carry, 63n);
    const of = cf ^ bit(carry, 62n);
    const zf = result === 0n ? 1n : 0n;
    const sf = (result < 0n ? 1n : 0n) ^ bit(width, 63n);
    let pf = bit(width, 33n);
    let af = bit(width, 34n);
    if (explicit === 0n) {
      let parity = Number((BigInt.asUintN(64, result) >> width) & 0xffn);
      parity ^= parity >> 4;
      pf = BigInt((0x9669 >> (parity & 15)) & 1);
      af = bit(carry, width + 3n);
    }
    const other = BigInt(this.view.getUint32(STATE.otherFlags, true));
    const df = BigInt(this.view.getUint32(STATE.direction, true));
    return cf | 2n | (pf << 2n) | (af << 4n) | (zf << 6n) | (sf << 7n) | (df << 10n) | (of << 11n) | other | 0x200n;
  }

  set rflags(value: bigint) {
    const bit = (at: bigint): bigint => (value >> at) & 1n;
    const zf = bit(6n);
    const sf = bit(7n);
    const cf = bit(0n);
    this.view.setBigInt64(STATE.flagResult, zf ? 0n : sf ? -1n : 1n, true);
    this.view.setBigUint64(STATE.flagCarry, (cf << 63n) | ((cf ^ bit(11n)) << 62n), true);
    const width = (1n << 32n) | (bit(2n) << 33n) | (bit(4n) << 34n) | ((zf & sf) << 63n);
    this.view.setBigUint64(STATE.flagWidth, width, true);
    this.view.setUint32(STATE.direction, Number(bit(10n)), true);
    this.view.setUint32(STATE.otherFlags, Number(value & OTHER_FLAGS), true);
  }
}

/** TF, NT, AC, ID: what user mode may change beside the status flags and DF (SDM Vol. 2B, POPF). */
export const OTHER_FLAGS = 0x24_4100n;
