import { Code, Mnemonic } from "iced-x86";
import { describe, expect, it } from "vitest";
import { decodeOne, exceedsLimit } from "./decoder.ts";

const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const codeOf = (hex: string): string => {
  const instruction = decodeOne(bytes(`${hex}cc`), 0x1000);
  return typeof instruction === "string" ? instruction : `${Code[instruction.code]} ${instruction.length}`;
};

describe("90", () => {
  it.each([
    ["90", "Nopd 1"],
    ["f390", "Pause 2"],
    ["f34890", "Pause 3"],
    ["f34490", "Pause 3"],
    ["4190", "Xchg_r32_EAX 2"],
    ["f34190", "Xchg_r32_EAX 3"],
    ["f34590", "Xchg_r32_EAX 3"],
    ["f34990", "Xchg_r64_RAX 3"],
    ["66f34190", "Xchg_r16_AX 4"],
    // A REX that is not before the opcode is none.
    ["41f390", "Pause 3"],
  ])("%s is %s: F3 makes PAUSE of NOP, not of XCHG with R8", (hex, expected) => {
    expect(codeOf(hex)).toBe(expected);
  });
});

describe("the space of hints", () => {
  it.each([
    "0f0dc0",
    "0f18f0",
    "0f1838",
    "0f19c1",
    "0f1a00",
    "f30f1b00",
    "0f1c00",
    "f3480f1ec8",
    "f30f1efa",
    "0f1f4000",
  ])("%s does nothing", (hex) => {
    const instruction = decodeOne(bytes(hex), 0x1000);
    expect(typeof instruction === "string" ? instruction : instruction.mnemonic).toBe(Mnemonic.Reservednop);
  });
});

describe("the limit of 15 bytes", () => {
  const repeated = (prefix: string, count: number, rest: string): Uint8Array => bytes(prefix.repeat(count) + rest);

  it.each([
    ["2e", 14, "90", false],
    ["2e", 15, "90", true],
    ["66", 13, "0f0b", false],
    ["66", 14, "0f0b", true],
    ["2e", 14, "06", false],
    ["2e", 15, "06", true],
    ["2e", 5, "48b80102030405060708", false],
    ["2e", 6, "48b80102030405060708", true],
    ["2e", 10, "0501020304", false],
    ["2e", 11, "0501020304", true],
    ["48", 20, "", true],
    ["2e", 10, "c4e17b10c0", false],
    ["2e", 11, "c4e17b10c0", true],
  ] as const)("%s × %i, then %s: %s", (prefix, count, rest, expected) => {
    expect(exceedsLimit(repeated(prefix, count, rest))).toBe(expected);
  });
});
