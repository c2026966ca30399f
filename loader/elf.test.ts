import { describe, expect, it } from "vitest";
import { FileBytes } from "./bytes.ts";
import { inspectExecutable, LoadError, readExecutable } from "./elf.ts";
import { ET_CORE, ET_DYN, ET_REL, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE } from "./elf-constants.ts";
import { readHeader, readSections, readSectionsDirectly } from "./elf-tables.ts";
import { fixture, TEST_BASE, type TestElf, testElf, words } from "./test-elf.ts";

const text = (value: string) => new TextEncoder().encode(value);

function problem(bytes: Uint8Array): LoadError {
  try {
    readExecutable(bytes, "program");
  } catch (error) {
    expect(error).toBeInstanceOf(LoadError);
    return error as LoadError;
  }
  throw new Error("was accepted");
}

/** A valid file with some bytes of the header changed. */
function patched(at: number, ...values: readonly number[]): Uint8Array {
  const bytes = testElf();
  bytes.set(values, at);
  return bytes;
}

/** An image with PT_INTERP and PT_DYNAMIC; its relocation table is at file offset 0x400. */
function dynamicElf(dynamic: readonly number[], table: Uint8Array = new Uint8Array(0), type = ET_DYN): TestElf {
  return {
    type,
    size: 0x600,
    entry: 0x500,
    segments: [
      { type: PT_LOAD, vaddr: 0, flags: PF_R | PF_W | PF_X },
      { type: PT_INTERP, offset: 0x200, fileSize: 9 },
      { type: PT_DYNAMIC, offset: 0x300, vaddr: 0x300, fileSize: dynamic.length * 8 },
    ],
    contents: [
      [0x200, text("/lib/ld\0\0")],
      [0x300, words(...dynamic)],
      [0x400, table],
    ],
  };
}

