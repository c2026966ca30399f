import { Mnemonic } from "iced-x86";
import type { Instruction } from "../decode/instruction.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { VECTOR } from "./exits.ts";
import { GuestOperand, raiseVector } from "./guest-operand.ts";
import { type CpuState, MXCSR_DEFAULT, REG, STATE } from "./state.ts";
import { FXSAVE_X87_BYTES, loadFxsave, storeFxsave } from "./x87/images.ts";
import { X87Registers } from "./x87/registers.ts";

/** FXSAVE, FXRSTOR and the XSAVE family (SDM Vol. 1, 10.5 and chapter 13; Vol. 2, each). */

/** State components: bits of XCR0, XSTATE_BV and XCOMP_BV (SDM Vol. 1, 13.1). */
export const COMPONENT = { x87: 1, sse: 2, avx: 4, opmask: 0x20, zmmHi256: 0x40, hi16Zmm: 0x80 } as const;
const { avx: AVX, opmask: OPMASK, zmmHi256: ZMM_HI256, hi16Zmm: HI16_ZMM } = COMPONENT;

/** Places in the legacy region, and of the header and what follows it (SDM Vol. 1, tables 10-2, 13.4). */
const AREA = { mxcsr: 24, mxcsrMask: 28, registers: 32, xmm: 160, xmmEnd: 416, header: 512, extended: 576 } as const;
const HEADER_BYTES = 64;
/** MXCSR bits that exist. */
const MXCSR_MASK = 0xffff;
const COMPACTED = 1n << 63n;

/** State components that processors with a set of features enable: XCR0 (SDM Vol. 1, 13.3). */
export function xcr0Of(features: ReadonlySet<string>): number {
  if (features.has("avx512f")) return 7 | OPMASK | ZMM_HI256 | HI16_ZMM;
  return features.has("avx") ? 7 : 3;
}

/** A state component of the extended region. */
export interface ExtendedComponent {
  readonly bit: number;
  /** Number in CPUID's leaf 0xd. */
  readonly number: number;
  /** Place in the standard format, where Intel's processors have it. */
  readonly offset: number;
  readonly size: number;
  /** The parts of the CPU state that it is made of, one after another. */
  readonly parts: (cpu: CpuState) => Uint8Array[];
}

const vectorParts =
  (first: number, from: number, to: number) =>
  (cpu: CpuState): Uint8Array[] =>
    Array.from({ length: 16 }, (_, i) => cpu.vector(first + i).subarray(from, to));

/** In the order of the area. */
export const EXTENDED_COMPONENTS: readonly ExtendedComponent[] = [
  { bit: AVX, number: 2, offset: AREA.extended, size: 256, parts: vectorParts(0, 16, 32) },
  {
    bit: OPMASK,
    number: 5,
    offset: 1088,
    size: 64,
    parts: (cpu) => [cpu.u8.subarray(STATE.opmask, STATE.opmask + 64)],
  },
  { bit: ZMM_HI256, number: 6, offset: 1152, size: 512, parts: vectorParts(0, 32, 64) },
  { bit: HI16_ZMM, number: 7, offset: 1664, size: 1024, parts: vectorParts(16, 0, 64) },
];

/** A component's bytes as they are in the area. */
export function componentBytes(cpu: CpuState, { size, parts }: ExtendedComponent): Uint8Array {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts(cpu)) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** @param bytes the component's, or undefined for its initial configuration, which is zero */
export function setComponent(cpu: CpuState, { parts }: ExtendedComponent, bytes: Uint8Array | undefined): void {
  let at = 0;
  for (const part of parts(cpu)) {
    if (bytes === undefined) part.fill(0);
    else part.set(bytes.subarray(at, at + part.length));
    at += part.length;
  }
}

/** Size in bytes of the area in the standard format with these components (SDM Vol. 1, 13.4.2). */
export function xsaveBytes(components: number): number {
  const last = EXTENDED_COMPONENTS.findLast(({ bit }) => components & bit);
  return last === undefined ? AREA.extended : last.offset + last.size;
}

/** The same in the compacted format: each component right behind the one before (SDM Vol. 1, 13.4.3). */
export function compactedBytes(components: number): number {
  return EXTENDED_COMPONENTS.reduce<number>(
    (sum, { bit, size }) => (components & bit ? sum + size : sum),
    AREA.extended,
  );
}

