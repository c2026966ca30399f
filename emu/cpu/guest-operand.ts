import type { Instruction } from "../decode/instruction.ts";
import { type MemoryOperand, SEGMENT } from "../decode/instruction.ts";
import { PROT_READ, PROT_WRITE, TASK_SIZE } from "../layout.ts";
import { GuestFault, type GuestMemory } from "../memory/guest-memory.ts";
import { VECTOR } from "./exits.ts";
import type { CpuState } from "./state.ts";

/** Why an instruction that TypeScript carries out did not complete; as Stop in interpreter.ts. */
export type HelperFault =
  | { kind: "fault"; address: bigint; access: number }
  | { kind: "exception"; vector: number; next: bigint; error?: number }
  /** goemu does not have what the instruction would do. */
  | { kind: "undefined"; instruction: Instruction };

/** Thrown to end an instruction with a fault; registers must be as before it. */
export class HelperFaultError extends Error {
  readonly fault: HelperFault;

  constructor(fault: HelperFault) {
    super(fault.kind);
    this.fault = fault;
  }
}

/** Ends the instruction with a CPU exception. @throws HelperFaultError */
export function raiseVector(instruction: Instruction, vector: number, error = 0): never {
  const next = BigInt(instruction.address + instruction.length);
  throw new HelperFaultError({ kind: "exception", vector, next, error });
}

/** The memory operand of an instruction that TypeScript carries out. */
export class GuestOperand {
  readonly #memory: GuestMemory;
  readonly #instruction: Instruction;
  /** Offset part of the address: what FDP keeps. */
  readonly offset: bigint;
  /** Linear address. */
  readonly address: bigint;

  constructor(cpu: CpuState, memory: GuestMemory, instruction: Instruction, operand: MemoryOperand) {
    this.#memory = memory;
    this.#instruction = instruction;
    const register = (offset: number): bigint => cpu.view.getBigUint64(offset, true);
    const sum = register(operand.base) + (register(operand.index) << BigInt(operand.shift)) + operand.displacement;
    this.offset = BigInt.asUintN(operand.address32 ? 32 : 64, sum);
    const base = operand.segment === SEGMENT.fs ? cpu.fsBase : operand.segment === SEGMENT.gs ? cpu.gsBase : 0n;
    this.address = BigInt.asUintN(64, this.offset + base);
  }

  /** @throws HelperFaultError */
  read(length: number, from = 0): Uint8Array {
    const address = this.#checked(length, from, PROT_READ);
    return this.#guarded(PROT_READ, () => this.#memory.readBytes(address, length));
  }

  /**
   * As `read` and `write`, for images of many parts: of them the first and the last byte are checked before the rest,
   * so that one whose end can't be reached faults with the address of its last byte.
   * @throws HelperFaultError
   */
  readImage(length: number): Uint8Array {
    this.#requireEnds(length, PROT_READ);
    return this.read(length);
  }

  /** @throws HelperFaultError before anything is written */
  writeImage(bytes: Uint8Array): void {
    this.#requireEnds(bytes.length, PROT_WRITE);
    this.write(bytes);
  }

  #requireEnds(length: number, access: number): void {
    const address = this.#checked(length, 0, access);
    for (const at of [address, address + length - 1]) this.#guarded(access, () => this.#memory.physical(at, access));
  }

  /** @throws HelperFaultError before anything is written */
  write(bytes: Uint8Array, from = 0): void {
    const address = this.#checked(bytes.length, from, PROT_WRITE);
    this.#guarded(PROT_WRITE, () => this.#memory.writeBytes(address, bytes));
  }

  /** Faults as a write of `length` bytes would. @throws HelperFaultError */
  requireWritable(length: number): void {
    const address = this.#checked(length, 0, PROT_WRITE);
    this.#guarded(PROT_WRITE, () => this.#memory.pieces(address, length, PROT_WRITE));
  }

  /** #GP unless the address is a multiple of `bytes`. @throws HelperFaultError */
  requireAligned(bytes: bigint): void {
    if (this.address % bytes !== 0n) raiseVector(this.#instruction, VECTOR.GP);
  }

  #checked(length: number, from: number, access: number): number {
    const address = BigInt.asUintN(64, this.address + BigInt(from));
    const last = BigInt.asUintN(64, address + BigInt(length - 1));
    const canonical = (value: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, value)) === value;
    if (!canonical(address) || !canonical(last)) {
      const { memory } = this.#instruction;
      const stack = memory?.stackSegment && memory.segment === SEGMENT.none;
      raiseVector(this.#instruction, stack ? VECTOR.SS : VECTOR.GP);
    }
    if (address >= BigInt(TASK_SIZE)) throw new HelperFaultError({ kind: "fault", address, access });
    return Number(address);
  }

  #guarded<T>(access: number, body: () => T): T {
    try {
      return body();
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
      throw new HelperFaultError({ kind: "fault", address: BigInt(error.address), access });
    }
  }
}
