import { describe, expect, it } from "vitest";
import { TestMachine } from "./test-machine.ts";

/**
 * Rules of AVX-512 that are easily got wrong; what is expected was taken from a processor (AMD EPYC, Zen 4). Operands are
 * XMM0 and XMM1 before, and MXCSR; results XMM0 and MXCSR after.
 */
type Row = [title: string, bytes: string, before: [string, string, number], after: [string, number]];

const DEFAULT = 0x1f80;
const DAZ = 0x1fc0;
const FTZ = 0x9f80;

const ROWS: Readonly<Record<string, readonly Row[]>> = {
  "VSCALEFSS xmm0, xmm0, xmm1": [
    ["a denormal scale is no denormal operand", "62f27d082dc1", ["3f800000", "1", DEFAULT], ["3f800000", 0x1f80]],
    ["a denormal number is, also with an infinity", "62f27d082dc1", ["1", "7f800000", DEFAULT], ["7f800000", 0x1f82]],
  ],
  "VREDUCESS xmm0, xmm1, xmm1": [
    ["only the difference can be inexact", "62f3750857c100", ["0", "3fd00000", DEFAULT], ["bec00000", 0x1f80]],
    ["it is rounded as the immediate says", "62f3750857c182", ["0", "1", DEFAULT], ["bb7fffff", 0x1fa0]],
    ["a denormal one is no underflow", "62f3750857c180", ["0", "123", FTZ], ["0", 0x9fa0]],
  ],
  "VFIXUPIMMSS xmm0, xmm0, xmm1": [
    ["a NaN is made of a zero where denormals are", "62f37d0855c100", ["800000d6", "200", DAZ], ["ffc00000", DAZ]],
  ],
  "VRANGESS xmm0, xmm0, xmm1": [
    ["a number wins over a quiet NaN", "62f37d0850c100", ["7fc00001", "123", DEFAULT], ["123", 0x1f80]],
    ["as the zero that it may count as", "62f37d0850c100", ["7fc00001", "123", DAZ], ["0", DAZ]],
    ["minus zero is less than zero", "62f37d0850c104", ["0", "80000000", DEFAULT], ["80000000", 0x1f80]],
  ],
  "VADDSS xmm0, xmm0, xmm1 with embedded rounding": [
    ["up, and no flag is set", "62f17e5858c1", ["3f800000", "33000000", DEFAULT], ["3f800001", 0x1f80]],
    ["down", "62f17e3858c1", ["3f800000", "33000000", DEFAULT], ["3f800000", 0x1f80]],
    ["up, whatever MXCSR says", "62f17e5858c1", ["3f800000", "33000000", 0x3f80], ["3f800001", 0x3f80]],
  ],
};

const machine = new TestMachine();

for (const [group, rows] of Object.entries(ROWS)) {
  describe(group, () => {
    it.each(rows)("%s", (_title, bytes, [xmm0, xmm1, mxcsr], [result, flags]) => {
      expect(machine.run(bytes, { xmm0, xmm1, mxcsr }, ["xmm0", "mxcsr"])).toEqual({ xmm0: result, mxcsr: flags });
    });
  });
}
