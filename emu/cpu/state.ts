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
  /** Selectors of ES, CS, SS, DS, FS, GS (segments.ts); u16 each. */
  selectors: 236,
  /** Is the thread run in single steps, TF or AC being set? i32. */
  tracing: 248,
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

/** Fields as indices of 32-bit words. */
const RIP = STATE.rip / 4;
const FUEL = STATE.fuel / 4;
const FLAG_RESULT = STATE.flagResult / 4;
const FLAG_CARRY = STATE.flagCarry / 4;
const FLAG_WIDTH = STATE.flagWidth / 4;
const DIRECTION = STATE.direction / 4;
const OTHER = STATE.otherFlags / 4;
const TWO_32 = 2 ** 32;

/** A thread's CPU state, seen from TypeScript. */
export class CpuState {
  /** Number of the state among those of its core, and its address in wasm memory. */
  readonly slot: number;
  readonly address: number;
  readonly u8: Uint8Array;
  readonly view: DataView;
  /** The same as 32-bit words: for 64-bit fields that are to be read or written without making BigInts. */
  readonly words: Uint32Array;
  /** General registers as unsigned 64-bit values. */
  readonly gpr: BigUint64Array;

  constructor(buffer: ArrayBuffer, slot: number) {
    this.slot = slot;
    this.address = CPU_STATES + slot * CPU_STATE_SIZE;
    this.u8 = new Uint8Array(buffer, this.address, CPU_STATE_SIZE);
    this.view = new DataView(buffer, this.address, CPU_STATE_SIZE);
    this.words = new Uint32Array(buffer, this.address, CPU_STATE_SIZE / 4);
    this.gpr = new BigUint64Array(buffer, this.address, 16);
  }

  /** Registers as execve(2) leaves them. */
  reset(): void {
    this.u8.fill(0);
    this.view.setUint32(STATE.mxcsr, MXCSR_DEFAULT, true);
    this.view.setUint16(STATE.x87, FCW_DEFAULT, true);
    this.rflags = 0x202n;
    this.setSelector(1, USER_CS);
    this.setSelector(2, USER_SS);
  }

  /** Selector in segment register `number`, in the order ES, CS, SS, DS, FS, GS. */
  selector(number: number): number {
    return this.view.getUint16(STATE.selectors + number * 2, true);
  }

  setSelector(number: number, value: number): void {
    this.view.setUint16(STATE.selectors + number * 2, value, true);
  }

  copyFrom(other: CpuState): void {
    this.u8.set(other.u8);
  }

  /** RIP as a number; exact below 2^53. */
  get rip(): number {
    return this.words[RIP + 1] * TWO_32 + this.words[RIP];
  }

  set rip(value: number) {
    this.words[RIP] = value;
    this.words[RIP + 1] = value / TWO_32;
  }

  /** RIP as 64 bits: a jump may leave any value in it. */
  get rip64(): bigint {
    return this.view.getBigUint64(STATE.rip, true);
  }

  set rip64(value: bigint) {
    this.view.setBigUint64(STATE.rip, value, true);
  }

  get fuel(): number {
    return (this.words[FUEL + 1] | 0) * TWO_32 + this.words[FUEL];
  }

  set fuel(value: number) {
    this.words[FUEL] = value;
    this.words[FUEL + 1] = Math.floor(value / TWO_32);
  }

  /** Sets a general register to a whole number that 64 bits hold, signed or unsigned. */
  setGprNumber(register: number, value: number): void {
    this.words[register * 2] = value;
    this.words[register * 2 + 1] = Math.floor(value / TWO_32);
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

  /** Is TF or AC set, so that each instruction is to be looked at? */
  get isTraced(): boolean {
    return (this.words[OTHER] & (TRAP_FLAG | ALIGNMENT_CHECK)) !== 0;
  }

  /** TF. */
  get traps(): boolean {
    return (this.words[OTHER] & TRAP_FLAG) !== 0;
  }

  /** AC, in user mode and with CR0.AM set, as Linux has it. */
  get checksAlignment(): boolean {
    return (this.words[OTHER] & ALIGNMENT_CHECK) !== 0;
  }

  /** The bytes of vector register `index`: 64, of which XMM is the first 16. */
  vector(index: number): Uint8Array {
    const start = STATE.vector + index * VECTOR_STRIDE;
    return this.u8.subarray(start, start + VECTOR_STRIDE);
  }

  /** RFLAGS put together from the lazy form (SDM Vol. 1, 3.4.3); reserved bit 1 and IF read as 1. */
  get rflags(): bigint {
    return BigInt(this.rflags32);
  }

  /** RFLAGS as a number; the upper half is reserved. */
  get rflags32(): number {
    const { words } = this;
    const [low, high] = [words[FLAG_RESULT], words[FLAG_RESULT + 1]];
    const [carryLow, carryHigh] = [words[FLAG_CARRY], words[FLAG_CARRY + 1]];
    const [width, explicit] = [words[FLAG_WIDTH], words[FLAG_WIDTH + 1]];
    const cf = carryHigh >>> 31;
    const of = cf ^ ((carryHigh >>> 30) & 1);
    const zf = (low | high) === 0 ? 1 : 0;
    const sf = (high ^ explicit) >>> 31;
    let pf = (explicit >>> 1) & 1;
    let af = (explicit >>> 2) & 1;
    if ((explicit & 1) === 0) {
      const bits = (shift: number, below: number, above: number): number =>
        shift >= 32 ? above >>> (shift - 32) : shift === 0 ? below : (below >>> shift) | (above << (32 - shift));
      let parity = bits(width, low, high) & 0xff;
      parity ^= parity >> 4;
      pf = (0x9669 >> (parity & 15)) & 1;
      af = bits(width + 3, carryLow, carryHigh) & 1;
    }
    const status = cf | (pf << 2) | (af << 4) | (zf << 6) | (sf << 7) | (of << 11);
    return (status | (words[DIRECTION] << 10) | words[OTHER] | 0x202) >>> 0;
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

/** Linux's selectors of 64-bit user code and its stack (arch/x86/include/asm/segment.h); the others start as 0. */
const USER_CS = 0x33;
const USER_SS = 0x2b;

/** TF and AC of RFLAGS: each instruction is looked at. */
export const TRAP_FLAG = 0x100;
export const ALIGNMENT_CHECK = 0x4_0000;

/** TF, NT, AC, ID: what user mode may change beside the status flags and DF (SDM Vol. 2B, POPF). */
export const OTHER_FLAGS = 0x24_4100n;
