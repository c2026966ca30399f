import { Code, Decoder, DecoderOptions, OpAccess, OpKind, Register } from "iced-x86";
import { PROT_EXEC } from "../../emu/layout.ts";
import type { Machine } from "../../syscalls/machine.ts";
import type { GoLayout } from "./layout.ts";

/** Where the runtime's lists are (Go runtime/runtime2.go, proc.go). */
export interface RuntimeAddresses {
  /** runtime.sched. */
  readonly sched: number | undefined;
  /** Slice header of runtime.allgs. */
  readonly allgs: number | undefined;
  /** Slice headers that may be runtime.allp, likeliest first; before Go 1.10 the array itself. */
  readonly allp: readonly number[];
}

/** sched.maxmcount as schedinit sets it. */
const MAX_M_COUNT = 10_000;

interface Reference {
  readonly address: number;
  readonly writes: boolean;
  /** The immediate that the instruction stores, if it does. */
  readonly immediate: number | undefined;
}

/**
 * Finds the runtime's global variables: by .symtab, or in a stripped executable by the operands of the functions that
 * set them up, which the Go function table names.
 */
export function findAddresses(machine: Machine, layout: GoLayout): RuntimeAddresses {
  const { symbols } = machine;
  const allp = symbols.symbolAddress("runtime.allp");
  return {
    sched: symbols.symbolAddress("runtime.sched") ?? schedFromCode(machine, layout),
    allgs: symbols.symbolAddress("runtime.allgs") ?? sliceCandidates(machine, "runtime.allgadd")[0],
    allp: allp !== undefined ? [allp] : allpFromCode(machine, layout),
  };
}

function schedFromCode(machine: Machine, layout: GoLayout): number | undefined {
  const store = references(machine, "runtime.schedinit").find(({ immediate }) => immediate === MAX_M_COUNT);
  const offset = layout.offsets["sched.maxmcount"];
  return store === undefined || offset === undefined ? undefined : store.address - offset;
}

/** Addresses of which a function uses the word itself and the two after it: slice headers, in order of use. */
function sliceCandidates(machine: Machine, name: string): number[] {
  const all = references(machine, name);
  const used = new Set(all.map(({ address }) => address));
  const written = new Set(all.filter(({ writes }) => writes).map(({ address }) => address));
  const isSlice = (address: number): boolean =>
    used.has(address + 8) && used.has(address + 16) && written.has(address + 8);
  return [...used].filter((address) => isSlice(address));
}

function allpFromCode(machine: Machine, layout: GoLayout): number[] {
  const slices = sliceCandidates(machine, "runtime.procresize");
  if (layout.minor >= 10) return slices;
  // An array of pointers, then: procresize takes its address.
  return [...new Set(references(machine, "runtime.procresize").map(({ address }) => address))];
}

/** The global addresses that a function's instructions name, in order. */
function references(machine: Machine, name: string): Reference[] {
  const func = machine.symbols.byName(name);
  if (func === undefined) return [];
  const { memory } = machine;
  const length = memory.accessible(func.address, func.size, PROT_EXEC);
  const decoder = new Decoder(64, memory.readBytes(func.address, length), DecoderOptions.None);
  decoder.ip = BigInt(func.address);
  const found: Reference[] = [];
  while (decoder.canDecode) {
    const instruction = decoder.decode();
    for (let i = 0; i < instruction.opCount; i++) {
      if (instruction.opKind(i) !== OpKind.Memory) continue;
      const isAbsolute = instruction.memoryBase === Register.None && instruction.memoryIndex === Register.None;
      if (!isAbsolute && !instruction.isIpRelMemoryOperand) continue;
      const address = Number(
        instruction.isIpRelMemoryOperand ? instruction.ipRelMemoryAddress : instruction.memoryDisplacement,
      );
      const isStore = instruction.code === Code.Mov_rm32_imm32;
      const access = instruction.opKind(0) === OpKind.Memory ? OpAccess.Write : OpAccess.Read;
      const immediate = isStore ? instruction.immediate32 : undefined;
      found.push({ address, writes: i === 0 && access === OpAccess.Write, immediate });
    }
    instruction.free();
  }
  decoder.free();
  return found;
}

/** Functions of assembly that load g from thread-local storage (Go runtime/asm_amd64.s, get_tls). */
const LOADERS_OF_G = ["runtime.systemstack", "gogo", "runtime.gogo", "runtime.morestack", "runtime.mcall"];
/** Where the linker of Go itself puts g (Go cmd/link/internal/ld/sym.go). */
const DEFAULT_TLS_OFFSET = -8;

/**
 * Where g lies from FS's base on: -8, unless another linker has laid out thread-local storage (cgo). Then code has the
 * offset as a constant, or in a word of the global offset table, whose address is given instead.
 */
export function findTlsSlot(machine: Machine): { readonly offset: number } | { readonly word: number } {
  for (const name of LOADERS_OF_G) {
    const func = machine.symbols.byName(name);
    const found = func === undefined ? undefined : tlsAccess(machine, func.address, func.size);
    if (found !== undefined) return found;
  }
  return { offset: DEFAULT_TLS_OFFSET };
}

function tlsAccess(machine: Machine, address: number, size: number): { offset: number } | { word: number } | undefined {
  const { memory } = machine;
  const length = memory.accessible(address, size, PROT_EXEC);
  const decoder = new Decoder(64, memory.readBytes(address, length), DecoderOptions.None);
  decoder.ip = BigInt(address);
  /** What registers hold that the offset may be in. */
  const loaded = new Map<Register, { offset: number } | { word: number }>();
  let found: { offset: number } | { word: number } | undefined;
  while (found === undefined && decoder.canDecode) {
    const instruction = decoder.decode();
    const hasMemory =
      instruction.opCount > 1 && (instruction.op0Kind === OpKind.Memory || instruction.op1Kind === OpKind.Memory);
    if (hasMemory && instruction.memorySegment === Register.FS) {
      const displacement = Number(BigInt.asIntN(64, instruction.memoryDisplacement));
      const base = instruction.memoryBase;
      found = base === Register.None ? { offset: displacement } : loaded.get(base);
    } else if (instruction.op0Kind === OpKind.Register) {
      if (instruction.code === Code.Mov_rm64_imm32) {
        loaded.set(instruction.op0Register, { offset: Number(BigInt.asIntN(64, instruction.immediate(1))) });
      } else if (instruction.code === Code.Mov_r64_rm64 && instruction.isIpRelMemoryOperand) {
        loaded.set(instruction.op0Register, { word: Number(instruction.ipRelMemoryAddress) });
      } else loaded.delete(instruction.op0Register);
    }
    instruction.free();
  }
  decoder.free();
  return found;
}