describe("readExecutable", () => {
  it("reads a minimal executable without sections", () => {
    const executable = readExecutable(testElf(), "program");
    expect(executable).toMatchObject({
      type: "ET_EXEC",
      entry: TEST_BASE + 120,
      interpreter: undefined,
      isStaticPie: false,
      sections: [],
      relocations: [],
      programHeaderTable: { address: TEST_BASE + 64, count: 1, entrySize: 56 },
    });
    expect(executable.segments).toHaveLength(1);
  });

  it.each<[string, Uint8Array, string, RegExp]>([
    ["an empty file", new Uint8Array(0), "empty", /empty/],
    ["a script", text("#!/usr/bin/env python3\nprint()\n"), "script", /script for \/usr\/bin\/env python3/],
    ["a text file", text("package main\n// größe\n"), "text", /text file/],
    ["binary rubbish", Uint8Array.of(1, 2, 3, 0, 5, 6, 7, 8, 9), "not-elf", /not an ELF/],
    ["a Mach-O file", Uint8Array.of(0xcf, 0xfa, 0xed, 0xfe, 0x0c, 0, 0, 1), "other-os", /Mach-O.*ARM64/],
    ["a universal Mach-O file", Uint8Array.of(0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2), "other-os", /universal Mach-O/],
    ["a Java class", Uint8Array.of(0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 61), "not-elf", /Java/],
    ["a DOS file", text("MZ\0\0\0\0\0\0\0"), "other-os", /DOS/],
    ["a WebAssembly module", Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0), "other-os", /WebAssembly/],
    ["an archive", text("!<arch>\nfoo"), "object", /archive/],
    ["only the magic", text("\x7fELF"), "truncated", /truncated: 4 of 64/],
    ["half a header", testElf().slice(0, 40), "truncated", /truncated: 40 of 64/],
    ["half a segment table", testElf().slice(0, 90), "truncated", /segment table is truncated/],
    ["a truncated segment", testElf().slice(0, 200), "truncated", /segment at 0x400000 is truncated/],
    ["a 32-bit file", patched(4, 1, 1, 1), "elf32", /32-bit ELF file for x86-64/],
    ["an unknown class", patched(4, 7), "malformed", /class 7/],
    ["an unknown byte order", patched(5, 9), "malformed", /byte order 9/],
    ["an AArch64 file", testElf({ machine: 183 }), "machine", /AArch64 \(GOARCH=arm64\)/],
    ["a RISC-V file", testElf({ machine: 243 }), "machine", /RISC-V/],
    ["an unknown machine", testElf({ machine: 999 }), "machine", /unknown machine \(ELF machine 999\)/],
    ["a FreeBSD file", patched(7, 9), "other-os", /FreeBSD/],
    ["an unknown OSABI", patched(7, 77), "other-os", /OSABI 77/],
    ["an object file", testElf({ type: ET_REL }), "object", /object file/],
    ["a core dump", testElf({ type: ET_CORE }), "core", /core dump/],
    ["an unknown type", testElf({ type: 0x1234 }), "malformed", /type 4660/],
    ["no segment table", testElf({ segments: [] }), "malformed", /no program headers/],
    ["no loadable segment", testElf({ segments: [{ type: PT_NOTE }] }), "segments", /no segment to load/],
    ["a segment with more file than memory", testElf({ segments: [{ memSize: 8 }] }), "segments", /only 8 in memory/],
    [
      "a segment above user space",
      testElf({ segments: [{ memSize: 2 ** 47 }] }),
      "segments",
      /above the user address space/,
    ],
    ["a segment at 0", testElf({ segments: [{ vaddr: 0 }] }), "segments", /below 0x10000/],
    ["a misaligned segment", testElf({ segments: [{ vaddr: TEST_BASE + 5 }] }), "segments", /differ within a page/],
    [
      "overlapping segments",
      testElf({ segments: [{}, { vaddr: TEST_BASE, flags: PF_R }] }),
      "segments",
      /0x400000 and 0x400000 overlap/,
    ],
    [
      "segments that map the same bytes over and over",
      testElf({ size: 4096, segments: Array.from({ length: 9 }, (_, index) => ({ vaddr: TEST_BASE + index * 4096 })) }),
      "segments",
      /share the file's bytes/,
    ],
    ["an entry outside the code", testElf({ entry: 0x1234 }), "malformed", /entry point 0x1234/],
    ["a section table past the end", testElf({ sectionOffset: 370, sectionCount: 3 }), "truncated", /section table/],
    ["a shared library", testElf({ type: ET_DYN }), "shared-library", /shared library/],
    ["a library without an entry", testElf({ ...dynamicElf([14, 1]), entry: 0 }), "shared-library", /shared library/],
    [
      "a relocation outside the image",
      testElf(dynamicElf([7, 0x400, 8, 24], words(0x5fc, 8, 0))),
      "malformed",
      /relocation at 0x5fc/,
    ],
    ["a relocation table outside the file", testElf(dynamicElf([7, 0x5f0, 8, 240])), "malformed", /lies in no segment/],
  ])("refuses %s", (_, bytes, kind, message) => {
    const error = problem(bytes);
    expect(error.kind).toBe(kind);
    expect(error.message).toMatch(message);
    expect(error.message).not.toMatch(/\n/);
    expect(error.hint).not.toBe("");
    expect(error.exitStatus).toBe(126);
  });

  it("names an operating system by its note", () => {
    const note = Uint8Array.of(7, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, ...text("NetBSD\0\0"), 0, 0, 0, 0);
    const bytes = testElf({
      segments: [{}, { type: PT_NOTE, offset: 0x100, fileSize: 24 }],
      contents: [[0x100, note]],
    });
    expect(problem(bytes).message).toMatch(/NetBSD/);
  });

  it("keeps control characters of the file out of messages", () => {
    expect(problem(text("#!/bin/\x1b[31mred\n")).message).toBe("is a script for /bin/?[31mred, not an executable");
  });

  it("takes a position-independent image that needs no library with its relocations", () => {
    // One RELA entry, then DT_RELR: an address and a bitmap for the 1st and 3rd word after it.
    const relr = words(0x500, 0b1011);
    const rela = words(0x580, 8, -16);
    const table = Uint8Array.of(...rela, ...relr);
    const executable = readExecutable(testElf(dynamicElf([7, 0x400, 8, 24, 36, 0x418, 35, 16], table)), "program");
    expect(executable.isStaticPie).toBe(false);
    expect(executable.relocations).toEqual([
      { offset: 0x580, addend: -16 },
      { offset: 0x500, addend: undefined },
      { offset: 0x508, addend: undefined },
      { offset: 0x518, addend: undefined },
    ]);
  });

  it.each([
    ["libraries", dynamicElf([1, 1, 1, 5])],
    ["a relocation by a symbol", dynamicElf([7, 0x400, 8, 24], words(0x500, 6 + 2 ** 32, 0))],
  ])("leaves a program that needs %s to its interpreter", (_, elf) => {
    const executable = readExecutable(testElf(elf), "program");
    expect(executable).toMatchObject({ interpreter: "/lib/ld", needsInterpreter: true, relocations: [] });
  });

  it("lets a library be looked into", () => {
    const { executable, problem: reason } = inspectExecutable(testElf({ ...dynamicElf([14, 1]), entry: 0 }), "library");
    expect(reason?.kind).toBe("shared-library");
    expect(executable.interpreter).toBe("/lib/ld");
  });

  it("reads Go's executables of every kind", () => {
    expect(readExecutable(fixture("work"), "work")).toMatchObject({ type: "ET_EXEC", isStaticPie: false });
    const pie = readExecutable(fixture("work-pie"), "work-pie");
    expect(pie).toMatchObject({ type: "ET_DYN", isStaticPie: false, interpreter: "/lib64/ld-linux-x86-64.so.2" });
    expect(pie.relocations.length).toBeGreaterThan(1000);
    const staticPie = readExecutable(fixture("work-static-pie"), "work-static-pie");
    expect(staticPie).toMatchObject({ type: "ET_DYN", isStaticPie: true, interpreter: undefined, relocations: [] });
    expect(readExecutable(fixture("work-nosections"), "work-nosections").sections).toEqual([]);
  });
});

describe("readSections", () => {
  it.each(["work", "work-go1.9", "work-pie", "work-static-pie"])("agrees with our own reader on %s", (name) => {
    const bytes = new FileBytes(fixture(name));
    const header = readHeader(bytes);
    const table = {
      offset: header.sectionOffset,
      count: header.sectionCount,
      namesIndex: header.sectionNamesIndex,
    };
    const sections = readSections(bytes, header);
    expect(sections).toEqual(readSectionsDirectly(bytes, table));
    expect(sections.some((section) => section.name === ".text")).toBe(true);
  });
});
