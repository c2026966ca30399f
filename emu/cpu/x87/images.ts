import { classify, type Float80, readFloat80, writeFloat80 } from "./float80.ts";
import { X87, type X87Registers } from "./registers.ts";

/** Images of the x87 state in memory (SDM Vol. 1, 8.1.10 and 10.5.1). */

const REGISTER_BYTES = 10;

/** The two-bit tag of a register that is not empty: valid, zero, special (SDM Vol. 1, figure 8-7). */
function tagOf(value: Float80): number {
  const kind = classify(value);
  return kind === "normal" ? 0 : kind === "zero" ? 1 : 2;
}

function fullTags(registers: X87Registers): number {
  let word = 0;
  for (let i = 0; i < 8; i++) {
    const tag = registers.tags & (1 << i) ? tagOf(registers.getPhysical(i)) : 3;
    word |= tag << (2 * i);
  }
  return word;
}

/** What FNSTENV stores: 28 bytes in the 32-bit format, 14 in the 16-bit one. */
export function storeEnvironment(registers: X87Registers, short: boolean): Uint8Array {
  const bytes = new Uint8Array(short ? 14 : 28);
  const view = new DataView(bytes.buffer);
  const step = short ? 2 : 4;
  const words = [registers.control, registers.status, fullTags(registers)];
  for (const [i, word] of words.entries()) {
    view.setUint16(i * step, word, true);
    // The upper halves are reserved and written as ones.
    if (!short) view.setUint16(i * step + 2, 0xffff, true);
  }
  const instruction = Number(registers.lastInstruction & 0xffff_ffffn);
  const data = Number(registers.lastData & 0xffff_ffffn);
  if (short) {
    view.setUint16(6, instruction & 0xffff, true);
    view.setUint16(10, data & 0xffff, true);
    return bytes;
  }
  view.setUint32(12, instruction, true);
  view.setUint32(16, (registers.opcode & 0x7ff) << 16, true);
  view.setUint32(20, data, true);
  view.setUint32(24, 0xffff_0000, true);
  return bytes;
}

/** FLDENV. */
export function loadEnvironment(registers: X87Registers, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const short = bytes.length === 14 || bytes.length === 94;
  const step = short ? 2 : 4;
  registers.control = view.getUint16(0, true);
  registers.status = view.getUint16(step, true);
  const word = view.getUint16(2 * step, true);
  let tags = 0;
  for (let i = 0; i < 8; i++) if (((word >> (2 * i)) & 3) !== 3) tags |= 1 << i;
  registers.tags = tags;
  if (short) registers.setLast(0, BigInt(view.getUint16(6, true)), BigInt(view.getUint16(10, true)));
  else {
    const opcode = (view.getUint32(16, true) >> 16) & 0x7ff;
    registers.setLast(opcode, BigInt(view.getUint32(12, true)), BigInt(view.getUint32(20, true)));
  }
}

/** FNSAVE's image: the environment and the registers in stack order. */
export function storeState(registers: X87Registers, short: boolean): Uint8Array {
  const environment = storeEnvironment(registers, short);
  const bytes = new Uint8Array(environment.length + 8 * REGISTER_BYTES);
  bytes.set(environment);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 8; i++) writeFloat80(view, environment.length + REGISTER_BYTES * i, registers.get(i));
  return bytes;
}

/** FRSTOR. */
export function loadState(registers: X87Registers, bytes: Uint8Array): void {
  loadEnvironment(registers, bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const start = bytes.length - 8 * REGISTER_BYTES;
  for (let i = 0; i < 8; i++)
    registers.setPhysical(registers.physical(i), readFloat80(view, start + REGISTER_BYTES * i));
}

/** Bytes of x87's part of an FXSAVE image; MXCSR and its mask are bytes 24–31 in the middle of it. */
export const FXSAVE_X87_BYTES = 160;

/**
 * x87's part of the FXSAVE image: bytes 0–23 and 32–159, MXCSR left zero; registers in stack order.
 * @param wide with 64-bit FIP and FDP (REX.W), or 32 bits of each and selectors
 */
export function storeFxsave(registers: X87Registers, wide: boolean): Uint8Array {
  const bytes = new Uint8Array(FXSAVE_X87_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(X87.control, registers.control, true);
  view.setUint16(X87.status, registers.status, true);
  bytes[X87.tags] = registers.tags;
  view.setUint16(X87.opcode, registers.opcode, true);
  const mask = wide ? ~0n : 0xffff_ffffn;
  view.setBigUint64(X87.instruction, registers.lastInstruction & mask, true);
  view.setBigUint64(X87.data, registers.lastData & mask, true);
  for (let i = 0; i < 8; i++) writeFloat80(view, 32 + 16 * i, registers.get(i));
  return bytes;
}

/** Takes over x87's part of an FXSAVE image. */
export function loadFxsave(registers: X87Registers, bytes: Uint8Array, wide: boolean): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  registers.control = view.getUint16(X87.control, true);
  registers.status = view.getUint16(X87.status, true);
  registers.tags = bytes[X87.tags];
  const mask = wide ? ~0n : 0xffff_ffffn;
  const pointer = (offset: number): bigint => view.getBigUint64(offset, true) & mask;
  registers.setLast(view.getUint16(X87.opcode, true) & 0x7ff, pointer(X87.instruction), pointer(X87.data));
  for (let i = 0; i < 8; i++) registers.setPhysical(registers.physical(i), readFloat80(view, 32 + 16 * i));
}
