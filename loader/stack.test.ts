import { describe, expect, it } from "vitest";
import * as stack from "./stack.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/**
 * The stack of a static program as Linux 6.18 made it, from argc to the top at 0x7ffffffff000:
 * `env -i A=1 BCD=xyz setarch -R ./st one "two three"`, dumped by the program itself.
 */
const RECORDED = [
  "0300000000000000d4efffffff7f0000d9efffffff7f0000ddefffffff7f00000000000000000000e7efffffff7f0000",
  "ebefffffff7f00000000000000000000210000000000000000d0fff7ff7f00003300000000000000300d000000000000",
  "1000000000000000fffb8b17000000000600000000000000001000000000000011000000000000006400000000000000",
  "030000000000000040004000000000000400000000000000380000000000000005000000000000000a00000000000000",
  "070000000000000000000000000000000800000000000000000000000000000009000000000000006015400000000000",
  "0b0000000000000000000000000000000c0000000000000000000000000000000d000000000000000000000000000000",
  "0e000000000000000000000000000000170000000000000000000000000000001900000000000000b9efffffff7f0000",
  "1a0000000000000002000000000000001f00000000000000f3efffffff7f00000f00000000000000c9efffffff7f0000",
  "1b000000000000001c000000000000001c00000000000000200000000000000000000000000000000000000000000000",
  "000000000000000000c3050877441066ae5e5fb176f91134d67838365f363400000000002e2f7374006f6e650074776f",
  "20746872656500413d31004243443d78797a002e2f7374000000000000000000",
].join("");
const STACK_TOP = 0x7fff_ffff_f000;

const AUXV_OPTIONS: stack.AuxvOptions = {
  sysinfoEhdr: 0x7fff_f7ff_d000,
  hwcap: 0x178b_fbff,
  hwcap2: 2,
  programHeaders: 0x40_0040,
  programHeaderSize: 56,
  programHeaderCount: 10,
  base: 0,
  entry: 0x40_1560,
  uid: 0,
  euid: 0,
  gid: 0,
  egid: 0,
  secure: false,
  minSignalStackSize: 3376,
};

const options: stack.InitialStackOptions = {
  argv: [bytes("./st"), bytes("one"), bytes("two three")],
  envp: [bytes("A=1"), bytes("BCD=xyz")],
  auxv: stack.buildAuxv(AUXV_OPTIONS),
  execfn: bytes("./st"),
  platform: "x86_64",
  random: new Uint8Array(16).fill(7),
  stackTop: STACK_TOP,
};

describe("buildInitialStack", () => {
  it("makes the very stack that Linux made", () => {
    const recorded = Uint8Array.from(Buffer.from(RECORDED, "hex"));
    const view = new DataView(recorded.buffer);
    const auxv: stack.AuxEntry[] = [];
    // argc, three arguments, NULL, two environment strings, NULL: the auxiliary vector starts at word 8.
    for (let at = 8 * 8; auxv.at(-1)?.[0] !== stack.AT_NULL; at += 16) {
      auxv.push([Number(view.getBigUint64(at, true)), view.getBigUint64(at + 8, true)]);
    }
    const randomAt = Number(auxv.find(([tag]) => tag === stack.AT_RANDOM)![1]);
    const offset = randomAt - (STACK_TOP - recorded.length);
    const made = stack.buildInitialStack({ ...options, auxv, random: recorded.slice(offset, offset + 16) });
    expect(made.sp).toBe(STACK_TOP - recorded.length);
    expect(Buffer.from(made.bytes).toString("hex")).toBe(RECORDED);
  });

  it("builds Linux's auxiliary vector but for its last two entries, which concern rseq", () => {
    const recorded = new DataView(Uint8Array.from(Buffer.from(RECORDED, "hex")).buffer);
    const filledIn: readonly number[] = [stack.AT_RANDOM, stack.AT_EXECFN, stack.AT_PLATFORM];
    stack.buildAuxv(AUXV_OPTIONS).forEach(([tag, value], index, { length }) => {
      const at = 8 * 8 + index * 16;
      if (index < length - 1) {
        expect(recorded.getBigUint64(at, true)).toBe(BigInt(tag));
        if (!filledIn.includes(tag)) {
          expect(recorded.getBigUint64(at + 8, true)).toBe(BigInt(value));
        }
      }
    });
  });

  it("leaves AT_SYSINFO_EHDR out without a vDSO", () => {
    expect(stack.buildAuxv({ ...AUXV_OPTIONS, sysinfoEhdr: undefined })[0][0]).toBe(stack.AT_MINSIGSTKSZ);
  });

  it.each([0, 1, 2, 3, 4, 5, 16, 33])("keeps the stack pointer at a multiple of 16 with %i arguments", (count) => {
    const argv = Array.from({ length: count }, (_, index) => bytes("x".repeat(index * 3)));
    const made = stack.buildInitialStack({ ...options, argv });
    expect(made.sp % 16).toBe(0);
    expect(made.sp + made.bytes.length).toBe(STACK_TOP);
    expect(new DataView(made.bytes.buffer).getBigUint64(0, true)).toBe(BigInt(count));
  });

  it("takes strings that are not UTF-8 as they are", () => {
    const made = stack.buildInitialStack({ ...options, argv: [Uint8Array.of(0xff, 0xfe)] });
    const at = made.argStart - made.sp;
    expect([...made.bytes.slice(at, at + 3)]).toEqual([0xff, 0xfe, 0]);
    expect(made.argEnd - made.argStart).toBe(3);
  });

  it("refuses what Linux's execve would", () => {
    expect(() => stack.buildInitialStack({ ...options, argv: [Uint8Array.of(65, 0)] })).toThrow(/NUL/);
    const long = new Uint8Array(stack.MAX_ARG_STRLEN).fill(65);
    expect(() => stack.buildInitialStack({ ...options, envp: [long] })).toThrow(/too long/);
    expect(() => stack.buildInitialStack({ ...options, random: new Uint8Array(8) })).toThrow(RangeError);
    expect(() => stack.buildInitialStack({ ...options, auxv: [] })).toThrow(/AT_NULL/);
  });
});
