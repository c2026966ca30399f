import { describe, expect, it } from "vitest";
import { LoadError, readExecutable } from "./elf.ts";
import { ET_DYN, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_RELRO, PT_INTERP, PT_LOAD } from "./elf-constants.ts";
import { PROT_EXEC, PROT_READ, PROT_WRITE, planImage } from "./map.ts";
import { fixture, TEST_BASE, testElf, words } from "./test-elf.ts";

const BASE = 0x1000_0000;

/** Two segments over a file of 0x2800 bytes: code, then data whose memory goes on for `bss` bytes. */
function dataElf(bss: number, flags = PF_R | PF_W) {
  const file = testElf({
    size: 0x2800,
    segments: [
      { fileSize: 0x1000 },
      { offset: 0x1234, vaddr: TEST_BASE + 0x2234, fileSize: 0x1000, memSize: 0x1000 + bss, flags },
    ],
    contents: [[0x1234, new Uint8Array(0x1000).fill(0xaa)]],
  });
  file.fill(0xbb, 0x2234);
  return readExecutable(file, "program");
}

describe("planImage", () => {
  it("rounds to pages and shows what follows a segment in its last page", () => {
    const plan = planImage(dataElf(0), { base: BASE });
    expect(plan.bias).toBe(0);
    expect(plan.mappings.map(({ address, length, prot }) => [address, length, prot])).toEqual([
      [TEST_BASE, 0x1000, PROT_READ | PROT_EXEC],
      [TEST_BASE + 0x2000, 0x2000, PROT_READ | PROT_WRITE],
    ]);
    const data = plan.mappings[1];
    expect(data.fileOffset).toBe(0x1000);
    expect(data.fileSize).toBe(0x1800);
    expect([data.bytes[0x233], data.bytes[0x234], data.bytes[0x1233], data.bytes[0x1234]]).toEqual([
      0, 0xaa, 0xaa, 0xbb,
    ]);
    expect(plan.brk).toBe(TEST_BASE + 0x4000);
  });

  it("clears the tail of a writable segment and adds anonymous pages after it", () => {
    const plan = planImage(dataElf(0x3000), { base: BASE });
    const [, data, bss] = plan.mappings;
    expect(data.bytes.length).toBe(0x1234);
    expect(data.length).toBe(0x2000);
    expect(bss).toMatchObject({ address: TEST_BASE + 0x4000, length: 0x3000, prot: PROT_READ | PROT_WRITE });
    expect(bss.fileSize).toBe(0);
    expect(plan.brk).toBe(TEST_BASE + 0x7000);
    expect([plan.start, plan.end]).toEqual([TEST_BASE, TEST_BASE + 0x7000]);
  });

  it("leaves the tail of a read-only segment as it is in the file, as Linux does", () => {
    const [, data] = planImage(dataElf(0x3000, PF_R), { base: BASE }).mappings;
    expect(data.bytes[0x1234]).toBe(0xbb);
  });

  it("maps a segment that has no bytes in the file", () => {
    const file = testElf({
      segments: [{}, { vaddr: TEST_BASE + 0x10010, fileSize: 0, memSize: 0x2000, flags: PF_R | PF_W }],
    });
    const [, bss] = planImage(readExecutable(file, "program"), { base: BASE }).mappings;
    expect(bss).toMatchObject({ address: TEST_BASE + 0x10000, length: 0x3000, fileSize: 0 });
  });

  it("moves a position-independent image to its base, applies relocations and RELRO", () => {
    const file = testElf({
      type: ET_DYN,
      entry: 0x1500,
      size: 0x2000,
      segments: [
        { type: PT_LOAD, vaddr: 0x1000, flags: PF_R | PF_W | PF_X, fileSize: 0x2000 },
        { type: PT_INTERP, offset: 0x200, fileSize: 8 },
        { type: PT_DYNAMIC, offset: 0x300, vaddr: 0x1300, fileSize: 64 },
        { type: PT_GNU_RELRO, offset: 0, vaddr: 0x1000, memSize: 0x1800, fileSize: 0 },
      ],
      contents: [
        [0x200, new TextEncoder().encode("/lib/ld\0")],
        [0x300, words(7, 0x1400, 8, 24, 36, 0x1418, 35, 8)],
        [0x400, words(0x1600, 8, 0x1234, 0x1608)],
        [0x608, words(0x1777)],
      ],
    });
    const pristine = file.slice();
    const plan = planImage(readExecutable(file, "program"), { base: BASE });
    expect(plan.bias).toBe(BASE - 0x1000);
    expect(plan.entry).toBe(BASE + 0x500);
    expect(plan.programHeaders).toBe(BASE + 64);
    const [{ address, bytes }] = plan.mappings;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect(address).toBe(BASE);
    expect(view.getBigUint64(0x600, true)).toBe(BigInt(BASE + 0x234));
    expect(view.getBigUint64(0x608, true)).toBe(BigInt(BASE + 0x777));
    expect(file).toEqual(pristine);
    expect(plan.protections).toEqual([{ address: BASE, length: 0x1000, prot: PROT_READ }]);
  });

  it("lowers the base to the image's alignment", () => {
    const executable = readExecutable(fixture("work-static-pie"), "work-static-pie");
    const plan = planImage(
      { ...executable, segments: executable.segments.map((segment) => ({ ...segment, align: 0x20_0000 })) },
      { base: 0x5555_5555_4000 },
    );
    expect(plan.start).toBe(0x5555_5540_0000);
  });

  it("refuses an image that does not fit at its base", () => {
    const executable = readExecutable(fixture("work-pie"), "work-pie");
    expect(() => planImage(executable, { base: 0x7fff_ffff_0000 })).toThrow(LoadError);
    expect(() => planImage(executable, { base: 0 })).toThrow(LoadError);
  });

  it("makes pointers in Go's PIE point into the image", () => {
    const executable = readExecutable(fixture("work-pie"), "work-pie");
    const plan = planImage(executable, { base: BASE });
    const { offset, addend } = executable.relocations[0];
    const at = offset + plan.bias;
    const mapping = plan.mappings.find(({ address, length }) => at >= address && at < address + length)!;
    const view = new DataView(mapping.bytes.buffer, mapping.bytes.byteOffset);
    expect(view.getBigUint64(at - mapping.address, true)).toBe(BigInt(addend! + plan.bias));
  });
});
