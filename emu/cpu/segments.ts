import { Code, Mnemonic } from "iced-x86";
import type { Instruction } from "../decode/instruction.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { VECTOR } from "./exits.ts";
import { GuestOperand, raiseVector } from "./guest-operand.ts";
import { type CpuState, STATE } from "./state.ts";

/** Segment registers and descriptors as 64-bit user mode sees them (SDM Vol. 3A, 3.4 and 5; Vol. 2, each instruction). */

/** Numbers of segment registers in instruction encodings (SDM Vol. 2A, table 2-2; Vol. 2D, B.1.4.3). */
export const SEGMENT_REGISTER = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 } as const;

/** Privilege level of user mode. */
const CPL = 3;

/** A selector's requested privilege level, and what an error code has of a selector (SDM Vol. 3A, 6.13). */
const RPL = 3;
const INDEX = 0xfffc;
/** The selector is of the LDT, of which 64-bit Linux programs have none unless they ask for it (modify_ldt(2)). */
const TABLE_INDICATOR = 4;

/** What a descriptor says (SDM Vol. 3A, figure 3-8). */
export interface Descriptor {
  readonly base: bigint;
  /** Last byte of the segment, the granularity taken into account. */
  readonly limit: number;
  readonly type: number;
  /** Code or data, not a system segment. */
  readonly isUser: boolean;
  readonly level: number;
  readonly present: boolean;
  /** Code of 64-bit mode. */
  readonly is64Bit: boolean;
  /** The access rights as LAR gives them. */
  readonly rights: number;
}

/** Bits of the type of a code or data segment (SDM Vol. 3A, table 3-1). */
const TYPE = { code: 8, conforming: 4, readable: 2, writable: 2 } as const;

function parse(raw: bigint): Descriptor {
  const field = (at: number, bits: number): number => Number((raw >> BigInt(at)) & ((1n << BigInt(bits)) - 1n));
  const limit = field(0, 16) | (field(48, 4) << 16);
  return {
    base: BigInt(field(16, 24) + field(56, 8) * 2 ** 24),
    limit: field(55, 1) === 1 ? limit * 4096 + 4095 : limit,
    type: field(40, 4),
    isUser: field(44, 1) === 1,
    level: field(45, 2),
    present: field(47, 1) === 1,
    is64Bit: field(53, 1) === 1,
    rights: field(32, 32) & 0xff_ff00,
  };
}

/** Is it a null selector? */
export const isNull = (selector: number): boolean => (selector & INDEX) === 0;

/** The descriptor of a selector; undefined outside of the tables. */
export function descriptorOf(table: readonly bigint[], selector: number): Descriptor | undefined {
  const raw = selector & TABLE_INDICATOR ? undefined : table[selector >> 3];
  return raw === undefined ? undefined : parse(raw);
}

const isCode = ({ isUser, type }: Descriptor): boolean => isUser && (type & TYPE.code) !== 0;

/** May user mode load it into DS, ES, FS, GS: data, or code that can be read? */
function isReadable(descriptor: Descriptor, selector: number): boolean {
  const { isUser, type, level } = descriptor;
  if (!isUser) return false;
  if (isCode(descriptor) && !(type & TYPE.readable)) return false;
  if (isCode(descriptor) && type & TYPE.conforming) return true;
  return level >= Math.max(CPL, selector & RPL);
}

const isWritable = (descriptor: Descriptor): boolean => !isCode(descriptor) && (descriptor.type & TYPE.writable) !== 0;

/**
 * Checks a selector that goes into SS (SDM Vol. 2B, MOV; Vol. 2A, IRET).
 * @throws HelperFaultError #GP or #SS with the selector
 */
export function requireStackSegment(table: readonly bigint[], instruction: Instruction, selector: number): void {
  if (isNull(selector)) raiseVector(instruction, VECTOR.GP, 0);
  const descriptor = descriptorOf(table, selector);
  const fits = descriptor?.isUser && isWritable(descriptor) && descriptor.level === CPL && (selector & RPL) === CPL;
  if (!fits) raiseVector(instruction, VECTOR.GP, selector & INDEX);
  if (!descriptor.present) raiseVector(instruction, VECTOR.SS, selector & INDEX);
}

/**
 * Checks a selector that goes into CS.
 * @param returns by RETF or IRET, which go by the selector's RPL: user mode returns to user mode alone
 * @returns whether the code there is 64-bit code
 * @throws HelperFaultError #GP or #NP with the selector
 */
