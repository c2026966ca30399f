// What goemu says to files that it can't run: one line, a status, nothing else.
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fixturePath } from "../fixtures/programs.ts";
import { ET_DYN, ET_REL, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE } from "../loader/elf-constants.ts";
import { fixture, testElf, words } from "../loader/test-elf.ts";
import { TestFolder } from "./testing/files.ts";
import { goemu } from "./testing/goemu.ts";

const folder = new TestFolder();
afterAll(() => folder.remove());

const [NOT_EXECUTABLE, NOT_FOUND, FAILED] = [126, 127, 125];
const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const work = fixture("work-go1.21");

/** A valid file with some bytes changed. */
function patched(at: number, ...bytes: readonly number[]): Uint8Array {
  const elf = testElf();
  elf.set(bytes, at);
  return elf;
}

/** A copy of a real program with a 64-bit word changed. */
function damaged(at: number, value: bigint): Uint8Array {
  const copy = new Uint8Array(work);
  new DataView(copy.buffer).setBigUint64(at, value, true);
  return copy;
}

function dynamicProgram(): Uint8Array {
  return testElf({
    type: ET_DYN,
    size: 0x600,
    entry: 0x500,
    segments: [
      { type: PT_LOAD, vaddr: 0, flags: PF_R | PF_W | PF_X },
      { type: PT_INTERP, offset: 0x200, fileSize: 18 },
      { type: PT_DYNAMIC, offset: 0x300, vaddr: 0x300, fileSize: 32 },
    ],
    contents: [
      [0x200, text("/lib64/ld-none.so\0")],
      [0x300, words(1, 1, 0, 0)],
    ],
  });
}

function sharedLibrary(): Uint8Array {
  return testElf({
    type: ET_DYN,
    size: 0x600,
    entry: 0,
    segments: [{ vaddr: 0 }, { type: PT_DYNAMIC, offset: 0x300, vaddr: 0x300, fileSize: 32 }],
    contents: [[0x300, words(14, 1, 0, 0)]],
  });
}

function pe(): Uint8Array {
  const bytes = new Uint8Array(256);
  bytes.set([0x4d, 0x5a]);
  bytes[60] = 128;
  bytes.set([0x50, 0x45, 0, 0, 0x64, 0x86], 128);
  return bytes;
}

/** A note by which FreeBSD marks its executables. */
function freeBsd(): Uint8Array {
  const note = [8, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, ...text("FreeBSD\0"), 0, 0, 0, 0];
  return testElf({
    size: 0x400,
    segments: [{}, { type: PT_NOTE, offset: 0x200, fileSize: note.length }],
    contents: [[0x200, Uint8Array.from(note)]],
  });
}

