import { describe, expect, it } from "vitest";
import { disassemble, formatDisassembly, resolveRange, type Syntax } from "./disassemble.ts";
import { readExecutable } from "./elf.ts";
import { SymbolError } from "./errors.ts";
import { listSymbols } from "./list-symbols.ts";
import { SymbolTable } from "./symbols/table.ts";
import { fixture, TEST_BASE, testElf } from "./test-elf.ts";

const CODE_OFFSET = 120;

/** Texts of a few instructions, each given as its bytes in hexadecimal. */
function texts(syntax: Syntax, ...code: readonly string[]): string[] {
  const executable = readExecutable(
    testElf({ contents: [[CODE_OFFSET, Buffer.from(code.join(""), "hex")]] }),
    "program",
  );
  const range = { start: TEST_BASE + CODE_OFFSET, length: code.join("").length / 2 };
  return [...disassemble(executable, new SymbolTable(executable), { ...range, syntax })].map(({ text }) => text);
}

// What `go tool objdump` (Go 1.26) prints for these bytes, save the last four, which it gets wrong:
// a negative displacement without a base, the size of comparisons of byte registers, and AVX.
const CASES: readonly (readonly [code: string, go: string, gas: string, intel: string])[] = [
  ["493b6610", "CMPQ SP, 0x10(R14)", "cmp     0x10(%r14),%rsp", "cmp     rsp, [r14+0x10]"],
  ["48c7400802000000", "MOVQ $0x2, 0x8(AX)", "movq    $0x2,0x8(%rax)", "mov     qword ptr [rax+0x8], 0x2"],
  ["488d0c09", "LEAQ 0(CX)(CX*1), CX", "lea     (%rcx,%rcx),%rcx", "lea     rcx, [rcx+rcx]"],
  ["55", "PUSHQ BP", "push    %rbp", "push    rbp"],
  ["90", "NOPL", "nop", "nop"],
  ["f0480fb10a", "LOCK CMPXCHGQ CX, 0(DX)", "lock cmpxchg %rcx,(%rdx)", "lock cmpxchg [rdx], rcx"],
  ["f348ab", "REP; STOSQ AX, ES:0(DI)", "rep stos %rax,(%rdi)", "rep stosq [rdi]"],
  ["f20f100a", "MOVSD_XMM 0(DX), X1", "movsd   (%rdx),%xmm1", "movsd   xmm1, [rdx]"],
  ["0f94c0", "SETE AL", "sete    %al", "sete    al"],
  ["b800000080", "MOVL $-0x80000000, AX", "mov     $0x80000000,%eax", "mov     eax, 0x80000000"],
  [
    "644c8b3425f8ffffff",
    "MOVQ FS:-0x8, R14",
    "mov     %fs:0xfffffffffffffff8,%r14",
    "mov     r14, fs:[0xfffffffffffffff8]",
  ],
  ["84c9", "TESTB CL, CL", "test    %cl,%cl", "test    cl, cl"],
  ["c5fe6f06", "VMOVDQU 0(SI), Y0", "vmovdqu (%rsi),%ymm0", "vmovdqu ymm0, [rsi]"],
];

describe("disassemble", () => {
  it("writes Go's syntax", () => {
    expect(texts("go", ...CASES.map(([code]) => code))).toEqual(CASES.map(([, go]) => go));
  });

  it("writes GNU's and Intel's syntax", () => {
    expect(texts("gas", ...CASES.map(([code]) => code))).toEqual(CASES.map(([, , gas]) => gas));
    expect(texts("intel", ...CASES.map(([code]) => code))).toEqual(CASES.map(([, , , intel]) => intel));
  });

  it("marks bytes that are no instruction and carries on", () => {
    expect(texts("gas", "06", "90")).toEqual(["(bad)", "nop"]);
  });

  it("names targets and gives lines", () => {
    const executable = readExecutable(fixture("work-stripped"), "work-stripped");
    const symbols = new SymbolTable(executable);
    const main = symbols.byName("main.main")!;
    for (const syntax of ["gas", "intel", "go"] as const) {
      const lines = [...disassemble(executable, symbols, { ...resolveRange(symbols, "main.main"), syntax })];
      expect(lines[0].address).toBe(main.address);
      expect(lines[0].source?.line).toBe(14);
      const text = lines.map((line) => line.text).join("\n");
      expect(text).toMatch(
        syntax === "go" ? /CALL sync\.\(\*WaitGroup\)\.Wait\(SB\)/ : /<sync\.\(\*WaitGroup\)\.Wait>/,
      );
      expect(lines.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(main.size);
    }
    const [heading, first] = formatDisassembly(
      disassemble(executable, symbols, { start: main.address, length: 4, syntax: "go" }),
    );
    expect(heading).toMatch(/^main\.main {2}.*work\/main\.go$/);
    expect(first).toMatch(/^ {2}0x[0-9a-f]+ {2}49 3b 66 10 +main\.go:14 +CMPQ SP, 0x10\(R14\)$/);
  });

  it("refuses an address that the file has nothing for", () => {
    const executable = readExecutable(testElf(), "program");
    const symbols = new SymbolTable(executable);
    expect(() => [...disassemble(executable, symbols, { start: 0x10, length: 4, syntax: "gas" })]).toThrow(SymbolError);
  });
});

describe("resolveRange", () => {
  const symbols = new SymbolTable(readExecutable(fixture("work-stripped"), "work-stripped"));
  const main = symbols.byName("main.main")!;

  it("takes a name or an address, with or without a length", () => {
    expect(resolveRange(symbols, "main.main")).toEqual({ start: main.address, length: main.size });
    expect(resolveRange(symbols, "main.main,0x10")).toEqual({ start: main.address, length: 16 });
    expect(resolveRange(symbols, `0x${(main.address + 4).toString(16)}`)).toEqual({
      start: main.address + 4,
      length: main.size - 4,
    });
    expect(resolveRange(symbols, `${main.address},8`)).toEqual({ start: main.address, length: 8 });
    expect(resolveRange(symbols, "0x10")).toEqual({ start: 16, length: 64 });
  });

  it("suggests a name for one that is not there", () => {
    expect(() => resolveRange(symbols, "main.mian")).toThrow(/no function main\.mian; did you mean .*main\.main/);
  });
});

describe("listSymbols", () => {
  it("filters by a pattern, whatever its flags", () => {
    const symbols = new SymbolTable(readExecutable(fixture("work-stripped"), "work-stripped"));
    const names = listSymbols(symbols, /^main\./g).map(({ name }) => name);
    expect(names).toEqual(["main.work", "main.main", "main.work.deferwrap1", "main.main.gowrap2", "main.main.gowrap1"]);
    expect(listSymbols(symbols)).toBe(symbols.functions);
  });
});
