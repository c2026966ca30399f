import { Code, CpuidFeature, Instruction } from "iced-x86";

/** What every x86-64 processor has, or ignores, or refuses by itself as privileged (psABI, x86-64-v1; SDM Vol. 2). */
const ALWAYS: ReadonlySet<string> = new Set([
  ...["INTEL8086", "INTEL186", "INTEL286", "INTEL386", "INTEL486", "X64", "CMOV", "CX8", "SYSCALL", "SEP"],
  ...["FPU", "FPU287", "FPU387", "MMX", "SSE", "SSE2", "FXSR", "CLFSH", "CPUID", "TSC", "MSR", "RDPMC"],
  // No-operations on processors that do not know them.
  ...["PAUSE", "MULTIBYTENOP", "PREFETCHW", "PREFETCHWT1", "PREFETCHITI", "CLDEMOTE", "CET_IBT"],
]);

/** Names in /proc/cpuinfo (features.ts) where they are not iced's in lower case. */
const NAMES: Readonly<Record<string, string>> = {
  SSE3: "pni",
  SSE4_1: "sse4_1",
  SSE4_2: "sse4_2",
  CMPXCHG16B: "cx16",
  PCLMULQDQ: "pclmulqdq",
  SHA: "sha_ni",
  LZCNT: "abm",
  AVX512_VBMI: "avx512vbmi",
  AVX512_IFMA: "avx512ifma",
};

/**
 * LZCNT and TZCNT are BSR and BSF with an ignored prefix on processors without them: never #UD. Compilers rely on it
 * for TZCNT.
 */
const ENCODED_AS_OTHERS: ReadonlySet<Code> = new Set([
  Code.Lzcnt_r16_rm16,
  Code.Lzcnt_r32_rm32,
  Code.Lzcnt_r64_rm64,
  Code.Tzcnt_r16_rm16,
  Code.Tzcnt_r32_rm32,
  Code.Tzcnt_r64_rm64,
]);

/** Names of the features that an instruction needs beyond x86-64-v1 (features.ts). */
export function neededBy(code: Code): string[] {
  if (ENCODED_AS_OTHERS.has(code)) return [];
  const probe = new Instruction();
  probe.code = code;
  const names = [...probe.cpuidFeatures()].map((feature) => CpuidFeature[feature]);
  probe.free();
  return names.filter((name) => !ALWAYS.has(name)).map((name) => NAMES[name] ?? name.toLowerCase());
}

/**
 * Which instructions a processor with these features has: the others raise #UD (SDM Vol. 2, "Exceptions" of each).
 * @param features names as in /proc/cpuinfo (features.ts)
 */
export function instructionsWith(features: ReadonlySet<string>): (code: Code) => boolean {
  const known: (boolean | undefined)[] = [];
  return (code) => (known[code] ??= neededBy(code).every((name) => features.has(name)));
}