export function requireCodeSegment(
  table: readonly bigint[],
  instruction: Instruction,
  selector: number,
  returns: boolean,
): boolean {
  if (isNull(selector)) raiseVector(instruction, VECTOR.GP, 0);
  const descriptor = descriptorOf(table, selector);
  const allowed = descriptor !== undefined && isCode(descriptor);
  const level =
    descriptor !== undefined &&
    (descriptor.type & TYPE.conforming ? descriptor.level <= CPL : descriptor.level === CPL);
  if (!allowed || !level || (returns && (selector & RPL) !== CPL))
    raiseVector(instruction, VECTOR.GP, selector & INDEX);
  if (!descriptor.present) raiseVector(instruction, VECTOR.NP, selector & INDEX);
  return descriptor.is64Bit;
}

/**
 * Loads a segment register: the selector, and for FS and GS the base, which is zero for a null selector.
 * @param number SEGMENT_REGISTER, other than CS
 * @throws HelperFaultError with no register changed
 */
function load(step: SegmentStep, number: number, selector: number): void {
  const { cpu, table, instruction } = step;
  let base = 0n;
  if (number === SEGMENT_REGISTER.SS) requireStackSegment(table, instruction, selector);
  else if (!isNull(selector)) {
    const descriptor = descriptorOf(table, selector);
    if (descriptor === undefined || !isReadable(descriptor, selector))
      raiseVector(instruction, VECTOR.GP, selector & INDEX);
    if (!descriptor.present) raiseVector(instruction, VECTOR.NP, selector & INDEX);
    base = descriptor.base;
  }
  cpu.setSelector(number, selector);
  if (number === SEGMENT_REGISTER.FS) cpu.fsBase = base;
  else if (number === SEGMENT_REGISTER.GS) cpu.gsBase = base;
}

/** An instruction under way. */
export interface SegmentStep {
  readonly cpu: CpuState;
  readonly memory: GuestMemory;
  readonly instruction: Instruction;
  /** The global descriptor table. */
  readonly table: readonly bigint[];
}

/** The memory operand of an instruction that has one. */
export function memoryOperand({ cpu, memory, instruction }: SegmentStep): GuestOperand {
  if (instruction.memory === undefined) throw new Error("no memory operand");
  return new GuestOperand(cpu, memory, instruction, instruction.memory);
}

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A little-endian number of 2, 4 or 8 bytes. */
export function numberAt(view: DataView, at: number, bytes: number): bigint {
  if (bytes === 2) return BigInt(view.getUint16(at, true));
  return bytes === 4 ? BigInt(view.getUint32(at, true)) : view.getBigUint64(at, true);
}

/** The 16 bits of a register or memory operand. */
function read16(step: SegmentStep, i: number): number {
  const operand = step.instruction.operands[i];
  if (operand.kind === "register") return step.cpu.view.getUint16(operand.offset, true);
  return viewOf(memoryOperand(step).read(2)).getUint16(0, true);
}

/** Writes a general register operand: 32 bits clear the upper half. */
function writeRegister({ cpu, instruction }: SegmentStep, i: number, value: bigint): void {
  const { width, offset } = instruction.operands[i];
  if (width === 16) cpu.view.setUint16(offset, Number(value & 0xffffn), true);
  else cpu.view.setBigUint64(offset, BigInt.asUintN(width, value), true);
}

const setZero = (cpu: CpuState, zero: boolean): void => {
  cpu.rflags = (cpu.rflags & ~0x40n) | (zero ? 0x40n : 0n);
};

/** MOV to a segment register (SDM Vol. 2B, MOV). */
function move(step: SegmentStep): void {
  load(step, step.instruction.operands[0].index, read16(step, 1));
}

/** Under prefix 66; without it 8 bytes are popped. */
const NARROW_POPS = new Set<Code>([Code.Popw_FS, Code.Popw_GS]);

/** POP FS, POP GS (SDM Vol. 2B, POP). Of the stack no more is read than the selector. */
function pop(step: SegmentStep, bytes: number): void {
  const stack = new StackOperand(step);
  load(step, step.instruction.operands[0].index, stack.view(0, 2).getUint16(0, true));
  stack.move(bytes);
}

