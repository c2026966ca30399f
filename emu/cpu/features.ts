/**
 * CPU features that goemu can report, by their names in /proc/cpuinfo (arch/x86/include/asm/cpufeatures.h), and where
 * CPUID has them (SDM Vol. 2A, CPUID, tables 3-8 ff.): leaf, subleaf, register, bit.
 */
export type CpuidRegister = "eax" | "ebx" | "ecx" | "edx";

export interface FeatureBit {
  readonly leaf: number;
  /** Undefined for leaves that have none. */
  readonly subleaf: number | undefined;
  readonly register: CpuidRegister;
  readonly bit: number;
}

const bits = (
  leaf: number,
  register: CpuidRegister,
  names: Record<string, number>,
  subleaf?: number,
): [string, FeatureBit][] => Object.entries(names).map(([name, bit]) => [name, { leaf, subleaf, register, bit }]);

export const FEATURES: ReadonlyMap<string, FeatureBit> = new Map([
  ...bits(1, "edx", {
    fpu: 0,
    tsc: 4,
    cx8: 8,
    cmov: 15,
    clflush: 19,
    mmx: 23,
    fxsr: 24,
    sse: 25,
    sse2: 26,
  }),
  ...bits(1, "ecx", {
    pni: 0,
    pclmulqdq: 1,
    ssse3: 9,
    fma: 12,
    cx16: 13,
    sse4_1: 19,
    sse4_2: 20,
    movbe: 22,
    popcnt: 23,
    aes: 25,
    xsave: 26,
    osxsave: 27,
    avx: 28,
    f16c: 29,
    rdrand: 30,
  }),
  ...bits(
    7,
    "ebx",
    {
      fsgsbase: 0,
      bmi1: 3,
      avx2: 5,
      bmi2: 8,
      erms: 9,
      avx512f: 16,
      avx512dq: 17,
      rdseed: 18,
      adx: 19,
      avx512ifma: 21,
      clflushopt: 23,
      clwb: 24,
      avx512cd: 28,
      sha_ni: 29,
      avx512bw: 30,
      avx512vl: 31,
    },
    0,
  ),
  ...bits(
    7,
    "ecx",
    {
      avx512vbmi: 1,
      avx512_vbmi2: 6,
      gfni: 8,
      vaes: 9,
      vpclmulqdq: 10,
      avx512_vnni: 11,
      avx512_bitalg: 12,
      avx512_vpopcntdq: 14,
      rdpid: 22,
    },
    0,
  ),
  ...bits(7, "edx", { fsrm: 4, avx512_vp2intersect: 8 }, 0),
  ...bits(7, "eax", { avx_vnni: 4, avx512_bf16: 5 }, 1),
  ...bits(0xd, "eax", { xsaveopt: 0, xsavec: 1, xgetbv1: 2 }, 1),
  ...bits(0x8000_0001, "ecx", { lahf_lm: 0, abm: 5, "3dnowprefetch": 8 }),
  ...bits(0x8000_0001, "edx", { syscall: 11, nx: 20, rdtscp: 27, lm: 29 }),
]);

const V1 = ["fpu", "tsc", "cx8", "cmov", "clflush", "mmx", "fxsr", "sse", "sse2", "syscall", "nx", "lm", "rdtscp"];
const V2 = [...V1, "pni", "ssse3", "cx16", "sse4_1", "sse4_2", "popcnt", "lahf_lm"];
const V3 = [
  ...V2,
  "fma",
  "movbe",
  "xsave",
  "osxsave",
  "avx",
  "f16c",
  "bmi1",
  "avx2",
  "bmi2",
  "abm",
  "pclmulqdq",
  "aes",
  "sha_ni",
  "adx",
  "rdrand",
  "rdseed",
  "fsgsbase",
  "rdpid",
  "erms",
  "clflushopt",
  "clwb",
  "3dnowprefetch",
  "gfni",
  "vaes",
  "vpclmulqdq",
  "avx_vnni",
  "xsaveopt",
  "xsavec",
  "xgetbv1",
];
const V4 = [
  ...V3,
  "avx512f",
  "avx512cd",
  "avx512bw",
  "avx512dq",
  "avx512vl",
  "avx512ifma",
  "avx512vbmi",
  "avx512_vbmi2",
  "avx512_vnni",
  "avx512_bitalg",
  "avx512_vpopcntdq",
  "avx512_vp2intersect",
  "avx512_bf16",
];

/** Microarchitecture levels of the x86-64 psABI, each with what usually comes along on such processors. */
export const LEVELS: Readonly<Record<string, readonly string[]>> = {
  "x86-64-v1": V1,
  "x86-64-v2": V2,
  "x86-64-v3": V3,
  "x86-64-v4": V4,
};

/** The lowest level that has all of these features; undefined if none has. */
export const levelWith = (features: readonly string[]): string | undefined =>
  Object.keys(LEVELS).find((level) => features.every((feature) => LEVELS[level].includes(feature)));

/** What CPUID reports if nothing else is asked for. AVX-512 is there for programs that need it, and slower than AVX2. */
export const DEFAULT_LEVEL = "x86-64-v3";

/** A `--cpu` value that names no CPU. */
export class CpuModelError extends Error {}

/**
 * Parses "x86-64-v2", "x86-64-v3,-avx2", "-aes" or "+fma": a level (default DEFAULT_LEVEL) and features added or
 * taken away.
 * @throws CpuModelError for an unknown level or feature
 */
export function parseCpuModel(text: string | undefined): Set<string> {
  const features = new Set(LEVELS[DEFAULT_LEVEL]);
  for (const part of (text ?? "").split(",").filter((piece) => piece !== "")) {
    const name = part.slice(1);
    if (part in LEVELS) {
      features.clear();
      for (const feature of LEVELS[part]) features.add(feature);
    } else if (/^[-+]/.test(part) && FEATURES.has(name)) {
      if (part[0] === "-") features.delete(name);
      else features.add(name);
    } else {
      const known = `${Object.keys(LEVELS).join(", ")}, or -FEATURE such as -sse4_2`;
      throw new CpuModelError(`unknown CPU "${part}" (use ${known})`);
    }
  }
  return features;
}

export const VENDOR = "GenuineIntel";
export const BRAND = "goemu x86-64 virtual CPU";