const CASES: readonly (readonly [what: string, contents: string | Uint8Array, says: RegExp])[] = [
  ["an empty file", "", /file is empty/],
  ["a text file", "hello, world\n", /is a text file/],
  ["a script", "#!/bin/sh\necho hello\n", /is a script for \/bin\/sh/],
  ["bytes of no known form", Uint8Array.of(1, 2, 3, 0, 255, 254), /is not an ELF file/],
  ["an ELF header cut off after its magic", Uint8Array.of(0x7f, 0x45, 0x4c, 0x46), /ELF header is truncated/],
  ["an ELF header cut in the middle", testElf().subarray(0, 40), /truncated/],
  ["a program header table cut off", work.subarray(0, 100), /truncated/],
  ["a segment cut off", work.subarray(0, 0x5_0000), /truncated/],
  ["a section table cut off", testElf({ size: 0x200, sectionOffset: 0x180, sectionCount: 4 }), /section/],
  ["a section table beyond the end", damaged(40, 1n << 40n), /section/],
  ["a program header table beyond the end", damaged(32, 1n << 40n), /truncated|program header/],
  ["a 32-bit program", patched(4, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0), /32-bit ELF file for .*86/],
  ["a program for ARM64", patched(18, 183, 0), /is for .*(ARM64|AArch64).* \(GOARCH=arm64\), not x86-64/],
  ["a program for RISC-V", patched(18, 243, 0), /RISC-V.*GOARCH=riscv64/],
  ["a program for s390x (big-endian)", patched(5, 2, 1, ...new Uint8Array(9), 0, 2, 0, 22), /GOARCH=s390x/],
  ["a program for an unknown machine", patched(18, 0x34, 0x12), /unknown machine .*4660/],
  ["a FreeBSD program by its OSABI", patched(7, 9), /is for FreeBSD, not Linux/],
  ["a FreeBSD program by its note", freeBsd(), /is for FreeBSD, not Linux/],
  [
    "a Mach-O file",
    Uint8Array.of(0xcf, 0xfa, 0xed, 0xfe, 7, 0, 0, 1, 3, 0, 0, 0, 2, 0, 0, 0),
    /Mach-O \(macOS\) file for x86-64/,
  ],
  ["a Windows program", pe(), /PE \(Windows\) file for x86-64/],
  ["a WebAssembly module", Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0), /WebAssembly module/],
  ["an object file", testElf({ type: ET_REL }), /is an object file/],
  ["an archive of objects", "!<arch>\n", /ar archive/],
  ["a shared library", sharedLibrary(), /is a shared library/],
  [
    "a dynamically linked program without its interpreter",
    dynamicProgram(),
    /dynamically linked, and its interpreter \/lib64\/ld-none\.so is not there \(.*--sysroot.*CGO_ENABLED=0\)/,
  ],
  [
    "segments that overlap",
    testElf({ size: 0x2000, segments: [{}, { vaddr: 0x40_0800, offset: 0x800, fileSize: 16 }] }),
    /overlap/,
  ],
  ["a segment above user space", testElf({ segments: [{ vaddr: 0x7fff_ffff_f000 }] }), /above the user address space/],
  ["a segment at address 0", testElf({ entry: 0x100, segments: [{ vaddr: 0 }] }), /lies below/],
  [
    "a segment larger than memory",
    testElf({ segments: [{}, { vaddr: 0x1000_0000, fileSize: 0, memSize: 2 ** 40 }] }),
    /fit|memory/,
  ],
  ["a segment of 2^63 bytes", testElf({ segments: [{}, { vaddr: 0x1000_0000, fileSize: 0, memSize: 2 ** 63 }] }), /./],
  ["an entry point outside the code", testElf({ entry: 0x1234 }), /entry point 0x1234/],
  ["no segment to load", testElf({ segments: [{ type: PT_NOTE, fileSize: 0 }] }), /no segment/],
  ["65,535 program headers", patched(56, 0xff, 0xff), /./],
];

/** Expects one line about `file` and nothing else. */
function expectComplaint(file: string, run: ReturnType<typeof goemu>, status: number, says: RegExp): void {
  expect(run.stdout).toBe("");
  expect(run.stderr.split("\n")).toHaveLength(2);
  expect(run.stderr.startsWith(`goemu: ${file}: `)).toBe(true);
  expect(run.stderr).toMatch(/ \([^()]*(\([^()]*\))?[^()]*\)\n$/);
  expect(run.stderr).toMatch(says);
  expect(run.stderr).not.toMatch(/internal error|\bat .*\.[jt]s/);
  expect(run).toMatchObject({ status, signal: null });
}

