import { Code, Mnemonic } from "iced-x86";
import type { Instruction } from "../decode/instruction.ts";
import { VECTOR } from "./exits.ts";
import { HelperFaultError, raiseVector } from "./guest-operand.ts";
import {
  memoryOperand,
  numberAt,
  requireCodeSegment,
  requireStackSegment,
  SEGMENT_REGISTER,
  type SegmentStep,
  StackOperand,
  viewOf,
} from "./segments.ts";
import { OTHER_FLAGS, REG } from "./state.ts";

/**
 * Far transfers of control and IRET, from 64-bit user code to the same (SDM Vol. 2A, JMP, CALL, IRET; Vol. 2B, RET). Their
 * checks, and what has been stored by then, are in the order in which Intel's processors have them.
 */

/** A place to go to, as far pointers and the stack have it. */
interface Target {
  readonly selector: number;
  readonly rip: bigint;
}

/** NT, which IRET does not take in 64-bit mode. */
const NESTED_TASK = 0x4000n;
/** What IRET and POPF change in user mode: the status flags, DF, and with 32 or 64 bits AC and ID too. */
const STATUS_FLAGS = 0xcd5n;

/** @throws HelperFaultError */
function requireCode(step: SegmentStep, selector: number, returns: boolean): void {
  if (requireCodeSegment(step.table, step.instruction, selector, returns)) return;
  // Compatibility mode, which goemu does not have.
  throw new HelperFaultError({ kind: "undefined", instruction: step.instruction });
}

function requireCanonical({ instruction }: SegmentStep, address: bigint): void {
  if (BigInt.asUintN(64, BigInt.asIntN(48, address)) !== address) raiseVector(instruction, VECTOR.GP, 0);
}

/** A far pointer in memory: the offset, of operand size, and the selector. */
function farPointer(step: SegmentStep): { target: Target; bytes: number } {
  const bytes = step.instruction.operands[0].width / 8 - 2;
  const view = viewOf(memoryOperand(step).read(bytes + 2));
  return { target: { selector: view.getUint16(bytes, true), rip: numberAt(view, 0, bytes) }, bytes };
}

function jump(step: SegmentStep): bigint {
  const { target } = farPointer(step);
  requireCode(step, target.selector, false);
  requireCanonical(step, target.rip);
  return target.rip;
}

function call(step: SegmentStep): bigint {
  const { cpu, instruction } = step;
  const { target, bytes } = farPointer(step);
  requireCode(step, target.selector, false);
  const stack = new StackOperand(step);
  stack.write(-bytes, bytes, BigInt(cpu.selector(SEGMENT_REGISTER.CS)));
  stack.write(-2 * bytes, bytes, BigInt(instruction.address + instruction.length));
  requireCanonical(step, target.rip);
  stack.move(-2 * bytes);
  return target.rip;
}

/** Operand sizes in bytes of the instructions that name no operand to tell them. */
const SIZES = new Map<Code, number>([
  [Code.Retfw, 2],
  [Code.Retfd, 4],
  [Code.Retfq, 8],
  [Code.Retfw_imm16, 2],
  [Code.Retfd_imm16, 4],
  [Code.Retfq_imm16, 8],
  [Code.Iretw, 2],
  [Code.Iretd, 4],
  [Code.Iretq, 8],
]);

const sizeOf = ({ instruction }: SegmentStep): number => {
  const size = SIZES.get(instruction.code);
  if (size === undefined) throw new Error(`no operand size of code ${instruction.code}`);
  return size;
};

function returnFar(step: SegmentStep): bigint {
  const bytes = sizeOf(step);
  const stack = new StackOperand(step);
  const selector = stack.view(bytes, bytes).getUint16(0, true);
  const rip = numberAt(stack.view(0, bytes), 0, bytes);
  requireCode(step, selector, true);
  requireCanonical(step, rip);
  const [released] = step.instruction.operands;
  stack.move(2 * bytes + Number((released?.value ?? 0n) & 0xffffn));
  return rip;
}

/** IRET in 64-bit mode takes RSP and SS from the stack, whatever the privilege level. */
function returnFromInterrupt(step: SegmentStep): bigint {
  const { cpu, instruction, table } = step;
  if (cpu.rflags & NESTED_TASK) raiseVector(instruction, VECTOR.GP, 0);
  const bytes = sizeOf(step);
  const stack = new StackOperand(step);
  const word = (i: number): bigint => numberAt(stack.view(i * bytes, bytes), 0, bytes);
  const [flags, code, rip] = [word(2), word(1), word(0)];
  requireCode(step, Number(code & 0xffffn), true);
  const [rsp, data] = [word(3), word(4)];
  requireStackSegment(table, instruction, Number(data & 0xffffn));
  requireCanonical(step, rip);
  // An image of 16 bits says nothing about AC and ID.
  const changed = STATUS_FLAGS | (bytes === 2 ? OTHER_FLAGS & 0xffffn : OTHER_FLAGS);
  cpu.rflags = (cpu.rflags & ~changed) | (flags & changed);
  cpu.gpr[REG.RSP] = rsp;
  return rip;
}

const OPERATIONS = new Map<Mnemonic, (step: SegmentStep) => bigint>([
  [Mnemonic.Jmp, jump],
  [Mnemonic.Call, call],
  [Mnemonic.Retf, returnFar],
  [Mnemonic.Iret, returnFromInterrupt],
  [Mnemonic.Iretd, returnFromInterrupt],
  [Mnemonic.Iretq, returnFromInterrupt],
]);

/** Is it one of these, JMP and CALL being the far ones, when TypeScript carries it out? */
export const isFar = ({ mnemonic }: Instruction): boolean => OPERATIONS.has(mnemonic);

/**
 * Carries out a far transfer or an interrupt return.
 * @returns where it goes; undefined if it is none
 * @throws HelperFaultError with no register changed
 */
export function runFarTransfer(step: SegmentStep): bigint | undefined {
  return OPERATIONS.get(step.instruction.mnemonic)?.(step);
}
