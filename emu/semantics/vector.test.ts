import { describe, expect, it } from "vitest";
import { MXCSR_DEFAULT } from "../cpu/state.ts";
import { type Registers, TestMachine, trimmed } from "./test-machine.ts";

/**
 * Rules that are easily got wrong, one instruction each. What is expected was taken from a processor (AMD EPYC, Zen 5);
 * registers not named are unchanged.
 */
type Row = [title: string, instruction: string, bytes: string, from: Registers, after: Registers];

const ROWS: Readonly<Record<string, readonly Row[]>> = {
  "NaN operands and invalid operations": [
    [
      "a signaling first operand wins and becomes quiet",
      "addsd xmm0,xmm1",
      "f20f58c1",
      { xmm0: "7ff0000000000001", xmm1: "fff8000000000abc" },
      { xmm0: "7ff8000000000001", mxcsr: 0x1f81 },
    ],
    [
      "a quiet second operand is the result",
      "addsd xmm0,xmm1",
      "f20f58c1",
      { xmm0: "3ff0000000000000", xmm1: "fff8000000000abc" },
      { xmm0: "fff8000000000abc" },
    ],
    [
      "the first of two quiet NaNs",
      "mulsd xmm0,xmm1",
      "f20f59c1",
      { xmm0: "7ff8000000000001", xmm1: "fff8000000000abc" },
      {},
    ],
    [
      "0 / 0 is the default NaN, which is negative",
      "divsd xmm0,xmm1",
      "f20f5ec1",
      {},
      { xmm0: "fff8000000000000", mxcsr: 0x1f81 },
    ],
    [
      "infinity less infinity",
      "subsd xmm0,xmm1",
      "f20f5cc1",
      { xmm0: "7ff0000000000000", xmm1: "7ff0000000000000" },
      { xmm0: "fff8000000000000", mxcsr: 0x1f81 },
    ],
    [
      "the root of a negative number",
      "sqrtsd xmm0,xmm1",
      "f20f51c1",
      { xmm1: "bff0000000000000" },
      { xmm0: "fff8000000000000", mxcsr: 0x1f81 },
    ],
    [
      "single precision",
      "addss xmm0,xmm1",
      "f30f58c1",
      { xmm0: "7f800001", xmm1: "ffc00abc" },
      { xmm0: "000000007fc00001", mxcsr: 0x1f81 },
    ],
    [
      "1 / 0",
      "divsd xmm0,xmm1",
      "f20f5ec1",
      { xmm0: "3ff0000000000000", xmm1: "8000000000000000" },
      { xmm0: "fff0000000000000", mxcsr: 0x1f84 },
    ],
    [
      "a denormal operand divided by zero is no denormal operand",
      "divsd xmm0,xmm1",
      "f20f5ec1",
      { xmm0: "0000000000000001" },
      { xmm0: "7ff0000000000000", mxcsr: 0x1f84 },
    ],
    [
      "MIN of a NaN and a number is the second operand",
      "minsd xmm0,xmm1",
      "f20f5dc1",
      { xmm0: "fff8000000000abc", xmm1: "3ff0000000000000" },
      { xmm0: "3ff0000000000000", mxcsr: 0x1f81 },
    ],
    [
      "MIN of a number and a NaN too, unchanged",
      "minsd xmm0,xmm1",
      "f20f5dc1",
      { xmm0: "3ff0000000000000", xmm1: "7ff0000000000001" },
      { xmm0: "7ff0000000000001", mxcsr: 0x1f81 },
    ],
    [
      "MAX of two zeros is the second",
      "maxsd xmm0,xmm1",
      "f20f5fc1",
      { xmm1: "8000000000000000" },
      { xmm0: "8000000000000000" },
    ],
  ],
  "rounding and its exceptions": [
    [
      "to nearest, ties to even",
      "addsd xmm0,xmm1",
      "f20f58c1",
      { xmm0: "3ff0000000000000", xmm1: "3ca0000000000000" },
      { mxcsr: 0x1fa0 },
    ],
    [
      "up",
      "addsd xmm0,xmm1",
      "f20f58c1",
      { xmm0: "3ff0000000000000", xmm1: "3ca0000000000000", mxcsr: 0x5f80 },
      { xmm0: "3ff0000000000001", mxcsr: 0x5fa0 },
    ],
    [
      "down, of a negative sum",
      "subsd xmm0,xmm1",
      "f20f5cc1",
      { xmm0: "bff0000000000000", xmm1: "3ca0000000000000", mxcsr: 0x3f80 },
      { xmm0: "bff0000000000001", mxcsr: 0x3fa0 },
    ],
    [
      "towards zero",
      "subsd xmm0,xmm1",
      "f20f5cc1",
      { xmm0: "3ff0000000000000", xmm1: "3ca0000000000000", mxcsr: 0x7f80 },
      { xmm0: "3fefffffffffffff" },
    ],
    [
      "x - x rounded down is -0",
      "subsd xmm0,xmm1",
      "f20f5cc1",
      { xmm0: "3ff0000000000000", xmm1: "3ff0000000000000", mxcsr: 0x3f80 },
      { xmm0: "8000000000000000" },
    ],
    [
      "overflow to infinity",
      "addsd xmm0,xmm1",
      "f20f58c1",
      { xmm0: "7fefffffffffffff", xmm1: "7fefffffffffffff" },
      { xmm0: "7ff0000000000000", mxcsr: 0x1fa8 },
    ],
    [
      "overflow towards zero is the largest number",
      "addsd xmm0,xmm1",
      "f20f58c1",
      { xmm0: "7fefffffffffffff", xmm1: "7fefffffffffffff", mxcsr: 0x7f80 },
      { mxcsr: 0x7fa8 },
    ],
    [
      "an exact denormal result is no underflow",
      "mulsd xmm0,xmm1",
      "f20f59c1",
      { xmm0: "0010000000000000", xmm1: "3fe0000000000000" },
      { xmm0: "0008000000000000" },
    ],
    [
      "an inexact one is",
      "mulsd xmm0,xmm1",
      "f20f59c1",
      { xmm0: "0010000000000001", xmm1: "3fe0000000000000" },
      { xmm0: "0008000000000000", mxcsr: 0x1fb0 },
    ],
    [
      "so is one that is normal only after rounding to the denormal range",
      "mulsd xmm0,xmm1",
      "f20f59c1",
      { xmm0: "001fffffffffffff", xmm1: "3fe0000000000000" },
      { xmm0: "0010000000000000", mxcsr: 0x1fb0 },
    ],
    [
      "FTZ makes it zero",
      "mulsd xmm0,xmm1",
      "f20f59c1",
      { xmm0: "8010000000000001", xmm1: "3fe0000000000000", mxcsr: 0x9f80 },
      { xmm0: "8000000000000000", mxcsr: 0x9fb0 },
    ],
    [
      "a denormal operand",
      "addsd xmm0,xmm1",
      "f20f58c1",
      { xmm0: "0000000000000001", xmm1: "3ff0000000000000" },
      { xmm0: "3ff0000000000000", mxcsr: 0x1fa2 },
    ],
    [
      "DAZ makes it zero and does not tell",
      "addsd xmm0,xmm1",
      "f20f58c1",
      { xmm0: "0000000000000001", mxcsr: 0x1fc0 },
      { xmm0: "0000000000000000" },
    ],
    [
      "the usual state, PE set: the same result",
      "divsd xmm0,xmm1",
      "f20f5ec1",
      { xmm0: "3ff0000000000000", xmm1: "4008000000000000", mxcsr: 0x1fa0 },
      { xmm0: "3fd5555555555555" },
    ],
    [
      "a root rounded up",
      "sqrtsd xmm0,xmm1",
      "f20f51c1",
      { xmm1: "4000000000000000", mxcsr: 0x5f80 },
      { xmm0: "3ff6a09e667f3bcd", mxcsr: 0x5fa0 },
    ],
    [
      "an unmasked exception leaves the destination alone",
      "divsd xmm0,xmm1",
      "f20f5ec1",
      { xmm0: "3ff0000000000000", mxcsr: 0x1d80 },
      { mxcsr: 0x1d84, exception: 19 },
    ],
  ],
  conversions: [
    [
      "too large for 32 bits",
      "cvttsd2si eax,xmm1",
      "f20f2cc1",
      { xmm1: "41e0000000000000" },
      { rax: 0x80000000n, mxcsr: 0x1f81 },
    ],
    ["-2^31 just fits", "cvttsd2si eax,xmm1", "f20f2cc1", { xmm1: "c1e0000000000000" }, { rax: 0x80000000n }],
    [
      "a NaN",
      "cvttsd2si rax,xmm1",
      "f2480f2cc1",
      { xmm1: "fff8000000000abc" },
      { rax: 0x8000000000000000n, mxcsr: 0x1f81 },
    ],
    [
      "2^63 does not fit 64 bits",
      "cvttss2si rax,xmm1",
      "f3480f2cc1",
      { xmm1: "5f000000" },
      { rax: 0x8000000000000000n, mxcsr: 0x1f81 },
    ],
    ["2.5 to nearest", "cvtsd2si eax,xmm1", "f20f2dc1", { xmm1: "4004000000000000" }, { rax: 0x2n, mxcsr: 0x1fa0 }],
    [
      "2.5 up",
      "cvtsd2si eax,xmm1",
      "f20f2dc1",
      { xmm1: "4004000000000000", mxcsr: 0x5f80 },
      { rax: 0x3n, mxcsr: 0x5fa0 },
    ],
    [
      "2147483647.5 rounds out of range",
      "cvtsd2si eax,xmm1",
      "f20f2dc1",
      { xmm1: "41dfffffffe00000", mxcsr: 0x1fa0 },
      { rax: 0x80000000n, mxcsr: 0x1fa1 },
    ],
    [
      "-1.5 truncated, PE set before",
      "cvttsd2si eax,xmm1",
      "f20f2cc1",
      { xmm1: "bff8000000000000", mxcsr: 0x1fa0 },
      { rax: 0xffffffffn },
    ],
    [
      "an integer of 63 bits",
      "cvtsi2sd xmm0,rax",
      "f2480f2ac0",
      { rax: 0x7fffffffffffffffn },
      { xmm0: "43e0000000000000", mxcsr: 0x1fa0 },
    ],
    [
      "the lowest integer",
      "cvtsi2ss xmm0,rax",
      "f3480f2ac0",
      { rax: 0x8000000000000000n },
      { xmm0: "00000000df000000" },
    ],
    [
      "a double that is no single",
      "cvtsd2ss xmm0,xmm1",
      "f20f5ac1",
      { xmm1: "3ff0000010000000" },
      { xmm0: "000000003f800000", mxcsr: 0x1fa0 },
    ],
    [
      "a NaN keeps the head of its payload",
      "cvtsd2ss xmm0,xmm1",
      "f20f5ac1",
      { xmm1: "7ff4000020000001" },
      { xmm0: "000000007fe00001", mxcsr: 0x1f81 },
    ],
    [
      "a denormal single",
      "cvtss2sd xmm0,xmm1",
      "f30f5ac1",
      { xmm1: "00000001" },
      { xmm0: "36a0000000000000", mxcsr: 0x1f82 },
    ],
    [
      "lanes that do not fit",
      "cvttps2dq xmm0,xmm1",
      "f30f5bc1",
      { xmm1: "7f8000004f0000003fc00000bf800000" },
      { xmm0: "800000008000000000000001ffffffff", mxcsr: 0x1fa1 },
    ],
    [
      "ROUNDSD with a mode of its own",
      "roundsd xmm0,xmm1,2",
      "660f3a0bc102",
      { xmm1: "bfe0000000000000" },
      { xmm0: "8000000000000000", mxcsr: 0x1fa0 },
    ],
    [
      "ROUNDSD that does not report PE",
      "roundsd xmm0,xmm1,9",
      "660f3a0bc109",
      { xmm1: "bfe0000000000000" },
      { xmm0: "bff0000000000000" },
    ],
  ],
  compares: [
    [
      "less",
      "ucomisd xmm0,xmm1",
      "660f2ec1",
      { xmm0: "3ff0000000000000", xmm1: "4000000000000000", mxcsr: 0x1fa0 },
      { flags: 0x1 },
    ],
    ["zeros are equal", "ucomisd xmm0,xmm1", "660f2ec1", { xmm1: "8000000000000000", mxcsr: 0x1fa0 }, { flags: 0x40 }],
    [
      "a quiet NaN is unordered",
      "ucomisd xmm0,xmm1",
      "660f2ec1",
      { xmm0: "3ff0000000000000", xmm1: "fff8000000000abc" },
      { flags: 0x45 },
    ],
    [
      "and to COMISD invalid as well",
      "comisd xmm0,xmm1",
      "660f2fc1",
      { xmm0: "3ff0000000000000", xmm1: "fff8000000000abc" },
      { flags: 0x45, mxcsr: 0x1f81 },
    ],
    [
      "NLT is true of a NaN",
      "cmpsd xmm0,xmm1,5",
      "f20fc2c105",
      { xmm0: "fff8000000000abc", xmm1: "3ff0000000000000" },
      { xmm0: "ffffffffffffffff", mxcsr: 0x1f81 },
    ],
    [
      "EQ_UQ exists with VEX only",
      "vcmpsd xmm0,xmm0,xmm1,8",
      "c5fbc2c108",
      { xmm0: "3ff0000000000000", xmm1: "fff8000000000abc" },
      { xmm0: "ffffffffffffffff" },
    ],
  ],
  "fused multiply-add": [
    [
      "rounds once: (1 + u)² - (1 + 2u) = u²",
      "vfmadd213sd xmm0,xmm0,xmm1",
      "c4e2f9a8c1",
      { xmm0: "3ff0000000000001", xmm1: "bff0000000000002" },
      { xmm0: "3970000000000000" },
    ],
    [
      "by way of the sums of doubles too",
      "vfmadd213sd xmm0,xmm0,xmm1",
      "c4e2f9a8c1",
      { xmm0: "3ff0000000000001", xmm1: "bff0000000000002", mxcsr: 0x1fa0 },
      { xmm0: "3970000000000000" },
    ],
    [
      "a single at a midpoint",
      "vfmadd213ss xmm0,xmm0,xmm1",
      "c4e279a8c1",
      { xmm0: "3f800800", xmm1: "26800000", mxcsr: 0x1fa0 },
      { xmm0: "000000003f801001" },
    ],
    [
      "and below it",
      "vfmsub213ss xmm0,xmm0,xmm1",
      "c4e279aac1",
      { xmm0: "3f800800", xmm1: "26800000", mxcsr: 0x1fa0 },
      { xmm0: "000000003f801000" },
    ],
    [
      "an infinite product less infinity",
      "vfmadd213sd xmm0,xmm0,xmm1",
      "c4e2f9a8c1",
      { xmm0: "7ff0000000000000", xmm1: "fff0000000000000" },
      { xmm0: "fff8000000000000", mxcsr: 0x1f81 },
    ],
    [
      "a NaN addend is the result",
      "vfnmadd231sd xmm0,xmm1,xmm1",
      "c4e2f1bcc1",
      { xmm0: "fff8000000000abc", xmm1: "7ff0000000000000" },
      {},
    ],
  ],
  "string compares": [
    [
      "equal any: the first vowel",
      "pcmpistri xmm0,xmm1,0",
      "660f3a63c100",
      { xmm0: "0000000000000000000000756f696561", xmm1: "000064696173207469202c797a7a7978" },
      { rcx: 0x7n, flags: 0xc1 },
    ],
    [
      "ranges: the first character outside, from the end",
      "pcmpistri xmm0,xmm1,0x54",
      "660f3a63c154",
      { xmm0: "0000000000000000000000005a417a61", xmm1: "3433323120646c726f57206f6c6c6548" },
      { rcx: 0xfn, flags: 0x81 },
    ],
    [
      "equal each, masked negative: where strings part",
      "pcmpistri xmm0,xmm1,0x38",
      "660f3a63c138",
      { xmm0: "00000000000000656e6974756f726f67", xmm1: "00000000000000656d6974756f726f67" },
      { rcx: 0x7n, flags: 0xc1 },
    ],
    [
      "equal ordered: a substring that runs over the end",
      "pcmpistri xmm0,xmm1,0xc",
      "660f3a63c10c",
      { xmm0: "00000000000000000000000000646e65", xmm1: "6e656e65206568742073692073696874" },
      { rcx: 0xen, flags: 0x81 },
    ],
    [
      "equal ordered of words",
      "pcmpistri xmm0,xmm1,0xd",
      "660f3a63c10d",
      { xmm0: "000000000000000000000000006f0062", xmm1: "0000006f00620061006f006200610061" },
      { rcx: 0x2n, flags: 0xc1 },
    ],
    [
      "explicit lengths, a byte mask",
      "pcmpestrm xmm0,xmm1,0x40",
      "660f3a60c140",
      {
        xmm0: "00000000000000000000000000006261",
        xmm1: "00000000000000626100636261636261",
        rax: 0x2n,
        rdx: 0xfffffff7n,
      },
      { xmm0: "00000000000000ffff0000ffff00ffff", flags: 0x8c1 },
    ],
  ],
};

/** What holds afterwards: what was there before, but for what the row says. */
function expected(from: Registers, after: Registers): Registers {
  const merged: Registers = {
    xmm0: "0",
    rax: 0n,
    rcx: 0n,
    flags: 0,
    mxcsr: MXCSR_DEFAULT,
    exception: undefined,
    ...from,
    ...after,
  };
  const { xmm1, rdx, ...rest } = merged;
  return { ...rest, xmm0: trimmed(rest.xmm0 ?? "0") };
}

const machine = new TestMachine();
const NAMES = ["xmm0", "rax", "rcx", "flags", "mxcsr", "exception"] as const;

for (const [group, rows] of Object.entries(ROWS)) {
  describe(group, () => {
    it.each(rows)("%s: %s", (_title, _instruction, bytes, from, after) => {
      expect(machine.run(bytes, from, NAMES)).toEqual(expected(from, after));
    });
  });
}