describe("a file that can't be run", () => {
  it.each(CASES)("%s", (what, contents, says) => {
    const file = folder.file(what.replaceAll(/\W+/g, "-"), contents);
    expectComplaint(file, goemu([file]), NOT_EXECUTABLE, says);
    // Looking into it says the same, or shows what there is of it.
    const info = goemu(["info", file]);
    if (info.status !== 0) expectComplaint(file, info, NOT_EXECUTABLE, says);
    else expect(info.stdout).not.toBe("");
  });

  it("that is not there", () => {
    expectComplaint("./no-such-file", goemu(["./no-such-file"]), NOT_FOUND, /no such file/);
    const inFile = `${folder.file("plain", "x")}/below`;
    expectComplaint(inFile, goemu([inFile]), NOT_FOUND, /no such file/);
  });

  it("that is a directory", () => {
    expectComplaint(folder.path, goemu([folder.path]), NOT_EXECUTABLE, /is a directory/);
  });

  it("that is a device", () => {
    expectComplaint("/dev/null", goemu(["/dev/null"]), NOT_EXECUTABLE, /not a regular file/);
  });

  it.skipIf(process.getuid?.() === 0)("that may not be read (skipped for root, who may read all)", () => {
    const file = folder.file("secret", "x");
    chmodSync(file, 0);
    expectComplaint(file, goemu([file]), NOT_EXECUTABLE, /permission denied/);
  });

  it("that needs a better CPU than it is given", () => {
    const file = fixturePath("bin/text-v3");
    expectComplaint(file, goemu(["--cpu", "x86-64-v2", file]), NOT_EXECUTABLE, /GOAMD64=v3.*--cpu x86-64-v3/);
  });

  it("that does not fit into --memory", () => {
    const file = fixturePath("bin/work");
    expectComplaint(file, goemu(["--memory", "1M", file]), NOT_EXECUTABLE, /don't fit into guest memory.*--memory/);
  });

  it("whose name has control characters and more than ASCII", () => {
    const below = join(folder.path, "größe 1");
    mkdirSync(below);
    const run = goemu([below]);
    expectComplaint(below, run, NOT_EXECUTABLE, /is a directory/);
    const odd = goemu(["a\u001b[31mb\nc"]);
    expect(odd.status).toBe(NOT_FOUND);
    expect(odd.stderr.split("\n")).toHaveLength(2);
    expect(odd.stderr).not.toContain("\u001b");
  });
});

describe("a bad option", () => {
  it.each([
    [["--cpu", "pentium"], /--cpu.*unknown CPU "pentium"/],
    [["--cpus", "0"], /--cpus.*"0" is no number/],
    [["--cpus", "2x"], /--cpus/],
    [["--memory", "lots"], /--memory.*"lots" is no size/],
    [["--memory", "900T"], /--memory: 900T is more than the \d+ MiB that this machine has/],
    [["--address-space", "huge"], /--address-space.*compact or linux/],
    [["--tier", "fast"], /--tier/],
    [["--stats=xml"], /--stats.*json/],
    [["-E", "NOTHING"], /-E.*NAME=VALUE/],
    [["--strace=/no/such/folder/trace"], /--strace.*\/no\/such\/folder\/trace/],
    [["--no-such-option"], /unknown option/],
  ])("%j is refused", (options, says) => {
    const run = goemu([...options, fixturePath("bin/work")]);
    expect(run.stdout).toBe("");
    expect(run.stderr).toMatch(says);
    expect(run.stderr).not.toMatch(/\bat .*\.[jt]s/);
    expect(run.status).toBe(FAILED);
  });
});

describe("a guest in trouble", () => {
  it("is told SIGILL for an instruction that goemu does not have, and goemu says which and where", () => {
    // VADDPH ZMM0, ZMM0, ZMM1: AVX512-FP16.
    const file = folder.guest("unimplemented", (a) => a.bytes(0x62, 0xf5, 0x7c, 0x48, 0x58, 0xc1));
    const run = goemu([file]);
    expect(run.status).toBe(128 + 4);
    const lines = run.stderr.split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^goemu: .*instruction not implemented at 0x401000.*: 62 f5 7c 48 58 c1 +vaddph/);
    expect(lines[1]).toMatch(/^goemu: .*Illegal instruction \(killed by signal 4\)$/);
  });

  it("is told SIGILL for an instruction that its CPU does not have, and goemu says what has it", () => {
    // VPCONFLICTD ZMM0, ZMM1.
    const file = folder.guest("not-on-this-cpu", (a) => a.bytes(0x62, 0xf2, 0x7d, 0x48, 0xc4, 0xc1));
    const run = goemu([file]);
    expect(run.status).toBe(128 + 4);
    expect(run.stderr).toMatch(/^goemu: .*the CPU has no avx512cd: .*0x401000.* vpconflictd.*--cpu x86-64-v4/);
    expect(goemu(["--cpu", "x86-64-v4", file]).status).toBe(0);
  });

  it("gets ENOSYS for a system call that is not there", () => {
    const file = folder.guest("unknown-call", (a) => {
      a.syscall(9999, 1, 2, 3).bytes(0x48, 0xf7, 0xd8).copy("rdi", "rax").mov("rax", 231).bytes(0x0f, 0x05);
    });
    const run = goemu(["--strace", file]);
    expect(run.status).toBe(38);
    expect(run.stderr).toMatch(/ syscall_0x270f\(0x1, 0x2, 0x3.*= -1 ENOSYS/);
  });

  it("that runs into data, jumps anywhere or loses its stack dies of its signal, not goemu", () => {
    const ways: [string, Parameters<TestFolder["guest"]>[1]][] = [
      ["wild-jump", (a) => a.mov("rax", 0x7fff_0000_0000).bytes(0xff, 0xe0)],
      ["no-stack", (a) => a.mov("rsp", 0).push("rax")],
      ["high-jump", (a) => a.mov("rax", 0xffff_ffff_8000_0000n).bytes(0xff, 0xe0)],
    ];
    for (const [name, build] of ways) {
      const run = goemu([folder.guest(name, build)]);
      expect(run.status, name).toBe(128 + 11);
      expect(run.stderr, name).toMatch(/^goemu: .*: Segmentation fault \(killed by signal 11\)\n$/);
    }
  });
});
