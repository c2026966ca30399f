import { Decoder, DecoderOptions, Formatter, FormatterSyntax, Mnemonic } from "iced-x86";
import { describe, expect, it } from "vitest";
import { ByteReader } from "./bytes.ts";
import { buildVdso, elfHash } from "./vdso.ts";

const fail = (message: string) => new Error(message);

/** Where the lookup of Go's runtime/vdso_linux.go finds a symbol in an image loaded at 0; undefined if it does not. */
function goLookup(bytes: Uint8Array, name: string, version: string): number | undefined {
  const image = new ByteReader(bytes, "vDSO", fail);
  let dynamic: number | undefined;
  let loads = 0;
  for (let index = 0; index < image.u16(56); index++) {
    const header = image.u64(32) + index * 56;
    loads += image.u32(header) === 1 ? 1 : 0;
    dynamic = image.u32(header) === 2 ? image.u64(header + 8) : dynamic;
  }
  expect(loads).toBe(1);
  const tags = new Map<number, number>();
  for (let at = dynamic!; image.u64(at) !== 0; at += 16) {
    tags.set(image.u64(at), image.u64(at + 8));
  }
  const [hash, strings, symbols, versym, verdef] = [4, 5, 6, 0x6ffffff0, 0x6ffffffc].map((tag) => tags.get(tag)!);

  let wanted = -1;
  for (let at = verdef; wanted < 0; at += image.u32(at + 16)) {
    const isBase = (image.u16(at + 2) & 1) !== 0;
    const nameAt = image.u32(at + image.u32(at + 12));
    if (!isBase && image.u32(at + 8) === elfHash(version) && image.cstring(strings + nameAt) === version) {
      wanted = image.u16(at + 4);
    } else if (image.u32(at + 16) === 0) {
      return undefined;
    }
  }
  const bucketCount = image.u32(hash);
  const chains = hash + 8 + bucketCount * 4;
  let index = image.u32(hash + 8 + (elfHash(name) % bucketCount) * 4);
  for (; index !== 0; index = image.u32(chains + index * 4)) {
    const symbol = symbols + index * 24;
    const isGlobalFunction = image.u8(symbol + 4) === 0x12 && image.u16(symbol + 6) !== 0;
    const isVersion = (image.u16(versym + index * 2) & 0x7fff) === wanted;
    if (isGlobalFunction && isVersion && image.cstring(strings + image.u32(symbol)) === name) {
      return image.u64(symbol + 8);
    }
  }
  return undefined;
}

describe("elfHash", () => {
  it("gives the hashes that Go's runtime has as constants", () => {
    expect(elfHash("LINUX_2.6")).toBe(0x3ae75f6);
    expect(elfHash("__vdso_gettimeofday")).toBe(0x315ca59);
    expect(elfHash("__vdso_clock_gettime")).toBe(0xd35ec75);
  });
});

describe("buildVdso", () => {
  const { bytes, functions } = buildVdso();

  it.each([
    "__vdso_clock_gettime",
    "__vdso_gettimeofday",
    "__vdso_time",
    "__vdso_getcpu",
    "__vdso_clock_getres",
  ])("has %s, at a multiple of 16", (name) => {
    const offset = goLookup(bytes, name, "LINUX_2.6")!;
    expect(offset).toBe(functions.get(name));
    expect(offset % 16).toBe(0);
  });

  it("has code that a disassembler reads as it was meant, with the data page right before the image", () => {
    const listing = (name: string): string[] => {
      const start = functions.get(name)!;
      const decoder = new Decoder(64, bytes.subarray(start), DecoderOptions.None);
      decoder.ip = BigInt(start);
      const formatter = new Formatter(FormatterSyntax.Nasm);
      const lines: string[] = [];
      // Each function ends with the return behind its system call.
      for (let wasSyscall = false; ; ) {
        const instruction = decoder.decode();
        lines.push(
          instruction.isIpRelMemoryOperand
            ? `${Mnemonic[instruction.mnemonic].toLowerCase()} vvar+${instruction.ipRelMemoryAddress + 4096n - 2n ** 64n}`
            : formatter.format(instruction),
        );
        if (wasSyscall) return lines;
        wasSyscall = instruction.mnemonic === Mnemonic.Syscall;
      }
    };
    expect(listing("__vdso_time").slice(0, 5)).toEqual([
      "test vvar+0",
      expect.stringMatching(/^je short/),
      "rdtsc",
      "add vvar+16",
      "adc vvar+20",
    ]);
    expect(listing("__vdso_gettimeofday").at(-3)).toBe("mov eax,60h");
    expect(listing("__vdso_clock_gettime")).toContain("lea vvar+16");
    expect(listing("__vdso_clock_gettime").at(-3)).toBe("mov eax,0E4h");
    expect(listing("__vdso_getcpu")).toEqual(["mov eax,135h", "syscall", "ret"]);
    expect(listing("__vdso_clock_getres")).toEqual(["mov eax,0E5h", "syscall", "ret"]);
  });

  it("has no other version and no other function", () => {
    expect(goLookup(bytes, "__vdso_time", "LINUX_2.7")).toBeUndefined();
    expect(goLookup(bytes, "__vdso_getrandom", "LINUX_2.6")).toBeUndefined();
  });

  it("is whole pages", () => {
    expect(bytes.length % 4096).toBe(0);
  });
});
