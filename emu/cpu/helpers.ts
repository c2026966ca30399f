import { Mnemonic } from "iced-x86";
import type { Instruction } from "../decode/instruction.ts";
import type { GuestMemory } from "../memory/guest-memory.ts";
import { VECTOR } from "./exits.ts";
import { isFar, runFarTransfer } from "./far-transfers.ts";
import { BRAND, FEATURES, VENDOR } from "./features.ts";
import { type HelperFault, HelperFaultError } from "./guest-operand.ts";
import { runSegment } from "./segments.ts";
import { type CpuState, REG } from "./state.ts";
import { runX87 } from "./x87/execute.ts";
import { compactedBytes, componentsInUse, EXTENDED_COMPONENTS, runSave, xcr0Of, xsaveBytes } from "./xsave.ts";

/** What the helpers need from the world: all of it non-deterministic, so all of it injected. */
export interface CpuEnvironment {
  readonly features: ReadonlySet<string>;
  readonly cpus: number;
  /** The global descriptor table, 8 bytes an entry (SDM Vol. 3A, 3.5.1). */
  readonly descriptors: readonly bigint[];
  randomBytes(bytes: Uint8Array): void;
}

/** Highest leaves that CPUID answers. */
const MAX_LEAF = 0xd;
const MAX_LEAF_7 = 1;
/** EBX of leaf 7: FCS and FDS are not kept, images of the x87 state have zero for them (SDM Vol. 1, 8.1.8). */
const SELECTORS_DEPRECATED = 1 << 13;
const MAX_EXTENDED = 0x8000_0008;
/** Family 6, model 0x9e, stepping 9: a plain desktop part, as the version information needs one. */
const VERSION = 0x0009_06e9;
const xcr0 = (env: CpuEnvironment): number => xcr0Of(env.features);

interface Leaf {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

const ascii = (text: string, at: number): number =>
  [0, 1, 2, 3].reduce((word, i) => word | ((text.charCodeAt(at + i) || 0) << (8 * i)), 0);

/** CPUID's answer (SDM Vol. 2A, CPUID). Only what is in `features` is reported. */
export function cpuid(env: CpuEnvironment, leaf: number, subleaf: number): Leaf {
  const answer: Leaf = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  for (const [name, bit] of FEATURES) {
    const here = bit.leaf === leaf && (bit.subleaf === undefined || bit.subleaf === subleaf);
    if (here && env.features.has(name)) answer[bit.register] |= 1 << bit.bit;
  }
  // EAX of leaf 7 also says how many subleaves there are.
  if (leaf === 7 && subleaf === 0) {
    answer.eax = MAX_LEAF_7;
    answer.ebx |= SELECTORS_DEPRECATED;
  }
  if (leaf === 0) return { eax: MAX_LEAF, ebx: ascii(VENDOR, 0), edx: ascii(VENDOR, 4), ecx: ascii(VENDOR, 8) };
  if (leaf === 1) {
    answer.eax = VERSION;
    // CLFLUSH line of 8 × 8 bytes, number of logical processors.
    answer.ebx = (8 << 8) | (Math.min(env.cpus, 255) << 16);
  } else if (leaf === 0xd && env.features.has("xsave")) {
    const enabled = xcr0(env);
    const bytes = xsaveBytes(enabled);
    if (subleaf === 0) return { eax: enabled, ebx: bytes, ecx: bytes, edx: 0 };
    if (subleaf === 1 && answer.eax !== 0) answer.ebx = compactedBytes(enabled);
    const component = EXTENDED_COMPONENTS.find(({ number, bit }) => number === subleaf && enabled & bit);
    if (component !== undefined) return { eax: component.size, ebx: component.offset, ecx: 0, edx: 0 };
  } else if (leaf === 0x8000_0000) answer.eax = MAX_EXTENDED;
  else if (leaf >= 0x8000_0002 && leaf <= 0x8000_0004) {
    const at = (leaf - 0x8000_0002) * 16;
    const [eax, ebx, ecx, edx] = [0, 4, 8, 12].map((offset) => ascii(BRAND, at + offset));
    return { eax, ebx, ecx, edx };
  } else if (leaf === 0x8000_0008) answer.eax = 0x302f;
  return answer;
}

type Helper = (cpu: CpuState, env: CpuEnvironment, instruction: Instruction) => boolean;

const set32 = (cpu: CpuState, register: number, value: number): void => {
  cpu.gpr[register] = BigInt(value >>> 0);
};

const setPair = (cpu: CpuState, value: bigint): void => {
  cpu.gpr[REG.RAX] = value & 0xffff_ffffn;
  cpu.gpr[REG.RDX] = (value >> 32n) & 0xffff_ffffn;
};

/** RDRAND and RDSEED: CF says that a number came, the other status flags are cleared. */
const random: Helper = (cpu, env, instruction) => {
  const { width, offset } = instruction.operands[0];
  const bytes = new Uint8Array(8);
  env.randomBytes(bytes.subarray(0, width / 8));
  cpu.u8.set(bytes.subarray(0, width === 32 ? 8 : width / 8), offset);
  cpu.rflags = (cpu.rflags & ~0x8d5n) | 1n;
  return true;
};

const HELPERS = new Map<Mnemonic, Helper>([
  [
    Mnemonic.Cpuid,
    (cpu, env) => {
      const answer = cpuid(env, Number(cpu.gpr[REG.RAX] & 0xffff_ffffn), Number(cpu.gpr[REG.RCX] & 0xffff_ffffn));
      set32(cpu, REG.RAX, answer.eax);
      set32(cpu, REG.RBX, answer.ebx);
      set32(cpu, REG.RCX, answer.ecx);
      set32(cpu, REG.RDX, answer.edx);
      return true;
    },
  ],
  [
    Mnemonic.Xgetbv,
    (cpu, env) => {
      const index = cpu.gpr[REG.RCX] & 0xffff_ffffn;
      if (index > (env.features.has("xgetbv1") ? 1n : 0n)) return false;
      setPair(cpu, BigInt(index === 0n ? xcr0(env) : xcr0(env) & componentsInUse(cpu)));
      return true;
    },
  ],
  [Mnemonic.Rdrand, random],
  [Mnemonic.Rdseed, random],
  [
    Mnemonic.Rdpid,
    (cpu, _env, instruction) => {
      cpu.view.setBigUint64(instruction.operands[0].offset, 0n, true);
      return true;
    },
  ],
]);

/**
 * Carries out an instruction that leaves to TypeScript, and moves RIP past it.
 * @returns the fault that it ended with instead, nothing having changed; RIP is at the instruction
 */
export function runHelper(
  cpu: CpuState,
  env: CpuEnvironment,
  memory: GuestMemory,
  instruction: Instruction,
): HelperFault | undefined {
  let next = BigInt(instruction.address + instruction.length);
  const step = { cpu, memory, instruction, table: env.descriptors };
  try {
    const helper = HELPERS.get(instruction.mnemonic);
    if (helper !== undefined) {
      if (!helper(cpu, env, instruction)) return { kind: "exception", vector: VECTOR.GP, next };
    } else if (isFar(instruction)) next = runFarTransfer(step) ?? next;
    else if (!runSegment(step) && !runX87(cpu, memory, instruction) && !runSave(cpu, memory, instruction, xcr0(env))) {
      throw new Error(`no helper for mnemonic ${instruction.mnemonic}`);
    }
  } catch (error) {
    if (error instanceof HelperFaultError) return error.fault;
    throw error;
  }
  cpu.rip64 = next;
  return undefined;
}
