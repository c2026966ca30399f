import { Register } from "iced-x86";
import { STATE, VECTOR_STRIDE } from "../cpu/state.ts";

/** Kinds of architectural registers an operand can name. */
export type RegisterClass = "gpr" | "vector" | "mmx" | "x87" | "opmask" | "segment" | "other";

export interface RegisterInfo {
  readonly kind: RegisterClass;
  /** Number within its class; 0–3 for AH–BH. */
  readonly index: number;
  /** Width in bits. */
  readonly width: number;
  /** Byte offset in the CPU state; high-byte registers lie at byte 1 of theirs. */
  readonly offset: number;
}

const table: (RegisterInfo | undefined)[] = [];

function range(first: number, count: number, width: number, kind: RegisterClass, offset: (i: number) => number): void {
  for (let index = 0; index < count; index++) table[first + index] = { kind, index, width, offset: offset(index) };
}

const gpr = (i: number): number => STATE.gpr + i * 8;
const vector = (i: number): number => STATE.vector + i * VECTOR_STRIDE;
// iced numbers AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8L…
range(Register.AL, 4, 8, "gpr", gpr);
range(Register.AH, 4, 8, "gpr", (i) => gpr(i) + 1);
for (let index = 4; index < 16; index++) {
  table[Register.SPL + index - 4] = { kind: "gpr", index, width: 8, offset: gpr(index) };
}
range(Register.AX, 16, 16, "gpr", gpr);
range(Register.EAX, 16, 32, "gpr", gpr);
range(Register.RAX, 16, 64, "gpr", gpr);
range(Register.XMM0, 32, 128, "vector", vector);
range(Register.YMM0, 32, 256, "vector", vector);
range(Register.ZMM0, 32, 512, "vector", vector);
range(Register.K0, 8, 64, "opmask", (i) => STATE.opmask + i * 8);
// MMi in 16-byte slots. ST(i) is relative to TOP: its offset holds where TOP is 0 only, its number counts.
range(Register.MM0, 8, 64, "mmx", (i) => STATE.x87 + 32 + i * 16);
range(Register.ST0, 8, 80, "x87", (i) => STATE.x87 + 32 + i * 16);
range(Register.ES, 6, 16, "segment", (i) => STATE.selectors + i * 2);
table[Register.RIP] = { kind: "other", index: 0, width: 64, offset: STATE.rip };
table[Register.EIP] = { kind: "other", index: 0, width: 32, offset: STATE.rip };

/** What is known of an iced register; undefined for those user mode has no use of (CR, DR, BND, TR, …). */
export function registerInfo(register: Register): RegisterInfo | undefined {
  return table[register];
}
