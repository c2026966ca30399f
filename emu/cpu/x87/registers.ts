import { STATE } from "../state.ts";
import { type Float80, INDEFINITE, readFloat80, writeFloat80 } from "./float80.ts";
import { type Operation, X87_FLAG } from "./operation.ts";

/** Offsets in STATE.x87, which are FXSAVE's (SDM Vol. 1, table 10-2). */
export const X87 = { control: 0, status: 2, tags: 4, opcode: 6, instruction: 8, data: 16, registers: 32 } as const;
/** Bytes of the CPU state that are x87's. */
export const X87_BYTES = 160;
/** Bytes from one register to the next. */
export const SLOT = 16;

/** Condition codes in the status word (SDM Vol. 1, figure 8-4). */
export const CONDITION = { C0: 0x100, C1: 0x200, C2: 0x400, C3: 0x4000 } as const;
const ALL_CONDITIONS = 0x4700;

/** Control word after FNINIT. */
const INITIAL_CONTROL = 0x37f;
/** Bits of the control word that are kept: masks, PC, RC and X; bit 6 reads as 1 (SDM Vol. 1, figure 8-6). */
const CONTROL_BITS = 0x1f7f;

/**
 * The x87 registers of a thread, on a copy: an instruction works on it and hands it back when nothing can fault any
 * more. In the CPU state the registers lie in physical order, R0 first, so that MMX finds MM0–MM7 without looking at
 * TOP; FXSAVE's image has them in the order of the stack (images.ts).
 */
export class X87Registers {
  readonly bytes = new Uint8Array(X87_BYTES);
  readonly #view = new DataView(this.bytes.buffer);

  /** @param state the CPU state's bytes, to begin with; without them all is zero */
  constructor(state?: Uint8Array) {
    if (state !== undefined) this.load(state);
  }

  /** Takes a new copy. */
  load(state: Uint8Array): void {
    this.bytes.set(state.subarray(STATE.x87, STATE.x87 + X87_BYTES));
  }

  /** Puts the copy back. */
  store(state: Uint8Array): void {
    state.set(this.bytes, STATE.x87);
  }

  get control(): number {
    return this.#view.getUint16(X87.control, true);
  }

  /** Also brings ES up to date: a mask that was lifted may make an old exception pending. */
  set control(value: number) {
    this.#view.setUint16(X87.control, (value & CONTROL_BITS) | 0x40, true);
    this.#updateSummary();
  }

  get status(): number {
    return this.#view.getUint16(X87.status, true);
  }

  /** ES and B follow from flags and masks, whatever `value` says. */
  set status(value: number) {
    this.#view.setUint16(X87.status, value, true);
    this.#updateSummary();
  }

  #updateSummary(): void {
    const { status } = this;
    const summary = status & ~this.control & 0x3f ? 0x8080 : 0;
    this.#view.setUint16(X87.status, (status & 0x7f7f) | summary, true);
  }

  /** The abridged tag word: bit i is set if physical register i is not empty. */
  get tags(): number {
    return this.bytes[X87.tags];
  }

  set tags(value: number) {
    this.bytes[X87.tags] = value;
  }

  get top(): number {
    return (this.status >> 11) & 7;
  }

  set top(value: number) {
    this.status = (this.status & ~0x3800) | ((value & 7) << 11);
  }

  /** Opcode and addresses of the last instruction that was not a control instruction, for its exception handler. */
  setLast(opcode: number, instruction: bigint, data: bigint | undefined): void {
    this.#view.setUint16(X87.opcode, opcode, true);
    this.#view.setBigUint64(X87.instruction, instruction, true);
    if (data !== undefined) this.#view.setBigUint64(X87.data, data, true);
  }

  get opcode(): number {
    return this.#view.getUint16(X87.opcode, true);
  }

  get lastInstruction(): bigint {
    return this.#view.getBigUint64(X87.instruction, true);
  }

  get lastData(): bigint {
    return this.#view.getBigUint64(X87.data, true);
  }

  physical(i: number): number {
    return (this.top + i) & 7;
  }

  isEmpty(i: number): boolean {
    return (this.tags & (1 << this.physical(i))) === 0;
  }

  /** ST(i), whatever its tag. */
  get(i: number): Float80 {
    return readFloat80(this.#view, X87.registers + SLOT * this.physical(i));
  }

  /** Writes ST(i), which is then not empty. */
  set(i: number, value: Float80): void {
    const register = this.physical(i);
    writeFloat80(this.#view, X87.registers + SLOT * register, value);
    this.tags |= 1 << register;
  }

  /** Physical register `register`, for images. */
  getPhysical(register: number): Float80 {
    return readFloat80(this.#view, X87.registers + SLOT * register);
  }

  setPhysical(register: number, value: Float80): void {
    writeFloat80(this.#view, X87.registers + SLOT * register, value);
  }

  free(i: number): void {
    this.tags &= ~(1 << this.physical(i));
  }

  push(value: Float80): void {
    this.top--;
    this.set(0, value);
  }

  pop(): void {
    this.free(0);
    this.top++;
  }

  setCondition(bits: number, mask: number = ALL_CONDITIONS): void {
    this.status = (this.status & ~mask) | bits;
  }

  /** Takes over an operation's exceptions, and how it rounded into C1 (SDM Vol. 1, 8.1.3.2). */
  finish(op: Operation): void {
    let { flags } = op;
    // What an unmasked exception before the computation prevents does not happen.
    if (op.aborted) flags &= X87_FLAG.IE | X87_FLAG.DE | X87_FLAG.ZE;
    this.status |= flags;
    this.setCondition(op.roundedUp && !op.aborted ? CONDITION.C1 : 0, CONDITION.C1);
  }

  /**
   * Stack underflow, or overflow (SDM Vol. 1, 8.5.1.1).
   * @returns the indefinite NaN that goes where the result would; undefined if #I is not masked: nothing changes
   */
  stackFault(overflow: boolean): Float80 | undefined {
    this.status |= X87_FLAG.IE | X87_FLAG.SF;
    this.setCondition(overflow ? CONDITION.C1 : 0, CONDITION.C1);
    return this.control & X87_FLAG.IE ? INDEFINITE : undefined;
  }

  /** FNINIT: registers keep their bits. */
  initialize(): void {
    this.control = INITIAL_CONTROL;
    this.status = 0;
    this.tags = 0;
    this.setLast(0, 0n, 0n);
  }
}
