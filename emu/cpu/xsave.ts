import { Mnemonic } from "iced-x86";
import type { Instruction } from "../decode/instruction.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { VECTOR } from "./exits.ts";
import { GuestOperand, raiseVector } from "./guest-operand.ts";
import { type CpuState, MXCSR_DEFAULT, REG } from "./state.ts";
import { FXSAVE_X87_BYTES, loadFxsave, storeFxsave } from "./x87/images.ts";
import { X87Registers } from "./x87/registers.ts";

/** FXSAVE, FXRSTOR and the XSAVE family (SDM Vol. 1, 10.5 and chapter 13; Vol. 2, each). */

/** State components: bits of XCR0, XSTATE_BV and XCOMP_BV (SDM Vol. 1, 13.1). */
export const COMPONENT = { x87: 1, sse: 2, avx: 4 } as const;

/** Places in the legacy region, of the header, and of the upper halves of YMM0–15 (SDM Vol. 1, tables 10-2, 13.4). */
const AREA = { mxcsr: 24, mxcsrMask: 28, registers: 32, xmm: 160, xmmEnd: 416, header: 512, ymm: 576 } as const;
const HEADER_BYTES = 64;
/** Size of the area with all components; standard and compacted format are alike (SDM Vol. 1, 13.4.2 and 13.4.3). */
export const XSAVE_BYTES = 832;
/** MXCSR bits that exist. */
const MXCSR_MASK = 0xffff;
const COMPACTED = 1n << 63n;

/** An instruction of the family under way. */
interface SaveStep {
  readonly cpu: CpuState;
  readonly instruction: Instruction;
  readonly memory: GuestOperand;
  /** REX.W: 64-bit instruction and data pointers. */
  readonly wide: boolean;
  /** Components that the processor has enabled. */
  readonly xcr0: number;
}

/** Components that are not in their initial configuration: XINUSE (SDM Vol. 1, 13.6). */
export function componentsInUse(cpu: CpuState): number {
  const initial = initialX87();
  let used = 0;
  if (storeFxsave(new X87Registers(cpu.u8), true).some((byte, i) => byte !== initial[i])) used |= COMPONENT.x87;
  for (let i = 0; i < 16; i++) {
    const vector = cpu.vector(i);
    if (vector.subarray(0, 16).some((byte) => byte !== 0)) used |= COMPONENT.sse;
    if (vector.subarray(16, 32).some((byte) => byte !== 0)) used |= COMPONENT.avx;
  }
  return used;
}

function mxcsrBytes(cpu: CpuState): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, cpu.mxcsr, true);
  view.setUint32(4, MXCSR_MASK, true);
  return bytes;
}

/** Lower (0) or upper (16) halves of YMM0–YMM15, one after another. */
function halves(cpu: CpuState, from: 0 | 16): Uint8Array {
  const bytes = new Uint8Array(256);
  for (let i = 0; i < 16; i++) bytes.set(cpu.vector(i).subarray(from, from + 16), i * 16);
  return bytes;
}

function setHalves(cpu: CpuState, from: 0 | 16, bytes: Uint8Array): void {
  for (let i = 0; i < 16; i++) cpu.vector(i).set(bytes.subarray(i * 16, i * 16 + 16), from);
}

function fxsave({ cpu, memory, wide }: SaveStep): void {
  memory.requireAligned(16n);
  const image = new Uint8Array(AREA.xmmEnd);
  image.set(storeFxsave(new X87Registers(cpu.u8), wide));
  image.set(mxcsrBytes(cpu), AREA.mxcsr);
  image.set(halves(cpu, 0), AREA.xmm);
  memory.write(image);
}

/** #GP if a value sets MXCSR bits that do not exist. */
function requireMxcsr(instruction: Instruction, value: number): void {
  if (value & ~MXCSR_MASK) raiseVector(instruction, VECTOR.GP);
}

function fxrstor({ cpu, memory, wide, instruction }: SaveStep): void {
  memory.requireAligned(16n);
  const image = memory.read(512);
  const mxcsr = new DataView(image.buffer).getUint32(AREA.mxcsr, true);
  requireMxcsr(instruction, mxcsr);
  restoreX87(cpu, image, wide);
  cpu.mxcsr = mxcsr;
  setHalves(cpu, 0, image.subarray(AREA.xmm, AREA.xmmEnd));
}

function restoreX87(cpu: CpuState, image: Uint8Array, wide: boolean): void {
  const registers = new X87Registers(cpu.u8);
  loadFxsave(registers, image, wide);
  registers.store(cpu.u8);
}

/** EDX:EAX and XCR0: what is asked for (RFBM). */
const requested = ({ cpu, xcr0 }: SaveStep): number => Number(cpu.gpr[REG.RAX] & 0xffn) & xcr0;

interface SaveForm {
  /** Components in their initial configuration are not written. */
  readonly optimized: boolean;
  readonly compacted: boolean;
}