/** Where a component is. @param layout components of the area in the compacted format; undefined for the standard one */
function placeOf({ bit, offset }: ExtendedComponent, layout: number | undefined): number {
  return layout === undefined ? offset : compactedBytes(layout & (bit - 1));
}

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
    if (cpu.vector(i).subarray(0, 16).some(isSet)) used |= COMPONENT.sse;
  }
  for (const { bit, parts } of EXTENDED_COMPONENTS) if (parts(cpu).some((part) => part.some(isSet))) used |= bit;
  return used;
}

const isSet = (byte: number): boolean => byte !== 0;

function mxcsrBytes(cpu: CpuState): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, cpu.mxcsr, true);
  view.setUint32(4, MXCSR_MASK, true);
  return bytes;
}

/** XMM0–XMM15, one after another. */
function xmmBytes(cpu: CpuState): Uint8Array {
  const bytes = new Uint8Array(256);
  for (let i = 0; i < 16; i++) bytes.set(cpu.vector(i).subarray(0, 16), i * 16);
  return bytes;
}

function setXmm(cpu: CpuState, bytes: Uint8Array): void {
  for (let i = 0; i < 16; i++) cpu.vector(i).set(bytes.subarray(i * 16, i * 16 + 16));
}

function fxsave({ cpu, memory, wide }: SaveStep): void {
  memory.requireAligned(16n);
  const image = new Uint8Array(AREA.xmmEnd);
  image.set(storeFxsave(new X87Registers(cpu.u8), wide));
  image.set(mxcsrBytes(cpu), AREA.mxcsr);
  image.set(xmmBytes(cpu), AREA.xmm);
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
  setXmm(cpu, image.subarray(AREA.xmm, AREA.xmmEnd));
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
  if (written & COMPONENT.sse) memory.write(xmmBytes(cpu), AREA.xmm);
  const layout = compacted ? wanted : undefined;
  for (const component of EXTENDED_COMPONENTS) {
    if (written & component.bit) memory.write(componentBytes(cpu, component), placeOf(component, layout));
  }
}

/** #GP unless the header is one that XRSTOR takes (SDM Vol. 1, 13.8). */
function requireHeader({ instruction, xcr0 }: SaveStep, header: Uint8Array): { present: number; layout?: number } {
  const view = new DataView(header.buffer);
  const present = view.getBigUint64(0, true);
  const layout = view.getBigUint64(8, true);
  const compacted = (layout & COMPACTED) !== 0n;
  const known = compacted ? layout & ~COMPACTED : BigInt(xcr0);
  const unknown = (present & ~known) | (known & ~BigInt(xcr0)) | (compacted ? 0n : layout);
  const reserved = header.subarray(16, compacted ? HEADER_BYTES : 24).some((byte) => byte !== 0);
  if (unknown !== 0n || reserved) raiseVector(instruction, VECTOR.GP);
  return { present: Number(present), layout: compacted ? Number(known) : undefined };
}

function xrstor(step: SaveStep): void {
  const { cpu, memory, wide, instruction } = step;
  memory.requireAligned(64n);
  const wanted = requested(step);
  const { present, layout } = requireHeader(step, memory.read(HEADER_BYTES, AREA.header));
  const compacted = layout !== undefined;
  const loads = wanted & present;
  const legacy = memory.read(AREA.xmmEnd);
  const extended = EXTENDED_COMPONENTS.filter(({ bit }) => wanted & bit).map((component) => ({
    component,
    bytes: loads & component.bit ? memory.read(component.size, placeOf(component, layout)) : undefined,
  }));
  const stored = new DataView(legacy.buffer).getUint32(AREA.mxcsr, true);
  const inComponent = compacted && (wanted & COMPONENT.sse) !== 0;
  const always = !compacted && (wanted & (COMPONENT.sse | COMPONENT.avx)) !== 0;
  if (always || (inComponent && loads & COMPONENT.sse)) {
    requireMxcsr(instruction, stored);
    cpu.mxcsr = stored;
  } else if (inComponent) cpu.mxcsr = MXCSR_DEFAULT;
  if (wanted & COMPONENT.x87) restoreX87(cpu, loads & COMPONENT.x87 ? legacy : initialX87(), wide);
  if (wanted & COMPONENT.sse) {
    setXmm(cpu, loads & COMPONENT.sse ? legacy.subarray(AREA.xmm) : new Uint8Array(256));
  }
  for (const { component, bytes } of extended) setComponent(cpu, component, bytes);
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
