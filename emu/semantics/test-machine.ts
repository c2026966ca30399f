import { CpuState } from "../cpu/state.ts";
import { Interpreter } from "../interpreter/interpreter.ts";
import { PAGE_SIZE, PROT_EXEC, PROT_READ, PROT_WRITE, WASM_PAGES } from "../layout.ts";
import { AddressSpace } from "../memory/address-space.ts";
import { GuestMemory } from "../memory/guest-memory.ts";

/** Registers that a test sets or expects; vectors in hexadecimal, the highest digit first, short ones zero-extended. */
export interface Registers {
  readonly xmm0?: string;
  readonly xmm1?: string;
  readonly rax?: bigint;
  readonly rcx?: bigint;
  readonly rdx?: bigint;
  /** CF, PF, AF, ZF, SF and OF. */
  readonly flags?: number;
  readonly mxcsr?: number;
  /** Vector of the exception that the instruction ends with. */
  readonly exception?: number;
}

const CODE = 0x40_0000;
const HLT = 0xf4;
const GENERAL = { rax: 0, rcx: 1, rdx: 2 } as const;
const STATUS_FLAGS = 0x8d5n;

/** Runs single instructions from a state that is zero but for what a test says. */
export class TestMachine {
  readonly #memory: GuestMemory;
  readonly #interpreter: Interpreter;
  readonly #cpu: CpuState;

  constructor() {
    const memory = new WebAssembly.Memory({ initial: WASM_PAGES, maximum: WASM_PAGES });
    const space = new AddressSpace(memory);
    space.map({ address: CODE, length: PAGE_SIZE, prot: PROT_READ | PROT_WRITE | PROT_EXEC, fixed: true });
    this.#memory = new GuestMemory(space);
    this.#interpreter = new Interpreter(this.#memory);
    this.#cpu = new CpuState(memory.buffer, 0);
  }

  /** Runs the instruction `bytes` (hexadecimal) and gives what `wanted` names. */
  run(bytes: string, from: Registers, wanted: readonly (keyof Registers)[]): Registers {
    const cpu = this.#cpu;
    const code = Uint8Array.from(bytes.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
    cpu.reset();
    cpu.fuel = 10;
    this.#memory.poke(CODE, Uint8Array.from([...code, HLT]));
    cpu.rip = CODE;
    if (from.mxcsr !== undefined) cpu.mxcsr = from.mxcsr;
    for (const [name, index] of Object.entries(GENERAL)) cpu.gpr[index] = from[name as "rax"] ?? 0n;
    for (const i of [0, 1]) cpu.vector(i).set(bytesOf(from[i === 0 ? "xmm0" : "xmm1"] ?? "0"));
    const stop = this.#interpreter.run(cpu);
    // HLT is privileged: getting to it is the end.
    const vector = stop.kind === "exception" && cpu.rip === CODE ? stop.vector : undefined;
    return Object.fromEntries(wanted.map((name) => [name, this.#value(name, vector)]));
  }

  #value(name: keyof Registers, exception: number | undefined): string | bigint | number | undefined {
    const cpu = this.#cpu;
    if (name === "xmm0" || name === "xmm1") return hexOf(cpu.vector(name === "xmm0" ? 0 : 1).subarray(0, 16));
    if (name === "flags") return Number(cpu.rflags & STATUS_FLAGS);
    if (name === "mxcsr") return cpu.mxcsr;
    if (name === "exception") return exception;
    return cpu.gpr[GENERAL[name]];
  }
}

function bytesOf(hex: string): Uint8Array {
  const digits = hex.padStart(32, "0");
  return Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(digits.slice(30 - 2 * i, 32 - 2 * i), 16));
}

/** Digits of a vector without its leading zeros. */
const hexOf = (bytes: Uint8Array): string =>
  trimmed(
    [...bytes]
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .reverse()
      .join(""),
  );

/** A hexadecimal number without leading zeros. */
export const trimmed = (hex: string): string => hex.replace(/^0+(?=.)/, "");