function xsave(step: SaveStep, { optimized, compacted }: SaveForm): void {
  const { cpu, memory, wide } = step;
  memory.requireAligned(64n);
  const wanted = requested(step);
  let used = componentsInUse(cpu);
  if (compacted && cpu.mxcsr !== MXCSR_DEFAULT) used |= COMPONENT.sse;
  const written = optimized ? wanted & used : wanted;
  const header = memory.read(HEADER_BYTES, AREA.header);
  const view = new DataView(header.buffer);
  if (compacted) {
    view.setBigUint64(0, BigInt(wanted & used), true);
    view.setBigUint64(8, BigInt(wanted) | COMPACTED, true);
    header.fill(0, 16);
  } else {
    const old = view.getBigUint64(0, true);
    view.setBigUint64(0, (old & ~BigInt(wanted)) | BigInt(wanted & used), true);
  }
  // The header first: if the area can't be written, this faults before anything else is stored.
  memory.write(header, AREA.header);
  if (written & COMPONENT.x87) {
    const image = storeFxsave(new X87Registers(cpu.u8), wide);
    memory.write(image.subarray(0, AREA.mxcsr));
    memory.write(image.subarray(AREA.registers), AREA.registers);
  }
  const withMxcsr = compacted ? written & COMPONENT.sse : wanted & (COMPONENT.sse | COMPONENT.avx);
  if (withMxcsr) memory.write(mxcsrBytes(cpu), AREA.mxcsr);
  if (written & COMPONENT.sse) memory.write(halves(cpu, 0), AREA.xmm);
  if (written & COMPONENT.avx) memory.write(halves(cpu, 16), AREA.ymm);
}

/** #GP unless the header is one that XRSTOR takes (SDM Vol. 1, 13.8). */
function requireHeader({ instruction, xcr0 }: SaveStep, header: Uint8Array): { present: number; compacted: boolean } {
  const view = new DataView(header.buffer);
  const present = view.getBigUint64(0, true);
  const layout = view.getBigUint64(8, true);
  const compacted = (layout & COMPACTED) !== 0n;
  const known = compacted ? layout & ~COMPACTED : BigInt(xcr0);
  const unknown = (present & ~known) | (known & ~BigInt(xcr0)) | (compacted ? 0n : layout);
  const reserved = header.subarray(16, compacted ? HEADER_BYTES : 24).some((byte) => byte !== 0);
  if (unknown !== 0n || reserved) raiseVector(instruction, VECTOR.GP);
  return { present: Number(present), compacted };
}

function xrstor(step: SaveStep): void {
  const { cpu, memory, wide, instruction } = step;
  memory.requireAligned(64n);
  const wanted = requested(step);
  const { present, compacted } = requireHeader(step, memory.read(HEADER_BYTES, AREA.header));
  const loads = wanted & present;
  const legacy = memory.read(AREA.xmmEnd);
  const upper = loads & COMPONENT.avx ? memory.read(256, AREA.ymm) : new Uint8Array(256);
  const stored = new DataView(legacy.buffer).getUint32(AREA.mxcsr, true);
  const inComponent = compacted && (wanted & COMPONENT.sse) !== 0;
  const always = !compacted && (wanted & (COMPONENT.sse | COMPONENT.avx)) !== 0;
  if (always || (inComponent && loads & COMPONENT.sse)) {
    requireMxcsr(instruction, stored);
    cpu.mxcsr = stored;
  } else if (inComponent) cpu.mxcsr = MXCSR_DEFAULT;
  if (wanted & COMPONENT.x87) restoreX87(cpu, loads & COMPONENT.x87 ? legacy : initialX87(), wide);
  if (wanted & COMPONENT.sse) {
    setHalves(cpu, 0, loads & COMPONENT.sse ? legacy.subarray(AREA.xmm) : new Uint8Array(256));
  }
  if (wanted & COMPONENT.avx) setHalves(cpu, 16, upper);
}

/** x87's initial configuration (SDM Vol. 1, 13.6). */
export function initialX87(): Uint8Array {
  const image = new Uint8Array(FXSAVE_X87_BYTES);
  new DataView(image.buffer).setUint16(0, 0x37f, true);
  return image;
}

const OPERATIONS = new Map<Mnemonic, { run: (step: SaveStep) => void; wide: boolean }>();
for (const [narrow, wide, run] of [
  [Mnemonic.Fxsave, Mnemonic.Fxsave64, fxsave],
  [Mnemonic.Fxrstor, Mnemonic.Fxrstor64, fxrstor],
  [Mnemonic.Xsave, Mnemonic.Xsave64, (step: SaveStep) => xsave(step, { optimized: false, compacted: false })],
  [Mnemonic.Xsaveopt, Mnemonic.Xsaveopt64, (step: SaveStep) => xsave(step, { optimized: true, compacted: false })],
  [Mnemonic.Xsavec, Mnemonic.Xsavec64, (step: SaveStep) => xsave(step, { optimized: true, compacted: true })],
  [Mnemonic.Xrstor, Mnemonic.Xrstor64, xrstor],
] as const) {
  OPERATIONS.set(narrow, { run, wide: false });
  OPERATIONS.set(wide, { run, wide: true });
}

/** Names of the instructions. */
export const saveMnemonics = (): string[] => [...OPERATIONS.keys()].map((mnemonic) => Mnemonic[mnemonic]);

/**
 * Carries out FXSAVE, FXRSTOR, XSAVE, XSAVEC, XSAVEOPT or XRSTOR.
 * @param xcr0 enabled state components
 * @returns false if it is none of them
 * @throws HelperFaultError with no register changed
 */
export function runSave(cpu: CpuState, guest: GuestMemory, instruction: Instruction, xcr0: number): boolean {
  const operation = OPERATIONS.get(instruction.mnemonic);
  if (operation === undefined || instruction.memory === undefined) return false;
  const memory = new GuestOperand(cpu, guest, instruction, instruction.memory);
  operation.run({ cpu, instruction, memory, wide: operation.wide, xcr0 });
  return true;
}
