import { Code } from "iced-x86";
import { describe, expect, it } from "vitest";
import { LEVELS } from "./features.ts";
import { instructionsWith } from "./instruction-features.ts";

const level = (name: string): ((code: Code) => boolean) => instructionsWith(new Set(LEVELS[name]));

describe("instructions by CPU features", () => {
  it("has the base set at every level", () => {
    for (const name of Object.keys(LEVELS)) {
      for (const code of [
        Code.Add_rm64_r64,
        Code.Addsd_xmm_xmmm64,
        Code.Syscall,
        Code.Endbr64,
        Code.Fld1,
        Code.Pause,
      ]) {
        expect(level(name)(code)).toBe(true);
      }
    }
  });

  it("adds SSE4.2 and CMPXCHG16B with v2, AVX2 and FMA with v3", () => {
    for (const code of [
      Code.Pcmpgtq_xmm_xmmm128,
      Code.Cmpxchg16b_m128,
      Code.Pshufb_xmm_xmmm128,
      Code.Popcnt_r64_rm64,
    ]) {
      expect(level("x86-64-v1")(code)).toBe(false);
      expect(level("x86-64-v2")(code)).toBe(true);
    }
    for (const code of [
      Code.VEX_Vpaddd_ymm_ymm_ymmm256,
      Code.VEX_Vfmadd231sd_xmm_xmm_xmmm64,
      Code.VEX_Mulx_r64_r64_rm64,
    ]) {
      expect(level("x86-64-v2")(code)).toBe(false);
      expect(level("x86-64-v3")(code)).toBe(true);
    }
  });

  it("asks for every feature of an instruction that needs several", () => {
    const code = Code.VEX_Vaesenc_xmm_xmm_xmmm128;
    expect(instructionsWith(new Set(["aes"]))(code)).toBe(false);
    expect(instructionsWith(new Set(["avx"]))(code)).toBe(false);
    expect(instructionsWith(new Set(["aes", "avx"]))(code)).toBe(true);
  });

  it("has no EVEX instruction without AVX-512", () => {
    expect(level("x86-64-v3")(Code.EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er)).toBe(false);
    expect(instructionsWith(new Set(["avx512f"]))(Code.EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er)).toBe(true);
    expect(instructionsWith(new Set(["avx512f"]))(Code.EVEX_Vaddps_xmm_k1z_xmm_xmmm128b32)).toBe(false);
  });

  it("keeps LZCNT and TZCNT, which older processors run as BSR and BSF", () => {
    expect(level("x86-64-v1")(Code.Tzcnt_r64_rm64)).toBe(true);
    expect(level("x86-64-v1")(Code.VEX_Andn_r32_r32_rm32)).toBe(false);
  });
});