/** LSS, LFS, LGS (SDM Vol. 2A, LDS/LES/LFS/LGS/LSS). */
function loadFarPointer(step: SegmentStep, number: number): void {
  const bytes = step.instruction.operands[0].width / 8;
  const view = viewOf(memoryOperand(step).read(bytes + 2));
  load(step, number, view.getUint16(bytes, true));
  writeRegister(step, 0, numberAt(view, 0, bytes));
}

/** System segments that LAR and LSL know in 64-bit mode: LDT, TSS free and busy; LAR also call gates. */
const SYSTEM_TYPES = { Lsl: [2, 9, 11], Lar: [2, 9, 11, 12] } as const;

/** Is the segment visible to user mode through this selector? As LAR and LSL ask. */
function isVisible(descriptor: Descriptor, selector: number, systems: readonly number[]): boolean {
  if (!descriptor.isUser && !systems.includes(descriptor.type)) return false;
  if (isCode(descriptor) && descriptor.type & TYPE.conforming) return true;
  return descriptor.level >= Math.max(CPL, selector & RPL);
}

/** LAR, LSL: ZF says whether there is an answer; without one the destination is kept. */
function ask(step: SegmentStep, systems: readonly number[], answer: (descriptor: Descriptor) => number): void {
  const selector = read16(step, 1);
  const descriptor = isNull(selector) ? undefined : descriptorOf(step.table, selector);
  const found = descriptor !== undefined && isVisible(descriptor, selector, systems);
  if (found) writeRegister(step, 0, BigInt(answer(descriptor) >>> 0));
  setZero(step.cpu, found);
}

/** VERR, VERW. */
function verify(step: SegmentStep, writes: boolean): void {
  const selector = read16(step, 0);
  const descriptor = isNull(selector) ? undefined : descriptorOf(step.table, selector);
  const readable = descriptor !== undefined && isReadable(descriptor, selector);
  setZero(step.cpu, readable && (!writes || isWritable(descriptor)));
}

/** The guest's stack, for instructions that read or write several words of it. */
export class StackOperand {
  readonly #step: SegmentStep;
  readonly #operand: GuestOperand;

  constructor(step: SegmentStep) {
    const { cpu, memory, instruction } = step;
    const operand = {
      form: 0,
      segment: 0,
      address32: false,
      base: STATE.gpr + 32,
      index: STATE.zero,
      shift: 0,
      displacement: 0n,
      vectorIndex: 0,
      stackSegment: true,
    };
    this.#step = step;
    this.#operand = new GuestOperand(cpu, memory, { ...instruction, memory: operand }, operand);
  }

  /** Bytes from RSP on. @throws HelperFaultError */
  view(from: number, bytes: number): DataView {
    return viewOf(this.#operand.read(bytes, from));
  }

  /** Stores `bytes` bytes of a number at RSP + `from`. @throws HelperFaultError */
  write(from: number, bytes: number, value: bigint): void {
    const word = new Uint8Array(8);
    new DataView(word.buffer).setBigUint64(0, value, true);
    this.#operand.write(word.subarray(0, bytes), from);
  }

  /** Moves RSP. */
  move(by: number): void {
    const { gpr } = this.#step.cpu;
    gpr[4] = BigInt.asUintN(64, gpr[4] + BigInt(by));
  }
}

const OPERATIONS = new Map<Mnemonic, (step: SegmentStep) => void>([
  [Mnemonic.Mov, move],
  [Mnemonic.Pop, (step) => pop(step, NARROW_POPS.has(step.instruction.code) ? 2 : 8)],
  [Mnemonic.Lss, (step) => loadFarPointer(step, SEGMENT_REGISTER.SS)],
  [Mnemonic.Lfs, (step) => loadFarPointer(step, SEGMENT_REGISTER.FS)],
  [Mnemonic.Lgs, (step) => loadFarPointer(step, SEGMENT_REGISTER.GS)],
  [Mnemonic.Lar, (step) => ask(step, SYSTEM_TYPES.Lar, ({ rights }) => rights)],
  [Mnemonic.Lsl, (step) => ask(step, SYSTEM_TYPES.Lsl, ({ limit }) => limit)],
  [Mnemonic.Verr, (step) => verify(step, false)],
  [Mnemonic.Verw, (step) => verify(step, true)],
]);

/**
 * Carries out an instruction that loads a segment register or asks about a descriptor.
 * @returns false if it is none
 * @throws HelperFaultError with no register changed
 */
export function runSegment(step: SegmentStep): boolean {
  const operation = OPERATIONS.get(step.instruction.mnemonic);
  operation?.(step);
  return operation !== undefined;
}
