import { describe, expect, it } from "vitest";
import { LEVELS } from "./features.ts";
import { type CpuEnvironment, cpuid } from "./helpers.ts";
import { compactedBytes, EXTENDED_COMPONENTS, xcr0Of, xsaveBytes } from "./xsave.ts";

const environment = (level: string): CpuEnvironment => ({
  features: new Set(LEVELS[level]),
  cpus: 1,
  descriptors: [],
  randomBytes: () => {},
});

describe("the XSAVE area", () => {
  it("has the components of the level, and CPUID says the same", () => {
    for (const [level, xcr0, bytes, compacted] of [
      ["x86-64-v3", 7, 832, 832],
      ["x86-64-v4", 0xe7, 2688, 2432],
    ] as const) {
      const env = environment(level);
      expect(xcr0Of(env.features)).toBe(xcr0);
      expect([xsaveBytes(xcr0), compactedBytes(xcr0)]).toEqual([bytes, compacted]);
      expect(cpuid(env, 0xd, 0)).toEqual({ eax: xcr0, ebx: bytes, ecx: bytes, edx: 0 });
      expect(cpuid(env, 0xd, 1).ebx).toBe(compacted);
    }
  });

  it("has components side by side, of the size of what they hold", () => {
    const env = environment("x86-64-v4");
    for (const { number, offset, size, bit } of EXTENDED_COMPONENTS) {
      expect(bit).toBe(1 << number);
      expect(cpuid(env, 0xd, number)).toEqual({ eax: size, ebx: offset, ecx: 0, edx: 0 });
    }
    const ends = EXTENDED_COMPONENTS.map(({ offset, size }) => offset + size);
    for (const [i, { offset }] of EXTENDED_COMPONENTS.slice(1).entries())
      expect(offset).toBeGreaterThanOrEqual(ends[i]);
  });

  it("has no AVX-512 components at lower levels", () => {
    const env = environment("x86-64-v3");
    for (const number of [5, 6, 7]) expect(cpuid(env, 0xd, number).eax).toBe(0);
  });
});

describe("AVX-512 in CPUID", () => {
  it("is there with x86-64-v4 alone", () => {
    expect(cpuid(environment("x86-64-v4"), 7, 0).ebx & (1 << 16)).not.toBe(0);
    expect(cpuid(environment("x86-64-v3"), 7, 0).ebx & (1 << 16)).toBe(0);
  });
});
